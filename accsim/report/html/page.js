"use strict";

const page = JSON.parse(document.getElementById("data").textContent);
const mouse = !matchMedia("(pointer: coarse)").matches; // under a finger, a drag scrolls and no buttons are shown
const CHART = {
  responsive: true,
  displaylogo: false,
  displayModeBar: mouse ? "hover" : false,
  showSendToCloud: false,
  modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
};
const LONG = 40; // letters of a text that may break lines; two of them are shown, all where the pointer is

/** Rows of cells under names of columns. A cell is a text, or [number, text]. */
class SortedTable {
  constructor(element, columns, rows) {
    this.rows = rows;
    this.words = [];
    this.by = -1;
    this.way = 1;
    element.replaceChildren();
    element.append(element.createTHead(), element.createTBody());
    this.body = element.tBodies[0];
    this.output = document.createElement("output");
    const numeric = columns.map((_, i) => rows.some((row) => Array.isArray(row[i])));
    const head = element.tHead.insertRow();
    this.heads = columns.map((name, i) => {
      const cell = head.appendChild(document.createElement("th"));
      const button = cell.appendChild(document.createElement("button"));
      button.textContent = name;
      button.onclick = () => this.sort(i, numeric[i] ? -1 : 1);
      cell.className = numeric[i] ? "number" : "";
      return cell;
    });
    this.draw();
  }

  /** By a column; again by the same one, the other way round. */
  sort(column, first) {
    this.way = this.by === column ? -this.way : first;
    this.by = column;
    this.heads.forEach((cell) => cell.removeAttribute("aria-sort"));
    this.heads[column].setAttribute("aria-sort", this.way > 0 ? "ascending" : "descending");
    this.draw();
  }

  /** Only the rows that have all of some words. */
  filter(text) {
    this.words = text.toLowerCase().split(/\s+/).filter(Boolean);
    this.draw();
  }

  draw() {
    const text = (cell) => (Array.isArray(cell) ? cell[1] : cell);
    const value = (cell) => (Array.isArray(cell) ? cell[0] : cell);
    const kept = this.rows.filter((row) => {
      const all = row.map(text).join(" ").toLowerCase();
      return this.words.every((word) => all.includes(word));
    });
    if (this.by >= 0) kept.sort((a, b) => this.way * compare(value(a[this.by]), value(b[this.by])));
    this.shown = kept;
    this.body.replaceChildren(
      ...kept.map((row) => {
        const line = document.createElement("tr");
        row.forEach((cell) => {
          const made = line.insertCell();
          const long = text(cell).length > LONG;
          const place = long ? made.appendChild(document.createElement("div")) : made;
          place.textContent = text(cell);
          place.title = long ? text(cell) : "";
          made.className = Array.isArray(cell) ? "number" : long ? "long" : "";
        });
        return line;
      }),
    );
    this.output.value = `${kept.length.toLocaleString("en")} of ${this.rows.length.toLocaleString("en")} rows`;
  }
}

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  return typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
}

for (const [name, { data, layout }] of Object.entries(page.charts)) {
  Plotly.newPlot(name, data, { dragmode: mouse ? "zoom" : false, ...layout }, CHART);
}
const tables = {};
for (const [name, { columns, rows }] of Object.entries(page.tables)) {
  tables[name] = new SortedTable(document.getElementById(name), columns, rows);
}
for (const input of document.querySelectorAll("input[data-table]")) {
  input.closest("p").querySelector("output").replaceWith(tables[input.dataset.table].output);
  input.oninput = () => tables[input.dataset.table].filter(input.value); // a table may be made anew
}
