"""How a quantity that changes over time is written: a constant, steps, or a column of a CSV file.

Owns the text forms and their mistakes. The signal itself is :class:`edgesim.signals.Signal`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from edgesim.scenario.findings import Finding, did_you_mean, found, several, wrong
from edgesim.scenario.paths import resolved
from edgesim.scenario.units import (
    COMPUTE,
    DATA_RATE,
    MEMORY,
    RATE,
    TIME,
    Dimension,
    format_quantity,
    quantity_json_schema,
    read,
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
    """Two columns of a CSV file with a header line; ``path`` is absolute once a scenario is loaded.

    ``time_unit_s`` and ``value_unit_si`` are the SI sizes of the units that the columns are in.
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

_CSV_KEYS = ("csv", "time", "value", "time_unit", "value_unit", "repeat")


@dataclass(frozen=True)
class SignalOf:
    """Annotation for a signal of ``dimension``: ``Annotated[SignalSpec, SignalOf(DATA_RATE)]``."""

    dimension: Dimension

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read any of the three forms; write units back where asked to."""

        def check(value: object, information: core_schema.ValidationInfo[Any]) -> SignalSpec:
            return read_signal(value, self.dimension, information.context)

        def write(value: SignalSpec, information: core_schema.SerializationInfo[Any]) -> object:
            return write_signal(value, self.dimension) if with_units(information.context) else value

        return core_schema.with_info_plain_validator_function(
            check, serialization=core_schema.plain_serializer_function_ser_schema(write, info_arg=True)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Describe the three forms, for editors."""
        constant, time = quantity_json_schema(self.dimension), quantity_json_schema(TIME)
        units = list(self.dimension.units)
        steps = {
            "type": "object",
            "properties": {
                "steps": {
                    "description": "From each time on, this value. The first time is 0 s.",
                    "type": "object",
                    "patternProperties": {time["pattern"]: constant},
                    "additionalProperties": False,
                    "minProperties": 1,
                },
                "repeat": {"description": "Start over after this time.", **time},
            },
            "required": ["steps"],
            "additionalProperties": False,
        }
        trace = {
            "type": "object",
            "properties": {
                "csv": {"description": "The file, relative to the scenario.", "type": "string"},
                "time": {"description": "The column with the times.", "type": "string", "default": "time"},
                "value": {"description": "The column with the values.", "type": "string", "default": "value"},
                "time_unit": {"description": "Unit of the times.", "enum": list(TIME.units), "default": "s"},
                "value_unit": {"description": "Unit of the values.", "enum": units},
                "repeat": {"description": "Start over after this time.", **time},
            },
            "required": ["csv", "value_unit"],
            "additionalProperties": False,
        }
        return {"anyOf": [constant, steps, trace]}


def read_signal(value: object, dimension: Dimension, context: Any) -> SignalSpec:
    """Read a signal from what a scenario file says, or from SI numbers where it comes from Python."""
    if isinstance(value, Constant | Steps | CsvTrace):
        return value
    if not isinstance(value, Mapping):
        return Constant(float(read(value, dimension, context)))
    if "csv" in value:
        return _read_csv(value, dimension, context)
    if "steps" in value:
        return _read_steps(value, dimension, context)
    keys = ", ".join(repr(str(key)) for key in value) or "nothing"
    raise wrong(
        f"found a mapping with {keys}: {dimension} over time is a constant ({dimension.example!r}), "
        "steps ({steps: {0 s: ..., 5 min: ...}}) or a file ({csv: trace.csv, ...})"
    )


def _read_steps(value: Mapping[Any, Any], dimension: Dimension, context: Any) -> Steps:
    findings = _unknown_keys(value, ("steps", "repeat"))
    repeat_s = _repeat(value, context, findings)
    steps = value["steps"]
    if not isinstance(steps, Mapping) or not steps:
        findings.append(
            Finding(("steps",), f"found {found(steps)} where a mapping from times to values belongs")
        )
        raise several(findings)
    times: list[float] = []
    values: list[float] = []
    for key, item in steps.items():
        time_s = _collect(("steps", key), findings, key, TIME, context, on_key=True)
        number = _collect(("steps", key), findings, item, dimension, context)
        if time_s is not None:
            if not times and time_s != 0.0:
                findings.append(
                    Finding(("steps", key), f"the first step is at {key}, not at 0 s", on_key=True)
                )
            elif times and time_s <= times[-1]:
                findings.append(
                    Finding(("steps", key), f"{key} does not come after the step before it", on_key=True)
                )
            elif repeat_s is not None and time_s >= repeat_s:
                written = value["repeat"]
                findings.append(
                    Finding(
                        ("steps", key), f"{key} is never reached: it repeats after {written}", on_key=True
                    )
                )
            times.append(time_s)
        if number is not None:
            values.append(number)
    if findings:
        raise several(findings)
    return Steps(tuple(times), tuple(values), repeat_s)


def _read_csv(value: Mapping[Any, Any], dimension: Dimension, context: Any) -> CsvTrace:
    findings = _unknown_keys(value, _CSV_KEYS)
    repeat_s = _repeat(value, context, findings)
    texts = {
        "time": "time",
        "value": "value",
        "time_unit": "s",
        **{k: v for k, v in value.items() if k in _CSV_KEYS},
    }
    if "value_unit" not in value:
        findings.append(
            Finding(
                ("value_unit",), f"is missing: the unit of the values, one of {', '.join(dimension.units)}"
            )
        )
    for key in ("csv", "time", "value", "time_unit", "value_unit"):
        if key in texts and not isinstance(texts[key], str):
            findings.append(Finding((key,), f"found {found(texts[key])} where text is expected"))
    for key, units in (("time_unit", TIME.units), ("value_unit", dimension.units)):
        unit = texts.get(key)
        if isinstance(unit, str) and unit not in units:
            findings.append(
                Finding((key,), f"unknown unit {unit!r}{did_you_mean(unit, units)} Known: {', '.join(units)}")
            )
    if findings:
        raise several(findings)
    trace = CsvTrace(
        path=str(resolved(texts["csv"], context)),
        time=texts["time"],
        value=texts["value"],
        time_unit=texts["time_unit"],
        value_unit=texts["value_unit"],
        time_unit_s=float(TIME.units[texts["time_unit"]]),
        value_unit_si=float(dimension.units[texts["value_unit"]]),
        repeat_s=repeat_s,
    )
    if problem := _csv_problem(trace):
        key, message = problem
        raise wrong(message, (key,))
    return trace


def _csv_problem(trace: CsvTrace) -> tuple[str, str] | None:
    """Read the file the way the run will; return the key to blame and why."""
    from edgesim.traces import TraceError, read_csv

    try:
        with open(trace.path, newline="", encoding="utf-8") as file:
            header = next(csv.reader(file), [])
        for key, column in (("time", trace.time), ("value", trace.value)):
            if column not in header:
                known = ", ".join(header) or "none"
                return (
                    key,
                    f"{trace.path} has no column {column!r}{did_you_mean(column, header)} Columns: {known}",
                )
        read_trace = read_csv(trace.path, time=trace.time, value=trace.value, time_unit=trace.time_unit_s)
    except FileNotFoundError:
        return "csv", f"there is no file {trace.path}"
    except (OSError, UnicodeDecodeError, csv.Error, TraceError) as error:
        return "csv", str(error)
    last_s = read_trace.times_s[-1]
    if trace.repeat_s is not None and trace.repeat_s <= last_s:
        return "repeat", f"is not after the last sample of {trace.path}, at {format_quantity(last_s, TIME)}"
    return None


def _repeat(value: Mapping[Any, Any], context: Any, findings: list[Finding]) -> float | None:
    if value.get("repeat") is None:
        return None
    repeat_s = _collect(("repeat",), findings, value["repeat"], TIME, context)
    if repeat_s == 0.0:
        findings.append(Finding(("repeat",), f"found {found(value['repeat'])}, must be more than 0 s"))
        return None
    return repeat_s


def _collect(
    path: tuple[str | int, ...],
    findings: list[Finding],
    value: object,
    dimension: Dimension,
    context: Any,
    on_key: bool = False,
) -> float | None:
    try:
        return float(read(value, dimension, context))
    except PydanticCustomError as error:
        findings.append(Finding(path, error.message(), on_key))
        return None


def _unknown_keys(value: Mapping[Any, Any], known: tuple[str, ...]) -> list[Finding]:
    return [
        Finding((key,), f"unknown key{did_you_mean(key, known)} Known here: {', '.join(known)}", on_key=True)
        for key in value
        if key not in known
    ]


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
    return {
        "csv": spec.path,
        "time": spec.time,
        "value": spec.value,
        "time_unit": spec.time_unit,
        "value_unit": spec.value_unit,
        **repeat,
    }


BytesPerSecondSignal = Annotated[SignalSpec, SignalOf(DATA_RATE)]
"""A data rate over time, bytes per second."""
FlopsPerSecondSignal = Annotated[SignalSpec, SignalOf(COMPUTE)]
"""A compute speed over time, FLOP/s."""
BytesSignal = Annotated[SignalSpec, SignalOf(MEMORY)]
"""Memory over time, bytes."""
PerSecondSignal = Annotated[SignalSpec, SignalOf(RATE)]
"""A rate over time, per second."""
