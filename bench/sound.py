"""The sound of a track at a phone, compared with a plain conversion: ``python -m bench.sound``.

A real server plays each track on the loopback to two calls, PCMU and G.722, in real time and for a little more than the
loop. The RTP of the calls is decoded and measured. For comparison, the output of ``ffmpeg -ar 8000 -ac 1`` is looped,
encoded by G.711 and measured. Without a TRACK, the tracks are the built-in piece and four tracks made by ffmpeg that
are hard to loop. The measurement needs bench/requirements.txt. The exit status is 1 if the loudness is more than 1 LU
from the target, if the true peak is above -6 dBTP, if the seam has a gap or a step greater than those of the music, or
if the whole silence that holds the seam, in the telephone's band, is longer than 30 ms.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import test_sip_client as phone
from bench.common.program import SCRIPT, environment
from bench.common.silence import FLOOR, LONGEST, in_telephone_band, silence_at
from moh.common.config import Settings
from moh.mastering.loudness import PEAK
from moh.mastering.prepare import BUILTIN, prepare

BANDS = ((0, 200), (200, 300), (300, 1000), (1000, 2000), (2000, 3400), (3400, 4000), (4000, 7000), (7000, 8000))
TARGET = -24.0
QUIET = ["-nostdin", "-hide_banner", "-nostats"]
MU_LAW = np.array(phone.DECODE["PCMU"], dtype=float)


def ffmpeg(*options: object, feed: bytes = b"") -> tuple[bytes, str]:
    """Run ffmpeg. Return its standard output and its standard error."""
    done = subprocess.run(["ffmpeg", *QUIET, *map(str, options)], input=feed, capture_output=True, check=True)
    return done.stdout, done.stderr.decode("utf-8", "replace")


def tracks(folder: Path) -> list[Path]:
    """Return the built-in piece and four tracks that are hard to loop.

    These four are made in ``folder``: a fade-out, an MP3 without a LAME tag, a track that is far too loud, and one
    whose last 3 s are a hum of 50 Hz, which no telephone passes.
    """
    made = {
        "fade-out.mp3": ("-ss", 2, "-t", 12, "-af", "afade=t=out:st=7:d=5,apad=pad_dur=1"),
        "no-tag.mp3": ("-ss", 3, "-t", 9.3, "-write_xing", 0),
        "clipped.mp3": ("-ss", 5, "-t", 9.7, "-af", "volume=24dB,bass=g=9,pan=stereo|c0=c0|c1=0.8*c0"),
        "hum.mp3": ("-t", 11, "-af", "atrim=end=8,apad=pad_dur=3,aeval=val(ch)+0.01*sin(2*PI*50*t):c=same"),
    }
    for name, options in made.items():
        ffmpeg("-v", "error", "-y", "-i", BUILTIN, *options, "-c:a", "libmp3lame", "-b:a", "128k", folder / name)
    return [BUILTIN, *(folder / name for name in made)]


def read(path: Path) -> np.ndarray:
    """Return the samples of the WAV file at ``path``."""
    with wave.open(str(path), "rb") as sound:
        return np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(float)


def listen(track: Path, folder: Path, seconds: float) -> dict[str, np.ndarray]:
    """Return what two phones receive from a real server: samples of PCMU (8 kHz) and of G.722 (16 kHz)."""
    first = random.randrange(34000, 50000, 2)
    settings = environment(
        MOH_BIND="127.0.0.1", MOH_SIP_PORT=first, MOH_RTP_PORTS=f"{first + 2}-{first + 9}",
        MOH_MUSIC=track, MOH_CACHE=folder / "cache",
    )  # fmt: skip
    with (folder / "server.log").open("w+b") as log:
        server = subprocess.Popen([sys.executable, SCRIPT], env=settings, stdout=log, stderr=log)
        try:
            while b"ready: " not in (folder / "server.log").read_bytes():
                if server.poll() is not None:
                    raise SystemExit((folder / "server.log").read_text(errors="replace"))
                time.sleep(0.1)
            address = phone.Address("127.0.0.1", first)
            with ThreadPoolExecutor() as calls:
                received = dict(
                    zip(
                        ("PCMU", "G722"),
                        calls.map(lambda c: phone.make_call(address, "", [c], seconds), ("PCMU", "G722")),
                    )
                )
        finally:
            server.terminate()
            server.wait()
    octets = {}
    for codec, call in received.items():
        packets = sorted(call.packets, key=lambda packet: (packet.timestamp - call.packets[0].timestamp) % 2**32)
        stamps = np.diff([packet.timestamp for packet in packets]) % 2**32
        if len(set(stamps)) != 1:
            print(f"  warning: {codec} lost packets, so its figures are wrong")
        octets[codec] = b"".join(packet.payload for packet in packets)
    g722, _ = ffmpeg("-v", "error", "-f", "g722", "-i", "-", "-f", "s16le", "-", feed=octets["G722"])
    return {
        "PCMU": MU_LAW[np.frombuffer(octets["PCMU"], np.uint8)],
        "G722": np.frombuffer(g722, "<i2").astype(float),
    }


def plain(track: Path) -> np.ndarray:
    """Return the samples that ``ffmpeg -ar 8000 -ac 1`` makes of the track."""
    sound, _ = ffmpeg("-v", "error", "-i", track, "-map", "0:a:0", "-ar", 8000, "-ac", 1, "-f", "s16le", "-")
    return np.frombuffer(sound, "<i2").astype(float)


def best_g711(samples: np.ndarray) -> np.ndarray:
    """Return each sample as the nearest value that G.711 has: the best possible encoding, sample by sample."""
    values = np.unique(MU_LAW)
    at = np.clip(np.searchsorted(values, samples), 1, len(values) - 1)
    return np.where(samples - values[at - 1] < values[at] - samples, values[at - 1], values[at])


def signal_to_noise(clean: np.ndarray, noisy: np.ndarray) -> float:
    """Return the ratio of ``clean`` to the noise in ``noisy``, in dB."""
    return float(10 * np.log10(np.sum(clean**2) / max(1e-9, np.sum((noisy - clean) ** 2))))


def meter(samples: np.ndarray, rate: int) -> tuple[float, float]:
    """Return the integrated loudness in LUFS and the true peak in dBFS (EBU R128, at 48 kHz)."""
    feed = np.clip(np.round(samples), -32768, 32767).astype("<i2").tobytes()
    chain = "aresample=48000,ebur128=peak=true:framelog=verbose"
    _, said = ffmpeg("-f", "s16le", "-ar", rate, "-ac", 1, "-i", "-", "-af", chain, "-f", "null", "-", feed=feed)
    return float(re.findall(r"\bI: +(\S+)", said)[-1]), float(re.findall(r"\bPeak: +(\S+)", said)[-1])


def levels(samples: np.ndarray, rate: int) -> list[str]:
    """Return the level of each band in dBFS. A sine of full scale has -3."""
    power = np.abs(np.fft.rfft(samples)) ** 2 * 2 / len(samples) ** 2 / 32768**2
    hertz = np.fft.rfftfreq(len(samples), 1 / rate)
    parts = [float(power[(hertz >= low) & (hertz < high)].sum()) for low, high in BANDS if low < rate / 2]
    return [f"{10 * np.log10(max(part, 1e-12)):6.1f}" for part in parts]


def longest_gap(samples: np.ndarray, rate: int, floor: float) -> float:
    """Return the length in ms of the longest stretch in which no sample is above ``floor``."""
    loud = np.flatnonzero(np.abs(samples) > floor)
    return float(np.diff(np.concatenate([[-1], loud, [len(samples)]])).max() - 1) * 1000 / rate


def seam(samples: np.ndarray, length: int, rate: int) -> dict[str, float]:
    """Return the step and the gap at the seam, which is at ``length``, and the largest ones within the music itself.

    A gap has no sample above the floor, within half a second of the seam. The silence that holds the seam has no loud
    20 ms in the telephone's band, and its whole length counts.
    """
    steps = np.abs(np.diff(samples))
    half = rate // 2
    silent = FLOOR + meter(samples, rate)[0] - TARGET
    floor = 32768 * 10 ** (silent / 20)
    heard = in_telephone_band(np.clip(np.round(samples), -32768, 32767).astype(int).tolist(), rate)
    inside = samples[length // 8 : length * 3 // 4]  # without the ends: a gap there must not excuse one at the seam
    return {
        "step": float(steps[length - 3 : length + 3].max()),
        "own": float(np.percentile(np.delete(steps, np.s_[length - 8 : length + 8]), 99.9)),
        "gap": longest_gap(samples[length - half : length + half], rate, floor),
        "own gap": longest_gap(inside, rate, floor),
        "silence": float(silence_at(heard, length, rate, silent)),
    }


def judge(track: Path, folder: Path, pictures: list[tuple[str, np.ndarray, int]]) -> bool:
    """Print the figures of one track. Return whether its sound is as good as it should be."""
    music = prepare(Settings.from_environment({"MOH_MUSIC": str(track), "MOH_CACHE": str(folder / "cache")}))
    print(f"\n{music.describe()}: {music.report}", flush=True)
    received = listen(track, folder, music.seconds + 3)
    raw = plain(track)
    naive = best_g711(np.concatenate([raw, raw[: 3 * 8000]]))
    pictures += [(f"{track.name}: ffmpeg -ar 8000 -ac 1", naive, len(raw))]
    every_good = True
    for name, samples, rate, length in (
        ("PCMU", received["PCMU"], 8000, round(music.seconds * 8000)),
        (
            "G.722",
            received["G722"],
            16000,
            round(music.seconds * 16000) + 22,
        ),  # the filters of G.722 delay by 22 samples
        ("plain PCMU", naive, 8000, len(raw)),
    ):
        if name == "PCMU":
            pictures += [(f"{track.name}: moh, as received by RTP", samples, length)]
        loudness, peak = meter(samples[:length], rate)
        found = seam(samples, length, rate)
        whole = found["step"] <= found["own"] and found["gap"] <= max(5.0, found["own gap"])
        whole &= found["silence"] <= LONGEST
        good = abs(loudness - TARGET) <= 1 and peak <= PEAK + 0.2 and whole
        if name != "plain PCMU":
            every_good &= good
        print(
            f"  {name:10} {loudness:6.1f} LUFS, peak {peak:5.1f} dBTP; seam: step {found['step']:5.0f} (own 99.9 % "
            f"{found['own']:5.0f}), gap {found['gap']:6.1f} ms (own {found['own gap']:5.1f}), "
            f"silence {found['silence']:.0f} ms {'ok' if good else 'FAIL'}"
        )
    shown = [f"{low}-{high}" for low, high in BANDS]
    print(f"  {'Hz':10} " + " ".join(f"{band:>9}" for band in shown))
    for name, samples, rate in (
        ("PCMU", received["PCMU"], 8000),
        ("G.722", received["G722"], 16000),
        ("plain", naive, 8000),
    ):
        print(f"  {name:10} " + " ".join(f"{level:>9}" for level in levels(samples, rate)))
    clean = read(music.paths[8000])
    clean = np.tile(clean, 2 + len(received["PCMU"]) // len(clean))[: len(received["PCMU"])]
    print(
        f"  G.711 signal to noise {signal_to_noise(clean, received['PCMU']):.2f} dB, "
        f"the best possible {signal_to_noise(clean, best_g711(clean)):.2f} dB; "
        f"of the plain one {signal_to_noise(raw, best_g711(raw)):.2f} dB"
    )
    return every_good


def draw(pictures: list[tuple[str, np.ndarray, int]], target: Path) -> None:
    """Draw spectrograms of the four seconds around each seam."""
    import io

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL import Image

    figure, axes = pyplot.subplots(len(pictures) // 2, 2, figsize=(11, 1.9 * len(pictures) // 2 + 0.6), squeeze=False)
    for axis, (name, samples, length) in zip(axes.flat, pictures):
        around = samples[max(0, length - 16000) : length + 16000]
        around = around / 32768 + 1e-7 * np.random.default_rng(1).standard_normal(
            len(around)
        )  # the noise replaces zeros, which have no logarithm
        extent = (-min(2.0, length / 8000), (len(around) - min(16000, length)) / 8000)
        axis.specgram(around, NFFT=512, Fs=8000, noverlap=384, vmin=-130, vmax=-40, cmap="magma", xextent=extent)
        axis.set_title(name, fontsize=9)
        axis.tick_params(labelsize=7)
        axis.set_ylabel("Hz", fontsize=7)
    for axis in axes[-1]:
        axis.set_xlabel("seconds from the seam of the loop", fontsize=8)
    figure.tight_layout()
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=80)
    Image.open(drawn).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(target, optimize=True)


def main() -> int:
    """Measure all tracks, print their figures, and draw the picture."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.sound", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tracks", metavar="TRACK", nargs="*", type=Path)
    parser.add_argument("--picture", metavar="FILE.png", type=Path, help="draw spectrograms around the seam")
    options = parser.parse_args()
    pictures: list[tuple[str, np.ndarray, int]] = []
    with tempfile.TemporaryDirectory(prefix="sound-") as folder:
        chosen = [track.absolute() for track in options.tracks] or tracks(Path(folder))
        good = [judge(track, Path(folder), pictures) for track in chosen]
    if options.picture:
        draw(pictures, options.picture)
    print("\nall as good as it should be" if all(good) else "\nNOT all as good as it should be")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
