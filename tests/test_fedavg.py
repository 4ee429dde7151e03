"""FedAvg and FedProx: who takes part, what travels, what is averaged."""

from typing import Any

import pandas as pd
import pytest
import torch

from edgesim import Learner
from edgesim.jobs.arithmetic import initialise, train
from edgesim.models import Architecture
from edgesim.testing import check_learner, run_tiny, tiny_scenario
from learners.fedavg import FedAvg
from learners.fedprox import FedProx
from learners.proximal import train_near

MLP = Architecture.of("mlp", {"hidden": [8]}, input_shape=(6,), classes=3)


def tables_of(scenario: dict[str, Any] | None = None, **params: object) -> dict[str, pd.DataFrame]:
    learner = FedAvg(FedAvg.Params.model_validate(params))
    return run_tiny(learner, tiny_scenario(**(scenario or {})))


def jobs(tables: dict[str, pd.DataFrame], kind: str) -> pd.DataFrame:
    rows = tables["computations"]
    return rows[(rows["kind"] == kind) & (rows["status"] == "done")]


def test_the_cloud_averages_what_the_sampled_devices_have_sent() -> None:
    tables = tables_of({"horizon": "6 min", "drifts": []}, period="2 min", participants=2)
    averages = jobs(tables, "average")
    assert len(averages) == 2
    trained = jobs(tables, "train")
    for models in averages["input_model_ids"]:
        assert len(models.split(";")) == 2
        assert set(models.split(";")) <= set(trained["output_model_id"])
    assert len(trained) == 4


def test_each_new_model_goes_to_all_devices_or_to_participants_only() -> None:
    plain: dict[str, Any] = {"horizon": "6 min", "drifts": []}
    to_all = tables_of(plain, period="2 min", participants=1)["transfers"]
    first = to_all[to_all["model_id"] == "cloud/average/1"]
    assert set(first["device"]) == {"near-0", "near-1", "far-0", "far-1"}
    to_few = tables_of(plain, period="2 min", participants=1, distribute="participants")["transfers"]
    downs = to_few[to_few["direction"] == "down"]
    assert len(downs) <= 1  # the first participant has the initial model


def test_a_device_that_has_the_current_model_does_not_fetch_it_again() -> None:
    transfers = tables_of({"horizon": "10 min", "drifts": []}, period="2 min")["transfers"]
    downs = transfers[transfers["direction"] == "down"]
    assert not downs.duplicated(["device", "model_id"]).any()


def test_a_deadline_leaves_slow_devices_out_of_the_round() -> None:
    slow: dict[str, Any] = {"horizon": "5 min", "drifts": []}
    tables = tables_of(slow, period="2 min", deadline="200 ms")
    for models in jobs(tables, "average")["input_model_ids"]:
        assert "far" not in models
    everyone = tables_of(slow, period="2 min")
    assert any("far" in models for models in jobs(everyone, "average")["input_model_ids"])


@pytest.mark.parametrize("learner", [FedAvg, FedProx])
@pytest.mark.parametrize("why", [{"memory": "100 B"}, {"arrival": {"rate": "1 /s", "labelled": 0, "buffer": 20}}])
def test_a_quorum_counts_updates_and_not_devices_that_fail_or_have_no_samples(
    learner: type[Learner], why: dict[str, object]
) -> None:
    near, far = tiny_scenario().to_document()["devices"]
    params = learner.Params.model_validate({"period": "3 min", "epochs": 1, "quorum": 2})
    tables = run_tiny(learner(params), tiny_scenario(horizon="13 min", drifts=[], devices=[near, {**far, **why}]))
    averaged = jobs(tables, "average")["input_model_ids"].tolist()
    assert averaged == [f"near-0/train/{number};near-1/train/{number}" for number in range(1, 5)]


def test_participants_are_drawn_among_devices_with_samples() -> None:
    near, far = tiny_scenario().to_document()["devices"]
    blind = {**far, "count": 6, "arrival": {"rate": "5 /s", "labelled": 0, "buffer": 20}}
    tables = tables_of({"horizon": "10 min", "drifts": [], "devices": [near, blind]}, period="1 min", participants=2)
    later = jobs(tables, "average").query("start_s > 130")["input_model_ids"]
    assert len(later) > 5
    assert (later.str.count(";") == 1).all()


def test_devices_serve_the_clouds_model_or_their_own() -> None:
    own = tables_of({"horizon": "5 min", "drifts": []}, period="2 min", serve="local")["deployments"]
    served = own[own["cause"] == "deploy"]["model_id"]
    assert served.str.contains("/train/").all()
    shared = tables_of({"horizon": "5 min", "drifts": []}, period="2 min")["deployments"]
    assert not shared["model_id"].str.contains("/train/").any()


def test_after_a_drift_it_may_run_several_rounds() -> None:
    learner = FedAvg(FedAvg.Params.model_validate({"trigger": "drift", "rounds": 3}))
    assert learner.oracle
    tables = run_tiny(learner)
    assert len(jobs(tables, "average")) == 6  # two drifts


def test_without_a_pull_fedprox_trains_as_fedavg_does() -> None:
    draw = torch.Generator().manual_seed(0)
    batch = torch.randn(30, 6, generator=draw), torch.arange(30) % 3
    start = initialise(architecture=MLP, seed=1)
    how: dict[str, Any] = {
        "architecture": MLP, "epochs": 2, "batch_size": 8, "accumulate": 1, "learning_rate": 0.1,
        "optimizer": "momentum", "seed": 5,
    }  # fmt: skip
    plain = train(start, batch, **how)
    near = train_near(start, batch, mu=0.0, **how)
    assert all(torch.equal(plain.state[name], near.state[name]) for name in plain.state)
    pulled = train_near(start, batch, mu=5.0, **how)

    def moved(state: dict[str, torch.Tensor]) -> float:
        return sum(float((state[name] - start[name]).norm()) for name in start)

    assert moved(pulled.state) < 0.5 * moved(plain.state)


@pytest.mark.parametrize(
    "params",
    [
        {"participants": 2, "deadline": "20 s", "distribute": "participants"},
        {"quorum": 1, "serve": "local", "trigger": "drift", "collect": "10 s"},
    ],
)
def test_fedavg_keeps_the_contract_with_other_parameters(params: dict[str, object]) -> None:
    check_learner(FedAvg, params)


def test_fedprox_trains_near_the_global_model() -> None:
    tables = run_tiny(FedProx(FedProx.Params.model_validate({"period": "2 min", "mu": 1.0})))
    assert len(jobs(tables, "average"))
