"""The owner's names of files that are bound into a container, from what the kernel says of its mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from moh.common.config import ON_HOST
from moh.mastering import owner_name as module
from moh.mastering.owner_name import owner_name

MUSIC = Path("/music.mp3")
CERTIFICATE = Path("/tls-cert.pem")


def mounted(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str, place: str = "/music.mp3") -> None:
    """Have the kernel say that ``source`` is bound at ``place``; see proc(5)."""
    lines = [
        "110 90 0:52 / / ro,relatime master:1 - overlay overlay ro,lowerdir=/a",
        "113 110 254:0 /a\u2028b\x0cc /mnt/a\u2028b\x0cc rw,relatime - ext4 /dev/vda rw",
        f"111 110 254:0 {source} {place} ro,relatime - ext4 /dev/vda rw",
        "112 110 254:0 /hosts /etc/hosts rw,relatime - ext4 /dev/vda rw",
    ]
    (folder / "mountinfo").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setattr(module, "MOUNTS", folder / "mountinfo")


@pytest.fixture(autouse=True)
def _without_compose(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ON_HOST.values():
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("/home/me/your.mp3", "your.mp3"), ("/me/your.mp3", "your.mp3"), ("/@home/me/your.mp3", "your.mp3"),
        ("/my\\040own\\0401.mp3", "my own 1.mp3"), ("/a\\134b.mp3", "a\\b.mp3"), ("/曲.mp3", "曲.mp3"),
        ("/home/me/your.mp3//deleted", "your.mp3"), ("/my\u2028song\x85.mp3", "my\u2028song\x85.mp3"),
    ],
)  # fmt: skip
def test_a_bound_file_has_its_name_on_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str, name: str
) -> None:
    mounted(monkeypatch, tmp_path, source)
    assert owner_name(MUSIC) == name


def test_the_path_that_compose_passes_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounted(monkeypatch, tmp_path, "/home/me/moh/your.mp3")
    monkeypatch.setenv("MOH_MUSIC_ON_HOST", "./your.mp3")
    assert owner_name(MUSIC) == "./your.mp3"
    assert owner_name(Path("/other.mp3")) == "/other.mp3"


def test_each_setting_has_its_own_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounted(monkeypatch, tmp_path, "/etc/ssl/chain.pem", "/tls-cert.pem")
    monkeypatch.setenv("MOH_MUSIC_ON_HOST", "./your.mp3")
    assert owner_name(CERTIFICATE, "MOH_TLS_CERT") == "chain.pem"
    monkeypatch.setenv("MOH_TLS_CERT_ON_HOST", "/etc/ssl/chain.pem")
    assert owner_name(CERTIFICATE, "MOH_TLS_CERT") == "/etc/ssl/chain.pem"


def test_a_file_that_is_not_bound_has_its_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounted(monkeypatch, tmp_path, "/srv/music", "/media")
    monkeypatch.setenv("MOH_MUSIC_ON_HOST", "./your.mp3")
    assert owner_name(Path("/media/hold.mp3")) == "/media/hold.mp3"
    monkeypatch.setattr(module, "MOUNTS", tmp_path / "none")
    assert owner_name(MUSIC) == "/music.mp3"


def test_a_path_with_spaces_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounted(monkeypatch, tmp_path, "/your.mp3", "/my\\040music.mp3")
    assert owner_name(Path("/my music.mp3")) == "your.mp3"


def test_this_machine_tells_its_mounts() -> None:
    assert owner_name(Path(__file__)) == __file__


def test_a_file_in_a_bound_folder_has_the_name_of_the_folder_in_front(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounted(monkeypatch, tmp_path, "/home/me/songs")
    assert owner_name(MUSIC / "jazz" / "1.mp3") == "songs/jazz/1.mp3"
    assert owner_name(Path("/music/1.mp3")) == "/music/1.mp3", "nothing is bound there"
    monkeypatch.setenv("MOH_MUSIC_ON_HOST", "./my songs")
    assert owner_name(MUSIC / "jazz" / "1.mp3") == "./my songs/jazz/1.mp3"
