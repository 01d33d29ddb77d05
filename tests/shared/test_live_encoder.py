"""An ffmpeg between two pipes. End to end, with other programs in its place."""

from __future__ import annotations

import os
import sys
import tempfile
from typing import IO

import pytest

from moh.shared.live_encoder import LiveEncoder
from tests.support.running import wait_for


def encoder(*command: str) -> LiveEncoder:
    with tempfile.TemporaryFile() as errors:
        return LiveEncoder(command, kept(errors))


def kept(errors: IO[bytes]) -> IO[bytes]:
    """Return the same file, which stays open when ``errors`` is closed."""
    return os.fdopen(os.dup(errors.fileno()), "r+b")


def close(running: LiveEncoder) -> str:
    reason = running.close()
    running._errors.close()
    return reason


def test_what_is_written_comes_out_and_nothing_waits() -> None:
    copy = encoder("cat")
    assert copy.read() == b"" and not copy.ended
    assert copy.write(b"music") == 5
    assert wait_for(copy.read, "the music") == b"music"
    assert copy.read() == b"" and not copy.ended
    assert close(copy) == "ffmpeg ended with status -9"


def test_a_full_pipe_takes_no_more() -> None:
    idle = encoder("sleep", "60")
    assert idle.write(bytes(10_000_000)) < 10_000_000
    assert idle.write(bytes(10_000_000)) == 0 and not idle.ended
    close(idle)


@pytest.mark.parametrize("fails", ["out of luck", ""])
def test_the_end_is_noticed_and_its_reason_returned(fails: str) -> None:
    gone = encoder(sys.executable, "-c", f"import sys; sys.exit({fails!r} or 3)")
    wait_for(lambda: gone.read() == b"" and gone.ended, "the end")
    assert gone.write(b"more") == 0
    assert close(gone) == ("'out of luck'" if fails else "ffmpeg ended with status 3")


def test_no_descriptor_is_left_by_an_encoder_that_starts_or_does_not() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    close(encoder("cat"))
    with tempfile.TemporaryFile() as errors, pytest.raises(OSError):
        LiveEncoder(["/no/such/program"], errors)
    assert sorted(os.listdir("/proc/self/fd")) == before
