// The card of the music: its facts, its waveform, and the players, by which the owner hears what callers hear.

import { byId, fillFacts, keep, make, setAttribute, setText } from "./elements.js";
import { duration, moment, number, phrases, t } from "./words.js";

const WAVEFORM_PAUSE = 5000; // milliseconds
export const CODECS = { PCMU: "PCMU (G.711 µ-law)", PCMA: "PCMA (G.711 A-law)", G722: "G.722", opus: "Opus" };

let wave = { number: null, seconds: 0, peaks: [], rms: [] };

export function showMusic({ music, codecs, names }) {
  byId("music").hidden = !music;
  byId("no-music").hidden = Boolean(music);
  if (!music) return;
  setText(byId("music-default"), names ? t("music.default") : "");
  fillFacts(byId("music-facts"), [
    [t("music.name"), music.builtin ? t("music.builtin") : music.name],
    [t("music.length"), music.live ? null : duration(music.seconds)],
    [t("music.loudness"), loudness(music.loudness)],
    [t("music.gain"), gain(music.gain)],
    [t("music.since"), moment(music.since)],
  ]);
  setText(byId("music-report"), done(music.summary));
  byId("music-sound").hidden = Boolean(music.live); // a radio has no waveform, and no player
  if (music.live) return;
  showPlayers(byId("players"), codecs, "/music", music.number);
  if (wave.number !== music.number) loadWaveform(music.number);
  showWaveform();
}

/** What was done to the music: what stands behind its name and length in the server's line. */
export function done(summary) {
  return phrases("report", (summary ?? "").replace(/^.*?((converted|put together) (in [\d.]+ s|before): )/s, "$1"));
}

export const loudness = (value) => (value === null || value === undefined ? null : `${number(value, 1)} LUFS`);

function gain(decibels) {
  if (decibels === null || decibels === undefined) return null;
  if (Math.abs(decibels) < 0.5) return t("gain.none");
  return t(decibels > 0 ? "gain.up" : "gain.down", { decibels: number(Math.abs(decibels), 1) });
}

/** A player for each codec, of the music below `path`. Other music has another `number`, and gets other players. */
export function showPlayers(list, codecs, path, number) {
  const create = (codec) => makePlayer(`${path}/${codec.toLowerCase()}.wav?music=${number}`);
  keep(list, codecs, (codec) => `${codec} ${path} ${number}`, create, (item, codec) => {
    setText(item.firstChild, CODECS[codec] ?? codec);
    setText(item.children[1], t(`codec.${codec}`));
    setAttribute(item.lastChild, "aria-label", t("music.player", { codec: CODECS[codec] ?? codec }));
  });
}

function makePlayer(source) {
  const player = make("audio", { controls: "", preload: "none", src: source });
  player.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== player) other.pause();
  });
  const note = make("small");
  player.addEventListener("error", () => { // the server is still making it
    setText(note, t("music.notyet"));
    player.load();
  });
  return make("li", {}, make("span", { class: "codec" }), note, player);
}

async function loadWaveform(number) {
  wave = { number, seconds: 0, peaks: [], rms: [] };
  try {
    const answer = await fetch(`/music/waveform.json?music=${number}`);
    if (!answer.ok) throw new Error(String(answer.status));
    wave = { number, ...await answer.json() };
  } catch { // it is being made, or cannot be made
    setTimeout(() => { wave.number = null; }, WAVEFORM_PAUSE);
  }
}

/** Peaks and RMS, scaled so that the loudest peak fills the height. */
function showWaveform() {
  const highest = Math.max(0.01, ...wave.peaks), count = Math.max(1, wave.peaks.length);
  const time = duration((wave.peaks.indexOf(highest) / count) * wave.seconds);
  const drawing = byId("waveform");
  drawing.toggleAttribute("hidden", wave.peaks.length === 0);
  setAttribute(drawing, "aria-label", t("music.waveform", { length: duration(wave.seconds), time }));
  [wave.peaks, wave.rms].forEach((values, index) => {
    const bars = values.map((value, place) => {
      const height = Math.max(1, (76 * value) / highest);
      return `M${((600 * (place + 0.5)) / count).toFixed(2)} ${(40 - height / 2).toFixed(1)}v${height.toFixed(1)}`;
    });
    setAttribute(drawing.children[index], "d", bars.join(""));
  });
}
