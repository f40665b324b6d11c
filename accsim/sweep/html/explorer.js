"use strict";

const sweep = page.data;
const $ = (name) => document.getElementById(name);
const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000"];
const SYMBOLS = ["circle", "diamond", "square", "triangle-up", "x"];
const MANY = 8; // values of a column of numbers from which on its colours are a scale
const MOST_LISTED = 500; // rows in the table of points
const MANY_POINTS = 3000; // from which on they are drawn small, and by the graphics processor
const MARK = "marked";
let listed = new Map(); // rows of cells in the table of points -> rows of the page's data
const WIDE = 20; // ratio of the largest and least value from which on an axis is logarithmic, scaled by range

/** The kind of trace for some points; the browser may have no access to a graphics processor. */
function kindOf(points) {
  return points > MANY_POINTS && document.createElement("canvas").getContext("webgl") ? "scattergl" : "scatter";
}

/** A number in its unit: bytes in binary steps where they are whole ones, else with an SI prefix. */
function quantity(value, unit) {
  if (value === null) return "";
  if (unit === "mm²") return `${+value.toPrecision(4)} mm²`;
  if (unit === "") return Math.abs(value) < 1e6 ? String(+value.toPrecision(6)) : prefixed(value, 1000, ["", "k", "M", "G", "T", "P"]);
  if (unit === "B" && value >= 1024 && (value / 1024) % 1 === 0) {
    return prefixed(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
  }
  const small = value !== 0 && Math.abs(value) < 1;
  const steps = small ? ["", "m", "u", "n", "p"] : ["", "k", "M", "G", "T", "P"];
  return prefixed(value, small ? 1 / 1000 : 1000, steps.map((step) => ` ${step}${unit}`));
}

function prefixed(value, step, names) {
  let power = value === 0 ? 0 : Math.log(Math.abs(value)) / Math.log(step);
  power = Math.min(names.length - 1, step < 1 ? Math.ceil(power - 1e-9) : Math.floor(power + 1e-9));
  const name = names[power].startsWith(" ") || names[power] === "" ? names[power] : ` ${names[power]}`;
  return +(value / step ** power).toPrecision(4) + name;
}

/** The text of a column at a row. */
function told(name, row) {
  const { values, names, unit } = sweep.columns[name];
  return names ? names[values[row]] : quantity(values[row], unit);
}

function safe(text) {
  return text.replace(/[&<>]/g, (letter) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[letter]);
}

function options(select, names, chosen) {
  select.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
}

function described(row) {
  const lines = Object.keys(sweep.columns).map((name) => [name, told(name, row)]);
  const kept = lines.filter(([, text]) => text !== "").map(([name, text]) => `${safe(name)}: ${safe(text.slice(0, 60))}`);
  return `${sweep.number} ${sweep.point[row].toLocaleString("en")}<br>${kept.join("<br>")}`;
}

/** Rows of the view that is chosen. */
function viewed() {
  const view = sweep.view.names.indexOf($("view").value);
  return sweep.view.values.flatMap((of, row) => (of === view ? [row] : []));
}

/** The two or three objectives that have a front now. */
function chosen() {
  return [...new Set([$("x").value, $("y").value, $("third").value])].filter(Boolean);
}

/** Rows of their front. */
function front() {
  const names = sweep.objectives.filter((name) => chosen().includes(name));
  return sweep.fronts[$("view").value][names.join(" ")] ?? [];
}

function axis(name, values) {
  const numbers = values.filter((value) => value !== null);
  const [least, largest, scale] = [Math.min(...numbers), Math.max(...numbers), $("scale").value];
  const log = least > 0 && (scale === "log" || (scale === "range" && largest > WIDE * least));
  const unit = sweep.columns[name].unit;
  const title = { text: unit ? `${name.replace(/_(s|j|w|hz|mm2)$/, "")} (${unit})` : name };
  const lines = { gridcolor: "#ddd", zerolinecolor: "#ddd", linecolor: "#666", automargin: true };
  return { ...lines, title, type: log ? "log" : "linear", exponentformat: "SI", dtick: log ? "D2" : undefined };
}

/** Rows by the value of a column, each with its looks; a column of many numbers is one group with a scale. */
function groups(name, rows) {
  const { values, names } = sweep.columns[name];
  const found = [...new Set(rows.map((row) => values[row]))].sort((a, b) => a - b);
  if (!names && found.length > MANY) {
    const spread = Math.min(...found) > 0 && Math.max(...found) > WIDE * Math.min(...found);
    const color = rows.map((row) => (spread ? Math.log10(values[row]) : values[row]));
    const ticks = Array.from({ length: 5 }, (_, i) => Math.min(...color) + (i / 4) * (Math.max(...color) - Math.min(...color)));
    const ticktext = ticks.map((tick) => quantity(+(spread ? 10 ** tick : tick).toPrecision(3), sweep.columns[name].unit));
    const colorbar = { title: { text: name, side: "right" }, tickvals: ticks, ticktext, thickness: 12, len: 0.8 };
    return [{ rows, name, marker: { color, colorscale: "Viridis", showscale: true, colorbar }, showlegend: false }];
  }
  return found.map((value, i) => {
    const mine = rows.filter((row) => values[row] === value);
    const looks = { color: COLOURS[i % COLOURS.length], symbol: SYMBOLS[Math.floor(i / COLOURS.length) % SYMBOLS.length] };
    return { rows: mine, name: safe(told(name, mine[0]).slice(0, 40)) || "(none)", marker: looks };
  });
}

function drawExplorer() {
  const [x, y] = [$("x").value, $("y").value];
  const at = (name, rows) => rows.map((row) => sweep.columns[name].values[row]);
  const given = (row) => [x, y].every((name) => sweep.columns[name].values[row] !== null);
  const all = viewed();
  const rows = all.filter(given);
  const best = front();
  const type = kindOf(rows.length);
  const points = groups($("colour").value, rows).map((group) => ({
    type,
    mode: "markers",
    name: group.name,
    x: at(x, group.rows),
    y: at(y, group.rows),
    customdata: group.rows,
    text: group.rows.map(described),
    hoverinfo: "text",
    showlegend: group.showlegend,
    marker: { size: rows.length > MANY_POINTS ? 4 : 7, opacity: 0.7, ...group.marker },
  }));
  const line = { color: "#000", width: 1.2, shape: "hv" };
  const marker = { size: 11, color: "rgba(0,0,0,0)", line: { color: "#000", width: 1.6 } };
  const mode = chosen().length > 2 ? "markers" : "lines+markers"; // of three objectives it is no staircase
  const sorted = best.slice().sort((a, b) => sweep.columns[x].values[a] - sweep.columns[x].values[b]);
  const edge = { type: "scatter", mode, name: "front", x: at(x, sorted), y: at(y, sorted), line, marker, hoverinfo: "skip" };
  const layout = {
    height: 560,
    margin: { l: 10, r: 16, t: 10, b: 48 },
    font: { size: 12, color: "#1a1a1a" },
    plot_bgcolor: "white",
    hovermode: "closest",
    dragmode: $("drag").value || false,
    xaxis: axis(x, at(x, rows)),
    yaxis: axis(y, at(y, rows)),
    legend: { orientation: "h", x: 0, y: 1, xanchor: "left", yanchor: "bottom" },
  };
  const cross = { size: 16, symbol: "x-thin", line: { color: "#000", width: 2.5 } };
  const mark = { type: "scatter", mode: "markers", name: MARK, x: [], y: [], marker: cross, hoverinfo: "skip", showlegend: false };
  Plotly.react("explorer", [...points, edge, mark], layout, CHART);
  const every = sweep.views[$("view").value];
  const count = (number) => number.toLocaleString("en");
  const shown = all.length === every ? `All ${count(every)}` : `${count(all.length)} of ${count(every)}`;
  const drawn = all.length === every ? "" : ": all that are on a front of two or three objectives, and a random sample of the others";
  const lacking = rows.length === all.length ? "" : `; ${count(all.length - rows.length)} lack ${x} or ${y}`;
  $("shown").textContent =
    `${shown} ${sweep.kept} are shown${drawn}. ${count(best.length)} are on the front of ${chosen().join(", ")}${lacking}.`;
  list(best, "The front");
}

/** Rows as a table, and what their designs have in common. */
function list(rows, title) {
  const names = Object.keys(sweep.columns);
  const cells = rows.slice(0, MOST_LISTED).map((row) => [
    [sweep.point[row], sweep.point[row].toLocaleString("en")],
    ...names.map((name) => (sweep.columns[name].names ? told(name, row) : [sweep.columns[name].values[row], told(name, row)])),
  ]);
  tables.points = new SortedTable($("points"), [sweep.number, ...names], cells);
  const input = document.querySelector("input[data-table=points]");
  input.closest("p").querySelector("output").replaceWith(tables.points.output);
  tables.points.filter(input.value);
  const cut = rows.length > MOST_LISTED ? `, the first ${MOST_LISTED} of them` : "";
  $("listed").textContent = `${title}: ${rows.length.toLocaleString("en")} ${sweep.number}s${cut}`;
  listed = new Map(rows.map((row, i) => [cells[i], row]));
  $("common").textContent = rows.length ? sweep.axes.map((name) => range(name, rows)).join("; ") : "";
}

/** Mark the point of a row of the table that is clicked; again, nothing. */
function point(event) {
  const line = event.target.closest("tbody tr");
  if (!line) return;
  const again = line.classList.contains("marked");
  for (const other of $("points").querySelectorAll(".marked")) other.classList.remove("marked");
  line.classList.toggle("marked", !again);
  const row = again ? undefined : listed.get(tables.points.shown[line.sectionRowIndex]);
  const place = (name) => [row === undefined ? [] : [sweep.columns[$(name).value].values[row]]];
  Plotly.restyle("explorer", { x: place("x"), y: place("y") }, [$("explorer").data.length - 1]);
}

/** Values of a field among some rows. */
function range(name, rows) {
  const { values, names } = sweep.columns[name];
  const found = [...new Set(rows.map((row) => values[row]))].filter((value) => value !== null).sort((a, b) => a - b);
  const text = (value) => (names ? names[value] : quantity(value, sweep.columns[name].unit));
  if (found.length > 3 && !names) return `${name} ${text(found[0])} to ${text(found.at(-1))}`;
  return `${name} ${found.slice(0, 6).map(text).join(", ")}${found.length > 6 ? ", ..." : ""}`;
}

function drawMarginals() {
  const objective = $("objective").value;
  const places = sweep.axes.map((name, i) => {
    const place = $(`marginal-${i}`) ?? $("marginals").appendChild(document.createElement("div"));
    place.id = `marginal-${i}`;
    place.className = "chart";
    return [place, name, sweep.marginals[$("view").value][name][objective]];
  });
  for (const [place, name, found] of places) Plotly.react(place, ...marginal(name, objective, found), { ...CHART, displayModeBar: false });
}

function marginal(name, objective, { values, count, least, lower, median, upper }) {
  const x = values.map((value) => (typeof value === "number" ? quantity(value, sweep.columns[name].unit) : safe(String(value))));
  const text = values.map((_, i) => {
    const [a, b, c, d] = [least, lower, median, upper].map((row) => quantity(row[i], sweep.columns[objective].unit));
    return `${safe(name)} ${x[i]}<br>least ${a}<br>median ${c}<br>middle half ${b} to ${d}<br>${count[i].toLocaleString("en")} points`;
  });
  const plain = { type: "scatter", x, hoverinfo: "skip", showlegend: false };
  const data = [
    { ...plain, mode: "lines", y: lower, line: { width: 0 } },
    { ...plain, mode: "lines", y: upper, line: { width: 0 }, fill: "tonexty", fillcolor: "rgba(86,180,233,0.3)" },
    { ...plain, mode: "lines+markers", y: median, line: { color: "#0072B2", dash: "dash" }, marker: { size: 5 } },
    { ...plain, mode: "lines+markers", y: least, line: { color: "#0072B2" }, text, hoverinfo: "text" },
  ];
  const layout = {
    height: 300,
    margin: { l: 10, r: 16, t: 30, b: 40 },
    font: { size: 12, color: "#1a1a1a" },
    plot_bgcolor: "white",
    title: { text: safe(name), font: { size: 13 }, x: 0.5, y: 0.97 },
    dragmode: mouse ? "zoom" : false,
    xaxis: { type: "category", automargin: true, gridcolor: "#eee", linecolor: "#666" },
    yaxis: axis(objective, [...least, ...upper]),
  };
  return [data, layout];
}

options($("view"), Object.keys(sweep.views));
options($("x"), sweep.objectives, sweep.objectives[0]);
options($("y"), sweep.objectives, sweep.objectives[1]);
options($("third"), ["", ...sweep.objectives]);
$("third").options[0].text = "nothing else";
const colours = [sweep.colour, ...sweep.axes, "bound_by", ...sweep.objectives].filter((name) => name in sweep.columns);
options($("colour"), [...new Set(colours)], colours[0]);
if (!mouse) $("drag").value = "";

for (const name of ["x", "y", "colour", "scale", "drag"]) $(name).onchange = drawExplorer;
$("third").onchange = () => {
  if ($("third").value) $("colour").value = $("third").value; // so that all three are seen
  drawExplorer();
};
$("view").onchange = drawExplorer;
$("points").onclick = point;
drawExplorer();
if (sweep.marginals && $("marginals")) {
  options($("objective"), sweep.objectives);
  $("objective").onchange = drawMarginals;
  $("view").addEventListener("change", drawMarginals);
  drawMarginals();
}
$("explorer").on("plotly_selected", (event) => {
  const rows = (event?.points ?? []).map((point) => point.customdata).filter((row) => row !== undefined);
  if (rows.length) list(rows, "Brushed");
});
$("explorer").on("plotly_deselect", () => list(front(), "The front"));
