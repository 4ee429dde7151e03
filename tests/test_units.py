"""Quantities: what a text with a unit means, and that writing and reading give back the same number."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from edgesim.scenario import Bytes, Ratio, Seconds, hours, minutes, seconds
from edgesim.scenario.units import (
    COMPUTE,
    DATA_RATE,
    DIMENSIONS,
    ENERGY_PER_BYTE,
    MEMORY,
    POWER,
    RATE,
    SIZE,
    TIME,
    Dimension,
    format_quantity,
    format_ratio,
    parse,
    read_ratio,
)


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("30 ms", TIME, 0.03),
        ("2h", TIME, 7200.0),
        ("1.5 d", TIME, 129600.0),
        ("0.1 us", TIME, 1e-7),
        ("5 µs", TIME, 5e-6),
        ("1 kB", SIZE, 1000),
        ("1 KiB", SIZE, 1024),
        ("0.5 GiB", SIZE, 2**29),
        ("1.5 B", SIZE, 2),
        ("1.5 B", MEMORY, 1.5),
        ("20 Mbit/s", DATA_RATE, 2.5e6),
        ("20 MB/s", DATA_RATE, 2e7),
        ("1 KiB/s", DATA_RATE, 1024.0),
        ("8 bit / s", DATA_RATE, 1.0),
        ("2 GFLOP/s", COMPUTE, 2e9),
        (" .5 W ", POWER, 0.5),
        ("100 nJ/B", ENERGY_PER_BYTE, 1e-7),
        ("1 nJ/bit", ENERGY_PER_BYTE, 8e-9),
        ("6 /min", RATE, 0.1),
        ("2e-1 /s", RATE, 0.2),
    ],
)
def test_a_quantity_is_the_double_nearest_to_what_is_written(text: str, dimension: Dimension, value: float) -> None:
    assert parse(text, dimension) == value


@pytest.mark.parametrize("dimension", [*DIMENSIONS, MEMORY], ids=str)
@settings(max_examples=50)
@given(value=st.floats(0, 1e18, allow_subnormal=False))
def test_a_written_quantity_reads_back_to_the_bit(dimension: Dimension, value: float) -> None:
    number = round(value) if dimension.whole else value
    assert parse(format_quantity(number, dimension), dimension) == number


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (1800.0, TIME, "30 min"),
        (90.0, TIME, "90 s"),
        (0.0, TIME, "0 s"),
        (2**28, SIZE, "256 MiB"),
        (100, SIZE, "100 B"),
        (2.5e6, DATA_RATE, "20 Mbit/s"),
        (1e-7, ENERGY_PER_BYTE, "100 nJ/B"),
    ],
)
def test_quantities_are_written_the_way_people_write_them(value: float, dimension: Dimension, text: str) -> None:
    assert format_quantity(value, dimension) == text


@given(value=st.floats(0, 1))
def test_a_written_share_reads_back_to_the_bit(value: float) -> None:
    assert read_ratio(format_ratio(value)) == value


@pytest.mark.parametrize(
    ("text", "dimension", "unit"),
    [
        ("20 Mbps", DATA_RATE, "Mbit/s"),
        ("20 mbit/s", DATA_RATE, "Mbit/s"),
        ("3 sec", TIME, "s"),
        ("3 Min", TIME, "min"),
        ("5 GFLOPS", COMPUTE, "GFLOP/s"),
        ("5 KB", SIZE, "kB"),
        ("5 Hz", RATE, "/s"),
    ],
)
def test_a_unit_that_is_nearly_right_is_corrected(text: str, dimension: Dimension, unit: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean '{unit}'"):
        parse(text, dimension)


def test_a_unit_of_another_dimension_is_named_as_such() -> None:
    with pytest.raises(ValueError, match="a data rate, where a time is expected"):
        parse("3 MB/s", TIME)


def test_a_huge_exponent_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="out of range"):
        parse("1e999999999 s", TIME)
    with pytest.raises(ValueError, match="out of range"):
        parse("1e400 s", TIME)


class _Params(BaseModel):
    period: Seconds = minutes(10)
    size: Bytes = 0
    share: Ratio = 0.5


def test_from_python_a_quantity_may_be_a_number_in_si_units() -> None:
    params = _Params.model_validate({"period": 3, "size": 20.0, "share": 1})
    assert (params.period, params.size, params.share) == (3.0, 20, 1.0)
    assert isinstance(params.size, int)


def test_from_a_file_a_bare_number_is_no_quantity() -> None:
    with pytest.raises(ValidationError, match="without a unit"):
        _Params.model_validate({"period": 3}, context={"from_file": True})


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, True, None])
def test_a_quantity_is_finite_and_not_negative_also_from_python(value: object) -> None:
    with pytest.raises(ValidationError, match="time"):
        _Params.model_validate({"period": value})


def test_units_for_defaults_are_seconds() -> None:
    assert (seconds(3), minutes(2), hours(1)) == (3.0, 120.0, 3600.0)
