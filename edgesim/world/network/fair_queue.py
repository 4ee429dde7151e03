"""Equal sharing of one capacity: what a processor is to its jobs, and a path to the transfers that have it alone.

A virtual clock runs at capacity / n. A job's finish on that clock never moves, so an arrival or a departure costs
O(log n); steps of the capacity cost nothing, because its integral is inverted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Generic, Protocol, TypeVar

from simpy import Environment
from simpy.events import Event

from ...signals import Signal
from ..priorities import COMPLETION
from .alarm import Alarm
from .exact import plus

Entry = tuple[float, float, int, Any]
"""Finish on a virtual clock (high and low part), order of arrival, the job."""

ULPS = 4.0
"""What is due within so many units in the last place of the time is due now: the rounding of a wake-up's own time."""


class Shared(Protocol):
    """What can be queued. ``entry`` is its place, ``None`` while it is in no queue."""

    entry: Entry | None


J = TypeVar("J", bound=Shared)


class FairQueue(Generic[J]):
    """Jobs that share ``capacity`` (units per second) equally.

    Parameters
    ----------
    env
        The SimPy environment.
    capacity
        Never negative; at zero, jobs wait.
    finish
        Called with the jobs that are done, at that instant, in order of finish, then of arrival.
    """

    __slots__ = (
        "_alarm",
        "_alarm_s",
        "_at_s",
        "_env",
        "_finish",
        "_heap",
        "_low",
        "_order",
        "_served",
        "_shared_s",
        "capacity",
        "count",
    )

    def __init__(self, env: Environment, capacity: Signal, finish: Callable[[list[J]], None]) -> None:
        self._env = env
        self._finish = finish
        self.capacity = capacity
        self.count = 0
        self._heap: list[Entry] = []
        self._order = 0
        self._at_s = float(env.now)
        self._served = self._low = 0.0  # the virtual clock at _at_s: units that each job got so far
        self._shared_s = 0.0  # integral of 1 / n up to _at_s
        self._alarm: Event | None = None
        self._alarm_s = math.inf

    @property
    def shared_s(self) -> float:
        """The integral of 1 / n(t) dt over the time with n > 0; its origin moves whenever the queue is empty."""
        return self._shared_s + ((self._env.now - self._at_s) / self.count if self.count else 0.0)

    def add(self, job: J, amount: float) -> None:
        """Start serving ``job``, which needs ``amount`` units, more than 0."""
        self._advance()
        if not self.count:
            self._served = self._low = self._shared_s = 0.0
        self._order += 1
        self.count += 1
        job.entry = entry = (*plus(self._served, self._low, amount), self._order, job)
        heap = self._heap
        heappush(heap, entry)
        if heap[0] is entry:
            self._arm()

    def remove(self, job: J) -> float:
        """Stop serving ``job``; the units that it still needs."""
        self._advance()
        assert job.entry is not None
        left = self._left(job.entry)
        job.entry = None
        self.count -= 1
        if len(self._heap) > 64 + 2 * self.count:
            self._heap = [entry for entry in self._heap if entry[3].entry is entry]
            heapify(self._heap)
        self._arm()
        return left

    def clear(self) -> list[tuple[J, float]]:
        """Stop serving all jobs; each with the units that it still needs, in no particular order."""
        self._advance()
        left = [(entry[3], self._left(entry)) for entry in self._heap if entry[3].entry is entry]
        for job, _ in left:
            job.entry = None
        self._heap.clear()
        self.count = 0
        return left

    def left(self, job: J) -> float:
        """The units that ``job`` still needs now; looking changes nothing."""
        assert job.entry is not None
        got = self.capacity.integral(self._at_s, self._env.now) / self.count
        return max(0.0, self._left(job.entry) - got)

    def _left(self, entry: Entry) -> float:
        return max(0.0, (entry[0] - self._served) + (entry[1] - self._low))

    def _advance(self) -> None:
        now = self._env.now
        if now > self._at_s:
            if self.count:
                got = self.capacity.integral(self._at_s, now) / self.count
                self._served, self._low = plus(self._served, self._low, got)
                self._shared_s += (now - self._at_s) / self.count
            self._at_s = float(now)

    def _arm(self) -> None:
        heap = self._heap
        while heap and heap[0][3].entry is not heap[0]:
            heappop(heap)
        if heap:
            due_s = self.capacity.when_integral(self._at_s, self._left(heap[0]) * self.count)
            if due_s < self._alarm_s:
                self._alarm_s = due_s
                self._alarm = Alarm(self._env, due_s, COMPLETION, self._ring)

    def _ring(self, alarm: Event) -> None:
        if alarm is not self._alarm:
            return
        self._alarm, self._alarm_s = None, math.inf
        self._advance()
        now, heap = self._at_s, self._heap
        latest_s = now + ULPS * math.ulp(now)
        due: list[J] = []
        while heap:
            entry = heap[0]
            job = entry[3]
            if job.entry is entry:
                if self.capacity.when_integral(now, self._left(entry) * self.count) > latest_s:
                    break
                due.append(job)
                job.entry = None
            heappop(heap)
        self.count -= len(due)
        self._arm()
        if due:
            self._finish(due)
