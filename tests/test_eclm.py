"""ECLM's protocol: who asks for what, what travels, what is merged, and what its parameters change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from edgesim import UserError
from edgesim.cli import app
from edgesim.models import cost
from edgesim.tables import read_manifest
from edgesim.testing import check_learner, run_tiny, tiny_scenario
from learners.eclm.learner import ECLM

QUICK = {"modules": 4, "active": 2, "period": "3 min", "epochs_end_to_end": 1, "epochs_enhancing": 1, "epochs": 1}
PLAIN: dict[str, Any] = {"horizon": "7 min", "drifts": []}
Tables = dict[str, pd.DataFrame]


def eclm(**params: object) -> ECLM:
    return ECLM(ECLM.Params.model_validate({**QUICK, **params}))


def tables_of(scenario: dict[str, Any] | None = None, *, timing_only: bool = False, **params: object) -> Tables:
    return run_tiny(eclm(**params), tiny_scenario(**(PLAIN if scenario is None else scenario)), timing_only=timing_only)


def jobs(tables: Tables, kind: str, node: str = "") -> pd.DataFrame:
    rows = tables["computations"]
    return rows[(rows["kind"] == kind) & (rows["status"] == "done") & rows["node"].str.startswith(node)]


def weights(tables: Tables, direction: str) -> pd.DataFrame:
    rows = tables["transfers"]
    return rows[(rows["kind"] == "weights") & (rows["direction"] == direction)]


def test_a_round_is_score_solve_derive_train_and_merge() -> None:
    tables = tables_of()
    first = tables["computations"]
    first = first[(first["start_s"] < 200) & (first["status"] == "done")].sort_values(["start_s", "sequence"])
    of_one = first[first["node"].isin(["near-0", "cloud"])]["kind"].tolist()
    assert of_one[0] == "score"
    assert list(dict.fromkeys(of_one)) == ["score", "solve", "derive", "train"]
    merged = jobs(tables, "derive", "cloud")
    merged = merged[merged["flops"] > 0]
    assert len(merged) == 2
    assert merged.iloc[0]["input_model_ids"].split(";")[0] == "enhanced"
    assert merged.iloc[1]["input_model_ids"].split(";")[0] == merged.iloc[0]["output_model_id"]


def test_scoring_costs_the_selector_only_and_its_bytes_are_logged() -> None:
    tables = tables_of()
    score = jobs(tables, "score").iloc[0]
    train = jobs(tables, "train").iloc[0]
    assert 0 < score["flops"] < train["flops"]
    control = tables["transfers"][tables["transfers"]["kind"] == "control"]
    assert set(control["size_bytes"]) == {(4 + 3) * 4}
    assert len(control) == len(jobs(tables, "score"))


def test_modules_in_the_version_that_a_device_has_do_not_travel_again() -> None:
    """Nothing is trained, so nothing has a new version: after the first time there is nothing to send."""
    tables = tables_of({**PLAIN, "horizon": "11 min"}, local_training=False, initial="full")
    assert len(weights(tables, "up")) == 0
    downs = weights(tables, "down")
    assert len(downs) == 12
    assert downs["size_bytes"].max() < 200  # empty lists


def test_modules_that_were_merged_travel_again() -> None:
    downs = weights(tables_of({**PLAIN, "horizon": "11 min"}, initial="full"), "down")
    by_round = downs.groupby(downs["start_s"] // 180)["size_bytes"].max()
    assert by_round.iloc[0] < 200
    assert (by_round.iloc[1:] > 200).all()  # how many modules had been merged hangs on whom they were derived for


def test_shared_parts_of_a_devices_own_do_not_travel_and_are_put_into_what_it_gets_later() -> None:
    averaged, own = tables_of(), tables_of(shared="local")
    for direction in ("down", "up"):
        assert 0 < weights(own, direction)["size_bytes"].max() < weights(averaged, direction)["size_bytes"].max()
    assert len(jobs(averaged, "derive", "near-0")) == 0
    (kept,) = jobs(own, "derive", "near-0").to_dict("records")  # in the second round
    sent, trained = kept["input_model_ids"].split(";")
    assert sent.startswith("cloud/")
    assert trained == jobs(own, "train", "near-0").iloc[0]["output_model_id"]


def test_without_memory_to_put_its_own_shared_parts_into_another_sub_model_a_device_trains_the_one_it_has() -> None:
    """2,400 bytes are enough to serve and to train, but not for two files of weights."""
    near, far = tiny_scenario().to_document()["devices"]
    falling = {**far, "memory": {"steps": {"0 s": "64 MiB", "300 s": "2400 B"}}}
    world = {**PLAIN, "horizon": "10 min", "devices": [near, falling]}
    tables = tables_of(world, timing_only=True, surrogate=True, shared="local")
    rows = tables["computations"].query("node == 'far-0' and start_s > 300 and kind in ['derive', 'train']")
    assert list(zip(rows["kind"], rows["status"], strict=True)) == [("derive", "out_of_memory"), ("train", "done")] * 2
    first, second = jobs(tables, "train", "far-0").query("start_s > 300").to_dict("records")
    assert second["input_model_ids"] == first["output_model_id"]
    ups = weights(tables, "up").query("device == 'far-0'")
    assert ups["size_bytes"].nunique() == 1  # of the same modules
    assert len(ups) == 3


def test_statistics_that_stay_the_clouds_do_not_come_up() -> None:
    partition = {"kind": "dirichlet", "alpha": 1.0, "samples": 20}
    digits = {"source": "digits", "proxy": {"share": 0.3}, "test_samples": 20, "partition": partition}
    world = {**PLAIN, "model": {"name": "resnet18", "width": 4}, "data": digits}

    def up(statistics: str) -> pd.DataFrame:
        return weights(tables_of(world, timing_only=True, surrogate=True, layers=1, statistics=statistics), "up")

    averaged, kept = up("average"), up("keep")
    assert len(kept) == len(averaged) > 4
    assert kept["size_bytes"].sum() < averaged["size_bytes"].sum()


def test_no_sub_model_exceeds_its_share_of_the_parameters() -> None:
    learner = eclm(max_ratio=0.4)
    run_tiny(learner, tiny_scenario(**PLAIN))
    assert learner._prepared is not None
    full = learner._prepared.cloud.architecture
    assert cost(learner._prepared.initial.architecture).parameters <= 0.4 * cost(full).parameters


def test_each_device_may_have_a_share_of_its_own() -> None:
    def sizes(max_ratio: object) -> pd.Series[float]:
        tables = tables_of(modules=8, max_ratio=max_ratio, surrogate=True, timing_only=True)
        return tables["deployments"].query("cause == 'deploy'").groupby("device")["size_bytes"].max()

    least, most = sizes(0.4), sizes(1.0)
    drawn = sizes({"uniform": [0.4, 1.0]})
    assert (least <= drawn).all()
    assert (drawn <= most).all()
    assert drawn.nunique() > 1


def test_a_device_gets_what_fits_its_memory_now() -> None:
    near, far = tiny_scenario().to_document()["devices"]

    def peak(memory: str) -> float:
        small = {**PLAIN, "devices": [near, {**far, "memory": memory}]}
        trained = jobs(tables_of(small, max_ratio=1), "train", "far")
        return float(trained["peak_memory_bytes"].max())

    roomy = peak("64 MiB")
    tight = peak(f"{int(0.6 * roomy)} B")
    assert tight <= 0.6 * roomy < roomy


def test_a_device_that_can_only_serve_does_not_train() -> None:
    near, far = tiny_scenario().to_document()["devices"]
    tables = tables_of({**PLAIN, "devices": [near, {**far, "memory": "4 kB", "memory_overhead": "3 kB"}]})
    assert len(tables["deployments"].query("cause == 'deploy' and device == 'far-0'"))
    assert len(jobs(tables, "train", "near"))
    assert len(jobs(tables, "train", "far")) == 0


def test_a_device_for_which_nothing_fits_is_told_so() -> None:
    near, far = tiny_scenario().to_document()["devices"]
    tables = tables_of({**PLAIN, "devices": [near, {**far, "memory": "2000 B"}]})
    refusals = tables["transfers"].query("kind == 'control' and direction == 'down'")
    assert set(refusals["device"]) == {"far-0", "far-1"}
    assert set(refusals["size_bytes"]) == {16}


def test_a_transfer_budget_bounds_the_bytes_by_the_present_bandwidth() -> None:
    near, far = tiny_scenario().to_document()["devices"]
    slow = {**PLAIN, "devices": [near, {**far, "uplink": "4 kbit/s", "downlink": "4 kbit/s"}]}
    generous = weights(tables_of(slow, max_ratio=1, modules=12, initial="full"), "up")
    bounded = weights(tables_of(slow, max_ratio=1, modules=12, initial="full", transfer_budget="3.2 s"), "up")

    def largest(rows: pd.DataFrame, group: str) -> float:
        return float(rows[rows["device"].str.startswith(group)]["size_bytes"].max())

    assert largest(bounded, "far") < largest(generous, "far")
    assert largest(bounded, "near") == largest(generous, "near")


SLOW = {"step_overhead": "100 ms", "latency": "500 ms", "uplink": "4 kbit/s", "downlink": "4 kbit/s"}


@pytest.mark.parametrize(("budget", "memory"), [(0.2, "64 MiB"), (0.5, "64 MiB"), (0.5, "4 kB"), (5.0, "4 kB")])
def test_training_keeps_to_its_budget_with_the_overhead_of_its_steps(budget: float, memory: str) -> None:
    near, far = tiny_scenario().to_document()["devices"]
    falling = {"steps": {"0 s": "64 MiB", "180.7 s": memory}}
    tables = tables_of(
        {**PLAIN, "devices": [near, {**far, **SLOW, "memory": falling}]}, modules=8, max_ratio=1, training_budget=budget
    )
    trained = jobs(tables, "train", "far")
    assert ((trained["end_s"] - trained["start_s"]) <= budget + 1e-9).all()
    assert len(trained) == (0 if budget < 0.5 else 4) or memory != "64 MiB"


@pytest.mark.parametrize(
    ("budget", "codec", "params"),
    [
        (2.5, "fp32", {}),
        (4.0, "fp32", {}),
        (4.0, "fp16", {}),
        (6.5, "fp16", {"shared": "local"}),
        (9.0, "fp32", {"shared": "keep"}),
    ],
)
def test_a_sub_models_way_keeps_to_its_budget_with_latency_as_the_codec_packs_it(
    budget: float, codec: str, params: dict[str, object]
) -> None:
    near, far = tiny_scenario().to_document()["devices"]
    slow = {**PLAIN, "devices": [near, {**far, **SLOW}], "training": {"codec": codec}}
    tables = tables_of(slow, modules=8, max_ratio=1, transfer_budget=budget, **params)
    rows = tables["transfers"].query("kind == 'weights' and status == 'delivered' and device.str.startswith('far')")
    took = (rows["end_s"] - rows["start_s"]).groupby([rows["device"], rows["start_s"] // 180]).sum()
    assert len(took) == 4 or budget < 4
    assert (took <= budget + 1e-9).all()
    assert budget < 9 or took.max() > 0.6 * budget or codec == "fp16"


@pytest.mark.parametrize(
    ("uplink", "downlink", "initial"),
    [("10 Mbit/s", "10 Mbit/s", "full"), ("8 kbit/s", "10 Mbit/s", "full"), ("10 Mbit/s", "4 kbit/s", "sub_model")],
)
def test_behind_a_gateway_a_transfer_budget_holds_over_the_narrower_link(
    uplink: str, downlink: str, initial: str
) -> None:
    near, far = tiny_scenario().to_document()["devices"]
    one = {**far, "count": 1, "gateway": "g", "uplink": "50 kbit/s", "downlink": "50 kbit/s"}
    gateway = {"name": "g", "uplink": uplink, "downlink": downlink, "latency": "50 ms"}
    behind = {**PLAIN, "horizon": "4 min", "devices": [near, one], "gateways": [gateway]}
    params = {"modules": 8, "max_ratio": 1, "surrogate": True, "initial": initial, "transfer_budget": "1.3 s"}
    tables = tables_of(behind, timing_only=True, **params)
    rows = tables["transfers"].query("kind == 'weights' and device == 'far-0'")
    assert rows["direction"].tolist() == ["down", "up"]
    assert 0.5 < (rows["end_s"] - rows["start_s"]).sum() <= 1.3


@pytest.mark.parametrize("cloud", [True, False])
def test_a_device_whose_link_is_bad_is_refused_for_this_round_only(cloud: bool) -> None:
    near, far = tiny_scenario().to_document()["devices"]
    bad = {"steps": {"0 s": "50 kbit/s", "170 s": "200 bit/s", "300 s": "50 kbit/s"}}
    world = {**PLAIN, "devices": [near, {**far, "uplink": bad, "downlink": bad}]}
    tables = tables_of(world, transfer_budget="2 s", cloud=cloud)
    refusals = tables["transfers"].query("kind == 'control' and direction == 'down'")
    assert refusals["device"].tolist() == ["far-0", "far-1"]
    trained = jobs(tables, "train", "far")
    assert trained["node"].tolist() == ["far-0", "far-1"]
    assert trained["start_s"].min() > 360


def test_without_the_cloud_a_device_asks_once_and_then_trains_alone() -> None:
    tables = tables_of({**PLAIN, "horizon": "11 min"}, cloud=False)
    assert len(jobs(tables, "score")) == 4
    assert len(jobs(tables, "train")) == 12
    assert len(weights(tables, "up")) == 0


def test_without_the_cloud_a_device_goes_on_with_the_batches_that_were_derived_for_it() -> None:
    near, far = tiny_scenario().to_document()["devices"]
    small = {**PLAIN, "horizon": "13 min", "devices": [near, {**far, "memory": "2800 B"}]}
    asking, alone = (tables_of(small, max_ratio=0.4, cloud=cloud)["computations"] for cloud in (True, False))
    for rows in (asking, alone):
        trained = rows[(rows["kind"] == "train") & rows["node"].str.startswith("far")]
        assert trained["status"].tolist() == ["done"] * 8
        assert trained["batch_size"].max() < jobs({"computations": rows}, "train", "near")["batch_size"].min()


def test_without_the_cloud_a_device_without_the_time_to_train_never_trains() -> None:
    tables = tables_of({**PLAIN, "horizon": "10 min"}, cloud=False, training_budget="1 us")
    assert len(tables["deployments"].query("cause == 'deploy'"))
    assert not (tables["computations"].query("status != 'offline'")["kind"] == "train").any()


def test_memory_that_falls_after_the_device_asked_is_met_by_smaller_batches() -> None:
    near, far = tiny_scenario().to_document()["devices"]
    falling = {**far, "memory": {"steps": {"0 s": "64 MiB", "180.3 s": "2800 B"}}}
    tables = tables_of({**PLAIN, "horizon": "4 min", "devices": [near, falling]}, max_ratio=0.4)
    assert len(jobs(tables, "train", "far")) == 2
    assert not (tables["computations"]["status"] == "out_of_memory").any()


def test_without_local_training_devices_serve_what_is_derived_for_them() -> None:
    tables = tables_of(local_training=False)
    assert len(jobs(tables, "train")) == 0
    served = tables["deployments"].query("cause == 'deploy'")
    assert len(served) == 8
    assert served["model_id"].str.startswith("cloud/derive").all()


def test_scores_inform_a_sub_model_and_only_training_informs_it_fully() -> None:
    drifting = {"horizon": "10 min", "drifts": [{"name": "d", "kind": "label", "at": "4 min", "classes": [0]}]}
    tables = tables_of(drifting, local_training=False)
    after = tables["deployments"].query("time_s > 240")
    assert (after["informed_by"] == "").all()
    assert after["score_informed_by"].str.startswith("d/1/").all()
    trained = tables_of(drifting)["deployments"].query("time_s > 240")
    assert trained["informed_by"].str.startswith("d/1/").any()


def test_only_the_sampled_devices_take_part() -> None:
    tables = tables_of(participants=1)
    scores = jobs(tables, "score")
    assert scores.groupby(scores["start_s"] // 180).size().tolist() == [1, 1]


def test_participants_are_drawn_among_devices_with_samples_to_train_on() -> None:
    near, far = tiny_scenario().to_document()["devices"]
    unlabelled = {**far, "arrival": {"rate": "1 /s", "labelled": "0 %", "buffer": 20}}
    world = {**PLAIN, "horizon": "16 min", "devices": [near, unlabelled]}
    scores = jobs(tables_of(world, timing_only=True, surrogate=True, participants=2), "score")
    by_round = scores.groupby(scores["start_s"] // 180)["node"]
    assert by_round.agg(list).tolist() == [["near-0", "near-1"]] * 5


def test_each_update_is_merged_as_it_comes_or_with_the_others() -> None:
    def merges(**params: object) -> int:
        rows = jobs(tables_of(**params), "derive", "cloud")
        return int((rows["flops"] > 0).sum())

    assert merges(aggregation="round") == 2
    assert merges(aggregation="arrival", mixing=0.3) > 2


@pytest.mark.parametrize("aggregation", ["round", "arrival"])
def test_updates_that_the_cloud_had_no_memory_to_merge_count_next_time(aggregation: str) -> None:
    cloud = tiny_scenario().to_document()["cloud"]
    short = {**cloud, "memory": {"steps": {"0 s": "1 GiB", "180.4 s": "1 kB", "190 s": "1 GiB"}}}
    world = {**PLAIN, "cloud": short}
    tables = tables_of(world, timing_only=True, surrogate=True, aggregation=aggregation)
    merges = tables["computations"].query("node == 'cloud' and kind == 'derive' and flops > 0")
    lost = merges[merges["status"] != "done"]
    assert len(lost)
    merged = ";".join(merges[merges["status"] == "done"]["input_model_ids"]).split(";")
    for update in jobs(tables, "train")["output_model_id"]:
        assert merged.count(update) == 1
    assert lost["start_s"].max() < 190


def test_late_updates_count_next_time() -> None:
    rows = jobs(tables_of({**PLAIN, "horizon": "10 min"}, deadline="200 ms"), "derive", "cloud")
    merged = rows[rows["flops"] > 0]["input_model_ids"].tolist()
    assert "far" not in merged[0]
    assert "far-0/train/1" in merged[1]


def test_a_drift_makes_a_device_ask() -> None:
    drifting = {"horizon": "8 min", "drifts": [{"name": "d", "kind": "label", "at": "4 min", "classes": [0, 1]}]}
    learner = eclm(trigger="drift", collect="10 s", deadline="20 s")
    assert learner.oracle
    tables = run_tiny(learner, tiny_scenario(**drifting))
    assert jobs(tables, "score")["start_s"].tolist() == [250.0] * 4
    merged = jobs(tables, "derive", "cloud").query("flops > 0")
    assert len(merged) == 1
    assert 270 < merged.iloc[0]["start_s"] < 272


def test_a_trained_selector_travels_and_is_merged() -> None:
    tables = tables_of({**PLAIN, "horizon": "10 min"}, selector="average")
    downs = weights(tables, "down")
    derived = jobs(tables, "derive", "cloud")["output_model_id"]
    later = downs[downs["start_s"] > 300]
    assert len(later) == 2 * len(jobs(tables, "score", "").query("start_s > 300"))  # the selector, then the modules
    assert set(later["model_id"]) <= set(derived)


def test_with_each_sub_model_a_device_has_the_selector_of_that_version() -> None:
    """Updates are merged while others ask: a selector that is newer than the one that scored travels too."""
    tables = tables_of(selector="average", aggregation="arrival")
    made = jobs(tables, "derive", "cloud")
    merged = set(made[made["flops"] > 0]["output_model_id"])
    served = set(tables["deployments"]["model_id"])
    of_version = {
        row["input_model_ids"]: row["output_model_id"]
        for row in made.to_dict("records")
        if row["input_model_ids"] in merged and row["output_model_id"] not in served
    }
    downs = weights(tables, "down")
    assert len(of_version) == len(merged) > 2
    checked = 0
    for row in made[made["output_model_id"].isin(served)].to_dict("records"):
        if row["input_model_ids"] in merged:
            (sent,) = downs[downs["model_id"] == row["output_model_id"]].to_dict("records")
            had = downs[(downs["device"] == sent["device"]) & (downs["end_s"] <= sent["end_s"])]["model_id"]
            assert of_version[row["input_model_ids"]] in set(had)
            checked += 1
    assert checked > 2


def test_a_device_switches_to_a_smaller_stored_sub_model_while_it_is_slow() -> None:
    near, _ = tiny_scenario().to_document()["devices"]
    compute = {"steps": {"0 s": "100 MFLOP/s", "200 s": "10 kFLOP/s", "300 s": "100 MFLOP/s"}}
    shaky = {**PLAIN, "devices": [{**near, "compute": compute}]}
    tables = tables_of(shaky, modules=8, switch_every="20 s", latency_budget="50 ms", max_ratio=1)
    served = tables["deployments"].query("cause == 'deploy'").query("device == 'near-0'")
    sizes = served.set_index("time_s")["size_bytes"]
    slow = sizes[(sizes.index >= 200) & (sizes.index < 300)]
    assert len(slow)
    assert slow.iloc[-1] < sizes[sizes.index < 200].iloc[-1]
    assert sizes[(sizes.index >= 300) & (sizes.index < 340)].iloc[-1] == sizes[sizes.index < 200].iloc[-1]
    assert len(jobs(tables, "derive", "near"))


def test_a_device_serves_with_what_fits_while_memory_is_short_and_with_the_larger_one_afterwards() -> None:
    """3,000 bytes are enough to serve with a smaller sub-model, but not to make one then."""
    near, _ = tiny_scenario().to_document()["devices"]
    memory = {"steps": {"0 s": "64 MiB", "200 s": "3000 B", "300 s": "64 MiB"}}
    shaky = {**PLAIN, "horizon": "340 s", "devices": [{**near, "memory": memory}]}
    tables = tables_of(shaky, modules=8, switch_every="20 s", max_ratio=1)
    served = tables["deployments"].query("cause == 'deploy' and device == 'near-0'").set_index("time_s")
    roomy, short, roomy_again = (
        served[(served.index >= start) & (served.index < start + 100)] for start in (100, 200, 300)
    )
    assert len(short) == len(roomy_again) == 1  # once down, once up
    assert short["size_bytes"].iloc[0] < roomy["size_bytes"].iloc[-1]
    assert roomy_again["model_id"].iloc[0] == roomy["model_id"].iloc[-1]
    made = tables["computations"].query("kind == 'derive' and node == 'near-0'")
    assert set(made["status"]) == {"done"}
    assert made["start_s"].max() < 200
    assert short["model_id"].iloc[0] in set(made["output_model_id"])


def test_a_device_switches_while_its_update_is_on_its_way() -> None:
    near, _ = tiny_scenario().to_document()["devices"]
    compute = {"steps": {"0 s": "100 MFLOP/s", "200 s": "10 kFLOP/s"}}
    slow = {**PLAIN, "devices": [{**near, "count": 1, "compute": compute, "uplink": "100 bit/s"}]}
    params = {"modules": 8, "max_ratio": 1, "surrogate": True, "switch_every": "20 s", "latency_budget": "50 ms"}
    tables = tables_of(slow, timing_only=True, **params)
    (sent,) = weights(tables, "up").query("start_s < 200").to_dict("records")
    assert sent["end_s"] > 240
    served = tables["deployments"].query("cause == 'deploy' and time_s >= 200").iloc[0]
    assert served["time_s"] == 200
    assert served["size_bytes"] < tables["deployments"].query("time_s < 200")["size_bytes"].max()


def test_what_a_slow_device_has_trained_serves_in_the_size_that_suits_now() -> None:
    near, _ = tiny_scenario().to_document()["devices"]
    compute = {"steps": {"0 s": "100 MFLOP/s", "200 s": "15 kFLOP/s", "580 s": "100 MFLOP/s"}}
    slow = {**PLAIN, "horizon": "11 min", "devices": [{**near, "count": 1, "compute": compute}]}
    params = {"modules": 8, "max_ratio": 1, "surrogate": True, "switch_every": "50 s", "latency_budget": "60 ms"}
    tables = tables_of(slow, timing_only=True, cloud=False, **params)
    served = tables["deployments"].query("cause == 'deploy'")
    whole = served["size_bytes"].iloc[0]
    assert (served.query("time_s >= 200 and time_s < 600")["size_bytes"] < whole).all()
    trained = jobs(tables, "train")["end_s"]
    assert set(trained[trained > 200]) <= set(served["time_s"])  # at once
    assert served.iloc[-1]["time_s"] == 600
    assert served.iloc[-1]["size_bytes"] == whole
    assert served.iloc[-1]["model_id"] == jobs(tables, "train")["output_model_id"].iloc[-1]
    held = tables["selections"].query("held").groupby("time_s").size()
    assert held[held.index < 200].tolist() == [held.max()]
    assert held[200.0] < held.max() == held[600.0]


def test_where_no_stored_sub_model_fits_a_device_goes_on_with_what_it_serves() -> None:
    near, _ = tiny_scenario().to_document()["devices"]
    memory = {"steps": {"0 s": "64 MiB", "200 s": "100 B"}}
    short = {**PLAIN, "horizon": "340 s", "devices": [{**near, "memory": memory}]}
    tables = tables_of(short, modules=8, switch_every="20 s", max_ratio=1)
    assert tables["deployments"].query("cause == 'deploy'")["time_s"].max() < 200


def test_what_a_device_has_trained_it_no_longer_has_in_the_clouds_version() -> None:
    """Nothing is merged, so the cloud's versions stay: what was overwritten is sent again, what was not is not."""
    asking = {"trigger": {"every": "1 min"}, "deadline": "50 min", "initial": "full", "max_ratio": 1}

    def sizes(**params: object) -> list[int]:
        downs = weights(tables_of(**asking, **params), "down")
        return [int(size) for size in downs[downs["device"] == "near-0"]["size_bytes"]]

    first, *later = sizes()
    assert first < 200  # empty lists
    assert min(later) > 200
    own = sizes(shared="local")
    assert own[0] < 200 < own[1] < later[0]  # its own parts outside of modules do not come back
    assert max(sizes(local_training=False)) < 200


def test_a_device_without_the_time_to_train_serves_what_is_derived_for_it() -> None:
    tables = tables_of(training_budget="1 us")
    assert len(tables["deployments"].query("cause == 'deploy'")) == 8
    assert len(jobs(tables, "train")) == 0
    assert not len(tables["transfers"].query("kind == 'control' and direction == 'down'"))


def test_kappa1_that_is_raised_is_told(tmp_path: Path) -> None:
    few = {"mine": {"learner": "eclm", **QUICK, "modules": 3, "kappa1": 1}, "eclm": {**QUICK, "kappa1": 1}}
    file, out = tmp_path / "few.yaml", tmp_path / "run"
    file.write_text(tiny_scenario(**PLAIN, learners=few).to_yaml())
    result = CliRunner().invoke(app, ["run", str(file), "--out", str(out)])
    assert result.exit_code == 0, result.output
    told = "kappa1 is 2, not 1: 4 sub-tasks need a module each, and a layer has 3"
    assert [line for line in result.stderr.splitlines() if "kappa1" in line] == [f"mine: {told}"]
    assert [world.get("remarks") for world in read_manifest(out)["worlds"]] == [[told], None]


def test_with_drawn_importance_it_needs_no_values_and_timing_only_gives_the_same_transfers() -> None:
    assert eclm().needs_values
    assert not eclm(surrogate=True).needs_values
    full, timed = (tables_of(surrogate=True, timing_only=timing) for timing in (False, True))
    pd.testing.assert_frame_equal(full["transfers"], timed["transfers"])


def test_what_happens_before_the_start_is_reported_as_offline_cost() -> None:
    tables = tables_of()
    offline = tables["computations"].query("status == 'offline'")
    assert set(offline["output_model_id"]) >= {"pretrained", "inherited", "end-to-end", "enhanced", "sub-model"}
    cold = tables_of(warm_start=False, epochs_enhancing=0)["computations"].query("status == 'offline'")
    assert not set(cold["output_model_id"]) & {"pretrained", "inherited", "enhanced"}


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"tasks": "groups"}, "needs data with natural groups"),
        ({"tasks": [[0, 1], [2]]}, "must name each of the 4 classes once"),
        ({"layers": 2}, "has 1 repeated blocks"),
        ({"max_ratio": 0.01}, "max_ratio 0.01 is too small"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_start(params: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        tables_of(**params)


def test_a_network_that_cannot_be_modularised_is_refused() -> None:
    with pytest.raises(UserError, match="no repeated block"):
        tables_of({**PLAIN, "model": {"name": "mlp", "hidden": []}})


def test_parameters_that_leave_nothing_to_do_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing would ever change"):
        eclm(local_training=False, cloud=False)
    for ratio in (0, {"uniform": [0, 0.5]}, {"choice": [0.5, 0]}, {"lognormal": {"median": 0, "sigma": 1}}):
        with pytest.raises(ValueError, match="more than 0 %"):
            eclm(max_ratio=ratio)
    with pytest.raises(ValueError, match="one sub-task"):
        eclm(tasks=[[0, 1], [1, 2]])


def test_sets_of_classes_may_be_sub_tasks() -> None:
    tables_of(tasks=[[0, 1], [2, 3]])


@pytest.mark.slow
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"trigger": "drift", "aggregation": "arrival", "charge": "active", "selector": "average", "shared": "keep"},
        {"switch_every": "30 s", "latency_budget": "1 ms", "transfer_budget": "2 s", "training_budget": "1 s"},
        {"local_training": False, "surrogate": True, "statistics": "keep", "participants": 2, "deadline": "1 s"},
        {"cloud": False, "initial": "full"},
    ],
)
def test_eclm_keeps_the_contract(params: dict[str, object]) -> None:
    check_learner(ECLM, {**QUICK, **params})
