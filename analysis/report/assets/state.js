// What is chosen in each scenario, and who is told when it changes.

const DOCUMENTS = JSON.parse(document.getElementById("data").textContent);

class Scenario {
  constructor(article, facts) {
    this.article = article;
    this.facts = facts;
    [this.unit, this.unitName] = timeUnit(facts.horizon);
    this.on = new Set(facts.learners.map((learner) => learner.name));
    this.seed = "all";
    this.time = facts.horizon;
    this.zoom = null; // [from, to] in seconds
    this.device = facts.devices[0] || null;
    this.heat = facts.learners.length ? facts.learners[facts.learners.length - 1].name : null;
    this.cost = 0;
    this.user = Object.keys(Object.values(facts.usage)[0] || {}).pop() || null; // whose modules are shown
    this.charts = [];
    this.listeners = [];
  }

  // The seed whose environment and devices are shown: one seed's, also where means are over all.
  get world() {
    return this.seed === "all" ? String(this.facts.seeds[0]) : this.seed;
  }

  get shown() {
    return this.facts.learners.filter((learner) => this.on.has(learner.name));
  }

  get drill() {
    return this.facts.drill[this.world] || {};
  }

  get surroundings() {
    return this.facts.environment[this.world] || { signals: {}, own: {}, drifts: [], struck: [], away: [] };
  }

  // Change what is chosen; the time cursor alone needs no chart to be drawn anew.
  set(changes) {
    Object.assign(this, changes);
    const cursorOnly = Object.keys(changes).every((name) => name === "time");
    for (const listener of this.listeners) listener(cursorOnly);
  }

  find(selector) {
    return this.article.querySelector(selector);
  }
}

function make(tag, attributes = {}, ...content) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else element.setAttribute(name, value);
  }
  element.append(...content);
  return element;
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

// A learner's name as charts write it: starred where it is told the instants of drifts.
function labelOf(learner) {
  return escapeText(learner.oracle ? `${learner.name} *` : learner.name);
}

function colourOf(learner) {
  return isDark() ? learner.onDark : learner.colour;
}

function ink() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  return { text: read("text"), quiet: read("quiet"), line: read("line"), card: read("card"), accent: read("accent") };
}

function faint(colour, alpha) {
  const [r, g, b] = [1, 3, 5].map((place) => parseInt(colour.slice(place, place + 2), 16));
  return `rgba(${r},${g},${b},${alpha})`;
}
