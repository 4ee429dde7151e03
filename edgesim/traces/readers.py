"""Readers of trace files: packet opportunities, two columns of text, named columns of CSV and Parquet."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from typing import TYPE_CHECKING, TextIO, cast

from .trace import Trace, TraceError, trace_of, unit_size

if TYPE_CHECKING:
    import pyarrow as pa

PACKET_BYTES = 1500  # one line of a Mahimahi trace lets one packet of this size through (mm-link(1))

Path = str | PathLike[str]


def read_mahimahi(path: Path, *, bin_s: float = 0.1) -> Trace:
    """Read a Mahimahi trace: a line per packet opportunity, its time in whole milliseconds, never decreasing.

    Parameters
    ----------
    path
        The file.
    bin_s
        The opportunities of each ``bin_s`` become one rate. 0.1 s keeps the fades of a moving phone, and is much
        shorter than the transfer of a model; all bytes are kept whatever it is.

    Returns
    -------
    Trace
        Bytes per second. Its duration is the last time stamp, after which Mahimahi repeats a trace.

    Raises
    ------
    TraceError
        With file and line.

    References
    ----------
    Netravali et al., "Mahimahi: Accurate Record-and-Replay for HTTP", USENIX ATC 2015.
    """
    name = fspath(path)
    if not bin_s > 0.0:
        raise ValueError(f"bins are longer than 0 s, found {bin_s!r}")
    stamps: list[int] = []
    for line, text in _lines(path):
        if not text.isdecimal():
            raise TraceError(name, line, f"expected a whole number of milliseconds, found {text!r}")
        if stamps and int(text) < stamps[-1]:
            raise TraceError(name, line, f"time goes back to {text} ms")
        stamps.append(int(text))
    if not stamps or not stamps[-1]:
        raise TraceError(name, 0, "holds no packet opportunity after 0 ms")
    duration_s = stamps[-1] / 1000.0
    bins = max(1, round(duration_s / bin_s))  # the last one takes what is left over, rather than being short
    packets = Counter(min(int(stamp / (1000.0 * bin_s) + 1e-9), bins - 1) for stamp in stamps)
    starts = [number * bin_s for number in range(bins)]
    ends = [*starts[1:], duration_s]
    rates = [
        packets[number] * PACKET_BYTES / (end - start)
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]
    return Trace(tuple(starts), tuple(rates), duration_s)


def read_text(path: Path, *, time_unit: float | str = "s", value_unit: float | str = "Mbit/s") -> Trace:
    """Read two columns of numbers, a time and a value, between white space.

    Empty lines and lines that start with ``#`` are skipped. Time starts at the first sample, samples with the same
    time stamp become their mean, the last one holds as long as the median of the others.

    Parameters
    ----------
    path
        The file.
    time_unit, value_unit
        The units of the columns: a size in SI units or a name, see :data:`UNITS`.

    Raises
    ------
    TraceError
        With file and line.
    """
    name = fspath(path)
    samples = []
    for line, text in _lines(path):
        if text and not text.startswith("#"):
            try:
                time, value = map(float, text.split())
            except ValueError:
                raise TraceError(name, line, f"expected two numbers, a time and a value, found {text!r}") from None
            samples.append((line, time, value))
    return trace_of(name, samples, time_unit, value_unit)


def read_csv(
    path: Path, *, time: str, value: str, time_unit: float | str = 1.0, value_unit: float | str = 1.0
) -> Trace:
    """Read two named columns of a CSV file with a header line; otherwise like :func:`read_text`.

    Raises
    ------
    TraceError
        With file and line.
    """
    name = fspath(path)
    samples = []
    with _open(path) as file:
        rows = csv.reader(file)
        header = [column.strip() for column in next(rows, [])]
        for column in (time, value):
            if column not in header:
                raise TraceError(name, 1, f"no column {column!r}; there are {', '.join(header) or 'none'}")
        time_at, value_at = header.index(time), header.index(value)
        for row in rows:
            if row:
                try:
                    samples.append((rows.line_num, float(row[time_at]), float(row[value_at])))
                except (ValueError, IndexError):
                    message = f"expected numbers in columns {time!r} and {value!r}, found {','.join(row)!r}"
                    raise TraceError(name, rows.line_num, message) from None
    return trace_of(name, samples, time_unit, value_unit)


def read_parquet(
    path: Path, *, time: str, value: str, time_unit: float | str = 1.0, value_unit: float | str = 1.0
) -> Trace:
    """Read two named columns of a Parquet file; otherwise like :func:`read_text`, with rows in place of lines.

    Times may be timestamps too, which have a unit of their own: ``time_unit`` stays a second.

    Raises
    ------
    TraceError
        With file and row (as the line).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = fspath(path)
    try:
        columns = pq.read_schema(path).names
        for column in (time, value):
            if column not in columns:
                raise TraceError(name, 0, f"no column {column!r}; there are {', '.join(columns) or 'none'}")
        table = pq.read_table(path, columns=[time, value])
        stamped = pa.types.is_timestamp(table[time].type)
        if stamped and unit_size(time_unit) != 1.0:
            raise TraceError(name, 0, f"column {time!r} holds timestamps, with a unit of their own: no other is taken")
        times = _seconds(table[time]) if stamped else _numbers(table[time])
        values = _numbers(table[value])
    except OSError as error:
        raise TraceError(name, 0, error.strerror or str(error)) from None
    except pa.ArrowException as error:
        raise TraceError(name, 0, f"cannot be read as numbers from Parquet: {error}") from None
    samples = []
    for row, (at, of) in enumerate(zip(times, values, strict=True), start=1):
        if at is None or of is None:
            raise TraceError(name, row, f"expected numbers in columns {time!r} and {value!r}, found nothing")
        samples.append((row, at, of))
    return trace_of(name, samples, time_unit, value_unit)


def _numbers(column: pa.ChunkedArray) -> list[float | None]:
    """A column as numbers; whole ones that a float does not hold to the last digit are rounded, as from text."""
    import pyarrow as pa

    return cast("list[float | None]", column.cast(pa.float64(), safe=False).to_pylist())


def _seconds(column: pa.ChunkedArray) -> list[float | None]:
    """Timestamps as seconds since the first one."""
    import pyarrow as pa

    per_s = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
    stamps = column.cast(pa.int64()).to_pylist()
    first = next((stamp for stamp in stamps if stamp is not None), 0)
    return [None if stamp is None else (stamp - first) / per_s for stamp in stamps]


@contextmanager
def _open(path: Path) -> Iterator[TextIO]:
    """A text file; what goes wrong with reading it becomes a :class:`TraceError`."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            yield file
    except OSError as error:
        raise TraceError(fspath(path), 0, error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise TraceError(fspath(path), 0, "is not text in UTF-8") from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines without surrounding white space; empty ones at the end are left out."""
    with _open(path) as file:
        lines = [line.strip() for line in file]
    while lines and not lines[-1]:
        lines.pop()
    yield from enumerate(lines, start=1)
