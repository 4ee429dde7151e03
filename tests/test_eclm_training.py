"""ECLM's training in the cloud and scoring on devices, without a world."""

import numpy as np
import pytest
import torch
from torch import Tensor

from edgesim.jobs.arithmetic import evaluate, initialise, train
from edgesim.models import Architecture, instantiate
from learners.eclm import architectures, parts, work
from learners.eclm.architectures import Modularisation, everything, modularise, with_held
from learners.eclm.balance import balance_loss

BASE = Architecture.of("mlp", {"hidden": [16, 8]}, input_shape=(6,), classes=4)
FULL = modularise(BASE, Modularisation(modules=6, ratio=0.5, k=2, embedding=8))


def clusters(count: int = 240, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Four classes around four corners."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 4
    corners = torch.tensor([[3.0, 0, 0, 0, 0, 0], [0, 3, 0, 0, 0, 0], [0, 0, 3, 0, 0, 0], [0, 0, 0, 3, 0, 0]])
    return corners[y] + torch.randn(count, 6, generator=draw), y


PROXY = clusters()
SETTINGS = {"epochs": 6, "batch_size": 16, "learning_rate": 0.01, "optimizer": "adam"}


def end_to_end(**changes: object) -> object:
    start = initialise(architecture=FULL, seed=1)
    settings = {**SETTINGS, "balance": "shazeer", "balance_weight": 0.05, **changes}
    return work.train_end_to_end(start, PROXY, architecture=FULL, seed=2, **settings)  # type: ignore[arg-type]


TRAINED = end_to_end()
TASKS = [0, 0, 1, 1]
SELECTOR = architectures.selector_alone(FULL)
ALONE = parts.selector_state(TRAINED.state, SELECTOR)  # type: ignore[attr-defined]


def plan(tasks: list[int], of_samples: bool) -> work.Enhancement:
    return work.plan_enhancement(
        ALONE,
        PROXY,
        architecture=SELECTOR,
        modules_per_layer=(6,),
        tasks=tasks,
        of_samples=of_samples,
        kappa1=2,
        kappa2=2,
    )


PLAN = plan(TASKS, of_samples=False)
ENHANCED = work.enhance(
    TRAINED, PLAN, PROXY, architecture=FULL, tasks=TASKS, of_samples=False, weight=1.0, seed=3, **SETTINGS
)


def probabilities(state: object, x: Tensor) -> Tensor:
    module = instantiate(FULL, seed=0)
    module.load_state_dict(state.state)  # type: ignore[attr-defined]
    with torch.no_grad():
        return module.selector(x).softmax(1)  # type: ignore[no-any-return,union-attr,operator]


def test_training_end_to_end_learns_the_task_and_keeps_all_modules_in_use() -> None:
    assert evaluate(TRAINED, PROXY, architecture=FULL).accuracy > 0.9
    assert min(PLAN.entropy) > 0.8


@pytest.mark.parametrize("kind", ["shazeer", "switch", "none"])
def test_each_form_of_load_balancing_trains(kind: str) -> None:
    trained = end_to_end(balance=kind, epochs=1)
    assert np.isfinite(trained.loss)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["shazeer", "switch"])
def test_a_batch_that_loads_all_modules_alike_has_a_smaller_loss_than_one_that_does_not(kind: str) -> None:
    even = 5 * torch.eye(6).repeat(4, 1)
    uneven = 5 * torch.eye(6)[:2].repeat(12, 1)
    losses = [balance_loss(kind, x, torch.full_like(x, 0.1), x, k=1) for x in (even, uneven)]  # type: ignore[arg-type]
    assert losses[0].item() == pytest.approx(0, abs=0.1)
    assert losses[1] > losses[0] + 0.5


def test_enhancing_makes_the_selector_send_sub_tasks_to_their_modules() -> None:
    x, y = PROXY
    task = torch.tensor(TASKS)[y]
    target = PLAN.targets[0][task]
    outside_before = (probabilities(TRAINED, x) * (target == 0)).sum(1).mean()
    outside_after = (probabilities(ENHANCED, x) * (target == 0)).sum(1).mean()
    assert outside_after < 0.5 * outside_before
    assert evaluate(ENHANCED, PROXY, architecture=FULL).accuracy > 0.9


def test_enhancing_makes_small_sub_models_better_at_their_sub_task() -> None:
    """The modules that matter for classes 0 and 1 do most of what all modules do."""
    x, y = PROXY
    here = (x[y < 2], y[y < 2])
    selector = architectures.selector_alone(FULL)
    scores = work.importance(
        parts.selector_state(ENHANCED.state, selector), here, architecture=selector, modules_per_layer=(6,)
    )
    two = (tuple(sorted(int(m) for m in np.argsort(scores[0])[-2:])),)
    sub = with_held(FULL, two)
    taken = parts.extract(ENHANCED.state, everything(FULL), two, sub)
    assert evaluate(taken, here, architecture=sub).accuracy > 0.9


def test_sub_tasks_may_be_named_sample_by_sample() -> None:
    by_sample = plan([TASKS[label] for label in PROXY[1].tolist()], of_samples=True)
    assert torch.equal(PLAN.targets[0], by_sample.targets[0])


def test_importance_sums_to_one_in_each_layer_and_is_a_mean_over_the_samples() -> None:
    full = modularise(
        Architecture.of("mlp", {"hidden": [8, 8, 8, 8]}, input_shape=(6,), classes=4), Modularisation(modules=5)
    )
    selector = architectures.selector_alone(full)
    state = parts.selector_state(initialise(architecture=full, seed=0), selector)
    x, y = PROXY

    def of(*views: tuple[Tensor, Tensor]) -> np.ndarray:  # type: ignore[type-arg]
        return np.array(work.importance(state, *views, architecture=selector, modules_per_layer=(5, 5)))

    whole = of(PROXY)
    assert whole.sum(1) == pytest.approx([1, 1])
    halves = of((x[:120], y[:120])), of((x[120:], y[120:]))
    assert whole == pytest.approx((halves[0] + halves[1]) / 2)
    assert whole == pytest.approx(of((x[:100], y[:100]), (x[100:], y[100:])))


def test_a_sub_model_is_trained_like_any_network() -> None:
    held = ((1, 2),)
    sub = with_held(FULL, held)
    start = parts.extract(TRAINED.state, everything(FULL), held, sub)  # type: ignore[attr-defined]
    x, y = PROXY
    here = (x[y < 2], y[y < 2])
    trained = train(
        start, here, architecture=sub, epochs=5, batch_size=16, learning_rate=0.01, optimizer="adam", seed=4
    )
    assert evaluate(trained, here, architecture=sub).accuracy > 0.9
    assert parts.held_in(trained.state, sub) == held


@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("mlp", (6,), {"hidden": [16, 8]}),
        ("resnet34", (1, 8, 8), {"width": 4}),
        ("vgg16", (3, 32, 32), {"width": 4}),
        ("cnn", (1, 12, 12), {"channels": [8]}),
    ],
)
def test_modules_inherit_the_channels_of_the_block_that_they_stand_for(
    name: str, shape: tuple[int, ...], options: dict[str, object]
) -> None:
    base = Architecture.of(name, options, input_shape=shape, classes=4)
    full = modularise(base, Modularisation(modules=5, ratio=0.5, k=2))
    of_base = initialise(architecture=base, seed=1)
    fresh = initialise(architecture=full, seed=2)
    state = work.inherit(fresh, of_base, full=full, seed=3)
    assert state.keys() == fresh.keys()
    assert all(state[n].shape == fresh[n].shape for n in fresh)
    instantiate(full, seed=0).load_state_dict(state)
    path = parts.network_of(full).paths[0]
    unit = parts.network_of(full).layers[0]
    first = state[f"network.{path}.units.0.layer.weight"].flatten(1)
    from learners.eclm.network import blocks_of

    block = blocks_of(base)[0]
    original = of_base[f"{block.units[0].path}.weight"].flatten(1)
    assert all((original == row).all(1).any() for row in first)
    taken = {int((original == row).all(1).nonzero()[0]) for row in first}
    assert len(taken) == min(len(original), unit.widths[0] * 4)  # all channels before one comes twice


def test_with_all_gates_alike_inherited_modules_are_their_block() -> None:
    """Two modules of half the width each, weighted by a half: exactly the block that they were cut from."""
    base = Architecture.of("mlp", {"hidden": [16, 8]}, input_shape=(6,), classes=4)
    full = modularise(base, Modularisation(modules=3, ratio=0.5, k=3))
    of_base = initialise(architecture=base, seed=1)
    state = work.inherit(initialise(architecture=full, seed=2), of_base, full=full, seed=3)
    module = instantiate(full, seed=0)
    module.load_state_dict(state)
    plain = instantiate(base, seed=0)
    plain.load_state_dict(of_base)
    x = torch.rand(5, 6)
    scores = torch.tensor([[-torch.inf, 0.0, 0.0]]).repeat(5, 1)
    with torch.no_grad():
        assert torch.allclose(module.run(x, scores), plain(x), atol=1e-5)  # type: ignore[operator]
