// A chart in its figure: drawn when it comes into view, drawn anew when what it shows changes.

const COARSE = matchMedia("(pointer: coarse)").matches;
const MARGIN = { l: 62, r: 18, t: 10, b: 46, autoexpand: false };

class Chart {
  // build(scenario, width) returns {traces, layout, note, label, empty, height}; timed: its x axis is the run's time;
  // follows: what it shows is what holds at the time cursor.
  constructor(scenario, figure, title, build, { timed = false, follows = false } = {}) {
    Object.assign(this, { scenario, figure, build, timed });
    this.title = make("figcaption", {}, title);
    this.extra = make("span", { class: "extra" });
    this.title.append(this.extra);
    this.plot = make("div", { class: "plot", role: "img" });
    this.stage = make("div", { class: "stage" }, this.plot);
    this.note = make("p", { class: "note" });
    this.visible = false;
    this.outdate();
    figure.append(this.title, this.stage, this.note);
    if (timed) this.cursor = addCursor(this);
    new IntersectionObserver(([entry]) => {
      this.visible = entry.isIntersecting;
      if (this.visible && this.stale) this.draw();
    }, { rootMargin: "300px" }).observe(figure);
    scenario.listeners.push((cursorOnly) => (cursorOnly && !follows ? this.moveCursor() : this.refresh()));
    scenario.charts.push(this);
  }

  outdate() {
    this.stale = true;
    this.figure.setAttribute("aria-busy", "true"); // until it is drawn: when it comes into view
  }

  refresh() {
    this.outdate();
    if (this.visible || this.figure.hidden) this.draw(); // what was absent may be there now
  }

  draw(printed) {
    this.figure.hidden = false;
    const width = printed || this.stage.clientWidth;
    if (!width) return;
    this.stale = false;
    this.figure.removeAttribute("aria-busy");
    const built = this.build(this.scenario, width);
    this.figure.hidden = Boolean(built.absent);
    if (built.absent) return;
    this.note.textContent = built.note || "";
    this.plot.setAttribute("aria-label", built.label);
    const layout = this.layout(built, width);
    this.margin = layout.margin;
    this.blank = Boolean(built.empty);
    const traces = built.empty ? [] : built.traces;
    this.stage.style.minHeight = `${layout.height}px`;
    Plotly.react(this.plot, traces, layout, { displaylogo: false, displayModeBar: false, responsive: false });
    if (!this.wired) this.wire();
    this.moveCursor();
  }

  layout(built, width) {
    const c = ink();
    const axis = {
      gridcolor: c.line, linecolor: c.line, zeroline: false, ticks: "outside", tickcolor: c.line, ticklen: 4,
      title: { standoff: 8 }, automargin: false,
    };
    const given = built.layout || {};
    const layout = {
      font: { family: "system-ui, sans-serif", size: width < 500 ? 12 : 13.5, color: c.text },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      width, height: built.height || (width < 500 ? 280 : 350),
      hovermode: "x unified", showlegend: false, dragmode: COARSE ? false : "zoom",
      hoverlabel: { bgcolor: c.card, bordercolor: c.line, font: { color: c.text } },
      ...given,
      margin: { ...MARGIN, ...(width < 500 ? { l: 54, r: 10 } : {}), ...given.margin },
      xaxis: { ...axis, showgrid: false, fixedrange: COARSE, ...given.xaxis },
      yaxis: { ...axis, fixedrange: true, ...given.yaxis },
    };
    if (this.timed) this.timeAxis(layout);
    if (built.empty) {
      layout.annotations = [{ text: built.empty, x: 0.5, y: 0.5, xref: "paper", yref: "paper", showarrow: false }];
      layout.shapes = [];
      layout.height = 120;
      Object.assign(layout.xaxis, { visible: false });
      Object.assign(layout.yaxis, { visible: false });
    }
    return layout;
  }

  timeAxis(layout) {
    const { unit, unitName, facts, zoom } = this.scenario;
    const [from, to] = zoom || [0, facts.horizon];
    layout.xaxis.range = [from / unit, to / unit];
    layout.xaxis.title = { text: `time (${unitName})`, standoff: 8 };
    layout.xaxis.unifiedhovertitle = { text: `%{x:.4~g} ${unitName}` };
  }

  wire() {
    this.wired = true;
    if (!this.timed) return;
    this.plot.on("plotly_relayout", (change) => {
      const { unit } = this.scenario;
      if ("xaxis.range[0]" in change) {
        this.scenario.set({ zoom: [change["xaxis.range[0]"] * unit, change["xaxis.range[1]"] * unit] });
      } else if (change["xaxis.autorange"]) this.scenario.set({ zoom: null });
    });
  }

  moveCursor() {
    if (this.cursor && !this.stale && !this.figure.hidden) placeCursor(this);
  }
}

// A step function up to each of its gaps: without the point at a gap's start its last step would not be drawn.
function withGaps(x, y, text) {
  const out = { x: [], y: [], text: [] };
  x.forEach((at, place) => {
    if (y[place] === null && place && y[place - 1] !== null) {
      out.x.push(at);
      out.y.push(y[place - 1]);
      out.text.push(text ? text[place - 1] : "");
    }
    out.x.push(at);
    out.y.push(y[place]);
    out.text.push(text ? text[place] : "");
  });
  return text ? out : { x: out.x, y: out.y };
}

// Dashed lines where drifts open, named while there is room.
function driftMarks(scenario, width) {
  const { drifts } = scenario.surroundings;
  const c = ink();
  const moments = new Map();
  for (const { time, name } of drifts) moments.set(time, moments.has(time) ? `${moments.get(time)}, ${name}` : name);
  const crowded = moments.size > Math.max(2, width / 60);
  const shapes = [];
  const annotations = [];
  for (const [time, name] of moments) {
    const x = time / scenario.unit;
    shapes.push({
      type: "line", x0: x, x1: x, y0: 0, y1: 1, yref: "paper", layer: "below",
      line: { color: c.quiet, width: crowded ? 0.6 : 1.2, dash: "dash" },
    });
    if (crowded) continue;
    annotations.push({
      x, y: 0.02, yref: "paper", text: escapeText(name), textangle: -90, showarrow: false, xanchor: "right", yanchor: "bottom",
      font: { size: 11, color: c.quiet },
    });
  }
  return { shapes, annotations };
}

// A legend above the plot, and the margin that it needs; Plotly gives each entry about so much room.
function legendAbove(entries, width, left) {
  const rows = Math.ceil(entries / Math.max(1, Math.floor((width - left - 20) / 165)));
  return {
    showlegend: entries > 0,
    legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", font: { size: 12 }, itemclick: false, itemdoubleclick: false },
    margin: { l: left, t: 14 + 22 * rows },
  };
}

// The margin that names on the y axis need.
function nameMargin(names) {
  return Math.min(150, 22 + 8 * Math.max(4, ...names.map((name) => name.length)));
}

// Names of learners at the ends of their lines, pushed apart so that none hides another.
function endLabels(ends, range, height) {
  const perPixel = (range[1] - range[0]) / (height - MARGIN.t - MARGIN.b);
  const gap = 16 * perPixel;
  const labels = ends.filter((end) => typeof end.value === "number").sort((a, b) => a.value - b.value);
  labels.forEach((label, place) => {
    label.y = place ? Math.max(label.value, labels[place - 1].y + gap) : label.value;
  });
  const over = labels.length ? labels[labels.length - 1].y - range[1] : 0;
  if (over > 0) {
    let ceiling = range[1];
    for (const label of [...labels].reverse()) {
      label.y = Math.min(label.y, ceiling);
      ceiling = label.y - gap;
    }
  }
  return labels.map(({ y, name, colour }) => ({
    x: 1, xref: "paper", y, text: name, showarrow: false, xanchor: "left", yanchor: "middle", xshift: 6,
    font: { color: colour, size: 12.5 },
  }));
}

// Plotly reads a little HTML in texts: names must not be taken for it.
function escapeText(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

// Ticks for an amount, as people write it.
function amountTicks(top, unit) {
  if (!(top > 0)) return { tickvals: [0], ticktext: [quantity(0, unit)] };
  const raw = top / 4;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * size).find((value) => value >= raw);
  const tickvals = [];
  for (let value = 0; value <= top * 1.0001; value += step) tickvals.push(value);
  return { tickvals, ticktext: tickvals.map((value) => quantity(value, unit)) };
}
