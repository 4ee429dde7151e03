"""One world after the other: each is built, its learner started, SimPy driven to the horizon, its rows written."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import EdgesimError, LearnerFailure
from .learner import Learner
from .progress import Reporter
from .run_folder import RunFolder, is_full

if TYPE_CHECKING:
    from .jobs import Plane
    from .tables import TableWriter, WorldTables
    from .world import Environment, World

JOBS_PER_PART = 512
"""After so many jobs of the work plane, what is known is computed and written: the frontier moves."""

EVENTS_PER_LOOK = 64
"""SimPy events between two looks at the number of jobs."""

COLLECTOR = (100_000, 50, 10)
"""Thresholds of Python's cyclic collector during a run. A world is a large graph of objects that live: at the default
(700, 10, 10) the collector took half the time of a large run to find nothing, at (20,000, 50, 10) a quarter."""


@dataclass(slots=True)
class Stage:
    """Plays one world after the other, and tells how far it is."""

    folder: RunFolder
    plane: Plane
    writer: TableWriter
    reporter: Reporter | None
    played: int = 0

    def play(self, label: str, learner: Learner, surroundings: Environment) -> None:
        """Simulate one (learner, seed) world from its start to the horizon."""
        from .world import Offline, World

        offline = Offline(surroundings, self.plane, label)
        model = learner.prepare(offline)
        tables = self.writer.world(label, learner.oracle, surroundings.seed)
        if self.reporter is not None:
            self.reporter.open(tables)
        world = World(
            surroundings,
            self.plane,
            tables,
            label=label,
            oracle=learner.oracle,
            model=model,
            offline=offline,
        )
        tables.clock = lambda: world.now
        try:
            with self.folder.watch.on("world"), _frozen():
                self._drive(world, learner, tables)
        except (EdgesimError, KeyboardInterrupt):
            _salvage(tables)
            raise
        except Exception as error:
            _salvage(tables)
            if isinstance(error, OSError) and is_full(error):
                raise
            raise LearnerFailure(label, surroundings.seed, world.now, f"{type(error).__name__}: {error}") from error
        self.played += 1
        self.folder.update(
            worlds=[
                *self.folder.manifest["worlds"],
                {"learner": label, "seed": surroundings.seed, "frontier_s": tables.frontier_s},
            ],
            work=self.plane.counts(),
            profile=self.folder.profile(),
        )

    def _drive(self, world: World, learner: Learner, tables: WorldTables) -> None:
        env, horizon_s = world.env, world.horizon_s
        env.process(learner.run(world))
        written = self.plane.done
        if self.reporter is not None:
            self.reporter.begin(world, self.plane)
        while env.advance(horizon_s, EVENTS_PER_LOOK):
            if self.plane.done + self.plane.pending - written >= JOBS_PER_PART:
                tables.cut(env.now)
                written = self.plane.done
            if self.reporter is not None:
                self.reporter.tick()
        env.jump(horizon_s)
        world.close()
        tables.cut(horizon_s)
        if self.reporter is not None:
            self.reporter.report()


def _salvage(tables: WorldTables) -> None:
    """Write the rows that there are; where a disk is full, those before stay as they are."""
    with contextlib.suppress(OSError):
        tables.salvage()


@contextlib.contextmanager
def patient_collector() -> Iterator[None]:
    """Let Python look for cyclic garbage less often, as ``COLLECTOR`` says."""
    before = gc.get_threshold()
    gc.set_threshold(*COLLECTOR)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextlib.contextmanager
def _frozen() -> Iterator[None]:
    """Keep the collector from looking again and again at what is there now, and lives until the world is over."""
    if gc.get_freeze_count():  # somebody else's to undo
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
