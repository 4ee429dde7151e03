"""What the collaborative methods send until an accuracy that they and ECLM reach, and in a whole run.

Bytes are those to and from devices that take part in a round. FedAvg and HeteroFL may also send each new model to all
other devices, so that these can serve with it; ECLM never does, so such copies are left out here and shown apart. A
download belongs to a round if the same device sends something up before its next download.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

import analysis
from analysis.accuracy import time_to_target
from analysis.communication import bytes_to_target

from .text import table

RIVALS = ("fedavg", "heterofl")
"""The methods whose bytes are compared with ECLM's."""

STANDARD_ERRORS = 2
"""So many of a difference of two accuracies, of as many samples each, may be chance."""


@dataclass(frozen=True)
class Spent:
    """What one method sent, a number a seed.

    Attributes
    ----------
    to_target_bytes, total_bytes
        To and from the devices of rounds, until the target and in the whole run. (seed,)
    one_way_bytes
        The dearer of the two directions in the whole run. (seed,)
    copies_bytes
        Besides, to devices that only serve, until the target. (seed,)
    seconds
        Until the target. (seed,)
    improved
        Whether the method was ever better than at time 0 by more than chance. (seed,)
    """

    to_target_bytes: list[float]
    total_bytes: list[float]
    one_way_bytes: list[float]
    copies_bytes: list[float]
    seconds: list[float]
    improved: list[bool]

    def over(self, other: Spent) -> list[float]:
        """How many times the other's bytes until the target, a number a seed.

        NaN where either method was there at time 0, or where either never was better than then: nothing was reached.
        """
        return [
            mine / its if mine > 0 and its > 0 and improved and its_improved else math.nan
            for mine, its, improved, its_improved in zip(
                self.to_target_bytes, other.to_target_bytes, self.improved, other.improved, strict=True
            )
        ]


@dataclass(frozen=True)
class Comparison:
    """Some methods of a run, ECLM among them, and the accuracy that each seed asks for."""

    targets: list[float]
    spent: dict[str, Spent]

    def ratio(self, method: str) -> float:
        """How many times ECLM's bytes until the target: the mean over seeds that have one; NaN without any."""
        ratios = np.array(self.spent[method].over(self.spent["eclm"]))
        return float(np.nanmean(ratios)) if np.isfinite(ratios).any() else math.nan

    def at_least(self, method: str) -> list[float]:
        """How many times ECLM's bytes until the target, a number a seed; by its end for who never got there.

        NaN where ECLM was there at time 0, or never got there itself.
        """
        mine, eclm = self.spent[method], self.spent["eclm"]
        spent = [min(pair) for pair in zip(mine.to_target_bytes, mine.total_bytes, strict=True)]
        return [
            one / its if 0 < its < math.inf else math.nan for one, its in zip(spent, eclm.to_target_bytes, strict=True)
        ]

    def total_ratio(self, method: str) -> float:
        """How many times ECLM's bytes in the whole run, in which all had equally many rounds."""
        return float(np.mean(self.spent[method].total_bytes) / np.mean(self.spent["eclm"].total_bytes))

    def one_way_ratio(self, method: str) -> float:
        """The same where an exchange counts once, as the papers seem to count."""
        return float(np.mean(self.spent[method].one_way_bytes) / np.mean(self.spent["eclm"].one_way_bytes))

    def seeds_with_ratio(self, method: str) -> int:
        """How many seeds ``ratio`` is the mean of."""
        return int(np.isfinite(self.spent[method].over(self.spent["eclm"])).sum())


def compare(run: analysis.Run) -> dict[str, Comparison]:
    """Each rival with ECLM: bytes until a target that both reach, at each seed the lower of their best accuracies."""
    best, _ = _best_and_first(run)
    found = {}
    for rival in _rivals(run):
        pair = [rival, "eclm"]
        found[rival] = _until(run, pair, [float(best.loc[(seed, pair)].min()) for seed in run.seeds])
    return found


def compare_halfway(run: analysis.Run) -> Comparison:
    """Bytes until half of what ECLM gains, at its best, on no adaptation; infinite for those that never get there."""
    best, first = _best_and_first(run)
    targets = [float(best[seed, "eclm"] + first[seed, "no_adaptation"]) / 2 for seed in run.seeds]
    return _until(run, [*_rivals(run), "eclm"], targets)


def _rivals(run: analysis.Run) -> list[str]:
    return [learner for learner in RIVALS if learner in run.learners]


def _best_and_first(run: analysis.Run) -> tuple[pd.Series[float], pd.Series[float]]:
    """The highest accuracy over time, and that at the start, of each seed and learner."""
    curves = run.fleet.dropna(subset="accuracy").groupby(["seed", "learner"])["accuracy"]
    return curves.max(), curves.first()


def _by_chance(run: analysis.Run) -> pd.Series[float]:
    """How much better than at time 0 a learner may seem, of each seed and learner: the standard error of a difference
    of two binomial shares, over all test samples of the fleet, a few times."""
    _, first = _best_and_first(run)
    of_devices = run.accuracy[run.accuracy["view"] == "current"].groupby(["seed", "learner", "device"])["samples"]
    samples = of_devices.first().groupby(["seed", "learner"]).sum()
    error: pd.Series[float] = (2 * first * (1 - first) / samples) ** 0.5
    return STANDARD_ERRORS * error


def _until(run: analysis.Run, learners: Sequence[str], targets: Sequence[float]) -> Comparison:
    best, at_start = _best_and_first(run)
    by_chance = _by_chance(run)
    spent = {learner: Spent([], [], [], [], [], []) for learner in learners}
    in_rounds, copies = _of_rounds(run.transfers)
    endless = pd.Series(run.horizon_s, run.worlds.set_index(["learner", "seed"]).index)
    totals = bytes_to_target(in_rounds, run.serving, run.worlds, endless)
    ways = in_rounds.groupby(["learner", "seed", "direction"])["sent_bytes"].sum()
    one_way = ways.groupby(["learner", "seed"]).max()
    for seed, target in zip(run.seeds, targets, strict=True):
        seconds = time_to_target(run.fleet, run.worlds, target)
        until = bytes_to_target(in_rounds, run.serving, run.worlds, seconds)
        besides = bytes_to_target(copies, run.serving.iloc[:0], run.worlds, seconds)
        for learner, mine in spent.items():
            mine.to_target_bytes.append(float(until[learner, seed]))
            mine.total_bytes.append(float(totals[learner, seed]))
            mine.one_way_bytes.append(float(one_way[learner, seed]))
            mine.copies_bytes.append(float(besides[learner, seed]))
            mine.seconds.append(float(seconds[learner, seed]))
            gain = best[seed, learner] - at_start[seed, learner]
            mine.improved.append(bool(gain > by_chance[seed, learner]))
    return Comparison(list(targets), spent)


def bytes_of_rounds(run: analysis.Run, learner: str) -> float:
    """Bytes to and from devices that take part in rounds, mean over seeds."""
    rows = _of_rounds(run.transfers)[0]
    return float(rows.loc[rows["learner"] == learner, "sent_bytes"].sum()) / len(run.seeds)


def section(found: Mapping[str, Comparison], paper: Mapping[str, float]) -> str:
    """The table of a run, with what the paper reports; empty without a rival."""
    rows = []
    for learner, pair in found.items():
        mine, eclm = pair.spent[learner], pair.spent["eclm"]
        rows.append(
            [
                f"`{learner}`",
                _levels(pair),
                _megabytes(mine.to_target_bytes),
                _megabytes(mine.copies_bytes) if any(mine.copies_bytes) else "",
                _megabytes(eclm.to_target_bytes),
                _times(mine.over(eclm)),
                f"{paper[learner]:.2f}" if learner in paper else "",
                _megabytes(mine.total_bytes),
                f"{pair.total_ratio(learner):.2f}",
                f"{pair.one_way_ratio(learner):.2f}",
            ]
        )
    header = [
        "method",
        "accuracy",
        "MB",
        "MB of copies for others to serve",
        "ECLM's MB",
        "times ECLM's, a seed each",
        "paper",
        "MB in the whole run",
        "times ECLM's",
        "times ECLM's, one way",
    ]
    reached = "Until a mean accuracy that a method and ECLM both reach (the lower of their best):"
    return f"{reached}\n\n{table(header, rows)}" if rows else ""


def halfway_section(found: Comparison) -> str:
    """The table until half of ECLM's gain: who never gets there has sent more than ... by then."""
    rows = []
    for learner, mine in found.spent.items():
        signs = ["" if math.isfinite(seconds) else "> " for seconds in mine.seconds]
        spent = [min(pair) / 1e6 for pair in zip(mine.to_target_bytes, mine.total_bytes, strict=True)]
        times = [] if learner == "eclm" else found.at_least(learner)
        rows.append([f"`{learner}`", _signed(signs, spent), _signed(signs, times)])
    reached = f"Until half of what ECLM gains on no adaptation ({_levels(found)}), `>` where a run ended before that:"
    return f"{reached}\n\n{table(['method', 'MB, a seed each', 'times ECLM'], rows)}"


def _levels(found: Comparison) -> str:
    return ", ".join(f"{100 * target:.1f} %" for target in found.targets)


def _signed(signs: Sequence[str], values: Sequence[float]) -> str:
    return ", ".join(
        "n/a" if math.isnan(value) else f"{sign}{value:.2f}" for sign, value in zip(signs, values, strict=False)
    )


def _of_rounds(transfers: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Transfers of devices that take part in rounds, and downloads of devices that only serve."""
    ordered = transfers.sort_values("start_s", kind="stable")
    following = ordered.groupby(["learner", "seed", "device"])["direction"].shift(-1)
    is_copy = ((ordered["direction"] == "down") & (following != "up")).reindex(transfers.index)
    sends_copies = transfers["learner"].isin(("fedavg", "heterofl"))
    return transfers[~(is_copy & sends_copies)], transfers[is_copy & sends_copies]


def _megabytes(values: Sequence[float]) -> str:
    return f"{np.mean(values) / 1e6:.2f}"


def _times(ratios: Sequence[float]) -> str:
    return ", ".join("n/a" if math.isnan(ratio) else f"{ratio:.2f}" for ratio in ratios)
