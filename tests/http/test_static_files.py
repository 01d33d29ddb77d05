"""The files of the page itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from moh.http.static_files import FOLDER, KINDS, StaticFiles


@pytest.fixture
def files(tmp_path: Path) -> StaticFiles:
    folder = tmp_path / "static"
    (folder / "more").mkdir(parents=True)
    (folder / "page.html").write_text("<p>music</p>")
    (folder / "key.pem").write_text("secret")
    (folder / "more" / "deep.js").write_text("1")
    (tmp_path / "outside.js").write_text("1")
    return StaticFiles(folder)


def test_a_file_is_sent_with_its_kind_and_its_tag(files: StaticFiles) -> None:
    answer = files.answer("page.html", "")
    assert answer[:3] == (200, "text/html; charset=utf-8", b"<p>music</p>")
    headers = dict(answer.headers)
    assert headers["Cache-Control"] == "no-cache"
    again = files.answer("page.html", f'W/"x", {headers["ETag"]}')
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize(
    "name", ["", "key.pem", "more", "more/deep.js", "../outside.js", "/etc/passwd", "page.html/", ".", "..", "\0"]
)
def test_only_files_of_known_kinds_in_the_folder_are_there(files: StaticFiles, name: str) -> None:
    assert files.answer(name, "").status == 404


def test_all_files_of_the_page_are_of_known_kinds() -> None:
    assert {path.suffix for path in FOLDER.glob("*") if path.is_file()} <= KINDS.keys()
