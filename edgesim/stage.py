"""One world after the other: each is built, its learner started, SimPy driven to the horizon, its rows written."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import DiskFull, EdgesimError, LearnerFailure
from .learner import Learner, TrainingParams
from .loaded_code import is_unchanged, loaded_code
from .progress import Reporter
from .run_folder import RunFolder, is_full

if TYPE_CHECKING:
    from .jobs import Plane
    from .tables import TableWriter, WorldTables
    from .world import Environment, World

JOBS_PER_FLUSH = 512
"""After so many jobs of the work plane, those that wait are computed. Wall time has no say in which: one that waits
longer may not be wanted any more."""

SECONDS_PER_PART = 0.5
"""What is known then is written, and the frontier moves, but not more often than this, in wall time: writing a part
takes milliseconds, whatever is in it."""

EVENTS_PER_LOOK = 64
"""SimPy events between two looks at the number of jobs."""

COLLECTOR = (100_000, 50, 10)
"""Thresholds of Python's cyclic collector during a run. A world is a large graph of objects that live: at the default
(700, 10, 10) the collector took half the time of a large run to find nothing, at (20,000, 50, 10) a quarter."""


MANY_DEVICES = 1000
"""A world with as many is frozen itself. With fewer it is quickly looked through, and all that was there before a run
need not be looked through with it when the world is over."""


@dataclass(slots=True)
class Stage:
    """Plays one world after the other, and tells how far it is.

    Attributes
    ----------
    own_packages
        Whose code is the learners' and the model's.
    may_thaw
        Nobody else has frozen what is there (see ``gc.freeze``).
    played
        Worlds so far, those left out not among them.
    """

    folder: RunFolder
    plane: Plane
    writer: TableWriter
    reporter: Reporter | None
    own_packages: tuple[str, ...] = ()
    may_thaw: bool = False
    played: int = 0

    def read_code(self, learners: Iterable[Learner]) -> None:
        """Take the checksums of the code that is loaded, and of what the learners' jobs depend on, before anything is
        computed: a file may be edited while what was loaded from it runs."""
        loaded_code(self.own_packages)
        if self.plane.computes:
            from .jobs import JobFunction

            names = {type(learner).__module__ for learner in learners}
            for module in [sys.modules[name] for name in names if name in sys.modules]:
                for value in list(vars(module).values()):
                    if isinstance(value, JobFunction):
                        with contextlib.suppress(TypeError):  # it has no source; whoever submits it is told
                            value.digest()

    def skip(self, label: str, seed: int) -> bool:
        """Leave out a world that an earlier process has played to its end, with the code that there is now."""
        over = self.writer.over(label, seed)
        if over is None or over["world"]["learner"] != label or not is_unchanged(over["code"]):
            return False
        if self.reporter is not None:
            self.reporter.skip()
        self._tell(over["world"])
        return True

    def play(self, label: str, learner: Learner, surroundings: Environment) -> None:
        """Simulate one (learner, seed) world from its start to the horizon."""
        from .world import Offline, World

        settled = self.plane.done
        offline = Offline(surroundings, self.plane, label)
        tables = self.writer.world(label, learner.oracle, surroundings.seed)
        now: Callable[[], float] = _zero
        try:
            model = learner.prepare(offline)
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
                training=learner.params.training.changes if isinstance(learner.params, TrainingParams) else None,
                start=learner.start,
            )
            now = tables.clock = lambda: world.now
            large = self.may_thaw and len(world.devices) >= MANY_DEVICES
            with self.folder.watch.on("world"), _frozen() if large else contextlib.nullcontext():
                self._drive(world, learner, tables)
        except (EdgesimError, KeyboardInterrupt):
            _salvage(tables)
            raise
        except (Exception, SystemExit) as error:
            _salvage(tables)
            if isinstance(error, OSError) and is_full(error):
                reached = f"learner {label!r}, seed {surroundings.seed}, up to {tables.frontier_s:g} s of virtual time"
                raise DiskFull(str(self.folder.path), str(error), reached) from error
            raise LearnerFailure(label, surroundings.seed, now(), _told(error)) from error
        finally:
            tables.clock = None  # the writer lives on, and would keep the world
        self.played += 1
        played: dict[str, Any] = {
            "learner": label,
            "seed": surroundings.seed,
            "frontier_s": tables.frontier_s,
            "jobs": self.plane.done - settled,
        }
        if offline.remarks:
            played["remarks"] = offline.remarks
        tables.seal({"world": played, "code": loaded_code(self.own_packages)})
        self._tell(played)

    def _tell(self, world: Mapping[str, Any]) -> None:
        """Let the manifest say that a world is over."""
        self.folder.update(
            worlds=[*self.folder.manifest["worlds"], dict(world)],
            work=self.plane.counts(),
            profile=self.folder.profile(),
        )

    def _drive(self, world: World, learner: Learner, tables: WorldTables) -> None:
        env, horizon_s = world.env, world.horizon_s
        env.process(learner.run(world))
        plane, settled, written_at = self.plane, self.plane.done, time.monotonic()
        if self.reporter is not None:
            self.reporter.begin(world, plane)
        while env.advance(horizon_s, EVENTS_PER_LOOK):
            if plane.done + plane.pending - settled >= JOBS_PER_FLUSH:
                plane.flush()
                settled = plane.done
                if time.monotonic() - written_at >= SECONDS_PER_PART:
                    tables.cut(env.now)
                    written_at = time.monotonic()
            if self.reporter is not None:
                self.reporter.tick()
        env.jump(horizon_s)
        world.close()
        tables.cut(horizon_s)
        if self.reporter is not None:
            self.reporter.report()


def _zero() -> float:
    """Virtual time before there is a world."""
    return 0.0


def _told(error: Exception | SystemExit) -> str:
    """What is told of an error. That a learner wanted to end its process is its failure, and not the program's end."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r})"
    return f"{type(error).__name__}: {error}"


def _salvage(tables: WorldTables) -> None:
    """Write the rows that there are; where a disk is full, those before stay as they are."""
    with contextlib.suppress(OSError):
        tables.salvage()


@contextlib.contextmanager
def patient_collector() -> Iterator[bool]:
    """Let Python look for cyclic garbage less often, as ``COLLECTOR`` says, and only among what comes from now on.

    Yields whether what is there now was frozen here; else it was by somebody else, who undoes it. What is garbage in
    the end goes at once: a process that plays one run after the other would keep twenty of them until Python looks.
    """
    before, ours = gc.get_threshold(), not gc.get_freeze_count()
    gc.set_threshold(*COLLECTOR)
    if ours:
        gc.freeze()
    try:
        yield ours
    finally:
        gc.set_threshold(*before)
        if ours:
            gc.collect()
            gc.unfreeze()


@contextlib.contextmanager
def _frozen() -> Iterator[None]:
    """Keep the collector from looking again and again at a world that is there now, and lives until it is over."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
