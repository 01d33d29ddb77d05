"""Writes the files of an arrangement: copies the pieces, and computes the sound at joints and under announcements.

Only a second of sound at a time is in memory as numbers. All other samples are copied as they are.
"""

from __future__ import annotations

import wave
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

from .cache import open_ours
from .joints import Joint, Row, sound_of
from .limiter import as_samples
from .lowering import BLOCK, TICKS, Lowering, window

COPIED = 16 * TICKS
"""Ticks that are copied at once: 16 s, of up to half a megabyte."""

Step = Callable[[int], None]
"""A function that is called with the number of ticks that were written. It may raise an exception to cancel."""


class Sound:
    """The samples of a converted file, by ticks. Raises ``OSError`` for any other file."""

    def __init__(self, path: Path, rate: int) -> None:
        self._file = open_ours(path)
        try:
            self._wave = wave.open(self._file)  # noqa: SIM115 -- closed below
        except (wave.Error, EOFError) as error:
            self._file.close()
            raise OSError(f"{str(path)!r}: {error}; expected a WAV file") from None
        form = self._wave.getnchannels(), self._wave.getsampwidth(), self._wave.getframerate()
        if form != (1, 2, rate):
            self.close()
            raise OSError(f"{str(path)!r} has channels, octets and rate {form}; expected {(1, 2, rate)}")
        self._each = rate // TICKS
        self.length = self._wave.getnframes() // self._each

    def octets(self, begin: int, end: int) -> bytes:
        """The samples between two ticks, as they are in a file that ``wave`` writes."""
        self._wave.setpos(begin * self._each)
        octets: bytes = self._wave.readframes((end - begin) * self._each)
        return octets

    def read(self, begin: int, end: int) -> array[int]:
        """The samples between two ticks."""
        return array("h", self.octets(begin, end))

    def close(self) -> None:
        """Close the file."""
        self._wave.close()
        self._file.close()

    def __enter__(self) -> Sound:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Target:
    """A WAV file that is written from its beginning to its end."""

    def __init__(self, path: Path, rate: int, length: int, step: Step) -> None:
        self._wave = wave.open(str(path), "wb")  # noqa: SIM115 -- closed below
        self._wave.setparams((1, 2, rate, length * rate // TICKS, "NONE", "not compressed"))
        self._each = rate // TICKS
        self._step = step

    def copy(self, sound: Sound, begin: int, end: int) -> None:
        """Write the samples of ``sound`` between two ticks."""
        for at in range(begin, end, COPIED):
            to = min(end, at + COPIED)
            self._wave.writeframesraw(sound.octets(at, to))
            self._step(to - at)

    def write(self, samples: array[int]) -> None:
        """Write these samples."""
        self._wave.writeframesraw(samples.tobytes())
        self._step(len(samples) // self._each)

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        self._wave.close()


def write_row(
    row: Row, files: Sequence[Path], target: Path, rate: int, ceiling: float, step: Step = lambda _: None
) -> None:
    """Write the pieces ``files`` in a row, as often as the row has them."""
    count = len(row.joints)
    each = rate // TICKS

    def between(number: int, former: Sound, following: Sound) -> tuple[array[int], array[int]]:
        """The sound around a joint, up to where the next piece begins and from there on."""
        joint, begin = row.joints[number], row.ends[(number + 1) % count].begin
        ending = former.read(joint.fade - joint.pad, joint.end)
        beginning = following.read(begin, begin + joint.end - joint.start + joint.pad)
        sound = as_samples(sound_of(ending, beginning, joint, rate, ceiling))
        cut = (joint.start - joint.fade + joint.pad) * each
        return sound[:cut], sound[cut:]

    def open_piece(number: int) -> Sound:
        return Sound(files[number % len(files)], rate)

    with Target(target, rate, row.length, step) as made:
        piece = open_piece(0)
        try:
            with open_piece(count - 1) as last:
                end_of_loop, head = between(count - 1, last, piece)
            made.write(head)
            for number in range(count):
                joint, ends = row.joints[number], row.ends[number]
                former: Joint = row.joints[number - 1]
                head_end = ends.begin + former.end - former.start + former.pad
                made.copy(piece, head_end, joint.fade - joint.pad)
                if number == count - 1:
                    made.write(end_of_loop)
                    break
                following = open_piece(number + 1)
                for part in between(number, piece, following):
                    made.write(part)
                piece.close()
                piece = following
        finally:
            piece.close()


def write_announced(
    plain: Path,
    voice: Path,
    windows: Sequence[int],
    target: Path,
    rate: int,
    ceiling: float,
    step: Step = lambda _: None,
) -> None:
    """Write the music of the file ``plain`` with the announcement ``voice`` spoken in each window."""
    with Sound(voice, rate) as spoken, Sound(plain, rate) as music, Target(target, rate, music.length, step) as made:
        lowering = Lowering(spoken.read(0, spoken.length), rate, ceiling)
        whole = window(spoken.length)
        done = begin = 0

        def under(first: int, last: int) -> array[int]:
            return music.read(begin + first, begin + last)

        for begin in windows:
            made.copy(music, done, begin)
            for at in range(0, whole, BLOCK):
                made.write(lowering.over(under, at, min(whole, at + BLOCK)))
            done = begin + whole
        made.copy(music, done, music.length)
