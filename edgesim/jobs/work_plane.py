"""The work plane: takes jobs at once, runs them when somebody asks for a value or when enough of them wait.

``WorkPlane`` is a graph (``graph``), a schedule (``schedule``) and an executor (``executors``): the graph says what has
to run, the schedule what can run now and together, the executor where and how. A store of results by key (``results``:
a journal, a cache) is asked before a job is run and told of what it gave. None of them changes what a learner sees.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from ..errors import WorkFailure
from ..stopwatch import Stopwatch
from .executors import Call, Calls, Executor, InlineExecutor, Raised
from .function import require_finite
from .graph import WHOLE, Group, Job, JobHandle, part_key
from .handle import Label
from .held import Held
from .kinds import Kind, Kinds, as_given
from .overflow import Overflow
from .results import Results, Store
from .schedule import Schedule

MAX_PENDING = 1024
"""Jobs that may wait before they are run unasked, by default."""

MOST_FUSED = {"cpu": 64, "cuda": 256}
"""Jobs in a batch at most, by kind of device: where a network is small enough to be fused, more of them leave a CPU's
caches. For CUDA assumed, not measured: 256 of the largest networks that are fused take 3 GiB."""

MEMORY_BYTES = 2 * 2**30
"""Bytes that values may hold before the plane stops looking ahead, by default."""

_LATER_OTHERS = {list, tuple, dict}
"""Types of inputs that may have been changed by whoever gave them when the job is run."""


@final
class WorkPlane:
    """The plane that computes.

    Parameters
    ----------
    executor
        Where jobs run.
    max_pending
        So many waiting jobs are run unasked, at least 1.
    memory_bytes
        While live values take more, some of them are kept in files, if there is an ``overflow``, and jobs are run as
        they are submitted: waiting jobs keep their inputs alive.
    on_done
        Called with the label of each settled job, for progress displays.
    store
        Keeps results longer than handles do.
    watch
        Told what time is spent on.
    overflow
        Where values go that memory has no room for.
    """

    computes = True

    def __init__(
        self,
        executor: Executor,
        *,
        max_pending: int = MAX_PENDING,
        memory_bytes: int = MEMORY_BYTES,
        on_done: Callable[[Label], None] | None = None,
        store: Store | None = None,
        watch: Stopwatch | None = None,
        overflow: Overflow | None = None,
    ) -> None:
        if max_pending < 1:
            raise ValueError(f"max_pending is at least 1, not {max_pending}")
        self._executor = executor
        self._max_pending = max_pending
        self._on_done = on_done
        self._submitted = 0
        self._done = 0
        self._ran = 0
        self._flushing = False
        self._found = 0
        self._batches = 0
        self._fused_batches = 0
        self._fused_jobs = 0
        self._watch = watch or Stopwatch()
        self._is_here = isinstance(executor, InlineExecutor)
        self._kinds = Kinds(executor.threads_per_job, executor.placement)
        self._results = Results(store, overflow, memory_bytes)
        self._pending: Held[int, Job] = Held()

    @property
    def pending(self) -> int:
        """See ``Plane``."""
        return len(self._pending)

    @property
    def done(self) -> int:
        """See ``Plane``."""
        return self._done

    @property
    def ran(self) -> int:
        """How many jobs have really been run: not those dropped unwanted, nor those found under an equal
        key."""
        return self._ran

    @property
    def found(self) -> int:
        """How many jobs were found under an equal key, held by somebody or stored, and not run."""
        return self._found

    @property
    def held_bytes(self) -> int:
        """Bytes of the values that handles hold, those of equal keys once."""
        return self._results.total_bytes

    def submit(
        self, function: Callable[..., Any], *inputs: object, label: Label, seed: int = 0, **params: Any
    ) -> JobHandle:
        """See ``Plane``."""
        return self.submit_one(self._kinds.of(function, params), inputs, label, seed)

    def kind(self, function: Callable[..., Any], **params: Any) -> Kind:
        """See ``Plane``."""
        return self._kinds.of(function, params)

    def submit_one(self, kind: Kind, inputs: tuple[object, ...], label: Label, seed: int) -> JobHandle:
        """See ``Plane``."""
        function, number, results = kind.function, self._submitted, self._results
        function.check_inputs(len(inputs))
        self._submitted += 1
        if not _LATER_OTHERS.isdisjoint(map(type, inputs)):
            inputs = tuple(map(as_given, inputs))
        job = Job(number, kind, inputs, seed if function.takes_seed else None, label, self)
        handle = job.handle(WHOLE, results)
        self._pending.add(number, job)
        if len(self._pending) >= self._max_pending or results.total_bytes > results.memory_bytes:
            self.flush()
        return handle

    def flush(self) -> None:
        """See ``Plane``."""
        if self._flushing:
            raise RuntimeError("a job or a progress display asked for values while the plane was running jobs")
        self._flushing = True
        before = self._watch.turn_to("plane")
        try:
            self._recall()
            self._run(Schedule(self._pending.held()))
            self._results.make_room()
        finally:
            self._executor.abandon()
            self._flushing = False
            self._watch.turn_to(before)

    def close(self) -> None:
        """See ``Plane``. Values that are held are stored first."""
        try:
            if self._results.store is not None:
                self._results.store.close(self._results.live)
        finally:
            self._executor.close()
            if self._results.overflow is not None:
                self._results.overflow.close()

    def counts(self) -> dict[str, int]:
        """See ``Plane``: jobs settled, run, and found; batches that they were run in, and those fused."""
        return {
            "done": self._done,
            "run": self._ran,
            "found": self._found,
            "batches": self._batches,
            "fused_batches": self._fused_batches,
            "fused_jobs": self._fused_jobs,
        }

    def demand(self, job: Job) -> None:
        """See ``Home``."""
        self.flush()
        if job.dormant:
            self._wake([job])
            self.flush()

    def unwanted(self, job: Job) -> None:
        """See ``Home``."""
        self._pending.gone(job.number)

    def _run(self, schedule: Schedule) -> None:
        """Keep the executor busy until nothing is left, or something has failed and what is under way has finished."""
        under_way: dict[int, list[Job]] = {}
        failures: list[WorkFailure] = []
        turn_to, results = self._watch.turn_to, self._results
        while True:
            while len(under_way) < self._executor.slots and not failures:
                chosen = self._choose(schedule)
                if not chosen:
                    break
                ticket = chosen[0].number
                under_way[ticket] = chosen
                light = self._is_here or chosen[0].kind.is_light
                turn_to(_part_of(chosen) if light else "io")  # packing for other processes
                self._executor.start(ticket, _calls(chosen))
                turn_to("plane")
                self._count(chosen)
            if not under_way:
                break
            turn_to(_part_of(next(iter(under_way.values()))) if self._is_here else "waiting")
            ticket, outcomes = self._executor.finish()
            turn_to("plane")
            batch = under_way.pop(ticket)
            if (seconds := self._executor.worker_s.pop(ticket, None)) is not None:
                self._watch.elsewhere(_part_of(batch), seconds)
            for job, outcome in zip(batch, outcomes, strict=True):
                self._ran += 1
                try:
                    if isinstance(outcome, Raised):
                        raise outcome.error
                    if job.kind.function.finite:
                        require_finite(outcome.value)
                    job.settle(outcome.value, results)
                except Exception as error:
                    failures.append(self._fail(job, error))
                else:
                    self._finish(job)
                schedule.finished(job)
            turn_to("io")
            results.make_room()
            if results.store is not None:
                results.store.tick(results.live)
            turn_to("plane")
        if failures:
            raise failures[0]

    def _count(self, batch: list[Job]) -> None:
        self._batches += 1
        if batch[0].group() is not None:
            self._fused_batches += 1
            self._fused_jobs += len(batch)

    def _choose(self, schedule: Schedule) -> list[Job]:
        """Take the next job that has to run, and those that are computed together with it."""
        first = self._next(schedule, None)
        if first is None or (group := first.group()) is None:
            return [] if first is None else [first]
        chosen = [first]
        over = 1 if group.is_light else self._executor.workers
        most = min(MOST_FUSED.get(self._executor.placement.kind, 1), -(-(schedule.ready(group) + 1) // over))
        while len(chosen) < most and (another := self._next(schedule, group)) is not None:
            chosen.append(another)
        return chosen

    def _next(self, schedule: Schedule, group: Group | None) -> Job | None:
        """Take the first ready job (of a group) that has to run; settle those before it that need not."""
        while (job := schedule.pop(group)) is not None:
            if (failure := job.failed_input()) is not None:
                job.fail(failure)
                self._finish(job)
            elif schedule.waits_for_twin(job, key := self._key(job)):
                continue
            elif not self._known(job, key) and not self._came_meanwhile(job, key):
                schedule.run(key)
                return job
            schedule.finished(job)
        return None

    def _key(self, job: Job) -> str:
        try:
            return job.resolved_key()
        except Exception as error:  # a constant that no text says exactly, a view that cannot be resolved
            raise self._fail(job, error) from error

    def _recall(self) -> None:
        """Settle pending jobs from a store that holds an earlier process's results, whether their inputs are there or
        not. Those that were run before and whose values nobody has needed since sleep, until somebody needs them."""
        store = self._results.store
        if store is None or not store.remembers:
            return
        for job in self._pending.held():
            try:
                key = job.resolved_key()
            except Exception:  # an input's input has failed, or has no key: that will be told in its turn
                continue
            if self._known(job, key) or job.demanded:
                continue
            if all(store.was_computed(handle.key) for handle in job.open_handles()):
                job.dormant = True
                self._found += 1
                self._finish(job)
        needed = [needed for job in self._pending.held() for needed in _dormant_inputs(job)]
        self._wake(needed)

    def _known(self, job: Job, key: str) -> bool:
        """Settle a job whose result somebody holds already or the store keeps."""
        missing = False
        function, shared = job.kind.function, job.label.shared
        for handle in job.open_handles():
            result = self._results.find(part_key(key, handle.name), function, shared=shared)
            if result is None:
                missing = True
            else:
                handle.settle(result)
        if missing:
            return False
        job.forget()
        self._found += 1
        self._finish(job)
        if shared:
            self._results.make_room()
        return True

    def _came_meanwhile(self, job: Job, key: str) -> bool:
        """Settle a job that runs have in common and that another process was computing: while it does, wait."""
        store = self._results.store
        if store is None or not job.label.shared:
            return False
        with self._watch.on("waiting"):
            store.claim(key)
        return self._known(job, key)

    def _wake(self, jobs: list[Job]) -> None:
        """Make dormant jobs pending again, in the order of submission, with all dormant jobs that they need."""
        woken: dict[int, Job] = {}
        while jobs:
            job = jobs.pop()
            if job.dormant:
                job.dormant, job.demanded = False, True
                self._done -= 1
                self._found -= 1
                woken[job.number] = job
                jobs += _dormant_inputs(job)
        if woken:
            jobs = sorted([*self._pending.held(), *woken.values()], key=lambda job: job.number)
            self._pending = Held()
            for job in jobs:
                self._pending.add(job.number, job)

    def _fail(self, job: Job, error: Exception) -> WorkFailure:
        label = job.label
        reason = f"{type(error).__name__}: {error}"
        failure = WorkFailure(label.learner, label.node, label.time_s, label.what or job.kind.function.name, reason)
        failure.__cause__ = error
        job.fail(failure)
        self._finish(job)
        return failure

    def _finish(self, job: Job) -> None:
        self._pending.gone(job.number)
        self._done += 1
        if job.label.shared and job.key is not None and self._results.store is not None:
            self._results.store.release(job.key)
        if self._on_done is not None:
            self._on_done(job.label)


def inline_plane(
    threads_per_job: int = 1,
    *,
    max_pending: int = MAX_PENDING,
    memory_bytes: int = MEMORY_BYTES,
    on_done: Callable[[Label], None] | None = None,
    store: Store | None = None,
) -> WorkPlane:
    """Make a plane that runs jobs one after the other in this process; see ``WorkPlane`` and
    ``InlineExecutor``."""
    return WorkPlane(
        InlineExecutor(threads_per_job),
        max_pending=max_pending,
        memory_bytes=memory_bytes,
        on_done=on_done,
        store=store,
    )


def _calls(jobs: list[Job]) -> Calls:
    each = [
        Call(tuple([value.input if type(value) is JobHandle else value for value in job.inputs]), job.seed)
        for job in jobs
    ]
    kind = jobs[0].kind
    return Calls(kind.function, kind.path, kind.params, tuple(each))


def _part_of(batch: list[Job]) -> str:
    """What time spent on a batch is counted as."""
    match batch[0].label.kind:
        case "train" | "pretrain":
            return "training"
        case "evaluate" | "score":
            return "evaluation"
    return "aggregation"


def _dormant_inputs(job: Job) -> list[Job]:
    inputs = [value.job for value in job.inputs if type(value) is JobHandle]
    return [needed for needed in inputs if needed is not None and needed.dormant]
