"""When devices are there: the parts that make them come and go, and what becomes of them together."""

from __future__ import annotations

import itertools
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simpy import Environment

from edgesim.scenario.availability import Daily, OnOff
from edgesim.seeds import Numbers, stream_seed
from edgesim.world.presence import Comings, Part, absent, daily, joining, leaving, on_off, recorded, together

spans = st.lists(st.integers(0, 60), max_size=8, unique=True).map(
    lambda times: list(zip(*[iter(sorted(map(float, times)))] * 2, strict=False))  # two by two
)


def there_at(part: Part, time_s: float) -> bool:
    flips = sum(1 for _ in itertools.takewhile(lambda change: change <= time_s, part.changes()))
    return part.there == (flips % 2 == 0)


def test_the_cheap_numbers_are_uniform_and_exponential() -> None:
    numbers = Numbers(stream_seed(0, "test"))
    drawn = [numbers.uniform() for _ in range(20_000)]
    assert min(drawn) >= 0.0
    assert max(drawn) < 1.0
    assert fmean(drawn) == pytest.approx(0.5, abs=0.01)
    assert fmean(number**2 for number in drawn) == pytest.approx(1 / 3, abs=0.01)
    lagged = fmean(one * other for one, other in itertools.pairwise(drawn))
    assert lagged == pytest.approx(0.25, abs=0.01)
    waits = [numbers.exponential(3.0) for _ in range(20_000)]
    assert fmean(waits) == pytest.approx(3.0, rel=0.03)
    assert fmean(wait**2 for wait in waits) == pytest.approx(18.0, rel=0.06)


def test_neighbouring_seeds_give_unlike_numbers() -> None:
    firsts = [Numbers(seed).uniform() for seed in range(2_000)]
    assert fmean(firsts) == pytest.approx(0.5, abs=0.03)
    assert fmean(one * other for one, other in itertools.pairwise(firsts)) == pytest.approx(0.25, abs=0.03)


def test_on_and_off_times_have_their_means_and_start_in_the_long_runs_proportion() -> None:
    how = OnOff(mean_on=30.0, mean_off=10.0)
    parts = [on_off(how, stream_seed(1, str(number))) for number in range(1_000)]
    assert fmean(part.there for part in parts) == pytest.approx(0.75, abs=0.05)
    assert fmean(there_at(part, 200.0) for part in parts) == pytest.approx(0.75, abs=0.05)
    times = list(itertools.islice(parts[0].changes(), 4_001))
    lengths = [later - earlier for earlier, later in itertools.pairwise(times)]
    first, second = fmean(lengths[::2]), fmean(lengths[1::2])
    assert sorted([first, second]) == [pytest.approx(10.0, rel=0.08), pytest.approx(30.0, rel=0.08)]


def test_the_share_that_is_there_follows_the_day() -> None:
    how = Daily(low=0.1, high=0.9, peak=6 * 3600.0, redraw=600.0)
    parts = [daily(how, stream_seed(2, str(number)), 86400.0) for number in range(600)]
    for hour, share in ((6, 0.9), (18, 0.1), (12, 0.5)):
        there = fmean(there_at(part, hour * 3600.0) for part in parts)
        assert there == pytest.approx(share, abs=0.07)


def test_changes_come_in_order_and_are_the_same_whenever_they_are_asked_for() -> None:
    for part in (on_off(OnOff(mean_on=1.0, mean_off=1.0), 5), daily(Daily(low=0.3, high=0.6, redraw=1.0), 5, 1e4)):
        times = list(itertools.islice(part.changes(), 200))
        assert times == sorted(set(times))
        assert times == list(itertools.islice(part.changes(), 200))


@given(spans=spans.filter(bool), start_s=st.integers(0, 99), time_s=st.integers(0, 250))
def test_a_recording_repeats_and_may_start_anywhere(
    spans: list[tuple[float, float]], start_s: int, time_s: int
) -> None:
    part = recorded(spans, 100.0, float(start_s))
    place = (start_s + time_s) % 100
    assert there_at(part, float(time_s)) == any(begin <= place < end for begin, end in spans)


def test_a_span_that_ends_where_the_next_turn_begins_is_one() -> None:
    part = recorded([(0.0, 10.0), (90.0, 100.0)], 100.0)
    assert part.there
    assert list(itertools.islice(part.changes(), 4)) == [10.0, 90.0, 110.0, 190.0]
    always = recorded([(0.0, 100.0)], 100.0)
    assert always.there
    assert list(always.changes()) == []


def test_what_does_not_repeat_is_away_after_its_last_span() -> None:
    part = recorded([(5.0, 7.0), (9.0, 12.0)], None)
    assert not part.there
    assert list(part.changes()) == [5.0, 7.0, 9.0, 12.0]


@given(one=spans, other=spans, joins=st.integers(0, 50), leaves=st.integers(0, 70))
def test_a_device_is_there_while_every_part_says_so(
    one: list[tuple[float, float]], other: list[tuple[float, float]], joins: int, leaves: int
) -> None:
    parts = [absent(one), absent(other, "other"), joining(float(joins)), leaving(float(leaves))]
    there, cause, changes = together(parts, 100.0)
    assert there == all(part.there for part in parts)
    assert there == (cause == "")
    told = list(changes)
    assert [time_s for time_s, _, _ in told] == sorted({time_s for time_s, _, _ in told})
    states = [(there, cause), *[(state, "" if state else why) for _, state, why in told]]
    assert all(before != after for before, after in itertools.pairwise(states))
    by_cause = dict(zip(["schedule", "other", "joins", "leaves"], parts, strict=True))
    assert all(state or not there_at(by_cause[why], time_s) for time_s, state, why in told)
    for time_s in range(80):
        state = next((state for at_s, state, _ in reversed(told) if at_s <= time_s), there)
        assert state == all(there_at(part, float(time_s)) for part in parts)
    assert all(cause in {"schedule", "other", "joins", "leaves"} for _, _, cause in told)


def test_one_wake_up_tells_all_devices_in_order_and_nothing_after_the_horizon() -> None:
    env = Environment()
    log: list[tuple[float, int, bool, str]] = []
    comings = Comings(env, 10.0, lambda index, there, cause: log.append((env.now, index, there, cause)))
    for index, part in enumerate(
        [absent([(1.0, 3.0)]), joining(3.0), leaving(12.0), absent([(0.0, 3.0), (9.0, 11.0)])]
    ):
        comings.add(index, together([part], 10.0)[2])
    comings.start()
    assert len(env._queue) == 1
    env.run()
    assert log == [
        (1.0, 0, False, "schedule"),
        (3.0, 0, True, "schedule"),
        (3.0, 1, True, "joins"),
        (3.0, 3, True, "schedule"),
        (9.0, 3, False, "schedule"),
    ]


def test_a_device_that_has_left_for_good_ends_the_search_for_its_next_change() -> None:
    parts = [on_off(OnOff(mean_on=1.0, mean_off=1.0), 7), leaving(5.0)]
    changes = list(together(parts, 1000.0)[2])
    assert max(time_s for time_s, _, _ in changes) <= 5.0
    never = daily(Daily(low=0.0, high=0.0, redraw=1.0), 3, 1000.0)
    assert not never.there
    assert list(never.changes()) == []


@pytest.mark.parametrize(
    ("spans", "left_s", "told"),
    [
        ([(30.0, 50.0)], 40.0, [(30.0, False, "schedule"), (50.0, False, "leaves")]),
        ([(30.0, 40.0)], 40.0, [(30.0, False, "schedule"), (40.0, False, "leaves")]),
        ([(30.0, 50.0), (60.0, 70.0)], 40.0, [(30.0, False, "schedule"), (50.0, False, "leaves")]),
    ],
)
def test_what_keeps_a_device_away_after_its_first_reason_has_ended_is_told(
    spans: list[tuple[float, float]], left_s: float, told: list[tuple[float, bool, str]]
) -> None:
    there, cause, changes = together([absent(spans), leaving(left_s)], 100.0)
    assert (there, cause) == (True, "")
    assert list(changes) == told


def test_of_two_reasons_to_be_away_at_first_the_one_that_lasts_is_told_in_the_end() -> None:
    there, cause, changes = together([absent([(0.0, 20.0)]), joining(30.0)], 100.0)
    assert (there, cause) == (False, "schedule")
    assert list(changes) == [(20.0, False, "joins"), (30.0, True, "joins")]
