"""A run as tracks in time: what every device and the cloud computed, sent, served and were offered.

From tables to tracks, slices, marks, samples and arrows; :mod:`analysis.perfetto_trace` writes them as a file.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.run import Run
from edgesim.tables import TABLES, UserError

CLOUD = "cloud"

Arguments = Mapping[str, str | float | int | bool]

_COUNTERS = {
    "uplink": ("uplink offered", "bytes/s"),
    "downlink": ("downlink offered", "bytes/s"),
    "compute": ("compute offered", "FLOP/s"),
    "memory": ("memory available", "bytes"),
    "ingress": ("ingress offered", "bytes/s"),
    "egress": ("egress offered", "bytes/s"),
}
"""Resource of the table ``environment`` -> name of its track and its unit."""


_COUNTS = {column.name for table in TABLES.values() for column in table.columns if column.dtype == "count"}


@dataclass(frozen=True, slots=True)
class Track:
    """A line of the timeline.

    Attributes
    ----------
    path
        Its names from the outermost on: ``("ecavg, seed 0", "hub-0", "uplink")``.
    lane
        Which of several lines of one name, from 0: things that overlap in time are on different ones.
    unit
        Of a line of numbers; empty where it holds slices and marks.
    rank
        Its place among its siblings.
    """

    path: tuple[str, ...]
    lane: int = 0
    unit: str = ""
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Slice:
    """Something that lasts. An arrow leads from where a number is in ``arrow_out`` to where it is in ``arrow_in``."""

    track: Track
    start_s: float
    end_s: float
    name: str
    arguments: Arguments = field(default_factory=dict)
    arrow_out: int | None = None
    arrow_in: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happens at an instant."""

    track: Track
    time_s: float
    name: str
    arguments: Arguments = field(default_factory=dict)
    arrow_out: int | None = None
    arrow_in: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A number that holds from now on."""

    track: Track
    time_s: float
    value: float


Entry = Slice | Mark | Sample


def timeline(
    run: Run,
    *,
    learners: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    devices: Sequence[str] | None = None,
) -> Iterator[Entry]:
    """Yield everything that a run did, world by world, device by device, track by track, each in order of time.

    Parameters
    ----------
    run
        A run, finished or not: what was going on where it ends is drawn up to there.
    learners, devices
        By default all; gateways and the cloud are always there.
    seeds
        By default the first.

    Raises
    ------
    UserError
        The run has no such learner, seed or device.
    """
    learners = _chosen("learner", learners, run.learners, run.learners)
    seeds = _chosen("seed", seeds, run.seeds, run.seeds[:1])
    names = list(dict.fromkeys(run.availability["device"]))
    chosen = _chosen("device", devices, names, names)
    worlds = run.worlds[run.worlds["learner"].isin(learners) & run.worlds["seed"].isin(seeds)]
    arrows = itertools.count(1)
    for world in worlds.to_dict(orient="records"):
        own = {
            name: frame[(frame["learner"] == world["learner"]) & (frame["seed"] == world["seed"])]
            for name, frame in run.tables.items()
        }
        yield from _World(own, f"{world['learner']}, seed {world['seed']}", world["until_s"], arrows).entries(chosen)


def _chosen(what: str, wanted: Sequence[Any] | None, known: Sequence[Any], default: Sequence[Any]) -> list[Any]:
    for name in wanted or ():
        if name not in known:
            shown = ", ".join(map(str, known[:20])) + (", ..." if len(known) > 20 else "")
            raise UserError(f"the run has no {what} {name!r}; it has {shown or 'none'}")
    return list(default if wanted is None else wanted)


class _World:
    """The timeline of one (learner, seed) world."""

    def __init__(self, tables: Mapping[str, pd.DataFrame], name: str, until_s: float, arrows: Iterator[int]) -> None:
        self.tables = tables
        self.name = name
        self.until_s = until_s
        self.arrows = arrows
        self.received: dict[str, list[Mark]] = {}  # at each node: what it received over the links of others, or sent

    def entries(self, devices: Sequence[str]) -> Iterator[Entry]:
        """Yield the entries of the devices, of what they share, then what was seen at the other ends of transfers."""
        by_device = {name: _by(frame, "device") for name, frame in self.tables.items() if "device" in frame}
        by_device["computations"] = _by(self.tables["computations"], "node")
        gateways = [node for node in by_device["environment"] if node not in (CLOUD, *by_device["availability"])]
        for node in (*devices, *gateways, CLOUD):
            yield from self.node(node, {name: frames.get(node) for name, frames in by_device.items()})
        for node in (*devices, CLOUD):
            yield from sorted(self.received.get(node, ()), key=_start_s)

    def node(self, node: str, tables: Mapping[str, pd.DataFrame | None]) -> Iterator[Entry]:
        """Yield the entries of a device or of the cloud, a track after the other."""
        rows = {name: _records(frame) for name, frame in tables.items()}
        path = (self.name, node)
        yield from self.samples(Track((*path, "accuracy"), unit="%", rank=1), _accuracies(rows["accuracy"]))
        yield from self.states(Track((*path, "data"), rank=2), _phases(rows["drifts"]))
        yield from self.states(Track((*path, "model"), rank=3), _models(rows["deployments"]))
        yield from self.offline(Track((*path, "connection"), rank=4), rows["availability"])
        yield from self.jobs(Track((*path, "compute"), rank=5), rows["computations"])
        up = [row for row in rows["transfers"] if row["direction"] != "down"]
        down = [row for row in rows["transfers"] if row["direction"] == "down"]
        yield from self.transfers(Track((*path, "uplink"), rank=6), up, node, sends=True)
        yield from self.transfers(Track((*path, "downlink"), rank=7), down, node, sends=False)
        used = [(row["time_s"], row["used_bytes"]) for row in rows["memory"]]
        yield from self.samples(Track((*path, "memory used"), unit="bytes", rank=8), used)
        level = [(row["time_s"], 100.0 * row["level_ratio"]) for row in rows["battery"]]
        yield from self.samples(Track((*path, "battery"), unit="%", rank=9), level)
        for rank, (resource, offered) in enumerate(_by_resource(rows["environment"]).items(), 10):
            name, unit = _COUNTERS.get(resource, (resource, ""))
            yield from self.samples(Track((*path, name), unit=unit or "SI", rank=rank), offered)

    def samples(self, track: Track, values: Iterable[tuple[float, float | None]]) -> Iterator[Sample]:
        """Yield a number's changes; of several at one instant, the last."""
        latest = {time_s: value for time_s, value in values if value is not None and time_s <= self.until_s}
        before = None
        for time_s, value in latest.items():
            if value != before:
                yield Sample(track, time_s, value)
            before = value

    def states(self, track: Track, states: Sequence[tuple[float, str, Arguments]]) -> Iterator[Slice]:
        """Yield each state as a slice up to the next one."""
        ends = [*(time_s for time_s, _, _ in states[1:]), self.until_s]
        for (start_s, name, arguments), end_s in zip(states, ends, strict=False):
            if end_s > start_s:
                yield Slice(track, start_s, end_s, name, arguments)

    def offline(self, track: Track, rows: Sequence[dict[str, Any]]) -> Iterator[Slice]:
        """Yield the times away."""
        states = [(row["time_s"], row["state"], _arguments(row, "cause")) for row in rows]
        yield from (away for away in self.states(track, states) if away.name == "offline")

    def jobs(self, track: Track, rows: Sequence[dict[str, Any]]) -> Iterator[Entry]:
        """Yield jobs; those that overlap on lanes of their own, those that took no time as marks."""
        entries: list[Entry] = []
        for row in rows:
            told = _arguments(
                row,
                *("job_id", "status", "cause", "flops", "done_flops", "samples", "batch_size", "busy_s", "energy_j"),
                *("peak_memory_bytes", "available_bytes", "input_data", "input_model_ids", "output_model_id"),
            )
            status = "" if row["status"] == "done" else f" ({_because(row)})"
            name = f"{row['kind']}{status}"
            end_s = self.until_s if row["end_s"] is None else row["end_s"]
            if row["status"] == "offline" or end_s <= row["start_s"]:
                entries.append(Mark(track, row["start_s"], name, told))
            else:
                entries.append(Slice(track, row["start_s"], end_s, name, told))
        yield from in_lanes(entries)

    def transfers(self, track: Track, rows: Sequence[dict[str, Any]], node: str, *, sends: bool) -> Iterator[Entry]:
        """Yield transfers over a device's link, and note at the other end when they were sent or received."""
        entries: list[Entry] = []
        for row in rows:
            told = _arguments(
                row,
                *("transfer_id", "peer", "status", "cause", "size_bytes", "sent_bytes", "energy_j", "model_id"),
                *("data_device", "data_from_s", "data_to_s", "data_phase"),
            )
            delivered = row["status"] == "delivered"
            end_s = self.until_s if row["end_s"] is None else row["end_s"]
            what = row["kind"] if delivered else f"{row['kind']} ({_because(row)})"
            arrow = next(self.arrows) if delivered else None
            peer = str(row["peer"])
            if sends:
                entries.append(_lasting(track, row["start_s"], end_s, f"{what} to {peer}", told, arrow_out=arrow))
                if delivered:
                    other = Track((self.name, peer, "received"), rank=7)
                    mark = Mark(other, end_s, f"{what} from {node}", {"transfer_id": told["transfer_id"]}, None, arrow)
                    self.received.setdefault(peer, []).append(mark)
            else:
                entries.append(_lasting(track, row["start_s"], end_s, f"{what} from {peer}", told, arrow_in=arrow))
                if delivered:
                    other = Track((self.name, peer, "sent"), rank=6)
                    mark = Mark(other, row["start_s"], f"{what} to {node}", {"transfer_id": told["transfer_id"]}, arrow)
                    self.received.setdefault(peer, []).append(mark)
        yield from in_lanes(entries)


def in_lanes(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Put what overlaps on different lanes of its track, the lowest that is free; yields in order of start.

    Marks stay on lane 0.
    """
    free: list[int] = []
    busy: list[tuple[float, int]] = []  # end, lane
    lanes = itertools.count()
    for entry in sorted(entries, key=_start_s):
        if not isinstance(entry, Slice):
            yield entry
            continue
        while busy and busy[0][0] <= entry.start_s:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else next(lanes)
        heapq.heappush(busy, (entry.end_s, lane))
        track = Track(entry.track.path, lane, rank=entry.track.rank)
        yield Slice(track, entry.start_s, entry.end_s, entry.name, entry.arguments, entry.arrow_out, entry.arrow_in)


def _start_s(entry: Entry) -> float:
    return entry.start_s if isinstance(entry, Slice) else entry.time_s


def _lasting(
    track: Track,
    start_s: float,
    end_s: float,
    name: str,
    arguments: Arguments,
    *,
    arrow_out: int | None = None,
    arrow_in: int | None = None,
) -> Entry:
    if end_s > start_s:
        return Slice(track, start_s, end_s, name, arguments, arrow_out, arrow_in)
    return Mark(track, start_s, name, arguments, arrow_out, arrow_in)


def _by(frame: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    return {str(name): rows for name, rows in frame.groupby(column, sort=False)}


def _records(frame: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Rows as dictionaries, in the order in which they were recorded; missing is None."""
    if frame is None:
        return []
    rows: list[dict[Any, Any]] = frame.to_dict(orient="records")
    return [{name: None if cell != cell else cell for name, cell in row.items()} for row in rows]


def _arguments(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """What is told of a row; a count that may be missing is a float in the tables."""
    told = {name: row[name] for name in names if row[name] is not None and row[name] != ""}
    return {name: int(cell) if name in _COUNTS else cell for name, cell in told.items()}


def _because(row: Mapping[str, Any]) -> str:
    status = str(row["status"]).replace("_", " ")
    if status == "offline":
        return "before time 0"
    return f"{status}: {row['cause']}" if row["cause"] else status


def _accuracies(rows: Sequence[dict[str, Any]]) -> list[tuple[float, float | None]]:
    current = [row for row in rows if row["view"] == "current"]
    return [(row["time_s"], None if row["accuracy"] is None else 100.0 * row["accuracy"]) for row in current]


def _phases(rows: Sequence[dict[str, Any]]) -> list[tuple[float, str, Arguments]]:
    states: list[tuple[float, str, Arguments]] = [(0.0, "at the start", {})] if rows else []
    for row in rows:
        step = f" {row['step']} of {row['steps']}" if row["steps"] > 1 else ""
        states.append((row["time_s"], f"{row['name']}{step}", _arguments(row, "drift_id", "kind", "phase", "detail")))
    return states


def _models(rows: Sequence[dict[str, Any]]) -> list[tuple[float, str, Arguments]]:
    names = ("serving", "architecture", "size_bytes", "informed_by", "cohort_informed_by", "score_informed_by")
    return [(row["time_s"], f"{row['model_id']} on {row['serving']}", _arguments(row, *names)) for row in rows]


def _by_resource(rows: Sequence[dict[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        found.setdefault(row["resource"], []).append((row["time_s"], row["value"]))
    return found
