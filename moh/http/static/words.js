// The reader's language: the texts of en.json and ja.json, and numbers, times and durations as it writes them.

const LANGUAGES = ["en", "ja"];
const texts = {};
const templates = new Map();
const formatters = new Map();
let language = "";
let locale = "en";

export async function loadTexts() {
  for (const each of LANGUAGES) {
    const answer = await fetch(`/static/${each}.json`);
    if (!answer.ok) throw new Error(`${answer.status} for ${each}.json`);
    texts[each] = await answer.json();
  }
}

/** Take the language from the address's "#lang=ja"; without that the first of the browser's that this page has. */
export function chooseLanguage() {
  const asked = /^#lang=(\w+)$/.exec(location.hash)?.[1];
  const wanted = navigator.languages.map((each) => each.split("-")[0]);
  if (LANGUAGES.includes(asked)) language = asked;
  else language ||= wanted.find((each) => LANGUAGES.includes(each)) ?? "en";
  locale = navigator.languages.find((each) => each.split("-")[0] === language) ?? language;
  return language;
}

/** The text of `key` with its {places} filled. A text with forms has that for `values.count`. */
export function t(key, values = {}) {
  let text = texts[language][key] ?? texts.en[key] ?? key;
  if (typeof text === "object") text = text[new Intl.PluralRules(language).select(values.count)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (place, name) =>
    typeof values[name] === "number" ? number(values[name]) : values[name] ?? place);
}

/** What `group` says for a fixed text of the server. In its keys, {} stands for whatever the server wrote there. */
export function phrase(group, text) {
  const known = texts[language][group] ?? {};
  if (known[text] !== undefined) return known[text];
  for (const [pattern, said] of patterns(group, "(.*?)")) {
    const found = new RegExp(`^${pattern}$`, "s").exec(text);
    if (found) return filled(said, found);
  }
  return text;
}

/** `text` with each part of it replaced that `group` has a text for. There, {} stands for a number. */
export function phrases(group, text) {
  for (const [pattern, said] of patterns(group, "([\\d.]+)")) {
    text = text.replace(new RegExp(pattern, "g"), (...found) => filled(said, found));
  }
  return text;
}

function patterns(group, place) {
  const name = `${language} ${group}`;
  if (!templates.has(name)) {
    const escaped = (key) => key.replace(/[.*+?^$()|[\]\\]/g, "\\$&").replaceAll("{}", place);
    templates.set(name, Object.entries(texts[language][group] ?? {}).map(([key, said]) => [escaped(key), said]));
  }
  return templates.get(name);
}

const filled = (said, found) => said.replace(/\{(\d)\}/g, (_, place) => found[place]);

/** `Intl[kind]` with `options`, made once: to make one takes longer than to use it a hundred times. */
function formatter(kind, options) {
  const name = `${locale} ${kind} ${JSON.stringify(options)}`;
  if (!formatters.has(name)) formatters.set(name, new Intl[kind](locale, options));
  return formatters.get(name);
}

export const number = (value, digits = 0) => formatter("NumberFormat", { maximumFractionDigits: digits }).format(value);

const inUnit = (value, unit, digits = 0) =>
  formatter("NumberFormat", { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: digits }).format(value);

export const milliseconds = (seconds) => inUnit(seconds * 1000, "millisecond", seconds < 0.01 ? 1 : 0);

/** A number of octets in MB or GB, as MOH_CACHE_LIMIT counts them. */
export function size(octets) {
  const megabytes = octets / 1024 / 1024;
  return megabytes < 1000 ? inUnit(megabytes, "megabyte") : inUnit(megabytes / 1024, "gigabyte", 1);
}

export function percent(part) {
  const format = formatter("NumberFormat", { style: "percent", maximumFractionDigits: 1 });
  const text = format.format(part && Math.max(part, 0.001));
  return part && part < 0.001 ? `< ${text}` : text;
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [days, hours] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24];
  const parts = [[days, "day"], [hours, "hour"], [Math.floor(whole / 60) % 60, "minute"], [whole % 60, "second"]];
  const first = parts.findIndex(([value]) => value > 0);
  const shown = parts.slice(first < 0 ? 3 : first).slice(0, 2).filter(([value], place) => value || !place);
  return shown.map(([value, unit]) => inUnit(value, unit)).join(" ");
}

/** The time of day; of another day with its date. */
export function moment(epoch) {
  const date = new Date(epoch * 1000);
  const isToday = date.toDateString() === new Date().toDateString();
  const style = isToday ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "medium" };
  return formatter("DateTimeFormat", style).format(date);
}
