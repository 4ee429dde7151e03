"""One callback at one instant of virtual time: the cheapest event there is, and exactly on time."""

from __future__ import annotations

import math
from collections.abc import Callable

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
        now = env.now
        if time_s > now:
            delay_s = time_s - now
            if now + delay_s != time_s:  # SimPy adds the delay to the time: undo the rounding of both
                delay_s = math.nextafter(delay_s, 0.0 if now + delay_s > time_s else math.inf)
            env.schedule(self, priority, delay_s)
        else:
            env.schedule(self, priority)
