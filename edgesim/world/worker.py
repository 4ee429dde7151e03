"""What computes in a node: a processor and a memory that jobs share, and the rows that say what each job cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simpy import Environment
from simpy.events import Process
from simpy.exceptions import Interrupt

from ..errors import Killed, OutOfMemory
from ..signals import Signal
from .energy import EnergyMeter
from .memory import Memory
from .processor import Processor
from .verbs import Steps

if TYPE_CHECKING:
    from ..data import Samples
    from ..jobs import Handle
    from .processor import Computation
    from .recorder import Recorder


@dataclass(frozen=True, slots=True)
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
        The samples it reads.
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


@dataclass(slots=True)
class _Running:
    work: Work
    process: Process
    computation: Computation
    start_s: float
    available_bytes: int
    in_overhead: bool = False


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

    __slots__ = ("_env", "_meter", "_node", "_overheads", "_recorder", "_running", "away_cause", "memory", "processor")

    def __init__(
        self,
        env: Environment,
        node: str,
        speed: Signal,
        available: Signal,
        meter: EnergyMeter,
        recorder: Recorder,
    ) -> None:
        self._env = env
        self._node = node
        self._meter = meter
        self._recorder = recorder
        self._running: dict[str, _Running] = {}
        self._overheads = 0
        self.processor = Processor(env, speed)
        self.memory = Memory(env, available, self._kill_for_memory)
        self.away_cause = ""
        """Why the node is away now; empty while it is there."""

    def compute(self, work: Work) -> Steps[None]:
        """Take the memory, compute, give it back; one row in ``computations`` whatever happens.

        Raises
        ------
        OutOfMemory
            It does not fit at the start.
        Killed
            The node is away, or leaves, or its memory shrinks, or the job is cancelled.
        """
        env = self._env
        start_s = env.now
        available = self.memory.free_bytes
        if self.away_cause:
            self._record(work, start_s, available, "killed", self.away_cause)
            raise Killed(self.away_cause, 0.0, work.flops)
        try:
            self.memory.reserve(work.job_id, work.memory_bytes)
        except OutOfMemory:
            self._recorder.memory(self._node, "refused", work, self.memory)
            self._record(work, start_s, available, "out_of_memory", "memory")
            raise
        self._recorder.memory(self._node, "start", work, self.memory)
        computation = self.processor.run(work.flops)
        process = env.active_process
        assert process is not None, "compute() runs inside a verb"
        running = _Running(work, process, computation, start_s, available)
        self._running[work.job_id] = running
        self._draw()
        try:
            yield computation
            if work.overhead_s:
                running.in_overhead = True
                self._overheads += 1
                self._draw()
                yield env.timeout(work.overhead_s)
        except Interrupt as interruption:
            cause = str(interruption.cause)
            computation.cancel()
            self._end(running, "killed", cause)
            raise Killed(cause, computation.done_flops, work.flops) from None
        self._end(running, "done", "")

    def kill_all(self, cause: str) -> None:
        """Kill every running job, e.g. because the node leaves."""
        for running in tuple(self._running.values()):
            running.process.interrupt(cause)

    def close(self) -> None:
        """Record the jobs that are still running when the simulation ends."""
        for running in tuple(self._running.values()):
            running.computation.cancel()
            self._end(running, "running", "")

    def _draw(self) -> None:
        self._meter.computing((1 if self.processor.running else 0) + self._overheads)

    def _kill_for_memory(self, job_id: str) -> None:
        self._running[job_id].process.interrupt("memory")

    def _end(self, running: _Running, status: str, cause: str) -> None:
        work = running.work
        del self._running[work.job_id]
        self._overheads -= running.in_overhead
        self._draw()
        self.memory.release(work.job_id)
        self._recorder.memory(self._node, "killed" if status == "killed" else "end", work, self.memory)
        overhead_s = 0.0
        computed = running.computation.value if running.computation.triggered else None
        if work.overhead_s and computed is not None:
            overhead_s = min(work.overhead_s, self._env.now - computed.end_s)
        busy_s = running.computation.share_s + overhead_s
        self._recorder.computation(
            self._node,
            work,
            start_s=running.start_s,
            done_flops=running.computation.done_flops,
            available_bytes=running.available_bytes,
            busy_s=busy_s,
            energy_j=self._meter.computed(busy_s),
            status=status,
            cause=cause,
        )

    def _record(self, work: Work, start_s: float, available_bytes: int, status: str, cause: str) -> None:
        self._recorder.computation(
            self._node,
            work,
            start_s=start_s,
            done_flops=0.0,
            available_bytes=available_bytes,
            busy_s=0.0,
            energy_j=0.0,
            status=status,
            cause=cause,
        )


def phases_of(data: Sequence[Samples]) -> list[tuple[str, int]]:
    """``(device, highest data phase)`` of each set of samples: what they add to a lineage."""
    return [(samples.device, samples.phase) for samples in data]
