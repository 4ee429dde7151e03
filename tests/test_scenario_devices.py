"""Device names by arithmetic, windows of time, and what a group changes in the arrival of data."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edgesim.scenario import Arrival, ArrivalOverride, DeviceNames, LabelDrift, Window
from edgesim.scenario.windows import first_overlap


def test_a_million_names_are_never_made_at_once() -> None:
    names = DeviceNames([("a", 3), ("b", 1_000_000), ("a-1", 2)])
    assert len(names) == 1_000_005
    assert (names[0], names[3], names[-1], names[1_000_003]) == ("a-0", "b-0", "a-1-1", "a-1-0")
    assert names.index("b-999999") == 1_000_002
    assert "b-1000000" not in names
    assert names[2:5] == ["a-2", "b-0", "b-1"]


@pytest.mark.parametrize("name", ["a-03", "a--1", "a", "a-", "-1", "c-0", "a-3", "a-²"])
def test_a_name_that_no_device_has_is_not_found(name: str) -> None:
    names = DeviceNames([("a", 3)])
    assert name not in names
    with pytest.raises(ValueError, match="no device is called"):
        names.index(name)


@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_names_and_indices_are_one_to_one(counts: list[int]) -> None:
    names = DeviceNames([(f"g{number}", count) for number, count in enumerate(counts)])
    listed = list(names)
    assert len(set(listed)) == len(names) == len(listed)
    assert [names.index(name) for name in listed] == list(range(len(names)))
    assert [names[index] for index in range(len(names))] == listed


def test_a_window_repeats_until_the_end() -> None:
    window = Window.model_validate({"at": "1 min", "for": "10 s", "every": "2 min"})
    assert window.spans(300.0) == ((60.0, 70.0), (180.0, 190.0))
    assert window.spans(60.0) == ()


times = st.integers(0, 40)


@settings(deadline=None)
@given(data=st.data(), at=times, other_at=times)
def test_the_first_overlap_of_two_windows_is_where_both_are_open_first(
    data: st.DataObject, at: int, other_at: int
) -> None:
    def window(start: int) -> Window:
        length = data.draw(st.integers(1, 6))
        every = data.draw(st.none() | st.integers(length + 1, 20))
        return Window.model_validate({"at": start, "for": length, "every": every})

    one, other = window(at), window(other_at)

    def open_seconds(span: Window) -> set[int]:
        return {second for start, end in span.spans(500.0) for second in range(int(start), int(end))}

    both = sorted(open_seconds(one) & open_seconds(other))
    assert first_overlap(one, other) == (float(both[0]) if both else None)


def test_a_drift_happens_at_multiples_of_its_period_without_drifting_itself() -> None:
    drift = LabelDrift.model_validate({"kind": "label", "name": "a", "every": 0.1, "until": 1.0, "classes": [0]})
    assert drift.times(10.0) == tuple(0.1 + k * 0.1 for k in range(9))
    assert drift.times(0.25) == (0.1, 0.2)


def test_a_group_changes_single_keys_of_the_arrival() -> None:
    base = Arrival(rate=2.0, labelled=0.5, buffer=100)
    assert ArrivalOverride(labelled=0.1).over(base) == Arrival(rate=2.0, labelled=0.1, buffer=100)


def test_a_scenario_part_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Arrival(), "rate", 3.0)  # noqa: B010 (type checkers refuse the plain form)
