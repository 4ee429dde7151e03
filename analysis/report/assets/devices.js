// Devices: a heat map of all, and one from inside.

const LANE_COLOURS = [["#009e73", "#2fbf94"], ["#0072b2", "#4fa3d8"], ["#e69f00", "#e69f00"], ["#882255", "#c878a4"]];
const LANE_NAMES = ["jobs", "up", "down", "between devices"];
const CELLS = 240;

function heatChart(scenario, width) {
  const { devices, horizon } = scenario.facts;
  const own = scenario.drill[scenario.heat] || {};
  const times = Array.from({ length: CELLS }, (_, place) => ((place + 0.5) * horizon) / CELLS);
  const z = devices.map((device) => times.map((time) => valueAt((own[device] || {}).accuracy, time)));
  const known = z.flat().filter((value) => value !== null);
  const every = Math.max(1, Math.ceil(devices.length / 30));
  const kept = devices.map((name, place) => [name, place]).filter(([, place]) => place % every === 0);
  return {
    height: Math.min(760, 110 + 22 * devices.length),
    traces: [{
      type: "heatmap", x: times.map((time) => time / scenario.unit), y: devices.map((_, place) => place), z, colorscale: "Cividis",
      zmin: Math.min(...known), zmax: 1, text: devices.map((device) => times.map(() => escapeText(device))), hoverongaps: false,
      hovertemplate: "%{text}, %{x:.1f}: %{z:.1%}<extra></extra>",
      colorbar: { tickformat: ".0%", thickness: 12, outlinewidth: 0, len: 1, x: 1.01 },
    }],
    layout: {
      hovermode: "closest", margin: { l: nameMargin(devices), r: 78 },
      shapes: scenario.surroundings.struck.map(([place, time]) => ({
        type: "line", x0: time / scenario.unit, x1: time / scenario.unit, y0: place - 0.5, y1: place + 0.5, line: { color: "#ffffff", width: 1.6 },
      })),
      yaxis: { range: [devices.length - 0.5, -0.5], tickvals: kept.map(([, place]) => place), ticktext: kept.map(([name]) => escapeText(name)), showgrid: false },
    },
    empty: known.length ? "" : "Accuracy was not measured.",
    note: `Seed ${scenario.world}. White: drifts; empty: not measured or not served. A click opens the device.`,
    label: `Accuracy of each device over time, ${scenario.heat}, seed ${scenario.world}`,
  };
}

function learnerChoice(scenario) {
  const select = make("select", { "aria-label": "learner of the heat map", autocomplete: "off" });
  for (const learner of scenario.facts.learners) select.append(make("option", { value: learner.name }, learner.name));
  select.value = scenario.heat;
  select.addEventListener("change", () => scenario.set({ heat: select.value }));
  return select;
}

function buildChoice(scenario) {
  const place = scenario.find(".choice");
  const { devices } = scenario.facts;
  if (!devices.length) {
    scenario.find(".drill").hidden = true;
    return;
  }
  const select = make("select", { class: "device", autocomplete: "off" });
  for (const device of devices) select.append(make("option", { value: device }, device));
  const turn = (step) => scenario.set({ device: devices[(devices.indexOf(scenario.device) + step + devices.length) % devices.length] });
  select.addEventListener("change", () => scenario.set({ device: select.value }));
  place.append(
    make("label", {}, "device ", select), button("previous", () => turn(-1)), button("next", () => turn(1)),
    make("span", { class: "where", "aria-live": "polite" }),
  );
  const tell = () => {
    select.value = scenario.device;
    place.querySelector(".where").textContent = `seed ${scenario.world}`;
  };
  scenario.listeners.push(tell);
  tell();
  for (const opener of scenario.article.querySelectorAll("button.open")) {
    opener.addEventListener("click", () => openDevice(scenario, opener.dataset.device, select));
  }
}

function openDevice(scenario, device, select = scenario.find("select.device")) {
  scenario.set({ device });
  scenario.find(".drill").scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  select.focus({ preventScroll: true });
}

// What one device did under each learner that is shown.
function here(scenario) {
  return scenario.shown.map((learner) => ({ learner, own: (scenario.drill[learner.name] || {})[scenario.device] || {} }));
}

function deviceSignal(scenario, resource) {
  const { signals, own } = scenario.surroundings;
  const single = ((own || {})[resource] || {})[scenario.device];
  return single || (signals[resource] || []).find((series) => series.devices.includes(scenario.device));
}

function deviceMarks(scenario) {
  const c = ink();
  const place = scenario.facts.devices.indexOf(scenario.device);
  const { struck, away } = scenario.surroundings;
  const shapes = away.filter((row) => row[0] === place).map((row) => ({
    type: "rect", x0: row[1] / scenario.unit, x1: row[2] / scenario.unit, y0: 0, y1: 1, yref: "paper", layer: "below", fillcolor: faint("#808080", 0.22), line: { width: 0 },
  }));
  for (const row of struck.filter((one) => one[0] === place)) {
    shapes.push({
      type: "line", x0: row[1] / scenario.unit, x1: row[1] / scenario.unit, y0: 0, y1: 1, yref: "paper", layer: "below", line: { color: c.quiet, width: 1.2, dash: "dash" },
    });
  }
  return { shapes };
}

function deviceChart(scenario) {
  const drawn = here(scenario).filter(({ own }) => own.accuracy && own.accuracy.v.some((value) => value !== null));
  const moments = together(drawn.map(({ own }) => own.accuracy));
  const values = drawn.flatMap(({ own }) => own.accuracy.v.filter((value) => value !== null));
  return {
    traces: drawn.map(({ learner, own }, place) => ({
      ...withGaps(moments.map((time) => time / scenario.unit), moments.map((time) => valueAt(own.accuracy, time))), name: labelOf(learner), mode: "lines",
      hovertemplate: "%{y:.1%}", line: { color: colourOf(learner), width: 3 - (1.2 * place) / Math.max(1, drawn.length - 1), shape: "hv" },
    })),
    layout: { ...deviceMarks(scenario), yaxis: { range: [Math.max(0, Math.min(...values) - 0.03), 1.005], tickformat: ".0%" } },
    empty: emptyText(scenario, values.length, "Accuracy was not measured."),
    note: "Grey: offline. Dashed: drifts.",
    label: `Accuracy of ${scenario.device} over time. ${drawn.map(({ learner, own }) => `${learner.name}: ${quantity(lastKnown(own.accuracy), "ratio")} at the end`).join("; ")}`,
  };
}

function activityChart(scenario, width) {
  const mine = here(scenario);
  const dark = isDark() ? 1 : 0;
  const least = scenario.facts.horizon / 500;
  const shown = LANE_NAMES.map((_, lane) => mine.some(({ own }) => (own.bars || []).some((bar) => bar[0] === lane)));
  const lanes = LANE_NAMES.map((_, lane) => lane).filter((lane) => shown[lane]);
  const traces = lanes.flatMap((lane) => [1, 0].map((good) => {
    const rows = mine.flatMap(({ own }, row) => (own.bars || []).filter((bar) => bar[0] === lane && bar[4] === good).map((bar) => [row, bar]));
    return {
      type: "bar", orientation: "h", name: good ? LANE_NAMES[lane] : "in vain", legendgroup: good ? String(lane) : "vain",
      showlegend: rows.length > 0 && (good === 1 || lane === lanes.find((one) => mine.some(({ own }) => (own.bars || []).some((bar) => bar[0] === one && !bar[4])))),
      y: rows.map(([row]) => row + (lane - (lanes.length - 1) / 2) * (0.8 / lanes.length)), base: rows.map(([, bar]) => bar[1] / scenario.unit),
      x: rows.map(([, bar]) => Math.max(bar[2] - bar[1], least) / scenario.unit), width: 0.7 / lanes.length,
      marker: { color: good ? LANE_COLOURS[lane][dark] : ink().text },
      text: rows.map(([row, bar]) => `${escapeText(mine[row].learner.name)}: ${escapeText(bar[3])}, ${quantity(bar[2] - bar[1], "s")}${bar[5] === null ? "" : `, ${quantity(bar[5], lane ? "bytes" : "FLOP")}`}`),
      hovertemplate: "%{text}<extra></extra>", textposition: "none",
    };
  }));
  const above = legendAbove(lanes.length + 1, width, nameMargin(mine.map(({ learner }) => learner.name)));
  const count = mine.reduce((sum, { own }) => sum + (own.bars || []).length, 0);
  return {
    traces: traces.filter((trace) => trace.x.length),
    height: 74 + 46 * mine.length + above.margin.t,
    layout: {
      ...deviceMarks(scenario), ...above, barmode: "overlay", hovermode: "closest",
      yaxis: { range: [mine.length - 0.5, -0.5], tickvals: mine.map((_, row) => row), ticktext: mine.map(({ learner }) => labelOf(learner)), showgrid: false },
    },
    empty: emptyText(scenario, count, "No jobs and no transfers here."),
    note: "Very short ones are drawn wide enough to be seen. In vain: refused, killed or cut.",
    label: `Jobs and transfers of ${scenario.device}: ${count}`,
  };
}

function heldChart(scenario) {
  const mine = here(scenario).filter(({ own }) => own.memory);
  const offered = deviceSignal(scenario, "memory");
  const c = ink();
  const traces = mine.map(({ learner, own }) => ({ ...signalTrace(scenario, own.memory, 1, "bytes", ""), name: labelOf(learner), line: { color: colourOf(learner), width: 2, shape: "hv" } }));
  if (offered) traces.push({ ...signalTrace(scenario, offered, 1, "bytes", ""), name: "available", line: { color: c.quiet, width: 1.6, dash: "dot", shape: "hv" } });
  for (const { learner, own } of mine.filter((one) => one.own.refused.t.length)) {
    traces.push({
      x: own.refused.t.map((time) => time / scenario.unit), y: own.refused.v, mode: "markers", name: `${escapeText(learner.name)}: refused or killed`,
      text: own.refused.v.map((value) => `needs ${quantity(value, "bytes")}`), hovertemplate: "%{text}", marker: { symbol: "x", size: 9, color: colourOf(learner) },
    });
  }
  const top = Math.max(0, ...traces.flatMap((trace) => trace.y));
  const most = Math.max(0, ...mine.flatMap(({ own }) => [...own.memory.v, ...own.refused.v]));
  const shown = most > 0 && top > 20 * most ? most * 1.3 : top;
  return {
    traces, height: 280,
    layout: { ...deviceMarks(scenario), margin: { l: 74 }, yaxis: { range: [-0.03 * shown, 1.08 * shown || 1], ...amountTicks(shown, "bytes") } },
    empty: traces.length ? "" : "Not recorded.",
    note: shown < top ? `Available: far above, ${quantity(top, "bytes")} at most. x: refused or killed.` : "Dotted: available. x: refused or killed.",
    label: `Memory held by jobs on ${scenario.device}, at most ${quantity(most, "bytes")}`,
  };
}

function linksChart(scenario, width) {
  const dark = isDark() ? 1 : 0;
  const traces = ["uplink", "downlink"].flatMap((resource, place) => {
    const series = deviceSignal(scenario, resource);
    if (!series) return [];
    return [{ ...signalTrace(scenario, series, 8, "bits", "/s"), name: resource, line: { color: LANE_COLOURS[place + 1][dark], width: 3.2 - 1.4 * place, shape: "hv" } }];
  });
  const top = Math.max(0, ...traces.flatMap((trace) => trace.y));
  return {
    traces, height: 280,
    layout: {
      ...deviceMarks(scenario), ...legendAbove(traces.length, width, 84),
      yaxis: { range: [-0.03 * top, 1.08 * top || 1], ...withSuffix(amountTicks(top, "bits"), "/s") },
    },
    empty: traces.length ? "" : "Not recorded.",
    note: "Grey: offline.",
    label: `Bandwidth of ${scenario.device} over time`,
  };
}

function batteryChart(scenario) {
  const mine = here(scenario).filter(({ own }) => own.battery);
  if (!mine.length) return { absent: true };
  return {
    traces: mine.map(({ learner, own }) => ({
      x: own.battery.t.map((time) => time / scenario.unit), y: own.battery.v, name: labelOf(learner), mode: "lines", hovertemplate: "%{y:.0%}", line: { color: colourOf(learner), width: 2.4 },
    })),
    height: 280,
    layout: { ...deviceMarks(scenario), yaxis: { range: [-0.03, 1.05], tickformat: ".0%" } },
    note: "What the battery holds, of what it holds when full.",
    label: `Battery of ${scenario.device} over time`,
  };
}
