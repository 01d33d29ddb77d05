"""The files in ``deploy/kamailio``: their forms, and that Kamailio reads them. Calls are in tests/interop."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers import program

FILES = Path(__file__).parents[2] / "deploy" / "kamailio"


def records(name: str) -> list[str]:
    lines = (FILES / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture
def compose() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    found: dict[str, Any] = yaml.safe_load((FILES / "compose.yml").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("defined", [(), ("SERVERS_HIDDEN",)], ids=["plain", "hidden"])
def test_kamailio_reads_the_configuration(tmp_path: Path, defined: tuple[str, ...]) -> None:
    names = [word for name in ("PROXY_ADDRESS=127.0.0.1", *defined) for word in ("-A", name)]
    command = [program("kamailio", "kamailio"), "-c", "-f", str(FILES / "kamailio.cfg"), *names]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_each_network_has_its_mask_in_a_column_of_its_own() -> None:
    """Kamailio takes 10.0.0.0/8 for the name of a host."""
    assert all(re.fullmatch(r"[12] [\d.]+ \d+", line) for line in records("address.list"))


def test_each_server_is_probed_and_has_a_weight() -> None:
    assert all(re.fullmatch(r"1 sip:[\d.]+:\d+ [89] 0 rweight=\d+", line) for line in records("dispatcher.list"))


def test_the_container_lists_sixteen_servers(compose: dict[str, Any], tmp_path: Path) -> None:
    script = compose["services"]["proxy"]["command"][-1].replace("$$", "$").replace("/etc/kamailio", str(tmp_path))
    script = script.replace("exec kamailio", "echo")
    environment = {"SERVERS": "192.168.1.208/28", "PATH": "/usr/bin:/bin", "PROXY_ADDRESS": "192.168.1.200"}
    subprocess.run(["sh", "-ec", script], env=environment, check=True, stdout=subprocess.DEVNULL)
    listed = (tmp_path / "dispatcher.list").read_text().splitlines()
    assert listed == [f"1 sip:192.168.1.{last}:5060 9 0 rweight=50" for last in range(208, 224)]


def test_proxy_and_servers_have_no_privileges(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
