"""The reloader, where another program empties the cache while the server runs. No ffmpeg and no socket."""

from __future__ import annotations

from pathlib import Path

from moh.common.config import Settings
from moh.mastering.prepare import Music
from moh.mastering.reloader import Reloader
from tests.mastering.test_reloader import impatient, next_result, no_stand_in


def test_music_that_was_removed_from_the_cache_is_prepared_again(tmp_path: Path) -> None:
    file, converted = tmp_path / "music.mp3", tmp_path / "8000.wav"
    file.touch()

    def prepare(settings: Settings, progress: object) -> Music:
        converted.touch()
        return Music({8000: converted}, 1.0, file)

    reloader = Reloader(Settings.from_environment({"MOH_MUSIC": str(file)}), prepare, no_stand_in, 0.02, impatient())
    next_result(reloader)
    converted.unlink()
    assert isinstance(next_result(reloader), Music) and converted.exists()
    reloader.close()
