"""How a quantity that changes over time is written: a constant, steps, or a column of a CSV file.

Owns the three forms, their types in the schema, and how they are written back; ``signal_reading`` reads them.
The signal itself is :class:`edgesim.signals.Signal`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from edgesim.scenario.units import (
    COMPUTE,
    DATA_RATE,
    MEMORY,
    POWER,
    RATE,
    TIME,
    Dimension,
    format_quantity,
    quantity_json_schema,
    with_units,
)

if TYPE_CHECKING:
    from edgesim.signals import Signal


@dataclass(frozen=True, slots=True)
class Constant:
    """The same value at all times, in SI units."""

    value: float

    def signal(self) -> Signal:
        """Make the signal."""
        from edgesim.signals import Signal

        return Signal.constant(self.value)


@dataclass(frozen=True, slots=True)
class Steps:
    """Values from given times on; the last one holds, or everything repeats after ``repeat_s`` seconds."""

    times_s: tuple[float, ...]
    values: tuple[float, ...]
    repeat_s: float | None = None

    def signal(self) -> Signal:
        """Make the signal."""
        from edgesim.signals import Signal

        return Signal.steps(self.times_s, self.values, period_s=self.repeat_s)


@dataclass(frozen=True, slots=True)
class CsvTrace:
    """Two columns of a CSV file with a header line.

    Attributes
    ----------
    path
        Absolute once a scenario is loaded.
    time, value
        The columns' names.
    time_unit, value_unit
        The units that the columns are in, as written.
    time_unit_s, value_unit_si
        The sizes of these units in SI.
    repeat_s
        After how many seconds everything repeats; None where the last value holds.
    """

    path: str
    time: str
    value: str
    time_unit: str
    value_unit: str
    time_unit_s: float
    value_unit_si: float
    repeat_s: float | None = None

    def signal(self) -> Signal:
        """Read the file."""
        from edgesim.signals import Signal

        return Signal.csv(
            self.path,
            time=self.time,
            value=self.value,
            time_unit=self.time_unit_s,
            value_unit=self.value_unit_si,
            period_s=self.repeat_s,
        )


SignalSpec = Constant | Steps | CsvTrace
"""Any of the three forms; each has ``.signal()``."""


@dataclass(frozen=True)
class SignalOf:
    """Annotation for a signal of ``dimension``: ``Annotated[SignalSpec, SignalOf(DATA_RATE)]``."""

    dimension: Dimension

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read any of the three forms; write units back where asked to."""
        from edgesim.scenario.signal_reading import read_signal

        def check(value: object, information: core_schema.ValidationInfo[Any]) -> SignalSpec:
            return read_signal(value, self.dimension, information.context)

        def write(value: SignalSpec, information: core_schema.SerializationInfo[Any]) -> object:
            return write_signal(value, self.dimension) if with_units(information.context) else value

        return core_schema.with_info_plain_validator_function(
            check, serialization=core_schema.plain_serializer_function_ser_schema(write, info_arg=True)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the three forms, for editors."""
        constant, time = quantity_json_schema(self.dimension), quantity_json_schema(TIME)
        repeat = {"description": "Start over after this time.", **time}
        text = {"type": "string"}
        steps = {
            "steps": {
                "description": "From each time on, this value. The first time is 0 s.",
                "type": "object",
                "patternProperties": {time["pattern"]: constant},
                "additionalProperties": False,
                "minProperties": 1,
            },
            "repeat": repeat,
        }
        trace = {
            "csv": {"description": "A CSV file with a header, relative to the scenario.", **text},
            "time": {"description": "The column with the times.", "default": "time", **text},
            "value": {"description": "The column with the values.", "default": "value", **text},
            "time_unit": {"description": "Unit of the times.", "enum": list(TIME.units), "default": "s"},
            "value_unit": {"description": "Unit of the values.", "enum": list(self.dimension.units)},
            "repeat": repeat,
        }
        forms = [
            {"type": "object", "properties": keys, "required": required, "additionalProperties": False}
            for keys, required in ((steps, ["steps"]), (trace, ["csv", "value_unit"]))
        ]
        return {"anyOf": [constant, *forms]}


def write_signal(spec: SignalSpec, dimension: Dimension) -> object:
    """Write a signal the way a scenario file says it."""
    if isinstance(spec, Constant):
        return format_quantity(spec.value, dimension)
    repeat = {} if spec.repeat_s is None else {"repeat": format_quantity(spec.repeat_s, TIME)}
    if isinstance(spec, Steps):
        steps = {
            format_quantity(time_s, TIME): format_quantity(value, dimension)
            for time_s, value in zip(spec.times_s, spec.values, strict=True)
        }
        return {"steps": steps, **repeat}
    keys = ("time", "value", "time_unit", "value_unit")
    return {"csv": spec.path, **{key: getattr(spec, key) for key in keys}, **repeat}


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
