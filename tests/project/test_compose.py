"""What docs/security.md promises of the container is what its files say; that it is enough, tests/chaos shows."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def lines(name: str) -> list[str]:
    """The lines of a file without their comments, stripped."""
    found = (line.partition("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines())
    return [line for line in found if line]


def test_the_compose_file_takes_away_all_that_can_be_taken() -> None:
    compose = lines("docker-compose.yml")
    for line in (
        "read_only: true", "tmpfs: /tmp", "cap_drop: [ALL]", 'security_opt: ["no-new-privileges:true"]',
    ):  # fmt: skip
        assert line in compose, line


def test_the_compose_file_gives_nothing_back() -> None:
    keys = {line.lstrip("- ").partition(":")[0] for line in lines("docker-compose.yml")}
    assert not keys & {
        "privileged", "cap_add", "user", "devices", "group_add", "pid", "ipc", "userns_mode", "device_cgroup_rules",
    }  # fmt: skip
    assert not any("docker.sock" in line for line in lines("docker-compose.yml"))


def test_what_the_compose_file_binds_can_only_be_read() -> None:
    compose = lines("docker-compose.yml")
    assert sum(line == "- type: bind" for line in compose) == 1
    assert compose.count("read_only: true") == 2, "of the music, and of the root"


def test_the_image_runs_as_nobody_else_than_its_own_user() -> None:
    dockerfile = lines("Dockerfile")
    users = [line.split()[1] for line in dockerfile if line.startswith("USER ")]
    assert users == ["5060:5060"]
    behind = dockerfile[dockerfile.index("USER 5060:5060") :]
    assert not any(re.match(r"(FROM|RUN|COPY|ADD)\b", line) for line in behind), "what is run and copied is root's"
    assert any("useradd --uid 5060 " in line and "nologin" in line for line in dockerfile)
    assert not any("sudo" in line or "setcap" in line or "chmod u+s" in line for line in dockerfile)
