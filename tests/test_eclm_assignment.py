"""Sub-tasks to modules: the 0/1 program, and the worked example of the paper's Fig. 5."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learners.eclm.assignment import assign, default_kappa1, load_entropy, targets

FIG_5_H = np.array([[0.11, 0.06, 0.36, 0.44, 0.03], [0.46, 0.03, 0.30, 0.05, 0.16], [0.07, 0.44, 0.02, 0.13, 0.34]])
FIG_5_P = np.array([[0, 0, 0.45, 0.55, 0], [0.61, 0, 0.39, 0, 0], [0, 0.57, 0, 0, 0.43]])


def test_the_worked_example_of_the_paper_comes_out() -> None:
    assigned = assign(FIG_5_H, kappa1=2, kappa2=2)
    assert targets(FIG_5_H, assigned.mask) == pytest.approx(FIG_5_P, abs=0.01)
    assert not assigned.raised


loads = st.tuples(st.integers(1, 4), st.integers(1, 4)).flatmap(
    lambda shape: st.lists(
        st.lists(st.integers(0, 100), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    )
)


@given(loads, st.integers(1, 4), st.integers(1, 4))
def test_the_assignment_is_the_best_there_is(rows: list[list[int]], kappa1: int, kappa2: int) -> None:
    load = np.array(rows, dtype=float) / 100
    assigned = assign(load, kappa1, kappa2)
    tasks, modules = load.shape

    def allowed(mask: np.ndarray) -> bool:  # type: ignore[type-arg]
        per_task = mask.sum(1)
        return bool((mask.sum(0) <= assigned.kappa1).all() and (per_task >= 1).all() and (per_task <= kappa2).all())

    assert allowed(assigned.mask)
    if tasks * modules <= 9:
        masks = (np.array(bits).reshape(tasks, modules) for bits in itertools.product((0, 1), repeat=tasks * modules))
        best = max(float((load * mask).sum()) for mask in masks if allowed(mask))
        assert float((load * assigned.mask).sum()) == pytest.approx(best)


@given(loads, st.integers(1, 4))
def test_targets_are_distributions_over_the_assigned_modules(rows: list[list[int]], kappa2: int) -> None:
    load = np.array(rows, dtype=float) / 100
    mask = assign(load, 4, kappa2).mask
    target = targets(load, mask)
    assert target.sum(1) == pytest.approx(1)
    assert (target[mask == 0] == 0).all()


def test_more_sub_tasks_than_the_modules_take_raise_kappa1_and_it_says_so() -> None:
    assigned = assign(np.full((7, 3), 1 / 3), kappa1=1, kappa2=1)
    assert assigned.raised
    assert assigned.kappa1 == 3
    assert (assigned.mask.sum(1) == 1).all()


def test_the_default_leaves_room_for_half_as_much_again() -> None:
    assert default_kappa1(tasks=10, modules=16, kappa2=4) == 4


def test_entropy_tells_a_collapsed_selector() -> None:
    assert load_entropy(np.full((4, 8), 1 / 8)) == pytest.approx(1)
    assert load_entropy(np.eye(8)[[3, 3, 3]]) == pytest.approx(0)
