"""Drift detectors as triggers: what they read, what it costs, what their alarms are credited to."""

from __future__ import annotations

import random
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from edgesim import Event, Learner, NeedsValues, Trigger, World
from edgesim.detectors import DETECTORS, make_detector
from edgesim.errors import ScenarioError
from edgesim.learner import installed_params
from edgesim.models import Architecture, cost
from edgesim.scenario import Scenario, load
from edgesim.scenario.document import write_yaml
from edgesim.simulation import refuse_readers
from edgesim.testing import check_learner, run_tiny, tiny_scenario
from edgesim.trigger import CHECK_EVERY
from edgesim.watches import ALARM_BYTES
from learners.cloud_only import CloudOnly
from learners.ecavg import ECAvg
from learners.on_device import OnDevice

SWAP = {"name": "swap", "kind": "concept", "at": "5 min", "swap": {0: 1, 2: 3}}
DATA = {**tiny_scenario().to_document()["data"], "arrival": {"rate": "1 /s", "buffer": 60}, "separability": 8.0}
ADWIN = {"detector": "adwin", "check_every": "10 s", "clock": 1}


def world_of(*drifts: dict[str, Any], **changes: Any) -> Scenario:
    return tiny_scenario(drifts=list(drifts), **{"data": DATA, **changes})


def on_device(**trigger: Any) -> OnDevice:
    return OnDevice(OnDevice.Params.model_validate({"trigger": trigger, "epochs": 2}))


def mine(frame: pd.DataFrame, device: str = "near-0") -> pd.DataFrame:
    return frame[frame["device"] == device]


# the detectors, alone


def alarms(name: str, values: list[int], **parameters: float) -> list[int]:
    detector = make_detector(name, {**DETECTORS[name], **parameters}, seed=7)
    found = []
    for place, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append(place)
    return found


STEADY = [0, 0, 0, 0, 1] * 60
RISEN = [1, 1, 1, 1, 0] * 20


@pytest.mark.parametrize(
    ("name", "parameters", "within"),
    [("adwin", {"clock": 1}, 40), ("page_hinkley", {"threshold": 10}, 40), ("ddm", {}, 40), ("kswin", {}, 40)],
)
def test_a_detector_finds_a_rise_in_errors_soon_after_it(name: str, parameters: dict[str, float], within: int) -> None:
    found = alarms(name, STEADY + RISEN, **parameters)
    assert len(STEADY) < found[0] < len(STEADY) + within


@pytest.mark.parametrize(
    ("name", "most"),
    [("adwin", 1), ("page_hinkley", 0), ("ddm", 10), ("kswin", 3)],  # ten streams of 400 values; DDM is the nervous one
)
def test_on_a_stationary_stream_false_alarms_are_few(name: str, most: int) -> None:
    found = [alarms(name, random.Random(seed).choices([0, 1], [0.8, 0.2], k=400)) for seed in range(10)]
    assert sum(map(len, found)) <= most


def test_only_a_rise_of_errors_alarms_page_hinkley() -> None:
    assert alarms("page_hinkley", [1] * 300 + [0] * 300, threshold=10) == []


def test_kswin_draws_from_its_own_generator() -> None:
    before = random.getstate()
    assert alarms("kswin", STEADY + RISEN) == alarms("kswin", STEADY + RISEN)
    assert random.getstate() == before


# in the world


def test_a_drift_is_detected_soon_and_the_device_adapts_then() -> None:
    tables = run_tiny(on_device(**ADWIN), world_of(SWAP))
    found = mine(tables["detections"])
    assert found["event"].tolist()[:2] == ["armed", "detection"]
    detection = found.iloc[1]
    assert detection["drift_id"] == "swap/1/near-0"
    assert 0 < detection["delay_s"] <= 60
    assert detection["time_s"] == pytest.approx(300 + detection["delay_s"])
    assert detection["model_id"] == "pretrained"
    jobs = tables["computations"].query("node == 'near-0' and kind == 'train'")
    assert jobs["start_s"].iloc[0] == detection["time_s"]


def test_reading_the_stream_is_charged_as_scoring_every_labelled_sample_once() -> None:
    half = {**DATA, "arrival": {"rate": "1 /s", "labelled": 0.5, "buffer": 40}}
    tables = run_tiny(on_device(**ADWIN), world_of(data=half))
    scores = tables["computations"].query("node == 'far-0' and kind == 'score'")
    forward = cost(Architecture.of("mlp", {"hidden": [8]}, input_shape=(8,), classes=4)).forward_flops_per_sample
    assert (scores["flops"] == scores["samples"] * forward).all()
    assert scores["samples"].sum() == pytest.approx(0.5 * 1200, abs=10)
    assert (scores["start_s"] % 10 == 0).all()
    assert mine(tables["detections"], "far-0")["samples"].max() <= 600


def test_where_nothing_drifts_every_alarm_is_false() -> None:
    trigger = {"detector": "ddm", "check_every": "10 s", "drift_threshold": 1.0, "warm_start": 5}
    noisy = {**DATA, "separability": 2.0}
    found = run_tiny(on_device(**trigger), world_of(data=noisy))["detections"]
    assert set(found["event"]) == {"armed", "false_alarm"}
    assert (found["drift_id"] == "").all()
    assert found["delay_s"].isna().all()


def test_a_good_model_on_a_steady_stream_gives_no_alarm() -> None:
    found = run_tiny(on_device(**ADWIN), world_of())["detections"]
    assert found["event"].tolist() == ["armed"] * 4


def test_what_came_while_the_device_was_away_is_scored_when_it_is_back() -> None:
    away = [{"at": "100 s", "for": "300 s"}]
    devices = tiny_scenario().to_document()["devices"]
    devices[0]["away"] = away
    tables = run_tiny(on_device(**ADWIN), world_of(devices=devices))
    scores = tables["computations"].query("node == 'near-0' and kind == 'score' and status == 'done'")
    assert scores.loc[scores["start_s"] == 400.0, "samples"].tolist() == [310]
    assert scores["samples"].sum() == pytest.approx(1200, abs=11)


def test_a_fresh_detector_begins_with_each_model_that_serves() -> None:
    tables = run_tiny(on_device(**ADWIN), world_of(SWAP))
    found = mine(tables["detections"])
    # the model deployed after the alarm is wrong from its first sample on, or right: no rise to be found in either
    assert found["event"].tolist() == ["armed", "detection"]


class Alarmed(Learner):
    """Says that a detector struck, at given times, having read up to a given phase."""

    needs_values = True
    script: tuple[tuple[float, int], ...] = ()

    def run(self, world: World) -> Generator[Event, Any, None]:
        device = world.devices[0]
        for time_s, phase in self.script:
            yield world.sleep(time_s - world.now)
            world.alarm(device, "mine", samples=1, phase=phase, model=device.model)


def credited(script: tuple[tuple[float, int], ...], *drifts: dict[str, Any]) -> list[tuple[str, str]]:
    learner = type("Play", (Alarmed,), {"script": script})(None)
    found = run_tiny(learner, tiny_scenario(drifts=list(drifts)))["detections"]
    return list(zip(found["event"], found["drift_id"], strict=True))


def test_the_first_alarm_after_a_drift_is_its_detection_and_further_ones_are_repeats() -> None:
    first = {"name": "a", "kind": "label", "at": "100 s", "classes": [0], "lasts": "200 s"}
    assert credited(((50, 0), (110, 1), (120, 1), (310, 2), (320, 2)), first) == [
        ("false_alarm", ""),
        ("detection", "a/1/near-0"),
        ("repeat", "a/1/near-0"),
        ("detection", "a/1-undo/near-0"),
        ("repeat", "a/1-undo/near-0"),
    ]


def test_an_alarm_is_never_credited_to_a_drift_of_which_no_sample_was_read() -> None:
    drift = {"name": "a", "kind": "label", "at": "100 s", "classes": [0], "every": "200 s"}
    assert credited(((150, 0), (250, 1), (320, 1), (330, 2)), drift) == [
        ("false_alarm", ""),
        ("detection", "a/1/near-0"),
        ("repeat", "a/1/near-0"),
        ("detection", "a/2/near-0"),
    ]


def test_a_gradual_drift_is_one_drift_and_a_mere_replacement_none() -> None:
    ramp = {"gradual": {"over": "60 s", "steps": 3}}
    gradual = {"name": "a", "kind": "label", "at": "100 s", "classes": [0], "profile": ramp}
    replaced = {"name": "r", "kind": "replacement", "at": "200 s", "replace": 0.5}
    assert credited(((50, 0), (140, 2), (170, 3), (210, 4)), gradual, replaced) == [
        ("false_alarm", ""),
        ("detection", "a/1.1/near-0"),
        ("repeat", "a/1.1/near-0"),
        ("repeat", "a/1.1/near-0"),
    ]
    assert credited(((210, 1),), replaced) == [("false_alarm", "")]


# learners


def test_a_learner_with_a_detector_needs_values_and_says_so() -> None:
    assert on_device(**ADWIN).needs_values
    assert not on_device(every="1 min").needs_values
    assert not on_device(every="1 min").oracle
    with pytest.raises(NeedsValues):
        refuse_readers({"on_device": on_device(detector="ddm")})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("learner", "params"),
    [
        (OnDevice, {"trigger": {"detector": "kswin", "check_every": "20 s", "window_size": 20, "stat_size": 5}}),
        (CloudOnly, {"trigger": {"detector": "ddm", "warm_start": 5, "drift_threshold": 1}, "collect": "10 s"}),
        (CloudOnly, {"trigger": "drift"}),
        (ECAvg, {"trigger": {"detector": "adwin", "clock": 1}, "deadline": "1 min"}),
    ],
)
def test_learners_with_triggers_keep_to_their_contract(learner: type[Learner], params: dict[str, Any]) -> None:
    check_learner(learner, params)


@pytest.mark.parametrize("learner", [CloudOnly, ECAvg])
def test_in_the_cloud_a_round_starts_when_an_alarm_has_arrived(learner: type[Learner]) -> None:
    params = learner.Params.model_validate({"trigger": {**ADWIN}, "collect": "30 s"})
    tables = run_tiny(learner(params), world_of(SWAP))
    sent = tables["transfers"]
    messages = sent[sent["kind"] == "control"]
    assert set(messages["size_bytes"]) == {ALARM_BYTES}
    assert set(messages["device"]) == set(tables["detections"].query("event != 'armed'")["device"])
    rounds = tables["computations"].query("node == 'cloud' and kind == 'train' and status == 'done' and start_s > 300")
    assert len(rounds) >= 1
    first = sent.query("kind == 'data' and start_s > 300")["start_s"].min()
    assert first >= messages["end_s"].min() + 30


def test_a_quiet_fleet_starts_no_round_in_the_cloud() -> None:
    params = CloudOnly.Params.model_validate({"trigger": ADWIN})
    tables = run_tiny(CloudOnly(params), world_of())
    assert len(tables["transfers"]) == 0


# the parameters


def test_parameters_are_those_of_the_detector_and_defaults_are_spelled_out() -> None:
    trigger = Trigger.model_validate({"detector": "adwin", "delta": 0.01})
    assert trigger.parameters == {**DETECTORS["adwin"], "delta": 0.01}
    assert trigger.check_every == 30.0
    assert CHECK_EVERY == "30 s"
    assert trigger.model_dump(context={"with_units": True}) == {
        "detector": "adwin",
        "check_every": "30 s",
        **trigger.parameters,
    }
    assert Trigger.model_validate(trigger.model_dump()) == trigger
    assert Trigger.model_validate("drift").oracle
    assert Trigger(every=60.0).parameters == {}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("sometimes", "trigger: found 'sometimes'; write `drift`, {every: 5 min} or {detector: adwin}"),
        ("{}", "trigger: found an empty mapping; write `drift`, {every: 5 min} or {detector: adwin}"),
        ("{every: }", "trigger: found an empty mapping; write `drift`, {every: 5 min} or {detector: adwin}"),
        ("{detector: null}", "trigger: found an empty mapping; write `drift`, {every: 5 min} or {detector: adwin}"),
        ("{detector: adwim}", "trigger.detector: found 'adwim'; did you mean 'adwin'?"),
        ("{detector: ddm, delta: 0.1}", "trigger.delta: ddm has no such parameter; known: check_every, warm_start, "),
        ("{detector: ddm, warmstart: 3}", "trigger.warmstart: unknown key; did you mean 'warm_start'?"),
        ("{detector: ddm, every: 5 min}", "trigger.every: found every and detector: choose one of them"),
        ("{check_every: 5 s}", "trigger.check_every: is a detector's; write `drift`, {every: 5 min} or"),
        ("{detector: ddm, check_every: 5}", "trigger.check_every: found 5 without a unit"),
        ("{detector: kswin, alpha: 2}", "trigger.alpha: found 2, must be less than 1"),
        ("{detector: kswin, window_size: 40}", "trigger.stat_size: found 30, must be at most half of window_size (40)"),
    ],
)
def test_a_mistake_in_a_trigger_is_told_where_it_stands(written: str, said: str, tmp_path: Path) -> None:
    document = {**tiny_scenario().to_document(), "learners": {"on_device": {"trigger": "HERE"}}}
    file = tmp_path / "bad.yaml"
    file.write_text(write_yaml(document).replace("HERE", written))
    with pytest.raises(ScenarioError) as caught:
        load(file, learner_params=installed_params())
    assert said in str(caught.value)
    assert len(caught.value.problems) == 1


def test_a_detector_has_no_model_to_watch_where_the_cloud_serves() -> None:
    with pytest.raises(ValueError, match="with `serve: cloud` there is none"):
        CloudOnly.Params.model_validate({"serve": "cloud", "trigger": {"detector": "ddm"}})


def test_ecavg_repeats_for_one_reason() -> None:
    with pytest.raises(ValueError, match="`trigger` already says when to repeat"):
        ECAvg.Params.model_validate({"every": 60.0, "trigger": {"detector": "ddm"}})
