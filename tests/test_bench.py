"""The network that jobs compute on, one after the other: none sees what another one has left there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from edgesim.jobs.arithmetic import bench, evaluate, initialise, train
from edgesim.jobs.bench import Bench
from edgesim.models import Architecture

DROPPING = Architecture.of("mlp", {"hidden": [16], "dropout": 0.5}, input_shape=(16,), classes=3)
RESNET = Architecture.of("resnet18", {"width": 4}, input_shape=(1, 8, 8), classes=3)
SAMPLES = {
    network: (torch.rand(20, *network.input_shape, generator=torch.Generator().manual_seed(1)), torch.arange(20) % 3)
    for network in (DROPPING, RESNET)
}


def trained(network: Architecture, trainable: tuple[str, ...] | None = None) -> dict[str, Any]:
    start = initialise(architecture=network, seed=0)
    how: dict[str, Any] = {"epochs": 2, "batch_size": 8, "learning_rate": 0.1, "trainable": trainable}
    return train(start, SAMPLES[network], architecture=network, seed=0, **how).state


def evaluated(network: Architecture) -> float:
    return evaluate(initialise(architecture=network, seed=0), SAMPLES[network], architecture=network).loss_sum


def frozen(tool: Bench) -> None:
    tool.module.requires_grad_(False)


def scored(tool: Bench) -> None:
    tool.module.eval()


def half_trained(tool: Bench) -> None:
    tool.module.train()
    next(tool.module.parameters()).requires_grad_(False)


@pytest.mark.parametrize("network", [DROPPING, RESNET], ids=["dropout", "resnet18"])
@pytest.mark.parametrize("leave", [frozen, scored, half_trained])
def test_a_job_that_leaves_another_mode_changes_no_other(network: Architecture, leave: Callable[[Bench], None]) -> None:
    part = next(reversed(trained(network))).rpartition(".")[0]
    for compute in (lambda: trained(network), lambda: trained(network, (part,))):
        before = compute()
        leave(bench(network))
        after = compute()
        assert all(torch.equal(before[name], after[name]) for name in before)
    loss = evaluated(network)
    leave(bench(network))
    assert evaluated(network) == loss


def test_after_a_partial_training_an_evaluation_leaves_every_parameter_free() -> None:
    tool = Bench(DROPPING)
    names = [name for name, _ in tool.module.named_parameters()]
    assert len(tool.train(names[:1])) == 1
    tool.evaluate()
    assert all(parameter.requires_grad for parameter in tool.module.parameters())
    assert not any(layer.training for layer in tool.module.modules())
    assert len(tool.train(names[:1])) == 1
    assert len(tool.train()) == len(names)


def test_what_a_network_of_a_users_own_changes_in_pytorchs_layers_is_undone() -> None:
    network = Architecture.of("own_networks:annealing", {}, input_shape=(16,), classes=3, allow_code=True)
    SAMPLES[network] = SAMPLES[DROPPING]
    first, loss, again = trained(network), evaluated(network), trained(network)
    assert evaluated(network) == loss
    assert all(torch.equal(first[name], again[name]) for name in first)
