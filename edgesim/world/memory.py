"""A node's memory for training jobs: how much is available follows a signal, and a shrinking one kills jobs."""

from __future__ import annotations

import math
from collections.abc import Callable

from simpy import Environment

from ..errors import OutOfMemory
from ..signals import GaveUp, Signal
from .priorities import ENVIRONMENT
from .schedule import call_at


class Memory:
    """Reservations against an available amount that changes over time.

    Parameters
    ----------
    env
        The SimPy environment.
    available
        Bytes available for training jobs over time: other applications come and go.
    kill
        Called with a job's id when its memory is gone (and already given back).

    Notes
    -----
    When the available memory falls below what is reserved, the youngest jobs are killed until the rest fits.
    One event is armed for the next such moment, none while nothing is reserved.
    """

    __slots__ = ("_armed_for_s", "_env", "_kill", "_reserved", "_steady_bytes", "available", "used_bytes")

    def __init__(self, env: Environment, available: Signal, kill: Callable[[str], None]) -> None:
        self._env = env
        self.available = available
        self._kill = kill
        self._reserved: dict[str, int] = {}
        self._armed_for_s = math.inf
        self._steady_bytes = int(available.lowest) if available.lowest == available.highest else None
        self.used_bytes = 0

    @property
    def available_bytes(self) -> int:
        """Bytes that exist for jobs now, used or not."""
        steady = self._steady_bytes
        return int(self.available.value(self._env.now)) if steady is None else steady

    @property
    def free_bytes(self) -> int:
        """Bytes that a job starting now could take."""
        steady = self._steady_bytes
        return (self.available_bytes if steady is None else steady) - self.used_bytes

    def reserve(self, job_id: str, size_bytes: int) -> int:
        """Take ``size_bytes`` for a job; the bytes that were free before.

        Raises
        ------
        OutOfMemory
            Where that much is not free now; nothing is taken.
        """
        free_bytes = self.free_bytes
        if size_bytes > free_bytes:
            raise OutOfMemory(size_bytes, max(0, free_bytes))
        self._reserved[job_id] = size_bytes
        self.used_bytes += size_bytes
        if self._steady_bytes is None:
            self._arm()
        return free_bytes

    def release(self, job_id: str) -> None:
        """Give back what a job had; nothing where it was killed for lack of memory and has lost it already."""
        self.used_bytes -= self._reserved.pop(job_id, 0)

    def _arm(self) -> None:
        try:
            short_at_s = self.available.first_below(self.used_bytes, self._env.now)
        except GaveUp as search:
            short_at_s = search.time_s  # enough until then; the search goes on when that time comes
        if short_at_s >= self._armed_for_s or math.isinf(short_at_s):
            return
        self._armed_for_s = short_at_s
        call_at(self._env, short_at_s, ENVIRONMENT, self._on_short)

    def _on_short(self) -> None:
        self._armed_for_s = math.inf
        victims = []
        for job_id in reversed(tuple(self._reserved)):
            if self.free_bytes >= 0:
                break
            self.release(job_id)
            victims.append(job_id)
        self._arm()
        for job_id in victims:
            self._kill(job_id)
