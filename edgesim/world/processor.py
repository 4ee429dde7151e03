"""A processor that its running jobs share equally (processor sharing), at a speed that changes over time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from simpy import Environment
from simpy.events import Event

from ..signals import Signal
from .priorities import COMPLETION
from .schedule import call_at


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
        The integral of 1/n(t) over its life, n being the number of jobs running: its part of the processor's
        time. Over all jobs these sum to the time during which the processor had any.
    """

    start_s: float
    end_s: float
    flops: float
    share_s: float


class Computation(Event):
    """A running job; succeeds with :class:`Computed`. See :meth:`Processor.run`."""

    def __init__(self, processor: Processor, flops: float) -> None:
        super().__init__(processor.env)
        self._processor = processor
        self.flops = flops
        self.start_s = float(processor.env.now)
        self._running = False
        self._finish_at = 0.0  # the processor's virtual work at which it is done
        self._share_from = 0.0
        self._done = 0.0
        self._share_s = 0.0

    @property
    def done_flops(self) -> float:
        """Work done by now, at most ``flops``."""
        if not self._running:
            return self._done
        return min(self.flops, max(0.0, self.flops - (self._finish_at - self._processor._now()[0])))

    @property
    def share_s(self) -> float:
        """Its part of the processor's time by now, see :class:`Computed`."""
        if not self._running:
            return self._share_s
        return self._processor._now()[1] - self._share_from

    def cancel(self) -> float:
        """Stop; the work done so far. A cancelled computation never triggers; a finished one stays."""
        if self._running:
            self._processor._cancel(self)
        return self._done


class Processor:
    """Jobs that share a speed equally.

    Parameters
    ----------
    env
        The SimPy environment whose time it lives in.
    speed
        FLOP/s over time; at zero, jobs wait.

    Notes
    -----
    One virtual clock runs at speed / n, so a job's finish on it never moves: an arrival or a departure costs
    O(log n), and a step of the speed costs nothing (its integral is inverted).
    """

    __slots__ = (
        "_alarm",
        "_alarm_s",
        "_at_s",
        "_count",
        "_heap",
        "_order",
        "_shared",
        "_work",
        "env",
        "speed",
    )

    def __init__(self, env: Environment, speed: Signal | float) -> None:
        self.env = env
        self.speed = speed if isinstance(speed, Signal) else Signal.constant(speed)
        self._heap: list[tuple[float, int, Computation]] = []
        self._order = count()
        self._count = 0
        self._at_s: float = env.now
        self._work = 0.0  # each running job's work since the virtual clock started
        self._shared = 0.0  # integral of 1/n
        self._alarm: object = None
        self._alarm_s = math.inf

    @property
    def running(self) -> int:
        """How many jobs share it now."""
        return self._count

    def run(self, flops: float) -> Computation:
        """Start a job of ``flops`` floating-point operations, finite and at least 0.

        Raises
        ------
        ValueError
            Anything else.
        """
        if not 0.0 <= flops < math.inf:
            raise ValueError(f"work is finite and at least 0 FLOP, found {flops!r}")
        job = Computation(self, flops)
        if not flops:
            job.succeed(Computed(job.start_s, job.start_s, flops, 0.0))
            return job
        self._work, self._shared = self._now()
        self._at_s = self.env.now
        if not self._count:
            self._work = self._shared = 0.0
        job._running = True
        job._finish_at = self._work + flops
        job._share_from = self._shared
        self._count += 1
        heappush(self._heap, (job._finish_at, next(self._order), job))
        self._arm()
        return job

    def _now(self) -> tuple[float, float]:
        now = self.env.now
        if not self._count or now <= self._at_s:
            return self._work, self._shared
        each = 1.0 / self._count
        return (
            self._work + self.speed.integral(self._at_s, now) * each,
            self._shared + (now - self._at_s) * each,
        )

    def _cancel(self, job: Computation) -> None:
        done, share_s = job.done_flops, job.share_s
        self._work, self._shared = self._now()
        self._at_s = self.env.now
        job._running, job._done, job._share_s = False, done, share_s
        self._count -= 1
        self._arm()

    def _arm(self) -> None:
        heap = self._heap
        while heap and not heap[0][2]._running:
            heappop(heap)
        if heap:
            due = max(0.0, heap[0][0] - self._work)
            due_s = self.speed.when_integral(self._at_s, due * self._count)
            if due_s < self._alarm_s:
                self._alarm = alarm = object()
                self._alarm_s = due_s
                call_at(self.env, due_s, COMPLETION, lambda: self._wake(alarm))

    def _wake(self, alarm: object) -> None:
        if alarm is not self._alarm:
            return
        self._alarm, self._alarm_s = None, math.inf
        self._work, self._shared = self._now()
        self._at_s = now = float(self.env.now)
        heap = self._heap
        number = self._count
        while heap:
            finish, _, job = heap[0]
            if job._running:
                left = (finish - self._work) * number
                if left > 0.0 and self.speed.when_integral(now, left) > now + 4 * math.ulp(now):
                    break
                job._running = False
                job._done = job.flops
                job._share_s = self._shared - job._share_from
                self._count -= 1
                job.succeed(Computed(job.start_s, now, job.flops, job._share_s))
            heappop(heap)
        self._arm()
