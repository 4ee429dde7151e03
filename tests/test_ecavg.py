"""ECAvg with a deadline: what comes late is not lost, and does not undo what is newer."""

from typing import Any

import pandas as pd

from edgesim.testing import run_tiny, tiny_scenario
from learners.ecavg import ECAvg

NEAR, FAR = tiny_scenario().to_document()["devices"]
SAMPLE_BYTES = 33
"""Eight numbers and a label."""


def tables_of(scenario: dict[str, Any], **params: object) -> dict[str, pd.DataFrame]:
    learner = ECAvg(ECAvg.Params.model_validate({"edge_epochs": 1, "server_epochs": 1, **params}))
    return run_tiny(learner, tiny_scenario(**{"drifts": [], "devices": [NEAR, FAR], **scenario}))


def test_data_that_comes_after_the_deadline_is_trained_on_in_the_next_round() -> None:
    tables = tables_of({"horizon": "19 min"}, every="4 min", deadline="780 ms")
    sent = tables["transfers"].query("kind == 'data' and status == 'delivered'")
    assert (sent.query("start_s > 240")["end_s"] % 240 > 0.78).any()
    trained = tables["computations"].query("node == 'cloud' and kind == 'train'")
    assert len(trained) == 5
    for row in trained.to_dict("records"):
        there = sent[sent["end_s"] <= row["start_s"]]
        assert row["samples"] * SAMPLE_BYTES == there["size_bytes"].sum()


def test_a_device_that_is_late_does_not_replace_the_servers_model_by_its_own() -> None:
    slow = {"horizon": "9 min", "devices": [NEAR, {**FAR, "compute": "1 kFLOP/s"}]}
    tables = tables_of(slow, every="10 min", deadline="2 s")
    served = tables["deployments"].query("device == 'far-0'")["model_id"].tolist()
    assert served == ["pretrained", "cloud/train/1"]
    late = tables["computations"].query("node == 'far-0' and kind == 'train'")
    assert late["status"].tolist() == ["done"]


def test_a_device_that_is_still_at_work_takes_no_part_in_the_next_round() -> None:
    slow = {"horizon": "9 min", "devices": [NEAR, {**FAR, "compute": "400 FLOP/s"}]}
    tables = tables_of(slow, every="1 min", deadline="2 s")
    work = tables["computations"].query("node == 'far-0' and kind == 'train'").sort_values("start_s")
    assert len(work) > 1
    assert (work["start_s"].iloc[1:].to_numpy() >= work["end_s"].iloc[:-1].to_numpy()).all()
    assert tables["deployments"].query("device == 'far-0'")["model_id"].str.startswith("far").sum() == 0
