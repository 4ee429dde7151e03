"""Sub-model derivation: the knapsack against brute force, and budgets that are never exceeded."""

import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesim.models import CODECS, Architecture, cost
from edgesim.world.training import Training
from learners.eclm import budgets, derivation
from learners.eclm.architectures import Held, Modularisation, everything, modularise, modules_per_layer, with_held
from learners.eclm.budgets import Choice, choose
from learners.eclm.costs import module_costs, wire_bytes
from learners.eclm.derivation import DoesNotFit, Resource, derive, derive_exactly
from learners.eclm.params import ECLMParams
from learners.eclm.pretraining import drawn_importance

numbers = st.integers(1, 50)


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[np.ndarray], dict[str, Resource]]:  # type: ignore[type-arg]
    layers = draw(st.lists(st.integers(2, 4), min_size=1, max_size=3))
    importance = []
    for count in layers:
        raw = np.array(draw(st.lists(numbers, min_size=count, max_size=count)), dtype=float)
        importance.append(raw / raw.sum())
    resources = {}
    for name in ("bytes", "seconds", "memory"):
        costs = tuple(np.array(draw(st.lists(numbers, min_size=n, max_size=n)), dtype=float) for n in layers)
        always = float(draw(st.integers(0, 20)))
        total = always + sum(float(cost.sum()) for cost in costs)
        resources[name] = Resource(always, costs, draw(st.floats(0.2, 1.1)) * total)
    return importance, resources


def worth(importance: list[np.ndarray], held: Held) -> float:  # type: ignore[type-arg]
    return sum(float(layer[list(mine)].sum()) for layer, mine in zip(importance, held, strict=True))


def fits(resources: dict[str, Resource], held: Held) -> bool:
    return all(resource.of(held) <= resource.budget for resource in resources.values())


def every_choice(importance: list[np.ndarray]) -> list[Held]:  # type: ignore[type-arg]
    per_layer = [
        [mine for size in range(1, len(layer) + 1) for mine in itertools.combinations(range(len(layer)), size)]
        for layer in importance
    ]
    return list(itertools.product(*per_layer))


@given(problems())
@settings(max_examples=150, deadline=None)
def test_the_knapsack_is_as_good_as_trying_everything(problem) -> None:  # type: ignore[no-untyped-def]
    importance, resources = problem
    choices = [held for held in every_choice(importance) if fits(resources, held)]
    tops = [int(layer.argmax()) for layer in importance]
    with_tops = [held for held in choices if all(top in mine for top, mine in zip(tops, held, strict=True))]
    if not choices:
        with pytest.raises(DoesNotFit):
            derive(importance, resources)
        return
    chosen = derive(importance, resources)
    best = max(worth(importance, held) for held in (with_tops or choices))
    assert fits(resources, chosen)
    assert worth(importance, chosen) == pytest.approx(best)


@given(problems())
@settings(max_examples=50, deadline=None)
def test_without_a_solver_what_is_chosen_still_fits(problem) -> None:  # type: ignore[no-untyped-def]
    importance, resources = problem
    forced = tuple((int(layer.argmax()),) for layer in importance)
    if not fits(resources, forced):
        return
    layers = [len(layer) for layer in importance]
    chosen = derivation._greedy(np.concatenate(importance), layers, resources, forced)
    assert fits(resources, chosen)
    assert all(top[0] in mine for top, mine in zip(forced, chosen, strict=True))


def test_with_room_for_all_modules_all_are_taken() -> None:
    importance = [np.array([0.7, 0.2, 0.1])]
    roomy = {"bytes": Resource(1.0, (np.ones(3),), 100.0), "seconds": Resource(0.0, (np.ones(3),), np.inf)}
    assert derive(importance, roomy) == ((0, 1, 2),)


def test_the_most_important_module_of_a_layer_is_in_even_where_others_are_worth_more_together() -> None:
    importance = [np.array([0.4, 0.3, 0.3])]
    tight = {"bytes": Resource(0.0, (np.array([2.0, 1.0, 1.0]),), 2.0)}
    assert derive(importance, tight) == ((0,),)


def test_where_the_most_important_modules_do_not_fit_cheaper_ones_are_taken() -> None:
    importance = [np.array([0.9, 0.1]), np.array([0.6, 0.4])]
    tight = {"bytes": Resource(0.0, (np.array([9.0, 1.0]), np.array([2.0, 2.0])), 3.5)}
    assert derive(importance, tight) == ((1,), (0,))


RESNET = modularise(
    Architecture.of("resnet18", {"width": 4}, input_shape=(3, 16, 16), classes=4),
    Modularisation(modules=6, ratio=0.25, k=2, embedding=8),
)


@pytest.mark.parametrize("training", [True, False])
def test_a_resnets_sub_model_never_exceeds_the_memory_for_serving(training: bool) -> None:
    """A whole one takes more than the sum over its modules."""
    params = ECLMParams(local_training=training, max_ratio=1, training_budget=1e-9 if training else None)
    least, most = serving_bytes(((1,),) * 4), serving_bytes(everything(RESNET))
    random = np.random.default_rng(0)
    for free in np.linspace(least, 0.95 * most, 5).astype(int).tolist():
        chosen = choice_for(free, params, random)
        assert serving_bytes(chosen.held) <= free
        assert chosen.accumulate == 0


def serving_bytes(held: Held) -> int:
    return cost(with_held(RESNET, held)).inference_memory_bytes


def choice_for(free_bytes: int, params: ECLMParams, random: np.random.Generator) -> Choice:
    world: Any = SimpleNamespace(training=Training(optimizer="adam"))
    device: Any = SimpleNamespace(
        free_memory_bytes=free_bytes,
        compute_flops_per_s=1e9,
        hardware=SimpleNamespace(memory_overhead_bytes=0, step_overhead_s=0),
        downlink_bytes_per_s=1e6,
        uplink_bytes_per_s=1e6,
    )
    importance = drawn_importance(random, modules_per_layer(RESNET))
    return choose(world, device, params, RESNET, importance, max_ratio=1, here=((),) * 4, shared_here=False, samples=9)


def test_statistics_that_the_cloud_keeps_its_own_of_are_not_sent_up() -> None:
    held: Held = ((0, 2, 3), (1,), (0,), (0, 4))
    codec, with_them = "fp16", {spec.name: spec for spec in budgets.sent_up(RESNET, ECLMParams(), held)}
    without = budgets.sent_up(RESNET, ECLMParams(statistics="keep"), held)
    left = set(with_them) - {spec.name for spec in without}
    assert left == {name for name in with_them if "running_" in name}
    assert len(left) > 4
    assert all(with_them[spec.name] == spec for spec in without)
    one, two = (
        budgets.sent_up(RESNET, ECLMParams(statistics="keep"), ((1,),) * 3 + (last,)) for last in ((1,), (1, 2))
    )
    weigh = [sum(part.size_bytes for spec in specs for part in CODECS[codec](spec)) for specs in (one, two)]
    assert weigh[1] - weigh[0] == wire_bytes(RESNET, codec, statistics=False)[3][1]


VGG = modularise(
    Architecture.of("vgg16", {"width": 4}, input_shape=(3, 32, 32), classes=100), Modularisation(modules=6, layers=1)
)


@pytest.mark.parametrize(("full", "stored"), [(RESNET, 3), (VGG, 1)])
def test_stored_sub_models_have_at_most_their_share_of_the_sub_models_parameters(
    full: Architecture, stored: int
) -> None:
    params = ECLMParams(levels=(0.3, 0.7, 0.5))
    importance = drawn_importance(np.random.default_rng(0), modules_per_layer(full))
    held = everything(full)

    def parameters(held: Held) -> float:
        return cost(with_held(full, held)).parameters

    whole, *smaller = (parameters(each) for each in budgets.smaller(full, params, importance, held))
    assert len(smaller) == stored
    for level, size in zip((0.7, 0.5, 0.3), smaller, strict=False):
        assert size <= level * whole


def test_the_most_important_module_that_is_held_is_in_every_stored_sub_model() -> None:
    importance = ((0.0, 0.4, 0.21, 0.2, 0.19, 0.0),) * 4
    held = ((0, 2, 3, 4),) * 4
    _, stored = budgets.smaller(RESNET, ECLMParams(levels=(0.4,)), importance, held)
    assert all(2 in mine and set(mine) < {0, 2, 3, 4} for mine in stored)


@given(problems(), st.floats(1, 1.5))
@settings(max_examples=50, deadline=None)
def test_what_the_sum_underestimates_still_fits_and_the_cheapest_is_tried_before_giving_up(problem, worse) -> None:  # type: ignore[no-untyped-def]
    importance, resources = problem
    memory = resources["memory"]
    exact = {"memory": lambda held: worse * memory.of(held)}
    if worse * memory.least > memory.budget:
        with pytest.raises(DoesNotFit) as refusal:
            derive_exactly(importance, {"memory": memory}, exact)
        assert refusal.value.budget == memory.budget
    else:
        assert exact["memory"](derive_exactly(importance, {"memory": memory}, exact)) <= memory.budget
    roomy = {name: replace(resource, budget=np.inf) for name, resource in resources.items()}
    assert derive_exactly(importance, roomy, exact) == derive(importance, roomy)


def test_a_device_on_which_nothing_fits_is_told_which_budget_is_missed() -> None:
    resources = {
        "bytes": Resource(10.0, (np.array([5.0, 6.0]),), 100.0),
        "memory": Resource(10.0, (np.array([5.0, 6.0]),), 12.0),
    }
    with pytest.raises(DoesNotFit, match=r"the cheapest needs 15 of memory, the budget is 12") as caught:
        derive([np.array([0.5, 0.5])], resources)
    assert caught.value.args == ("memory", 15.0, 12.0, ())


def test_budgets_that_cannot_be_met_together_are_named() -> None:
    resources = {
        "size": Resource(0.0, (np.array([10.0, 1.0]),), 5.0),
        "bytes": Resource(0.0, (np.array([1.0, 1.0]),), 5.0),
        "memory": Resource(0.0, (np.array([1.0, 10.0]),), 5.0),
    }
    with pytest.raises(DoesNotFit, match="the budgets of size and memory cannot be met together") as caught:
        derive([np.array([0.5, 0.5])], resources)
    assert caught.value.missed == ("size", "memory")


def test_where_memory_cannot_be_met_together_with_another_budget_smaller_batches_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[float] = []

    def hard(importance: Any, resources: Any, exact: Any) -> Held:
        asked.append(resources["memory"].always)
        if len(asked) < 3:
            raise DoesNotFit("size", 1.0, 5.0, ("size", "memory"))
        return derive_exactly(importance, resources, exact)

    monkeypatch.setattr(budgets, "derive_exactly", hard)
    chosen = choice_for(10**9, ECLMParams(max_ratio=1), np.random.default_rng(0))
    assert chosen.accumulate == 4
    assert asked == sorted(asked, reverse=True)


@pytest.mark.parametrize("held", [((0,),), ((1,),), ((0, 1),)])
def test_with_two_modules_a_layer_each_is_counted_as_what_it_costs(held: Held) -> None:
    base = Architecture.of("mlp", {"hidden": [8, 4]}, input_shape=(6,), classes=3)
    full = modularise(base, Modularisation(modules=2, k=2, embedding=4, ratio=0.5))
    counted = module_costs(full, "sgd", "frozen").parameters
    summed = Resource(counted.always, counted.modules, np.inf).of(held)
    assert summed == cost(with_held(full, held)).parameters
