"""Debian's baresip (package baresip-core) as a server of music: its configuration, the command that starts it.

Its module ``aufile`` reads the whole WAV file for each call, plays it once and then ends the call: ``prolonged`` makes
a file that lasts as long as the calls have to.
"""

from __future__ import annotations

import shutil
import wave
from pathlib import Path
from typing import Optional

PLACES = ("/usr/lib", "/usr/local/lib")
"""Where the folder of its modules is looked for."""
NAME = "baresip"
CONFIGURATION = """\
poll_method epoll
module_path {modules}
module g711.so
module aufile.so
module_app account.so
net_interface {host}
sip_listen {host}:{port}
call_max_calls 0
call_local_timeout 0
rtp_ports {first}-{last}
rtp_tos 184
rtp_stats no
audio_level no
audio_source aufile,{music}
audio_player none
ausrc_srate 8000
ausrc_channels 1
"""
"""``call_max_calls 0`` is no limit: what bounds its calls then are the 1024 descriptors that it can watch, two each."""
ACCOUNT = "<sip:{user}@{host}>;regint=0;answermode=auto;audio_codecs=pcmu;ptime=20\n"


def modules() -> Optional[Path]:
    """The folder of its modules; ``None`` where it is not installed."""
    found = [folder for place in PLACES for folder in sorted(Path(place).glob("**/baresip/modules"))]
    return found[0] if found else None


def is_here() -> bool:
    """Whether it is installed, program and modules."""
    return shutil.which(NAME) is not None and modules() is not None


def configure(
    folder: Path, address: tuple[str, int], music: Path, user: str = "1", ports: range = range(10000, 20000)
) -> list[str]:
    """Write its configuration into ``folder``, which is there; the words of the command that starts it.

    It listens at ``address`` by UDP and TCP (and on the next port by TLS), answers whoever calls ``user`` there, and
    plays ``music`` to him as PCMU, a packet each 20 ms, from an even port of ``ports``; RTCP is on the port above.
    ``address`` is one of this machine's, since it does not listen on 0.0.0.0; ``music`` is a WAV file of one channel,
    16 bits, 8000 Hz. Nothing is asked of ``folder`` later: another start reads the same files. Raises ``RuntimeError``
    where it is not installed.
    """
    shelf = modules()
    if shelf is None or not is_here():
        raise RuntimeError(f"{NAME} is not installed; expected the package baresip-core")
    host, port = address
    (folder / "config").write_text(
        CONFIGURATION.format(modules=shelf, host=host, port=port, music=music, first=ports[0], last=ports[-1]),
        encoding="utf-8",
    )
    (folder / "accounts").write_text(ACCOUNT.format(user=user, host=host), encoding="utf-8")
    (folder / "contacts").touch()
    return [NAME, "-4", "-f", str(folder)]


def prolonged(music: Path, longer: Path, seconds: float) -> Path:
    """Write the WAV file ``music``, over and over, into ``longer`` until that lasts ``seconds``; gives that back.

    Raises ``ValueError`` where there is no sound in ``music``.
    """
    with wave.open(str(music), "rb") as source:
        shape, rate = source.getparams(), source.getframerate()
        sound = source.readframes(source.getnframes())
    if not sound:
        raise ValueError(f"{music}: no sound in it")
    wanted = round(seconds * rate) * shape.nchannels * shape.sampwidth
    with wave.open(str(longer), "wb") as target:
        target.setparams(shape)
        target.writeframes((sound * (wanted // len(sound) + 1))[:wanted])
    return longer
