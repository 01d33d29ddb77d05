"""What the README says of settings and files is what the code has."""

from __future__ import annotations

from pathlib import Path

from moh.config import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_settings_is_that_of_the_code() -> None:
    rows = [line for line in README.splitlines() if line.startswith("| `MOH_")]
    assert rows == [
        f"| `{env}` | {f'`{default}`' if default else ''} | {text} |" for env, default, text in Settings.table()
    ]


def test_the_compose_file_names_every_setting() -> None:
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    for env, _, _ in Settings.table():
        assert env in compose or env == "MOH_CACHE", f"docker-compose.yml has no line for {env}"


def test_the_files_of_the_owner_stand_at_the_top() -> None:
    for name in (
        "Dockerfile", "docker-compose.yml", "start.sh", "sip_server.py", "test_sip_client.py", "test_udp.py",
        "requirements.txt", "README.md",
    ):  # fmt: skip
        assert (ROOT / name).is_file(), name


def test_every_dependency_has_its_line() -> None:
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        name = line.partition("=")[0].strip()
        assert name.startswith("#") or not name or f"| {name} |" in README, f"README's table lacks {name}"
