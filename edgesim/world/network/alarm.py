"""One callback at one instant of virtual time: the cheapest event there is, and exactly on time."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappush

from simpy import Environment
from simpy.events import Event, EventPriority

ROUNDING = 16 * 2.0**-52
"""Relative: what is due within this much of a time or of a clock is due now. A wake-up's time is rounded, and so are
the few sums that lead to it; without this, what ends at the very instant at which an outage starts would wait."""


class Alarm(Event):
    """Calls ``ring(alarm)`` at ``time_s``, or now if that has passed; whoever no longer wants it ignores it.

    An alarm is never taken out of SimPy's queue: its owner remembers the one that counts and compares.
    """

    _ok = True  # it is triggered from the start, like SimPy's Timeout
    _value = None

    def __init__(self, env: Environment, time_s: float, priority: EventPriority, ring: Callable[[Event], None]) -> None:
        self.env = env
        self.callbacks = [ring]
        now = env._now
        # What Environment.schedule does, which takes a delay and would round the time twice.
        heappush(env._queue, (time_s if time_s > now else now, priority, next(env._eid), self))
