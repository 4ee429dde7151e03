// Numbers as people read them; the same rules as analysis/formatting.py.

const STEPS = {
  s: [[0, 1e-3, "ms"], [1, 1, "s"], [120, 60, "min"], [7200, 3600, "h"], [172800, 86400, "d"]],
  bytes: [[0, 1, "B"], [1e3, 1e3, "kB"], [1e6, 1e6, "MB"], [1e9, 1e9, "GB"], [1e12, 1e12, "TB"]],
  bits: [[0, 1, "bit"], [1e3, 1e3, "kbit"], [1e6, 1e6, "Mbit"], [1e9, 1e9, "Gbit"]],
  J: [[0, 1e-3, "mJ"], [1, 1, "J"], [1e3, 1e3, "kJ"], [1e6, 1e6, "MJ"], [1e9, 1e9, "GJ"]],
  FLOP: [[0, 1, "FLOP"], [1e6, 1e6, "MFLOP"], [1e9, 1e9, "GFLOP"], [1e12, 1e12, "TFLOP"], [1e15, 1e15, "PFLOP"]],
  ratio: [[0, 0.01, "%"]],
};

function quantity(value, unit) {
  if (value === null || value === undefined) return "not measured";
  if (typeof value !== "number") return "not reached";
  const steps = STEPS[unit];
  let [, scale, name] = value === 0 ? steps.find((step) => step[1] === 1) || steps[0] : steps[0];
  for (const step of steps) if (value !== 0 && Math.abs(value) >= step[0] * 0.9995) [, scale, name] = step;
  const shown = value / scale;
  if (unit === "ratio") return `${shown.toFixed(1)} ${name}`;
  const places = shown ? Math.max(0, Math.min(3, 2 - Math.floor(Math.log10(Math.abs(shown))))) : 0;
  return `${Number(shown.toFixed(places))} ${name}`;
}

// The unit of a time axis: its seconds and its name.
function timeUnit(horizon) {
  for (const [seconds, name] of [[86400, "days"], [3600, "h"], [60, "min"]]) {
    if (horizon >= 3 * seconds) return [seconds, name];
  }
  return [1, "s"];
}

// The value of a step function at a time; null before its first step and after its end.
function valueAt(series, time) {
  if (!series || time > series.t[series.t.length - 1]) return null;
  let low = 0;
  let high = series.t.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (series.t[middle] <= time) low = middle + 1;
    else high = middle;
  }
  return low ? series.v[low - 1] : null;
}
