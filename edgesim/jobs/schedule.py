"""Which of the pending jobs can run now, lowest number first, by group: jobs of one group are computed together."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import final

from .graph import Group, Job, JobHandle


@final
class Schedule:
    """The jobs of one flush: how many inputs each still waits for, and those that wait for none.

    Parameters
    ----------
    pending
        Jobs. An input that is not settled belongs to one of them.
    """

    def __init__(self, pending: Iterable[Job]) -> None:
        self._jobs = {job.number: job for job in pending}
        self._missing: dict[int, int] = {}
        self._needed_by: dict[Job, list[int]] = {}
        self._ready: dict[Group, list[int]] = {}
        self._twins: dict[str, list[int]] = {}
        for number, job in self._jobs.items():
            missing = {value.job for value in job.inputs if type(value) is JobHandle and value.job is not None}
            for needed in missing:
                self._needed_by.setdefault(needed, []).append(number)
            if missing:
                self._missing[number] = len(missing)
            else:
                self._add(number)

    def pop(self, group: Group | None = None) -> Job | None:
        """Take out the ready job with the lowest number, of all groups or of one; None where there is none."""
        if group is None and self._ready:
            group = min(self._ready, key=lambda group: self._ready[group][0])
        heap = self._ready.get(group)
        if heap is None:
            return None
        number = heapq.heappop(heap)
        if not heap:
            del self._ready[group]
        return self._jobs.pop(number)

    def ready(self, group: Group) -> int:
        """How many jobs of a group are ready."""
        return len(self._ready.get(group, ()))

    def run(self, key: str) -> None:
        """A job with this key runs from now on."""
        self._twins[key] = []

    def waits_for_twin(self, job: Job, key: str) -> bool:
        """Whether a job with this key runs at the moment: then this one is ready again when that one has finished."""
        twins = self._twins.get(key)
        if twins is None:
            return False
        twins.append(job.number)
        self._jobs[job.number] = job
        return True

    def finished(self, job: Job) -> None:
        """A job has been settled: what waited for it alone is ready now."""
        for number in self._needed_by.pop(job, ()):
            self._missing[number] -= 1
            if not self._missing[number]:
                self._add(number)
        for number in self._twins.pop(job.key, ()) if job.key is not None else ():
            self._add(number)

    def _add(self, number: int) -> None:
        heapq.heappush(self._ready.setdefault(self._jobs[number].group(), []), number)
