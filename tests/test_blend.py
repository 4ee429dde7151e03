"""Layers, gates and blends: what several drifts on one device make together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.data.blend import Blend, Gate, Layer, blend, lift, put
from edgesim.errors import UserError


def layer(name: str, share: float = 1.0, occurrence: int = 1) -> Layer[str]:
    return Layer(name, occurrence, share, lambda before: f"{before}{name}{occurrence}")


def blended(*layers: Layer[str]) -> Blend[str]:
    return blend("", layers, str)


layers = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from([0.25, 0.5, 1.0]), st.integers(1, 2)),
    max_size=5,
    unique_by=lambda drawn: drawn[0],
).map(lambda drawn: tuple(layer(name, share, number) for name, share, number in drawn))


def test_without_layers_the_base_holds_for_all() -> None:
    assert (blended().gates, blended().outcomes) == ((), ("",))


def test_full_layers_compose_in_their_order() -> None:
    found = blended(layer("a"), layer("b"))
    assert (found.gates, found.outcomes) == ((), ("a1b1",))


def test_a_layer_on_its_way_leaves_both_what_was_and_what_will_be() -> None:
    found = blended(layer("a", 0.25), layer("b"))
    assert found.gates == (Gate("a", 0.25),)
    assert found.outcomes == ("b1", "a1b1")
    assert found.weights() == [0.75, 0.25]


def test_two_gates_open_independently() -> None:
    found = blended(layer("a", 0.25), layer("b", 0.5))
    assert found.outcomes == ("", "a1", "b1", "a1b1")
    assert found.weights() == [0.375, 0.125, 0.375, 0.125]
    passed = {"a": np.array([False, True, False, True]), "b": np.array([False, False, True, True])}
    assert found.which(4, lambda gate: passed[gate.name]).tolist() == [0, 1, 2, 3]


@given(layers)
def test_the_weights_are_those_of_the_samples_that_pass_their_gates(drawn: tuple[Layer[str], ...]) -> None:
    found = blend("", drawn, str)
    count = 4096
    draws = np.random.default_rng(0).random((5, count))
    lots = {gate: draws[number] < gate.share for number, gate in enumerate(found.gates)}
    shares = np.bincount(found.which(count, lots.__getitem__), minlength=len(found.outcomes)) / count
    assert sum(found.weights()) == pytest.approx(1.0)
    assert shares == pytest.approx(found.weights(), abs=0.04)
    assert len(found.outcomes) == 2 ** len(found.gates)


@given(layers)
def test_samples_that_every_drift_has_reached_are_as_if_all_were_there_in_full(drawn: tuple[Layer[str], ...]) -> None:
    in_full = [layer(one.name, 1.0, one.occurrence) for one in drawn]
    assert blend("", drawn, str).outcomes[-1] == blend("", in_full, str).outcomes[0]


def test_a_later_occurrence_takes_over_where_it_reaches() -> None:
    found = blended(layer("a"), layer("a", 0.5, occurrence=2))
    assert found.outcomes == ("a1", "a2")


def test_a_gate_that_makes_no_difference_is_left_out() -> None:
    same = Layer("a", 2, 0.5, lambda before: f"{before}a1")
    found = blended(layer("a"), same, layer("b", 0.5))
    assert (found.gates, found.outcomes) == ((Gate("b", 0.5),), ("a1", "a1b1"))


def test_a_step_takes_the_place_of_the_one_before_it() -> None:
    held = put(put(put((), layer("a", 0.5)), layer("b")), layer("a", 0.75))
    assert [(one.name, one.share) for one in held] == [("a", 0.75), ("b", 1.0)]


def test_an_occurrence_that_is_there_in_full_covers_the_earlier_ones_and_comes_last() -> None:
    held = put(put((), layer("a")), layer("b"))
    on_its_way = put(held, layer("a", 0.5, occurrence=2))
    assert [(one.name, one.occurrence) for one in on_its_way] == [("a", 1), ("b", 1), ("a", 2)]
    there = put(on_its_way, layer("a", 1.0, occurrence=2))
    assert [(one.name, one.occurrence) for one in there] == [("b", 1), ("a", 2)]


def test_taking_one_away_leaves_the_others() -> None:
    held = put(put((), layer("a")), layer("b", 0.5))
    assert lift(held, "a", 1) == held[1:]
    assert lift(held, "a", 2) == held
    assert lift((), "a", 1) == ()


def test_more_gradual_drifts_at_once_than_can_be_told_apart_are_refused_by_name() -> None:
    with pytest.raises(UserError, match="more than 8 gradual drifts are on their way on one device at once: d0, d1"):
        blended(*(layer(f"d{number}", 0.5) for number in range(9)))
