"""The arithmetic of training, without any world: against PyTorch's own optimizers, and by what it promises."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isnan

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from edgesim.jobs.arithmetic import Evaluation, Trained, average, evaluate, initialise, train, transcode, transcode_some
from edgesim.jobs.batching import batches, steps
from edgesim.jobs.bench import Bench, is_finite
from edgesim.models import Architecture, State, instantiate

MLP = Architecture.of("mlp", {"hidden": [16]}, input_shape=(1, 4, 4), classes=3)
DROPPING = Architecture.of("mlp", {"hidden": [16], "dropout": 0.5}, input_shape=(1, 4, 4), classes=3)
RESNET = Architecture.of("resnet18", {"width": 4}, input_shape=(1, 8, 8), classes=3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the work plane, and quick where others use the cores too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def samples(count: int, side: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noisy blobs: three classes that a network can tell apart."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, count)
    x = rng.normal(size=(count, 1, side, side)) + y[:, None, None, None]
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y)


def same(first: State, second: State) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@contextmanager
def nothing_global_moves() -> Iterator[None]:
    def states() -> tuple[object, ...]:
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002

    before = states()
    yield
    assert states() == before


def trained_by_torch(
    state: State, x: Tensor, y: Tensor, optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer], seed: int
) -> State:
    """Two epochs in batches of 8, the plain way."""
    module = instantiate(MLP, seed=0)
    module.load_state_dict(state)
    mover = optimizer(list(module.parameters()))
    shuffler = torch.Generator().manual_seed(seed)
    for _ in range(2):
        order = torch.randperm(len(x), generator=shuffler)
        for start in range(0, len(x), 8):
            mover.zero_grad()
            nn.functional.cross_entropy(module(x[order[start : start + 8]]), y[order[start : start + 8]]).backward()
            mover.step()
    return module.state_dict()


# Training


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("sgd", lambda parameters, decay: torch.optim.SGD(parameters, lr=0.05, weight_decay=decay)),
        ("momentum", lambda parameters, decay: torch.optim.SGD(parameters, 0.05, momentum=0.9, weight_decay=decay)),
        ("adam", lambda parameters, decay: torch.optim.Adam(parameters, lr=0.05, weight_decay=decay)),
    ],
)
def test_training_equals_torch_optim(
    name: str, make: Callable[[list[nn.Parameter], float], torch.optim.Optimizer], weight_decay: float
) -> None:
    state = initialise(architecture=MLP, seed=1)
    x, y = samples(28)
    ours = train(
        state,
        (x, y),
        architecture=MLP,
        epochs=2,
        batch_size=8,
        learning_rate=0.05,
        optimizer=name,
        weight_decay=weight_decay,
        seed=9,
    ).state
    theirs = trained_by_torch(state, x, y, lambda parameters: make(parameters, weight_decay), seed=9)
    for key, tensor in theirs.items():
        torch.testing.assert_close(ours[key], tensor, rtol=1e-6, atol=1e-6)


def test_training_learns() -> None:
    state = initialise(architecture=MLP, seed=1)
    result = train(state, samples(300), architecture=MLP, epochs=15, batch_size=16, learning_rate=0.1, seed=0)
    before, after = (evaluate(s, samples(300, seed=1), architecture=MLP) for s in (state, result.state))
    assert after.accuracy > 0.9 > before.accuracy
    assert after.loss < before.loss


@pytest.mark.parametrize("architecture", [MLP, DROPPING, RESNET], ids=str)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(architecture: Architecture) -> None:
    state = initialise(architecture=architecture, seed=1)
    data = samples(20, side=architecture.input_shape[1])

    def run(seed: int) -> State:
        return train(
            state, data, architecture=architecture, epochs=2, batch_size=8, learning_rate=0.05, seed=seed
        ).state

    first = run(3)
    torch.rand(5)  # whatever others draw in between
    assert same(first, run(3))
    assert not same(first, run(4))


def test_dropout_follows_the_seed_and_not_the_shuffling_alone() -> None:
    def spread_over_seeds(architecture: Architecture) -> float:
        state = initialise(architecture=architecture, seed=1)
        losses = [
            train(
                state, samples(8), architecture=architecture, epochs=1, batch_size=8, learning_rate=0.5, seed=seed
            ).loss
            for seed in range(4)
        ]
        return max(losses) - min(losses)

    assert spread_over_seeds(MLP) < 1e-6  # a single batch gives one loss, in whatever order
    assert spread_over_seeds(DROPPING) > 1e-3


@pytest.mark.parametrize("architecture", [DROPPING, RESNET], ids=str)
def test_jobs_leave_all_global_random_state_alone(architecture: Architecture) -> None:
    data = samples(9, side=architecture.input_shape[1])
    with nothing_global_moves():
        state = initialise(architecture=architecture, seed=1)
        result = train(state, data, architecture=architecture, epochs=1, batch_size=4, learning_rate=0.1, seed=2)
        evaluate(result, data, architecture=architecture)
        average(state, result)


def test_a_job_does_not_change_its_inputs() -> None:
    state = initialise(architecture=RESNET, seed=1)
    kept = {name: tensor.clone() for name, tensor in state.items()}
    x, y = samples(9, side=8)
    x_kept, y_kept = x.clone(), y.clone()
    train(state, (x, y), architecture=RESNET, epochs=1, batch_size=4, learning_rate=0.1, seed=2)
    evaluate(state, (x, y), architecture=RESNET)
    average(state, initialise(architecture=RESNET, seed=2))
    assert same(state, kept)
    assert torch.equal(x, x_kept)
    assert torch.equal(y, y_kept)


def test_what_ran_before_on_the_same_network_makes_no_difference() -> None:
    state, other = (initialise(architecture=RESNET, seed=seed) for seed in (1, 2))
    data = samples(9, side=8)

    def run(trainable: tuple[str, ...] | None) -> State:
        return train(
            state, data, architecture=RESNET, epochs=1, batch_size=4, learning_rate=0.1, trainable=trainable, seed=2
        ).state

    alone = run(None)
    train(other, data, architecture=RESNET, epochs=1, batch_size=4, learning_rate=9.0, trainable=["fc"], seed=5)
    evaluate(other, data, architecture=RESNET)
    assert same(run(None), alone)


def test_training_on_nothing_changes_nothing_in_no_steps() -> None:
    state = initialise(architecture=MLP, seed=1)
    for views, epochs in (((), 3), ((samples(0),), 3), ((samples(5),), 0)):
        result = train(state, *views, architecture=MLP, epochs=epochs, batch_size=4, learning_rate=0.1, seed=0)
        assert same(result.state, state)
        assert result.steps == 0
        assert isnan(result.loss)
        assert not result.diverged


def test_views_are_trained_on_as_one_set() -> None:
    state = initialise(architecture=MLP, seed=1)
    x, y = samples(20)
    together = train(state, (x, y), architecture=MLP, epochs=1, batch_size=8, learning_rate=0.1, seed=0)
    apart = train(
        state,
        (x[:7], y[:7]),
        samples(0),
        (x[7:], y[7:]),
        architecture=MLP,
        epochs=1,
        batch_size=8,
        learning_rate=0.1,
        seed=0,
    )
    assert same(together.state, apart.state)


def test_only_what_is_trainable_moves() -> None:
    state = initialise(architecture=RESNET, seed=1)
    result = train(
        state,
        samples(12, side=8),
        architecture=RESNET,
        epochs=2,
        batch_size=4,
        learning_rate=0.1,
        trainable=["fc"],
        seed=0,
    ).state
    moved = {name for name in state if not torch.equal(state[name], result[name])}
    assert moved == {"fc.weight", "fc.bias"}


def test_doing_a_step_in_parts_is_the_same_step() -> None:
    state = initialise(architecture=MLP, seed=1)
    whole, parts = (
        train(
            state,
            samples(30),
            architecture=MLP,
            epochs=2,
            batch_size=12,
            learning_rate=0.1,
            accumulate=accumulate,
            seed=0,
        )
        for accumulate in (1, 3)
    )
    assert whole.steps == parts.steps == 6
    for name in state:
        torch.testing.assert_close(whole.state[name], parts.state[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("count", "batch_size", "made"), [(9, 4, 2), (1, 4, 1), (3, 1, 3)])
def test_batch_norm_survives_a_single_sample(count: int, batch_size: int, made: int) -> None:
    state = initialise(architecture=RESNET, seed=1)
    result = train(
        state,
        samples(count, side=8),
        architecture=RESNET,
        epochs=1,
        batch_size=batch_size,
        learning_rate=0.01,
        seed=0,
    )
    assert result.steps == made
    assert not result.diverged
    statistics_moved = not torch.equal(state["bn1.running_mean"], result.state["bn1.running_mean"])
    assert statistics_moved == (count > 1 and batch_size > 1)


def test_divergence_is_told_and_is_no_crash() -> None:
    state = initialise(architecture=MLP, seed=1)
    x, y = samples(32)
    result = train(state, (1e20 * x, y), architecture=MLP, epochs=3, batch_size=8, learning_rate=1e20, seed=0)
    assert result.diverged
    assert result.steps < 12
    evaluation = evaluate(result, (x, y), architecture=MLP)
    assert evaluation.samples == 32


def test_the_last_step_can_diverge_too() -> None:
    state = initialise(architecture=MLP, seed=1)
    x, y = samples(8)
    result = train(state, (1e3 * x, y), architecture=MLP, epochs=1, batch_size=8, learning_rate=3e38, seed=0)
    assert result.diverged
    assert np.isfinite(result.loss)


def test_large_is_not_infinite() -> None:
    assert is_finite([torch.full((4,), 3e38), torch.tensor(7)])
    for bad in (torch.nan, torch.inf):
        assert not is_finite([torch.ones(2), torch.tensor([0.0, bad])])


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match="not of this network"):
        evaluate(initialise(architecture=RESNET, seed=0), samples(4), architecture=MLP)


def test_an_unknown_optimizer_is_named() -> None:
    state = initialise(architecture=MLP, seed=1)
    with pytest.raises(ValueError, match="adamw"):
        train(state, samples(4), architecture=MLP, epochs=1, batch_size=2, learning_rate=0.1, optimizer="adamw", seed=0)


def test_buffers_outside_the_state_start_anew_for_every_job(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 2)
            self.register_buffer("seen", torch.zeros(1), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            self.seen += 1
            return super().forward(x) * self.seen

    monkeypatch.setattr("edgesim.jobs.bench.instantiate", lambda architecture, seed: Counting())
    tool = Bench(MLP)
    state, x = tool.state(), torch.ones(1, 2)
    tool.load(state)
    first = tool.module(x)
    tool.load(state)
    assert list(state) == ["weight", "bias"]
    assert torch.equal(tool.module(x), first)


# Batches


@given(st.integers(0, 500), st.integers(1, 70))
def test_batches_hold_every_sample_once_and_no_batch_a_single_one(samples: int, batch_size: int) -> None:
    cut = batches(samples, batch_size)
    assert [index for start, stop in cut for index in range(start, stop)] == list(range(samples))
    sizes = [stop - start for start, stop in cut]
    assert all(size <= batch_size + 1 for size in sizes)
    assert sizes.count(1) == 0 or samples == 1 or batch_size == 1


@given(st.integers(0, 60), st.integers(1, 20), st.integers(0, 3))
def test_training_makes_the_steps_that_are_counted(samples: int, batch_size: int, epochs: int) -> None:
    assert steps(samples, batch_size, epochs) == epochs * len(batches(samples, batch_size))


# Evaluation


def test_evaluation_counts_what_the_network_gets_right() -> None:
    state = initialise(architecture=MLP, seed=1)
    x, y = samples(600)
    module = instantiate(MLP, seed=1).eval()
    with torch.no_grad():
        logits = module(x)
    result = evaluate(state, (x[:7], y[:7]), (x[7:], y[7:]), architecture=MLP)
    assert result.samples == 600
    assert result.correct == int((logits.argmax(1) == y).sum())
    assert result.loss_sum == pytest.approx(nn.functional.cross_entropy(logits, y, reduction="sum").item(), rel=1e-5)
    assert result.accuracy == result.correct / 600


def test_evaluating_nothing_measures_nothing() -> None:
    result = evaluate(initialise(architecture=MLP, seed=1), samples(0), architecture=MLP)
    assert result == Evaluation(0, 0.0, 0)
    assert isnan(result.accuracy)
    assert isnan(result.loss)


def test_evaluation_uses_running_statistics_and_no_dropout() -> None:
    for architecture in (RESNET, DROPPING):
        state = initialise(architecture=architecture, seed=1)
        x, y = samples(6, side=architecture.input_shape[1])
        alone = [evaluate(state, (x[i : i + 1], y[i : i + 1]), architecture=architecture).loss_sum for i in range(6)]
        together = evaluate(state, (x, y), architecture=architecture)
        assert together.loss_sum == pytest.approx(sum(alone), rel=1e-5)


# Averaging


def test_averaging_identical_states_is_the_identity() -> None:
    state = initialise(architecture=RESNET, seed=1)
    assert same(average(*[state] * 7, weights=[0.1, 3, 0.7, 1e-9, 2, 5, 0.3]), state)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6).filter(lambda weights: sum(weights) > 1e-3))
def test_averaging_is_the_weighted_mean(weights: list[float]) -> None:
    states = [{"w": torch.tensor([float(i), -2.0 * i]), "n": torch.tensor(i)} for i in range(len(weights))]
    mean = average(*states, weights=weights)
    expected = sum(weight * i for i, weight in enumerate(weights)) / sum(weights)
    torch.testing.assert_close(mean["w"], torch.tensor([expected, -2 * expected]), rtol=1e-5, atol=1e-5)
    assert mean["n"].item() == 0


def test_averaging_takes_what_training_returns() -> None:
    state = initialise(architecture=MLP, seed=1)
    assert same(average(Trained(state, 0.0, 1), state), state)


def test_what_weighs_nothing_does_not_count_not_even_if_it_diverged() -> None:
    good, bad = {"w": torch.ones(2)}, {"w": torch.full((2,), torch.nan)}
    assert same(average(bad, good, weights=[0, 2]), good)


@pytest.mark.parametrize("weights", [[0.0, 0.0], [-1.0, 2.0], [1.0], [float("inf"), 1.0]])
def test_weights_that_make_no_mean_are_refused(weights: list[float]) -> None:
    state = {"w": torch.ones(2)}
    with pytest.raises(ValueError, match="weights"):
        average(state, state, weights=weights)


def test_a_narrow_codec_loses_precision_and_a_wide_one_nothing() -> None:
    state = initialise(architecture=RESNET, seed=1)
    assert same(transcode(state, codec="fp32"), state)
    narrow = transcode(state, codec="fp16")
    assert not same(narrow, state)
    assert same(transcode(narrow, codec="fp16"), narrow)
    first, *others = state
    some = transcode_some(state, codec="fp16", names=(first,))
    assert same(some, {first: narrow[first]} | {name: state[name] for name in others})
    assert {name: tensor.dtype for name, tensor in narrow.items()} == {name: t.dtype for name, t in state.items()}
    for name, tensor in state.items():
        torch.testing.assert_close(narrow[name], tensor, rtol=1e-3, atol=1e-6)
