// A long table shows a few rows at first, and all of them after a click on its button.

import { byId, setAttribute, setText } from "./elements.js";
import { t } from "./words.js";

const FEW = { names: 20, missing: 5, calls: 20, ended: 10 }; // rows that are shown at first, by the table
const shownWhole = new Set(); // the tables of which the reader wants all rows

/** The rows that are shown of a table. Its button says `all` or `fewer`. */
export function few(table, rows, all = "more.all", fewer = "more.fewer") {
  const isWhole = shownWhole.has(table), more = byId(`${table}-more`);
  more.hidden = rows.length <= FEW[table];
  setAttribute(more, "aria-expanded", String(isWhole));
  setText(more, t(isWhole ? fewer : all, { count: rows.length }));
  return isWhole ? rows : rows.slice(0, FEW[table]);
}

/** Call `show` after each click on a button of these tables. */
export function watchButtons(show) {
  for (const table of Object.keys(FEW)) {
    byId(`${table}-more`).addEventListener("click", () => {
      if (!shownWhole.delete(table)) shownWhole.add(table);
      show();
    });
  }
}
