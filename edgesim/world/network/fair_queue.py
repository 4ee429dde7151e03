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

from ...signals import GaveUp, Signal
from ..priorities import COMPLETION
from .alarm import ROUNDING, Alarm

Entry = tuple[float, int, Any]
"""Finish on a virtual clock, order of arrival, the job."""


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
        "_alarms_s",
        "_at_s",
        "_env",
        "_finish",
        "_heap",
        "_lone",
        "_lone_due_s",
        "_order",
        "_served",
        "_shared_s",
        "_steady",
        "capacity",
        "count",
    )

    def __init__(self, env: Environment, capacity: Signal, finish: Callable[[list[J]], None]) -> None:
        self._env = env
        self._finish = finish
        self.capacity = capacity
        self._steady = (
            capacity.lowest if capacity.lowest == capacity.highest else 0.0
        )  # the capacity, if it is constant
        self.count = 0
        self._heap: list[Entry] = []
        self._order = 0
        self._at_s: float = env.now
        self._served = 0.0  # the virtual clock at _at_s: units that each job got since the queue was last empty
        self._shared_s = 0.0  # integral of 1 / n up to _at_s, from the same origin
        self._alarms_s = [math.inf]  # alarms that will ring, the next one last
        self._lone: Entry | None = None  # the only job, as long as nothing has changed since it came: most never share
        self._lone_due_s = math.inf  # when that is done

    @property
    def shared_s(self) -> float:
        """The integral of 1 / n(t) dt over the time with n > 0; its origin moves whenever the queue is empty."""
        return self._shared_s + ((self._env.now - self._at_s) / self.count if self.count else 0.0)

    @property
    def rate(self) -> float:
        """Units per second that each job gets now."""
        return self.capacity.value(self._env.now) / self.count if self.count else 0.0

    def add(self, job: J, amount: float) -> None:
        """Start serving ``job``, which needs ``amount`` units, more than 0."""
        if not self.count:
            self._at_s = now = self._env._now
            self._served = self._shared_s = 0.0
            self._order += 1
            self.count = 1
            job.entry = self._lone = entry = (amount, self._order, job)
            self._heap = [entry]  # what was in it had left
            steady = self._steady
            self._lone_due_s = due_s = now + amount / steady if steady else self._when_due(amount)
            if due_s < self._alarms_s[-1]:
                self._alarms_s.append(due_s)
                Alarm(self._env, due_s, COMPLETION, self._ring)
            return
        self._advance()
        self._lone = None
        self._order += 1
        self.count += 1
        job.entry = entry = (self._served + amount, self._order, job)
        heap = self._heap
        heappush(heap, entry)
        if heap[0] is entry:
            self._arm()

    def remove(self, job: J) -> float:
        """Stop serving ``job``; the units that it still needs."""
        self._advance()
        self._lone = None
        assert job.entry is not None
        left = max(0.0, job.entry[0] - self._served)
        job.entry = None
        self.count -= 1
        if len(self._heap) > 64 + 2 * self.count:
            self._heap = [entry for entry in self._heap if entry[2].entry is entry]
            heapify(self._heap)
        self._arm()
        return left

    def clear(self) -> list[tuple[J, float]]:
        """Stop serving all jobs; each with the units that it still needs, in order of finish."""
        self._advance()
        self._lone = None
        entries = sorted(entry for entry in self._heap if entry[2].entry is entry)
        for _, _, job in entries:
            job.entry = None
        self._heap.clear()
        self.count = 0
        return [(job, max(0.0, due - self._served)) for due, _, job in entries]

    def left(self, job: J) -> float:
        """The units that ``job`` still needs now; looking changes nothing."""
        assert job.entry is not None
        got = self.capacity.integral(self._at_s, self._env.now) / self.count
        return max(0.0, job.entry[0] - self._served - got)

    def _advance(self) -> None:
        now = self._env._now  # not `.now`: asked several times a transfer
        if now > self._at_s:
            if self.count:
                self._served += self.capacity.integral(self._at_s, now) / self.count
                self._shared_s += (now - self._at_s) / self.count
            self._at_s = now

    def _when_due(self, due: float) -> float:
        """When the virtual clock shows ``due`` if nothing changes, give or take its rounding; or earlier."""
        capacity = self.capacity
        try:
            due_s = capacity.when_integral(self._at_s, (due - self._served) * self.count)
            if capacity.lowest < capacity.highest:
                early_s = capacity.when_integral(self._at_s, (due * (1.0 - ROUNDING) - self._served) * self.count)
                if early_s * (1.0 + 1e-9) < due_s:  # what is left is rounding, and an outage lies between
                    return early_s
        except GaveUp as search:
            self._lone = None  # not done then: the search goes on
            return search.time_s
        return due_s

    def _arm(self) -> None:
        heap = self._heap
        while heap and heap[0][2].entry is not heap[0]:
            heappop(heap)
        if heap:
            due_s = self._when_due(heap[0][0])
            if due_s < self._alarms_s[-1]:  # one that rings too early is no loss, and saves setting another
                self._alarms_s.append(due_s)
                Alarm(self._env, due_s, COMPLETION, self._ring)

    def _ring(self, _: Event) -> None:
        self._alarms_s.pop()
        lone, now = self._lone, self._env._now
        if lone is not None and self._lone_due_s <= now:
            self._shared_s += now - self._at_s
            self._at_s = now
            self._lone = None
            self._heap.clear()
            self.count = 0
            job: J = lone[2]
            job.entry = None
            self._finish([job])
            return
        self._advance()
        heap = self._heap
        latest_s = self._at_s * (1.0 + ROUNDING)
        due: list[J] = []
        while heap:
            entry = heap[0]
            job = entry[2]
            if job.entry is entry:
                if self._when_due(entry[0]) > latest_s:
                    break
                due.append(job)
                job.entry = None
            heappop(heap)
        self.count -= len(due)
        self._lone = None
        self._arm()
        if due:
            self._finish(due)
