"""One device from inside, for the page: accuracy, jobs and transfers, memory, battery, in every world that fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis import accuracy as accuracies
from analysis.curves import evenly
from analysis.report.thinning import numbers, packed, steps, thinned, times, to_the_end
from analysis.run import Run
from analysis.worlds import DEVICE, Floats

DEVICES = 60
"""Of how many devices a page tells everything."""

BARS = 24_000
"""Most jobs and transfers on a page; where there are more, not all seeds are told in detail, and not all of them."""

POINTS = 80_000
"""Most points of all devices' curves together."""

Arrays = dict[str, npt.NDArray[Any]]

LEAST = 24
"""Points that every curve of a device may have."""

_LANES = ("job", "up", "down", "peer")
_GOOD = ("done", "delivered", "running", "in_flight", "ideal")


class Drill:
    """What the page tells of single devices.

    Attributes
    ----------
    devices
        Those that it tells of: all, or the worst of each learner and evenly chosen ones.
    seeds
        The seeds whose jobs, transfers and memory it tells.
    notes
        What was left out.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.notes: list[str] = []
        self._shortened = False
        every = list(dict.fromkeys([*run.availability["device"], *run.accuracy["device"]]))
        self.devices = self._chosen(every)
        moves = _moves(run, self.devices)
        self.seeds = self._affordable(moves)
        self._most_bars = self._affordable_bars(moves)
        self._bars = _Grouped(moves, self.devices, "lane", "start_s", "end_s", "text", "good", "amount")
        self._spans = _Grouped(run.spans, self.devices, "start_s", "end_s", "served_s", "accuracy")
        self._memory = _Grouped(run.memory, self.devices, "time_s", "used_bytes", "needed_bytes", "event")
        self._battery = _Grouped(run.battery, self.devices, "time_s", "level_ratio")
        worlds = len(run.worlds) * max(1, len(self.devices))
        self._most = max(LEAST, POINTS // max(1, worlds))
        if len(self.devices) < len(every):
            self.notes.append(
                f"Of {len(every):,} devices {len(self.devices)} can be looked at one by one: the worst of each learner "
                "and evenly chosen ones. Means, bands and the summary are of all."
            )

    def worlds(self) -> dict[str, dict[str, Any]]:
        """Return seed -> learner -> device -> what happened there."""
        run = self._run
        found: dict[str, dict[str, Any]] = {}
        for learner, seed in zip(run.worlds["learner"].tolist(), run.worlds["seed"].tolist(), strict=True):
            world = {device: self._device((learner, seed, device)) for device in self.devices}
            found.setdefault(str(seed), {})[learner] = world
        if self._shortened:
            self.notes.append(
                f"Curves of single devices of more than {self._most} points are thinned, their extremes kept; the map "
                "of devices is drawn from them."
            )
        return found

    def _chosen(self, every: list[str]) -> list[str]:
        if len(every) <= DEVICES:
            return every
        means = accuracies.by_device(self._run.spans)["accuracy"].groupby(["learner", "device"]).mean().dropna()
        worst = {str(device) for _, device in means.groupby("learner").idxmin()} if len(means) else set()
        wanted = worst | set(evenly(every, max(0, DEVICES - len(worst))))
        return [device for device in every if device in wanted]

    def _affordable(self, moves: pd.DataFrame) -> list[int]:
        counts = moves.groupby("seed").size().reindex(self._run.seeds, fill_value=0)
        fitting = [seed for seed, sum_ in zip(self._run.seeds, counts.cumsum().tolist(), strict=True) if sum_ <= BARS]
        seeds = fitting or self._run.seeds[:1]
        if len(seeds) < len(self._run.seeds):
            told = ", ".join(map(str, seeds))
            self.notes.append(f"Jobs and transfers of devices are kept for seed {told} only, to keep this page small.")
        return seeds

    def _affordable_bars(self, moves: pd.DataFrame) -> int:
        """How many jobs and transfers of one device in one world are drawn."""
        told = moves[moves["seed"].isin(self.seeds)]
        counts = told.groupby(DEVICE).size()
        if len(told) <= BARS:
            return max(1, int(counts.max())) if len(counts) else 1
        most = max(24, BARS // len(counts))
        self.notes.append(
            f"Of the jobs and transfers of a device {most} are drawn for each learner, evenly chosen; of those in vain "
            "up to half as many."
        )
        return most

    def _device(self, key: tuple[str, int, str]) -> dict[str, Any]:
        entry: dict[str, Any] = {}
        if spans := self._spans.get(key):
            entry["accuracy"] = self._accuracy(spans)
        if key[1] not in self.seeds:
            return entry
        if moves := self._bars.get(key):
            entry["bars"] = self._bars_of(moves)
        if memory := self._memory.get(key):
            entry |= self._memory_of(memory)
        if battery := self._battery.get(key):
            entry["battery"] = self._series(*steps(battery["time_s"], battery["level_ratio"]))
        return entry

    def _series(self, times_s: Floats, values: Floats) -> dict[str, Any]:
        self._shortened |= len(times_s) > self._most
        return packed(*thinned(times_s, values, self._most))

    def _accuracy(self, spans: Arrays) -> dict[str, Any]:
        """The step function; where there is a gap (unserved, not measured, killed) it is missing."""
        start_s, end_s = spans["start_s"], spans["end_s"]
        value = np.where(spans["served_s"] > 0, spans["accuracy"], np.nan)
        ends = np.append(end_s[:-1] < start_s[1:], True)
        times_s = np.concatenate([start_s, end_s[ends]])
        values: Floats = np.concatenate([value, np.full(int(ends.sum()), np.nan)])
        order = np.argsort(times_s, kind="stable")
        return self._series(*to_the_end(*steps(times_s[order], values[order])))

    def _memory_of(self, rows: Arrays) -> dict[str, Any]:
        held = steps(np.append(0.0, rows["time_s"]), np.append(0.0, rows["used_bytes"]))
        lost = np.isin(rows["event"], ["refused", "killed"])
        kept = evenly(np.flatnonzero(lost).tolist(), self._most)
        return {
            "memory": self._series(*held),
            "refused": packed(rows["time_s"][kept], rows["needed_bytes"][kept]),
        }

    def _bars_of(self, rows: Arrays) -> list[list[Any]]:
        """Jobs and transfers: ``[lane, from, to, what, whether it came to something, amount]``."""
        good = rows["good"].astype(bool)
        vain = evenly(np.flatnonzero(~good).tolist(), self._most_bars // 2)
        kept = sorted([*vain, *evenly(np.flatnonzero(good).tolist(), self._most_bars - len(vain))])
        columns = (
            rows["lane"][kept].tolist(),
            times(rows["start_s"][kept]),
            times(rows["end_s"][kept]),
            rows["text"][kept].tolist(),
            rows["good"][kept].tolist(),
            numbers(rows["amount"][kept]),
        )
        return [list(row) for row in zip(*columns, strict=True)]


class _Grouped:
    """The rows of some devices by (learner, seed, device), as arrays."""

    def __init__(self, table: pd.DataFrame, devices: list[str], *columns: str) -> None:
        table = table[table["device"].isin(devices)]
        self._arrays = {name: table[name].to_numpy() for name in columns}
        self._rows = table.groupby(DEVICE, sort=False).indices if len(table) else {}

    def get(self, key: tuple[str, int, str]) -> Arrays | None:
        """Return the columns of one device in one world; None where it has no rows."""
        rows = self._rows.get(key)
        return None if rows is None else {name: array[rows] for name, array in self._arrays.items()}


def _moves(run: Run, devices: list[str]) -> pd.DataFrame:
    """Jobs and transfers of some devices: ``learner, seed, device, lane, start_s, end_s, text, good, amount``."""
    jobs = run.computations[run.computations["node"].isin(devices) & (run.computations["status"] != "offline")]
    jobs = jobs.rename(columns={"node": "device"}).assign(lane=0, amount=jobs["flops"])
    sent = run.transfers[run.transfers["device"].isin(devices)]
    sent = sent.assign(lane=sent["direction"].map(_LANES.index), amount=sent["size_bytes"])
    received = run.transfers[(run.transfers["direction"] == "peer") & run.transfers["peer"].isin(devices)]
    received = received.assign(device=received["peer"], lane=_LANES.index("peer"), amount=received["size_bytes"])
    columns = [*DEVICE, "lane", "start_s", "end_s", "kind", "status", "amount"]
    rows = pd.concat([part[columns] for part in (jobs, sent, received)], ignore_index=True)
    good = rows["status"].isin(_GOOD)
    text = rows["kind"].where(good, rows["kind"] + ", " + rows["status"].str.replace("_", " "))
    rows = rows.assign(good=good.astype("int64"), text=text, amount=rows["amount"].astype("float64"))
    return rows.assign(end_s=rows["end_s"].fillna(run.horizon_s)).drop(columns=["kind", "status"])
