"""AdaptiveNet: branches that learn to do what blocks do, paths under budgets, the search on the device."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from edgesim.jobs.arithmetic import evaluate, initialise, train
from edgesim.models import Architecture, cost, instantiate
from edgesim.testing import check_learner, run_tiny, tiny_scenario
from learners.adaptive_net import work
from learners.adaptive_net.architectures import Branching, path_of, supernet_of
from learners.adaptive_net.learner import AdaptiveNet
from learners.adaptive_net.network import Supernet, branch_counts
from learners.adaptive_net.search import BranchCosts, feasible, first_candidates, next_candidates

RESNET = Architecture.of("resnet18", {"width": 4}, input_shape=(1, 8, 8), classes=3)
MLP = Architecture.of("mlp", {"hidden": [16, 8]}, input_shape=(6,), classes=3)
TWO = Branching((0.5, 0.25), short=True, min_width=2)
CALLED = """
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f1, self.f2, self.f3 = nn.Linear(6, 16), nn.Linear(16, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.f3(F.gelu(self.f2(F.gelu(self.f1(x)))))


def make(*, input_shape, classes):
    return Net()
"""
QUICK = {"trigger": {"every": "3 min"}, "epochs": 2, "population": 2}


def batch(base: Architecture, count: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(count) % 3
    x = torch.randn(count, *base.input_shape, generator=draw)
    return x + y.reshape(-1, *[1] * len(base.input_shape)), y


def grown(base: Architecture) -> dict[str, torch.Tensor]:
    backbone = initialise(architecture=base, seed=1)
    return work.with_backbone(initialise(architecture=supernet_of(base, TWO), seed=2), backbone)


@pytest.mark.parametrize("base", [MLP, RESNET], ids=lambda base: base.name)
def test_the_path_of_all_own_blocks_is_the_backbone(base: Architecture) -> None:
    own = (0,) * len(branch_counts(base, TWO))
    target = path_of(base, TWO, own)
    taken = work.take_path(grown(base), base=base, target=target, choice=own)
    backbone = initialise(architecture=base, seed=1)
    assert taken.keys() == backbone.keys()
    assert all(torch.equal(taken[name], backbone[name]) for name in backbone)


def test_branches_grow_where_there_is_something_to_leave_out() -> None:
    assert branch_counts(MLP, TWO) == (2,)  # two layers: none can be left out
    assert branch_counts(RESNET, TWO) == (3, 3, 3, 3)
    assert branch_counts(RESNET, Branching((0.5,), short=False, min_width=2)) == (1, 1, 1, 1)


def test_a_path_computes_what_its_branches_compute() -> None:
    choice = (1, 0, 3, 2)
    target = path_of(RESNET, TWO, choice)
    state = grown(RESNET)
    path = instantiate(target, seed=0)
    path.load_state_dict(work.take_path(state, base=RESNET, target=target, choice=choice))
    supernet = instantiate(supernet_of(RESNET, TWO), seed=0)
    supernet.load_state_dict(state)
    assert isinstance(supernet, Supernet)
    path.eval(), supernet.eval()
    x = torch.rand(4, 1, 8, 8)
    net = supernet.backbone
    with torch.no_grad():
        h = net.relu(net.bn1(net.conv1(x)))  # type: ignore[operator]
        h = supernet.branches[0][0](h)  # type: ignore[index]
        h = net.layer2(h)  # type: ignore[operator]
        h = supernet.branches[2][2](h)  # type: ignore[index]
        h = supernet.branches[3][1](h)  # type: ignore[index]
        assert torch.allclose(path(x), net.fc(h.mean((2, 3))), atol=1e-6)  # type: ignore[operator]


def test_a_path_is_trained_through_the_supernet_as_it_is_served() -> None:
    choice = (1, 0, 3, 2)
    target = path_of(RESNET, TWO, choice)
    state = grown(RESNET)
    path, supernet = instantiate(target, seed=0), instantiate(supernet_of(RESNET, TWO), seed=0)
    path.load_state_dict(work.take_path(state, base=RESNET, target=target, choice=choice))
    supernet.load_state_dict(state)
    assert isinstance(supernet, Supernet)
    path.eval(), supernet.eval()
    x = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        assert torch.allclose(supernet.along(x, choice), path(x), atol=1e-6)
        assert torch.equal(supernet.along(x, (0, 0, 0, 0)), supernet(x))


def test_a_path_is_what_the_supernet_trains_where_activations_are_called_as_functions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "called_net.py").write_text(CALLED)
    monkeypatch.syspath_prepend(str(tmp_path))
    base = Architecture.of("called_net:make", {}, input_shape=(6,), classes=3, allow_code=True)
    state, x = grown(base), torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    supernet = instantiate(supernet_of(base, TWO), seed=0)
    supernet.load_state_dict(state)
    assert isinstance(supernet, Supernet)
    for choice in ((0,), (1,), (2,)):
        target = path_of(base, TWO, choice)
        path = instantiate(target, seed=0)
        path.load_state_dict(work.take_path(state, base=base, target=target, choice=choice))
        with torch.no_grad():
            assert torch.allclose(supernet.along(x, choice), path(x), atol=1e-6)


def test_training_paths_by_labels_makes_them_better_and_leaves_the_backbone_alone() -> None:
    data = batch(MLP, 90)
    backbone = train(
        initialise(architecture=MLP, seed=1), data, architecture=MLP, epochs=20, batch_size=16, learning_rate=0.01,
        optimizer="adam", seed=1,
    )  # fmt: skip
    architecture = supernet_of(MLP, TWO)
    fresh = work.with_backbone(initialise(architecture=architecture, seed=2), backbone)
    how: dict[str, Any] = {"batch_size": 16, "accumulate": 1, "learning_rate": 0.01, "optimizer": "adam", "seed": 1}
    distilled = work.distil(fresh, data, architecture=architecture, epochs=3, **how)
    trained = work.train_paths(distilled, data, architecture=architecture, epochs=10, **how)
    for choice in ((1,), (2,)):
        target = path_of(MLP, TWO, choice)
        before, after = (
            evaluate(work.take_path(state, base=MLP, target=target, choice=choice), data, architecture=target).loss
            for state in (distilled, trained)
        )
        assert after < 0.8 * before
    kept = [name for name in fresh if name.startswith("backbone.")]
    assert all(torch.equal(trained.state[name], fresh[name]) for name in kept)


@pytest.mark.slow
def test_distillation_brings_branches_near_their_blocks_and_leaves_the_backbone_alone() -> None:
    architecture = supernet_of(RESNET, TWO)
    state, data = grown(RESNET), batch(RESNET, 16)
    how: dict[str, Any] = {"batch_size": 16, "accumulate": 1, "learning_rate": 0.01, "optimizer": "adam", "seed": 1}
    once = work.distil(state, data, architecture=architecture, epochs=1, **how)
    often = work.distil(state, data, architecture=architecture, epochs=8, **how)
    assert often.loss < 0.85 * once.loss
    assert all(torch.equal(often.state[n], t) for n, t in state.items() if n.startswith("backbone."))


def test_a_step_of_distillation_costs_the_backbone_forward_and_the_branches_both_ways() -> None:
    supernet, base = cost(supernet_of(RESNET, TWO)), cost(RESNET)
    branches = supernet.forward_flops_per_sample - base.forward_flops_per_sample
    assert branches > 0
    assert supernet.train_flops_per_sample == base.forward_flops_per_sample + 3 * branches
    assert cost(path_of(RESNET, TWO, (2, 2, 2, 2))).forward_flops_per_sample < base.forward_flops_per_sample


def test_a_distilled_path_keeps_most_of_what_the_backbone_can() -> None:
    data = batch(MLP, 90)
    backbone = train(
        initialise(architecture=MLP, seed=1), data, architecture=MLP, epochs=20, batch_size=16, learning_rate=0.01,
        optimizer="adam", seed=1,
    )  # fmt: skip
    architecture = supernet_of(MLP, TWO)
    fresh = work.with_backbone(initialise(architecture=architecture, seed=2), backbone)
    tuned = work.distil(
        fresh, data, architecture=architecture, epochs=30, batch_size=16, accumulate=1, learning_rate=0.01,
        optimizer="adam", seed=1,
    )  # fmt: skip
    target = path_of(MLP, TWO, (2,))
    path = work.take_path(tuned, base=MLP, target=target, choice=(2,))
    start = work.take_path(fresh, base=MLP, target=target, choice=(2,))
    whole = evaluate(backbone, data, architecture=MLP).accuracy
    assert evaluate(path, data, architecture=target).accuracy > whole - 0.15
    assert evaluate(path, data, architecture=target).loss < evaluate(start, data, architecture=target).loss


def test_only_paths_within_all_budgets_are_tried_and_the_largest_first() -> None:
    random = np.random.default_rng(0)
    size = BranchCosts(10.0, ((0.0, -2.0, -4.0), (0.0, -1.0, -3.0)), budget=8.0)
    speed = BranchCosts(5.0, ((0.0, -1.0, -2.0), (0.0, 4.0, -1.0)), budget=4.0)
    fitting = feasible([2, 2], [size, speed], random)
    assert fitting == [(1, 0), (0, 2), (2, 0), (1, 2), (2, 2)]
    assert all(size.of(choice) <= 8 and speed.of(choice) <= 4 for choice in fitting)
    assert first_candidates(fitting, 3, random)[0] == (1, 0)
    assert feasible([2, 2], [BranchCosts(10.0, size.changes, budget=1.0)], random) == []


def test_the_search_goes_on_near_the_best() -> None:
    random = np.random.default_rng(0)
    fitting = [(a, b) for a in range(3) for b in range(3)]
    near = next_candidates({(1, 1): 0.1, (0, 0): 0.9}, fitting, 2, random)
    assert len(near) == 2
    assert all(sum(x != y for x, y in zip(choice, (1, 1), strict=True)) == 1 for choice in near)


def test_with_many_blocks_paths_are_drawn() -> None:
    changes = ((0.0, -1.0, -2.0),) * 12
    fitting = feasible([2] * 12, [BranchCosts(30.0, changes, budget=29.0)], np.random.default_rng(0))
    assert 1000 < len(fitting) <= 4097
    assert (2,) * 12 in fitting


def test_where_paths_are_drawn_the_backbone_is_among_them() -> None:
    changes = ((0.0, -1.0, -2.0),) * 12
    for seed in range(5):
        fitting = feasible([2] * 12, [BranchCosts(30.0, changes, budget=30.0)], np.random.default_rng(seed))
        assert fitting[0] == (0,) * 12  # the costliest
        assert len(set(fitting)) == len(fitting)


@pytest.mark.parametrize("short_of", [0, 1])
def test_where_paths_are_drawn_one_is_found_if_one_fits_a_single_budget(short_of: int) -> None:
    draw = np.random.default_rng(7)
    changes = [tuple((0.0, *draw.uniform(-2, 1, 3).tolist()) for _ in range(10)) for _ in range(2)]
    least = [50.0 + sum(min(block) for block in of_cost) for of_cost in changes]  # seldom the last branch of each block
    budgets = [least[cost] + 1e-9 if cost == short_of else 100.0 for cost in range(2)]
    costs = [BranchCosts(50.0, of_cost, budget) for of_cost, budget in zip(changes, budgets, strict=True)]
    for seed in range(5):
        (found,) = feasible([3] * 10, costs, np.random.default_rng(seed))
        assert costs[short_of].of(found) == pytest.approx(least[short_of])
    costs[short_of] = BranchCosts(50.0, changes[short_of], least[short_of] - 1e-6)
    assert feasible([3] * 10, costs, np.random.default_rng(0)) == []


def tables_of(scenario: dict[str, Any] | None = None, **params: object) -> dict[str, pd.DataFrame]:
    learner = AdaptiveNet(AdaptiveNet.Params.model_validate({**QUICK, **params}))
    return run_tiny(learner, tiny_scenario(**(scenario or {"horizon": "7 min", "drifts": []})))


def done(tables: dict[str, pd.DataFrame], kind: str) -> pd.DataFrame:
    return tables["computations"].query(f"kind == '{kind}' and status == 'done'")


def test_a_device_scores_paths_on_its_data_then_trains_and_serves_the_best() -> None:
    tables = tables_of()
    scores, trained = done(tables, "score"), done(tables, "train")
    assert len(trained) == 8
    assert len(scores) >= 2 * len(trained)
    served = tables["deployments"].query("cause == 'deploy'")
    assert set(served["model_id"]) == set(trained["output_model_id"])
    assert len(tables["transfers"]) == 0


def test_branches_may_travel_once_when_they_are_first_needed() -> None:
    transfers = tables_of(install="download")["transfers"]
    assert len(transfers) == 4
    assert set(transfers["model_id"]) == {"supernet"}


@pytest.mark.parametrize(("budget", "memory"), [(0.3, "64 MiB"), (0.5, "64 MiB"), (0.5, "5 kB"), (1.2, "5 kB")])
def test_tuning_keeps_to_its_budget_with_the_overhead_of_its_steps(budget: float, memory: str) -> None:
    near, far = tiny_scenario().to_document()["devices"]
    slow = {**far, "step_overhead": "50 ms", "memory": memory}
    learner = AdaptiveNet(AdaptiveNet.Params.model_validate({**QUICK, "training_budget": budget}))
    tables = run_tiny(learner, tiny_scenario(horizon="7 min", drifts=[], devices=[near, slow]))
    tuned = tables["computations"].query("kind == 'train' and node.str.startswith('far')")
    assert ((tuned["end_s"] - tuned["start_s"]) <= budget + 1e-9).all()
    assert len(tuned) == (0 if budget < 0.5 else 4) or memory != "64 MiB"


def test_a_budget_makes_paths_small() -> None:
    wide = {"horizon": "4 min", "drifts": [], "model": {"name": "mlp", "hidden": [64]}}
    sizes = tables_of(wide, max_ratio=0.7)["deployments"].query("cause == 'deploy'")
    whole = tables_of(wide)["deployments"].query("cause == 'start'")["size_bytes"].max()
    assert sizes["size_bytes"].max() < whole


@pytest.mark.parametrize(
    "params",
    [{"trigger": "drift", "install": "download"}, {"latency_budget": "1 ms", "training_budget": "1 s", "short": False}],
)
def test_adaptive_net_keeps_the_contract_with_other_parameters(params: dict[str, object]) -> None:
    check_learner(AdaptiveNet, {**QUICK, **params})
