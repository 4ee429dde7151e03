"""The clock, and bare callbacks in its queue: cheaper than processes, with a priority that says what they mean."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from simpy import Environment
from simpy.events import Event, EventPriority


class Clock(Environment):
    """SimPy's environment, which can also go on for a while and be told that nothing happens until a given time."""

    def advance(self, until_s: float, events: int) -> bool:
        """Let at most ``events`` events happen that are due before ``until_s``; tells whether there may be more."""
        queue = self._queue
        for _ in range(events):
            if not queue or queue[0][0] >= until_s:
                return False
            self._now, _, _, event = heappop(queue)  # what SimPy's `step` does, without a call and a `try` an event
            callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment] # SimPy: processed
            for callback in callbacks:
                callback(event)
            if not event._ok and not event.defused:
                failure = type(event._value)(*event._value.args)
                failure.__cause__ = event._value
                raise failure
        return True

    def jump(self, time_s: float) -> None:
        """Set the time to ``time_s``, where no event is due before that."""
        if self.peek() < time_s or time_s < self.now:
            raise ValueError(f"cannot jump from {self.now} s to {time_s} s")
        self._now = time_s


def wake_at(env: Environment, time_s: float, priority: EventPriority) -> Event:
    """An event that happens at virtual time ``time_s`` (now, if that has passed) with an explicit priority."""
    event = Event(env)
    event._ok = True
    event._value = None
    # What Environment.schedule does, which takes a delay and would round the time twice.
    heappush(env._queue, (max(time_s, env._now), priority, next(env._eid), event))
    return event


def call_at(env: Environment, time_s: float, priority: EventPriority, callback: Callable[[], None]) -> None:
    """Call ``callback()`` at virtual time ``time_s`` (now, if that has passed) with an explicit priority."""

    def fire(_: Event) -> None:
        callback()

    event = wake_at(env, time_s, priority)
    assert event.callbacks is not None
    event.callbacks.append(fire)
