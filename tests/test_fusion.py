"""Jobs that are computed side by side: the results of jobs alone, and bits that do not depend on their companions."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edgesim.errors import WorkFailure
from edgesim.jobs import InlinePlane, Label, WorkPlane, job, shapes
from edgesim.jobs.arithmetic import Evaluation, Trained, evaluate, initialise, train
from edgesim.jobs.function import Element, Fused
from edgesim.jobs.stacked_evaluation import evaluate as evaluate_together
from edgesim.jobs.stacked_training import train as train_together
from edgesim.models import Architecture, State

SMALL = Architecture.of("mlp", {"hidden": [64]}, input_shape=(1, 8, 8), classes=10)
DEEP = Architecture.of("mlp", {"hidden": [33, 7]}, input_shape=(13,), classes=3)
FLAT = Architecture.of("mlp", {"hidden": []}, input_shape=(5,), classes=4)
WIDE = Architecture.of("mlp", {"hidden": [200]}, input_shape=(784,), classes=10)
LABEL = Label("fedavg", "camera-3", 12.5, "camera-3/train/7")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As fused jobs run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def samples(architecture: Architecture, count: int, seed: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, *architecture.input_shape)).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy(rng.integers(0, architecture.classes, count))


def element(architecture: Architecture, number: int, count: int) -> Element:
    """Weights, samples and a seed of their own, or the weights that all with an even number share."""
    weights = initialise(architecture=architecture, seed=number if number % 2 else 0)
    return (weights, samples(architecture, count, number)), 1000 + number


def how(architecture: Architecture, **changes: Any) -> dict[str, Any]:
    return {"architecture": architecture, "epochs": 2, "batch_size": 16, "learning_rate": 0.1, **changes}


def same(first: object, second: object) -> bool:
    """Whether two results are equal to the bit."""
    if isinstance(first, Trained) and isinstance(second, Trained):
        numbers = [(result.steps, result.diverged, np.float64(result.loss).tobytes()) for result in (first, second)]
        names = first.state.keys() == second.state.keys()
        return (
            names
            and numbers[0] == numbers[1]
            and all(first.state[name].numpy().tobytes() == second.state[name].numpy().tobytes() for name in first.state)
        )
    return first == second


# The results of jobs alone


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("architecture", [SMALL, DEEP, FLAT], ids=str)
def test_training_side_by_side_gives_what_training_alone_gives(
    architecture: Architecture, optimizer: str, weight_decay: float
) -> None:
    elements = [element(architecture, number, count) for number, count in enumerate((20, 100, 1, 33, 49, 16, 65))]
    params = how(architecture, optimizer=optimizer, weight_decay=weight_decay, learning_rate=0.01, epochs=3)
    together = train_together(elements, **params)
    for (inputs, seed), result in zip(elements, together, strict=True):
        assert seed is not None
        assert isinstance(result, Trained)
        alone = train(*inputs, seed=seed, **params)
        assert (result.steps, result.diverged) == (alone.steps, alone.diverged)
        assert result.loss == pytest.approx(alone.loss, rel=1e-4)
        assert list(result.state) == list(alone.state)
        for name, tensor in alone.state.items():
            torch.testing.assert_close(result.state[name], tensor, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("architecture", [SMALL, DEEP, FLAT], ids=str)
def test_evaluating_side_by_side_gives_what_evaluating_alone_gives(architecture: Architecture) -> None:
    elements = [element(architecture, number, count) for number, count in enumerate((100, 1, 300, 128, 129, 7, 0))]
    for (inputs, _), result in zip(elements, evaluate_together(elements, architecture=architecture), strict=True):
        alone = evaluate(*inputs, architecture=architecture)
        assert isinstance(result, Evaluation)
        assert (result.correct, result.samples) == (alone.correct, alone.samples)
        assert result.loss_sum == pytest.approx(alone.loss_sum, rel=1e-5)


def test_several_views_count_as_their_samples_together() -> None:
    weights, parts = initialise(architecture=SMALL, seed=1), [samples(SMALL, count, count) for count in (9, 0, 30)]
    joined = torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])
    apart, whole = train_together([((weights, *parts), 5), ((weights, joined), 5)], **how(SMALL))
    assert same(apart, whole)
    first, second = evaluate_together([((weights, *parts), None), ((weights, joined), None)], architecture=SMALL)
    assert isinstance(first, Evaluation)
    assert isinstance(second, Evaluation)
    assert (first.correct, first.samples) == (second.correct, 39)


def test_training_on_nothing_side_by_side_changes_nothing() -> None:
    weights = initialise(architecture=SMALL, seed=1)
    empty, none, full = train_together(
        [((weights, samples(SMALL, 0, 1)), 1), ((weights,), 2), ((weights, samples(SMALL, 9, 1)), 3)], **how(SMALL)
    )
    for result in (empty, none):
        assert isinstance(result, Trained)
        assert result.state is weights
        assert isnan(result.loss)
        assert result.steps == 0
    assert isinstance(full, Trained)
    assert full.steps == 2


def test_a_job_that_diverges_stops_where_it_would_alone_and_leaves_its_companions_alone() -> None:
    healthy, sick = element(SMALL, 1, 40), element(SMALL, 3, 40)
    x, y = sick[0][1]
    poisoned = (sick[0][0], (x.index_fill(0, torch.tensor([11]), float("inf")), y)), sick[1]
    alone = train(*poisoned[0], seed=poisoned[1] or 0, **how(SMALL))
    assert alone.diverged
    lonely = train_together([healthy], **how(SMALL))[0]
    kept, stopped, _ = train_together([healthy, poisoned, element(SMALL, 2, 90)], **how(SMALL))
    assert same(kept, lonely)
    assert isinstance(stopped, Trained)
    assert (stopped.diverged, stopped.steps, isnan(stopped.loss)) == (True, alone.steps, True)
    for name, tensor in alone.state.items():
        torch.testing.assert_close(stopped.state[name], tensor, rtol=1e-3, atol=2e-5)
        assert not stopped.state[name].is_inference()  # autograd takes it


def test_inputs_are_not_changed() -> None:
    weights, data = initialise(architecture=SMALL, seed=1), samples(SMALL, 20, 1)
    kept = {name: tensor.clone() for name, tensor in weights.items()}
    for count in (1, 3):
        stack = train_together([((weights, data), seed) for seed in range(count)], **how(SMALL))
        assert all(torch.equal(weights[name], kept[name]) for name in kept)
        states = [result.state for result in stack if isinstance(result, Trained)]
        before = [{name: tensor.clone() for name, tensor in state.items()} for state in states]
        train_together([((state, data), 7) for state in states], **how(SMALL))
        for state, old in zip(states, before, strict=True):
            assert all(torch.equal(state[name], old[name]) for name in old)


# Bits that do not depend on companions: what `fusion.json` may fuse hangs on these tests


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("architecture", [SMALL, DEEP, FLAT, WIDE], ids=str)
def test_bits_of_training_depend_neither_on_companions_nor_on_their_number(
    architecture: Architecture, optimizer: str
) -> None:
    counts = (20, 100, 1, 33, 49, 16, 65, 17, 20, 31, 32, 2, 8, 40, 57, 3, 90)
    elements = [element(architecture, number, count) for number, count in enumerate(counts)]
    params = how(architecture, optimizer=optimizer)
    alone = [train_together([one], **params)[0] for one in elements]
    for size in range(2, len(elements) + 1):
        for first in (0, len(elements) - size):
            together = train_together(elements[first : first + size], **params)
            assert all(map(same, together, alone[first : first + size])), (size, first)


def test_losses_are_summed_in_an_order_that_companions_do_not_change() -> None:
    large = {name: 30 * tensor for name, tensor in initialise(architecture=SMALL, seed=1).items()}
    for number in range(40):
        one = (large, samples(SMALL, 300, number)), None
        other = (large, samples(SMALL, 40 + number % 9, 1000 + number)), None
        alone = evaluate_together([one], architecture=SMALL)[0]
        assert evaluate_together([other, one], architecture=SMALL)[1] == alone


@pytest.mark.parametrize("architecture", [SMALL, DEEP, FLAT, WIDE], ids=str)
def test_bits_of_evaluations_depend_neither_on_companions_nor_on_their_number(architecture: Architecture) -> None:
    counts = (100, 100, 100, 1, 300, 128, 129, 7, 100, 99, 104, 40, 260, 100, 100, 100, 33)
    elements = [element(architecture, number, count) for number, count in enumerate(counts)]
    one_model = [((elements[0][0][0], inputs[1]), None) for inputs, _ in elements]
    for chosen in (elements, one_model):
        alone = [evaluate_together([one], architecture=architecture)[0] for one in chosen]
        for size in range(2, len(chosen) + 1):
            together = evaluate_together(chosen[:size], architecture=architecture)
            assert together == alone[:size], size


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_bits_are_the_same_in_any_company_and_order(data: st.DataObject) -> None:
    widths = data.draw(st.lists(st.integers(2, 70), max_size=2))
    features, classes = data.draw(st.integers(2, 90)), data.draw(st.integers(2, 12))
    architecture = Architecture.of("mlp", {"hidden": widths}, input_shape=(features,), classes=classes)
    counts = data.draw(st.lists(st.integers(1, 80), min_size=1, max_size=20))
    params = how(architecture, batch_size=data.draw(st.integers(1, 40)), epochs=data.draw(st.integers(1, 3)))
    elements = [element(architecture, number, count) for number, count in enumerate(counts)]
    alone = {number: train_together([one], **params)[0] for number, one in enumerate(elements)}
    order = data.draw(st.permutations(range(len(elements))))
    for number, result in zip(order, train_together([elements[n] for n in order], **params), strict=True):
        assert same(result, alone[number])
    scores = [evaluate_together([one], architecture=architecture)[0] for one in elements]
    assert evaluate_together([elements[n] for n in order], architecture=architecture) == [scores[n] for n in order]


def test_a_hundred_companions_make_no_difference() -> None:
    elements = [element(SMALL, number, 20 + number % 3) for number in range(130)]
    together = train_together(elements, **how(SMALL, batch_size=32, epochs=1))
    for number in (0, 1, 64, 129):
        assert same(together[number], train_together([elements[number]], **how(SMALL, batch_size=32, epochs=1))[0])


def test_the_table_fuses_nothing_but_what_these_tests_are_about() -> None:
    fused = {shape for shape, devices in shapes.table()["classes"].items() if devices["cpu"]["fused"]}
    assert fused
    for shape in fused:
        measured = shapes.table()["classes"][shape]["cpu"]
        assert shape.split()[1] == "mlp"
        assert measured["speed_up"]["10"] >= 1.2
    assert not any("cnn" in shape for shape in fused)
    assert all(set(devices) <= {"cpu", "cuda"} for devices in shapes.table()["classes"].values())


def test_on_cuda_nearly_all_fully_connected_networks_are_fused_and_nothing_else() -> None:
    classes = shapes.table()["classes"]
    fused = {shape for shape, devices in classes.items() if devices.get("cuda", {}).get("fused")}
    assert all(shape.split()[1] == "mlp" for shape in fused)
    assert fused > {shape for shape, devices in classes.items() if devices["cpu"]["fused"]}
    wide = Architecture.of("mlp", {"hidden": [1024, 256]}, input_shape=(784,), classes=10)
    assert shapes.training_path(how(wide, batch_size=32), "cpu") == shapes.SEQUENTIAL
    assert shapes.training_path(how(wide, batch_size=32), "cuda") == shapes.STACKED


# Elements that cannot be computed


def test_what_is_wrong_with_one_element_is_told_of_that_one() -> None:
    fine = element(SMALL, 1, 20)
    weights, (x, y) = fine[0]
    wrong: dict[str, Element] = {
        "not of this network: 1.bias": (({"1.weight": weights["1.weight"]}, (x, y)), 1),
        r"1.weight is \(3, 64\)": (({**weights, "1.weight": torch.zeros(3, 64)}, (x, y)), 1),
        "a sample has 9 numbers, and the network takes 64": ((weights, (torch.zeros(20, 9), y)), 1),
        "labels go from 99 to 99, and there are 10 classes": ((weights, (x, torch.full((20,), 99))), 1),
    }
    for run in (lambda elements: train_together(elements, **how(SMALL)), _evaluated):
        lonely = run([fine])[0]
        before, *errors, after = run([fine, *wrong.values(), fine])
        assert same(before, lonely)
        assert same(after, lonely)
        for error, message in zip(errors, wrong, strict=True):
            with pytest.raises(ValueError, match=message):
                raise error


def _evaluated(elements: list[Element]) -> list[Evaluation | Exception]:
    return evaluate_together(elements, architecture=SMALL)


@pytest.mark.parametrize("wrong", [{"optimizer": "lion"}, {"learning_rate": -1.0}, {"accumulate": 2}])
def test_training_that_cannot_be_done_side_by_side_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"lion|at least 0|without accumulation"):
        train_together([element(SMALL, 1, 20)], **how(SMALL, **wrong))


# What decides


def test_the_table_and_the_shape_decide_and_nothing_else() -> None:
    plain = how(SMALL, batch_size=32)
    assert shapes.training_path(plain) == shapes.STACKED
    assert shapes.evaluation_path({"architecture": SMALL}) == shapes.STACKED
    assert shapes.training_path(plain, device="tpu") == shapes.SEQUENTIAL
    for other in ({"accumulate": 2}, {"trainable": ("1",)}):
        assert shapes.training_path({**plain, **other}) == shapes.SEQUENTIAL
    for name, options in (
        ("cnn", {}),
        ("mlp", {"hidden": [64], "dropout": 0.1}),
        ("mlp", {"hidden": [1, 500]}),  # its bits would depend on its companions
    ):
        architecture = Architecture.of(name, options, input_shape=(1, 8, 8), classes=10)
        assert shapes.training_path(how(architecture)) == shapes.SEQUENTIAL
        assert shapes.evaluation_path({"architecture": architecture}) == shapes.SEQUENTIAL


def test_a_plane_computes_together_what_can_be_and_the_path_is_in_the_key() -> None:
    def results(plane: WorkPlane) -> tuple[list[State], list[str]]:
        start = plane.submit(initialise, architecture=SMALL, seed=0, label=LABEL)
        handles = [
            plane.submit(train, start, View(20 + device), seed=device, label=LABEL, **how(SMALL, batch_size=32))
            for device in range(10)
        ]
        return [handle.value().state for handle in handles], [handle.key for handle in handles]

    together, keys = results(InlinePlane())
    for look_ahead in (1, 3):
        apart, same_keys = results(InlinePlane(max_pending=look_ahead))
        assert same_keys == keys
        for first, second in zip(together, apart, strict=True):
            assert all(torch.equal(first[name], second[name]) for name in first)
    on_two_threads, other_keys = results(InlinePlane(threads_per_job=2))
    assert not set(keys) & set(other_keys)
    torch.testing.assert_close(on_two_threads[0], together[0], rtol=1e-3, atol=2e-5)


def test_an_element_that_fails_in_a_plane_is_the_failure_of_its_job() -> None:
    plane = InlinePlane()
    start = plane.submit(initialise, architecture=SMALL, seed=0, label=LABEL)
    params = how(SMALL, batch_size=32)
    good = plane.submit(train, start, View(20), seed=1, label=LABEL, **params)
    bad = plane.submit(train, start, View(20, side=3), seed=1, label=LABEL._replace(node="camera-9"), **params)
    with pytest.raises(WorkFailure, match=r"camera-9, at 12.5 s, .*: ValueError: a sample has 9 numbers"):
        plane.flush()
    assert good.done
    assert not bad.done


class View:
    """Samples of the small network, or of another size."""

    def __init__(self, count: int, side: int = 8) -> None:
        self.count, self.side = count, side
        self.key = f"samples/{count}/{side}"

    def materialise(self) -> tuple[Any, Any]:
        rng = np.random.default_rng(self.count)
        x = rng.normal(size=(self.count, 1, self.side, self.side)).astype(np.float32)
        return x, rng.integers(0, 10, self.count)


# Failures


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_weights_of_another_precision_are_taken_as_alone_and_change_no_companion(dtype: torch.dtype) -> None:
    elements = [element(SMALL, number, 20) for number in range(5)]
    (other, batch), seed = elements[2]
    wide = {name: tensor.to(dtype) for name, tensor in other.items()}
    back = {name: tensor.float() for name, tensor in wide.items()}
    mixed = [*elements[:2], ((wide, batch), seed), *elements[3:]]
    plain = [*elements[:2], ((back, batch), seed), *elements[3:]]
    for one, another in zip(train_together(mixed, **how(SMALL)), train_together(plain, **how(SMALL)), strict=True):
        assert same(one, another)
    assert evaluate_together(mixed, architecture=SMALL) == evaluate_together(plain, architecture=SMALL)


def _sums(elements: list[Element]) -> list[float]:
    return [1 / sum(1 / number for number in inputs) for inputs, _ in elements]  # of no use where one of them is 0


@job(fused=Fused(lambda params, device: "stacked", _sums, lambda params: True))
def harmonic(*numbers: float) -> float:
    raise NotImplementedError


def test_where_a_batch_fails_as_a_whole_only_the_job_at_fault_fails() -> None:
    plane = InlinePlane()
    good, bad, fine = (plane.submit(harmonic, number, 2.0, label=LABEL) for number in (2.0, 0.0, 2.0))
    with pytest.raises(WorkFailure, match="ZeroDivisionError"):
        plane.flush()
    assert (good.value(), fine.value()) == (1.0, 1.0)
    with pytest.raises(WorkFailure, match="ZeroDivisionError"):
        bad.value()
