"""Pieces in a row and announcements, as a phone hears them: ``python -m bench.names joints``.

A folder gets a loud, a quiet and a spoken piece and an announcement. A real server plays it on the loopback by the name
that is dialled, once with announcements at the joints and once with one each 25 s. The calls are PCMU, in real time:
the first ones have an ffmpeg each, the others hear the shared stream. The RTP of the calls is decoded and measured.

The measurement takes four minutes and needs bench/requirements.txt, and an ffmpeg with flite, which speaks. The exit
status is 1 if there is a gap above 5 ms or a step above the music's own at a joint, if the pieces differ by more than
1 LU, if a peak is above -6 dBTP, or if the lowering is not as planned.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import test_sip_client as phone
from bench.common.command_line import end_on_signals
from bench.common.program import SCRIPT, environment
from bench.names.figures import (
    RATE,
    Lowered,
    joint_figures,
    looped,
    lowered,
    piece_loudness,
    place_in,
    voices_in,
)
from bench.names.material import ANNOUNCEMENT, PIECES, make_folder
from bench.sound import MU_LAW, best_g711, ffmpeg, meter, read
from moh.common.config import Settings
from moh.mastering.arrange import Arranged, arrange
from moh.mastering.form import Form
from moh.mastering.loudness import PEAK
from moh.mastering.prepare import prepare_file
from moh.net.state_client import NoState, read_state

PORT = 21500
EVERY = 25
"""Seconds of the second server's MOH_ANNOUNCE."""
READY_WITHIN = 120.0
"""Seconds until all names have to be ready."""
OWN = 3
"""Calls that have an ffmpeg each."""
SPREAD = 1.0
"""LU between the loudest and the quietest piece at most."""
RIPPLE = 0.5
"""dB by which the gain may vary while the voice speaks: the noise of G.711 is in this figure."""


@dataclass
class Heard:
    """What one phone has heard, and how it came."""

    sound: np.ndarray
    """At 8000 Hz, of G.722 at 16000 Hz."""
    sources: int
    losses: list[float]
    """Where packets are missing, in seconds."""


@dataclass
class Findings:
    """The figures of all servers, and what is not as it should be."""

    faults: list[str] = field(default_factory=list)
    picture: dict[str, object] = field(default_factory=dict)

    def check(self, holds: bool, text: str) -> str:
        """Note ``text`` as a fault unless it ``holds``. Return a mark for the table."""
        if not holds:
            self.faults.append(text)
        return "" if holds else "  FAIL"


def arrangement_of(folder: Path, settings: Settings, spoken: bool) -> tuple[Arranged, np.ndarray]:
    """What the server plays for the folder, and the samples of the announcement."""
    parts = [prepare_file(folder / name, settings, Form.PIECE) for name in PIECES]
    voice = prepare_file(folder / ANNOUNCEMENT, settings, Form.SPEECH) if spoken else None
    arranged = arrange(folder, parts, voice, settings)
    return arranged, read(voice.paths[RATE]) if voice else np.zeros(0)


@contextmanager
def server(folder: Path, port: int, **settings: object) -> Iterator[phone.Address]:
    """A server that plays the folder ``music``, once all its names are ready."""
    chosen = environment(
        MOH_BIND="127.0.0.1", MOH_SIP_PORT=port, MOH_RTP_PORTS=f"{port + 2}-{port + 49}", MOH_FFMPEG_CALLS=OWN,
        MOH_MUSIC=folder / "music", MOH_CACHE=folder / "cache", **settings,
    )  # fmt: skip
    path = folder / f"server-{port}.log"
    with path.open("w+b") as log:
        process = subprocess.Popen([sys.executable, SCRIPT], env=chosen, stdout=log, stderr=log)
        try:
            give_up = time.monotonic() + READY_WITHIN
            while b"ready: " not in path.read_bytes() or not _all_ready(port):
                if process.poll() is not None or time.monotonic() > give_up:
                    raise SystemExit("the server did not become ready:\n" + path.read_text(errors="replace"))
                time.sleep(0.3)
            yield phone.Address("127.0.0.1", port)
        finally:
            process.terminate()
            process.wait()


def _all_ready(port: int) -> bool:
    try:
        names = read_state("127.0.0.1", port).get("names")
    except NoState:
        return False
    rows = names["listed"] if names else []
    return len(rows) == 2 and all(row["state"] == "ready" for row in rows)


def listen(at: phone.Address, name: str, seconds: float, wait: float = 0.0, codec: str = "PCMU") -> Heard:
    """Call ``name`` after ``wait`` seconds, for ``seconds``."""
    time.sleep(wait)
    with phone.Call(at, "", [codec]) as call:
        call.uri = f"sip:{name}@{at}"
        call.dial()
        call.hear(seconds, 10.0)
        call.hang_up()
    packets = sorted(call.packets, key=lambda packet: (packet.timestamp - call.packets[0].timestamp) % 2**32)
    if not packets:
        raise SystemExit(f"no music for {name!r}: {call.final.status if call.final else 'no answer'}")
    stamps = np.diff([packet.timestamp for packet in packets]) % 2**32
    times = np.cumsum([0, *stamps]) / RATE
    losses = [float(times[number]) for number in np.flatnonzero(stamps != 160)]
    octets = np.full((packets[-1].timestamp - packets[0].timestamp) % 2**32 + 160, 255, np.uint8)  # silence of PCMU
    for packet in packets:
        place = (packet.timestamp - packets[0].timestamp) % 2**32
        octets[place : place + 160] = np.frombuffer(packet.payload, np.uint8)
    if codec == "G722":
        decoded, _ = ffmpeg("-v", "error", "-f", "g722", "-i", "-", "-f", "s16le", "-", feed=octets.tobytes())
        sound = np.frombuffer(decoded, "<i2").astype(float)
    else:
        sound = MU_LAW[octets]
    return Heard(sound, len({packet.ssrc for packet in packets}), losses)


def missing(heard: Heard) -> str:
    """How many packets are missing, and where, in words. The shared stream leaves some out on a busy machine."""
    if not heard.losses:
        return "no packet lost"
    return f"{len(heard.losses)} packets lost, at {', '.join(f'{at:.2f}' for at in heard.losses[:4])} s ..."


def calls(at: phone.Address, wanted: Sequence[tuple[str, float, float, str]]) -> list[Heard]:
    """The calls ``wanted`` (name, seconds, wait, codec), all at once."""
    with ThreadPoolExecutor(len(wanted)) as threads:
        return list(threads.map(lambda one: listen(at, *one), wanted))


def rendered(arranged: Arranged, seconds: float, begin: float = 0.0, rate: int = RATE) -> Heard:
    """What a phone would hear of the file, from the second ``begin`` of the loop on."""
    music = read(arranged.paths[rate])
    return Heard(best_g711(looped(music, round(begin * rate), round(seconds * rate))), 1, [])


# -- what is measured ------------------------------------------------------------------------------------------------


def judge_joints(heard: Heard, arranged: Arranged, findings: Findings, rate: int = RATE) -> dict[str, object]:
    """Print the joints and the loudness of the pieces of a call that has heard more than the loop."""
    music = read((arranged.plain or arranged.paths)[rate])
    offset = place_in(heard.sound, music)
    if offset > len(music) // 2:
        offset -= len(music)  # the filters of G.722 delay by 22 samples
    print(f"  {'PCMU' if rate == RATE else 'G.722'}, from {offset / rate:.3f} s of the loop; {missing(heard)}")
    begins = [round(at * rate) - offset for _, at in arranged.pieces]
    joints = [*begins[1:], len(music) - offset]
    print("  joint         gap, ms  (own)   largest step  (own)")
    for number, at in enumerate(joints):
        found = joint_figures(heard.sound, at, rate)
        names = f"{number % len(joints) + 1} to {(number + 1) % len(joints) + 1}"
        mark = findings.check(found.is_good, f"the joint from piece {names} at {rate} Hz")
        print(f"  {names:12} {found.gap:8.1f} {found.own_gap:7.1f} {found.step:14.0f} {found.own_step:7.0f}{mark}")
    begins = [max(0, begin) for begin in begins]
    loud = piece_loudness(heard.sound, begins, joints[-1], rate)
    spread = max(loud) - min(loud)
    mark = findings.check(spread <= SPREAD, f"the pieces differ by {spread:.1f} LU at {rate} Hz")
    print(f"  loudness {', '.join(f'{value:.1f}' for value in loud)} LUFS: {spread:.1f} LU apart{mark}")
    return {"plain": heard.sound, "begins": begins, "joints": joints, "loudness": loud}


def judge_announcements(heard: Heard, arranged: Arranged, voice: np.ndarray, findings: Findings, title: str) -> None:
    """Print the announcements of a call, and how the music is lowered for them."""
    plain = read(arranged.plain[RATE])
    offset = place_in(heard.sound, read(arranged.paths[RATE]))
    music = looped(plain, offset, len(heard.sound))
    found = voices_in(heard.sound, voice)
    times = ", ".join(f"{at:.2f}" for at, _ in found)
    least = min((share for _, share in found), default=0.0)
    first = found[0][0] if found else 0.0
    mark = findings.check(first >= arranged.plain_for, f"{title}: an announcement at {first:.2f} s")
    print(f"  {title}: announcements at {times} s (agreement at least {least:.2f}){mark}")
    mark = findings.check(heard.sources == 1, f"{title}: {heard.sources} SSRC")
    peak = meter(heard.sound, RATE)[1]
    mark += findings.check(peak <= PEAK + 0.3, f"{title}: peak {peak:.1f} dBTP")
    print(f"    {heard.sources} SSRC, {missing(heard)}, peak {peak:.1f} dBTP{mark}")
    lowerings: list[Lowered] = []
    for at, _ in found:
        place = round(at * RATE)
        if place < 3 * RATE or place + len(voice) + 4 * RATE > len(heard.sound):
            continue
        one = lowered(heard.sound, music, voice, place)
        good = one.ripple <= RIPPLE and abs(one.before) < 0.2 and abs(one.after) < 0.2 and 14 <= one.depth <= 16
        mark = findings.check(good, f"{title}: the lowering at {at:.1f} s")
        print(
            f"    at {at:7.2f} s: {one.depth:.1f} dB lower (ripple {one.ripple:.2f} dB), down in {one.down:.2f} s, "
            f"up in {one.up:.2f} s, before and after {one.before:+.2f} and {one.after:+.2f} dB, "
            f"voice {one.voice_above:.1f} dB above the music{mark}"
        )
        lowerings.append(one)
    shift = offset / RATE
    findings.picture[title] = heard.sound
    findings.picture[f"lowered {title}"] = lowerings
    findings.picture[f"windows {title}"] = [(begin - shift, end - shift) for begin, end in arranged.announcements]


def measure(folder: Path, port: int, by_files: bool, findings: Findings) -> None:
    """Measure both servers."""
    music = folder / "music"
    make_folder(music)
    for number, (every, title) in enumerate((("0", "at the joints"), (f"{EVERY}s", f"each {EVERY} s"))):
        settings = Settings.from_environment({"MOH_CACHE": str(folder / "cache"), "MOH_ANNOUNCE": every})
        (folder / "cache").mkdir(exist_ok=True)
        plain, _ = arrangement_of(music / "plain", settings, False)
        hold, voice = arrangement_of(music / "hold", settings, True)
        print(f"\nMOH_ANNOUNCE={every}: {hold.summary()}", flush=True)
        whole = hold.seconds + 12
        if by_files:
            heard = [
                rendered(plain, plain.seconds + 6),
                rendered(hold, whole),
                rendered(plain, plain.seconds + 6, 0, 16000),
            ]
        else:
            with server(folder, port + 100 * number, MOH_ANNOUNCE=every) as at:
                wanted = [("plain", plain.seconds + 6, 0.0, "PCMU"), ("hold", whole, 1.0, "PCMU")]
                wanted += [("plain", plain.seconds + 6, 2.0, "G722")]
                wanted += [("hold", 75.0, wait, "PCMU") for wait in (4.0, 11.0, 23.0)]
                heard = calls(at, wanted)
        if number == 0:
            findings.picture.update(judge_joints(heard[0], plain, findings))
            judge_joints(heard[2], plain, findings, 16000)
        judge_announcements(heard[1], hold, voice, findings, f"{title}, an ffmpeg")
        for other in heard[3:]:
            judge_shared(other, hold, voice, findings, title)


def judge_shared(heard: Heard, arranged: Arranged, voice: np.ndarray, findings: Findings, title: str) -> None:
    """Print when a caller of the shared stream heard the first announcement, and whether it was whole."""
    found = voices_in(heard.sound, voice)
    first = found[0][0] if found else 0.0
    mark = findings.check(first >= arranged.plain_for, f"{title}, shared: an announcement at {first:.2f} s")
    whole = all(share > 0.8 for at, share in found if at + len(voice) / RATE < len(heard.sound) / RATE)
    mark += findings.check(whole, f"{title}, shared: an announcement was cut off")
    mark += findings.check(heard.sources == 1, f"{title}, shared: {heard.sources} sources")
    times = ", ".join(f"{at:.2f}" for at, _ in found)
    print(f"  {title}, the shared stream: announcements at {times} s; {heard.sources} SSRC, {missing(heard)}{mark}")


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table, and draw the picture."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.names joints", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--picture", metavar="FILE.png", type=Path, help="draw what was heard")
    parser.add_argument("--port", type=int, default=PORT, help="the first of 150 ports (default: %(default)s)")
    parser.add_argument(
        "--files", action="store_true", help="measure the converted files, without a server, in seconds"
    )
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="keep the folder of the measurement there")
    options = parser.parse_args(arguments)
    end_on_signals()
    findings = Findings()
    print("This takes seconds." if options.files else "This takes four minutes.", flush=True)
    with tempfile.TemporaryDirectory(prefix="names-") as folder:
        measure(options.keep or Path(folder), options.port, options.files, findings)
    if options.picture:
        from bench.names.picture import draw

        draw(findings.picture, options.picture)
    print("\nNOT as it should be: " + "; ".join(findings.faults) if findings.faults else "\nall as it should be")
    return 1 if findings.faults else 0
