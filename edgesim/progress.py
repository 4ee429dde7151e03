"""How far a run is, for those who watch it: reports a few times a second, from what is known by then.

Watching changes nothing: it reads rows as they are recorded, and asks only for values that are there already.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .tables import TABLES

if TYPE_CHECKING:
    from .jobs import Plane
    from .tables import Deferred, WorldTables
    from .world import World

SECONDS_PER_REPORT = 0.1
"""Wall time between two reports."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    learner, seed
        The world that is simulated now.
    world, worlds
        Its number, from 0, and how many there are.
    virtual_s
        Virtual time that has been simulated.
    frontier_s
        Virtual time up to which everything is computed.
    horizon_s
        Where the simulation ends.
    pending_jobs, done_jobs
        Of the work plane, in all worlds so far.
    accuracy, latest_accuracy
        Of this world up to the frontier: the mean over time and devices, and over the devices' latest accuracies.
        NaN where none is known.
    up_bytes, down_bytes, peer_bytes
        Sent in this world, in transfers and requests that had ended by ``virtual_s``.
    """

    learner: str
    seed: int
    world: int
    worlds: int
    virtual_s: float
    frontier_s: float
    horizon_s: float
    pending_jobs: int
    done_jobs: int
    accuracy: float = float("nan")
    latest_accuracy: float = float("nan")
    up_bytes: float = 0.0
    down_bytes: float = 0.0
    peer_bytes: float = 0.0


@dataclass(slots=True)
class Tally:
    """What one world has sent, and how accurate its devices are as far as that is computed.

    Accuracies come as promises. They are taken in the order in which they were recorded, as far as they are kept: what
    is behind one that is not kept yet waits.
    """

    tables: WorldTables
    sent_bytes: dict[str, float] = field(default_factory=lambda: {"up": 0.0, "down": 0.0, "peer": 0.0})
    known_s: float = 0.0
    _waiting: deque[tuple[str, float, Deferred]] = field(default_factory=deque)
    _latest: dict[str, float] = field(default_factory=dict)  # device -> accuracy
    _level: float = 0.0  # sum of those
    _area: float = 0.0  # such that accuracy x seconds up to t, summed over devices, is _area + _level x t
    _absent_s: float = 0.0  # seconds before each device's first accuracy, summed

    def __post_init__(self) -> None:
        self.tables.listen("transfers", self._transfer)
        self.tables.listen("serving", self._served)
        if not self.tables.timing_only:
            self.tables.listen("accuracy", self._promised)

    def update(self) -> None:
        """Take the accuracies that are there by now."""
        while self._waiting and self._waiting[0][2].done:
            device, time_s, promise = self._waiting.popleft()
            accuracy: Any = self.tables.deferred_cells("accuracy", promise)[_ACCURACY]
            if device not in self._latest:
                self._absent_s += time_s
            change = accuracy - self._latest.get(device, 0.0)
            self._level += change
            self._area -= change * time_s
            self._latest[device] = accuracy
            self.known_s = time_s

    @property
    def latest_accuracy(self) -> float:
        """Mean of the devices' latest accuracies."""
        return self._level / len(self._latest) if self._latest else float("nan")

    def accuracy(self, until_s: float) -> float:
        """Mean over devices and over time up to ``until_s``; at the first instant, that of the devices."""
        span_s = until_s * len(self._latest) - self._absent_s
        return (self._area + self._level * until_s) / span_s if span_s > 0 else self.latest_accuracy

    def _transfer(self, cells: tuple[Any, ...]) -> None:
        self.sent_bytes[cells[_DIRECTION]] += cells[_SENT]

    def _served(self, cells: tuple[Any, ...]) -> None:
        self.sent_bytes["up"] += cells[_SERVED_UP] or 0.0
        self.sent_bytes["down"] += cells[_SERVED_DOWN] or 0.0

    def _promised(self, cells: tuple[Any, ...]) -> None:
        if cells[_VIEW] == "current" and cells[-1] is not None:
            self._waiting.append((cells[_DEVICE], cells[_TIME], cells[-1]))


class Reporter:
    """Reports how far a run is to ``on_progress``, at most every ``SECONDS_PER_REPORT`` of wall time."""

    def __init__(self, on_progress: Callable[[Progress], None], worlds: int) -> None:
        self._on_progress = on_progress
        self._worlds = worlds
        self._played = -1
        self._reported = 0.0
        self._world: World | None = None
        self._tally: Tally | None = None
        self._plane: Plane | None = None

    def skip(self) -> None:
        """Count a world that was played before."""
        self._played += 1

    def open(self, tables: WorldTables) -> None:
        """Listen to the rows of the next world, before it exists."""
        self._played += 1
        self._world = None
        self._tally = Tally(tables)

    def begin(self, world: World, plane: Plane) -> None:
        """Report on this world from now on."""
        self._world, self._plane = world, plane

    def tick(self, _: object = None) -> None:
        """Report, unless it was done just now. Called between events, and as jobs are done."""
        if time.monotonic() - self._reported >= SECONDS_PER_REPORT:
            self.report()

    def report(self) -> None:
        """Report."""
        world, tally, plane = self._world, self._tally, self._plane
        if world is None or tally is None or plane is None:
            return
        self._reported = time.monotonic()
        tally.update()
        frontier_s = max(tally.tables.frontier_s, tally.known_s)
        self._on_progress(
            Progress(
                learner=world.label,
                seed=world.seed,
                world=self._played,
                worlds=self._worlds,
                virtual_s=world.now,
                frontier_s=frontier_s,
                horizon_s=world.horizon_s,
                pending_jobs=plane.pending,
                done_jobs=plane.done,
                accuracy=tally.accuracy(frontier_s),
                latest_accuracy=tally.latest_accuracy,
                up_bytes=tally.sent_bytes["up"],
                down_bytes=tally.sent_bytes["down"],
                peer_bytes=tally.sent_bytes["peer"],
            )
        )


def _place(table: str, column: str) -> int:
    return [own.name for own in TABLES[table].columns].index(column)


_DIRECTION, _SENT = _place("transfers", "direction"), _place("transfers", "sent_bytes")
_SERVED_UP, _SERVED_DOWN = _place("serving", "up_bytes"), _place("serving", "down_bytes")
_DEVICE, _TIME, _VIEW = (_place("accuracy", name) for name in ("device", "time_s", "view"))
_ACCURACY = TABLES["accuracy"].deferred.index("accuracy")
