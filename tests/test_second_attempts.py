"""An attempt that fails is made again; who missed a model gets it; what is trained on is what is there."""

from typing import Any

import pandas as pd
import pytest

from edgesim import Learner
from edgesim.models import Architecture, cost
from edgesim.testing import run_tiny, tiny_scenario
from learners.adaptive_net.learner import AdaptiveNet
from learners.cloud_only import CloudOnly
from learners.ecavg import ECAvg
from learners.eclm.learner import ECLM
from learners.fedavg import FedAvg
from learners.heterofl.learner import HeteroFL
from learners.on_device import OnDevice

DATA = tiny_scenario().to_document()["data"]
NEAR, FAR = tiny_scenario().to_document()["devices"]
SHIFT = {"name": "shift", "kind": "label", "at": "300 s", "classes": [0, 1]}
SWAP = {"name": "swap", "kind": "concept", "at": "250 s", "permute": {0: 1, 1: 2, 2: 3, 3: 0}, "replace": "100 %"}
FRESH = {**DATA, "arrival": {"rate": "1 /s", "buffer": 20}}
WIDE = {"name": "mlp", "hidden": [64]}


def tables_of(
    learner: type[Learner], params: dict[str, Any], *, timing_only: bool = True, **scenario: Any
) -> dict[str, pd.DataFrame]:
    world = tiny_scenario(**{"drifts": [], "horizon": "20 min", **scenario})
    return run_tiny(learner(learner.Params.model_validate(params)), world, timing_only=timing_only)


def trainings(tables: dict[str, pd.DataFrame], node: str = "", status: str = "done") -> pd.DataFrame:
    rows = tables["computations"]
    return rows[(rows["kind"] == "train") & (rows["status"] == status) & rows["node"].str.startswith(node)]


def one_short_of_memory(until_s: int) -> dict[str, Any]:
    return {**NEAR, "count": 1, "memory": {"steps": {"0 s": "64 MiB", "300 s": "800 B", f"{until_s} s": "64 MiB"}}}


def test_a_training_that_was_refused_is_tried_again_after_30_60_120_seconds() -> None:
    tables = tables_of(OnDevice, {"trigger": "drift"}, drifts=[SHIFT], devices=[one_short_of_memory(500)])
    assert trainings(tables, status="out_of_memory")["start_s"].tolist() == [300, 330, 390]
    assert trainings(tables)["start_s"].tolist() == [510]


def test_who_acts_at_intervals_waits_for_the_next_one() -> None:
    tables = tables_of(OnDevice, {"trigger": {"every": "5 min"}}, devices=[one_short_of_memory(500)])
    assert trainings(tables, status="out_of_memory")["start_s"].tolist() == [300]
    assert trainings(tables)["start_s"].tolist()[0] == 600


def test_a_sub_model_is_asked_for_again_where_the_device_left_meanwhile() -> None:
    params = {"trigger": "drift", "collect": "20 s", "epochs_end_to_end": 1, "epochs_enhancing": 1}
    device = {**FAR, "count": 1, "away": [{"at": "320.05 s", "for": "5 s"}]}
    tables = tables_of(ECLM, params, timing_only=False, drifts=[SHIFT], devices=[device])
    assert trainings(tables, "far")["start_s"].tolist()[0] == pytest.approx(370, abs=5)


@pytest.mark.parametrize("learner", [CloudOnly, FedAvg, ECAvg])
def test_the_cloud_begins_again_where_nobody_could_send(learner: type[Learner]) -> None:
    away = [{"at": "310.1 s", "for": "35 s"}]
    device = {**FAR, "count": 1, "uplink": "1 kbit/s", "away": away}
    tables = tables_of(learner, {"trigger": "drift", "collect": "10 s"}, drifts=[SHIFT], devices=[device])
    cut = tables["transfers"].query("start_s > 300 and status != 'delivered'")
    assert len(cut) > 0
    made = tables["computations"].query("node == 'cloud' and start_s > 300 and status == 'done'")
    assert len(made) > 0
    assert tables["deployments"]["time_s"].max() > 345


@pytest.mark.parametrize(("learner", "params"), [(OnDevice, {}), (AdaptiveNet, {"branch_epochs": 0, "path_epochs": 0})])
def test_after_an_absence_that_intervals_passed_in_a_device_adapts_once(
    learner: type[Learner], params: dict[str, Any]
) -> None:
    device = {**NEAR, "count": 1, "away": [{"at": "250 s", "for": "600 s"}]}
    params = {"trigger": {"every": "5 min"}, "epochs": 1, **params}
    started = trainings(tables_of(learner, params, timing_only=learner is OnDevice, devices=[device]))["start_s"]
    assert len(started[(started >= 850) & (started < 900)]) == 1


def test_a_width_that_the_cloud_could_not_take_out_is_taken_out_later() -> None:
    params = {"period": "2 min", "epochs": 1, "assignment": "dealt", "rates": [1.0, 0.5], "pretraining_rounds": 0}
    dip = {"steps": {"0 s": "1 GiB", "121 s": "1 kB", "125 s": "1 GiB"}}
    cloud = {**tiny_scenario().to_document()["cloud"], "compute": "10 kFLOP/s", "memory": dip}
    tables = tables_of(HeteroFL, params, cloud=cloud, devices=[NEAR, {**FAR, "compute": "100 MFLOP/s"}])
    assert tables["computations"].query("node == 'cloud' and status != 'done' and status != 'offline'").size
    assert trainings(tables)["start_s"].max() > 900


def test_a_device_trains_a_width_that_fits_when_it_trains() -> None:
    swing = {"steps": {"0 s": "4 kB", "0.005 s": "64 kB", "60 s": "4 kB"}, "repeat": "120 s"}
    devices = [{**NEAR, "count": 1}, {**NEAR, "name": "swing", "count": 1, "memory": swing}]
    params = {"period": "2 min", "epochs": 1, "pretraining_rounds": 0, "rates": [1.0, 0.5, 0.25, 0.125]}
    tables = tables_of(HeteroFL, params, model=WIDE, horizon="13 min", devices=devices)
    assert len(trainings(tables, "swing")) == 6
    assert len(trainings(tables, "swing", "out_of_memory")) == 0


def test_a_device_at_work_when_all_others_got_a_model_gets_it_afterwards() -> None:
    slow = {**FAR, "count": 1, "compute": "20 kFLOP/s"}
    params = {"trigger": "drift", "deadline": "2 s"}
    deployed = tables_of(FedAvg, params, drifts=[SHIFT], devices=[NEAR, slow])["deployments"]
    merged = deployed.query("device == 'near-0' and time_s > 300")["model_id"].tolist()
    assert deployed.query("device == 'far-0' and time_s > 300")["model_id"].tolist() == merged != []


def test_a_link_that_is_down_for_good_holds_up_no_round_that_has_its_quorum() -> None:
    dead = {**FAR, "count": 1, "downlink": {"steps": {"0 s": "50 kbit/s", "3 min": "0 bit/s"}}}
    params = {"period": "2 min", "quorum": 1, "participants": 2}
    tables = tables_of(FedAvg, params, horizon="30 min", devices=[{**NEAR, "count": 3}, dead])
    averages = tables["computations"].query("kind == 'average' and status == 'done'")
    assert averages["end_s"].max() > 1600


@pytest.mark.parametrize(
    ("learner", "params"),
    [
        (FedAvg, {"period": "2 min", "distribute": "participants"}),
        (AdaptiveNet, {"trigger": {"every": "2 min"}, "install": "download", "branch_epochs": 0, "path_epochs": 0}),
    ],
)
def test_a_device_trains_on_what_it_has_when_a_model_has_arrived(
    learner: type[Learner], params: dict[str, Any]
) -> None:
    slow = {**FAR, "count": 1, "downlink": "100 bit/s"}
    devices = [{**NEAR, "count": 1}, slow]
    tables = tables_of(
        learner, params, timing_only=learner is FedAvg, data=FRESH, drifts=[SWAP], horizon="9 min", devices=devices
    )
    waited = trainings(tables, "far").query("start_s > 260")
    assert len(waited) > 0
    assert (waited["start_s"] - waited["data_to_s"]).max() < 15
    assert (waited["input_data"] == "far-0@1").all()


def test_samples_that_come_late_are_trained_on_though_nobody_has_new_ones() -> None:
    still = {name: value for name, value in DATA.items() if name != "arrival"}
    params = {"period": "2 min", "deadline": "1 s"}
    tables = tables_of(CloudOnly, params, data=still, devices=[{**FAR, "count": 1, "uplink": "5 kbit/s"}])
    assert len(tables["transfers"].query("direction == 'up' and status == 'delivered'")) == 1
    assert len(trainings(tables, "cloud")) == 1


def test_a_model_that_a_device_missed_is_offered_again() -> None:
    still = {name: value for name, value in DATA.items() if name != "arrival"}
    away = {**FAR, "count": 1, "downlink": "1 kbit/s", "away": [{"at": "121.5 s", "for": "30 s"}]}
    tables = tables_of(CloudOnly, {"period": "2 min"}, data=still, devices=[{**NEAR, "count": 1}, away])
    assert len(trainings(tables, "cloud")) == 1
    served = tables["deployments"].query("device == 'far-0'")
    assert served["model_id"].tolist() == ["pretrained", "cloud/train/1"]
    downs = tables["transfers"].query("direction == 'down'")
    assert downs.query("status == 'delivered'").groupby("device").size().tolist() == [1, 1]


def test_edges_split_their_batches_where_memory_is_short() -> None:
    network = Architecture.of("mlp", {"hidden": [64]}, input_shape=(8,), classes=4)
    memory = cost(network).training_memory_bytes(17, "sgd") - 200
    tables = tables_of(ECAvg, {"every": "2 min"}, model=WIDE, devices=[{**NEAR, "memory": f"{memory} B"}])
    assert len(trainings(tables, "near", "out_of_memory")) == 0
    assert trainings(tables, "near")["batch_size"].max() < 16


def test_edges_without_samples_have_no_part_in_the_average() -> None:
    blind = {**FAR, "arrival": {"rate": "5 /s", "labelled": 0.0, "buffer": 20}}
    params = {"at": "60 s", "edge_start": "separate"}
    tables = tables_of(ECAvg, params, horizon="100 s", devices=[NEAR, blind])
    averages = tables["computations"].query("kind == 'average'")
    assert averages["input_model_ids"].tolist() == ["near-0/train/1;near-1/train/1"]
    assert set(tables["transfers"].query("direction == 'up'")["device"]) == {"near-0", "near-1"}
    assert tables["deployments"].query("model_id == 'cloud/train/1'")["device"].nunique() == 4


def test_a_path_without_a_loss_is_not_the_best() -> None:
    fault = {"name": "fault", "kind": "feature", "at": "3 min", "transform": "scale", "amount": 1000, "lasts": "6 min"}
    params = {
        "trigger": {"every": "2 min"},
        "training": {"learning_rate": 0.3, "optimizer": "momentum"},
        "branch_epochs": 2,
        "path_epochs": 2,
    }
    scenario = {"drifts": [{**fault, "replace": "100 %"}], "devices": [{**NEAR, "count": 1}]}
    tables = tables_of(AdaptiveNet, params, timing_only=False, **scenario)
    rows = tables["computations"]
    diverged = set(rows[rows["diverged"].eq(True)]["output_model_id"])
    assert diverged
    after = trainings(tables).query("start_s > 700")
    assert len(after) > 0
    assert not after["diverged"].any()
    assert tables["accuracy"]["accuracy"].iloc[-1] > 0.3
