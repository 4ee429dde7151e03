"""Which of the pending jobs can run now, lowest number first, by group: jobs of one group are computed together.

What nobody waits for, such as evaluations, is computed last where it is computed in batches: more of it is there then.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import final

from .graph import Group, Job, JobHandle

Heap = list[tuple[int, Job]]


@final
class Schedule:
    """The jobs of one flush: how many inputs each still waits for, and those that wait for none.

    Parameters
    ----------
    pending
        Jobs. An input that is not settled belongs to one of them.
    """

    def __init__(self, pending: Iterable[Job]) -> None:
        self._missing: dict[Job, int] = {}
        self._needed_by: dict[Job, list[Job]] = {}
        self._ready: dict[Group, Heap] = {}
        self._last: dict[Group, Heap] = {}  # ready, computed in batches, and nobody waits for them
        self._twins: dict[str, list[Job]] = {}
        free: list[Job] = []
        needed_by = self._needed_by
        for job in pending:
            missing = 0
            for value in job.inputs:
                if type(value) is JobHandle and (needed := value.job) is not None:
                    missing += 1
                    if needed in needed_by:
                        needed_by[needed].append(job)
                    else:
                        needed_by[needed] = [job]
            if missing:
                self._missing[job] = missing
            else:
                free.append(job)
        for job in free:
            self._add(job)

    def pop(self, group: Group | None = None) -> Job | None:
        """Take out the ready job with the lowest number, of all groups or of one; None where there is none."""
        ready = self._ready or self._last
        if group is None:
            if not ready:
                return None
            group = next(iter(ready)) if len(ready) == 1 else min(ready, key=lambda group: ready[group][0][0])
        elif group not in ready:
            ready = self._last
        heap = ready.get(group)
        if heap is None:
            return None
        job = heapq.heappop(heap)[1]
        if not heap:
            del ready[group]
        return job

    def ready(self, group: Group) -> int:
        """How many jobs of a group are ready."""
        return len(self._ready.get(group, ())) + len(self._last.get(group, ()))

    def run(self, key: str) -> None:
        """A job with this key runs from now on."""
        self._twins[key] = []

    def waits_for_twin(self, job: Job, key: str) -> bool:
        """Whether a job with this key runs at the moment: then this one is ready again when that one has finished."""
        twins = self._twins.get(key)
        if twins is None:
            return False
        twins.append(job)
        return True

    def finished(self, job: Job) -> None:
        """A job has been settled: what waited for it alone is ready now."""
        missing = self._missing
        for waiting in self._needed_by.pop(job, ()):
            missing[waiting] -= 1
            if not missing[waiting]:
                self._add(waiting)
        for twin in self._twins.pop(job.key, ()) if job.key is not None else ():
            self._add(twin)

    def _add(self, job: Job) -> None:
        group = job.group()
        ready = self._ready if group is None or job in self._needed_by else self._last
        heapq.heappush(ready.setdefault(group, []), (job.number, job))
