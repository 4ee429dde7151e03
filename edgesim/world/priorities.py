"""The order of events at one instant: the one table of priorities, lowest first.

SimPy orders its queue by (time, priority, insertion). What an event *means* decides its priority, so that no result
hangs on which process happened to be created first.
"""

from __future__ import annotations

from simpy.events import EventPriority

ENVIRONMENT = EventPriority(0)  # drift, availability, memory: the world changes before anybody acts on it
COMPLETION = EventPriority(1)  # SimPy's NORMAL: transfers and computations end, verbs deliver their values
LEARNER = EventPriority(2)  # a learner's sleep ends: it sees all that completed at this instant
SETTLE = EventPriority(3)  # rates are recomputed once, after everything that started or ended at this instant
