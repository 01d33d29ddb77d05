// Asks the server for its state every few seconds and shows it. It sends nothing and stores nothing.

import { byId, fillFacts, fillTable, keep, make, setAttribute, setText } from "./elements.js";
import { few, watchButtons } from "./few.js";
import { CODECS, showMusic } from "./music.js";
import { heardName, showNames } from "./names.js";
import { chooseLanguage, duration, loadTexts, milliseconds, moment, number, percent, phrase, t } from "./words.js";

const VISIBLE_PAUSE = 2000, HIDDEN_PAUSE = 15000, TIMEOUT = 6000; // milliseconds
const MISSES = 2; // answers in a row that have to be missing before the page says so
const OLD = 5; // seconds since the page's process had that state from the server; normally it is a second
const LONG = 80; // characters of a sentence that is shown in smaller letters
const UNDECIDED = "callers hear the built-in piece, since the music is still being prepared";
const LEVELS = ["error", "warning", "note"]; // of findings, the worst first; those that are "ok" are not shown
const MUSIC_REFUSED = ["music-unreadable", "music-missing", "music-refused"]; // of the start: may be mended since
const FOLDER_REFUSED = ["folder-empty", "folder-trouble"]; // of now: they say the same as the state's trouble
const PLAIN_BYE = "BYE from the caller"; // says no more than the plain words
const STAND_IN = "ADDRESS-OF-THIS-MACHINE";
const NOTHING_ARRIVES = /nothing in its last (\d+) s/;

let state = null;
let misses = 0;
let answeredAt = 0;
let announced = "";
let timer = 0;
let isAsking = false;

// -- asking the server -----------------------------------------------------------------------------------------------

async function ask() {
  if (isAsking) return;
  isAsking = true;
  clearTimeout(timer);
  try {
    const answer = await fetch("/state.json", { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT) });
    if (!answer.ok) throw new Error(String(answer.status));
    state = await answer.json();
    misses = 0;
    answeredAt = Date.now() / 1000 - (state.age ?? 0);
  } catch {
    misses += 1;
  }
  show();
  isAsking = false;
  timer = setTimeout(ask, document.hidden ? HIDDEN_PAUSE : VISIBLE_PAUSE);
}

const isLost = () => misses >= MISSES || (state === null ? misses > 0 : (state.age ?? 0) > OLD);

function show() {
  const parts = state === null ? [] : [
    showPhone, showMusic, showNames, showCalls, showEnded, showRefusals, showServer, showSettings,
  ];
  for (const part of [showStatus, ...parts]) {
    try {
      part(state);
    } catch (error) {
      console.error(part.name, error); // a part that cannot be shown does not hide the others
    }
  }
}

// -- is all well? ----------------------------------------------------------------------------------------------------

/** The kind of the sentence, the sentence, the troubles below it, and that which the sentence itself names. */
function judge() {
  if (isLost()) {
    const why = state === null ? t("lost.never") : t("lost.since", { time: moment(answeredAt) });
    const lost = { level: "error", what: t("lost.sentence"), why, do: t("lost.do") };
    return ["error", t("lost.sentence"), [lost], lost];
  }
  if (state === null) return ["waiting", t("waiting.sentence"), []];
  const found = troubles();
  const worst = found.find((each) => each.level === "error") ?? found.find((each) => each.level === "warning");
  if (state.stopping) return ["warning", t("stopping.sentence"), found];
  if (state.draining) return ["warning", t("draining.sentence"), found];
  if (state.busy) return ["warning", t("busy.sentence"), found];
  if (!state.ready) return ["warning", t("starting.sentence"), found];
  if (state.trouble === UNDECIDED) return ["waiting", t("preparing.sentence"), found];
  if (worst) return [worst.level, t(`${worst.level}.sentence`, { what: worst.what }), found, worst];
  return ["ok", t(state.music?.builtin ? "ok.builtin" : "ok.sentence"), found];
}

/** What the server's check has found, the worst first, and what it knows of its music now. */
function troubles() {
  const { trouble: why } = state, findings = state.findings ?? [];
  const isRefused = why !== "" && why !== UNDECIDED;
  const found = findings.filter((each) => each.level !== "ok" && (isRefused || !MUSIC_REFUSED.includes(each.id)))
    .map((each) => ({ ...each, ...each[document.documentElement.lang] ?? each.en }));
  if (isRefused && !findings.some((each) => [...MUSIC_REFUSED, ...FOLDER_REFUSED].includes(each.id))) {
    found.push({ level: "error", what: t("music.trouble.what"), why, do: t("music.trouble.do") });
  }
  return found.sort((one, other) => LEVELS.indexOf(one.level) - LEVELS.indexOf(other.level));
}

function showStatus() {
  const [kind, sentence, found, named] = judge();
  setAttribute(byId("status"), "data-kind", kind);
  setText(byId("sentence"), sentence);
  const calls = t("calls.count", { count: state?.calls.now ?? 0 });
  setText(byId("updated"), state === null || isLost() ? "" : t("updated", { calls, time: moment(answeredAt) }));
  setAttribute(byId("content"), "data-stale", String(isLost()));
  keep(byId("findings"), found, (each) => found.indexOf(each),
    () => make("li", {}, make("p", { class: "what" }, make("b"), " ", make("span")), make("p"), make("p")),
    (item, each) => {
      const [what, why, cure] = item.children;
      setAttribute(item, "data-kind", each.level);
      what.hidden = each === named;
      setText(what.firstChild, t(`level.${each.level}`));
      setText(what.lastChild, each.what);
      setText(why, each.why ? t("finding.why", { text: each.why }) : "");
      setText(cure, each.do ? t("finding.do", { text: each.do }) : "");
    });
  byId("sentence").classList.toggle("long", sentence.length > LONG);
  const news = `${kind} ${named?.id ?? named?.what}`; // without the "12 s ago" of a sentence, which is no news
  if (announced && announced !== news) setText(byId("announcer"), sentence);
  announced = news;
  document.title = `${t("title")}: ${t(`sign.${kind}`)}`;
}

// -- the phone -------------------------------------------------------------------------------------------------------

function showPhone() {
  setText(byId("uri"), state.uri);
  const advice = state.uri.includes(STAND_IN) ? [t("phone.standin", { standin: STAND_IN })] : state.uri_advice ?? [];
  keep(byId("advice"), advice, (text) => text, () => make("li"), setText);
}

async function copyUri() {
  let copied = true;
  try {
    await navigator.clipboard.writeText(byId("uri").textContent);
  } catch { // a page that does not come by HTTPS or from this machine has no clipboard
    getSelection().selectAllChildren(byId("uri"));
    copied = document.execCommand("copy");
  }
  setText(byId("copied"), t(copied ? "phone.copied" : "phone.notcopied"));
  setTimeout(() => setText(byId("copied"), ""), 4000);
}

// -- the calls -------------------------------------------------------------------------------------------------------

const arrivesNowhere = (call) => call.state === "plays" && NOTHING_ARRIVES.test(call.heard);

function caller(call) {
  const from = `${call.source} · ${(call.transport ?? "").toUpperCase()}`;
  return [call.caller || call.source, call.test ? `${from} · ${t("caller.test")}` : from];
}

const codec = (call) => (call.codec ? CODECS[call.codec] ?? call.codec : t("none"));
const engine = (call) => t(`engine.${call.engine}`);

function heard(call) {
  const ago = call.reported_before === null ? "" : t("heard.ago", { time: duration(call.reported_before) });
  if (call.encrypted || call.loss === null || call.jitter === null) return [phrase("heard", call.heard), ago];
  const text = t("heard.report", { loss: percent(call.loss), jitter: milliseconds(call.jitter) });
  const nothing = NOTHING_ARRIVES.exec(call.heard);
  return [nothing ? t("heard.nothing", { time: duration(nothing[1]), text }) : text, ago];
}

function callState(call) {
  return [phrase("states", call.state), [heardName(call), call.encrypted ? "SRTP" : ""].filter(Boolean).join(" · ")];
}

const receiver = (call) => [call.receiver ?? t("none"), t("calls.port", { port: String(call.port) })];

function packets(call) {
  if (call.packets === null) return t("none");
  const late = call.lateness === null ? "" : t("calls.late", { time: milliseconds(call.lateness) });
  return [call.packets_estimated ? t("calls.about", { count: call.packets }) : number(call.packets), late];
}

function showCalls() {
  const { now, listed } = state.calls;
  const shown = now > listed.length ? "calls.newest" : "calls.count";
  setText(byId("calls-count"), t(shown, { count: now, listed: listed.length }));
  fillTable(byId("calls"), [
    { label: t("column.caller"), cell: caller },
    { label: t("column.since"), cell: (call) => [moment(call.answered), duration(call.age)], isShort: true },
    { label: t("column.state"), cell: callState },
    { label: t("column.codec"), cell: (call) => [codec(call), call.ptime ? `${call.ptime} ms` : ""] },
    { label: t("column.receiver"), cell: receiver },
    { label: t("column.engine"), cell: engine },
    { label: t("column.packets"), cell: packets },
    { label: t("column.heard"), cell: heard },
  ], few("calls", listed), (call) => call.id, (call) => (arrivesNowhere(call) ? "error" : ""));
}

function showEnded() {
  setText(byId("ended-count"), state.ended.length ? "" : t("ended.none"));
  fillTable(byId("ended"), [
    { label: t("column.caller"), cell: caller },
    { label: t("column.ended"), cell: end, isShort: true },
    { label: t("column.reason"), cell: reason },
    { label: t("column.played"), cell: (call) => [duration(call.played), played(call)] },
    { label: t("column.heard"), cell: (call) => heard(call)[0] },
  ], few("ended", state.ended), (call) => `${call.id} ${call.ended}`);
}

const played = (call) => [heardName(call), codec(call)].filter(Boolean).join(" · ");
const end = (call) => [moment(call.ended), t("ended.length", { time: duration(call.age) })];

/** Why a call ended, in plain words, and what the server wrote about it. */
function reason(call) {
  const isStatus = /^[3-6]\d\d$/.test(call.reason);
  const words = isStatus ? t("ended.status", { status: call.reason }) : phrase("reasons", call.reason);
  const why = phrase("whys", call.why ?? "");
  return [words, call.why === PLAIN_BYE ? "" : why, why === call.why ? "en" : ""];
}

// -- refusals, the server, the settings ------------------------------------------------------------------------------

/** Why a request was refused, in plain words. The server counts by a fixed text, or by method and SIP status. */
function refusal(row) {
  const [, method, status] = /^(\S+) ([3-6]\d\d)$/.exec(row.reason) ?? [];
  const known = phrase("refusals", row.reason);
  const words = known !== row.reason || !status ? known : phrase("statuses", status);
  return [words === status ? row.reason : words.replaceAll("{method}", method ?? ""), row.text, "en"];
}

function showRefusals() {
  const rows = [...state.refusals, ...state.warnings ?? []].sort((one, other) => (other.at ?? 0) - (one.at ?? 0));
  setText(byId("refusals-count"), rows.length ? "" : t("refusals.none"));
  fillTable(byId("refusals"), [
    { label: t("column.refusal"), cell: refusal },
    { label: t("column.count"), cell: (row) => number(row.count), isShort: true },
    { label: t("column.source"), cell: (row) => row.source ?? "", isShort: true },
    { label: t("column.latest"), cell: (row) => (row.at ? moment(row.at) : ""), isShort: true },
  ], rows, (row) => row.reason);
}

const sum = (counts) => Object.values(counts ?? {}).reduce((total, count) => total + count, 0);

/** By how much 99 of 100 packets left late at most; `null` where none was measured. */
function lateness({ bounds, counts }) {
  const total = sum(counts);
  let seen = 0;
  const index = counts.findIndex((count) => (seen += count) >= total * 0.99);
  if (!total) return null;
  return index < bounds.length
    ? t("server.lateness", { time: milliseconds(bounds[index]) })
    : t("server.later", { time: milliseconds(bounds[bounds.length - 1]) });
}

function showServer() {
  const { totals } = state;
  const calls = totals.calls.reduce((total, each) => total + each.count, 0);
  fillFacts(byId("server-facts"), [
    [t("server.version"), `${state.version}${state.compiled ? t("server.compiled") : ""}`],
    [t("server.started"), `${moment(state.started)} (${duration(state.now - state.started)})`],
    [t("server.last"), totals.last_call ? moment(totals.last_call) : t("none")],
    [t("server.calls"), number(calls)],
    [t("server.packets"), t("server.sent", { count: sum(totals.packets), missing: totals.not_sent + totals.skipped })],
    [t("server.late"), lateness(state.histograms.lateness)],
    [t("server.ffmpegs"), t("server.starts", { count: totals.ffmpeg_starts, again: totals.ffmpeg_restarts })],
    [t("server.rejected"), number(sum(totals.rejected) + totals.dropped_datagrams)],
    [t("server.errors"), number(totals.unexpected_errors)],
  ]);
}

function help(row) {
  const words = phrase("settings", row.name);
  return words === row.name ? row.help : words;
}

function showSettings() {
  fillTable(byId("settings"), [
    { label: t("column.setting"), cell: (row) => row.name, isShort: true },
    { label: t("column.value"), cell: (row) => row.value || t("settings.empty") },
    { label: t("column.default"), cell: (row) => row.default || t("settings.empty") },
    { label: t("column.help"), cell: help },
  ], state.settings, (row) => row.name, (row) => (row.value === row.default ? "" : "changed"));
}

// -- the language, and the start -------------------------------------------------------------------------------------

function translate() {
  const language = chooseLanguage();
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) setText(element, t(element.dataset.text));
  for (const element of document.querySelectorAll("[data-label]:not(td)")) {
    setAttribute(element, "aria-label", t(element.dataset.label));
  }
  for (const link of document.querySelectorAll(".languages a")) {
    setAttribute(link, "aria-current", String(link.lang === language));
  }
  setText(byId("announcer"), "");
}

async function start() {
  try {
    await loadTexts();
  } catch {
    setTimeout(start, VISIBLE_PAUSE); // the server is not there yet, or not any more
    return;
  }
  translate();
  byId("brands").open = matchMedia("(min-width: 56rem)").matches; // a narrow window has no room for it
  addEventListener("hashchange", () => {
    translate();
    show();
  });
  document.addEventListener("visibilitychange", () => document.hidden || ask());
  byId("copy").addEventListener("click", copyUri);
  watchButtons(show);
  ask();
}

start();
