"""Where wall time goes: a clock that is turned from one thing to the next, so that the parts add up to the whole.

What drives a simulation uses it (the run, the work plane, the tables); nothing in virtual time reads the wall clock.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

PARTS = {
    "start": "imports, data, environments, pretraining's submission",
    "world": "virtual time: events, transfers, learners' control flow",
    "plane": "keys of jobs, their order, looking results up",
    "training": "training and pretraining",
    "evaluation": "evaluation and scoring",
    "aggregation": "averages and other models made of models; initial weights",
    "io": "tables, journal, cache",
    "waiting": "for worker processes, and for another run that does the same pretraining",
}
"""What wall time is split into, in the order in which it is told."""


class Stopwatch:
    """Wall time by what it was spent on.

    Parameters
    ----------
    clock
        Seconds of wall time.

    Attributes
    ----------
    now
        What time is spent on at the moment.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Forget everything; time is spent on ``start`` from now on."""
        self.now = "start"
        self._since_s = self._clock()
        self._spent_s = dict.fromkeys(PARTS, 0.0)
        self._elsewhere_s: dict[str, float] = {}

    def elsewhere(self, part: str, seconds: float) -> None:
        """Other processes have spent so much on this, beside what this one does."""
        self._elsewhere_s[part] = self._elsewhere_s.get(part, 0.0) + seconds

    def elsewhere_s(self) -> dict[str, float]:
        """Seconds that other processes spent, by part, in the order of ``PARTS``."""
        return {part: self._elsewhere_s[part] for part in PARTS if part in self._elsewhere_s}

    def turn_to(self, part: str) -> str:
        """Spend time on this from now on, and return what it was spent on so far."""
        now_s = self._clock()
        before = self.now
        self._spent_s[before] += now_s - self._since_s
        self._since_s = now_s
        self.now = part
        return before

    @contextlib.contextmanager
    def on(self, part: str) -> Iterator[None]:
        """Spend time on this inside of the block, and on what it was spent on before afterwards."""
        before = self.turn_to(part)
        try:
            yield
        finally:
            self.turn_to(before)

    def spent_s(self) -> dict[str, float]:
        """Seconds by part, in the order of ``PARTS``; they sum to the time since the last reset."""
        self.turn_to(self.now)
        return dict(self._spent_s)
