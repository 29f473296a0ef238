"use strict";
// Draws the charts of a page with Observable Plot. Data come as JSON; text goes in by textContent only.
(() => {
  const COLORS = [0, 1, 2, 3, 4, 5].map((i) => `var(--c${i})`);
  const DASHES = [null, "6 3", "2 3", "8 3 2 3", "1 2", "10 4"];
  const tone = (t) => (t ? `var(--${t})` : "var(--soft)");
  const percent = (v) => `${+(100 * v).toPrecision(3)} %`;
  const short = (text, n) => (text.length > n ? text.slice(0, n - 1) + "…" : text);
  const fine = d3.format("~r");
  const number = (v) => {
    if (v === null || v === undefined || Number.isNaN(v)) return "-";
    const a = Math.abs(v);
    if (a !== 0 && (a < 1e-3 || a >= 1e7)) return v.toExponential(1).replace("e+", "e");
    return a >= 1000 ? d3.format(",.0f")(v) : String(+v.toPrecision(4));
  };
  const tick = (v) => {
    const a = Math.abs(v);
    if (a !== 0 && (a < 1e-3 || a >= 1e6)) return String(+v.toPrecision(3)).includes("e") ? v.toExponential(0).replace("e+", "e") : v.toExponential(0).replace("e+", "e");
    return d3.format(",")(+v.toPrecision(6));
  };
  const halo = { stroke: "var(--card)", strokeWidth: 4, strokeOpacity: 0.9 };
  const style = { background: "transparent", color: "var(--ink)", fontSize: "12px", fontFamily: "inherit" };
  const base = (width, more) => ({ width, style, ...more });
  const ticksIn = (width) => Math.max(3, Math.min(9, Math.floor(width / 90)));
  const widest = (texts, px = 6.6) => Math.max(0, ...texts.map((t) => String(t).length)) * px;

  // a faint series is another view of the one after it, and wears its colour
  const hue = (series, i) => COLORS[(series[i].color ?? (series[i].faint ? i : i - series.slice(0, i).filter((s) => s.faint).length)) % 6];

  function domain(data, series) {
    // what is off the scale of the rest is drawn to the edge: one spike must not flatten a curve
    const values = series.flatMap((s) => s.y).filter((v) => v !== null).sort(d3.ascending);
    if (data.log) {
      const over = [...values, ...(data.levels || []).map((l) => l.y)].filter((v) => v > 0);
      return over.length ? [d3.min(over) * 0.8, d3.max(over) * 1.25] : undefined;
    }
    if (!data.fit || values.length < 8) return undefined;
    const main = series.filter((s) => !s.faint).flatMap((s) => s.y).filter((v) => v !== null).sort(d3.ascending);
    const use = main.length >= 8 ? main : values;
    const low = d3.quantileSorted(use, 0.01), high = d3.quantileSorted(use, 0.97), room = 0.6 * (high - low);
    const levels = (data.levels || []).map((l) => l.y);
    const inside = use.filter((v) => v >= low - room && v <= high + 2 * room);
    const lo = d3.min([...inside, ...levels]), hi = d3.max([...inside, ...levels]);
    if (!(hi > lo)) return undefined;
    return [lo - 0.04 * (hi - lo), hi + 0.04 * (hi - lo)];
  }

  function lines(data, width) {
    const series = data.series, many = series.length > 1;
    const rows = series.flatMap((s, i) => s.x.map((x, k) => ({ x, y: s.y[k], i, name: s.name, faint: s.faint })));
    const limits = domain(data, series);
    const clamp = (v) => (v === null || !limits ? v : data.log && v <= 0 ? null : Math.max(limits[0], Math.min(limits[1], v)));
    const y = { label: null, grid: true, ticks: 6, tickFormat: data.percent ? percent : tick, nice: !limits };
    if (limits) y.domain = limits;
    if (data.log) { y.type = "log"; y.tickFormat = tick; y.ticks = 4; }
    const marks = [], color = (i) => hue(series, i);
    const ends = [d3.min(series, (s) => d3.min(s.x)), d3.max(series, (s) => d3.max(s.x))];
    const within = (v) => Math.max(ends[0], Math.min(ends[1], v));
    // a span of the whole picture would only tint it
    for (const s of data.spans || []) {
      if (s.from > ends[1] || s.to < ends[0] || (s.from <= ends[0] && s.to >= ends[1])) continue;
      const span = [{ from: within(s.from), to: within(s.to), label: s.label }];
      marks.push(Plot.rectX(span, { x1: "from", x2: "to", fill: "var(--warning)", fillOpacity: 0.12 }));
      marks.push(Plot.text(span, { x: "from", text: "label", frameAnchor: "top", dy: 5, dx: 4, textAnchor: "start", fill: "var(--warning)" }));
    }
    for (const b of data.bands || []) {
      const i = Math.max(0, series.findIndex((s) => s.name === b.series));
      const band = b.x.map((x, k) => ({ x, low: clamp(b.low[k]), high: clamp(b.high[k]) }));
      marks.push(Plot.areaY(band, { x: "x", y1: "low", y2: "high", fill: color(i), fillOpacity: 0.16 }));
    }
    const low = (data.levels || []).length > 0;
    for (const m of data.marks || []) {
      marks.push(Plot.ruleX([m.x], { stroke: tone(m.tone), strokeDasharray: "3 3" }));
      const late = m.x > ends[0] + 0.75 * (ends[1] - ends[0]);
      marks.push(Plot.text([m], { x: "x", text: "label", frameAnchor: low ? "bottom" : "top", dy: (low ? -6 : 4) + (m.tone ? (low ? -14 : 14) : 0), dx: late ? -4 : 4, textAnchor: late ? "end" : "start", fill: tone(m.tone), ...halo }));
    }
    const right = !(data.marks || []).some((m) => m.x > ends[0] + 0.75 * (ends[1] - ends[0]));
    for (const l of data.levels || []) {
      marks.push(Plot.ruleY([l.y], { stroke: tone(l.tone), strokeDasharray: "5 3" }));
      marks.push(Plot.text([l], { y: "y", text: "label", frameAnchor: right ? "right" : "left", dy: -8, dx: right ? 0 : 4, textAnchor: right ? "end" : "start", fill: tone(l.tone), ...halo }));
    }
    const xs = series.flatMap((s) => s.x), onePoint = d3.max(series, (s) => s.x.length) < 40;
    series.forEach((s, i) => {
      const own = rows.filter((r) => r.i === i && r.y !== null).map((r) => ({ ...r, shown: clamp(r.y) }));
      marks.push(Plot.line(own.filter((r) => r.shown !== null), { x: "x", y: "shown", stroke: color(i), strokeWidth: s.faint ? 1 : 1.9, strokeOpacity: s.faint ? 0.3 : 1, strokeDasharray: !s.faint && many && series.length > 3 ? DASHES[(series[i].color ?? i) % 6] : null, clip: true }));
      if (onePoint && !s.faint) marks.push(Plot.dot(own, { x: "x", y: "shown", r: 2.3, fill: color(i) }));
    });
    const pick = rows.filter((r) => !r.faint && r.y !== null).map((r) => ({ ...r, shown: clamp(r.y) }));
    marks.push(Plot.ruleX(pick, Plot.pointerX({ x: "x", stroke: "var(--soft)", strokeOpacity: 0.5 })));
    marks.push(Plot.tip(pick, Plot.pointer({ x: "x", y: "shown", title: (d) => `${short(d.name, 60)}\n${data.x} ${number(d.x)}\n${data.percent ? percent(d.y) : number(d.y)}` })));
    const lo = d3.min(xs), hi = d3.max(xs), whole = data.x === "epoch" && hi - lo <= ticksIn(width);
    return Plot.plot(base(width, {
      height: data.low ? 190 : 300, marginLeft: 58, marginRight: 18, marginBottom: 38, marginTop: 22,
      x: { label: data.x, labelAnchor: "right", labelArrow: "none", ticks: whole ? d3.range(Math.ceil(lo), hi + 1) : ticksIn(width), tickFormat: tick, domain: lo === hi ? [lo - 1, hi + 1] : [lo, hi] },
      y: { ...y, label: data.y, labelArrow: "none" }, marks,
    }));
  }

  function heat(data, width) {
    const cells = [];
    const none = [];
    data.values.forEach((row, i) => row.forEach((v, k) => { if (v === 0 && data.log) none.push({ x: data.columns[k], y: data.rows[i], v }); }));
    data.values.forEach((row, i) => row.forEach((v, k) => { if (v !== null && (!data.log || v > 0)) cells.push({ x: data.columns[k], y: data.rows[i], v, c: data.log ? Math.log10(v) : v }); }));
    const long = Math.min(34, Math.max(8, Math.floor((width * 0.34) / 6.6)));
    const left = Math.min(widest(data.rows), long * 6.6) + 16;
    const every = Math.max(1, Math.ceil(data.columns.length / Math.max(2, Math.floor((width - left) / 60))));
    return Plot.plot(base(width, {
      height: 70 + 20 * data.rows.length, marginLeft: left, marginBottom: 38, marginTop: 8, marginRight: 14,
      x: { type: "band", domain: data.columns, label: data.x, labelAnchor: "right", labelArrow: "none", ticks: data.columns.filter((_, i) => i % every === 0), tickFormat: tick, tickSize: 3, padding: 0 },
      y: { type: "band", domain: data.rows, label: null, tickFormat: (d) => short(d, long), tickSize: 0, padding: 0.08 },
      color: { scheme: "cividis" },
      marks: [
        Plot.cell(cells, { x: "x", y: "y", fill: "c" }),
        Plot.cell(none, { x: "x", y: "y", fill: "var(--critical)", fillOpacity: 0.25 }),
        Plot.text(none, { x: "x", y: "y", text: () => "0", fill: "var(--critical)" }),
        Plot.tip([...cells, ...none], Plot.pointer({ x: "x", y: "y", title: (d) => `${short(d.y, 60)}\n${data.x} ${number(d.x)}\n${number(d.v)}` })),
      ],
    }));
  }

  function ramp(plot, data, width) {
    const scale = plot.scale("color");
    if (!scale || !scale.domain || scale.domain[0] === scale.domain[scale.domain.length - 1]) return null;
    return plot.legend("color", { width: Math.min(300, width), label: data.label, tickFormat: data.log ? (v) => tick(+(10 ** v).toPrecision(2)) : tick, ticks: 4, style: { color: "var(--ink)" } });
  }

  function bars(data, width) {
    const names = data.items.map((d) => d.name), long = Math.max(10, Math.floor((width * 0.36) / 6.6));
    const left = Math.min(widest(names), long * 6.6) + 14;
    const most = d3.max(data.items, (d) => d.value) || 1, limits = data.items.filter((d) => d.threshold !== undefined);
    const marks = [
      Plot.barX(data.items, { x: "value", y: "name", fill: "var(--c0)", fillOpacity: 0.85 }),
      Plot.text(data.items, { x: "value", y: "name", text: (d) => d.text || number(d.value), dx: 5, textAnchor: "start", fill: "var(--ink)" }),
      Plot.ruleX([0], { stroke: "var(--soft)" }),
    ];
    if (limits.length) {
      marks.push(Plot.tickX(limits, { x: "threshold", y: "name", stroke: "var(--critical)", strokeWidth: 2.5 }));
      marks.push(Plot.text(limits, { x: "threshold", y: "name", text: (d) => `threshold ${number(d.threshold)}`, dy: -20, fill: "var(--critical)" }));
    }
    const top = d3.max([most, ...limits.map((d) => d.threshold)]), low = d3.min([0, ...data.items.map((d) => d.value), ...limits.map((d) => d.threshold)]);
    return Plot.plot(base(width, {
      height: 62 + 26 * names.length + (limits.length ? 20 : 0), marginLeft: left, marginRight: Math.max(66, widest(data.items.map((d) => d.text || "")) + 14), marginBottom: 38, marginTop: limits.length ? 22 : 6,
      x: { label: data.label, labelAnchor: "right", labelArrow: "none", ticks: ticksIn(width - left), tickFormat: data.percent ? percent : tick, grid: true, domain: [low, top * 1.02 || 1] },
      y: { domain: names, label: null, tickSize: 0, tickFormat: (d) => short(d, long), padding: 0.25 }, marks,
    }));
  }

  function intervals(data, width) {
    const names = data.items.map((d) => d.name), long = Math.max(10, Math.floor((width * 0.4) / 6.6));
    const left = Math.min(widest(names), long * 6.6) + 14, ends = data.items.flatMap((d) => [d.low, d.mid, d.high]).filter((v) => v !== null);
    if (typeof data.zero === "number") ends.push(data.zero);
    const lo = d3.min(ends), hi = d3.max(ends), room = 0.08 * (hi - lo || Math.abs(hi) || 1);
    const color = (d) => (d.tone ? tone(d.tone) : "var(--c0)"), format = data.percent ? percent : number;
    const marks = [];
    if (typeof data.zero === "number") {
      marks.push(Plot.ruleX([data.zero], { stroke: "var(--soft)", strokeDasharray: "4 3" }));
      marks.push(Plot.text([data.zero], { x: (d) => d, text: () => data.zero_label || "no effect", frameAnchor: "top", dy: -14, fill: "var(--soft)" }));
    }
    marks.push(
      // without bounds there is a point alone: its interval is not known
      Plot.ruleY(data.items.filter((d) => d.low !== null && d.high !== null), { x1: "low", x2: "high", y: "name", stroke: color, strokeWidth: 2.2 }),
      Plot.dot(data.items, { x: "mid", y: "name", r: 4.5, fill: color }),
      Plot.tip(data.items, Plot.pointerY({ x: "mid", y: "name", title: (d) => `${short(d.name, 70)}\n${format(d.mid)}${d.low === null || d.high === null ? "" : ` (${format(d.low)} to ${format(d.high)})`}${d.note ? "\n" + d.note : ""}` })),
    );
    return Plot.plot(base(width, {
      height: 72 + 24 * names.length, marginLeft: left, marginRight: 24, marginTop: 24, marginBottom: 38,
      x: { domain: [lo - room, hi + room], label: data.label, labelAnchor: "right", labelArrow: "none", grid: true, ticks: ticksIn(width - left), tickFormat: data.percent ? percent : tick },
      y: { domain: names, label: null, tickSize: 0, tickFormat: (d) => short(d, long), type: "band", padding: 0.2 }, marks,
    }));
  }

  function matrix(data, width) {
    const n = data.classes.length, cells = [], long = Math.max(6, Math.min(18, Math.floor((width * 0.26) / 6.6)));
    data.counts.forEach((row, i) => {
      const all = d3.sum(row) || 1;
      row.forEach((count, k) => cells.push({ truth: i, said: k, count, share: count / all }));
    });
    const left = Math.min(widest(data.classes), long * 6.6) + 34, side = Math.min(n <= 12 ? 64 : 26, (width - left - 20) / n);
    const turn = n > 4 || widest(data.classes) > side * 1.1, shown = side >= 30;
    const name = (i) => short(data.classes[i], long);
    return Plot.plot(base(left + 20 + side * n, {
      height: 46 + side * n + (turn ? Math.min(widest(data.classes), long * 6.6) * 0.75 + 16 : 20), marginLeft: left, marginRight: 20, marginTop: 24,
      marginBottom: turn ? Math.min(widest(data.classes), long * 6.6) * 0.75 + 36 : 40,
      x: { type: "band", domain: d3.range(n), label: "called", labelAnchor: "right", labelArrow: "none", tickFormat: name, tickSize: 0, tickRotate: turn ? -40 : 0, padding: 0.03 },
      y: { type: "band", domain: d3.range(n), label: "truth", labelArrow: "none", tickFormat: name, tickSize: 0, padding: 0.03 },
      marks: [
        Plot.cell(cells, { x: "said", y: "truth", fill: "var(--c0)", fillOpacity: (d) => 0.05 + 0.8 * d.share }),
        ...(shown ? [Plot.text(cells.filter((d) => d.count), { x: "said", y: "truth", text: (d) => number(d.count), fill: "var(--ink)", fontSize: 12, ...halo })] : []),
        Plot.tip(cells, Plot.pointer({ x: "said", y: "truth", title: (d) => `${short(data.classes[d.truth], 40)} called ${short(data.classes[d.said], 40)}\n${number(d.count)} rows, ${percent(d.share)} of the class` })),
      ],
    }));
  }

  function points(data, width) {
    const p = data.points.filter((d) => d.x !== null && d.y !== null), marks = [];
    const format = data.percent ? percent : number, formatY = data.percent_y ? percent : format, spread = p.some((d) => d.low !== undefined);
    if (data.diagonal) {
      const lo = d3.min(p, (d) => Math.min(d.x, d.low ?? d.y)), hi = d3.max(p, (d) => Math.max(d.x, d.high ?? d.y));
      marks.push(Plot.line([[lo, lo], [hi, hi]], { stroke: "var(--soft)", strokeDasharray: "5 3" }));
    }
    if (data.zero) marks.push(Plot.ruleY([0], { stroke: "var(--soft)", strokeDasharray: "5 3" }));
    if (spread) marks.push(Plot.ruleX(p, { x: "x", y1: "low", y2: "high", stroke: "var(--c0)", strokeOpacity: 0.6 }));
    if (data.best) marks.push(Plot.line(data.best, { x: "x", y: "y", curve: "step-after", stroke: "var(--c1)", strokeWidth: 1.8 }));
    marks.push(Plot.dot(p, { x: "x", y: "y", r: spread ? 4 : p.length > 400 ? 1.8 : 3, fill: "var(--c0)", fillOpacity: p.length > 400 ? 0.4 : 0.85 }));
    marks.push(Plot.tip(p, Plot.pointer({ x: "x", y: "y", title: (d) => `${d.name ? short(d.name, 70) + "\n" : ""}${data.x} ${format(d.x)}\n${data.y} ${formatY(d.y)}` })));
    return Plot.plot(base(width, {
      height: 310, marginLeft: 60, marginRight: 18, marginBottom: 38, marginTop: 22,
      x: { label: data.x, labelAnchor: "right", labelArrow: "none", ticks: ticksIn(width), tickFormat: data.percent ? percent : tick, type: data.log_x ? "log" : "linear" },
      y: { label: data.y, labelArrow: "none", grid: true, ticks: 6, tickFormat: data.percent || data.percent_y ? percent : tick }, marks,
    }));
  }

  function parallel(data, width) {
    const place = (dim, v) => {
      if (dim.options) return dim.options.length > 1 ? dim.options.indexOf(v) / (dim.options.length - 1) : 0.5;
      if (v === dim.off) return 0;
      const f = dim.log ? Math.log : (u) => u, from = dim.off === undefined ? 0 : 0.12;
      return from + (1 - from) * (dim.high > dim.low ? (f(v) - f(dim.low)) / (f(dim.high) - f(dim.low)) : 0.5);
    };
    const fit = Math.max(2, Math.min(data.dims.length, Math.floor(width / 88)));
    const dims = data.dims.slice(0, fit), rows = [], names = dims.map((d) => d.name);
    data.trials.forEach((t, k) => dims.forEach((dim, i) => {
      const v = t.values[i];
      if (v !== null) rows.push({ k, x: dim.name, y: place(dim, v), v, score: t.score, best: t.best });
    }));
    const ends = dims.flatMap((d) => d.options ? d.options.map((o, i) => ({ x: d.name, y: d.options.length > 1 ? i / (d.options.length - 1) : 0.5, text: String(o) }))
      : [...(d.off === undefined ? [] : [d.off]), d.low, d.high].map((v) => ({ x: d.name, y: place(d, v), text: number(v) })));
    const kept = short.bind(null);
    return Plot.plot(base(width, {
      height: 320, marginTop: 30, marginBottom: 30, marginLeft: 30, marginRight: 40,
      x: { type: "point", padding: 0.15, domain: names, label: null, axis: "top", tickSize: 0, tickFormat: (d) => kept(d, Math.max(6, Math.floor(width / names.length / 7))) }, y: { axis: null, domain: [0, 1] },
      color: { scheme: "cividis", label: data.label, tickFormat: tick, domain: data.domain, clamp: true },
      marks: [
        Plot.ruleX(names, { stroke: "var(--line)" }),
        Plot.line(rows, { x: "x", y: "y", z: "k", stroke: "score", strokeOpacity: 0.75, strokeWidth: (d) => (d.best ? 3.5 : 1.2) }),
        Plot.text(ends, { x: "x", y: "y", text: "text", dx: 5, textAnchor: "start", fill: "var(--ink)", stroke: "var(--card)", strokeWidth: 4 }),
        Plot.tip(rows, Plot.pointer({ x: "x", y: "y", title: (d) => `${d.x} ${typeof d.v === "number" ? number(d.v) : d.v}\n${data.label} ${number(d.score)}` })),
      ],
    }));
  }

  const FORMS = { lines, heat, bars, intervals, matrix, points, parallel };

  function legend(data) {
    if (data.form !== "lines" || data.series.length < 2) return null;
    const box = document.createElement("div");
    box.className = "legend";
    data.series.forEach((s, i) => {
      const item = document.createElement("span");
      item.textContent = short(s.name, 48);
      item.style.setProperty("--key", hue(data.series, i));
      if (s.faint) item.classList.add("faint");
      const k = (s.color ?? i) % 6;
      if (data.series.length > 3 && k) item.style.setProperty("--dash", k % 2 ? "dashed" : "dotted");
      box.append(item);
    });
    return box;
  }

  function draw(box, data) {
    const width = Math.max(260, Math.floor(box.clientWidth));
    const plot = FORMS[data.form](data, width), parts = [legend(data), plot];
    if (data.form === "heat" || data.form === "parallel") parts.unshift(ramp(plot, data, width));
    box.replaceChildren(...parts.filter(Boolean));
    box.dataset.drawn = "yes";
  }

  // where the browser lets a page write to the clipboard, commands can be taken by one press
  function copyable(pre) {
    if (!navigator.clipboard || pre.parentElement.className === "copied") return;
    const button = document.createElement("button"), box = document.createElement("div");
    box.className = "copied";
    button.className = "copy";
    button.type = "button";
    button.textContent = "copy";
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(pre.textContent);
        button.textContent = "copied";
      } catch {
        button.textContent = "not allowed";
      }
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
    pre.replaceWith(box);
    box.append(pre, button);
  }

  function all() {
    const found = [...document.querySelectorAll("script.chart-data")].map((s) => JSON.parse(s.textContent));
    document.querySelectorAll("[data-chart]").forEach((box) => draw(box, found[+box.dataset.chart]));
  }

  function start() {
    all();
    document.querySelectorAll("main pre").forEach(copyable);
  }

  let width = document.documentElement.clientWidth, due = 0;
  addEventListener("resize", () => {
    if (document.documentElement.clientWidth === width) return;
    width = document.documentElement.clientWidth;
    clearTimeout(due);
    due = setTimeout(all, 120);
  });

  globalThis.trainwellCharts = start;
  start();
})();
