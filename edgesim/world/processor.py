"""A processor that its running jobs share equally (processor sharing), at a speed that changes over time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from simpy import Environment
from simpy.events import Event

from ..signals import Signal
from .network.alarm import Alarm
from .network.fair_queue import Entry, FairQueue
from .priorities import COMPLETION


@dataclass(frozen=True, slots=True)
class Computed:
    """A computation that is done.

    Attributes
    ----------
    start_s, end_s
        When it started and ended.
    flops
        Its work.
    share_s
        The integral of 1 / n(t) dt over its life, n being the number of jobs running: its part of the processor's
        time. Over all jobs these sum to the time during which the processor had any.
    """

    start_s: float
    end_s: float
    flops: float
    share_s: float


class Computation(Event):
    """A job for a processor; succeeds with :class:`Computed`, unless a subclass says what else happens when it is done.

    Parameters
    ----------
    env
        The SimPy environment.
    flops
        Its work, finite and at least 0.

    Attributes
    ----------
    flops
        Its work.
    start_s
        When it was made, which is when it is started.

    Raises
    ------
    ValueError
        There is no such work.
    """

    entry: Entry | None = None  # its place in the processor's queue, while it runs
    stopped = False
    _queue: FairQueue[Computation]
    _share_from_s = 0.0
    _share_s = 0.0

    def __init__(self, env: Environment, flops: float) -> None:
        if not 0.0 <= flops < math.inf:
            raise ValueError(f"work is finite and at least 0 FLOP, found {flops!r}")
        self.env = env
        self.callbacks = []
        self.flops = self._left = flops
        self.start_s = float(env._now)

    @property
    def done_flops(self) -> float:
        """Work done by now, from 0 to ``flops``; looking changes nothing."""
        return self.flops - (self._left if self.entry is None else min(self.flops, self._queue.left(self)))

    @property
    def share_s(self) -> float:
        """Its part of the processor's time by now, see :class:`Computed`."""
        return self._share_s if self.entry is None else self._queue.shared_s - self._share_from_s

    def finished(self) -> None:
        """All its work is done."""
        self.succeed(Computed(self.start_s, float(self.env.now), self.flops, self._share_s))

    def stop(self) -> float:
        """Stop; the work done by now. A stopped computation is never finished; a finished one stays."""
        self.stopped = True
        if self.entry is not None:
            self._share_s = self.share_s
            self._left = min(self.flops, self._queue.remove(self))
        return self.flops - self._left

    def _end_of_nothing(self, _: Event) -> None:
        if not self.stopped:
            self.finished()


class Processor:
    """Jobs that share a speed equally.

    Parameters
    ----------
    env
        The SimPy environment whose time it lives in.
    speed
        FLOP/s over time; at zero, jobs wait.

    Examples
    --------
    >>> env = Environment()
    >>> processor = Processor(env, 10.0)
    >>> short, long = processor.run(20), processor.run(100)
    >>> env.run(short)
    Computed(start_s=0.0, end_s=4.0, flops=20, share_s=2.0)
    >>> env.run(long)
    Computed(start_s=0.0, end_s=12.0, flops=100, share_s=10.0)
    """

    __slots__ = ("_queue", "env", "speed")

    def __init__(self, env: Environment, speed: Signal | float) -> None:
        self.env = env
        self.speed = speed if isinstance(speed, Signal) else Signal.constant(speed)
        self._queue: FairQueue[Computation] = FairQueue(env, self.speed, _end)

    @property
    def running(self) -> int:
        """How many jobs share it now."""
        return self._queue.count

    def run(self, flops: float) -> Computation:
        """Start a job of ``flops`` floating-point operations; see :meth:`start`."""
        job = Computation(self.env, flops)
        self.start(job)
        return job

    def start(self, job: Computation) -> None:
        """Start a job that has just been made."""
        flops, queue = job.flops, self._queue
        job._queue = queue
        if flops:
            queue.add(job, flops)
            job._share_from_s = queue.shared_s
        else:  # done at this instant, but not before everything else that starts at it
            Alarm(self.env, self.env.now, COMPLETION, job._end_of_nothing)


def _end(jobs: list[Computation]) -> None:
    for job in jobs:  # all of them before anybody is told: who is told of one may ask for the others
        job._left = 0.0
        job._share_s = job._queue.shared_s - job._share_from_s
    for job in jobs:
        if not job.stopped:
            job.finished()
