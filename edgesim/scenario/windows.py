"""Spans of time in a scenario, once or at regular intervals: outages, absences, background applications."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from edgesim.scenario.base import Spec, repeated
from edgesim.scenario.findings import wrong
from edgesim.scenario.units import TIME, PositiveSeconds, Seconds, format_quantity


class Window(Spec):
    """A span of time, once or at regular intervals."""

    at: Seconds = Field(description="When it starts.", examples=["10 min"])
    duration: PositiveSeconds = Field(alias="for", description="How long it lasts.", examples=["3 min"])
    every: PositiveSeconds | None = Field(default=None, description="Start again after this time.", examples=["1 h"])

    @model_validator(mode="after")
    def _ends_before_it_starts_again(self) -> Self:
        if self.every is not None and self.every <= self.duration:
            period, length = format_quantity(self.every, TIME), format_quantity(self.duration, TIME)
            raise wrong(f"starts again after {period}, before its {length} are over", ("every",))
        return self

    def spans(self, end_s: float) -> tuple[tuple[float, float], ...]:
        """All (start, end) in seconds that start before ``end_s``."""
        return tuple((start, start + self.duration) for start in repeated(self.at, self.every, end_s))


def first_overlap(one: Window, other: Window, limit: int = 10_000) -> float | None:
    """First instant that lies in both windows, or None. Looks at the first ``limit`` repetitions of each."""
    a, b = _starts(one, limit), _starts(other, limit)
    start, against = next(a), next(b)
    try:
        while True:
            if start < against + other.duration and against < start + one.duration:
                return max(start, against)
            if start <= against:
                start = next(a)
            else:
                against = next(b)
    except StopIteration:
        return None


def _starts(window: Window, limit: int) -> Iterator[float]:
    repetitions = 1 if window.every is None else limit
    return (window.at + k * (window.every or 0.0) for k in range(repetitions))


def _apart(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    for later, window in enumerate(windows):
        for earlier, other in enumerate(windows[:later]):
            if (instant := first_overlap(other, window)) is not None:
                at = format_quantity(instant, TIME)
                raise wrong(f"overlaps number {earlier} of this list, at {at}", (later,))
    return windows


Windows = Annotated[tuple[Window, ...], AfterValidator(_apart)]
"""Spans of time that do not overlap."""
