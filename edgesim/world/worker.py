"""What computes in a node: a processor and a memory that jobs share, and the rows that say what each job cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, final

from simpy import Environment
from simpy.events import PENDING, Event

from ..errors import Killed, OutOfMemory, VerbFailure
from ..records import record
from ..signals import Signal
from .energy import EnergyMeter, ShareClock
from .memory import Memory
from .network.alarm import Alarm
from .priorities import COMPLETION
from .processor import Computation, Processor
from .verbs import Verb

if TYPE_CHECKING:
    from ..data import Samples
    from ..jobs import Handle
    from .recorder import Recorder

T = TypeVar("T")


@record
class Work:
    """One job as the simulated processor sees it.

    Attributes
    ----------
    job_id
        Readable, unique within a world.
    kind
        ``train``, ``score``, ``average``, ``solve``, ...
    flops
        What it costs, at least 0.
    memory_bytes
        What it needs while it runs.
    overhead_s
        Seconds on top of the FLOPs during which it holds its memory and the processor draws power (framework overhead
        of its steps).
    samples, batch_size
        How many samples it touches and how many at a time; 0 where that means nothing.
    data
        The samples it reads: those sets that hold any.
    input_model_ids, output_model_id
        Provenance.
    outcome
        Of training: its loss and whether it diverged, once they are computed (``Trained.outcome``).
    """

    job_id: str
    kind: str
    flops: float
    memory_bytes: int
    overhead_s: float = 0.0
    samples: int = 0
    batch_size: int = 0
    data: tuple[Samples, ...] = ()
    input_model_ids: tuple[str, ...] = ()
    output_model_id: str = ""
    outcome: Handle | None = None


@final
class Job(Verb[Any], Computation):
    """A verb that computes: it ends when its work is done and its overhead is over.

    Parameters
    ----------
    worker
        Where it runs.
    work
        What it costs.
    value
        What the verb gives.

    Attributes
    ----------
    available_bytes
        Memory that was free when it was started, or refused.
    """

    available_bytes: int
    computed_s: float | None = None  # when its work was done, from when on its overhead runs
    entered_s = 0.0  # the reading of the worker's clock at its start
    mixes = 0  # how often overheads had run beside other jobs by then

    def __init__(self, worker: Worker, work: Work, value: object) -> None:
        Computation.__init__(self, worker.env, work.flops)
        self.work = work
        self._worker = worker
        self._result: object = value

    def finished(self) -> None:
        """See ``Computation``."""
        overhead_s = self.work.overhead_s
        if overhead_s:
            now = self.env._now
            self.computed_s = now
            self._worker.begin_overhead()
            Alarm(self.env, now + overhead_s, COMPLETION, self._end_overhead)
        else:
            self._worker.end(self, "done", "")
            self.give(self._result)

    def abort(self, cause: str) -> None:
        """See ``Verb``."""
        self.stop()
        self._result = None
        self._worker.end(self, "killed", cause)
        self.fail(Killed(cause, self.done_flops, self.flops))

    def _end_overhead(self, _: Event) -> None:
        if self._value is PENDING:
            self._worker.end(self, "done", "")
            self.give(self._result)


class Worker:
    """Runs jobs on one node's processor and memory.

    Parameters
    ----------
    env
        The SimPy environment.
    node
        The node's name in the tables.
    speed
        FLOP/s over time.
    available
        Bytes of memory for jobs over time.
    meter
        Where joules are counted.
    recorder
        Where rows go.
    """

    __slots__ = (
        "_clock",
        "_meter",
        "_mixes",
        "_node",
        "_overheads",
        "_recorder",
        "_running",
        "away_cause",
        "env",
        "memory",
        "processor",
    )

    def __init__(
        self,
        env: Environment,
        node: str,
        speed: Signal,
        available: Signal,
        meter: EnergyMeter,
        recorder: Recorder,
    ) -> None:
        self.env = env
        self._node = node
        self._meter = meter
        self._recorder = recorder
        self._running: dict[str, Job] = {}
        self._overheads = 0
        self._mixes = 0
        self._clock = ShareClock()  # of the jobs that run, in FLOPs or in overhead
        self.processor = Processor(env, speed)
        self.memory = Memory(env, available, self._kill_for_memory)
        self.away_cause = ""
        """Why the node is away now; empty while it is there."""

    def compute(self, work: Work, value: T) -> Verb[T]:
        """Take the memory, compute, give it back; one row in ``computations`` whatever happens.

        Parameters
        ----------
        work
            What it costs.
        value
            What the verb gives when it is done.

        Raises
        ------
        ValueError
            At once: its work is not finite, or below 0. Nothing is taken, and there is no row.
        OutOfMemory
            As the value of the failed verb: it does not fit at the start.
        Killed
            As the value of the failed verb: the node is away, or leaves, or its memory shrinks, or it is cancelled.
        """
        job = Job(self, work, value)
        if self.away_cause:
            return self._refused(job, "killed", self.away_cause, Killed(self.away_cause, 0.0, work.flops))
        try:
            job.available_bytes = self.memory.reserve(work.job_id, work.memory_bytes)
        except OutOfMemory as refusal:
            self._recorder.memory(self._node, "refused", work, self.memory)
            return self._refused(job, "out_of_memory", "memory", refusal)
        self._recorder.memory(self._node, "start", work, self.memory)
        job.entered_s, job.mixes = self._clock.enter(job.start_s), self._mixes
        if self._overheads:
            self._mixes += 1
        self._running[work.job_id] = job
        self.processor.start(job)
        if self._meter.battery is not None:
            self._draw()
        return job

    def kill_all(self, cause: str) -> None:
        """Kill every running job, e.g. because the node leaves."""
        for job in tuple(self._running.values()):
            job.abort(cause)

    def close(self) -> None:
        """Record the jobs that are still running when the simulation ends."""
        for job in tuple(self._running.values()):
            job.stop()
            self.end(job, "running", "")

    def begin_overhead(self) -> None:
        """The overhead of a running job begins."""
        self._overheads += 1
        if len(self._running) > 1:
            self._mixes += 1
        if self._meter.battery is not None:
            self._draw()

    def end(self, job: Job, status: str, cause: str) -> None:
        """A running job is over, or is still running at the horizon."""
        work, overhead_s = job.work, 0.0
        del self._running[work.job_id]
        share_s = self._clock.leave(self.env.now, job.entered_s)
        if job.computed_s is not None:
            self._overheads -= 1
            overhead_s = min(work.overhead_s, self.env.now - job.computed_s)
        if self._meter.battery is not None:
            self._draw()
        self.memory.release(work.job_id)
        self._recorder.memory(self._node, "killed" if status == "killed" else "end", work, self.memory)
        # Without another job beside an overhead that is the same, to the last bit the processor's own books.
        busy_s = share_s if self._mixes > job.mixes else job.share_s + overhead_s
        energy_j = self._meter.computed(busy_s)
        self._recorder.computation(
            self._node, work, job.start_s, job.done_flops, job.available_bytes, busy_s, energy_j, status, cause
        )

    def _refused(self, job: Job, status: str, cause: str, failure: VerbFailure) -> Verb[Any]:
        """End a job that is not started."""
        job.available_bytes = free_bytes = self.memory.free_bytes
        job._result = None
        energy_j = self._meter.computed(0.0)
        self._recorder.computation(self._node, job.work, job.start_s, 0.0, free_bytes, 0.0, energy_j, status, cause)
        job.fail(failure)
        return job

    def _draw(self) -> None:
        """Tell the battery whether anything draws the power of computing: it is drawn once, whatever runs."""
        self._meter.computing(bool(self.processor.running or self._overheads))

    def _kill_for_memory(self, job_id: str) -> None:
        self._running[job_id].abort("memory")


def counted(data: Sequence[Samples]) -> tuple[int, tuple[Samples, ...]]:
    """How many samples there are, and those sets that hold any."""
    if len(data) == 1:
        count = len(data[0].view)
        return count, (data[0],) if count else ()
    counts = [len(samples.view) for samples in data]
    return sum(counts), tuple([samples for samples, count in zip(data, counts, strict=True) if count])


def phases_of(data: Sequence[Samples]) -> list[tuple[str, int]]:
    """``(device, highest data phase)`` of each set of samples: what they add to a lineage."""
    return [(samples.device, samples.phase) for samples in data]
