"""The clock, and bare callbacks in its queue: cheaper than processes, with a priority that says what they mean."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop

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


def call_at(env: Environment, time_s: float, priority: EventPriority, callback: Callable[[], None]) -> None:
    """Call ``callback()`` at virtual time ``time_s`` (now, if that has passed) with an explicit priority."""

    def fire(_: Event) -> None:
        callback()

    event = Event(env)
    assert event.callbacks is not None
    event.callbacks.append(fire)
    event._ok = True
    event._value = None
    env.schedule(event, priority=priority, delay=max(0.0, time_s - env.now))
