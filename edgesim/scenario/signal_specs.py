"""How a quantity that changes over time is written: a constant, steps, a recording, a random process, ...

Owns what all forms have in common, the simple forms, and the annotation of a quantity over time; recordings are in
``trace_specs``, random processes in ``generator_specs``, and ``signal_reading`` reads them all. The signal itself is
:class:`edgesim.signals.Signal`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from edgesim.scenario.distributions import Distribution, distribution_json_schemas, write_distribution
from edgesim.scenario.units import (
    COMPUTE,
    DATA_RATE,
    MEMORY,
    POWER,
    RATE,
    TIME,
    Dimension,
    Quantity,
    format_quantity,
    quantity_json_schema,
    with_units,
)

if TYPE_CHECKING:
    import numpy as np

    from edgesim.signals import Signal


@dataclass(frozen=True, slots=True)
class Own:
    """What is a device's own, where a signal differs from device to device.

    Attributes
    ----------
    device
        Its name.
    quantity
        Which of its signals this is: ``uplink``, ``compute``, ...
    seed
        Of the environment.
    horizon_s
        Nothing after this matters.
    number
        Its uniform number in [0, 1) for this quantity.
    start, file
        Where in its recordings it starts, as a share of them, and which of several files it gets: the same numbers for
        all of a device's recordings, so that those made together stay together.
    cell
        The value that the table of the population gives it, in SI units.
    """

    device: str
    quantity: str
    seed: int
    horizon_s: float
    number: float
    start: float
    file: float
    cell: float | None = None

    def stream(self) -> np.random.Generator:
        """The device's random stream for this quantity: the same whoever asks."""
        from edgesim.seeds import stream

        return stream(self.seed, "signal", self.quantity, self.device)


Maker = Callable[[Own], "Signal"]
"""Makes one device's signal."""


class SignalSpec(ABC):
    """How a signal is written. What follows from the file alone is done once, in :meth:`maker`."""

    __slots__ = ()

    @property
    def individual(self) -> bool:
        """Whether each device has a signal of its own."""
        return False

    @abstractmethod
    def maker(self) -> Maker:
        """What makes the signal of each device; where they are all the same, the same object."""

    @abstractmethod
    def write(self, dimension: Dimension) -> object:
        """Write it the way a scenario file says it."""

    def signal(self) -> Signal:
        """The signal that all devices share.

        Raises
        ------
        TypeError
            Each device has its own.
        """
        if self.individual:
            raise TypeError(f"{type(self).__name__} is another signal for each device: use maker()")
        return self.maker()(_NOBODY)


_NOBODY = Own("", "", 0, 0.0, 0.0, 0.0, 0.0)


def shared(signal: Signal) -> Maker:
    """Give the same signal to every device."""
    return lambda own: signal


@dataclass(frozen=True, slots=True)
class Constant(SignalSpec):
    """The same value at all times, in SI units."""

    value: float

    def maker(self) -> Maker:
        """Make the signal."""
        from edgesim.signals import Signal

        return shared(Signal.constant(self.value))

    def write(self, dimension: Dimension) -> object:
        """Write the quantity."""
        return format_quantity(self.value, dimension)


@dataclass(frozen=True, slots=True)
class Steps(SignalSpec):
    """Values from given times on; the last one holds, or everything repeats after ``repeat_s`` seconds."""

    times_s: tuple[float, ...]
    values: tuple[float, ...]
    repeat_s: float | None = None

    def maker(self) -> Maker:
        """Make the signal."""
        from edgesim.signals import Signal

        return shared(Signal.steps(self.times_s, self.values, period_s=self.repeat_s))

    def write(self, dimension: Dimension) -> object:
        """Write the times and values."""
        steps = {
            format_quantity(time_s, TIME): format_quantity(value, dimension)
            for time_s, value in zip(self.times_s, self.values, strict=True)
        }
        return {"steps": steps, **write_repeat(self.repeat_s)}


@dataclass(frozen=True, slots=True)
class Drawn(SignalSpec):
    """A constant of each device's own."""

    distribution: Distribution

    @property
    def individual(self) -> bool:
        """It is."""
        return True

    def maker(self) -> Maker:
        """Look each device's number up in the distribution."""
        from edgesim.signals import Signal

        return lambda own: Signal.constant(self.distribution.at(own.number))

    def write(self, dimension: Dimension) -> object:
        """Write the distribution."""
        return write_distribution(self.distribution, lambda value: format_quantity(value, dimension))


@dataclass(frozen=True, slots=True)
class FromPopulation(SignalSpec):
    """A constant from the table of the group's ``population``; never written, the population says it."""

    @property
    def individual(self) -> bool:
        """It is."""
        return True

    def maker(self) -> Maker:
        """Take each device's cell."""
        from edgesim.signals import Signal

        def make(own: Own) -> Signal:
            assert own.cell is not None, "the population has this column"
            return Signal.constant(own.cell)

        return make

    def write(self, dimension: Dimension) -> object:
        """Write nothing."""
        return None


def write_repeat(repeat_s: float | None) -> dict[str, object]:
    """Write the key ``repeat``, if there is anything to say."""
    return {} if repeat_s is None else {"repeat": format_quantity(repeat_s, TIME)}


@dataclass(frozen=True)
class SignalOf:
    """Annotation for a signal of ``dimension``: ``Annotated[SignalSpec, SignalOf(DATA_RATE)]``."""

    dimension: Dimension

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read any of the forms; write units back where asked to."""
        from edgesim.scenario.signal_reading import read_signal

        def check(value: object, information: core_schema.ValidationInfo[Any]) -> SignalSpec:
            return read_signal(value, self.dimension, information.context)

        def write(value: SignalSpec, information: core_schema.SerializationInfo[Any]) -> object:
            return value.write(self.dimension) if with_units(information.context) else value

        return core_schema.with_info_plain_validator_function(
            check, serialization=core_schema.plain_serializer_function_ser_schema(write, info_arg=True)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the forms, for editors."""
        from edgesim.scenario.signal_reading import signal_json_schemas

        constant, time = quantity_json_schema(self.dimension), quantity_json_schema(TIME)
        steps = {
            "steps": {
                "description": "From each time on, this value. The first time is 0 s.",
                "type": "object",
                "patternProperties": {time["pattern"]: constant},
                "additionalProperties": False,
                "minProperties": 1,
            },
            "repeat": {"description": "Start over after this time.", **time},
        }
        form = {"type": "object", "properties": steps, "required": ["steps"], "additionalProperties": False}
        drawn = distribution_json_schemas(Annotated[float, Quantity(self.dimension)])
        forms = [constant, form, *signal_json_schemas(self.dimension), *drawn]
        return {"x-definition": f"{self.dimension.name} over time", "anyOf": forms}


BytesPerSecondSignal = Annotated[SignalSpec, SignalOf(DATA_RATE)]
"""A data rate over time, bytes per second."""
FlopsPerSecondSignal = Annotated[SignalSpec, SignalOf(COMPUTE)]
"""A compute speed over time, FLOP/s."""
BytesSignal = Annotated[SignalSpec, SignalOf(MEMORY)]
"""Memory over time, bytes."""
PowerSignal = Annotated[SignalSpec, SignalOf(POWER)]
"""A power over time, watts."""
PerSecondSignal = Annotated[SignalSpec, SignalOf(RATE)]
"""A rate over time, per second."""
