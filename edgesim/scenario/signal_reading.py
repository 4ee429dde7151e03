"""Reads the three forms of a signal over time, and tells what is wrong with them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from annotated_types import MinLen
from pydantic import Field, ValidationError
from pydantic_core import PydanticCustomError

from edgesim.scenario.base import Spec
from edgesim.scenario.findings import Finding, Path, did_you_mean, found, several, wrong
from edgesim.scenario.paths import FilePath
from edgesim.scenario.signal_specs import Constant, CsvTrace, SignalSpec, Steps
from edgesim.scenario.translate import findings_of
from edgesim.scenario.units import TIME, Dimension, PositiveSeconds, format_quantity, meant_unit, read


class _Steps(Spec):
    steps: Annotated[dict[Any, Any], MinLen(1)] = Field(description="From each time on, this value.")
    repeat: PositiveSeconds | None = None


class _Csv(Spec):
    csv: FilePath
    time: str = "time"
    value: str = "value"
    time_unit: str = "s"
    value_unit: str = Field(description="The unit of the values.", examples=["Mbit/s"])
    repeat: PositiveSeconds | None = None


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
    raise wrong(
        f"found {found(value)} with neither `steps` nor `csv`: {dimension} over time is a constant "
        f"({dimension.example}), steps ({{steps: {{0 s: ..., 5 min: ...}}}}) or a file ({{csv: ...}})"
    )


_Keys = TypeVar("_Keys", bound=Spec)


def _keys(model: type[_Keys], value: Mapping[Any, Any], context: Any) -> tuple[_Keys | None, list[Finding]]:
    try:
        return model.model_validate(dict(value), context=context), []
    except ValidationError as error:
        return None, findings_of(error, model, value)


def _read_steps(value: Mapping[Any, Any], dimension: Dimension, context: Any) -> Steps:
    keys, findings = _keys(_Steps, value, context)
    repeat_s = keys.repeat if keys else None
    times: list[float] = []
    values: list[float] = []
    steps = value["steps"]
    for key, item in steps.items() if isinstance(steps, Mapping) else ():
        path: Path = ("steps", key)
        if (time_s := _number(key, TIME, context, path, findings, on_key=True)) is not None:
            if message := _out_of_order(key, time_s, times, repeat_s):
                findings.append(Finding(path, message, on_key=True))
            times.append(time_s)
        if (number := _number(item, dimension, context, path, findings)) is not None:
            values.append(number)
    if findings:
        raise several(findings)
    return Steps(tuple(times), tuple(values), repeat_s)


def _out_of_order(key: object, time_s: float, earlier: list[float], repeat_s: float | None) -> str:
    if not earlier and time_s != 0.0:
        return f"the first step is at {key}, not at 0 s"
    if earlier and time_s <= earlier[-1]:
        return f"steps go forward in time, and {key} is not after {format_quantity(earlier[-1], TIME)}"
    if repeat_s is not None and time_s >= repeat_s:
        return f"{key} is never reached: everything repeats after {format_quantity(repeat_s, TIME)}"
    return ""


def _number(
    value: object,
    dimension: Dimension,
    context: Any,
    path: Path,
    findings: list[Finding],
    on_key: bool = False,
) -> float | None:
    try:
        return float(read(value, dimension, context))
    except PydanticCustomError as error:
        findings.append(Finding(path, error.message(), on_key))
        return None


def _read_csv(value: Mapping[Any, Any], dimension: Dimension, context: Any) -> CsvTrace:
    keys, findings = _keys(_Csv, value, context)
    if keys is None:
        raise several(findings)
    findings = [
        Finding((key,), f"unknown unit {unit!r}{meant_unit(unit, measured)}")
        for key, unit, measured in (
            ("time_unit", keys.time_unit, TIME),
            ("value_unit", keys.value_unit, dimension),
        )
        if unit not in measured.units
    ]
    if findings:
        raise several(findings)
    trace = CsvTrace(
        path=keys.csv,
        time=keys.time,
        value=keys.value,
        time_unit=keys.time_unit,
        value_unit=keys.value_unit,
        time_unit_s=float(TIME.units[keys.time_unit]),
        value_unit_si=float(dimension.units[keys.value_unit]),
        repeat_s=keys.repeat,
    )
    if finding := _unreadable(trace):
        raise several([finding])
    return trace


def _unreadable(trace: CsvTrace) -> Finding | None:
    """Read the file the way the run will; tell what keeps it from doing so."""
    from edgesim.traces import TraceError, read_csv

    try:
        with open(trace.path, newline="", encoding="utf-8") as file:
            header = next(csv.reader(file), [])
        for key, column in (("time", trace.time), ("value", trace.value)):
            if column not in header:
                meant = did_you_mean(column, header, "columns")
                return Finding((key,), f"{trace.path} has no column {column!r}{meant}")
        samples = read_csv(trace.path, time=trace.time, value=trace.value, time_unit=trace.time_unit_s)
    except FileNotFoundError:
        return Finding(("csv",), f"there is no file {trace.path}")
    except (OSError, UnicodeDecodeError, csv.Error, TraceError) as error:
        return Finding(("csv",), str(error))
    last_s = samples.times_s[-1]
    if trace.repeat_s is not None and trace.repeat_s <= last_s:
        last = format_quantity(last_s, TIME)
        return Finding(("repeat",), f"is not after the last sample of {trace.path}, at {last}")
    return None
