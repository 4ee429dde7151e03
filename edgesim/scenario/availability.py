"""When devices are there, beside absences at given times: on and off at random, by the time of day, as recorded."""

from __future__ import annotations

import csv
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from edgesim.scenario.base import Flag, Spec
from edgesim.scenario.by_key import ByKey
from edgesim.scenario.findings import Finding, did_you_mean, several, wrong
from edgesim.scenario.paths import FilePath
from edgesim.scenario.units import TIME, PositiveSeconds, Ratio, Seconds, format_quantity, meant_unit

Sampling = Literal["random", "in_order"]
"""Which row of a table a device gets: any, with replacement, or the one of its own number."""


class OnOff(Spec):
    """Times that alternate, each exponentially distributed."""

    mean_on: PositiveSeconds = Field(description="How long it is on, on average.", examples=["20 min"])
    mean_off: PositiveSeconds = Field(description="How long it is off, on average.", examples=["5 min"])

    @property
    def on_ratio(self) -> float:
        """Share of the time during which it is on, in the long run."""
        return self.mean_on / (self.mean_on + self.mean_off)


class Daily(Spec):
    """A share of devices that rises and falls like a sine over the day."""

    low: Ratio = Field(description="Share that is there at the worst time of the day.", examples=["10 %"])
    high: Ratio = Field(description="Share that is there at the best time of the day.", examples=["80 %"])
    peak: Seconds = Field(default=0.0, description="When the best time of the day is.", examples=["2 h"])
    period: PositiveSeconds = Field(default=86400.0, description="How long a day is.", examples=["24 h"])
    redraw: PositiveSeconds = Field(
        default=1800.0,
        description="How long, on average, until a device is drawn again: there, with the share of that time, or not.",
        examples=["30 min"],
    )

    @model_validator(mode="after")
    def _low_below_high(self) -> Self:
        if self.low > self.high:
            raise wrong("is more than `high`", ("low",))
        return self


class OnOffAvailability(Spec):
    """Devices come and go on their own, each independently of the others."""

    TAG: ClassVar[str] = "on_off"
    on_off: OnOff = Field(description="Devices come and go, each on its own, at exponentially distributed times.")


class DailyAvailability(Spec):
    """Devices come and go with the time of day."""

    TAG: ClassVar[str] = "diurnal"
    diurnal: Daily = Field(description="Devices come and go with the time of day, each on its own.")


class RecordedAvailability(Spec):
    """Spans of time in a CSV file, a row each, told apart by whose they are."""

    TAG: ClassVar[str] = "csv"
    csv: FilePath = Field(
        description="A CSV file with a header and a row a span of time during which a client was there."
    )
    device: str = Field(default="device", description="The column that says whose span it is.")
    start: str = Field(default="start", description="The column with the starts.")
    end: str = Field(default="end", description="The column with the ends.")
    time_unit: str = Field(
        default="s",
        description="Unit of starts and ends.",
        examples=["s"],
        json_schema_extra={"enum": list(TIME.units)},
    )
    repeat: PositiveSeconds | None = Field(
        default=None, description="Start over after this time; else a device is gone for good after its last span."
    )
    sample: Sampling = Field(
        default="random",
        description="Whose spans a device gets: anybody's at random, with replacement, or those of its own number.",
    )
    random_start: Flag = Field(
        default=False, description="Each device starts at a random point of the recording; needs `repeat`."
    )

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if self.time_unit not in TIME.units:
            raise wrong(f"unknown unit {self.time_unit!r}{meant_unit(self.time_unit, TIME)}", ("time_unit",))
        if self.random_start and self.repeat is None:
            raise wrong("needs `repeat`: a recording that does not repeat has one start only", ("random_start",))
        self.spans()
        return self

    def spans(self) -> tuple[tuple[tuple[float, float], ...], ...]:
        """Read the file: for each client, in the order of the file, its (start, end) in seconds, apart and in order.

        Raises
        ------
        PydanticCustomError
            Says what is wrong with the file, and in which line.
        """
        unit_s = float(TIME.units[self.time_unit])
        clients: dict[str, list[tuple[float, float]]] = {}
        try:
            with open(self.csv, newline="", encoding="utf-8") as file:
                rows = csv.reader(file)
                header = next(rows, [])
                columns = self._columns(header)
                for row in rows:
                    if row:
                        self._add(clients, row, columns, rows.line_num, unit_s)
        except FileNotFoundError:
            raise wrong(f"there is no file {self.csv}", ("csv",)) from None
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise wrong(str(error), ("csv",)) from None
        if not clients:
            raise wrong(f"{self.csv} holds no spans", ("csv",))
        return tuple(tuple(spans) for spans in clients.values())

    def _columns(self, header: list[str]) -> tuple[int, int, int]:
        missing = [
            Finding((key,), f"{self.csv} has no column {column!r}{did_you_mean(column, header, 'columns')}")
            for key, column in (("device", self.device), ("start", self.start), ("end", self.end))
            if column not in header
        ]
        if missing:
            raise several(missing)
        return header.index(self.device), header.index(self.start), header.index(self.end)

    def _add(
        self,
        clients: dict[str, list[tuple[float, float]]],
        row: list[str],
        columns: tuple[int, int, int],
        line: int,
        unit_s: float,
    ) -> None:
        where = f"{self.csv}:{line}"
        try:
            client, start_s, end_s = row[columns[0]], float(row[columns[1]]) * unit_s, float(row[columns[2]]) * unit_s
        except (ValueError, IndexError):
            raise wrong(f"{where}: expected numbers in {self.start!r} and {self.end!r}", ("csv",)) from None
        if not 0.0 <= start_s < end_s < float("inf"):
            raise wrong(f"{where}: the span from {start_s:g} s to {end_s:g} s is none", ("csv",))
        if self.repeat is not None and end_s > self.repeat:
            period = format_quantity(self.repeat, TIME)
            raise wrong(f"{where}: the span ends at {end_s:g} s, after everything repeats ({period})", ("repeat",))
        spans = clients.setdefault(client, [])
        if spans and start_s < spans[-1][1]:
            raise wrong(f"{where}: the span starts at {start_s:g} s, before the one before it ends", ("csv",))
        if spans and start_s == spans[-1][1]:
            spans[-1] = (spans[-1][0], end_s)
        else:
            spans.append((start_s, end_s))


Availability = Annotated[
    OnOffAvailability | DailyAvailability | RecordedAvailability,
    ByKey("how devices come and go"),
]
"""How devices come and go at random or as recorded."""
