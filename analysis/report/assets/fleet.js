// The fleet as a whole: accuracy and bytes over time, recovery, accuracy against costs.

const BANDS = 3; // of more learners bands would only hide one another
const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star", "hexagon", "pentagon"];

// The moments of several step functions together, so that hovering tells all of them at each.
function together(series) {
  return [...new Set(series.flatMap((one) => one.t))].sort((a, b) => a - b);
}

function lines(scenario, kind, hover) {
  const found = scenario.shown
    .map((learner) => ({ learner, series: (scenario.facts[kind][scenario.seed] || {})[learner.name] }))
    .filter(({ series }) => series && series.v.some((value) => value !== null));
  const moments = together(found.map(({ series }) => series));
  return found.map(({ learner, series }, place) => {
    const stepped = series.steps !== false;
    const t = stepped ? moments : series.t;
    return {
      learner,
      series,
      trace: {
        ...withGaps(t.map((time) => time / scenario.unit), stepped ? t.map((time) => valueAt(series, time)) : series.v),
        name: labelOf(learner), mode: "lines", hovertemplate: hover,
        line: { color: colourOf(learner), width: 3.2 - (1.4 * place) / Math.max(1, found.length - 1), shape: stepped ? "hv" : "linear" },
      },
    };
  });
}

function band(scenario, learner, series) {
  if (!series.low) return [];
  const edge = {
    x: series.t.map((time) => time / scenario.unit), mode: "lines", line: { width: 0, shape: "hv" }, hoverinfo: "skip",
  };
  return [
    { ...edge, y: series.low },
    { ...edge, y: series.high, fill: "tonexty", fillcolor: faint(colourOf(learner), 0.12) },
  ];
}

function lastKnown(series) {
  return [...series.v].reverse().find((value) => value !== null);
}

function roomForLabels(width) {
  return width >= 640 ? { r: 128 } : {};
}

function accuracyChart(scenario, width) {
  const drawn = lines(scenario, "fleet", "%{y:.1%}");
  const all = drawn.flatMap(({ series }) => series.v.filter((value) => value !== null));
  const banded = drawn.some(({ series }) => series.low);
  const bands = banded && drawn.length <= BANDS;
  const lows = bands ? drawn.flatMap(({ series }) => series.low.filter((value) => value !== null)) : [];
  const range = [Math.max(0, Math.min(...all, ...lows) - 0.03), 1.005];
  const marks = driftMarks(scenario, width);
  const height = width < 500 ? 290 : 400;
  const ends = drawn.map(({ learner, series }) => ({ name: labelOf(learner), value: lastKnown(series), colour: colourOf(learner) }));
  if (width >= 640) marks.annotations.push(...endLabels(ends, range, height));
  const seeds = scenario.seed === "all" && scenario.facts.seeds.length > 1 ? ` and ${scenario.facts.seeds.length} seeds` : "";
  return {
    height,
    traces: [
      ...(bands ? drawn.flatMap(({ learner, series }) => band(scenario, learner, series)) : []),
      ...drawn.map(({ trace }) => trace),
    ],
    layout: { ...marks, margin: roomForLabels(width), yaxis: { range, tickformat: ".0%", title: { text: "accuracy" } } },
    empty: emptyText(scenario, all.length, "Accuracy was not measured."),
    note: `Mean over devices${seeds}${bands ? "; band: the middle 80 % of the devices" : ""}. Dashed: drifts.${banded && !bands ? ` With at most ${BANDS} learners shown: the middle 80 % of the devices.` : ""}`,
    label: `Accuracy over time. ${drawn.map(({ learner, series }) => `${learner.name}: ${quantity(lastKnown(series), "ratio")} at the end`).join("; ")}`,
  };
}

function emptyText(scenario, count, otherwise) {
  if (count) return "";
  if (!scenario.facts.learners.length) return "Nothing was run.";
  return scenario.shown.length ? otherwise : "No learner is chosen.";
}

function bytesChart(scenario, width) {
  const drawn = lines(scenario, "bytes", "%{text}");
  for (const { trace } of drawn) trace.text = trace.y.map((value) => quantity(value, "bytes"));
  const top = Math.max(0, ...drawn.flatMap(({ series }) => series.v));
  const marks = driftMarks(scenario, width);
  const range = [-0.02 * (top || 1), 1.05 * (top || 1)];
  const ends = drawn.map(({ learner, series }) => ({ name: labelOf(learner), value: lastKnown(series), colour: colourOf(learner) }));
  if (width >= 640) marks.annotations.push(...endLabels(ends, range, 350));
  const seeds = scenario.seed === "all" && scenario.facts.seeds.length > 1 ? ` Mean over ${scenario.facts.seeds.length} seeds.` : "";
  return {
    traces: drawn.map(({ trace }) => trace),
    layout: { ...marks, margin: { l: 74, ...roomForLabels(width) }, yaxis: { range, ...amountTicks(top, "bytes") } },
    empty: emptyText(scenario, drawn.length, "Nothing was recorded."),
    note: `All directions, requests included; a transfer counts when it ends.${seeds}`,
    label: `Bytes sent so far. ${drawn.map(({ learner, series }) => `${learner.name}: ${quantity(lastKnown(series), "bytes")}`).join("; ")}`,
  };
}

function recoveryChart(scenario, width) {
  const drawn = scenario.shown.filter((learner) => scenario.facts.recovery[learner.name]);
  const curves = drawn.map((learner) => scenario.facts.recovery[learner.name]);
  const longest = Math.max(1, ...curves.flatMap((curve) => [...curve.t, ...curve.lost.t]));
  const [unit, unitName] = timeUnit(longest);
  const traces = drawn.flatMap((learner, place) => {
    const curve = curves[place];
    const x = curve.t.map((time) => time / unit);
    const edge = { x, mode: "lines", line: { width: 0, shape: "hv" }, hoverinfo: "skip" };
    const band = [{ ...edge, y: curve.low }, { ...edge, y: curve.high, fill: "tonexty", fillcolor: faint(colourOf(learner), 0.13) }];
    return [
      ...(drawn.length <= BANDS ? band : []),
      {
        x, y: curve.v, name: labelOf(learner), mode: "lines", hovertemplate: "%{y:.0%}",
        line: { color: colourOf(learner), width: 3.2 - (1.4 * place) / Math.max(1, drawn.length - 1), shape: "hv" },
      },
      {
        x: curve.lost.t.map((time) => time / unit), y: curve.lost.v, mode: "markers", hoverinfo: "skip",
        marker: { symbol: "line-ns-open", size: 9, color: colourOf(learner), line: { width: 1.6 } },
      },
    ];
  });
  const ends = drawn.map((learner, place) => ({ name: labelOf(learner), value: lastKnown(curves[place]), colour: colourOf(learner) }));
  const kinds = new Set(curves.map((curve) => curve.band));
  const told = kinds.has("seeds") ? "band: 95 % over seeds" : "band: 95 % within the run, which says nothing about other seeds";
  return {
    traces,
    layout: {
      annotations: width >= 640 ? endLabels(ends, [-0.02, 1.02], 350) : [],
      margin: roomForLabels(width),
      xaxis: { title: { text: `time since the drift (${unitName})`, standoff: 8 }, unifiedhovertitle: { text: `%{x:.4~g} ${unitName}` }, rangemode: "tozero", range: [0, (longest / unit) * 1.02] },
      yaxis: { range: [-0.02, 1.02], tickformat: ".0%", title: { text: "not yet recovered" } },
    },
    empty: emptyText(scenario, drawn.length, "No drift cost measured accuracy, so there is no recovery to time."),
    note: `Share of the devices that a drift hurt and that are not back yet (Kaplan-Meier, all seeds); |: watched no longer; ${drawn.length <= BANDS ? "" : `with at most ${BANDS} learners shown, `}${told}.`,
    label: `Share of drifted devices that have not recovered, by time. ${drawn.map((learner, place) => `${learner.name}: ${quantity(lastKnown(curves[place]), "ratio")} at the end`).join("; ")}`,
  };
}

function paretoChart(scenario, width) {
  const cost = scenario.facts.costs[scenario.cost];
  if (!cost) return { absent: true };
  const names = scenario.facts.learners.map((learner) => learner.name);
  const points = cost.points.filter((point) => scenario.on.has(point.learner));
  const front = cost.points.filter((point) => cost.front.includes(point.learner)).sort((a, b) => a.x - b.x);
  const c = ink();
  const reach = points.flatMap((point) => [point.x, ...(point.xs || [])]).filter((value) => typeof value === "number");
  const top = Math.max(0, ...reach);
  const traces = [
    { x: front.map((point) => point.x), y: front.map((point) => point.y), mode: "lines", hoverinfo: "skip", line: { color: c.quiet, dash: "dot", width: 1.4 } },
    ...points.map((point) => {
      const learner = scenario.facts.learners[names.indexOf(point.learner)];
      const away = (value, span) => (span && typeof span[0] === "number" && typeof span[1] === "number"
        ? { type: "data", symmetric: false, array: [span[1] - value], arrayminus: [value - span[0]], thickness: 1.4, width: 4 } : undefined);
      return {
        x: [point.x], y: [point.y], mode: "markers+text", text: [labelOf(learner)], textposition: point.x > 0.6 * top ? "top left" : "top right",
        textfont: { color: colourOf(learner) }, name: "", cliponaxis: false,
        hovertemplate: `${escapeText(point.learner)}: ${escapeText(point.text)}`,
        error_x: away(point.x, point.xs), error_y: away(point.y, point.ys),
        marker: { size: 12, color: colourOf(learner), symbol: SYMBOLS[names.indexOf(point.learner) % SYMBOLS.length] },
      };
    }),
  ];
  const low = Math.min(...points.flatMap((point) => [point.y, ...(point.ys || [])]).filter((value) => typeof value === "number"));
  const high = Math.max(...points.flatMap((point) => [point.y, ...(point.ys || [])]).filter((value) => typeof value === "number"));
  const room = Math.max(0.01, high - low);
  const apart = scenario.facts.learners.some((learner) => learner.oracle) ? "; oracles (*) are bounds and take no part" : "";
  const missing = cost.missing.length ? ` Not measured or not reached: ${cost.missing.join(", ")}.` : "";
  return {
    traces,
    layout: {
      hovermode: "closest", dragmode: false,
      xaxis: { range: [-0.04 * (top || 1), 1.12 * (top || 1)], ...amountTicks(top, cost.unit), title: { text: cost.title, standoff: 8 }, fixedrange: true },
      yaxis: { range: [low - 0.12 * room, high + 0.2 * room], tickformat: room < 0.05 ? ".1%" : ".0%", title: { text: "accuracy" } },
    },
    empty: emptyText(scenario, points.length, "Accuracy or this cost was not measured."),
    note: `Dotted: learners that no other one beats in both, by these estimates${apart}.${scenario.facts.seeds.length > 1 ? " Bars: 95 % over seeds." : ""}${missing}`,
    label: `Accuracy against ${cost.title}. ${points.map((point) => `${point.learner}: ${point.text}`).join("; ")}`,
  };
}

function costChoice(scenario) {
  const select = make("select", { "aria-label": "cost", autocomplete: "off" });
  scenario.facts.costs.forEach((cost, place) => select.append(make("option", { value: place }, cost.title)));
  select.addEventListener("change", () => scenario.set({ cost: Number(select.value) }));
  return select;
}
