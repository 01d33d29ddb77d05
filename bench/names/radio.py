"""A radio that dies and comes back, as phones hear it: ``python -m bench.names radio``.

A station on the loopback plays, dies and comes back, sends garbage, changes from MP3 to AAC, falls silent and stalls. A
real server plays it by name; its fallback is a piece. All calls are PCMU, in real time: the first ones have an ffmpeg
each, the others hear the shared stream. The RTP of the calls is decoded and measured. Callers hear the station about 20
seconds after it sends.

It takes four minutes, with ``--short`` 100 seconds, and needs bench/requirements.txt. The exit status is 1 if a caller
hears silence for more than a second, or if the radio is not heard at the wanted loudness. Packets are skipped where the
machine is too busy for the pacers; that is no fault of a radio, and is printed.
"""

from __future__ import annotations

import argparse
import io
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import test_sip_client as phone
from bench.common.command_line import end_on_signals
from bench.common.plots import COLOURS
from bench.common.processes import share, used
from bench.common.program import SCRIPT, environment
from bench.common.silence import in_telephone_band, longest_silence
from bench.names.station import DEAD, GARBAGE, PLAYS, SILENT, STALLED, Station
from bench.sound import MU_LAW, TARGET, ffmpeg, meter
from moh.net.state_client import NoState, read_state

PORT = 24400
RATE = 8000
OWN, SHARED = 2, 3
"""Calls that have an ffmpeg each, and calls of the shared stream."""
SHORT = [(5, DEAD, "mp3"), (22, PLAYS, "mp3"), (52, PLAYS, "aac"), (72, PLAYS, "aac")]
LONG = [
    (10, DEAD, "mp3"), (35, PLAYS, "mp3"), (75, GARBAGE, "mp3"), (95, PLAYS, "mp3"), (135, PLAYS, "aac"),
    (155, SILENT, "mp3"), (175, PLAYS, "mp3"), (200, STALLED, "mp3"), (220, PLAYS, "mp3"), (265, PLAYS, "mp3"),
]  # fmt: skip
"""What the station does from which second on; the last one is the end."""
FALLBACK = "+".join(
    f"0.1*sin(2*PI*{hertz}*t)*(1+0.5*sin(2*PI*t/{seconds}))" for hertz, seconds in ((500, 3), (1250, 5))
)
"""Two tones whose levels rise and fall, which a picture tells from the station's music."""
APART = 1.0
"""Seconds between two calls: the first ones get an ffmpeg only if they do not all begin at once."""
STARTS_IN = 90.0
"""Seconds until callers have to hear the station."""
DELAY = 21.0
"""Seconds from the time at which the station sends until it is heard, about."""
MOST_SILENCE = 1000
"""Milliseconds of silence that a caller may hear."""
CLOSE = 2.0
"""LU from the wanted loudness."""


@dataclass(frozen=True)
class Heard:
    """What one phone has heard, and how it came."""

    sound: np.ndarray
    sources: int
    lost: int


@dataclass
class Told:
    """What the server has said of the radio: when, from the beginning of the calls, and what."""

    states: list[tuple[float, str, str]] = field(default_factory=list)


@contextmanager
def server(folder: Path, port: int) -> Iterator[tuple[phone.Address, int]]:
    """A server that plays the folder ``music``; yields its address and the number of its process."""
    chosen = environment(
        MOH_BIND="127.0.0.1", MOH_SIP_PORT=port, MOH_RTP_PORTS=f"{port + 2}-{port + 49}", MOH_FFMPEG_CALLS=OWN,
        MOH_MUSIC=folder / "music", MOH_CACHE=folder / "cache", MOH_ALLOW_RADIO="127.0.0.0/8",
    )  # fmt: skip
    with (folder / "server.log").open("w+b") as log:
        process = subprocess.Popen([sys.executable, SCRIPT], env=chosen, stdout=log, stderr=log)
        try:
            yield phone.Address("127.0.0.1", port), process.pid
        finally:
            process.terminate()
            process.wait()


def row(port: int) -> dict[str, Any]:
    """What the server's state says of the radio; empty where it says nothing."""
    try:
        names = read_state("127.0.0.1", port).get("names") or {}
    except NoState:
        return {}
    return next((each for each in names.get("listed", []) if each["name"] == "radio"), {})


def watch(port: int, told: Told, began: float, ended: threading.Event) -> None:
    """Note each change of the radio's state."""
    latest = ("", "")
    while not ended.wait(0.3):
        found = row(port)
        if (now := (found.get("state", ""), found.get("why", ""))) != latest:
            latest = now
            told.states.append((time.monotonic() - began, *now))


def follow(station: Station, plan: Sequence[tuple[int, str, str]], began: float) -> None:
    """Let the station do what the plan says."""
    for at, does, form in plan:
        time.sleep(max(0.0, began + at - time.monotonic()))
        station.does, station.form = does, form


def listen(at: phone.Address, number: int, seconds: float) -> Heard:
    """Call the radio until ``seconds`` after the first call. Call number 0 is the first one, the others come later."""
    time.sleep(APART * number)
    with phone.Call(at, "", ["PCMU"]) as call:
        call.rtp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)  # this process may have to wait for seconds
        call.uri = f"sip:radio@{at}"
        call.dial()
        call.hear(seconds - APART * number, 10.0)
        call.hang_up()
    packets = sorted(call.packets, key=lambda packet: (packet.timestamp - call.packets[0].timestamp) % 2**32)
    if not packets:
        raise SystemExit(f"no music: {call.final.status if call.final else 'no answer'}")
    lost = np.diff([packet.timestamp for packet in packets]) % 2**32 // 160 - 1
    sound = phone_sound(b"".join(packet.payload for packet in packets))
    return Heard(sound, len({packet.ssrc for packet in packets}), int(lost.sum()))


def phone_sound(octets: bytes) -> np.ndarray:
    """The samples of G.711 octets."""
    return MU_LAW[np.frombuffer(octets, np.uint8)]


def levels_of(sound: np.ndarray) -> np.ndarray:
    """The level of each 0.1 s in dBFS."""
    parts = sound[: len(sound) // 800 * 800].reshape(-1, 800)
    return 10 * np.log10(np.maximum(1e-9, np.mean((parts / 32768) ** 2, axis=1)))


def judge(heard: Sequence[Heard], faults: list[str]) -> None:
    """Print a line for each caller."""
    print("  caller       longest silence  packets skipped  SSRCs  loudness, LUFS (each 10 s)")
    for number, one in enumerate(heard):
        name = f"ffmpeg {number + 1}" if number < OWN else f"shared {number + 1 - OWN}"
        silence = longest_silence(in_telephone_band(np.clip(one.sound, -32768, 32767).astype(int).tolist(), RATE), RATE)
        whole = meter(one.sound, RATE)[0]
        parts = [
            meter(one.sound[at : at + 10 * RATE], RATE)[0] for at in range(0, len(one.sound) - 9 * RATE, 10 * RATE)
        ]
        print(
            f"  {name:12} {silence:12d} ms {one.lost:16d} {one.sources:6d}  {whole:6.1f} ({min(parts):.1f} to "
            f"{max(parts):.1f})",
            flush=True,
        )
        if silence > MOST_SILENCE:
            faults.append(f"{name} heard silence for {silence} ms")
        if one.sources != 1:
            faults.append(f"{name} heard {one.sources} sources")
        if abs(whole - TARGET) > CLOSE:
            faults.append(f"{name} heard {whole:.1f} LUFS")


def draw(heard: Sequence[Heard], plan: Sequence[tuple[int, str, str]], told: Told, target: Path) -> None:
    """Draw the level that a caller of each engine has heard, and what the station did."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL import Image

    figure, axes = pyplot.subplots(3, 1, figsize=(10.5, 6.5), sharex=True, layout="constrained")
    for axis, one, name in zip(axes, (heard[0], heard[-1]), ("an ffmpeg of its own", "the shared stream")):
        levels = levels_of(one.sound)
        seconds = np.arange(len(levels)) * 0.1 + (0.0 if one is heard[0] else APART * (len(heard) - 1))
        axis.plot(seconds, levels, color=COLOURS[0], linewidth=0.8)
        axis.set_title(f"The radio, as a caller of {name} hears it: level of each 0.1 s", fontsize=9)
        axis.set_ylim(-60, 0)
        axis.set_ylabel("dBFS", fontsize=8)
        axis.grid(alpha=0.3)
        for (begin, does, form), (end, _, _) in zip(plan, plan[1:]):
            if does != PLAYS:
                axis.axvspan(begin, end, color=COLOURS[1], alpha=0.2, linewidth=0)
            axis.text((begin + end) / 2, -57, does if does != PLAYS else form, ha="center", fontsize=7)
        for (at, state, _), later in zip(told.states, [*told.states[1:], (float(seconds[-1]), "", "")]):
            if state == "away":
                axis.axvspan(at, later[0], ymin=0.94, color=COLOURS[3], alpha=0.6, linewidth=0)
    axes[0].text(0.5, -9, "violet: the fallback is written, and heard 15 s later", fontsize=7, color=COLOURS[3])
    axes[2].specgram(heard[0].sound, NFFT=2048, Fs=RATE, noverlap=0, cmap="magma", vmin=-10)
    axes[2].set_title("What the first caller hears: the fallback is the two lines at 500 and 1250 Hz", fontsize=9)
    axes[2].set_ylabel("Hz", fontsize=8)
    axes[2].set_xlabel("seconds of the call (shaded: what the station does)", fontsize=8)
    for axis in axes:
        axis.tick_params(labelsize=7)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=80)
    pyplot.close(figure)
    Image.open(drawn).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(target, optimize=True)


def measure(folder: Path, options: argparse.Namespace, faults: list[str]) -> None:
    """Measure one server."""
    plan = SHORT if options.short else LONG
    music = folder / "music"
    music.mkdir()
    (folder / "cache").mkdir(exist_ok=True)
    ffmpeg("-v", "error", "-f", "lavfi", "-i", f"aevalsrc={FALLBACK}:s=16000:d=30", music / "default.wav")
    station = Station(options.port + 60)
    (music / "radio.url").write_text(station.address + "\n")
    with server(folder, options.port) as (at, number):
        give_up = time.monotonic() + STARTS_IN
        while row(options.port).get("state") != "plays":
            if time.monotonic() > give_up:
                raise SystemExit("the radio does not play:\n" + (folder / "server.log").read_text(errors="replace"))
            time.sleep(0.3)
        time.sleep(DELAY - 5)
        told, ended, began = Told(), threading.Event(), time.monotonic()
        before = used([number])
        threading.Thread(target=watch, args=[options.port, told, began, ended], daemon=True).start()
        threading.Thread(target=follow, args=[station, plan, began], daemon=True).start()
        seconds = plan[-1][0] + DELAY
        with ThreadPoolExecutor(OWN + SHARED) as threads:
            heard = list(threads.map(lambda number: listen(at, number, seconds), range(OWN + SHARED)))
        ended.set()
        print(f"\nwhat the server said ({station.connections} connections):")
        for when, state, why in told.states:
            print(f"  {when:6.1f} s  {state:10} {why}")
        print(f"  the server and its processes used {share(before, used([number])):.1f} % of a core")
    station.close()
    print()
    judge(heard, faults)
    if options.picture:
        draw(heard, plan, told, options.picture)


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table, and draw the picture."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.names radio", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--picture", metavar="FILE.png", type=Path, help="draw what was heard")
    parser.add_argument("--port", type=int, default=PORT, help="the first of 61 ports (default: %(default)s)")
    parser.add_argument("--short", action="store_true", help="only: it dies, comes back, and changes its format")
    options = parser.parse_args(arguments)
    end_on_signals()
    faults: list[str] = []
    print(f"This takes {(SHORT if options.short else LONG)[-1][0] + 60} seconds.", flush=True)
    with tempfile.TemporaryDirectory(prefix="radio-") as folder:
        measure(Path(folder), options, faults)
    print("\nNOT as it should be: " + "; ".join(faults) if faults else "\nall as it should be")
    return 1 if faults else 0
