// One time cursor for all charts over time: a slider, a line in every chart, and what holds at that moment.

function addCursor(chart) {
  const line = make("div", { class: "cursor", "aria-hidden": "true" });
  chart.stage.append(line);
  let pressed = null;
  chart.stage.addEventListener("pointerdown", (event) => { pressed = event.clientX; }, true);
  window.addEventListener("pointerup", (event) => {
    const still = pressed !== null && Math.abs(event.clientX - pressed) < 4;
    pressed = null;
    if (!still || chart.stale || chart.blank || chart.figure.hidden) return;
    const time = timeAtPixel(chart, event.clientX - chart.stage.getBoundingClientRect().left);
    if (time !== null) chart.scenario.set({ time });
  }, true);
  return line;
}

function bounds(chart) {
  return [chart.margin.l, chart.plot.clientWidth - chart.margin.r];
}

function timeAtPixel(chart, pixel) {
  const [left, right] = bounds(chart);
  if (pixel < left || pixel > right) return null;
  const [from, to] = chart.scenario.zoom || [0, chart.scenario.facts.horizon];
  return from + ((pixel - left) / (right - left)) * (to - from);
}

function placeCursor(chart) {
  const { time, zoom, facts } = chart.scenario;
  const [from, to] = zoom || [0, facts.horizon];
  const [left, right] = bounds(chart);
  chart.cursor.hidden = chart.blank || !(time >= from && time <= to && to > from);
  chart.cursor.style.left = `${left + ((time - from) / (to - from)) * (right - left)}px`;
  chart.cursor.style.top = `${chart.margin.t}px`;
  chart.cursor.style.bottom = `${chart.margin.b}px`;
}

// The bar of controls: learners, seed, cursor.
function buildControls(scenario) {
  const bar = scenario.find(".controls");
  const { facts } = scenario;
  if (!facts.learners.length) {
    bar.hidden = true;
    return;
  }
  const chips = make("fieldset", { class: "chips" }, make("legend", {}, "Learners shown, with their accuracy at the time cursor"));
  for (const learner of facts.learners) chips.append(chip(scenario, learner));
  const slider = make("input", {
    type: "range", min: 0, max: facts.horizon, step: facts.horizon / 1000 || 1, value: scenario.time,
    "aria-label": "time cursor", autocomplete: "off",
  });
  const moment = make("output", { class: "moment", "aria-live": "off" });
  slider.addEventListener("input", () => scenario.set({ time: Number(slider.value) }));
  const time = make("label", { class: "slide" }, make("span", {}, "time "), slider, moment);
  const second = make("div", { class: "row" }, time, zoomReset(scenario), seedChoice(scenario), allOrNone(scenario));
  bar.append(chips, second);
  const tell = () => {
    slider.value = scenario.time;
    const text = momentText(scenario);
    moment.textContent = text;
    slider.setAttribute("aria-valuetext", text);
    for (const input of chips.querySelectorAll("input")) {
      const name = input.dataset.learner;
      input.checked = scenario.on.has(name);
      const level = valueAt((facts.fleet[scenario.seed] || {})[name], scenario.time);
      input.parentElement.querySelector("output").textContent = level === null ? "-" : quantity(level, "ratio");
    }
  };
  scenario.listeners.push(tell);
  tell();
}

function chip(scenario, learner) {
  const box = make("input", { type: "checkbox", "data-learner": learner.name, autocomplete: "off" });
  box.checked = true;
  box.addEventListener("change", () => {
    const on = new Set(scenario.on);
    if (box.checked) on.add(learner.name);
    else on.delete(learner.name);
    scenario.set({ on });
  });
  const name = make("span", { class: "name" }, learner.name);
  if (learner.oracle) name.append(make("abbr", { title: "oracle: told the true instant of every drift" }, "*"));
  return make("label", { class: "chip" }, box, make("span", { class: "swatch", "data-learner": learner.name }), name, make("output"));
}

function button(text, act) {
  const made = make("button", { type: "button", class: "small" }, text);
  made.addEventListener("click", act);
  return made;
}

function allOrNone(scenario) {
  const { learners } = scenario.facts;
  if (learners.length < 2) return "";
  return make("span", {}, button("all", () => scenario.set({ on: new Set(learners.map((learner) => learner.name)) })), " ",
    button("none", () => scenario.set({ on: new Set() })));
}

function seedChoice(scenario) {
  const { seeds } = scenario.facts;
  if (seeds.length < 2) return "";
  const select = make("select", { autocomplete: "off" }, make("option", { value: "all" }, `mean of ${seeds.length}`));
  for (const seed of seeds) select.append(make("option", { value: seed }, String(seed)));
  select.addEventListener("change", () => scenario.set({ seed: select.value }));
  return make("label", { class: "seed" }, "seed ", select);
}

function zoomReset(scenario) {
  const reset = button("whole time", () => scenario.set({ zoom: null }));
  reset.hidden = true;
  scenario.listeners.push(() => { reset.hidden = !scenario.zoom; });
  return reset;
}

function momentText(scenario) {
  const { time, facts } = scenario;
  const before = scenario.surroundings.drifts.filter((drift) => drift.time <= time).pop();
  const since = before ? `, ${quantity(time - before.time, "s")} after ${before.name}` : "";
  return `${quantity(time, "s")}${time === facts.horizon ? " (end)" : ""}${since}`;
}
