"""The folder of the converted music: names, what is kept, what goes.

An entry is a file for each sample rate and a slip (JSON) that says what they hold; the slip is written last and counts.
Whoever uses an entry holds a lock (flock) on its slip, so that no other server takes it for stale and away.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
import wave
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ..common.config import Settings
from ..common.errors import SettingsError

FORMAT = "2"
"""Counts up when the same file would be prepared otherwise than before."""
UNUSED = 30 * 86400.0
"""Seconds after which an entry that nobody has started with goes."""
UNFINISHED = "unfinished-"
"""How folders of running conversions begin; each is locked by the one who works in it."""


class Hold:
    """A shared lock on a slip for as long as this object lives, or its process."""

    def __init__(self, slip: Path) -> None:
        self._handle = os.open(slip, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:  # it is being taken away
            os.close(self.__dict__.pop("_handle"))
            raise
        except OSError:
            pass  # a file system without locks: there nothing of any age is taken away either

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            os.close(self._handle)


@dataclass(frozen=True)
class Entry:
    """Where the music of one state of a file, made with certain settings, is kept. ``name`` is of three parts."""

    folder: Path
    name: str
    rates: Sequence[int]

    @property
    def slip(self) -> Path:
        """What the files hold."""
        return self.folder / f"{self.name}.json"

    @property
    def paths(self) -> dict[int, Path]:
        """The file for each sample rate."""
        return {rate: self.folder / f"{self.name}-{rate}.wav" for rate in self.rates}

    def find(self) -> Optional[tuple[float, str, Hold]]:
        """Its seconds, what was done to it and a hold on it; ``None`` where it is not there, or not whole."""
        try:
            hold = Hold(self.slip)
            told = json.loads(self.slip.read_text(encoding="utf-8"))
            seconds, report = float(told["seconds"]), str(told["report"])
            if any(abs(length_of(path) - seconds) > 1e-6 for path in self.paths.values()):
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        try:
            os.utime(self.slip)
        except OSError:
            pass  # a folder to read from only
        return seconds, report, hold

    def keep(self, made: Mapping[int, Path], seconds: float, report: str) -> Hold:
        """Take finished files in."""
        slip = next(iter(made.values())).with_suffix(".json")
        slip.write_text(json.dumps({"seconds": seconds, "report": report}), encoding="utf-8")
        hold = Hold(slip)
        for rate, path in self.paths.items():
            os.replace(made[rate], path)
        os.replace(slip, self.slip)
        return hold


def entry_of(folder: Path, source: Path, facts: os.stat_result, settings: str, rates: Sequence[int]) -> Entry:
    """The entry of a file as it is now, for certain settings."""
    parts = (os.fsencode(source), f"{FORMAT} {facts.st_size} {facts.st_mtime_ns}".encode(), settings.encode())
    return Entry(folder, "-".join(hashlib.sha256(part).hexdigest()[:12] for part in parts), rates)


def length_of(path: Path) -> float:
    """How many seconds the WAV file plays; 0 where it cannot be read or is cut short."""
    try:
        with wave.open(str(path), "rb") as sound:
            whole = path.stat().st_size >= sound.getnframes() * sound.getsampwidth()
            return sound.getnframes() / sound.getframerate() if whole else 0.0
    except (OSError, wave.Error, EOFError, ZeroDivisionError):
        return 0.0


# -- the folder ----------------------------------------------------------------------------------------------------


def cache_folder(settings: Settings) -> Path:
    """Where prepared music is kept; made where it is missing. Without a usable one: a folder under the temporary."""
    if settings.cache:
        folder = absolute("MOH_CACHE", settings.cache)
    else:
        try:
            folder = absolute("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "moh"
        except SettingsError:  # nobody's home, as for a user that exists by number only
            return _temporary()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    except OSError as error:
        if settings.cache:
            raise SettingsError(f"MOH_CACHE is {settings.cache!r}: {error.strerror}; expected a folder") from None
    if settings.cache:
        raise SettingsError(f"MOH_CACHE is {settings.cache!r}: not writable; expected a folder to write to")
    return _temporary()


def _temporary() -> Path:
    """This user's own folder under the temporary: the same each time, unless somebody else has put one there."""
    folder = Path(tempfile.gettempdir()) / f"moh-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
        if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o022:
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="moh-"))


def absolute(variable: str, text: str) -> Path:
    """The path that ``text`` means. Raises ``SettingsError`` where it means none, or one that ffmpeg is not told."""
    try:
        path = Path(text).expanduser().absolute()
        str(path).encode()
    except RuntimeError:
        raise SettingsError(f"{variable} is {text!r}: no such home folder; expected a path") from None
    except UnicodeEncodeError:
        raise SettingsError(f"{variable} is {text!r}; expected a name in UTF-8") from None
    return path


@contextmanager
def workshop(folder: Path) -> Iterator[Path]:
    """A folder to convert in; it goes at the end, or, after a kill, with the next ``clean``."""
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder) as unfinished:
        handle = os.open(unfinished, os.O_RDONLY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                pass  # as in Hold
            yield Path(unfinished)
        finally:
            os.close(handle)


def clean(entry: Entry) -> None:
    """Take away what nobody uses: former states of the same file, what was unused for long, what a kill left."""
    now = time.time()
    source, state, _ = entry.name.split("-")
    for path in entry.folder.iterdir():
        try:
            age = now - path.stat().st_mtime
            if path.name.startswith(UNFINISHED):
                if age > 60:
                    _take_away(path)
            elif found := re.fullmatch(r"(\w{12})-(\w{12})-\w{12}(\.json|-\d+\.wav)", path.name):
                former = found[1] == source and found[2] != state
                if found[3] == ".json":
                    if (former or age > UNUSED) and path != entry.slip:
                        _take_away(path)
                elif age > 86400 and not path.with_name(path.name.rpartition("-")[0] + ".json").exists():
                    path.unlink()
        except OSError:
            continue  # another server was faster, or it is not ours to take away


def _take_away(path: Path) -> None:
    """Delete a folder of an unfinished conversion, or a slip and its files, unless somebody has a lock on it."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
            for sound in path.parent.glob(f"{path.stem}-*.wav"):
                sound.unlink()
    finally:
        os.close(handle)
