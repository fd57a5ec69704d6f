// Draws the charts of the page from the JSON in #data, and redraws them when a control changes.
//
// data.charts: [{title, unit, series: [{name, color, dash, points: [[step, value, low?, high?]]}]}]
// data.axes: {tokens: [[[step, tokens], ...], ...], seconds: ...}, one list for each run
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const W = 420, H = 240, LEFT = 52, RIGHT = 10, TOP = 8, BOTTOM = 34;
const SVG = "http://www.w3.org/2000/svg";
const control = (name) => document.getElementById(name);

function element(name, attributes, parent, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.appendChild(made);
  return made;
}

function format(x) {
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size >= 1e5 || size < 1e-3) return x.toExponential(2).replace("e+", "e");
  return String(Number(x.toPrecision(4)));
}

// A value of the x axis next to a curve's value: steps and tokens with all their digits.
function count(x) {
  return Number.isInteger(x) || x >= 1000 ? Math.round(x).toLocaleString("en") : format(x);
}

// The value of another axis at a step: linear between the steps that have one.
function convert(step, table) {
  if (!table || !table.length) return null;
  let high = table.findIndex((row) => row[0] >= step);
  if (high < 0) high = table.length - 1;
  if (high === 0) return table[0][0] ? (table[0][1] * step) / table[0][0] : 0;
  const [a, b] = [table[high - 1], table[high]];
  return b[0] === a[0] ? b[1] : a[1] + ((b[1] - a[1]) * (step - a[0])) / (b[0] - a[0]);
}

// The exponential moving average of noisy curves; the weights of the first points are corrected.
function smooth(points, weight) {
  let sum = 0, norm = 0;
  return points.map((point) => {
    sum = weight * sum + (1 - weight) * point[1];
    norm = weight * norm + (1 - weight);
    return [point[0], sum / norm, ...point.slice(2)];
  });
}

function ticks(low, high, log) {
  if (log) {
    const found = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++)
      for (const m of high / low > 200 ? [1] : high / low > 8 ? [1, 3] : [1, 1.5, 2, 3, 4, 5, 6, 8])
        if (m * 10 ** e >= low && m * 10 ** e <= high) found.push(m * 10 ** e);
    if (found.length > 1) return found;
  }
  const raw = (high - low) / 4 || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const found = [];
  for (let x = Math.ceil(low / step) * step; x <= high + step * 1e-6; x += step)
    found.push(Math.abs(x) < step * 1e-6 ? 0 : x);
  return found;
}

function prepare(chart) {
  const axis = control("axis").value, logX = control("logx").checked, logY = control("logy").checked;
  const weight = Number(control("smooth").value);
  return chart.series.map((series) => {
    let points = series.noisy && weight ? smooth(series.points, weight) : series.points;
    points = points.map((p) => [axis === "step" ? p[0] : convert(p[0], data.axes[axis][series.run]),
                                p[1], p[2], p[3]]);
    points = points.filter((p) => p[0] !== null && (!logX || p[0] > 0) && (!logY || p[1] > 0));
    return {...series, points};
  }).filter((series) => series.points.length);
}

function scale(values, from, to, log, margin) {
  let low = Math.min(...values), high = Math.max(...values);
  if (low === high) { low -= Math.abs(low) * 0.05 || 1; high += Math.abs(high) * 0.05 || 1; }
  if (log && low <= 0) log = false;
  if (margin && log) { low /= 1.03; high *= 1.03; }
  if (margin && !log) { const more = (high - low) * 0.04; low -= more; high += more; }
  const f = log ? Math.log : (x) => x;
  const place = (x) => from + ((f(x) - f(low)) / (f(high) - f(low))) * (to - from);
  return {place, low, high, log};
}

function draw(figure, chart) {
  const series = prepare(chart);
  const svg = figure.querySelector("svg");
  svg.replaceChildren();
  if (!series.length) return element("text", {x: LEFT, y: 40}, svg, "nothing to draw on these axes");
  const all = series.flatMap((s) => s.points);
  const x = scale(all.map((p) => p[0]), LEFT, W - RIGHT, control("logx").checked);
  const ys = series.flatMap((s) => {
    const values = s.points.flatMap((p) => p.slice(1)).filter((v) => v !== undefined && v !== null);
    return s.noisy ? clip(values) : values;
  });
  const y = scale(ys, H - BOTTOM, TOP, control("logy").checked, true);
  for (const t of ticks(y.low, y.high, y.log)) {
    element("line", {x1: LEFT, x2: W - RIGHT, y1: y.place(t), y2: y.place(t), class: "grid"}, svg);
    element("text", {x: LEFT - 5, y: y.place(t) + 4, "text-anchor": "end"}, svg, format(t));
  }
  for (const t of ticks(x.low, x.high, x.log))
    element("text", {x: x.place(t), y: H - BOTTOM + 15, "text-anchor": "middle"}, svg, format(t));
  element("text", {x: W - RIGHT, y: H - 4, "text-anchor": "end"}, svg, control("axis").value);
  const clipId = `clip-${figure.id}`;
  const area = element("clipPath", {id: clipId}, element("defs", {}, svg));
  element("rect", {x: LEFT, y: TOP - 4, width: W - LEFT - RIGHT + 4, height: H - TOP - BOTTOM + 8}, area);
  const group = element("g", {"clip-path": `url(#${clipId})`}, svg);
  for (const s of series) {
    const color = `var(--c${s.color})`;
    const path = s.points.map((p) => `${x.place(p[0]).toFixed(1)},${y.place(p[1]).toFixed(1)}`);
    const line = {points: path.join(" "), fill: "none", stroke: color, "stroke-width": 1.6,
                  "stroke-dasharray": s.dash};
    if (s.level) {
      const at = y.place(s.points[0][1]);
      element("line", {x1: LEFT, x2: W - RIGHT, y1: at, y2: at, stroke: color,
                       "stroke-dasharray": s.dash}, group);
      continue;
    }
    element("polyline", line, group);
    for (const p of s.points.length < 40 ? s.points : []) {
      element("circle", {cx: x.place(p[0]), cy: y.place(p[1]), r: 2.4, fill: color}, group);
      if (p[2] !== undefined && p[2] !== null)
        element("line", {x1: x.place(p[0]), x2: x.place(p[0]), y1: y.place(p[2]), y2: y.place(p[3]),
                         stroke: color}, group);
    }
  }
  const cursor = element("line", {y1: TOP, y2: H - BOTTOM, x1: -9, x2: -9, class: "cursor"}, svg);
  svg.onpointermove = (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * W;
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
    show(figure, series, x, at);
  };
  svg.onpointerleave = () => { cursor.setAttribute("x1", -9); cursor.setAttribute("x2", -9); show(figure, series, x, Infinity); };
  show(figure, series, x, Infinity);
}

// Of noisy values the middle 99 %, so that one spike does not flatten the rest.
function clip(values) {
  if (values.length < 200) return values;
  const sorted = [...values].sort((a, b) => a - b);
  const cut = Math.floor(sorted.length * 0.005);
  return [sorted[cut], sorted[sorted.length - 1 - cut]];
}

// The values of all curves next to a place of the x axis; at their ends for Infinity.
function show(figure, series, x, at) {
  const box = figure.querySelector(".values");
  box.replaceChildren();
  for (const s of series) {
    const near = s.points.reduce((a, b) =>
      at === Infinity || Math.abs(x.place(b[0]) - at) < Math.abs(x.place(a[0]) - at) ? b : a);
    const span = document.createElement("span");
    const swatch = document.createElement("i");
    swatch.className = "swatch";
    swatch.style.background = `var(--c${s.color})`;
    if (s.dash) swatch.style.opacity = 0.5;
    const where = s.level ? "" : ` at ${count(near[0])}`;
    const between = near[2] === undefined || near[2] === null ? "" : ` (${format(near[2])} to ${format(near[3])})`;
    span.append(swatch, `${s.name} ${format(near[1])}${between}${where}`);
    box.append(span);
  }
}

const figures = data.charts.map((chart, number) => {
  const figure = document.createElement("figure");
  figure.id = `chart-${number}`;
  figure.innerHTML = `<div class="title"></div><svg viewBox="0 0 ${W} ${H}" role="img"></svg><figcaption class="values"></figcaption>`;
  figure.querySelector(".title").textContent = chart.unit ? `${chart.title} (${chart.unit})` : chart.title;
  figure.querySelector("svg").setAttribute("aria-label", chart.title);
  document.getElementById("charts").append(figure);
  return figure;
});
const redraw = () => figures.forEach((figure, number) => draw(figure, data.charts[number]));
for (const name of ["axis", "logx", "logy", "smooth"]) control(name).addEventListener("input", redraw);
redraw();
