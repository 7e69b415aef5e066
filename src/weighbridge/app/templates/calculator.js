"use strict";
// The same closed forms as weighbridge.planning.calculator; a test compares the two on a grid, in a browser.
const DATA = JSON.parse(document.getElementById("data").textContent);
const DAY = 86400, YEAR = 365;

function concentrated(phi, f, period, alpha) {
  const logMiss = phi === 1 ? -f * period : Math.log1p(phi * Math.expm1(-f * period));
  return period * Math.log(alpha) / logMiss;
}

function calculate(s) {
  const missed = 1 - s.confidence, chipDay = s.chip_flops * s.utilisation * DAY;
  const then = s.threshold / Math.pow(s.progress, s.years), fleetDay = s.chips * chipDay;
  const share = then / (fleetDay * s.run_days), seen = -Math.expm1(-s.rate * s.period_days);
  const periods = s.run_days / s.period_days, aYear = s.inspectors * s.chips_per_inspector;
  const drawn = aYear * s.period_days / YEAR, possible = share <= 1, caught = Math.min(1, share * seen);
  const exact = caught < 1 ? Math.log1p(-caught) : -Infinity, once = YEAR / s.period_days;
  const needed = !possible ? null : caught < 1 ? Math.log(missed) / exact / periods * once : once;
  const worst = possible ? -Math.log(missed) / caught / periods * once : null;
  const people = worst === null ? null : Math.ceil(worst / s.chips_per_inspector);
  const read = Math.min(1, drawn / s.chips), room = then / (fleetDay * s.period_days);
  const all = s.chips * s.period_days;
  return {
    threshold_then: then, breakout_days: then / fleetDay, share: share, chips_in_run: share * s.chips,
    snapshot_probability: seen, samples_per_year: aYear,
    detection: possible ? -Math.expm1(drawn * periods * exact) : null,
    detection_worst: possible ? -Math.expm1(-drawn * periods * caught) : null,
    needed_per_year: needed, needed_per_year_worst: worst, inspectors_needed: people,
    cost: s.inspectors * s.inspector_cost, cost_needed: people === null ? null : people * s.inspector_cost,
    hidden_all: Math.min(-Math.log(missed) / s.rate, all) * chipDay,
    hidden_read: Math.min(concentrated(read, s.rate, s.period_days, missed), all) * chipDay,
    snapshots_due: s.rate * all,
    snapshots_needed: room >= 1 ? 0 : Math.ceil(Math.log(missed) / Math.log1p(-room)),
    stall: possible ? -Math.expm1(-share * s.chips * s.rate * s.freeze_seconds / DAY) : null,
  };
}

// --- numbers in words

function figure(value, unit) {
  if (value === null) return "impossible";
  if (unit === "%") {
    const percent = 100 * value;
    return (percent > 99.995 && percent < 100 ? "> 99.99" : percent < 0.01 && percent > 0 ? percent.toExponential(1)
      : percent.toFixed(percent < 1 ? 3 : 2)) + " %";
  }
  const size = Math.abs(value);
  const text = size >= 1e7 || (size < 1e-3 && size > 0) ? value.toExponential(2).replace("e+", "e")
    : size >= 100 ? Math.round(value).toLocaleString("en-GB") : String(Number(value.toPrecision(3)));
  return unit ? text + " " + unit : text;
}

function spot(slider, value) {
  const [low, high, at] = slider.logarithmic ? [slider.least, slider.most, value].map(Math.log)
    : [slider.least, slider.most, value];
  return 1000 * (at - low) / (high - low);
}

function valueAt(slider, position) {
  const part = position / 1000;
  if (part <= 0) return slider.least;
  if (part >= 1) return slider.most;
  const exact = slider.logarithmic ? slider.least * Math.pow(slider.most / slider.least, part)
    : slider.least + (slider.most - slider.least) * part;
  return Number(exact.toPrecision(3));
}

// --- settings, in the address

const settings = {};
for (const slider of DATA.sliders) settings[slider.name] = slider.default;

let replaced = []; // what the address asked for and did not get, in words

function fromAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const known = DATA.sliders.map((slider) => slider.name);
  replaced = [...new Set(given.keys())].filter((name) => !known.includes(name)).map((name) => name + " is not known");
  for (const slider of DATA.sliders) {
    // A plus sign in an address is a space: 1e+08 arrives as "1e 08".
    const text = given.get(slider.name), value = Number((text ?? "").replace(/e (?=[0-9])/i, "e"));
    const sound = text !== null && text.trim() !== "" && Number.isFinite(value);
    settings[slider.name] = sound ? Math.min(slider.most, Math.max(slider.least, value)) : slider.default;
    if (text !== null && !(sound && settings[slider.name] === value)) {
      replaced.push(slider.name + "=" + text + " became " + figure(settings[slider.name], slider.unit));
    }
  }
}

function written(value) {
  return String(value).replace("e+", "e"); // a plus sign in an address is a space
}

function toAddress() {
  const changed = DATA.sliders.filter((slider) => settings[slider.name] !== slider.default);
  const words = changed.map((slider) => slider.name + "=" + written(settings[slider.name])).join("&");
  history.replaceState(null, "", words ? "#" + words : location.pathname + location.search);
}

// --- pictures

const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, parent, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.appendChild(made);
  return made;
}

function curve(holder, plot) {
  const wide = 460, high = 290, left = 62, right = 14, top = 26, bottom = 42 + 14 * plot.lines.length;
  holder.replaceChildren();
  const svg = element("svg", {viewBox: `0 0 ${wide} ${high}`, xmlns: SVG, role: "img", "aria-label": plot.title,
    "font-family": "Helvetica, Arial, sans-serif", "font-size": "11"}, holder);
  const logs = (axis, value) => axis.log ? Math.log10(value) : value;
  const place = (axis, value, from, to) => {
    const [low, up] = [logs(axis, axis.least), logs(axis, axis.most)];
    return from + (to - from) * (Math.min(up, Math.max(low, logs(axis, value))) - low) / (up - low);
  };
  const x = (value) => place(plot.x, value, left, wide - right), y = (value) => place(plot.y, value, high - bottom, top);
  element("rect", {x: 0, y: 0, width: wide, height: high, fill: "#ffffff"}, svg);
  element("text", {x: left, y: 15, fill: "#1b2430", "font-weight": "bold"}, svg, plot.title);
  const ticks = (axis) => {
    if (!axis.log) return [0, 0.25, 0.5, 0.75, 1].map((part) => axis.least + part * (axis.most - axis.least));
    const [low, up] = [Math.ceil(logs(axis, axis.least)), Math.floor(logs(axis, axis.most))];
    const step = Math.max(1, Math.ceil((up - low) / 5));
    return Array.from({length: Math.floor((up - low) / step) + 1}, (_, n) => Math.pow(10, low + n * step));
  };
  for (const value of ticks(plot.x)) {
    element("line", {x1: x(value), x2: x(value), y1: top, y2: high - bottom, stroke: "#d3d9e1"}, svg);
    element("text", {x: x(value), y: high - bottom + 14, fill: "#566173", "text-anchor": "middle"}, svg,
      plot.x.say(value));
  }
  for (const value of ticks(plot.y)) {
    element("line", {x1: left, x2: wide - right, y1: y(value), y2: y(value), stroke: "#d3d9e1"}, svg);
    element("text", {x: left - 6, y: y(value) + 4, fill: "#566173", "text-anchor": "end"}, svg, plot.y.say(value));
  }
  element("text", {x: (left + wide - right) / 2, y: high - bottom + 30, fill: "#566173", "text-anchor": "middle"}, svg,
    plot.x.label);
  for (const line of plot.lines) {
    const points = [];
    for (let n = 0; n <= 160; n++) {
      const [low, up] = [logs(plot.x, plot.x.least), logs(plot.x, plot.x.most)];
      const at = plot.x.log ? Math.pow(10, low + (up - low) * n / 160) : low + (up - low) * n / 160;
      const value = line.of(at);
      if (value !== null) points.push(`${x(at).toFixed(1)},${y(value).toFixed(1)}`);
    }
    element("polyline", {points: points.join(" "), fill: "none", stroke: line.colour, "stroke-width": 2,
      "stroke-dasharray": line.dash || "none"}, svg);
  }
  plot.lines.forEach((line, n) => {
    const below = high - bottom + 42 + 14 * n;
    element("line", {x1: left, x2: left + 24, y1: below - 4, y2: below - 4, stroke: line.colour, "stroke-width": 2,
      "stroke-dasharray": line.dash || "none"}, svg);
    element("text", {x: left + 30, y: below, fill: "#1b2430"}, svg, line.label);
  });
  if (plot.mark[1] !== null) {
    element("circle", {cx: x(plot.mark[0]), cy: y(plot.mark[1]), r: 4.5, fill: "#9b1c1c"}, svg);
  }
}

const plain = (value) => value >= 1e5 || value < 1e-2 ? value.toExponential(0).replace("e+", "e")
  : String(Number(value.toPrecision(3)));
const percent = (value) => Math.round(100 * value) + " %";
const changed = (name, value) => calculate(Object.assign({}, settings, {[name]: value}));

function draw(outcome) {
  const perPerson = settings.chips_per_inspector;
  curve(document.getElementById("detection-plot"), {
    title: "Chance that the run is met, against chips read a year",
    x: {least: Math.min(100, outcome.samples_per_year), most: Math.max(1e6, outcome.samples_per_year), log: true,
      say: plain, label: "chips read a year"},
    y: {least: 0, most: 1, log: false, say: percent},
    lines: [
      {label: "run as set", colour: "#2f5f95", of: (n) => changed("inspectors", n / perPerson).detection},
      {label: "run stretched (worst case)", colour: "#a85412", dash: "5 3",
        of: (n) => changed("inspectors", n / perPerson).detection_worst},
    ],
    mark: [outcome.samples_per_year, outcome.detection_worst],
  });
  const rate = DATA.sliders.find((slider) => slider.name === "rate");
  const ends = [changed("rate", rate.least), changed("rate", rate.most)];
  curve(document.getElementById("bound-plot"), {
    title: "X: compute that could stay hidden, against the rate of freezes",
    x: {least: rate.least, most: rate.most, log: true, say: plain, label: "freezes of a chip a day"},
    y: {least: ends[1].hidden_all / 2, most: Math.max(ends[0].hidden_read, outcome.threshold_then) * 2, log: true,
      say: plain},
    lines: [
      {label: "all records read", colour: "#2f5f95", of: (f) => changed("rate", f).hidden_all},
      {label: "only the chips read", colour: "#a85412", dash: "5 3", of: (f) => changed("rate", f).hidden_read},
      {label: "threshold", colour: "#566173", dash: "2 3", of: () => outcome.threshold_then},
    ],
    mark: [settings.rate, outcome.hidden_all],
  });
}

// --- the page

function show() {
  const outcome = calculate(settings);
  for (const slider of DATA.sliders) {
    const input = document.getElementById(slider.name);
    if (document.activeElement !== input) input.value = spot(slider, settings[slider.name]);
    const words = figure(settings[slider.name], slider.unit);
    input.setAttribute("aria-valuetext", words);
    document.getElementById(slider.name + "-value").textContent = words;
  }
  for (const row of DATA.rows) {
    const cell = document.getElementById("out-" + row.name);
    cell.textContent = figure(outcome[row.name], row.unit);
    cell.dataset.value = outcome[row.name] === null ? "" : String(outcome[row.name]);
  }
  const other = document.getElementById("replaced");
  other.hidden = replaced.length === 0;
  other.textContent = "Of the address: " + replaced.map((words) => words.slice(0, 80)).join("; ").slice(0, 600) + ".";
  const note = document.getElementById("impossible");
  note.hidden = outcome.share <= 1;
  note.textContent = "The run is impossible: in this time it needs " + figure(outcome.share, "") +
    " times the chips of the fleet.";
  draw(outcome);
  return outcome;
}

function save(name, type, content) {
  const link = document.createElement("a");
  link.href = content instanceof Blob ? URL.createObjectURL(content) : URL.createObjectURL(new Blob([content], {type}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function numbers() {
  return {settings: Object.assign({}, settings), figures: calculate(settings), assumptions: DATA.assumptions};
}

function table() {
  const held = numbers(), rows = [["name", "value", "unit"]];
  for (const slider of DATA.sliders) rows.push([slider.name, held.settings[slider.name], slider.unit]);
  for (const row of DATA.rows) {
    rows.push([row.name, held.figures[row.name] === null ? "" : held.figures[row.name], row.unit === "%" ? "1" : row.unit]);
  }
  return rows.map((row) => row.join(",")).join("\n") + "\n";
}

function picture() {
  const parts = ["detection-plot", "bound-plot"].map((id) => document.getElementById(id).firstChild);
  const inner = parts.map((svg, n) => `<g transform="translate(${n * 470} 0)">${svg.innerHTML}</g>`).join("");
  return `<svg xmlns="${SVG}" viewBox="0 0 930 290" width="930" height="290" ` +
    `font-family="Helvetica, Arial, sans-serif" font-size="11">${inner}</svg>`;
}

function savePng() {
  const image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [1860, 580];
    canvas.getContext("2d").drawImage(image, 0, 0, 1860, 580);
    canvas.toBlob((blob) => save("weighbridge-plan.png", "image/png", blob));
  };
  image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(picture());
}

for (const slider of DATA.sliders) {
  document.getElementById(slider.name).addEventListener("input", (event) => {
    settings[slider.name] = valueAt(slider, Number(event.target.value));
    replaced = [];
    toAddress();
    show();
  });
}
document.getElementById("save-json").addEventListener("click", () =>
  save("weighbridge-plan.json", "application/json", JSON.stringify(numbers(), null, 1)));
document.getElementById("save-csv").addEventListener("click", () => save("weighbridge-plan.csv", "text/csv", table()));
document.getElementById("save-svg").addEventListener("click", () =>
  save("weighbridge-plan.svg", "image/svg+xml", picture()));
document.getElementById("save-png").addEventListener("click", savePng);
document.getElementById("reset").addEventListener("click", () => {
  for (const slider of DATA.sliders) settings[slider.name] = slider.default;
  replaced = [];
  toAddress();
  show();
});
window.addEventListener("hashchange", () => { fromAddress(); show(); });
fromAddress();
show();
