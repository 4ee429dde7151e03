"""Signals: piecewise-constant functions of time with exact integrals and their inverse."""

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.signals import Deferred, Signal

TRACE = Signal.steps([0, 4, 9], [10, 0, 10])
LOOP = Signal.steps([0, 3], [1, 4], period_s=5)


@st.composite
def signals(draw: st.DrawFn, most: int = 6) -> Signal:
    gaps = draw(st.lists(st.sampled_from([0.1, 0.3, 1.0, 2.5]), max_size=most - 1))
    times = [0.0]
    for gap in gaps:
        times.append(times[-1] + gap)
    values = draw(st.lists(st.sampled_from([0.0, 0.1, 1.0, 2.0, 7.0]), min_size=len(times), max_size=len(times)))
    tail = draw(st.sampled_from([None, 0.1, 0.7, 1.0]))
    return Signal.steps(times, values, None if tail is None else times[-1] + tail)


TIMES = st.one_of(st.floats(0, 30), st.integers(0, 300).map(lambda k: k * 0.1), st.floats(0, 1e4))


def walk(signal: Signal, from_s: float, to_s: float) -> float:
    return math.fsum(value * (end - start) for start, end, value in signal.pieces(from_s, to_s))


def test_a_step_holds_from_its_time_on() -> None:
    assert [TRACE.value(t) for t in (0, 3.9, 4, 8.9, 9, 1e9)] == [10, 10, 0, 0, 10, 10]


def test_a_period_repeats_everything() -> None:
    assert [LOOP.value(t) for t in (0, 2.9, 3, 4.9, 5, 8, 5e8 + 3)] == [1, 1, 4, 4, 1, 4, 4]


def test_the_next_change_is_strictly_later() -> None:
    assert [TRACE.next_change(t) for t in (0, 4, 8, 9)] == [4, 9, 9, math.inf]
    assert [LOOP.next_change(t) for t in (0, 3, 5, 9)] == [3, 5, 8, 10]
    assert Signal.constant(3).next_change(0) == math.inf


def test_pieces_cover_the_interval_without_gaps() -> None:
    assert list(LOOP.pieces(2, 9)) == [(2, 3, 1), (3, 5, 4), (5, 8, 1), (8, 9, 4)]
    assert list(TRACE.pieces(9, math.inf)) == [(9, math.inf, 10)]
    assert list(TRACE.pieces(5, 5)) == []


def test_an_amount_is_reached_at_the_first_possible_time() -> None:
    assert TRACE.when_integral(0, 40) == 4.0  # not 9.0: during the outage nothing is missing
    assert TRACE.when_integral(0, 41) == 9.1
    assert TRACE.when_integral(5, 0) == 5
    assert Signal.steps([0, 4], [5, 0]).when_integral(0, 21) == math.inf
    assert Signal.constant(0).when_integral(3, 1) == math.inf
    assert LOOP.when_integral(0, 11 * 1000) == 5000.0
    assert LOOP.when_integral(1e6, 11e6) == 6e6


def test_an_infinite_constant_is_never_a_bottleneck() -> None:
    unlimited = Signal.constant(math.inf)
    assert unlimited.when_integral(2, 1e12) == 2
    assert unlimited.integral(2, 2) == 0.0
    assert Signal.minimum(unlimited, TRACE) == TRACE


def test_levels_are_found_forwards() -> None:
    assert TRACE.first_below(5, 0) == 4
    assert TRACE.first_below(5, 6) == 6
    assert TRACE.first_below(5, 9) == math.inf
    assert TRACE.first_at_least(5, 6) == 9
    assert LOOP.first_at_least(4, 6) == 8
    assert LOOP.first_below(1, 0) == math.inf


def test_a_level_is_found_in_a_long_trace() -> None:
    values = [5.0] * 100_000
    values[::2] = [6.0] * 50_000
    values[77_777] = 1.0
    trace = Signal.steps(range(100_000), values, period_s=100_000)
    assert trace.first_below(2, 3.5) == 77_777
    assert trace.first_below(2, 77_778.5) == 177_777
    assert trace.first_below(0.5, 0) == math.inf


def test_equal_content_is_equal_however_it_was_made() -> None:
    assert Signal.steps([0, 1, 2], [3, 3, 4]) == Signal.steps([0, 2], [3, 4])
    assert hash(Signal.steps([0, 1, 2], [3, 3, 4])) == hash(Signal.steps([0, 2], [3, 4]))
    assert Signal.steps([0, 1], [3, 3], period_s=2) == Signal.constant(3)
    assert Signal.steps([0, 1], [3, 4]) != Signal.steps([0, 1], [3, 4], period_s=2)
    assert Signal.minimum(TRACE, Signal.constant(6)) == TRACE.clipped(high=6)


def test_knots_can_be_read_back() -> None:
    assert (LOOP.times_s, LOOP.values, LOOP.period_s) == ((0, 3), (1, 4), 5)
    constant = Signal.constant(2)
    assert (constant.times_s, constant.values, constant.period_s) == ((0,), (2,), None)


def test_scaling_shifting_and_clipping() -> None:
    assert TRACE.scaled(0.5) == Signal.steps([0, 4, 9], [5, 0, 5])
    assert TRACE.shifted(2) == Signal.steps([0, 6, 11], [10, 0, 10])
    assert TRACE.shifted(-5) == Signal.steps([0, 4], [0, 10])
    assert LOOP.shifted(2) == LOOP.shifted(-3) == Signal.steps([0, 2], [4, 1], period_s=5)
    assert TRACE.clipped(3, 8) == Signal.steps([0, 4, 9], [8, 3, 8])


def test_scaling_a_long_trace_shares_its_knots() -> None:
    trace = Signal.steps(range(1000), [k % 7 for k in range(1000)], period_s=1000)
    half = trace.scaled(0.5)
    assert sys.getsizeof(half) < 200
    assert (half.value(6), half.highest, half.lowest, half.next_change(6)) == (3.0, 3.0, 0.0, 7.0)
    assert half.integral(3, 2345) == trace.integral(3, 2345) / 2
    assert half.when_integral(3, 500) == trace.when_integral(3, 1000)
    assert half.first_at_least(3, 7) == 13
    assert half.shifted(-5).value(1) == 3.0
    assert half == Signal.steps(range(1000), [k % 7 / 2 for k in range(1000)], period_s=1000)
    assert trace.scaled(0) == Signal.constant(0)
    assert trace.scaled(1) is trace


def test_signals_of_unlike_periods_combine_without_a_list_of_knots() -> None:
    both = Signal.minimum(LOOP, Signal.steps([0, 2], [3, 0], period_s=7))
    assert [both.value(t) for t in (0, 3, 7.5, 8)] == [1, 0, 1, 3]
    assert both.integral(0, 35) == pytest.approx(walk(both, 0, 35))
    assert both.when_integral(0, both.integral(0, 35) + 1) == both.when_integral(35, 1)
    with pytest.raises(ValueError, match="unlike periods"):
        both.times_s  # noqa: B018


def test_a_long_walk_through_a_combination_ends_in_a_search() -> None:
    ticks = Signal.steps([k * 0.1 for k in range(1000)], [1.0 + k % 3 for k in range(1000)], period_s=100.0)
    tocks = Signal.steps([k * 0.1 for k in range(1000)], [2.0 + k % 2 for k in range(1000)], period_s=100.0)
    both = Signal.product(ticks, tocks)
    assert both.when_integral(12.3, 1e6) == pytest.approx(12.3 + 1e6 / (both.integral(0, 100) / 100), abs=2.0)
    assert both.period_s == 100.0


def test_a_combination_that_never_rises_is_given_up_with_a_reason() -> None:
    even = Signal.steps([0, 1], [1, 0], period_s=2)
    odd = Signal.steps([0, 1, 2, 3], [0, 1, 0, 2], period_s=4)
    with pytest.raises(ValueError, match="never reaches the amount"):
        Signal.product(even, odd).when_integral(0, 1)
    with pytest.raises(ValueError, match="never reaches the level"):
        Signal.product(even, odd).first_at_least(1, 0)


@pytest.mark.parametrize(
    ("times", "values", "period", "message"),
    [
        ([], [], None, "at least one"),
        ([0, 1], [1], None, "as many values as times"),
        ([1], [1], None, "first step of a signal is at time 0"),
        ([0, 2, 2], [1, 2, 3], None, "times increase, found 2.0 then 2.0 at step 2"),
        ([0], [-1], None, "never negative, found -1.0 at step 0"),
        ([0, 1], [1, math.nan], None, "found nan at step 1"),
        ([0, 5], [1, 2], 5, "the period comes after the last step at 5.0, found 5"),
    ],
)
def test_wrong_knots_are_told(times: list[float], values: list[float], period: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Signal.steps(times, values, period)


def test_time_starts_at_zero() -> None:
    with pytest.raises(ValueError, match="starts at time 0"):
        TRACE.value(-1)


@given(signals(), TIMES, st.floats(0, 30))
def test_the_integral_is_the_sum_of_its_pieces(signal: Signal, from_s: float, length_s: float) -> None:
    expected = walk(signal, from_s, from_s + length_s)
    assert signal.integral(from_s, from_s + length_s) == pytest.approx(expected, rel=1e-10, abs=1e-11 * (1 + from_s))


@given(signals(), TIMES, st.floats(1e-3, 1e3))
def test_the_inverse_inverts(signal: Signal, start_s: float, amount: float) -> None:
    end_s = signal.when_integral(start_s, amount)
    assert end_s >= start_s
    if end_s < math.inf:
        assert signal.integral(start_s, end_s) == pytest.approx(amount, rel=1e-9, abs=1e-11 * (1 + end_s))
        before_s = start_s + (end_s - start_s) * 0.999
        assert signal.integral(start_s, before_s) < amount
    else:
        assert signal.integral(start_s, start_s + 1e5) < amount


@given(signals(), TIMES)
def test_a_change_is_where_the_value_changes(signal: Signal, time_s: float) -> None:
    change_s = signal.next_change(time_s)
    assert change_s > time_s
    if change_s < math.inf:
        assert signal.value(math.nextafter(change_s, 0)) == signal.value(time_s)
        assert signal.next_change(math.nextafter(change_s, 0)) == change_s


@given(signals(), TIMES, st.sampled_from([0.05, 0.5, 1.5, 7.0]))
def test_the_first_time_at_a_level_is_where_a_walk_finds_it(signal: Signal, start_s: float, level: float) -> None:
    horizon_s = start_s + 40
    below = next((at for at, _, value in signal.pieces(start_s, horizon_s) if value < level), math.inf)
    above = next((at for at, _, value in signal.pieces(start_s, horizon_s) if value >= level), math.inf)
    assert signal.first_below(level, start_s) == below
    assert signal.first_at_least(level, start_s) == above


@given(signals(), signals(), TIMES)
def test_combinations_combine_values(one: Signal, other: Signal, time_s: float) -> None:
    values = one.value(time_s), other.value(time_s)
    assert Signal.minimum(one, other).value(time_s) == min(values)
    assert Signal.product(one, other).value(time_s) == math.prod(values)
    lowest = Signal.minimum(one, other)
    assert lowest.lowest <= lowest.value(time_s) <= lowest.highest


@given(signals(), st.floats(-20, 20), st.floats(0, 40))
def test_a_shifted_signal_is_the_same_signal_later(signal: Signal, by_s: float, time_s: float) -> None:
    moved_s = max(0.0, time_s - by_s) if signal.period_s is None else time_s - by_s + 1000 * signal.period_s
    near = {signal.value(max(0.0, moved_s + delta_s)) for delta_s in (-1e-9, 0.0, 1e-9)}  # a knot's time is rounded
    assert signal.shifted(by_s).value(time_s) in near


@given(signals(), TIMES, st.floats(0.1, 30), st.floats(0, 1))
def test_integrals_add_up(signal: Signal, from_s: float, length_s: float, share: float) -> None:
    middle_s, to_s = from_s + share * length_s, from_s + length_s
    whole = signal.integral(from_s, to_s)
    parts = signal.integral(from_s, middle_s) + signal.integral(middle_s, to_s)
    assert parts == pytest.approx(whole, rel=1e-9, abs=1e-11 * (1 + from_s))


def test_a_signal_made_late_is_combined_with_others_whatever_it_turns_out_to_be() -> None:
    repeated = Signal.steps([0.0, 30.0], [1.0, 3.0], period_s=45.0)
    once = Signal.steps([0.0, 5.0, 6.0], [1.0, 0.0, 1.0])
    late = Deferred(lambda: Signal.product(repeated, once))
    capped = Signal.minimum(late, Signal.steps([0.0, 7.0], [2.0, 9.0], period_s=10.0), Signal.constant(2.5))
    assert [capped.value(t) for t in (0.0, 5.5, 6.5, 31.0, 38.0)] == [1.0, 0.0, 1.0, 2.0, 2.5]
    assert capped.when_integral(0.0, 200.0) == pytest.approx(
        capped.when_integral(100.0, 200.0 - capped.integral(0, 100))
    )
