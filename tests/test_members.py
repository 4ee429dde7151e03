"""Networks that stay in the stack that they were trained in: the same to everybody as networks of their own."""

from __future__ import annotations

import gc
import pickle
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from edgesim.jobs import InlinePlane, Label, job
from edgesim.jobs.arithmetic import Trained, average, initialise, train
from edgesim.jobs.members import Member, Stack, one_by_one, plain, side_by_side
from edgesim.jobs.stacked_evaluation import evaluate as evaluate_together
from edgesim.jobs.stacked_training import train as train_together
from edgesim.models import Architecture, State

SMALL = Architecture.of("mlp", {"hidden": [16]}, input_shape=(8,), classes=3)
HOW: dict[str, Any] = {"architecture": SMALL, "epochs": 2, "batch_size": 8, "learning_rate": 0.1}
LABEL = Label("fedavg", "camera-3", 12.5, "camera-3/train/7")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As fused jobs run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def samples(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(20, 8)).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy(rng.integers(0, 3, 20))


class Numbers:
    """A view of random samples."""

    def __init__(self, seed: int) -> None:
        self.key = f"samples/{seed}"
        self.seed = seed

    def materialise(self) -> tuple[Any, Any]:
        x, y = samples(self.seed)
        return x.numpy(), y.numpy()


def trained(count: int) -> list[Any]:
    start = initialise(architecture=SMALL, seed=0)
    results = train_together([((start, samples(seed)), seed) for seed in range(count)], **HOW)
    return [result.state for result in results if isinstance(result, Trained)]


def own(state: Any) -> State:
    """The same weights without a stack."""
    return {name: tensor.clone() for name, tensor in state.items()}


def same(first: Any, second: Any) -> bool:
    return tuple(first) == tuple(second) and all(torch.equal(first[name], second[name]) for name in first)


ORDERS = [[0, 1, 2, 3], [2, 0, 3], [1], [1, 1], [3, 3, 0]]


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_what_is_computed_of_members_is_what_is_computed_of_networks_of_their_own(order: list[int]) -> None:
    members = trained(4)
    chosen, apart = [members[place] for place in order], [own(members[place]) for place in order]
    assert same(average(*chosen), average(*apart))
    again, expected = (
        train_together([((state, samples(9)), 5) for state in states], **HOW) for states in (chosen, apart)
    )
    for first, second in zip(again, expected, strict=True):
        assert isinstance(first, Trained)
        assert isinstance(second, Trained)
        assert same(first.state, second.state)
    scores, expected_scores = (
        evaluate_together([((state, samples(8)), None) for state in states], architecture=SMALL)
        for states in (chosen, apart)
    )
    assert scores == expected_scores
    mixed = [*chosen, apart[0]]
    assert same(average(*mixed), average(*apart, apart[0]))


def test_networks_side_by_side_are_read_where_they_are_and_copied_to_be_written_to() -> None:
    members = trained(3)
    names = list(members[0])
    read, written = side_by_side(members, names), side_by_side(members, names, own=True)
    for stack, copy, name in zip(read, written, names, strict=True):
        assert stack.data_ptr() == members[0][name].data_ptr()
        assert copy.data_ptr() != stack.data_ptr()
        assert torch.equal(stack, copy)
    for tensors, member in zip(one_by_one(members, names), members, strict=True):
        assert same(dict(zip(names, tensors, strict=True)), member)


def test_who_knows_of_no_stacks_gets_dicts_with_memory_of_their_own() -> None:
    result = train_together([((initialise(architecture=SMALL, seed=0), samples(1)), 1)] * 3, **HOW)[0]
    assert isinstance(result, Trained)
    assert type(result.state) is Member
    expected = own(result.state)
    for state in (plain(result).state, plain(result.state), pickle.loads(pickle.dumps(result.state))):
        assert type(state) is dict
        assert same(state, expected)
    for tensor in plain(result.state).values():
        assert tensor.untyped_storage().nbytes() == tensor.nbytes
        assert not tensor.is_inference()  # autograd takes it


@job
def kinds(*states: dict[str, Any]) -> list[str]:
    return [type(state).__name__ for state in states]


def test_in_a_plane_other_jobs_and_people_get_dicts() -> None:
    plane = InlinePlane()
    start = plane.submit(initialise, architecture=SMALL, seed=0, label=LABEL)
    handles = [plane.submit(train, start, Numbers(seed), seed=seed, label=LABEL, **HOW) for seed in range(4)]
    states = [handle.part("state") for handle in handles]
    assert plane.submit(kinds, *states, label=LABEL).value() == ["dict"] * 4
    assert all(type(handle.value()) is dict for handle in states)
    assert type(handles[0].value().state) is dict


def test_a_stack_goes_when_few_need_it() -> None:
    plane = InlinePlane()
    start = plane.submit(initialise, architecture=SMALL, seed=0, label=LABEL)
    jobs = [plane.submit(train, start, Numbers(seed), seed=seed, label=LABEL, **HOW) for seed in range(6)]
    states = [handle.part("state") for handle in jobs]
    del jobs
    plane.flush()
    gc.collect()
    stacks = [weakref.ref(found) for found in gc.get_objects() if type(found) is Stack]
    assert sum(stack() is not None for stack in stacks) == 1
    del states[3:]
    plane.flush()
    assert not any(stack() for stack in stacks)
    assert all(type(handle.value()) is dict for handle in states)
