"""Why a file is not played, in one short line of the owner's words. ffmpeg's own words serve where no others are known.

No message guesses a cause.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from ..common.errors import SettingsError
from ..ffmpeg.run import declared, first_error
from .contents import MORE_MUSIC, no_music, read_beginning, tags_only
from .formats import EXPECTED, SOUNDS, refused_format

AUDIO = "expected an audio file"
LONGEST_COMPLAINT = 80
"""Characters that are shown of a message of ffmpeg."""
NOT_EVEN_FULL = ("4gv", "celt", "mpegh_3d_audio", "smv", "ac4")
"""Sound that Debian's whole ffmpeg does not decode either."""
FULL = "the image built with FFMPEG=full plays it (docker compose build --build-arg FFMPEG=full)"
MORE_SOUNDS = {"amr_nb": "AMR", "amr_wb": "AMR", "dts": "DTS", "truehd": "TrueHD"}
"""ffmpeg's names of sounds, with those for people. Other names are shown in capitals."""
CONVERT = "expected it converted to MP3, FLAC or WAV"
PROTECTED = re.compile(r": Audio: .*\((?:drms|enca|aavd) / |DRM protected stream|encrypted media", re.IGNORECASE)
"""What ffmpeg prints of sound that is protected against copying."""


PROTECTED_WORDS = "it is protected against copying (DRM); expected a file without DRM"


def refuse(source: Path, why: str) -> SettingsError:
    """The error for a file that is not played."""
    return SettingsError(f"Cannot play {str(source)!r}: {why}")


def facts_of(source: Path) -> os.stat_result:
    """What the file system says of the file. Raises ``SettingsError`` for what cannot be an audio file."""
    try:
        facts = source.stat()
    except PermissionError:
        why = f"the server (user {os.geteuid()}) may not enter a folder of its path. Run chmod a+rx on that folder"
        raise refuse(source, why) from None
    except FileNotFoundError:
        if source.is_symlink():
            raise refuse(source, f"it is a link to {os.readlink(source)!r}, which does not exist; {AUDIO}") from None
        raise refuse(source, f"No such file or directory; {AUDIO}") from None
    except OSError as error:
        raise refuse(source, f"{error.strerror}; {AUDIO}") from None
    if stat.S_ISDIR(facts.st_mode):
        docker = "docker run -v makes a folder where the named file is missing: check the path"
        raise refuse(source, f"it is a folder; {AUDIO}. {docker}")
    if not stat.S_ISREG(facts.st_mode):
        raise refuse(source, f"it is a device or pipe; {AUDIO}")
    if facts.st_size == 0:
        raise refuse(source, f"it is an empty file; {AUDIO}")
    try:
        source.open("rb").close()
    except OSError as error:
        raise unreadable(source, error) from None
    return facts


def unreadable(source: Path, error: OSError) -> SettingsError:
    """The error for a file that cannot be opened or read."""
    if isinstance(error, PermissionError):
        mode = stat.S_IMODE(source.stat().st_mode)
        may_not = f"the server (user {os.geteuid()}) may not read the file (mode {mode:o})"
        return refuse(source, f"{may_not}. Run: chmod a+r {str(source)!r}")
    return refuse(source, f"it cannot be read ({error.strerror}); {AUDIO}")


def refuse_other_kinds(source: Path) -> None:
    """Raise ``SettingsError`` for a file whose first octets say that it is no music."""
    if what := no_music(read_beginning(source)):
        raise refuse(source, f"it is {what}; {AUDIO}")


def refuse_protected(source: Path, said: str) -> None:
    """Raise ``SettingsError`` if ffmpeg has said that the sound is protected: what it decodes of that is noise."""
    if PROTECTED.search(said):
        raise refuse(source, PROTECTED_WORDS)


def not_decoded(source: Path, said: str) -> SettingsError:
    """The error for a file with which ffmpeg failed and printed ``said``."""
    if lacking := re.search(r"No such filter: '(\w+)'", said):  # not the file is at fault
        return SettingsError(
            f"ffmpeg has no filter {lacking[1]!r}; expected Debian's ffmpeg, or one of this version's build_ffmpeg.sh"
        )
    return refuse(source, _why_not_decoded(source, said))


def _why_not_decoded(source: Path, said: str) -> str:
    if PROTECTED.search(said):
        return PROTECTED_WORDS
    slim = "--disable-everything" in said
    if kind := refused_format(said):
        return f"ffmpeg reads it as {kind!r}, which is not played; expected {EXPECTED}"
    if re.search(r"Stream specifier .* matches no streams", said):
        return f"there is no sound in it; {AUDIO}"
    if "Decoder (codec none) not found" in said:
        return f"its sound is of a kind that ffmpeg does not know; {CONVERT}"
    if missing := re.search(r"Decoder \(codec (\w+)\) not found", said):
        sound = {**SOUNDS, **MORE_SOUNDS}.get(missing[1], missing[1].upper())
        cure = FULL if slim and missing[1] not in NOT_EVEN_FULL else CONVERT
        return f"its sound is {sound}, which this ffmpeg does not decode; {cure}"
    beginning = read_beginning(source)
    for pattern, name in MORE_MUSIC:
        if slim and re.match(pattern, beginning, re.DOTALL):
            return f"it is {name}, which this ffmpeg does not read; {FULL}"
    if tag := tags_only(source):
        return f"it has a title or a cover ({tag} tag), and no sound; {AUDIO}"
    if "moov atom not found" in said:
        return "it is incomplete: its index is missing (moov atom not found); expected the whole file"
    if not beginning.strip(b"\0"):
        return f"it begins with zeros alone; {AUDIO}"
    if sound := re.search(r"^.*? Stream #0:.*?: Audio: (\w+)", said, re.MULTILINE):
        return f"its {sound[1].upper()} sound cannot be decoded ({complaint(said)!r}); {AUDIO}"
    return f"ffmpeg can read no sound in it ({complaint(said)!r}); {AUDIO}"


def complaint(said: str) -> str:
    """ffmpeg's first error message, without the name of the file, and not longer than a line can bear."""
    message = re.sub(r"^file:.*: ", "", first_error(said) or "no error message")
    message = re.sub(r" in filtergraph description .*", "", message)
    return message if len(message) <= LONGEST_COMPLAINT else message[: LONGEST_COMPLAINT - 1] + "…"


def too_short(source: Path, seconds: float, shortest: float, said: str = "") -> SettingsError:
    """The error for a file with less sound than ``shortest``, both in seconds. ``said`` is what ffmpeg printed."""
    if seconds > 0:  # whole milliseconds, not rounded up: 99.6 ms are not 100
        return refuse(source, f"it has {int(1000 * seconds)} ms of sound; expected at least {1000 * shortest:.0f} ms")
    length = declared(said)
    if length or first_error(said):
        what = f"none of its {length:.0f} s can be decoded" if length else "its sound cannot be decoded"
        why = f" ({complaint(said)!r})" if first_error(said) else ""
        return refuse(source, f"{what}{why}; {AUDIO}")
    return refuse(source, f"there is no sound in it; {AUDIO}")
