// Makes and changes elements. What is there already is changed only where it differs: so the focus, an open <details>
// and a player that plays stay as they are while the page updates. Texts go in as text, never as HTML.

export const byId = (id) => document.getElementById(id);

export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Give `parent` one child for each item, in their order. A child stays that of the item with the same key. */
export function keep(parent, items, keyOf, create, update) {
  const present = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, index) => {
    const key = String(keyOf(item));
    let child = present.get(key);
    if (!child) {
      child = create(item);
      child.dataset.key = key;
    }
    present.delete(key);
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
    update(child, item);
  });
  for (const child of present.values()) child.remove();
}

/** Pairs of a term and its description. */
export function fillFacts(list, facts) {
  keep(list, facts.filter(([, value]) => value !== null), ([term]) => term,
    () => make("div", {}, make("dt"), make("dd")),
    (pair, [term, value]) => {
      setText(pair.firstChild, term);
      setText(pair.lastChild, value);
    });
}

/**
 * Fill a table. A column is `{label, cell}`; `cell(row)` is a text, or the lines of a cell: `[text, note, language]`.
 * A column that `isShort` is never broken into lines. A column of buttons is `{label, press, cell}` in place of that:
 * `press(row)` follows a click, and `cell(row)` is the text of the button and its name; it is hidden without a text.
 * The roles are those that the elements have anyhow: some browsers drop them where CSS shows a table as cards.
 */
export function fillTable(table, columns, rows, keyOf, kindOf = () => "") {
  if (!table.tHead) {
    table.setAttribute("role", "table");
    table.append(make("thead", { role: "rowgroup" }, make("tr", { role: "row" })), make("tbody", { role: "rowgroup" }));
  }
  keep(table.tHead.rows[0], columns, (column) => columns.indexOf(column),
    () => make("th", { role: "columnheader", scope: "col" }), (cell, column) => setText(cell, column.label));
  keep(table.tBodies[0], rows, keyOf, () => make("tr", { role: "row" }), (line, row) => {
    setAttribute(line, "data-kind", kindOf(row));
    keep(line, columns, (column) => columns.indexOf(column),
      (column) => make("td", { role: "cell" }, column.press ? makeButton() : makeLines()),
      (cell, column) => {
        const [text, note = "", language = ""] = [column.cell(row)].flat();
        setAttribute(cell, "data-label", column.label);
        cell.classList.toggle("empty", !text);
        if (column.press) {
          fillButton(cell.firstChild, text, note, () => column.press(row));
          return;
        }
        cell.classList.toggle("short", Boolean(column.isShort));
        const [first, second] = cell.firstChild.children;
        setText(first, text);
        setText(second, note);
        if (language) setAttribute(second, "lang", language);
        else second.removeAttribute("lang");
      });
  });
  table.hidden = rows.length === 0;
}

const makeLines = () => make("div", {}, make("span"), make("small"));

const makeButton = () => make("button", { type: "button" });

function fillButton(button, text, name, press) {
  setText(button, text);
  setAttribute(button, "aria-label", name);
  button.hidden = !text;
  button.onclick = press;
}
