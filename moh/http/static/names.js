// The names of the owner's music folder: what plays for each, who hears it, and names that were dialled in vain.

import { byId, fillFacts, fillTable, keep, make, setText } from "./elements.js";
import { few } from "./few.js";
import { done, loudness, showPlayers } from "./music.js";
import { duration, moment, number, phrase, size, t } from "./words.js";

const BAD = { refused: "error", full: "warning", away: "warning" }; // the kinds of rows, by the state of a name
const PLAY = ["ready", "plays"]; // the states in which a name has its own music
const SINCE = { plays: "names.playssince", away: "names.awaysince" }; // the texts of a radio that say since when

let shown = null; // the state of the names
let chosen = ""; // the name whose players are open
let advertised; // the name in the address that the page shows for phones

/** What a phone types for `name` before the @. Each character that is not safe there is escaped (RFC 3261 §25.1). */
const typed = (name) => encodeURIComponent(name);

/** The name in the address that the page shows for phones. It need not be in the folder. */
const ownName = (uri) => /^sip:([^@]*)@/.exec(uri)?.[1];

/** The name that a call hears; empty where there is no folder. */
export function heardName(call) {
  if (shown === null || call.name === undefined) return "";
  if (call.name) return call.name;
  return call.dialled && call.dialled !== advertised ? t("names.instead", { name: call.dialled }) : t("names.default");
}

export function showNames({ names, codecs, uri, music }) {
  shown = names ?? null;
  advertised = ownName(uri);
  byId("names-card").hidden = !names;
  if (!names) return;
  const plays = names.listed.filter((row) => PLAY.includes(row.state));
  const example = plays.find((row) => !row.default) ?? plays[0];
  const address = uri.replace(/^sip:[^@]*@/, `sip:${typed(example?.name ?? "")}@`);
  byId("names-explanation").hidden = !example;
  setText(byId("names-explanation"), t("names.explanation", { name: example?.name ?? "", address }));
  fillFacts(byId("names-facts"), [
    [t("names.folder"), names.folder],
    [t("names.number"), states(names)],
    [t("names.thedefault"), names.default ?? (music && !music.builtin ? music.name : t("music.builtin"))],
    [t("names.cache"), used(names.cache)],
  ]);
  const { count, listed } = names;
  setText(byId("names-count"), count > listed.length ? t("names.listed", { count, listed: listed.length }) : "");
  fillTable(byId("names"), [
    { label: t("column.name"), cell: nameCell },
    { label: t("column.namestate"), cell: stateCell },
    { label: t("music.length"), cell: lengthCell },
    { label: t("music.loudness"), cell: (row) => loudness(row.loudness) ?? t("none"), isShort: true },
    { label: t("column.calls"), cell: (row) => number(row.calls) },
    { label: t("column.hear"), press: (row) => open(row, codecs), cell: (row) =>
      (hasPlayer(row) ? [t("names.hear"), t("names.hearthis", { name: row.name })] : ["", ""]) },
  ], few("names", listed, "names.all", "names.fewer"), (row) => row.name, (row) => BAD[row.state] ?? "");
  showNamePlayers(listed, codecs);
  showMissing((names.missing ?? []).filter((row) => row.name !== advertised));
  keep(byId("names-notes"), names.notes ?? [], (text) => text, () => make("li"), setNote);
}

/** How many names are ready, and how many are not. */
const states = (names) => Object.entries(names.by_state).filter(([, count]) => count)
  .map(([state, count]) => t("names.instate", { state: t(`namestate.${state}`), count: number(count) })).join(" · ");

const used = (cache) => cache && t("names.used", { used: size(cache.used), limit: size(cache.limit) });

function setNote(item, text) {
  const words = phrase("notes", text);
  setText(item, words);
  if (words === text) item.lang = "en";
  else item.removeAttribute("lang");
}

function nameCell(row) {
  const kind = row.kind === "folder" ? t("kind.folder", { count: row.pieces }) : t(`kind.${row.kind}`);
  const escaped = typed(row.name) === row.name ? "" : t("names.typed", { text: typed(row.name) });
  return [row.name, [row.default ? t("names.default") : "", kind, escaped].filter(Boolean).join(" · ")];
}

function stateCell(row) {
  const words = t(`namestate.${row.state}`), { since = null, title = "", address = "" } = row.radio ?? {};
  const first = since && SINCE[row.state] ? t(SINCE[row.state], { time: moment(since) }) : words;
  if (row.state === "plays") return [first, title || address];
  const why = phrase("namewhys", row.why ?? "");
  return [first, why, why === row.why ? "en" : ""];
}

function lengthCell(row) {
  const spoken = row.announcements ? t("names.announcements", { count: row.announcements }) : "";
  return [row.seconds === null || row.kind === "radio" ? t("none") : duration(row.seconds), spoken];
}

function showMissing(rows) {
  byId("missing-part").hidden = !rows.length;
  fillTable(byId("missing"), [
    { label: t("column.missing"), cell: (row) => row.name },
    { label: t("column.count"), cell: (row) => number(row.count), isShort: true },
    { label: t("column.latest"), cell: (row) => moment(row.at), isShort: true },
  ], few("missing", rows, "names.all", "names.fewer"), (row) => row.name);
}

// -- the players of one name -----------------------------------------------------------------------------------------

/** A radio has none: what it sends is gone when a player would be ready. */
const hasPlayer = (row) => row.kind !== "radio" && row.state === "ready" && row.number !== null;

function open(row, codecs) {
  chosen = row.name;
  showNamePlayers([row], codecs);
  byId("names-listening").focus();
}

function showNamePlayers(rows, codecs) {
  const row = rows.find((each) => each.name === chosen && hasPlayer(each));
  byId("names-listen").hidden = !row;
  setText(byId("names-listening"), row ? t("names.listening", { name: row.name }) : "");
  setText(byId("names-report"), done(row?.summary));
  showPlayers(byId("names-players"), row ? codecs : [], row ? `/music/${typed(row.name)}` : "", row?.number);
}
