"""The run of an ffmpeg of the conversion: output, progress, errors, cancelling. With scripts in the place of ffmpeg."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional

import pytest

from moh.common.errors import SettingsError
from moh.ffmpeg.run import OUTPUT_KEPT, FfmpegFailed, declared, has_soxr, run
from tests.ffmpeg.supervised import stand_in
from tests.support.running import processes

COMMAND = ["ffmpeg", "-i", "x", "-y"]
BANNER = "  configuration: --enable-libsoxr\n  Duration: 00:01:02.50, start: 0.000000\n"


def test_the_output_of_a_command_that_ends_well_is_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, f"sys.stderr.write({BANNER!r})")
    assert run(COMMAND) == BANNER


def test_an_error_has_the_first_message_of_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "[info] a\\n[mov @ 0x1] [error] the cause\\n[fatal] what followed"
    stand_in(tmp_path, monkeypatch, f"sys.exit('{lines}')")
    with pytest.raises(FfmpegFailed) as caught:
        run(COMMAND)
    assert caught.value.why == "the cause"
    assert not caught.value.disk_full


def test_a_full_disk_is_distinguished_from_other_errors() -> None:
    assert FfmpegFailed(1, "[error] Error writing trailer: No space left on device").disk_full
    assert FfmpegFailed(1, "").why == "exit 1"


def test_progress_is_the_share_of_the_declared_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(
        tmp_path, monkeypatch, f"sys.stderr.write({BANNER!r}); sys.stderr.flush()\n"
        "for second in (25, 50, 100): print(f'out_time_us={second}000000', flush=True); time.sleep(0.1)",
    )  # fmt: skip
    shares: list[float] = []
    run(COMMAND, shares.append)
    assert shares == sorted(shares)
    assert {0.4, 0.8, 1.0} <= set(shares)


def children() -> set[int]:
    """The child processes of this one, those that have ended and are not reaped included."""
    return {pid for pid, _, parent in processes() if parent == os.getpid()}


def test_progress_may_cancel_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, "time.sleep(600)")

    def cancel(share: float) -> None:
        raise KeyboardInterrupt

    before = children()
    with pytest.raises(KeyboardInterrupt):
        run(COMMAND, cancel)
    assert children() <= before


def test_of_a_long_output_the_beginning_and_the_end_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, monkeypatch, "sys.stderr.write('begin' + 'x' * 1_000_000 + 'end')")
    output = run(COMMAND)
    assert output.startswith("begin") and output.endswith("end")
    assert len(output) == 2 * OUTPUT_KEPT + 1


def test_without_ffmpeg_the_error_names_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SettingsError, match="ffmpeg does not run: No such file or directory; expected it on the PATH"):
        run(COMMAND)


def test_the_banner_is_read() -> None:
    assert has_soxr(BANNER)
    assert not has_soxr("")


@pytest.mark.parametrize(
    ("shown", "seconds"),
    [
        ("00:00:00.03", 0.03), ("00:00:59.99", 59.99), ("00:01:00.00", 60.0), ("00:01:02.50", 62.5),
        ("00:59:59.99", 3599.99), ("01:00:00.00", 3600.0), ("02:03:04.05", 7384.05), ("100:00:01", 360_001.0),
        ("N/A", None), ("-00:00:01.00", None), ("00:1:00.00", None),
    ],
)  # fmt: skip
def test_the_declared_length_is_that_of_the_first_input(shown: str, seconds: Optional[float]) -> None:
    header = f"[info] Input #0, wav, from 'x':\n[info]   Duration: {shown}, bitrate: 128 kb/s\n"
    assert declared(header) == (None if seconds is None else pytest.approx(seconds))
    if seconds is not None:
        assert declared(header + "[info]   Duration: 09:09:09.09\n") == pytest.approx(seconds)
    assert declared(f"Duration {shown}") is None
