"""Sentences from numbers: what a comparison supports, with intervals, and never more.

With one seed they only tell what happened; with several a learner is called better only where the 95 % interval of
the paired difference excludes 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from analysis.formatting import between, difference, difference_between, quantity
from analysis.intervals import Interval
from analysis.metrics import METRICS

if TYPE_CHECKING:
    from analysis.comparison import ScenarioComparison


def sentences(part: ScenarioComparison, *, named: bool = False) -> Iterator[str]:
    """Yield what can be said of one scenario; ``named``: begin each sentence with the scenario's label."""
    start = f"{part.run.label}: " if named else ""
    for sentence in _sentences(part):
        yield start + sentence


def question(part: ScenarioComparison) -> str:
    """Say what a scenario asks: how many devices, what happens to their data, among which learners to choose."""
    run = part.run
    devices = run.availability["device"].nunique()
    fleet = f"{devices:,} device{'s' if devices != 1 else ''}"
    drifts = run.drifts.loc[run.drifts["opens_episode"], "name"].nunique()
    change = f"through {drifts} drift{'s' if drifts != 1 else ''}" if drifts else "without any drift"
    if not run.learners or not devices:
        return f"{run.label}: nothing was run yet"
    if len(run.learners) == 1:
        return f"How well does {run.learners[0]} serve {fleet} {change}, and at what cost?"
    return f"Which of {len(run.learners)} learners serves {fleet} best {change}, and at what cost?"


def answer(part: ScenarioComparison) -> str:
    """Say in one sentence what the numbers support about accuracy, or why they support nothing."""
    if not part.run.learners:
        return "Nothing was run."
    if part.run.timing_only:
        return "Timing only: nothing was trained, so accuracy and recovery were not measured."
    return next(_most_accurate(part), "Accuracy was not measured.")


def _sentences(part: ScenarioComparison) -> Iterator[str]:
    if not part.run.learners:
        yield "Nothing was run."
        return
    yield extent(part)
    yield from _limits(part)
    yield from _most_accurate(part)
    yield from _against_baseline(part)
    yield from _recovery(part)
    yield from _bytes(part)
    yield from _trouble(part)


def extent(part: ScenarioComparison) -> str:
    """Say how much was run."""
    run = part.run
    learners = f"{len(run.learners) or 'no'} learner{'s' if len(run.learners) != 1 else ''}"
    seeds = f"{len(run.seeds)} seeds" if len(run.seeds) > 1 else "one seed"
    return f"{learners}, {seeds}, {quantity(run.horizon_s, 's')} of virtual time."


def _limits(part: ScenarioComparison) -> Iterator[str]:
    run = part.run
    if len(run.seeds) == 1 and len(run.learners) > 1:
        yield "With one seed nothing can be said about chance: differences may vanish or turn at another seed."
    if run.timing_only:
        yield "Timing only: nothing was trained, so accuracy and recovery were not measured."
    elif not run.has_test_samples:
        yield "Without test samples (`data.test_samples: 0`), accuracy was not measured."
    for learner, rows in run.worlds[~run.worlds["finished"]].groupby("learner", sort=False):
        until = quantity(float(rows["until_s"].min()), "s")
        yield f"{learner} is not finished: its numbers end at {until} and do not compare with longer ones."
    yield from _other_seeds(part)
    if run.oracles:
        are, them = ("are", "them as bounds") if len(run.oracles) > 1 else ("is", "it as a bound")
        yield (
            f"{_list(run.oracles)} (marked *) {are} told the true instant of every drift, which no detector is: "
            f"read {them}."
        )


def _other_seeds(part: ScenarioComparison) -> Iterator[str]:
    """Tell where learners that are compared have not the same seeds."""
    compared, common = part.run.worlds[part.run.worlds["learner"].isin(part.run.rivals)], part.common_seeds
    if len(part.run.rivals) < 2 or compared["seed"].isin(common).all():
        return
    if not common:
        yield "No seed is one of all learners: what is set side by side here was not seen in the same environments."
        return
    at = f"the {len(common)} seeds" if len(common) > 1 else f"seed {common[0]}"
    yield (
        f"Not all learners have all seeds: which one is the most accurate, ranks and fronts go by {at} that all have, "
        "other numbers by every seed of a learner."
    )


def _most_accurate(part: ScenarioComparison) -> Iterator[str]:
    ranked = _sorted((learner, part.common[learner, "accuracy"]) for learner in part.run.rivals)
    if not ranked:
        return
    best, top = ranked[-1]
    level = _with_interval(top, "accuracy")
    if len(ranked) == 1:
        yield f"{best} was right {level} of the time, over all devices."
        return
    second = ranked[-2][0]
    found, verdict = part.difference(best, second, "accuracy", seeds=part.common_seeds or None)
    gap = difference(found.value, "ratio").lstrip("+")
    bounds = difference_between(found.low, found.high, "ratio", found.value) if found.has_bounds else ""
    if verdict == "better":
        yield (
            f"{best} was the most accurate: right {level} of the time over all devices, {gap} ({bounds}) more than "
            f"{second}, the next."
        )
    elif verdict == "one seed":
        yield f"{best} had the highest accuracy over time and devices at this seed, {level}; {second} had {gap} less."
    elif verdict == "tied":
        yield f"{best}, {level}, and {second} are tied in accuracy: the difference is {gap} ({bounds})."
    else:
        yield (
            f"{best} had the highest accuracy, {level}, but whether it is better than {second} is undecided: the "
            f"difference is {gap}{f' ({bounds})' if bounds else ''}."
        )


def _against_baseline(part: ScenarioComparison) -> Iterator[str]:
    texts = []
    for learner in part.run.learners:
        found, verdict = part.against_baseline(learner, "accuracy")
        if learner == part.baseline or math.isnan(found.value):
            continue
        text = f"{learner} {difference(found.value, 'ratio')}"
        if found.has_bounds:
            text += f" ({difference_between(found.low, found.high, 'ratio', found.value)}: {verdict})"
        texts.append(text)
    if texts:
        yield f"Accuracy against {part.baseline}: {'; '.join(texts)}."


def _recovery(part: ScenarioComparison) -> Iterator[str]:
    if part.run.episodes.empty:
        yield "No drift fell into the run, so there is no adaptation to time."
        return
    ranked = _ranked(part, "recovery_s", part.run.learners)
    if not ranked:
        if (part.run.episodes["outcome"] == "unaffected").any():
            yield "No drift cost any learner enough accuracy to recover from."
        elif not part.run.timing_only:
            yield "Accuracy before the drifts was not measured, so recovery was not either."
        return
    texts = []
    for learner, found in ranked:
        lost = part.estimate(learner, "unrecovered_ratio").value
        text = _with_interval(found, "recovery_s") if math.isfinite(found.value) else "less than half while watched"
        texts.append(f"{learner} {text}" + (f", {quantity(lost, 'ratio')} not while watched" if lost > 0 else ""))
    yield (
        "Time until half of the devices that a drift had hurt were back near their accuracy (each is watched until its "
        f"next drift or the end): {'; '.join(texts)}."
    )


def _bytes(part: ScenarioComparison) -> Iterator[str]:
    ranked = _ranked(part, "both_ways_bytes", part.run.learners)
    if len(ranked) < 2:
        return
    costs = ", ".join(f"{learner} {quantity(found.value, 'bytes')}" for learner, found in ranked)
    yield f"Bytes over the network, both ways: {costs}."
    front = [learner for learner, on in zip(part.pareto.index, part.pareto["both_ways_bytes"], strict=True) if on]
    if front:
        names = _list(front, "or")
        apart = ", oracles apart," if len(part.run.rivals) < len(part.run.learners) else ""
        yield f"By these estimates{apart} no other learner is both more accurate and cheaper in bytes than {names}."


def _trouble(part: ScenarioComparison) -> Iterator[str]:
    per_seed = " (mean over seeds)" if len(part.run.seeds) > 1 else ""
    for name, what in (
        ("out_of_memory", "Jobs that did not fit into memory"),
        ("killed", "Jobs killed while running"),
        ("diverged", "Trainings that diverged (infinite or missing loss or weights)"),
        ("wasted_bytes", "Bytes sent in vain"),
        ("battery_deaths", "Batteries run empty"),
    ):
        hit = [(learner, found) for learner, found in _ranked(part, name, part.run.learners) if found.value > 0]
        if hit:
            texts = [f"{learner} {quantity(found.value, METRICS[name].unit)}" for learner, found in hit]
            yield f"{what}{per_seed}: {', '.join(texts)}."


def _ranked(part: ScenarioComparison, metric: str, learners: Sequence[str]) -> list[tuple[str, Interval]]:
    """Learners for which the metric was measured, the smallest number first."""
    return _sorted((learner, part.estimate(learner, metric)) for learner in learners)


def _sorted(found: Iterable[tuple[str, Interval]]) -> list[tuple[str, Interval]]:
    return sorted((pair for pair in found if not math.isnan(pair[1].value)), key=lambda pair: pair[1].value)


def _with_interval(found: Interval, metric: str) -> str:
    unit = METRICS[metric].unit
    bounds = between(found.low, found.high, unit)
    return quantity(found.value, unit) + (f" (95 % interval {bounds})" if bounds else "")


def _list(names: Sequence[str], word: str = "and") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
