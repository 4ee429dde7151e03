"""Trace files and generators: what they promise about bytes, times and mistakes."""

import math
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edgesim.seeds import stream
from edgesim.signals import Signal
from edgesim.traces import (
    Trace,
    TraceError,
    background_load,
    diurnal,
    markov_modulated,
    random_walk,
    read_csv,
    read_mahimahi,
    read_parquet,
    read_text,
)

DATA = Path(os.environ.get("EDGESIM_DATA", Path(__file__).parents[2] / "shared" / "data")) / "traces"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded traces are not beside this checkout")

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(text: str) -> Path:
        path = tmp_path / "trace"
        path.write_text(text, encoding="utf-8", newline="")
        return path

    return put


# Mahimahi


def test_packet_opportunities_become_rates_that_keep_every_byte(write: Write) -> None:
    trace = read_mahimahi(write("0\n100\n100\n100\n299\n300\n400\n"))
    assert trace.times_s == (0, 0.1, 0.2, 0.30000000000000004)
    assert trace.values == pytest.approx([15e3, 45e3, 15e3, 30e3])  # what comes at the end is in the last bin
    assert trace.duration_s == 0.4
    assert trace.looped().integral(0, 4.0) == pytest.approx(10 * 7 * 1500)


def test_a_mahimahi_trace_repeats_after_its_last_packet(write: Write) -> None:
    signal = read_mahimahi(write("50\n250\n"), bin_s=0.1).looped()
    assert signal.period_s == 0.25
    assert [signal.value(t) for t in (0.05, 0.15, 0.3)] == [15e3, 1500 / 0.15, 15e3]


def test_wider_bins_change_no_bytes(write: Write) -> None:
    path = write("".join(f"{7 * k * k % 90 + 90 * k}\n" for k in range(200)))
    fine, coarse = (read_mahimahi(path, bin_s=bin_s) for bin_s in (0.01, 1.0))
    assert fine.mean == pytest.approx(coarse.mean, rel=1e-12)
    assert len(coarse.values) < len(fine.values)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("1\n2\nx\n", 3, "expected a whole number of milliseconds, found 'x'"),
        ("1\n\n2\n", 2, "found ''"),
        ("1\n2.5\n", 2, "found '2.5'"),
        ("5\n4\n", 2, "time goes back to 4 ms"),
        ("-1\n", 1, "found '-1'"),
        ("", 0, "no packet opportunity"),
        ("0\n0\n", 0, "no packet opportunity"),
    ],
)
def test_a_wrong_packet_trace_is_told_to_the_line(write: Write, text: str, line: int, message: str) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        read_mahimahi(write(text))
    assert caught.value.line == line
    assert str(caught.value).startswith(f"{caught.value.path}:{line}: " if line else f"{caught.value.path}: ")


# Two columns of text


def test_time_starts_at_the_first_sample_and_the_last_one_holds_as_long_as_the_others(write: Write) -> None:
    trace = read_text(write("# a comment\n\n5.0\t8\n6.0 16\n8.0 24\n9.0 8\n"))
    assert trace == Trace((0, 1, 3, 4), (1e6, 2e6, 3e6, 1e6), 5)


def test_units_are_names_or_sizes(write: Write) -> None:
    path = write("0 8\n2000 16\n")
    expected = Trace((0, 2), (1e3, 2e3), 4)
    assert read_text(path, time_unit="ms", value_unit="kbit/s") == expected
    assert read_text(path, time_unit=0.001, value_unit=125) == expected
    with pytest.raises(ValueError, match="unknown unit 'kbps'; known are"):
        read_text(path, value_unit="kbps")
    with pytest.raises(ValueError, match="positive and finite"):
        read_text(path, time_unit=0)


def test_samples_with_one_time_stamp_become_their_mean(write: Write) -> None:
    trace = read_text(write("0 10\n0 20\n0 30\n3 5\n4 1\n4 3\n"), value_unit=1)
    assert (trace.times_s, trace.values) == ((0, 3, 4), (20, 5, 2))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("0 1\n1\n", 2, "expected two numbers, a time and a value, found '1'"),
        ("0 1 2\n", 1, "expected two numbers"),
        ("0 1\n1 fast\n", 2, "found '1 fast'"),
        ("0 1\n2 1\n1 1\n", 3, "time goes back to 1.0"),
        ("0 1\n1 -1\n", 2, "a finite value of at least 0, found 1.0 and -1.0"),
        ("0 nan\n", 1, "found 0.0 and nan"),
        ("# nothing\n", 0, "holds no samples"),
    ],
)
def test_a_wrong_text_trace_is_told_to_the_line(write: Write, text: str, line: int, message: str) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        read_text(write(text))
    assert caught.value.line == line


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="No such file"):
        read_text(tmp_path / "missing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TraceError, match="is not text in UTF-8"):
        read_mahimahi(tmp_path / "binary")


def test_a_trace_error_is_a_users_mistake_and_survives_copying(tmp_path: Path) -> None:
    error = TraceError("file", 3, "wrong")
    assert str(type(error)(*error.args)) == str(error) == "file:3: wrong"
    assert isinstance(error, ValueError)


# CSV and Parquet


def test_columns_of_a_csv_file_are_named(write: Write) -> None:
    path = write("time_s,dl_kbps,mode\r\n10,8,LTE\r\n10,24,LTE\r\n12,0,5G\r\n")
    trace = read_csv(path, time="time_s", value="dl_kbps", value_unit="kbit/s")
    assert trace == Trace((0, 2), (2e3, 0), 4)
    signal = Signal.csv(path, time="time_s", value="dl_kbps", value_unit=125, period_s=3)
    assert signal == Signal.steps([0, 2], [2e3, 0], 3)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("t,v\n1,2\n", 1, "no column 'time'; there are t, v"),
        ("", 1, "no column 'time'; there are none"),
        ("time,v\n1,2\n2\n", 3, "expected numbers in columns 'time' and 'v', found '2'"),
        ("time,v\n1,2\n2,-\n", 3, "found '2,-'"),
        ("time,v\n", 0, "holds no samples"),
        ('time,v\n1,"2\n3"\n', 3, "expected numbers"),
    ],
)
def test_a_wrong_csv_file_is_told_to_the_line(write: Write, text: str, line: int, message: str) -> None:
    with pytest.raises(TraceError, match=message) as caught:
        read_csv(write(text), time="time", value="v")
    assert caught.value.line == line


def test_columns_of_a_parquet_file_are_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "trace.parquet"
    pq.write_table(pa.table({"ms": [0, 500, 500], "mbps": [8.0, 16.0, None]}), path)
    with pytest.raises(
        TraceError, match=r"trace.parquet:3: expected numbers in columns 'ms' and 'mbps', found nothing"
    ):
        read_parquet(path, time="ms", value="mbps", time_unit="ms", value_unit="Mbit/s")
    with pytest.raises(TraceError, match="no column 's'; there are ms, mbps"):
        read_parquet(path, time="s", value="mbps")
    pq.write_table(pa.table({"ms": [0, 500, 1500], "mbps": [8.0, 16.0, 8.0]}), path)
    trace = read_parquet(path, time="ms", value="mbps", time_unit="ms", value_unit="Mbit/s")
    assert trace == Trace((0, 0.5, 1.5), (1e6, 2e6, 1e6), 2.25)
    path.write_text("not parquet")
    with pytest.raises(TraceError, match="cannot be read as numbers from Parquet"):
        read_parquet(path, time="ms", value="mbps")
    with pytest.raises(TraceError, match="No such file"):
        read_parquet(tmp_path / "missing", time="ms", value="mbps")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_of_a_parquet_file_are_seconds_since_the_first(tmp_path: Path, unit: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    start = datetime(2024, 1, 1)
    stamps = pa.array([start, start + timedelta(seconds=2), start + timedelta(seconds=5)], pa.timestamp(unit))
    path = tmp_path / "trace.parquet"
    pq.write_table(pa.table({"at": stamps, "v": [1, 2, 3]}), path)
    assert read_parquet(path, time="at", value="v") == Trace((0, 2, 5), (1, 2, 3), 7.5)
    with pytest.raises(TraceError, match="'at' holds timestamps, with a unit of their own"):
        read_parquet(path, time="at", value="v", time_unit="ms")
    with pytest.raises(TraceError, match="cannot be read as numbers from Parquet"):
        read_parquet(path, time="v", value="at")


def test_nanoseconds_since_1970_are_read_from_parquet_as_from_text(tmp_path: Path, write: Write) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stamps = [1_700_000_000_123_456_789 + number * 10**9 for number in range(3)]
    path = tmp_path / "trace.parquet"
    pq.write_table(pa.table({"ns": stamps, "v": [1, 2, 3]}), path)
    text = write("ns,v\n" + "".join(f"{stamp},{number}\n" for number, stamp in enumerate(stamps, start=1)))
    options = {"time": "ns", "value": "v", "time_unit": 1e-9}
    assert read_parquet(path, **options) == read_csv(text, **options)


# Loops


def test_a_loop_can_be_scaled_and_entered_anywhere() -> None:
    trace = Trace((0, 2), (10, 30), 5)
    assert trace.mean == 22
    assert trace.looped(scale=0.5) == Signal.steps([0, 2], [5, 15], 5)
    assert trace.looped(offset_s=2) == Signal.steps([0, 3], [30, 10], 5)
    assert trace.looped(offset_s=12).value(0) == 30
    starts = {trace.looped_from_anywhere(stream(0, "trace", device)).next_change(0) for device in range(20)}
    assert len(starts) == 20
    assert trace.looped_from_anywhere(stream(0, "a"), scale=2) == trace.looped_from_anywhere(stream(0, "a")).scaled(2)
    assert trace.looped_from_anywhere(stream(0, "a")) == trace.looped_from_anywhere(stream(0, "a"))


# Generators


def share_above(signal: Signal, level: float, until_s: float) -> float:
    return sum(end - start for start, end, value in signal.pieces(0, until_s) if value > level) / until_s


def test_a_modulated_signal_spends_in_each_state_what_its_holding_times_say() -> None:
    signal = markov_modulated(stream(1, "markov"), [(1, 2.0), (5, 6.0)], duration_s=50_000)
    assert set(signal.values) == {1, 5}
    assert share_above(signal, 3, 50_000) == pytest.approx(0.75, abs=0.02)
    assert signal.period_s == 50_000


def test_transitions_say_where_a_modulated_signal_jumps() -> None:
    ring = [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    states = [(1, 1.0), (2, 1.0), (3, 1.0)]
    values = markov_modulated(stream(2, "ring"), states, duration_s=500, transitions=ring).values
    assert all(later == earlier % 3 + 1 for earlier, later in pairwise(values))


def test_a_walk_stays_between_its_bounds_and_fills_them() -> None:
    signal = random_walk(stream(3, "walk"), low=2, high=9, step=1.5, interval_s=1, duration_s=20_000)
    assert 2 <= signal.lowest < 2.1
    assert 8.9 < signal.highest <= 9
    assert share_above(signal, 5.5, 20_000) == pytest.approx(0.5, abs=0.05)
    assert random_walk(stream(3, "x"), low=0, high=9, step=0, interval_s=1, duration_s=5, start=4) == Signal.constant(4)


def test_a_day_peaks_when_it_should_and_keeps_its_mean() -> None:
    day = diurnal(low=2, high=10, peak_s=20 * 3600)
    assert day.integral(0, 86_400) == pytest.approx(6 * 86_400)
    assert day.value(20 * 3600) == pytest.approx(day.highest)
    assert 9.9 < day.highest < 10
    assert day.value(8 * 3600) == pytest.approx(day.lowest)
    noisy = diurnal(stream(4, "day"), low=2, high=10, noise_ratio=0.2)
    assert noisy.integral(0, 86_400) == pytest.approx(6 * 86_400, rel=0.1)
    assert noisy != diurnal(low=2, high=10)


def test_background_load_leaves_what_it_does_not_take() -> None:
    left = background_load(stream(5, "load"), load=0.6, mean_busy_s=30, mean_idle_s=90, duration_s=200_000)
    assert set(left.values) == {1.0, 0.4}
    assert left.integral(0, 200_000) / 200_000 == pytest.approx(0.85, abs=0.02)
    assert Signal.product(Signal.constant(8e9), left).value(0) in (8e9, 3.2e9)


GENERATORS = {
    "markov": lambda rng: markov_modulated(rng, [(1, 2.0), (5, 6.0), (0, 1.0)], duration_s=100),
    "walk": lambda rng: random_walk(rng, low=0, high=5, step=1, interval_s=2, duration_s=100),
    "day": lambda rng: diurnal(rng, low=0, high=5, noise_ratio=0.3),
    "load": lambda rng: background_load(rng, load=1, mean_busy_s=1, mean_idle_s=2, duration_s=100),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_depend_on_the_passed_generator_only(name: str) -> None:
    make = GENERATORS[name]
    state = np.random.get_state()[1].tolist()  # noqa: NPY002 - that it is left alone is the promise
    assert make(stream(7, name)) == make(stream(7, name))
    assert make(stream(7, name)) != make(stream(8, name))
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rng: markov_modulated(rng, [(1, 1)], duration_s=1), "at least two states, found 1"),
        (lambda rng: markov_modulated(rng, [(1, 1), (-1, 1)], duration_s=1), "found \\(-1, 1\\)"),
        (lambda rng: markov_modulated(rng, [(1, 1), (1, 0)], duration_s=1), "a positive time"),
        (
            lambda rng: markov_modulated(rng, [(1, 1), (2, 1)], duration_s=1, transitions=[[0, 1], [0.5, 0.5]]),
            "row 1 of the transitions",
        ),
        (lambda rng: markov_modulated(rng, [(1, 1), (2, 1)], duration_s=0), "a duration is positive"),
        (lambda rng: random_walk(rng, low=3, high=3, step=1, interval_s=1, duration_s=9), "low < high"),
        (lambda rng: random_walk(rng, low=0, high=3, step=1, interval_s=0, duration_s=9), "positive interval"),
        (lambda rng: random_walk(rng, low=0, high=3, step=1, interval_s=1, duration_s=9, start=4), "found 4"),
        (lambda rng: diurnal(low=3, high=1), "0 <= low <= high"),
        (lambda rng: diurnal(low=0, high=1, noise_ratio=1), "noise needs a random generator"),
        (lambda rng: diurnal(low=0, high=1, steps=1), "at least 2 steps"),
        (lambda rng: background_load(rng, load=2, mean_busy_s=1, mean_idle_s=1, duration_s=1), "between 0 and 1"),
    ],
)
def test_impossible_generators_are_refused(make: Callable[[np.random.Generator], Signal], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(stream(0, "x"))


# Real files


@real
@pytest.mark.parametrize(
    ("name", "mbit_per_s", "duration_s"),
    [  # as their provenance says
        ("ATT-LTE-driving-2016.down", 4.56, 120),
        ("ATT-LTE-driving-2016.up", 1.91, 120),
        ("TMobile-UMTS-driving.up", 0.94, 931),
        ("Verizon-EVDO-driving.down", 0.52, 1062),
        ("Verizon-LTE-short.down", 5.03, 140),
        ("Verizon-LTE-short.up", 5.95, 140),
    ],
)
def test_recorded_packet_traces_keep_their_mean(name: str, mbit_per_s: float, duration_s: float) -> None:
    path = DATA / "mahimahi" / name
    trace = read_mahimahi(path)
    assert trace.mean / 125_000 == pytest.approx(mbit_per_s, abs=0.006)
    assert trace.duration_s == pytest.approx(duration_s, abs=1)
    opportunities = len(path.read_text().split())
    assert trace.looped().integral(0, trace.duration_s) == pytest.approx(1500 * opportunities, rel=1e-12)


@real
def test_recorded_throughputs_are_read() -> None:
    lumos = [read_text(path) for path in sorted((DATA / "lumos5g").glob("*/*"))]
    oboe = [read_text(path, time_unit="ms", value_unit="kbit/s") for path in sorted((DATA / "oboe").glob("*"))]
    ucc = [
        read_csv(path, time="time_s", value=value, value_unit="kbit/s")
        for path in sorted((DATA / "ucc5g").glob("*.csv"))
        for value in ("dl_kbps", "ul_kbps")
    ]
    assert (len(lumos), len(oboe), len(ucc)) == (24, 16, 10)
    assert all(1e3 < trace.mean < 2.5e8 for trace in lumos + oboe + ucc)  # 8 kbit/s to 2 Gbit/s
    assert all(100 < trace.duration_s < 4000 for trace in lumos + oboe + ucc)
    assert all(math.isfinite(trace.looped().when_integral(0, 1e9)) for trace in lumos + oboe + ucc)


@real
def test_a_recorded_table_without_times_is_told_what_it_has() -> None:
    with pytest.raises(TraceError, match=r"devices_2000.csv:1: no column 'time_s'; there are client_id, device"):
        read_csv(DATA / "devices_2000.csv", time="time_s", value="bandwidth_kbps")
