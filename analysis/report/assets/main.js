// Puts everything in its place, and follows theme, size, choice of scenario and printing.

const CHARTS = {
  accuracy: ["Accuracy over time", accuracyChart, { timed: true }],
  bytes: ["Bytes sent so far", bytesChart, { timed: true }],
  recovery: ["Recovery after a drift", recoveryChart],
  pareto: ["Accuracy against ", paretoChart],
  reach: ["Who was reachable, and when data drifted", reachChart, { timed: true }],
  uplink: ["Uplink", signalChart("uplink"), { timed: true }],
  downlink: ["Downlink", signalChart("downlink"), { timed: true }],
  memory: ["Memory for jobs", signalChart("memory"), { timed: true }],
  compute: ["Compute", signalChart("compute"), { timed: true }],
  heat: ["Accuracy of each device under ", heatChart, { timed: true }],
  modules: ["Modules of each device under ", modulesChart, { follows: true }],
  device: ["Its accuracy", deviceChart, { timed: true }],
  activity: ["Its jobs and transfers", activityChart, { timed: true }],
  held: ["Memory held by its jobs", heldChart, { timed: true }],
  links: ["Its links", linksChart, { timed: true }],
  battery: ["Its battery", batteryChart, { timed: true }],
};
const PRINTED_WIDTH = 660;

const scenarios = DOCUMENTS.map((facts, place) => {
  const scenario = new Scenario(document.getElementById(`s${place}`), facts);
  buildControls(scenario);
  buildChoice(scenario);
  for (const figure of scenario.article.querySelectorAll("figure[data-chart]")) {
    const [title, build, options] = CHARTS[figure.dataset.chart];
    const chart = new Chart(scenario, figure, title, build, options);
    if (build === paretoChart && facts.costs.length) chart.extra.append(costChoice(scenario));
    if (build === modulesChart) chart.extra.append(userChoice(scenario));
    if (build === heatChart) wireHeat(scenario, chart);
  }
  return scenario;
});

function wireHeat(scenario, chart) {
  if (scenario.facts.learners.length) chart.extra.append(learnerChoice(scenario));
  const wire = chart.wire.bind(chart);
  chart.wire = () => {
    wire();
    chart.plot.on("plotly_click", ({ points }) => openDevice(scenario, scenario.facts.devices[points[0].y]));
  };
}

function redraw() {
  for (const { charts } of scenarios) for (const chart of charts) chart.refresh();
  paintSwatches();
}

function paintSwatches() {
  for (const { article, facts } of scenarios) {
    const colours = new Map(facts.learners.map((learner) => [learner.name, colourOf(learner)]));
    for (const swatch of article.querySelectorAll(".swatch")) swatch.style.background = colours.get(swatch.dataset.learner);
  }
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  const button = document.getElementById("theme");
  button.textContent = isDark() ? "Light" : "Dark";
  button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
  redraw();
}

document.getElementById("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme());

const picker = document.getElementById("scenario");
function pick(chosen) {
  scenarios.forEach(({ article }, place) => { article.hidden = place !== chosen; });
  redraw();
}
if (picker) picker.addEventListener("change", () => pick(Number(picker.value)));

let resized = null;
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return; // a phone's address bar comes and goes
  width = window.innerWidth;
  clearTimeout(resized);
  resized = setTimeout(redraw, 120);
});

let before = null;
window.addEventListener("beforeprint", () => {
  before = document.documentElement.dataset.theme || "";
  document.documentElement.dataset.theme = "light";
  paintSwatches();
  for (const { article, charts } of scenarios) if (!article.hidden) for (const chart of charts) chart.draw(PRINTED_WIDTH);
});
window.addEventListener("afterprint", () => {
  if (before) document.documentElement.dataset.theme = before;
  else delete document.documentElement.dataset.theme;
  redraw();
});

setTheme();
pick(0);
