// The environment of one seed: what was offered, who was reachable, when data drifted.

const SIGNAL_COLOURS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#888888", "#dd7733", "#5566cc", "#44aa88", "#bb5588", "#999933"];
const DRIFT_SYMBOLS = ["diamond", "star", "triangle-up", "x", "square", "cross", "hexagon", "pentagon"];
const RESOURCES = {
  uplink: ["Uplink", "bits", "/s", 8],
  downlink: ["Downlink", "bits", "/s", 8],
  memory: ["Memory for jobs", "bytes", "", 1],
  compute: ["Compute", "FLOP", "/s", 1],
};

function signalTrace(scenario, series, factor, unit, suffix) {
  const t = [...series.t, scenario.facts.horizon];
  const v = [...series.v, series.v[series.v.length - 1]].map((value) => value * factor);
  return {
    x: t.map((time) => time / scenario.unit), y: v, mode: "lines", text: v.map((value) => quantity(value, unit) + suffix),
    hovertemplate: "%{text}",
  };
}

function signalChart(resource) {
  const [title, unit, suffix, factor] = RESOURCES[resource];
  return (scenario, width) => {
    const signals = scenario.surroundings.signals[resource] || [];
    const values = signals.flatMap((series) => series.v.map((value) => value * factor));
    const positive = values.filter((value) => value > 0);
    const least = Math.min(...positive);
    const top = Math.max(0, ...values);
    const wide = positive.length && top > 50 * least;
    const traces = signals.map((series, place) => {
      const trace = signalTrace(scenario, series, factor, unit, suffix);
      if (wide) Object.assign(trace, withGaps(trace.x, trace.y.map((value) => (value > 0 ? value : null)), trace.text));
      const colour = SIGNAL_COLOURS[place % SIGNAL_COLOURS.length];
      return { ...trace, name: escapeText(series.name), line: { color: colour, width: 3 - (1.5 * place) / Math.max(1, signals.length), shape: "hv" } };
    });
    const decades = [];
    for (let power = Math.floor(Math.log10(least)); wide && power <= Math.ceil(Math.log10(top)); power += 1) decades.push(10 ** power);
    const y = wide
      ? { type: "log", range: [Math.log10(least) - 0.2, Math.log10(top) + 0.2], tickvals: decades, ticktext: decades.map((value) => quantity(value, unit) + suffix) }
      : { range: [-0.02 * top, 1.08 * top], ...withSuffix(amountTicks(top, unit), suffix) };
    const above = legendAbove(signals.length, width, 84);
    const drawn = values.some((value) => value === 0) && wide ? " A gap is zero." : "";
    return {
      traces,
      height: 256 + above.margin.t,
      layout: {
        ...driftMarks(scenario, 0), ...above, annotations: [], yaxis: y,
      },
      empty: signals.length ? "" : "Not recorded.",
      note: `${wide ? "Logarithmic." : ""}${drawn}`.trim(),
      label: `${title} over time of ${signals.map((series) => series.name).join(", ")}`,
    };
  };
}

function withSuffix(ticks, suffix) {
  return { ...ticks, ticktext: ticks.ticktext.map((text) => text + suffix) };
}

function reachChart(scenario, width) {
  const { devices } = scenario.facts;
  const { away, struck } = scenario.surroundings;
  const c = ink();
  const names = [...new Set(struck.map((row) => row[2]))];
  const rows = devices.length;
  const traces = [
    {
      type: "bar", orientation: "h", name: "offline", base: away.map((row) => row[1] / scenario.unit),
      x: away.map((row) => (row[2] - row[1]) / scenario.unit), y: away.map((row) => row[0]), width: 0.7,
      marker: { color: c.quiet, opacity: 0.55 }, text: away.map((row) => `${escapeText(devices[row[0]])} offline for ${quantity(row[2] - row[1], "s")}`),
      hovertemplate: "%{text}<extra></extra>", textposition: "none",
    },
    ...names.map((name, place) => {
      const own = struck.filter((row) => row[2] === name);
      return {
        x: own.map((row) => row[1] / scenario.unit), y: own.map((row) => row[0]), mode: "markers", name: escapeText(name),
        text: own.map((row) => `${escapeText(devices[row[0]])}: ${escapeText(name)}, ${quantity(row[1], "s")}`), hovertemplate: "%{text}<extra></extra>",
        marker: { symbol: DRIFT_SYMBOLS[place % DRIFT_SYMBOLS.length], size: 10, color: SIGNAL_COLOURS[(place + 1) % SIGNAL_COLOURS.length], line: { color: c.text, width: 0.6 } },
      };
    }),
  ];
  const every = Math.max(1, Math.ceil(rows / 30));
  const kept = devices.map((name, place) => [name, place]).filter(([, place]) => place % every === 0);
  const above = legendAbove(1 + names.length, width, nameMargin(devices));
  return {
    traces,
    height: Math.min(760, 70 + 20 * rows) + above.margin.t,
    layout: {
      ...above, hovermode: "closest",
      yaxis: { range: [rows - 0.4, -0.6], tickvals: kept.map(([, place]) => place), ticktext: kept.map(([name]) => escapeText(name)), showgrid: false },
    },
    empty: rows ? "" : "No device was seen.",
    note: scenario.facts.seeds.length > 1 ? `Seed ${scenario.world}; other seeds have their own environment.` : "",
    label: `When devices were offline and when drifts struck: ${away.length} absences, ${struck.length} drifts of devices`,
  };
}
