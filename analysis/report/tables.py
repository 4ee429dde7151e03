"""The page's tables: the summary with its intervals, all metrics, devices, the environment, drifts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from analysis import accuracy as accuracies
from analysis.comparison import ScenarioComparison
from analysis.curves import evenly
from analysis.formatting import NOT_MEASURED, between, difference, quantity
from analysis.metrics import METRICS
from analysis.report.elements import Content, Markup, details, element, join, table
from analysis.report.surroundings import drift_rows, first_world, signals_of
from analysis.report.thinning import span_of_names
from analysis.run import Run
from analysis.worlds import Floats

TOLD = ("better", "worse", "tied", "undecided")
"""What a paired difference can support; everything else is not worth a word in a cell."""

GROUPS = 40
"""Most groups of devices in the table of the environment."""


def summary(part: ScenarioComparison, metrics: Sequence[str]) -> Markup:
    """Return the table of the answer: a row a learner, each number with its interval and what it is worth."""
    if not part.run.learners:
        return element("p", "No learner was run, so there is nothing to show.", class_="note")
    head = ["learner", *(METRICS[name].title for name in metrics)]
    rows = [
        (named(part.run, learner), [_cell(part, learner, name) for name in metrics]) for learner in part.run.learners
    ]
    meanings = [Markup(f"{element('dt', METRICS[n].title).html}{element('dd', METRICS[n].doc).html}") for n in metrics]
    return join(
        [
            table("Summary", head, rows, "summary"),
            *(element("p", note, class_="note") for note in _notes(part)),
            details("What the columns mean", element("dl", meanings)),
            details(f"All {len(METRICS)} metrics", _all_metrics(part)),
        ]
    )


def named(run: Run, learner: str) -> Markup:
    """Return a learner's name with its colour, and a star where it is told the instants of drifts."""
    star = (
        [element("abbr", "*", title="oracle: told the true instant of every drift")] if learner in run.oracles else []
    )
    swatch = element("span", "", class_="swatch", data_learner=learner)
    return join([swatch, element("span", [learner, *star], class_="name")])


def _cell(part: ScenarioComparison, learner: str, name: str) -> Markup:
    found, unit = part.estimate(learner, name), METRICS[name].unit
    text = quantity(found.value, unit)
    pieces: list[Content] = [element("span", _unmeasured(text), class_="number")]
    bounds = between(found.low, found.high, unit, like=found.value, named=math.isinf(found.value))
    if bounds:
        pieces.append(element("span", bounds, class_="interval"))
    against, verdict = part.against_baseline(learner, name)
    if verdict in TOLD:
        told = f"{difference(against.value, unit)} against {part.baseline}"
        pieces.append(element("span", verdict, class_=f"verdict {verdict}", title=told))
    return join(pieces)


def _unmeasured(text: str) -> Content:
    return element("span", "not measured", class_="missing") if text == NOT_MEASURED else text


def _notes(part: ScenarioComparison) -> list[str]:
    notes = []
    if len(part.run.seeds) > 1:
        notes.append(
            "Small: 95 % intervals over seeds, in the unit above; none where seeds hardly differ. "
            f"better, worse, tied, undecided: the paired difference from {part.baseline} at the same seeds."
        )
    else:
        notes.append("One seed: there are no intervals, and nothing can be said about chance.")
    if part.run.oracles:
        notes.append("* told the true instant of every drift (oracle), which no detector is: a bound, not a rival.")
    return notes


def _all_metrics(part: ScenarioComparison) -> Markup:
    rows = [
        (element("abbr", metric.title, title=metric.doc), [_cell(part, learner, name) for learner in part.run.learners])
        for name, metric in METRICS.items()
    ]
    return table("All metrics", ["metric", *part.run.learners], rows, "metrics")


def devices(run: Run, shown: Sequence[str]) -> Markup:
    """Return accuracy by device and learner over time and seeds, a button a device, the worst first."""
    by_device = accuracies.by_device(run.spans).reset_index()
    if by_device.empty:
        return element("p", "The accuracy of devices was not measured.", class_="note")
    sums = by_device.groupby(["device", "learner"])[["weighted_s", "served_s"]].sum()
    means = (sums["weighted_s"] / sums["served_s"].where(sums["served_s"] > 0)).unstack("learner")
    means = means.reindex(index=[d for d in shown if d in means.index], columns=run.learners)
    order = means.mean(axis=1).sort_values(kind="stable").index
    rows = [
        (
            element("button", device, type="button", data_device=device, class_="open"),
            [_unmeasured(quantity(float(value), "ratio")) for value in means.loc[device]],
        )
        for device in order
    ]
    return table("Accuracy of each device over time, the worst first", ["device", *run.learners], rows, "devices")


def environment(run: Run, seed: int) -> Markup:
    """Return what each group of like devices was offered at a seed: least, mean and greatest."""
    signals = signals_of(run, seed)
    if not any(signals.values()):
        return element("p", "No signals were recorded.", class_="note")
    together: dict[tuple[bytes, ...], list[str]] = {}
    for device in dict.fromkeys(device for own in signals.values() for device in own if device != "cloud"):
        key = tuple(b"".join(part.tobytes() for part in own.get(device, ())) for own in signals.values())
        together.setdefault(key, []).append(device)
    away = _away_share(run, seed, {device for names in together.values() for device in names})
    groups = evenly(list(together.values()), GROUPS)
    rows = []
    for names in groups:
        cells: list[Content] = [_range(own.get(names[0]), resource, run.horizon_s) for resource, own in signals.items()]
        lost = float(np.mean([away.get(name, 0.0) for name in names]))
        rows.append((span_of_names(names), [*cells, quantity(lost, "ratio")]))
    told = table(
        f"What devices were offered, seed {seed}: least to greatest, and the mean over time",
        ["devices", *signals, "offline"],
        rows,
    )
    if len(groups) == len(together):
        return told
    return join(
        [told, element("p", f"{GROUPS} of {len(together)} groups of like devices, evenly chosen.", class_="note")]
    )


def drifts(run: Run, seed: int) -> Markup:
    """Return the drifts of a seed: when, what, and how many devices."""
    rows = drift_rows(run, seed)
    if rows.empty:
        return element("p", "No drift fell into the run.", class_="note")
    kept = evenly(rows.to_dict(orient="records"), GROUPS)
    cells = [(r["name"], [quantity(r["time"], "s"), r["kind"], str(r["devices"]), r["detail"]]) for r in kept]
    told = table(f"Drifts, seed {seed}", ["drift", "at", "kind", "devices", "what changed"], cells, "texts")
    if len(kept) == len(rows):
        return told
    return join([told, element("p", f"{len(kept)} of {len(rows)} moments, evenly chosen.", class_="note")])


def rate(value: float, resource: str) -> str:
    """Write a signal's value as scenario files do: links in bits.

    >>> rate(2.5e6, "uplink"), rate(64e6, "memory"), rate(0.0, "uplink")
    ('20 Mbit/s', '64 MB', '0 bit/s')
    """
    if resource in ("uplink", "downlink"):
        return quantity(8 * value, "bytes").replace("B", "bit") + "/s"
    return f"{quantity(value, 'FLOP')}/s" if resource == "compute" else quantity(value, "bytes")


def _range(signal: tuple[Floats, Floats] | None, resource: str, horizon_s: float) -> Content:
    if signal is None or len(signal[0]) == 0:
        return element("span", "none", class_="missing")  # a gateway has no memory
    times_s, values = signal
    lengths = np.diff(np.append(times_s, horizon_s)).clip(min=0.0)
    mean = float(np.average(values, weights=lengths)) if lengths.sum() > 0 else float(values[0])
    if values.min() == values.max():
        return rate(mean, resource)
    span = f"{rate(float(values.min()), resource)} to {rate(float(values.max()), resource)}"
    return join(
        [element("span", span, class_="number"), element("span", f"mean {rate(mean, resource)}", class_="interval")]
    )


def _away_share(run: Run, seed: int, devices: set[str]) -> dict[str, float]:
    rows = first_world(run.availability, run, seed)
    rows = rows[rows["device"].isin(devices)]
    found = {}
    for device, own in rows.groupby("device", sort=False):
        lengths = np.diff(np.append(own["time_s"].to_numpy(), run.horizon_s))
        away = ((own["state"] == "offline") & (own["cause"] != "battery")).to_numpy()
        found[str(device)] = float(lengths[away].sum() / run.horizon_s) if run.horizon_s > 0 else 0.0
    return found
