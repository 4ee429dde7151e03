"""A population of devices from a table: each device of a group is a row of a CSV file."""

from __future__ import annotations

import csv
import math
from typing import Annotated, Self

from annotated_types import Gt
from pydantic import Field, model_validator

from edgesim.scenario.availability import Sampling
from edgesim.scenario.base import Spec
from edgesim.scenario.findings import Finding, did_you_mean, several, wrong
from edgesim.scenario.paths import FilePath
from edgesim.scenario.units import COMPUTE, DATA_RATE, MEMORY, TIME, Dimension, Flops, meant_unit

DIMENSIONS: dict[str, Dimension] = {
    "compute": COMPUTE,
    "memory": MEMORY,
    "uplink": DATA_RATE,
    "downlink": DATA_RATE,
    "latency": TIME,
}
"""What a table may say of a device, and in which dimension."""


class Column(Spec):
    """One column of the table."""

    column: str = Field(description="Its name.", examples=["ram_gb"])
    unit: str = Field(description="The unit of its numbers.", examples=["GB"])


class SpeedColumn(Column):
    """A column with a speed, or with the time that a known amount of work took."""

    work: Annotated[Flops, Gt(0)] | None = Field(
        default=None,
        description="The column holds times that this much work took; its unit is one of time.",
        examples=["600 MFLOP"],
    )


class Population(Spec):
    """Devices as rows of a CSV file with a header. A row with an empty cell in a column that is used is left out."""

    csv: FilePath = Field(description="The CSV file, relative to the scenario.")
    sample: Sampling = Field(
        default="random",
        description="Which row a device gets: any at random, with replacement, or the one of its own number.",
    )
    compute: SpeedColumn | None = Field(default=None, description="Where `compute` comes from.")
    memory: Column | None = Field(default=None, description="Where `memory` comes from.")
    uplink: Column | None = Field(default=None, description="Where `uplink` comes from.")
    downlink: Column | None = Field(default=None, description="Where `downlink` comes from.")
    latency: Column | None = Field(default=None, description="Where `latency` comes from.")

    @property
    def columns(self) -> dict[str, Column]:
        """The columns that are used, by what they say of a device."""
        return {key: column for key in DIMENSIONS if (column := getattr(self, key)) is not None}

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if not self.columns:
            raise wrong(f"uses no column: say one of {', '.join(DIMENSIONS)}")
        unknown = [
            Finding((key, "unit"), f"unknown unit {column.unit!r}{meant_unit(column.unit, _measured(key, column))}")
            for key, column in self.columns.items()
            if column.unit not in _measured(key, column).units
        ]
        if unknown:
            raise several(unknown)
        self.rows()
        return self

    def rows(self) -> dict[str, tuple[float, ...]]:
        """Read the file: for each quantity its values in SI units, row by row.

        Raises
        ------
        PydanticCustomError
            Says what is wrong with the file, and in which line.
        """
        values: dict[str, list[float]] = {key: [] for key in self.columns}
        try:
            with open(self.csv, newline="", encoding="utf-8") as file:
                rows = csv.reader(file)
                places = self._places(next(rows, []))
                for row in rows:
                    cells = [row[place].strip() if place < len(row) else "" for place in places]
                    if all(cells):
                        for (key, column), cell in zip(self.columns.items(), cells, strict=True):
                            values[key].append(self._value(key, column, cell, rows.line_num))
        except FileNotFoundError:
            raise wrong(f"there is no file {self.csv}", ("csv",)) from None
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise wrong(str(error), ("csv",)) from None
        if not next(iter(values.values())):
            raise wrong(f"{self.csv} has no row without an empty cell in the columns that are used", ("csv",))
        return {key: tuple(column) for key, column in values.items()}

    def _places(self, header: list[str]) -> list[int]:
        missing = [
            Finding(
                (key, "column"),
                f"{self.csv} has no column {column.column!r}{did_you_mean(column.column, header, 'columns')}",
            )
            for key, column in self.columns.items()
            if column.column not in header
        ]
        if missing:
            raise several(missing)
        return [header.index(column.column) for column in self.columns.values()]

    def _value(self, key: str, column: Column, cell: str, line: int) -> float:
        try:
            number = float(cell)
        except ValueError:
            number = math.nan
        timed = isinstance(column, SpeedColumn) and column.work is not None
        if not (math.isfinite(number) and number >= 0.0) or (timed and not number):
            expected = "a number of more than 0" if timed else "a number of at least 0"
            raise wrong(f"{self.csv}:{line}: found {cell!r} in {column.column!r}, expected {expected}", (key, "column"))
        value = number * float(_measured(key, column).units[column.unit])
        if isinstance(column, SpeedColumn) and column.work is not None:
            return column.work / value
        return value


def _measured(key: str, column: Column) -> Dimension:
    return TIME if isinstance(column, SpeedColumn) and column.work is not None else DIMENSIONS[key]
