"""The files in ``deploy``: the manifests of Kubernetes and the unit of systemd are valid, and name what there is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from moh.common.config import Settings

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
UNIT = ROOT / "deploy" / "systemd" / "moh.service"
RESOURCES = ["namespace.yaml", "service.yaml", "disruption.yaml", "statefulset.yaml"]
VERSIONS = ["1.29", "1.37"]
"""Of Kubernetes: an old one and the newest one whose schemas the package has."""


def documents(path: Path) -> list[dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


@pytest.fixture
def pod() -> dict[str, Any]:
    (found,) = documents(KUBERNETES / "base" / "statefulset.yaml")
    spec: dict[str, Any] = found["spec"]["template"]["spec"]
    return spec


def settings_of(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


# -- Kubernetes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", RESOURCES)
def test_each_manifest_is_valid(name: str, version: str) -> None:
    validator = pytest.importorskip("kubernetes_validate")
    for document in documents(KUBERNETES / "base" / name):
        validator.validate(document, version, strict=True)


def test_a_misspelt_field_is_found() -> None:
    validator = pytest.importorskip("kubernetes_validate")
    (found,) = documents(KUBERNETES / "base" / "statefulset.yaml")
    found["spec"]["template"]["spec"]["terminationGracePeriod"] = 630
    with pytest.raises(validator.ValidationError):
        validator.validate(found, VERSIONS[-1], strict=True)


def test_all_manifests_are_in_the_list() -> None:
    (found,) = documents(KUBERNETES / "base" / "kustomization.yaml")
    assert found["resources"] == ["namespace.yaml", "service.yaml", "statefulset.yaml", "disruption.yaml"]
    files = {path.name for path in (KUBERNETES / "base").iterdir()}
    assert files == {*RESOURCES, "kustomization.yaml", "settings.env"}


def test_the_settings_are_right() -> None:
    settings = Settings.from_environment(settings_of(KUBERNETES / "base" / "settings.env"))
    assert settings.http == ("127.0.0.1", 8080)


def test_the_pod_has_time_for_its_drain(pod: dict[str, Any]) -> None:
    drain = Settings.from_environment(settings_of(KUBERNETES / "base" / "settings.env")).drain
    (container,) = pod["containers"]
    (command,) = container["lifecycle"]["preStop"]["exec"]["command"][2:]
    pause = int(re.fullmatch(r"kill -USR2 1; sleep (\d+)", command)[1])  # type: ignore[index]
    assert pod["terminationGracePeriodSeconds"] >= drain + pause + 5


def test_the_pod_is_as_the_image_is(pod: dict[str, Any]) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    user = pod["securityContext"]["runAsUser"]
    assert f"USER {user}:{user}" in dockerfile
    (container,) = pod["containers"]
    mounted = {each["mountPath"] for each in container["volumeMounts"]}
    assert mounted == {"/tmp", "/music"} and "MOH_CACHE=/tmp/moh" in dockerfile
    assert "cpu" not in container["resources"]["limits"], "a limit of the processor makes packets late"


def test_the_probes_ask_what_the_page_answers(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz",
    }  # fmt: skip
    assert {(probe["host"], probe["port"]) for probe in probes.values()} == {("127.0.0.1", 8080)}


def test_with_monitoring_the_probes_ask_where_the_page_listens() -> None:
    (patch,) = documents(KUBERNETES / "monitoring" / "listen.yaml")
    (container,) = patch["spec"]["template"]["spec"]["containers"]
    assert [each["name"] for each in container["env"]] == ["NODE_ADDRESS", "MOH_HTTP"]
    for name in ("startup", "liveness", "readiness"):
        assert container[f"{name}Probe"]["httpGet"]["host"] is None, "the address of the node"
    (monitor,) = documents(KUBERNETES / "monitoring" / "servicemonitor.yaml")
    (service,) = documents(KUBERNETES / "base" / "service.yaml")
    assert monitor["spec"]["selector"]["matchLabels"] == service["metadata"]["labels"]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert endpoint["path"] == "/metrics"


# -- systemd -------------------------------------------------------------------------------------------------------


def installed(tmp_path: Path) -> Path:
    """The unit with the paths of this checkout, since ``verify`` wants its program to exist."""
    folder = tmp_path / "opt"
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to("/bin/true")
    for name in ("sip_server.py", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    unit = tmp_path / "moh.service"
    unit.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/moh", str(folder)), encoding="utf-8")
    return unit


def analyze(*arguments: str) -> str:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    found = subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True, timeout=60,
        env={**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"},
    )  # fmt: skip
    return found.stdout + found.stderr + f"exit {found.returncode}"


def test_the_unit_is_valid(tmp_path: Path) -> None:
    assert analyze("verify", "--man=no", str(installed(tmp_path))) == "exit 0"


def test_the_unit_is_as_protected_as_its_page_says(tmp_path: Path) -> None:
    found = analyze("security", "--offline=true", str(installed(tmp_path)))
    if "offline" in found:
        pytest.skip("needs systemd 250")
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", found)
    assert exposure is not None, found
    page = (UNIT.parent / "README.md").read_text(encoding="utf-8")
    assert float(exposure[1]) <= float(re.search(r"gives it ([\d.]+) of 10", page)[1])  # type: ignore[index]


def test_the_commands_of_the_page_name_what_there_is() -> None:
    page = (UNIT.parent / "README.md").read_text(encoding="utf-8")
    for path in re.findall(r"/opt/moh/([\w./-]+)", page):
        assert path.startswith(".venv") or (ROOT / path).exists(), path
    assert "ExecStart=/opt/moh/.venv/bin/python /opt/moh/sip_server.py" in UNIT.read_text(encoding="utf-8")


def test_each_signal_goes_to_the_server_and_not_to_its_ffmpegs() -> None:
    """An ffmpeg ends at SIGUSR1 and SIGUSR2, and ``systemctl kill`` sends them to all processes of the unit."""
    text = UNIT.read_text(encoding="utf-8") + (UNIT.parent / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"systemctl kill.*? moh`", text)
    assert len(commands) == 3
    assert all(" --kill-who=main -s USR" in command for command in commands)
