"""Recordings as signals: Mahimahi packet opportunities, two columns of text, named columns of CSV and Parquet.

Owns the four forms, how they are read from a scenario and written back; the files are read in :mod:`edgesim.traces`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import MinLen
from pydantic import BeforeValidator, Field, create_model

from edgesim.scenario.base import Flag, Positive, Spec
from edgesim.scenario.findings import Finding, did_you_mean, several, wrong
from edgesim.scenario.paths import FilePath
from edgesim.scenario.signal_specs import Maker, Own, SignalSpec, shared
from edgesim.scenario.units import DATA_RATE, TIME, Dimension, PositiveSeconds, Seconds, format_quantity, meant_unit

if TYPE_CHECKING:
    from edgesim.signals import Signal
    from edgesim.traces import Trace

FORMS = ("mahimahi", "trace", "csv", "parquet")
"""The keys that name a recording's file, each with its format."""

_WORDS = {"seconds": "s", "milliseconds": "ms", "microseconds": "us", "minutes": "min", "hours": "h"}


@dataclass(frozen=True, slots=True)
class Recording(SignalSpec):
    """A recorded trace, or several of which each device gets one.

    Attributes
    ----------
    form
        ``mahimahi``, ``trace`` (text), ``csv`` or ``parquet``.
    paths
        Absolute once a scenario is loaded.
    time, value
        The columns' names, where they have names.
    time_unit, value_unit
        The units that the columns are in, as written, where the format does not say.
    time_unit_s, value_unit_si
        The sizes of these units in SI.
    repeat
        After how many seconds everything repeats; True: when the recording ends; None where the last value holds.
    scale
        Every value is so many times what was recorded.
    offset_s
        Where in the recording time 0 is.
    random_start
        Time 0 is somewhere else in the recording for each device.
    """

    form: str
    paths: tuple[str, ...]
    time: str = ""
    value: str = ""
    time_unit: str = ""
    value_unit: str = ""
    time_unit_s: float = 1.0
    value_unit_si: float = 1.0
    repeat: float | Literal[True] | None = None
    scale: float = 1.0
    offset_s: float = 0.0
    random_start: bool = False

    @property
    def individual(self) -> bool:
        """Whether devices get different files, or different parts of one."""
        return self.random_start or len(self.paths) > 1

    def read(self, path: str) -> Trace:
        """Read one of the files.

        Raises
        ------
        TraceError
            Says where it is wrong.
        """
        from edgesim import traces

        if self.form == "mahimahi":
            return traces.read_mahimahi(path)
        units: dict[str, Any] = {"time_unit": self.time_unit_s, "value_unit": self.value_unit_si}
        if self.form == "trace":
            return traces.read_text(path, **units)
        read = traces.read_csv if self.form == "csv" else traces.read_parquet
        return read(path, time=self.time, value=self.value, **units)

    def maker(self) -> Maker:
        """Read the files; devices share their content."""
        from edgesim.signals import rotated

        signals = [self._signal(self.read(path)) for path in self.paths]
        if not self.individual:
            return shared(signals[0])

        def make(own: Own) -> Signal:
            signal = signals[int(own.file * len(signals))]
            return rotated(signal, own.start * (signal.period_s or 0.0)) if self.random_start else signal

        return make

    def _signal(self, trace: Trace) -> Signal:
        from edgesim.signals import Signal, rotated

        values = trace.values if self.scale == 1.0 else [value * self.scale for value in trace.values]
        signal = Signal.steps(trace.times_s, values, trace.duration_s if self.repeat is True else self.repeat)
        return rotated(signal, self.offset_s) if self.offset_s else signal

    def write(self, dimension: Dimension) -> object:
        """Write the keys that say something."""
        written: dict[str, object] = {self.form: self.paths[0] if len(self.paths) == 1 else list(self.paths)}
        if self.form == "trace":
            written["format"] = f"{self.time_unit} {self.value_unit}"
        elif self.form != "mahimahi":
            written.update({key: getattr(self, key) for key in ("time", "value", "time_unit", "value_unit")})
        if self.repeat is None and self.form == "mahimahi":
            written["repeat"] = False
        elif self.repeat is not None and not (self.repeat is True and self.form == "mahimahi"):
            written["repeat"] = True if self.repeat is True else format_quantity(self.repeat, TIME)
        if self.scale != 1.0:
            written["scale"] = self.scale
        if self.offset_s:
            written["offset"] = format_quantity(self.offset_s, TIME)
        if self.random_start:
            written["random_start"] = True
        return written


def usual_unit(dimension: Dimension) -> str:
    """The unit of the dimension's example."""
    return dimension.example.split()[1]


def _one_or_more(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


def _files(description: str) -> Any:
    kind = Annotated[
        tuple[FilePath, ...],
        MinLen(1),
        BeforeValidator(_one_or_more, json_schema_input_type=str | tuple[str, ...]),
    ]
    return kind, Field(description=description)


@cache
def recording_model(form: str, dimension: Dimension) -> type[Spec]:
    """The keys of one form, as pydantic checks and describes them."""
    loops = form == "mahimahi"
    repeat = (
        bool | PositiveSeconds | None,
        Field(
            default=loops,
            description="Start over: true when the recording ends, or after this time; else the last value holds."
            + (" By default it does, as Mahimahi itself." if loops else ""),
        ),
    )
    keys: dict[str, Any] = {
        "mahimahi": {"mahimahi": _files("A Mahimahi trace, or several of which each device gets one.")},
        "trace": {
            "trace": _files("Text: a time and a value a line; or several files of which each device gets one."),
            "format": (
                str,
                Field(description="Units of times and values.", examples=[f"seconds {usual_unit(dimension)}"]),
            ),
        },
        "csv": {"csv": _files("A CSV file with a header; or several of which each device gets one.")},
        "parquet": {"parquet": _files("A Parquet file; or several of which each device gets one.")},
    }[form]
    if form in ("csv", "parquet"):
        keys |= {
            "time": (str, Field(default="time", description="The column with the times.")),
            "value": (str, Field(default="value", description="The column with the values.")),
            "time_unit": (
                str,
                Field(default="s", description="Unit of the times.", json_schema_extra={"enum": list(TIME.units)}),
            ),
            "value_unit": (
                str,
                Field(
                    description="The unit of the values.",
                    examples=[usual_unit(dimension)],
                    json_schema_extra={"enum": list(dimension.units)},
                ),
            ),
        }
    keys |= {
        "repeat": repeat,
        "scale": (Positive, Field(default=1.0, description="Every value is so many times what was recorded.")),
        "offset": (Seconds, Field(default=0.0, description="Where in the recording time 0 is.", examples=["1 min"])),
        "random_start": (
            Flag,
            Field(
                default=False,
                description="Each device starts somewhere else in the recording, at the same share of all of its own.",
            ),
        ),
    }
    return create_model("Recording", __base__=Spec, **keys)


def read_recording(form: str, keys: Any, dimension: Dimension) -> Recording:
    """Make a recording of checked keys, and try to read its files.

    Raises
    ------
    PydanticCustomError
        With everything that is wrong.
    """
    if form == "mahimahi" and dimension is not DATA_RATE:
        raise wrong(f"a Mahimahi trace is a data rate where {dimension} is expected", (form,))
    time_unit, value_unit = _units(form, keys, dimension)
    recording = Recording(
        form=form,
        paths=getattr(keys, form),
        time=getattr(keys, "time", ""),
        value=getattr(keys, "value", ""),
        time_unit=time_unit,
        value_unit=value_unit,
        time_unit_s=float(TIME.units.get(time_unit, 1)),
        value_unit_si=float(dimension.units.get(value_unit, 1)),
        repeat=None if keys.repeat is False else keys.repeat,
        scale=keys.scale,
        offset_s=keys.offset,
        random_start=keys.random_start,
    )
    if finding := _mistake(recording):
        raise several([finding])
    return recording


def _units(form: str, keys: Any, dimension: Dimension) -> tuple[str, str]:
    if form == "mahimahi":
        return "", ""
    if form == "trace":
        words = keys.format.split()
        if len(words) != 2:
            example = f"seconds {usual_unit(dimension)}"
            raise wrong(f"found {keys.format!r} where two units are expected, for example {example!r}", ("format",))
        at: dict[str, tuple[str, ...]] = {"time": ("format",), "value": ("format",)}
        time_unit, value_unit = _WORDS.get(words[0], words[0]), words[1]
    else:
        at = {"time": ("time_unit",), "value": ("value_unit",)}
        time_unit, value_unit = keys.time_unit, keys.value_unit
    findings = [
        Finding(at[which], f"unknown unit {unit!r}{meant_unit(unit, measured)}")
        for which, unit, measured in (("time", time_unit, TIME), ("value", value_unit, dimension))
        if unit not in measured.units
    ]
    if findings:
        raise several(findings)
    return time_unit, value_unit


def _mistake(recording: Recording) -> Finding | None:
    """Read the files the way the run will; tell what keeps it from doing so."""
    if recording.random_start and recording.repeat is None:
        return Finding(("random_start",), "needs `repeat`: a recording that does not repeat has one start only")
    if recording.random_start and recording.offset_s:
        return Finding(("offset",), "and `random_start` both say where it starts: use one of them")
    for path in recording.paths:
        if finding := _unreadable(recording, path):
            return finding
    return None


def _unreadable(recording: Recording, path: str) -> Finding | None:
    from pathlib import Path

    from edgesim.traces import TraceError

    here = (recording.form,)
    if not Path(path).exists():
        return Finding(here, f"there is no file {path}")
    if recording.form in ("csv", "parquet") and (finding := _missing_column(recording, path)):
        return finding
    try:
        trace = recording.read(path)
    except (OSError, TraceError) as error:
        return Finding(here, str(error))
    last_s = trace.times_s[-1]
    if isinstance(recording.repeat, float) and recording.repeat <= last_s:
        last = format_quantity(last_s, TIME)
        return Finding(("repeat",), f"is not after the last sample of {path}, at {last}")
    if recording.repeat is None and recording.offset_s >= trace.duration_s:
        return Finding(("offset",), f"is after the end of {path}, at {format_quantity(trace.duration_s, TIME)}")
    return None


def _missing_column(recording: Recording, path: str) -> Finding | None:
    try:
        columns = _columns(recording.form, path)
    except (OSError, ValueError):
        return None  # the reader tells
    for key, column in (("time", recording.time), ("value", recording.value)):
        if column not in columns:
            return Finding((key,), f"{path} has no column {column!r}{did_you_mean(column, columns, 'columns')}")
    return None


def _columns(form: str, path: str) -> list[str]:
    if form == "parquet":
        import pyarrow.parquet as pq

        return list(pq.read_schema(path).names)
    import csv

    with open(path, newline="", encoding="utf-8-sig") as file:
        return [column.strip() for column in next(csv.reader(file), [])]


def is_recording(value: Mapping[Any, Any]) -> bool:
    """Tell whether a mapping is one of the forms."""
    return any(form in value for form in FORMS)
