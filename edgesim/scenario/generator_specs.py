"""Random processes as signals: jumps between states, a bounded walk, the course of a day, on and off.

Owns the four forms, how they are read from a scenario and written back; the processes are in :mod:`edgesim.traces`.
Each device draws from its own stream, when its signal is first looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, MinLen
from pydantic import Field, create_model

from edgesim.scenario.base import Flag, NotNegative, Spec, WholeNumber
from edgesim.scenario.findings import Finding, several, wrong
from edgesim.scenario.signal_specs import Maker, Own, SignalSpec, shared
from edgesim.scenario.units import TIME, Dimension, PositiveSeconds, Quantity, Seconds, format_quantity

if TYPE_CHECKING:
    from edgesim.signals import Signal

FORMS = ("markov", "random_walk", "diurnal", "on_off")
"""The keys that name a random process."""


@dataclass(frozen=True, slots=True)
class Markov(SignalSpec):
    """A value that jumps between states and stays in each for an exponentially distributed time.

    ``transitions[i][j]`` is the probability of jumping from state i to state j; None: to any other, equally.
    """

    states: tuple[float, ...]
    mean_holding_s: tuple[float, ...]
    transitions: tuple[tuple[float, ...], ...] | None = None

    @property
    def individual(self) -> bool:
        """It is."""
        return True

    def maker(self) -> Maker:
        """Draw from each device's stream."""
        from edgesim.signals import Deferred
        from edgesim.traces import markov_modulated

        states = list(zip(self.states, self.mean_holding_s, strict=True))

        def make(own: Own) -> Signal:
            return markov_modulated(own.stream(), states, duration_s=own.horizon_s, transitions=self.transitions)

        return lambda own: Deferred(lambda: make(own))

    def write(self, dimension: Dimension) -> object:
        """Write the keys."""
        holding = [format_quantity(time_s, TIME) for time_s in self.mean_holding_s]
        keys: dict[str, object] = {
            "states": [format_quantity(value, dimension) for value in self.states],
            "mean_holding": holding[0] if len(set(holding)) == 1 else holding,
        }
        if self.transitions is not None:
            keys["transitions"] = [list(row) for row in self.transitions]
        return {"markov": keys}


@dataclass(frozen=True, slots=True)
class RandomWalk(SignalSpec):
    """A value that moves by a normal step every interval, reflected at its bounds."""

    low: float
    high: float
    step: float
    every_s: float
    start: float | None = None

    @property
    def individual(self) -> bool:
        """It is."""
        return True

    def maker(self) -> Maker:
        """Draw from each device's stream."""
        from edgesim.signals import Deferred
        from edgesim.traces import random_walk

        def make(own: Own) -> Signal:
            return random_walk(
                own.stream(),
                low=self.low,
                high=self.high,
                step=self.step,
                interval_s=self.every_s,
                duration_s=own.horizon_s,
                start=self.start,
            )

        return lambda own: Deferred(lambda: make(own))

    def write(self, dimension: Dimension) -> object:
        """Write the keys."""
        keys: dict[str, object] = {name: format_quantity(getattr(self, name), dimension) for name in ("low", "high")}
        keys |= {"step": format_quantity(self.step, dimension), "every": format_quantity(self.every_s, TIME)}
        if self.start is not None:
            keys["start"] = format_quantity(self.start, dimension)
        return {"random_walk": keys}


@dataclass(frozen=True, slots=True)
class Diurnal(SignalSpec):
    """A day: a cosine between two values, in steps, with noise of each device's own if wanted."""

    low: float
    high: float
    peak_s: float = 0.0
    period_s: float = 86400.0
    steps: int = 48
    noise: float = 0.0
    random_start: bool = False

    @property
    def individual(self) -> bool:
        """Whether devices have their own noise or their own time of the day."""
        return bool(self.noise) or self.random_start

    def maker(self) -> Maker:
        """Make the day, or draw each device's."""
        from edgesim.signals import Deferred, rotated
        from edgesim.traces import diurnal

        def day(own: Own | None) -> Signal:
            return diurnal(
                own.stream() if own is not None and self.noise else None,
                low=self.low,
                high=self.high,
                peak_s=self.peak_s,
                period_s=self.period_s,
                steps=self.steps,
                noise_ratio=self.noise,
            )

        def started(own: Own, signal: Signal) -> Signal:
            return rotated(signal, own.start * self.period_s) if self.random_start else signal

        if self.noise:
            return lambda own: Deferred(lambda: started(own, day(own)))
        common = day(None)
        return (lambda own: started(own, common)) if self.random_start else shared(common)

    def write(self, dimension: Dimension) -> object:
        """Write the keys."""
        return {
            "diurnal": {
                "low": format_quantity(self.low, dimension),
                "high": format_quantity(self.high, dimension),
                "peak": format_quantity(self.peak_s, TIME),
                "period": format_quantity(self.period_s, TIME),
                "steps": self.steps,
                "noise": self.noise,
                "random_start": self.random_start,
            }
        }


@dataclass(frozen=True, slots=True)
class OnOffSignal(SignalSpec):
    """One value and another in turn, each for an exponentially distributed time."""

    on: float
    off: float
    mean_on_s: float
    mean_off_s: float

    @property
    def individual(self) -> bool:
        """It is."""
        return True

    def maker(self) -> Maker:
        """Draw from each device's stream."""
        return Markov((self.on, self.off), (self.mean_on_s, self.mean_off_s)).maker()

    def write(self, dimension: Dimension) -> object:
        """Write the keys."""
        return {
            "on_off": {
                "on": format_quantity(self.on, dimension),
                "off": format_quantity(self.off, dimension),
                "mean_on": format_quantity(self.mean_on_s, TIME),
                "mean_off": format_quantity(self.mean_off_s, TIME),
            }
        }


@cache
def generator_model(form: str, dimension: Dimension) -> type[Spec]:
    """The keys of one form, as pydantic checks and describes them."""
    value = Annotated[float, Quantity(dimension)]
    example = dimension.example
    low = (value, Field(description="The least value.", examples=[example]))
    high = (value, Field(description="The greatest value.", examples=[example]))
    of: dict[str, dict[str, Any]] = {
        "markov": {
            "states": (Annotated[tuple[value, ...], MinLen(2)], Field(description="The values it jumps between.")),
            "mean_holding": (
                PositiveSeconds | tuple[PositiveSeconds, ...],
                Field(description="How long it stays in a state, on average; one time or one a state."),
            ),
            "transitions": (
                tuple[tuple[NotNegative, ...], ...] | None,
                Field(
                    default=None,
                    description="A row a state: the probabilities of going to each. By default all others, equally.",
                ),
            ),
        },
        "random_walk": {
            "low": low,
            "high": high,
            "step": (value, Field(description="Standard deviation of one step.", examples=[example])),
            "every": (PositiveSeconds, Field(description="Time between two steps.", examples=["10 s"])),
            "start": (value | None, Field(default=None, description="The first value; by default anywhere.")),
        },
        "diurnal": {
            "low": low,
            "high": high,
            "peak": (Seconds, Field(default=0.0, description="When it is highest.", examples=["20 h"])),
            "period": (PositiveSeconds, Field(default=86400.0, description="How long a day is.", examples=["24 h"])),
            "steps": (Annotated[WholeNumber, Ge(2)], Field(default=48, description="Pieces of a day.")),
            "noise": (
                NotNegative,
                Field(default=0.0, description="Standard deviation of the logarithm of each piece, around mean 1."),
            ),
            "random_start": (Flag, Field(default=False, description="Each device has its own time of the day.")),
        },
        "on_off": {
            "on": (value, Field(description="The value while it is on.", examples=[example])),
            "off": (value, Field(default=0.0, description="The value while it is off.", examples=[example])),
            "mean_on": (PositiveSeconds, Field(description="How long it is on, on average.", examples=["5 min"])),
            "mean_off": (PositiveSeconds, Field(description="How long it is off, on average.", examples=["1 min"])),
        },
    }
    described = {
        "markov": "Jumps between states at random.",
        "random_walk": "A random walk between two bounds.",
        "diurnal": "The course of a day.",
        "on_off": "One value and another in turn, at random.",
    }
    inner = create_model(form, __base__=Spec, **of[form])
    outer: dict[str, Any] = {form: (inner, Field(description=described[form]))}
    return create_model("Generator", __base__=Spec, **outer)


def read_generator(form: str, keys: Any, dimension: Dimension) -> SignalSpec:
    """Make a random process of checked keys.

    Raises
    ------
    PydanticCustomError
        With everything that is wrong.
    """
    content = getattr(keys, form)
    if form == "markov":
        return _markov(content)
    if form == "on_off":
        return OnOffSignal(content.on, content.off, content.mean_on, content.mean_off)
    if content.low > content.high:
        raise wrong("is less than `low`", (form, "high"))
    if form == "random_walk" and content.low == content.high:
        raise wrong("is not more than `low`: there is no room to walk", (form, "high"))
    if form == "diurnal":
        return Diurnal(
            content.low,
            content.high,
            content.peak,
            content.period,
            content.steps,
            content.noise,
            content.random_start,
        )
    if content.start is not None and not content.low <= content.start <= content.high:
        raise wrong("lies outside of `low` and `high`", (form, "start"))
    return RandomWalk(content.low, content.high, content.step, content.every, content.start)


def _markov(content: Any) -> Markov:
    number = len(content.states)
    holding = content.mean_holding
    if isinstance(holding, tuple):
        if len(holding) != number:
            raise wrong(f"expected one time, or {number}: one for each state", ("markov", "mean_holding"))
    else:
        holding = (holding,) * number
    if content.transitions is not None:
        _check_transitions(content.transitions, number)
    return Markov(content.states, holding, content.transitions)


def _check_transitions(rows: Sequence[Sequence[float]], number: int) -> None:
    if len(rows) != number:
        raise wrong(f"expected {number} rows, one for each state", ("markov", "transitions"))
    findings = []
    for index, row in enumerate(rows):
        path = ("markov", "transitions", index)
        if len(row) != number:
            findings.append(Finding(path, f"expected {number} probabilities, one for each state"))
        elif row[index] != 0.0:
            findings.append(Finding((*path, index), "a state does not jump to itself: write 0"))
        elif abs(sum(row) - 1.0) > 1e-9:
            findings.append(Finding(path, f"probabilities sum to {sum(row):g}, not to 1"))
    if findings:
        raise several(findings)
