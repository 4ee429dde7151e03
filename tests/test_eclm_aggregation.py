"""Module-wise aggregation: what stays, what is averaged, and by which weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgesim.models import Architecture, State, initial_state
from learners.eclm import architectures, parts
from learners.eclm.aggregation import Importance, aggregate
from learners.eclm.architectures import Held, Modularisation, everything, modularise, with_held

BASE = Architecture.of("resnet18", {"width": 2}, input_shape=(1, 8, 8), classes=3)
FULL = modularise(BASE, Modularisation(modules=4, layers=2, k=2, embedding=4))
ALL = everything(FULL)
CLOUD = initial_state(FULL, seed=0)
EVEN: Importance = ((0.25,) * 4,) * 2


def update(held: Held, seed: int, selecting: architectures.Selecting = "frozen") -> State:
    sub = with_held(FULL, held, selecting)
    taken = parts.extract(initial_state(FULL, seed=seed), ALL, held, sub)
    return {n: t if not t.is_floating_point() else t + 0.01 * seed for n, t in taken.items()}


def rows(state: State, name: str, module: int) -> Tensor:
    slot = parts.places(FULL)[name].slot
    assert slot is not None
    return state[name].narrow(slot.dim, (module - 1) * slot.width, slot.width)


MODULE_TENSORS = [name for name, place in parts.places(FULL).items() if place.slot is not None]
helds = st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True).map(lambda mine: tuple(sorted(mine)))


@given(st.lists(st.tuples(helds, helds), min_size=1, max_size=4))
@settings(max_examples=20, deadline=None)
def test_aggregating_identical_sub_models_gives_them_back_to_the_bit(held: list[Held]) -> None:
    source = {n: t + 0.5 if t.is_floating_point() else t for n, t in CLOUD.items()}
    updates = [parts.extract(source, ALL, mine, with_held(FULL, mine)) for mine in held]
    importance = [((0.1, 0.2, 0.3, 0.4), (0.7, 0.1, 0.1, 0.1))] * len(held)
    merged = aggregate(CLOUD, updates, architecture=FULL, held=held, importance=importance, samples=[3] * len(held))
    anyone = [set().union(*(mine[layer] for mine in held)) for layer in range(2)]
    for name, tensor in merged.items():
        place = parts.places(FULL).get(name)
        if name.startswith("selector.") or not tensor.is_floating_point():
            assert torch.equal(tensor, CLOUD[name])
        elif place is None or (place.slot is None and 0 in anyone[place.layer]):
            assert torch.equal(tensor, source[name])
        elif place.slot is None:
            assert torch.equal(tensor, CLOUD[name])
        else:
            for module in (1, 2, 3):
                there = source if module in anyone[place.layer] else CLOUD
                assert torch.equal(rows(merged, name, module), rows(there, name, module))


def test_a_module_is_averaged_over_its_owners_by_normalised_importance() -> None:
    held: list[Held] = [((1, 2), (1,)), ((2, 3), (1,))]
    importance: list[Importance] = [((0.1, 0.2, 0.6, 0.1), EVEN[1]), ((0.1, 0.2, 0.2, 0.5), EVEN[1])]
    updates = [update(mine, seed) for seed, mine in enumerate(held, start=1)]
    merged = aggregate(CLOUD, updates, architecture=FULL, held=held, importance=importance, samples=[1, 1])
    name = next(n for n in MODULE_TENSORS if parts.places(FULL)[n].layer == 0 and n.endswith("layer.weight"))

    def of(k: int, place: int) -> Tensor:
        slot = parts.places(FULL)[name].slot
        assert slot is not None
        return updates[k][name].narrow(slot.dim, place * slot.width, slot.width)

    assert torch.equal(rows(merged, name, 1), of(0, 0))
    assert torch.allclose(rows(merged, name, 2), 0.75 * of(0, 1) + 0.25 * of(1, 0))
    assert torch.equal(rows(merged, name, 3), of(1, 1))


def test_shared_parts_are_averaged_by_samples_or_kept() -> None:
    held: list[Held] = [((1,), (1,)), ((2,), (2,))]
    updates = [update(mine, seed) for seed, mine in enumerate(held, start=1)]
    merged = aggregate(CLOUD, updates, architecture=FULL, held=held, importance=[EVEN] * 2, samples=[30, 10])
    name = "network.conv1.weight"
    assert torch.allclose(merged[name], 0.75 * updates[0][name] + 0.25 * updates[1][name])
    kept = aggregate(CLOUD, updates, architecture=FULL, held=held, importance=[EVEN] * 2, samples=[1, 1], shared="keep")
    assert torch.equal(kept[name], CLOUD[name])


def test_running_statistics_follow_their_weights_or_are_kept() -> None:
    held: list[Held] = [((1,), (1,))]
    fresh = update(held[0], seed=1)
    statistic = next(n for n in MODULE_TENSORS if n.endswith("running_mean"))
    merged = aggregate(CLOUD, [fresh], architecture=FULL, held=held, importance=[EVEN], samples=[1])
    assert torch.equal(rows(merged, statistic, 1), fresh[statistic])
    kept = aggregate(CLOUD, [fresh], architecture=FULL, held=held, importance=[EVEN], samples=[1], statistics="keep")
    assert torch.equal(kept[statistic], CLOUD[statistic])
    assert torch.equal(kept["network.bn1.running_mean"], CLOUD["network.bn1.running_mean"])
    assert torch.equal(kept["network.bn1.weight"], fresh["network.bn1.weight"])


def test_the_selector_stays_with_the_cloud_unless_devices_train_it() -> None:
    held: list[Held] = [((1,), (1,))]
    trained = update(held[0], seed=1, selecting="trained")
    name = "selector.heads.weight"
    kept = aggregate(CLOUD, [trained], architecture=FULL, held=held, importance=[EVEN], samples=[1])
    assert torch.equal(kept[name], CLOUD[name])
    merged = aggregate(
        CLOUD, [trained], architecture=FULL, held=held, importance=[EVEN], samples=[1], selector="average"
    )
    assert torch.equal(merged[name], trained[name])
    assert torch.equal(merged["selector.noise.weight"], CLOUD["selector.noise.weight"])


def test_a_single_update_moves_the_cloud_by_the_mixing_share() -> None:
    held: list[Held] = [((1,), (1,))]
    fresh = update(held[0], seed=1)
    merged = aggregate(CLOUD, [fresh], architecture=FULL, held=held, importance=[EVEN], samples=[1], mixing=0.25)
    name = "network.conv1.weight"
    assert torch.allclose(merged[name], 0.75 * CLOUD[name] + 0.25 * fresh[name])


def test_a_single_update_moves_a_module_by_what_it_matters_to_the_device() -> None:
    """An even share of importance, or more, moves it as far as shared parts; next to none moves it hardly at all."""
    held: list[Held] = [((0, 1, 2), (1,))]
    importance: list[Importance] = [((0.125, 0.874999, 1e-6, 0.0), EVEN[1])]
    fresh = update(held[0], seed=1)
    merged = aggregate(CLOUD, [fresh], architecture=FULL, held=held, importance=importance, samples=[1], mixing=0.5)
    of_layer = [name for name in MODULE_TENSORS if parts.places(FULL)[name].layer == 0]
    for name in of_layer:
        slot = parts.places(FULL)[name].slot
        assert slot is not None
        given = {module: fresh[name].narrow(slot.dim, (module - 1) * slot.width, slot.width) for module in (1, 2)}
        assert torch.allclose(rows(merged, name, 1), (rows(CLOUD, name, 1) + given[1]) / 2)
        assert torch.allclose(rows(merged, name, 2), rows(CLOUD, name, 2), atol=1e-5)
        assert torch.equal(rows(merged, name, 3), rows(CLOUD, name, 3))
    residual = [name for name, place in parts.places(FULL).items() if place.slot is None and place.layer == 0]
    assert residual
    for name in residual:
        if CLOUD[name].is_floating_point():
            assert torch.allclose(merged[name], 0.75 * CLOUD[name] + 0.25 * fresh[name])


def test_single_updates_that_come_together_move_a_module_by_what_it_matters_to_both() -> None:
    held: list[Held] = [((1,), (1,))] * 2
    importance: list[Importance] = [((0.9, 0.1, 0.0, 0.0), EVEN[1])] * 2
    fresh = update(held[0], seed=1)
    merged = aggregate(
        CLOUD, [fresh, fresh], architecture=FULL, held=held, importance=importance, samples=[1, 1], mixing=0.5
    )
    name = next(n for n in MODULE_TENSORS if parts.places(FULL)[n].layer == 0 and n.endswith("layer.weight"))
    assert torch.allclose(rows(merged, name, 1), 0.6 * rows(CLOUD, name, 1) + 0.4 * fresh[name])


def test_a_module_that_matters_to_none_of_its_owners_is_still_averaged() -> None:
    held: list[Held] = [((1, 2), (1,)), ((1, 2), (1,))]
    importance: list[Importance] = [((0.5, 0.5, 0.0, 0.0), EVEN[1])] * 2
    updates = [update(mine, seed) for seed, mine in enumerate(held, start=1)]
    merged = aggregate(CLOUD, updates, architecture=FULL, held=held, importance=importance, samples=[1, 1])
    for name in MODULE_TENSORS:
        assert torch.isfinite(merged[name]).all()
    bias = next(n for n in MODULE_TENSORS if n.endswith("norm.bias") and parts.places(FULL)[n].layer == 0)
    width = parts.places(FULL)[bias].slot.width  # type: ignore[union-attr]
    both = [one[bias][width : 2 * width] for one in updates]
    assert torch.allclose(rows(merged, bias, 2), (both[0] + both[1]) / 2)


def test_the_cloud_and_the_updates_are_left_as_they_were() -> None:
    held: list[Held] = [((0, 1), (2,))]
    fresh = update(held[0], seed=1)
    before = {n: t.clone() for n, t in CLOUD.items()}, {n: t.clone() for n, t in fresh.items()}
    aggregate(CLOUD, [fresh], architecture=FULL, held=held, importance=[EVEN], samples=[1])
    assert all(torch.equal(CLOUD[n], t) for n, t in before[0].items())
    assert all(torch.equal(fresh[n], t) for n, t in before[1].items())


def test_no_mixing_is_refused() -> None:
    with pytest.raises(ValueError, match="mixing"):
        aggregate(CLOUD, [], architecture=FULL, held=[], importance=[], samples=[], mixing=0.0)
