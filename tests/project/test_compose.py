"""The files of the container take the privileges away that docs/security.md names.

``tests/chaos`` tests that the server works without these privileges.
"""

from __future__ import annotations

import re
from pathlib import Path

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


def test_the_bind_of_the_compose_file_is_read_only() -> None:
    compose = lines("docker-compose.yml")
    assert sum(line == "- type: bind" for line in compose) == 1
    assert compose.count("read_only: true") == 2, "the music and the root"


def test_the_image_runs_as_its_own_user() -> None:
    dockerfile = lines("Dockerfile")
    users = [line.split()[1] for line in dockerfile if line.startswith("USER ")]
    assert users == ["5060:5060"]
    after = dockerfile[dockerfile.index("USER 5060:5060") :]
    assert not any(re.match(r"(FROM|RUN|COPY|ADD)\b", line) for line in after), "all files of the image belong to root"
    assert any("useradd --uid 5060 " in line and "nologin" in line for line in dockerfile)
    assert not any("sudo" in line or "setcap" in line or "chmod u+s" in line for line in dockerfile)
