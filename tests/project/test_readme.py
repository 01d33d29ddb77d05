"""What the README says of settings and files is what the code has."""

from __future__ import annotations

import re
from pathlib import Path

from moh.common.config import Settings

ROOT = Path(__file__).parent.parent.parent
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


def test_every_row_of_the_conformance_page_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    rows = [row.split("|") for row in page.splitlines() if row.startswith("| ") and "**" not in row][1:]
    assert len(rows) > 20
    for _, what, _, shown, _ in rows:
        names = re.findall(r"`((?:\w+/)?test_\w+(?:\.py)?)`", shown)
        assert names and names[0].endswith(".py"), what
        text = ""
        for name in names:
            if name.endswith(".py"):
                text = (ROOT / "tests" / name).read_text(encoding="utf-8")
            else:
                assert f"def {name}(" in text, f"docs/conformance.md, {what}: no {name}"
