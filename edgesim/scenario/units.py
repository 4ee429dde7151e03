"""Quantities with units: the table of units, reading and writing them, the annotated types of the schema.

Owns what ``20 Mbit/s`` means. Parsed values are plain SI numbers (seconds, bytes, bytes per second, FLOP/s,
watts, joules); factors are exact fractions, so a quantity is the double nearest to what was written. A table
of our own because the unit libraries cost more to import than ``edgesim validate`` takes altogether.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any

from annotated_types import Gt
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from edgesim.scenario.findings import did_you_mean, found, wrong


@dataclass(frozen=True)
class Dimension:
    """What a quantity measures. ``units`` maps each unit to its exact size in the SI unit."""

    name: str
    article: str
    example: str
    units: Mapping[str, Fraction] = field(hash=False, compare=False)
    whole: bool = False
    """Values are whole numbers of the SI unit (bytes): a value is rounded to the nearest."""

    def __str__(self) -> str:
        return f"{self.article} {self.name}"


def _scaled(unit: str, prefixes: str, size: Fraction | int = 1) -> dict[str, Fraction]:
    powers = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15}
    names = ["" if prefix == "-" else prefix for prefix in prefixes]
    return {prefix + unit: Fraction(size) * Fraction(10) ** powers[prefix] for prefix in names}


_BINARY = {f"{prefix}iB": Fraction(1024**power) for power, prefix in enumerate("KMGT", start=1)}
_BYTES = _scaled("B", "-kMGT") | _BINARY
_BITS = _scaled("bit", "-kMGT", Fraction(1, 8))
_SECONDS = {
    **_scaled("s", "num-"),
    "min": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}

TIME = Dimension("time", "a", "30 min", _SECONDS)
SIZE = Dimension("size", "a", "256 MiB", _BYTES, whole=True)
MEMORY = Dimension("memory size", "a", "256 MiB", _BYTES)
DATA_RATE = Dimension("data rate", "a", "20 Mbit/s", {f"{unit}/s": size for unit, size in (_BITS | _BYTES).items()})
COMPUTE = Dimension("compute speed", "a", "2 GFLOP/s", _scaled("FLOP/s", "-kMGTP"))
WORK = Dimension("amount of work", "an", "600 MFLOP", _scaled("FLOP", "-kMGTP"))
POWER = Dimension("power", "a", "2 W", _scaled("W", "um-k"))
ENERGY = Dimension("energy", "an", "20 kJ", _scaled("J", "um-kMG") | _scaled("Wh", "m-k", 3600))
ENERGY_PER_BYTE = Dimension(
    "energy per byte",
    "an",
    "100 nJ/B",
    _scaled("J/B", "num-") | _scaled("J/bit", "num-", 8),
)
RATE = Dimension("rate", "a", "2 /s", {f"/{unit}": 1 / size for unit, size in _SECONDS.items() if size >= 1})
DIMENSIONS = (TIME, SIZE, DATA_RATE, COMPUTE, WORK, POWER, ENERGY, ENERGY_PER_BYTE, RATE)

_MEANT = {
    **dict.fromkeys(("sec", "secs", "second", "seconds", "S"), "s"),
    **dict.fromkeys(("m", "mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
    **{prefix + "bps": prefix + "bit/s" for prefix in ("", "k", "M", "G", "T")},
    **{prefix + "b/s": prefix + "bit/s" for prefix in ("", "k", "M", "G", "T")},
    **{prefix + "FLOPS": prefix + "FLOP/s" for prefix in ("", "k", "M", "G", "T", "P")},
    "Hz": "/s",
    "KB": "kB",
    "K": "KiB",
    "M": "MiB",
    "G": "GiB",
}
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_EXPONENT_DIGITS = 4  # with its sign: more would make a number of gigabytes of digits
_LARGEST = Fraction(sys.float_info.max)
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*(\S.*?)?\s*")
_WITHOUT_SIGN = r"(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?"


@lru_cache(maxsize=4096)
def parse(text: str, dimension: Dimension) -> float:
    """Read ``"20 Mbit/s"`` as a number of SI units.

    Parameters
    ----------
    text : str
        A number, optional white space, a unit of ``dimension``.
    dimension : Dimension
        What is expected.

    Returns
    -------
    float
        In SI units (an ``int`` where the dimension counts whole units).

    Raises
    ------
    ValueError
        Says what was found and what would be right.

    Examples
    --------
    >>> parse("20 Mbit/s", DATA_RATE)
    2500000.0
    >>> parse("512 MiB", SIZE)
    536870912
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"found {found(text)} where {dimension} is expected, for example {dimension.example!r}")
    number, written = match[1], (match[2] or "").replace("µ", "u").replace("μ", "u")
    if not written:
        raise ValueError(without_unit(text, dimension))
    unit = re.sub(r"\s*/\s*", "/", written)
    if unit not in dimension.units:
        raise ValueError(_unknown_unit(text, written, unit, dimension))
    if number.startswith("-"):
        raise ValueError(f"found {found(text)}: {dimension} cannot be negative")
    if len(number.lower().partition("e")[2]) > _EXPONENT_DIGITS:
        raise ValueError(f"found {found(text)}: out of range for {dimension}")
    value = Fraction(number) * dimension.units[unit]
    if value > _LARGEST:
        raise ValueError(f"found {found(text)}: out of range for {dimension}")
    return round(value) if dimension.whole else float(value)


def without_unit(value: object, dimension: Dimension) -> str:
    """Tell that a bare number stands where a quantity with a unit belongs."""
    return f"found {found(value)} without a unit where {dimension} is expected, for example {dimension.example!r}"


def _unknown_unit(text: str, written: str, unit: str, dimension: Dimension) -> str:
    for other in DIMENSIONS:
        if unit in other.units:
            example = f"for example {dimension.example!r}"
            return f"found {found(text)}, {other}, where {dimension} is expected, {example}"
    return f"unknown unit {written!r} in {found(text)}{meant_unit(unit, dimension)}"


def meant_unit(unit: str, dimension: Dimension) -> str:
    """Suggest a unit of ``dimension`` for one that is none, or list them."""
    if (meant := _MEANT.get(unit)) in dimension.units:
        return f"; did you mean {meant!r}?"
    return did_you_mean(unit, dimension.units, f"units of {dimension}")


@lru_cache(maxsize=4096)
def format_quantity(value: float, dimension: Dimension) -> str:
    """Write SI units as text that :func:`parse` reads back to exactly ``value``.

    Picks a unit that leaves no fraction below 1, then the shortest text, then the largest unit.

    Examples
    --------
    >>> format_quantity(1800.0, TIME)
    '30 min'
    >>> format_quantity(2_500_000.0, DATA_RATE)
    '20 Mbit/s'
    """
    exact = Fraction(value)
    if not exact:
        return next(f"0 {unit}" for unit, size in dimension.units.items() if size == 1)
    best: tuple[bool, int, Fraction, str] | None = None
    for unit, size in dimension.units.items():
        amount = exact / size
        # Whole numbers beyond 2**53 are no doubles.
        number = str(amount) if dimension.whole and amount.denominator == 1 else _plain(float(amount))
        text = f"{number} {unit}"
        if parse(text, dimension) == value:
            candidate = (float(number) < 1.0, len(number), -size, text)
            best = min(best, candidate) if best else candidate
    if best is None:  # pragma: no cover - the SI unit itself always reads back
        raise ValueError(f"{value!r} cannot be written as {dimension}")
    return best[-1]


def _plain(number: float) -> str:
    text = repr(number)
    return text.removesuffix(".0")


def seconds(number: float) -> float:
    """A time in seconds, for defaults of a learner's parameters."""
    return float(number)


def minutes(number: float) -> float:
    """A time given in minutes, in seconds.

    >>> minutes(10)
    600.0
    """
    return 60.0 * number


def hours(number: float) -> float:
    """A time given in hours, in seconds."""
    return 3600.0 * number


def from_file(context: Any) -> bool:
    """Tell whether a value comes from a scenario file, where a bare number is no quantity."""
    return isinstance(context, Mapping) and bool(context.get("from_file"))


def with_units(context: Any) -> bool:
    """Tell whether values are to be written with their units, for a scenario file."""
    return isinstance(context, Mapping) and bool(context.get("with_units"))


def read(value: object, dimension: Dimension, context: Any) -> float:
    """Read one quantity: text with a unit or, from Python only, a number in SI units."""
    if isinstance(value, str):
        try:
            return parse(value, dimension)
        except ValueError as error:
            raise wrong(str(error)) from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(f"found {found(value)} where {dimension} is expected, for example {dimension.example!r}")
    if from_file(context):
        raise wrong(without_unit(value, dimension))
    if not math.isfinite(value) or value < 0:
        raise wrong(f"found {value!r}: {dimension} is finite and not negative")
    return round(value) if dimension.whole else float(value)


@dataclass(frozen=True)
class Quantity:
    """Annotation that makes a field a quantity of ``dimension``: ``Annotated[float, Quantity(TIME)]``."""

    dimension: Dimension

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read text with a unit (or, from Python, SI numbers); write units back where asked to."""

        def check(value: object, information: core_schema.ValidationInfo[Any]) -> float:
            return read(value, self.dimension, information.context)

        def write(value: float, information: core_schema.SerializationInfo[Any]) -> float | str:
            return format_quantity(value, self.dimension) if with_units(information.context) else value

        return core_schema.with_info_before_validator_function(
            check,
            core_schema.int_schema() if self.dimension.whole else core_schema.float_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(write, info_arg=True),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the text form, for editors."""
        return quantity_json_schema(self.dimension)


def quantity_json_schema(dimension: Dimension) -> dict[str, Any]:
    """JSON Schema of the text form of a quantity."""
    units = "|".join(re.escape(unit) for unit in sorted(dimension.units, key=len, reverse=True))
    return {
        "title": dimension.name,
        "type": "string",
        "pattern": rf"^\s*\+?{_WITHOUT_SIGN}\s*({units})\s*$",
        "examples": [dimension.example],
    }


class _RatioType:
    """A share: ``30 %`` or 0.3."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def write(value: float, information: core_schema.SerializationInfo[Any]) -> float | str:
            return format_ratio(value) if with_units(information.context) else value

        return core_schema.no_info_before_validator_function(
            read_ratio,
            core_schema.float_schema(ge=0.0, le=1.0, allow_inf_nan=False),
            serialization=core_schema.plain_serializer_function_ser_schema(write, info_arg=True),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": rf"^\s*{_WITHOUT_SIGN}\s*%\s*$"},
            ],
            "title": "share",
            "examples": ["30 %"],
        }


def read_ratio(value: object) -> float:
    """Read a share, ``"30 %"`` or ``0.3``, as a number from 0 to 1."""
    if isinstance(value, str):
        match = re.fullmatch(rf"\s*({_NUMBER})\s*%\s*", value)
        if match is None:
            raise wrong(f"found {found(value)} where a share is expected, for example '30 %' or 0.3")
        ratio = float(Fraction(match[1]) / 100)
        if not 0.0 <= ratio <= 1.0:
            raise wrong(f"found {found(value)}: a share lies between 0 % and 100 %")
        return ratio
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(f"found {found(value)} where a share is expected, for example '30 %' or 0.3")
    if not 0.0 <= value <= 1.0:
        hint = f"; did you mean '{value:g} %'?" if 1.0 < value <= 100.0 else ""
        raise wrong(f"found {value!r}: a share lies between 0 and 1{hint}")
    return float(value)


def format_ratio(value: float) -> float | str:
    """Write a share in percent, or as the number itself where percent would not read back exactly."""
    text = f"{_plain(float(Fraction(value) * 100))} %"
    return text if read_ratio(text) == value else value


Seconds = Annotated[float, Quantity(TIME)]
"""A time in seconds, at least 0."""
PositiveSeconds = Annotated[float, Quantity(TIME), Gt(0)]
"""A time in seconds, more than 0."""
Bytes = Annotated[int, Quantity(SIZE)]
"""A size in bytes, whole, at least 0."""
BytesPerSecond = Annotated[float, Quantity(DATA_RATE)]
"""A data rate in bytes per second, at least 0."""
FlopsPerSecond = Annotated[float, Quantity(COMPUTE)]
"""A compute speed in floating-point operations per second, at least 0."""
Watts = Annotated[float, Quantity(POWER)]
"""A power in watts, at least 0."""
Joules = Annotated[float, Quantity(ENERGY)]
"""An energy in joules, at least 0."""
Flops = Annotated[float, Quantity(WORK)]
"""An amount of work in floating-point operations, at least 0."""
JoulesPerByte = Annotated[float, Quantity(ENERGY_PER_BYTE)]
"""An energy per byte in joules, at least 0."""
PerSecond = Annotated[float, Quantity(RATE)]
"""A rate per second, at least 0."""
Ratio = Annotated[float, _RatioType()]
"""A share between 0 and 1, written ``30 %`` or ``0.3``."""
