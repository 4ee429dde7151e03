// Who uses which modules of a modular model, at the time cursor.

function usersOf(scenario) {
  const world = scenario.facts.usage[scenario.world] || {};
  return scenario.shown.map((learner) => learner.name).filter((name) => world[name]);
}

function selectionAt(list, time) {
  return list.filter((selection) => selection[0] <= time).pop();
}

// Entropy of a layer's mean shares over its greatest possible: 0 collapsed, 1 even; null where not measured.
function evenness(rows, from, size) {
  if (!rows.length || size < 2) return null;
  const load = Array.from({ length: size }, (_, module) => rows.reduce((sum, row) => sum + row[2][from + module], 0));
  if (rows.some((row) => row[2].includes(null))) return null;
  const total = load.reduce((sum, share) => sum + share, 0);
  const bits = load.filter((share) => share > 0).reduce((sum, share) => sum - (share / total) * Math.log(share / total), 0);
  return bits / Math.log(size);
}

function modulesChart(scenario, width) {
  const any = Object.values(scenario.facts.usage).some((world) => Object.keys(world).length);
  if (!any) return { absent: true };
  const users = usersOf(scenario);
  const name = users.includes(scenario.user) ? scenario.user : users[users.length - 1];
  const usage = name ? scenario.facts.usage[scenario.world][name] : { layers: [], devices: {} };
  const devices = scenario.facts.devices.filter((device) => usage.devices[device]);
  const rows = devices.map((device) => selectionAt(usage.devices[device], scenario.time));
  const starts = usage.layers.reduce((sums, size) => [...sums, sums[sums.length - 1] + size], [0]);
  const column = (layer, module) => starts[layer] + layer + module; // an empty column between layers
  const columns = starts[starts.length - 1] + usage.layers.length - 1;
  const cells = usage.layers.flatMap((size, layer) => Array.from({ length: size }, (_, module) => [layer, module]));
  const z = rows.map((row) => {
    const shares = new Array(Math.max(0, columns)).fill(null);
    if (row) cells.forEach(([layer, module], place) => { shares[column(layer, module)] = row[2][place] === null ? null : row[2][place] / 1000; });
    return shares;
  });
  const held = rows.flatMap((row, y) => (row ? cells.map(([layer, module], place) => [column(layer, module), y, row[1][place] === "1"]) : []))
    .filter((one) => one[2]);
  const spread = usage.layers.map((size, layer) => evenness(rows.filter(Boolean), starts[layer], size));
  const told = spread.map((value) => (value === null ? "not measured" : quantity(value, "ratio"))).join(", ");
  const text = z.map((row, y) => row.map((share, x) => {
    const layer = usage.layers.findIndex((size, place) => x < column(place, size));
    return `${escapeText(devices[y])}, layer ${layer}, module ${x - column(layer, 0)}: ${quantity(share, "ratio")}`;
  }));
  const every = Math.max(1, Math.ceil(devices.length / 30));
  const kept = devices.map((device, place) => [device, place]).filter(([, place]) => place % every === 0);
  return {
    height: Math.min(760, 110 + 22 * devices.length),
    traces: [
      {
        type: "heatmap", x: Array.from({ length: columns }, (_, x) => x), y: devices.map((_, y) => y), z, text, colorscale: "Cividis", zmin: 0,
        hoverongaps: false, hovertemplate: "%{text}<extra></extra>", colorbar: { tickformat: ".0%", thickness: 12, outlinewidth: 0, len: 1, x: 1.01 },
      },
      {
        x: held.map((one) => one[0]), y: held.map((one) => one[1]), mode: "markers", hoverinfo: "skip",
        marker: { size: 7, color: "#ffffff", line: { color: "#000000", width: 1 } },
      },
    ],
    layout: {
      hovermode: "closest", dragmode: false, margin: { l: nameMargin(devices), r: 78 },
      xaxis: {
        title: { text: `layer of ${escapeText(name || "")}, its modules in order`, standoff: 8 }, range: [-0.6, columns - 0.4], fixedrange: true, ticks: "",
        tickvals: usage.layers.map((size, layer) => column(layer, (size - 1) / 2)), ticktext: usage.layers.map((_, layer) => String(layer)),
      },
      yaxis: { range: [devices.length - 0.5, -0.5], tickvals: kept.map(([, place]) => place), ticktext: kept.map(([device]) => escapeText(device)), showgrid: false },
    },
    empty: held.length ? "" : users.length ? "No modules are selected yet at the time cursor." : "No learner with modules is shown at this seed.",
    note: `Colour: the share of a device's samples that a module gets, at the time cursor; dots: held. Evenness of the load, layer by layer: ${told} (100 %: all modules get the same, 0 %: one gets everything).`,
    label: `Modules of each device under ${name}, at the time cursor. Evenness of the load, layer by layer: ${told}`,
  };
}

function userChoice(scenario) {
  const names = [...new Set(Object.values(scenario.facts.usage).flatMap((world) => Object.keys(world)))];
  if (names.length < 2) return names[0] || "";
  const select = make("select", { "aria-label": "learner of the map of modules", autocomplete: "off" });
  for (const name of names) select.append(make("option", { value: name }, name));
  select.value = scenario.user;
  select.addEventListener("change", () => scenario.set({ user: select.value }));
  return select;
}
