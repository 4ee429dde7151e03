"""A quantity that differs from device to device: drawn from a distribution, ``{uniform: [1 Mbit/s, 20 Mbit/s]}``.

Owns the distributions, how they are read and written, and the annotation of a plain quantity that may be drawn.
Nothing is drawn here: a distribution maps a uniform number of the device's own to its value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, TypeAlias

from annotated_types import MinLen
from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, create_model
from pydantic_core import CoreSchema, core_schema

from edgesim.scenario.base import NotNegative, Spec
from edgesim.scenario.findings import found, several, wrong
from edgesim.scenario.translate import findings_of
from edgesim.scenario.units import (
    TIME,
    Dimension,
    Quantity,
    Ratio,
    format_quantity,
    format_ratio,
    quantity_json_schema,
    read,
    read_ratio,
    with_units,
)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Any value from ``low`` to ``high``, each equally likely."""

    low: float
    high: float

    def at(self, number: float) -> float:
        """The value of a device whose own uniform number in [0, 1) is ``number``."""
        return self.low + number * (self.high - self.low)


@dataclass(frozen=True, slots=True)
class LogNormal:
    """The logarithm is normal, with standard deviation ``sigma`` (natural logarithm) around that of ``median``."""

    median: float
    sigma: float

    def at(self, number: float) -> float:
        """The value of a device whose own uniform number in [0, 1) is ``number``."""
        from statistics import NormalDist

        smallest = 2.0**-54  # the number 0 itself has no finite logarithm behind it
        return self.median * math.exp(self.sigma * NormalDist().inv_cdf(max(number, smallest)))


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the values, each equally likely; one that is listed twice is twice as likely."""

    values: tuple[float, ...]

    def at(self, number: float) -> float:
        """The value of a device whose own uniform number in [0, 1) is ``number``."""
        return self.values[int(number * len(self.values))]


Distribution: TypeAlias = Uniform | LogNormal | Choice
"""Maps a uniform number to a value in SI units."""

FORMS = ("uniform", "lognormal", "choice")


def is_distribution(value: object) -> bool:
    """Tell whether ``value`` is written as a distribution."""
    return isinstance(value, Mapping) and any(form in value for form in FORMS)


@cache
def _model(form: str, quantity: Any) -> type[Spec]:
    """The keys of one form, as pydantic checks and describes them."""
    many = Annotated[tuple[quantity, ...], MinLen(1)]  # a type made of its unit
    lognormal = create_model(
        "LogNormal",
        __base__=Spec,
        median=(quantity, Field(description="Half of the devices have less.")),
        sigma=(NotNegative, Field(description="Standard deviation of the natural logarithm.", examples=[0.5])),
    )
    described = {
        "uniform": (many, "Any value from the first to the second, each equally likely."),
        "lognormal": (lognormal, "A normal logarithm."),
        "choice": (many, "One of these values, each equally likely."),
    }
    kind, description = described[form]
    return create_model("Drawn", __base__=Spec, **{form: (kind, Field(description=description))})  # type: ignore[call-overload,no-any-return]  # the field's name is a value


def read_distribution(value: Mapping[Any, Any], quantity: Any, context: Any) -> Distribution:
    """Read ``{uniform: [..]}``, ``{lognormal: {..}}`` or ``{choice: [..]}`` of values of the type ``quantity``."""
    form = next(form for form in FORMS if form in value)
    model = _model(form, quantity)
    try:
        keys = model.model_validate(dict(value), context=context)
    except ValidationError as error:
        raise several(findings_of(error, model, value)) from None
    content = getattr(keys, form)
    if form == "lognormal":
        return LogNormal(content.median, content.sigma)
    if form == "choice":
        return Choice(content)
    if len(content) != 2:
        raise wrong("expected two values, the lowest and the highest", ("uniform",))
    if content[0] > content[1]:
        raise wrong("the first value is the lowest, the second the highest", ("uniform",))
    return Uniform(*content)


def write_distribution(distribution: Distribution, write: Callable[[float], object]) -> dict[str, object]:
    """Write a distribution the way a scenario file says it; ``write`` writes one value."""
    if isinstance(distribution, Uniform):
        return {"uniform": [write(distribution.low), write(distribution.high)]}
    if isinstance(distribution, LogNormal):
        return {"lognormal": {"median": write(distribution.median), "sigma": distribution.sigma}}
    return {"choice": [write(value) for value in distribution.values]}


def distribution_json_schemas(quantity: Any) -> list[dict[str, Any]]:
    """JSON Schemas of the three forms, for editors."""
    return [inlined(_model(form, quantity).model_json_schema()) for form in FORMS]


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON Schema without definitions and titles of models: what it refers to stands where it is used."""
    definitions = schema.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            target = definitions[node["$ref"].rpartition("/")[2]]
            return resolve({**target, **{key: item for key, item in node.items() if key != "$ref"}})
        kept = {key: resolve(item) for key, item in node.items()}
        if kept.get("type") == "object" or "properties" in kept:
            kept.pop("title", None)
            kept["properties"] = {name: _untitled(item) for name, item in kept.get("properties", {}).items()}
        return kept

    resolved: dict[str, Any] = resolve(schema)
    return resolved


def _untitled(described: dict[str, Any]) -> dict[str, Any]:
    """A key without the title that pydantic makes of its name."""
    if "pattern" in described or "anyOf" in described:
        return described
    return {key: item for key, item in described.items() if key != "title"}


@dataclass(frozen=True)
class PerDevice:
    """Annotation for a quantity of ``dimension`` that may be drawn: ``Annotated[OwnQuantity, PerDevice(TIME)]``.

    Without a dimension it is a share.
    """

    dimension: Dimension | None

    @property
    def quantity(self) -> Any:
        """The type of one value."""
        return Ratio if self.dimension is None else Annotated[float, Quantity(self.dimension)]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read a number or a distribution; write units back where asked to."""

        def check(value: object, information: core_schema.ValidationInfo[Any]) -> OwnQuantity:
            if isinstance(value, Distribution):
                return value
            if is_distribution(value):
                assert isinstance(value, Mapping)
                return read_distribution(value, self.quantity, information.context)
            if isinstance(value, Mapping):
                raise wrong(f"found {found(value)} with none of {', '.join(f'`{form}`' for form in FORMS)}")
            if self.dimension is None:
                return read_ratio(value)
            return float(read(value, self.dimension, information.context))

        def write(value: OwnQuantity, information: core_schema.SerializationInfo[Any]) -> object:
            if not with_units(information.context):
                return value
            return write_distribution(value, self._write) if isinstance(value, Distribution) else self._write(value)

        return core_schema.with_info_plain_validator_function(
            check, serialization=core_schema.plain_serializer_function_ser_schema(write, info_arg=True)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the value and the distributions, for editors."""
        from pydantic import TypeAdapter

        one = TypeAdapter(Ratio).json_schema() if self.dimension is None else quantity_json_schema(self.dimension)
        return {"anyOf": [one, *distribution_json_schemas(self.quantity)]}

    def _write(self, value: float) -> object:
        return format_ratio(value) if self.dimension is None else format_quantity(value, self.dimension)


OwnQuantity: TypeAlias = float | Uniform | LogNormal | Choice
"""A value for all devices, or a distribution of which each device has its own draw."""
OwnSeconds = Annotated[OwnQuantity, PerDevice(TIME)]
"""A time in seconds, perhaps another for each device."""
OwnRatio = Annotated[OwnQuantity, PerDevice(None)]
"""A share, perhaps another for each device."""


def own(value: OwnQuantity, number: float) -> float:
    """The value of a device whose own uniform number is ``number``."""
    return value.at(number) if isinstance(value, Uniform | LogNormal | Choice) else value
