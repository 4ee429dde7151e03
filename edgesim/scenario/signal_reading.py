"""Reads the forms of a signal over time, and tells what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from annotated_types import MinLen
from pydantic import Field, ValidationError
from pydantic_core import PydanticCustomError

from edgesim.scenario import generator_specs, trace_specs
from edgesim.scenario.base import Spec
from edgesim.scenario.distributions import FORMS as DISTRIBUTIONS
from edgesim.scenario.distributions import inlined, is_distribution, read_distribution
from edgesim.scenario.findings import Finding, Path, did_you_mean, found, several, wrong
from edgesim.scenario.signal_specs import Constant, Drawn, SignalSpec, Steps
from edgesim.scenario.translate import findings_of
from edgesim.scenario.units import TIME, Dimension, PositiveSeconds, Quantity, format_quantity, read

KNOWN = ("steps", *trace_specs.FORMS, *generator_specs.FORMS, *DISTRIBUTIONS)
"""The keys of which each form has one."""


class _Steps(Spec):
    steps: Annotated[dict[Any, Any], MinLen(1)] = Field(description="From each time on, this value.")
    repeat: PositiveSeconds | None = None


def read_signal(value: object, dimension: Dimension, context: Any) -> SignalSpec:
    """Read a signal from what a scenario file says, or from SI numbers where it comes from Python."""
    if isinstance(value, SignalSpec):
        return value
    if not isinstance(value, Mapping):
        return Constant(float(read(value, dimension, context)))
    if "steps" in value:
        return _read_steps(value, dimension, context)
    if is_distribution(value):
        return Drawn(read_distribution(value, Annotated[float, Quantity(dimension)], context))
    for form in trace_specs.FORMS:
        if form in value:
            keys = _checked(trace_specs.recording_model(form, dimension), value, context)
            return trace_specs.read_recording(form, keys, dimension)
    for form in generator_specs.FORMS:
        if form in value:
            keys = _checked(generator_specs.generator_model(form, dimension), value, context)
            return generator_specs.read_generator(form, keys, dimension)
    key = next(iter(value), "")
    known = did_you_mean(key, KNOWN, f"{dimension} over time is {dimension.example} or a mapping with one of")
    raise wrong(f"found {found(value)} without a key that says which form this is{known}")


def signal_json_schemas(dimension: Dimension) -> list[dict[str, Any]]:
    """JSON Schemas of all forms that are neither a constant, nor steps, nor a distribution."""
    models = [trace_specs.recording_model(form, dimension) for form in trace_specs.FORMS]
    models += [generator_specs.generator_model(form, dimension) for form in generator_specs.FORMS]
    return [inlined(model.model_json_schema()) for model in models]


_Keys = TypeVar("_Keys", bound=Spec)


def _checked(model: type[_Keys], value: Mapping[Any, Any], context: Any) -> _Keys:
    keys, findings = _keys(model, value, context)
    if keys is None:
        raise several(findings)
    return keys


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
