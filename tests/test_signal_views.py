"""Views of signals: many devices share one recording, each from its own point on."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.signals import Deferred, Signal, rotated

signals = st.builds(
    lambda gaps, values: Signal.steps(
        [0.0, *itertools.accumulate(gaps)][: len(values)], values, period_s=sum(gaps) + 1.0
    ),
    st.lists(st.sampled_from([0.1, 0.3, 1.0, 2.5]), min_size=5, max_size=5),
    st.lists(st.sampled_from([0.0, 1.0, 3.0]), min_size=2, max_size=6),
)


@given(signal=signals, start_s=st.floats(0, 30), amount=st.floats(0.01, 50), at_s=st.floats(0, 40))
def test_a_rotated_signal_is_the_shifted_one(signal: Signal, start_s: float, amount: float, at_s: float) -> None:
    view, copy = rotated(signal, start_s), signal.shifted(-start_s)
    assert view.integral(0.0, at_s) == pytest.approx(copy.integral(0.0, at_s), abs=1e-9)
    assert view.next_change(at_s) > at_s
    reached_s = view.when_integral(at_s, amount)
    if math.isfinite(reached_s):
        assert copy.integral(at_s, reached_s) == pytest.approx(amount, abs=1e-9)
    low_s = view.first_below(1.0, at_s)
    assert math.isinf(low_s) or view.value(low_s) < 1.0
    assert math.isinf(low_s) == math.isinf(copy.first_below(1.0, at_s))


@given(signal=signals, start_s=st.floats(0, 1e6))
def test_the_pieces_of_a_rotated_signal_follow_each_other(signal: Signal, start_s: float) -> None:
    view = rotated(signal, start_s)
    pieces = list(itertools.islice(view.pieces(0.0, 1e9), 50))
    assert all(before[1] == after[0] and before[0] < before[1] for before, after in itertools.pairwise(pieces))
    assert all(view.value(start) == value for start, _, value in pieces)


def test_what_does_not_repeat_is_cut_off() -> None:
    assert rotated(Signal.steps([0, 4], [1, 2]), 3.0) == Signal.steps([0, 1], [1, 2])
    assert rotated(Signal.constant(5.0), 3.0) == Signal.constant(5.0)


def test_a_deferred_signal_is_made_once_and_only_when_looked_at() -> None:
    made = []

    def make() -> Signal:
        made.append(1)
        return Signal.steps([0, 2], [5, 7], period_s=3)

    signal = Deferred(make)
    assert not made
    assert signal.value(2.5) == 7.0
    assert signal.integral(0, 3) == 17.0
    assert signal == Signal.steps([0, 2], [5, 7], period_s=3)
    assert len(made) == 1


@given(signal=signals, taken=st.lists(signals, max_size=2), at_s=st.floats(0, 40))
def test_a_difference_is_what_is_left_and_never_below_its_bounds(
    signal: Signal, taken: list[Signal], at_s: float
) -> None:
    left = Signal.difference(signal, *taken)
    expected = max(0.0, signal.value(at_s) - sum(part.value(at_s) for part in taken))
    assert left.value(at_s) == pytest.approx(expected)
    assert left.lowest <= left.value(at_s) <= left.highest
    long = Signal.steps([float(time) for time in range(100)], [float(time % 7) for time in range(100)])
    walked = Signal.difference(long, *taken)
    assert walked.lowest <= walked.value(at_s) <= walked.highest
    assert walked.first_below(1.0, at_s) >= at_s
