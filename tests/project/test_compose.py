"""The files of the container pass all settings on, and take the privileges away that docs/security.md names.

``tests/chaos`` tests that the server works without these privileges.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from moh.common.actions import Address
from moh.common.config import ON_HOST, Settings

ROOT = Path(__file__).parent.parent.parent


def lines(name: str) -> list[str]:
    """Return the stripped lines of a file, without comments."""
    found = (line.partition("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines())
    return [line for line in found if line]


def test_the_compose_file_takes_all_privileges_away() -> None:
    compose = lines("docker-compose.yml")
    for line in (
        "read_only: true", "tmpfs: /tmp", "cap_drop: [ALL]", 'security_opt: ["no-new-privileges:true"]',
    ):  # fmt: skip
        assert line in compose, line


def test_the_compose_file_grants_no_privilege() -> None:
    keys = {line.lstrip("- ").partition(":")[0] for line in lines("docker-compose.yml")}
    assert not keys & {
        "privileged", "cap_add", "user", "devices", "group_add", "pid", "ipc", "userns_mode", "device_cgroup_rules",
    }  # fmt: skip
    assert not any("docker.sock" in line for line in lines("docker-compose.yml"))


def test_the_binds_of_the_compose_file_are_read_only() -> None:
    compose = lines("docker-compose.yml")
    assert sum(line == "- type: bind" for line in compose) == len(ON_HOST)
    assert compose.count("read_only: true") == len(ON_HOST) + 1, "the files and the root"
    assert compose.count("bind: { create_host_path: false }") == len(ON_HOST)


# -- settings ------------------------------------------------------------------------------------------------------


def service(folder: Path, env_file: str = "", **shell: str) -> dict[str, Any]:
    """Return what Docker Compose reads of the service, with settings in ``.env`` and in the shell."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("needs Docker Compose")
    shutil.copy(ROOT / "docker-compose.yml", folder)
    (folder / ".env").write_text(env_file)
    others = {name: value for name, value in os.environ.items() if not name.startswith("MOH_")}
    ran = subprocess.run(
        ["docker", "compose", "config", "--format", "json"], cwd=folder, env={**others, **shell}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)["services"]["moh"]
    return found


def published(found: dict[str, Any]) -> set[str]:
    return {f"{port['host_ip']}:{port['published']}:{port['target']}/{port['protocol']}" for port in found["ports"]}


def test_the_compose_file_passes_each_setting() -> None:
    compose = lines("docker-compose.yml")
    for env, _, _ in Settings.table():
        assert any(re.match(rf"{env}: \$\{{{env}\b", line) for line in compose), (
            f"docker-compose.yml does not pass {env}"
        )
    for env, name in ON_HOST.items():
        assert f"{name}: ${{{env}:-}}" in compose


VALUES = {
    "MOH_BIND": "192.0.2.9", "MOH_SIP_PORT": "5070", "MOH_RTP_PORTS": "20000-20003", "MOH_FFMPEG_CALLS": "1",
    "MOH_ADVERTISED_ADDRESS": "192.0.2.9", "MOH_DIRECTION": "sendrecv", "MOH_ALLOW": "192.0.2.0/24",
    "MOH_CALL_RATE": "2000",
    "MOH_ALLOW_MEDIA": "192.0.2.0/24", "MOH_MUSIC": "./my.mp3", "MOH_SHUFFLE": "on", "MOH_ANNOUNCE": "60s",
    "MOH_ALLOW_RADIO": "192.0.2.0/24", "MOH_CACHE": "/cache/moh", "MOH_CACHE_LIMIT": "500M", "MOH_LOUDNESS": "-20",
    "MOH_MAX_CALL": "1h", "MOH_DRAIN": "30s", "MOH_BUSY_AT": "2000", "MOH_TLS_CERT": "./c.pem",
    "MOH_TLS_KEY": "./k.pem",
    "MOH_TLS_PORT": "5071", "MOH_LOG": "debug", "MOH_LOG_FORMAT": "json", "MOH_TRACE": "/tmp/moh.pcapng",
    "MOH_HTTP": "8081",
}  # fmt: skip
IN_THE_CONTAINER = {"MOH_MUSIC": "/music.mp3", "MOH_TLS_CERT": "/tls-cert.pem", "MOH_TLS_KEY": "/tls-key.pem"}


@pytest.mark.parametrize("where", ["shell", ".env"])
def test_a_setting_reaches_the_server_from_the_shell_and_from_the_env_file(tmp_path: Path, where: str) -> None:
    assert list(VALUES) == [env for env, _, _ in Settings.table()]
    text = "".join(f"{name}={value}\n" for name, value in VALUES.items())
    found = service(tmp_path, text) if where == ".env" else service(tmp_path, **VALUES)
    passed = {**VALUES, **IN_THE_CONTAINER}
    passed.update({name: VALUES[env] for env, name in ON_HOST.items()})
    assert found["environment"] == {**passed, "TZ": os.environ.get("TZ", ""), "PYTHON": ""}
    Settings.from_environment(found["environment"])
    binds = {bind["target"]: bind["source"] for bind in found["volumes"]}
    assert binds == {path: str(tmp_path / VALUES[env]) for env, path in IN_THE_CONTAINER.items()}
    rtp = {f"0.0.0.0:{port}:{port}/udp" for port in range(20000, 20004)}
    sip = {"0.0.0.0:5070:5070/udp", "0.0.0.0:5070:5070/tcp", "0.0.0.0:5071:5071/tcp"}
    page = {"127.0.0.1:8081:8081/tcp"}
    assert published(found) == rtp | sip | page, "the same numbers outside and inside"
    assert found["stop_grace_period"] == "35s", "MOH_DRAIN and 5 s"


def test_without_settings_the_defaults_apply(tmp_path: Path) -> None:
    found = service(tmp_path)
    assert {name: value for name, value in found["environment"].items() if value} == {
        "MOH_CACHE": "/tmp/moh", "MOH_HTTP": "8080",
    }  # fmt: skip
    assert Settings.from_environment({**found["environment"], "MOH_CACHE": "", "MOH_HTTP": ""}) == Settings()
    assert not {bind["target"] for bind in found["volumes"]} & set(IN_THE_CONTAINER.values()), "no music was given"
    rtp = {f"0.0.0.0:{port}:{port}/udp" for port in range(10000, 10101)}
    sip, page = {"0.0.0.0:5060:5060/udp", "0.0.0.0:5060:5060/tcp"}, {"127.0.0.1:8080:8080/tcp"}
    assert published(found) == rtp | sip | page
    assert found["stop_grace_period"] == "5s"


def test_the_page_is_for_the_machine_alone_in_both_forms_of_the_network(tmp_path: Path) -> None:
    """The container gets a port without an address, which is the loopback with ``network_mode: host``.

    With a network of its own it is all addresses of the container (``tests/server/test_page_process.py``), and the port
    is published on the loopback of the machine.
    """
    settings = Settings.from_environment(service(tmp_path)["environment"])
    assert (settings.http, settings.http_port_only) == (Address("127.0.0.1", 8080), True)
    off = service(tmp_path, "MOH_HTTP=")
    assert Settings.from_environment(off["environment"]).http is None
    (port,) = [port for port in off["ports"] if port["target"] == 8080]
    assert port["host_ip"] == "127.0.0.1" and not port.get("published"), "any free port, so that 8080 may be taken"


def test_the_python_of_the_env_file_is_not_the_one_of_the_container(tmp_path: Path) -> None:
    assert service(tmp_path, "PYTHON=python3.13")["environment"]["PYTHON"] == ""


def test_a_mistyped_name_in_the_env_file_reaches_the_server(tmp_path: Path) -> None:
    assert service(tmp_path, "MOH_ALOW=10.0.0.0/8")["environment"]["MOH_ALOW"] == "10.0.0.0/8"


def test_a_certificate_without_a_published_port_stops_the_start(tmp_path: Path) -> None:
    environment = service(tmp_path, "MOH_TLS_CERT=c.pem")["environment"]
    assert environment["MOH_TLS_PORT"] == "missing_write_5061_into_.env", "the start prints this value"


def test_the_image_runs_as_its_own_user() -> None:
    dockerfile = lines("Dockerfile")
    users = [line.split()[1] for line in dockerfile if line.startswith("USER ")]
    assert users == ["5060:5060"]
    after = dockerfile[dockerfile.index("USER 5060:5060") :]
    assert not any(re.match(r"(FROM|RUN|COPY|ADD)\b", line) for line in after), "all files of the image belong to root"
    assert any("useradd --uid 5060 " in line and "nologin" in line for line in dockerfile)
    assert not any("sudo" in line or "setcap" in line or "chmod u+s" in line for line in dockerfile)


# -- the command of the README -------------------------------------------------------------------------------------


def test_docker_run_of_the_readme_is_one_line_in_the_first_screen() -> None:
    """Its image is the one that is built above it, its ports are SIP's, and the music is where the server looks."""
    screen = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:40]
    (command,) = [shlex.split(line) for line in screen if line.startswith("docker run ")]
    assert any(f"`docker build -t {command[-1]} .`" in line for line in screen)
    values = {flag: [b for a, b in zip(command, command[1:]) if a == flag] for flag in ("-p", "-v", "--restart")}
    assert values["-p"] == ["5060:5060/udp", "5060:5060/tcp"]
    assert (values["-v"], values["--restart"]) == (["$PWD/your.mp3:/music.mp3:ro"], ["unless-stopped"])
    (exposed,) = [line.split()[1:] for line in lines("Dockerfile") if line.startswith("EXPOSE ")]
    assert {"5060/udp", "5060/tcp"} <= set(exposed)
