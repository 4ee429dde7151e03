"""The drift catalogue from the scenario to the tables: what strikes whom when, and what it is called."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesim import Event, Learner, World
from edgesim.learner import installed_params
from edgesim.scenario import Scenario
from edgesim.scenario.drifts import FeatureDrift, LabelDrift
from edgesim.testing import run_tiny, tiny_scenario
from edgesim.world.drift import Strike, strikes

BLUR = {"name": "fog", "kind": "feature", "transform": "noise", "severity": 4}
DIGITS = {
    "source": "digits",
    "proxy": {"share": 0.3},
    "test_samples": 50,
    "partition": {"kind": "iid", "samples": 30},
    "arrival": {"rate": "0.5 /s", "buffer": 60},
}


class Idle(Learner):
    """Does nothing."""

    def run(self, world: World) -> Generator[Event, Any, None]:
        yield world.sleep(0.0)


def scheduled(*drifts: dict[str, Any], seed: int = 0, **changes: Any) -> list[Strike]:
    return strikes(tiny_scenario(drifts=list(drifts), **changes), seed)


def table(*drifts: dict[str, Any], name: str = "drifts", timing_only: bool = True, **changes: Any) -> pd.DataFrame:
    return run_tiny(Idle(None), tiny_scenario(drifts=list(drifts), **changes), timing_only=timing_only)[name]


# steps


def test_an_abrupt_drift_is_one_strike() -> None:
    (strike,) = scheduled({**BLUR, "at": "5 min"})
    assert (strike.time_s, strike.step, strike.steps, strike.undo) == (300.0, 1, 1, False)
    assert strike.drift_id("near-0") == strike.episode_id("near-0") == "fog/1/near-0"


def test_a_gradual_drift_comes_in_even_steps_the_last_of_which_ends_it_and_opens_one_episode() -> None:
    found = scheduled({**BLUR, "at": "5 min", "profile": {"gradual": {"over": "4 min", "steps": 5}}})
    assert [strike.time_s for strike in found] == [300.0, 360.0, 420.0, 480.0, 540.0]
    assert [strike.opens_episode for strike in found] == [True, False, False, False, False]
    assert [strike.drift_id("x") for strike in found][:2] == ["fog/1.1/x", "fog/1.2/x"]
    assert {strike.episode_id("x") for strike in found} == {"fog/1/x"}
    assert [strike.detail for strike in found][1::3] == ["noise, severity 4, 40% of the samples", "noise, severity 4"]


def test_steps_beyond_the_horizon_never_come() -> None:
    drift = {**BLUR, "at": "18 min", "profile": {"gradual": {"over": "4 min", "steps": 5}}}
    assert [strike.time_s for strike in scheduled(drift)] == [1080.0, 1140.0]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.sampled_from([0.0, 30.0, 200.0]), st.sampled_from([None, 120.0, 200.0]))
def test_occurrences_that_return_never_overlap(steps: int, spread: float, lasts: float | None) -> None:
    drift: dict[str, Any] = {**BLUR, "at": 10.0, "lasts": lasts}
    over = 100.0 if steps > 1 else 0.0
    if steps > 1:
        drift["profile"] = {"gradual": {"over": over, "steps": steps}}
    if spread:
        drift |= {"correlated": False, "spread": spread}
    drift["every"] = max(spread + (lasts or 0.0) + over, 50.0)
    found = scheduled(drift, horizon=1200.0)
    for device in range(4):
        mine = [strike for strike in found if device in strike.devices]
        times = [strike.time_s for strike in mine]
        assert times == sorted(times)
        order = [(strike.occurrence, strike.undo, strike.step) for strike in mine]
        assert order == sorted(order)
        whole = steps * (1 if lasts is None else 2)
        assert [strike.occurrence for strike in mine][: 2 * whole] == [1] * whole + [2] * whole


def test_severity_ramps_up_and_down_again() -> None:
    drift = {
        "name": "fog",
        "kind": "feature",
        "transform": "blur",
        "severity": 4,
        "at": "1 min",
        "lasts": "10 min",
        "profile": {"incremental": {"over": "2 min", "steps": 2}},
    }
    found = strikes(tiny_scenario(drifts=[drift], data=DIGITS), 0)
    scenario = tiny_scenario(drifts=[drift], data=DIGITS)
    stream = _stream(scenario)
    amounts = []
    for strike in found:
        stream.change(strike.time_s, strike.change(stream))
        amounts.append(tuple(step.amount for step in stream.transform.steps))
    assert amounts == [(0.6,), (0.8,), (0.6,), ()]
    assert [strike.time_s for strike in found] == [60.0, 180.0, 660.0, 780.0]


def _stream(scenario: Scenario, index: int = 0) -> Any:
    from edgesim.world import draw_environment, load_data

    environment = draw_environment(scenario, 0, load_data(scenario))
    names = scenario.device_names()
    return environment.data_stream(index, names[index])


def test_amounts_ramp_from_what_changes_nothing() -> None:
    drift = FeatureDrift.model_validate(
        {"kind": "feature", "name": "s", "at": 1.0, "transform": "scale", "amount": 2.0}
    )
    assert [drift.amount_at(part) for part in (0.0, 0.5, 1.0)] == [1.0, 1.5, 2.0]


def test_a_gradual_replacement_replaces_its_share_in_parts() -> None:
    drift = {
        "name": "r",
        "kind": "replacement",
        "at": "5 min",
        "replace": 0.5,
        "profile": {"gradual": {"over": "2 min", "steps": 5}},
    }
    found = table(drift)
    assert found.loc[found["device"] == "near-0", "replaced_samples"].sum() == pytest.approx(0.5 * 40, abs=2)


@pytest.mark.parametrize(
    ("buffer", "replace", "steps"), [(10, 0.5, 20), (10, 0.5, 10), (1, 1.0, 3), (40, 1.0, 4), (40, 0.3, 7)]
)
def test_the_steps_of_a_drift_replace_its_share_in_all_and_nothing_twice(
    buffer: int, replace: float, steps: int
) -> None:
    drift = {
        "name": "g",
        "kind": "label",
        "classes": [0, 1],
        "at": "5 min",
        "replace": replace,
        "profile": {"gradual": {"over": "2 min", "steps": steps}},
    }
    data = {**DIGITS, "partition": {"kind": "iid", "samples": buffer}, "arrival": {"rate": "0 /s", "buffer": buffer}}
    stream = changed(drift, data=data)
    held = stream.samples(600.0)
    whole = table(drift, data=data)
    replaced = whole.loc[whole["device"] == "near-0", "replaced_samples"]
    assert replaced.sum() == round(replace * buffer)
    assert replaced.max() - replaced.min() <= 1
    old = stream._timeline.records(stream._buffer.numbers()).phase == 0
    assert (len(held), old.sum()) == (buffer, buffer - round(replace * buffer))


# returning


def test_a_drift_that_goes_again_is_a_drift_of_its_own_in_the_tables() -> None:
    found = table({**BLUR, "at": "5 min", "lasts": "4 min", "every": "6 min"})
    mine = found[found["device"] == "far-1"]
    cohorts = ["fog/1", "fog/1-undo", "fog/2", "fog/2-undo", "fog/3"]
    assert mine["cohort_id"].tolist() == cohorts
    assert mine["drift_id"].tolist() == [f"{cohort}/far-1" for cohort in cohorts]
    assert mine["time_s"].tolist() == [300.0, 540.0, 660.0, 900.0, 1020.0]
    assert mine["undo"].tolist() == [False, True, False, True, False]
    assert mine["opens_episode"].all()
    assert mine["phase"].tolist() == [1, 2, 3, 4, 5]
    assert found["drift_id"].is_unique


def test_accuracy_is_back_on_the_same_samples_when_the_drift_has_gone() -> None:
    rows = table({**BLUR, "severity": 5, "at": "5 min", "lasts": "4 min"}, name="accuracy", timing_only=False)
    mine = rows[rows["device"] == "near-0"]
    assert mine["cause"].tolist() == ["start", "drift", "drift"]
    assert mine["loss"].iloc[0] == mine["loss"].iloc[2] != mine["loss"].iloc[1]


def test_earlier_views_are_those_before_each_drift_not_before_each_step() -> None:
    gradual = {**BLUR, "at": "5 min", "profile": {"gradual": {"over": "2 min", "steps": 3}}}
    replaced = {"name": "r", "kind": "replacement", "at": "10 min", "replace": 0.5}
    rows = table(gradual, replaced, name="accuracy", timing_only=False, evaluation={"forgetting_views": 2}).query(
        "device == 'near-0'"
    )
    assert rows["cause"].tolist() == ["start", "drift", "drift", "step", "step", "step", "step"] + ["replacement"] * 2
    old = rows[rows["view"] == "previous-1"]
    assert set(old["loss"]) == {rows["loss"].iloc[0]}
    assert "previous-2" not in set(rows["view"])


# whom it strikes


def struck(**target: Any) -> list[tuple[int, ...]]:
    drift = {**BLUR, "at": "1 min", "every": "1 min", "devices": target}
    return [tuple(strike.devices) for strike in scheduled(drift)]


def test_targets_by_group_and_name_and_share_are_the_same_each_time() -> None:
    assert set(struck(group="far")) == {(2, 3)}
    assert set(struck(names=["far-1", "near-0"])) == {(0, 3)}
    for chosen in (struck(share=0.5), struck(share=0.5, group="near")):
        assert len(set(chosen)) == 1
    assert len(struck(share=0.5)[0]) == 2
    assert set(struck(share=0.5, group="near")[0]) < {0, 1}
    (of_five,) = scheduled({**BLUR, "at": "1 min", "devices": {"share": 0.5}}, devices=[{**_near(), "count": 5}])
    assert len(of_five.devices) == 3  # rounded half up


def test_a_sample_is_drawn_anew_each_time() -> None:
    chosen = struck(sample=2)
    assert {len(set(devices)) for devices in chosen} == {2}
    assert len(set(chosen)) > 3
    assert {device for devices in struck(sample=1, group="far") for device in devices} == {2, 3}


def test_what_was_sampled_is_what_is_taken_back() -> None:
    found = scheduled({**BLUR, "at": "1 min", "every": "2 min", "lasts": "1 min", "devices": {"sample": 1}})
    by_occurrence: dict[int, set[tuple[int, ...]]] = {}
    for strike in found:
        by_occurrence.setdefault(strike.occurrence, set()).add(tuple(strike.devices))
    assert all(len(devices) == 1 for devices in by_occurrence.values())


def test_devices_that_drift_independently_do_so_at_times_of_their_own_in_one_cohort() -> None:
    drift = {**BLUR, "at": "5 min", "correlated": False, "spread": "3 min"}
    found = scheduled(drift, devices=[{**_near(), "count": 60}])
    times = np.array([strike.time_s for strike in found])
    assert len(set(times)) == 60
    assert (times >= 300).all()
    assert (times < 480).all()
    assert times.mean() == pytest.approx(390, abs=25)
    assert {strike.cohort_id for strike in found} == {"fog/1"}
    assert sorted(device for strike in found for device in strike.devices) == list(range(60))
    assert times.tolist() == sorted(times)
    again = [strike.time_s for strike in scheduled(drift, devices=[{**_near(), "count": 60}])]
    assert again == times.tolist()
    assert [s.time_s for s in scheduled(drift, devices=[{**_near(), "count": 60}], seed=1)] != again


class Handed(Learner):
    """The first device trains in the middle of a gradual drift; the second serves that model in the end."""

    def run(self, world: World) -> Generator[Event, Any, None]:
        first, second = world.devices[:2]
        yield world.sleep(330.0)
        model = yield first.train(world.initial)
        yield first.upload(model)
        yield world.sleep_to_multiple(600.0)
        yield second.deploy((yield second.download(model)))


@pytest.mark.parametrize("spread", [{}, {"correlated": False, "spread": "1 s"}])
def test_a_model_knows_of_a_cohorts_drift_no_step_more_than_its_samples(spread: dict[str, Any]) -> None:
    gradual = {**BLUR, "at": "5 min", "profile": {"gradual": {"over": "2 min", "steps": 3}}, **spread}
    later = {"name": "later", "kind": "label", "classes": [2, 3], "at": "6 min"}
    scenario = tiny_scenario(drifts=[gradual, later], devices=[{**_near(), "count": 3}])
    found = run_tiny(Handed(None), scenario, timing_only=True)["deployments"]
    (last,) = found[found["device"] == "near-1"].tail(1).to_dict("records")
    assert last["informed_by"] == ""
    assert last["cohort_informed_by"] == "fog/1.1/near-1"  # neither a later step nor the other drift


def _near() -> dict[str, Any]:
    return {
        "name": "near",
        "compute": "100 MFLOP/s",
        "memory": "64 MiB",
        "uplink": "1 Mbit/s",
        "downlink": "1 Mbit/s",
    }


# what it does


def changed(drift: dict[str, Any], index: int = 0, data: dict[str, Any] = DIGITS) -> Any:
    """The stream of one device after all strikes."""
    scenario = tiny_scenario(drifts=[drift], data=data)
    stream = _stream(scenario, index)
    for strike in strikes(scenario, 0):
        stream.change(strike.time_s, strike.change(stream))
    return stream


def test_each_device_gets_a_fresh_class_prior_each_time_and_the_same_one_for_every_learner() -> None:
    drift = {"name": "d", "kind": "label", "at": "1 min", "dirichlet": {"alpha": 0.3}}
    one, again, other = changed(drift), changed(drift), changed(drift, index=1)
    twice = changed({**drift, "every": "15 min"})
    assert one.prior.tolist() == again.prior.tolist()
    assert one.prior.sum() == pytest.approx(1)
    assert len({tuple(stream.prior) for stream in (one, other, twice)}) == 3


def test_a_redraw_keeps_to_the_present_classes_unless_told_otherwise() -> None:
    data = {**DIGITS, "partition": {"kind": "iid", "samples": 30, "classes": [1, 2]}}
    drift = {"name": "d", "kind": "label", "at": "1 min", "dirichlet": {"alpha": 1.0}}
    present = changed(drift, data=data)
    everything = changed({**drift, "dirichlet": {"alpha": 1.0, "among": "all"}}, data=data)
    assert np.flatnonzero(present.prior).tolist() == [1, 2]
    assert np.flatnonzero(everything.prior).tolist() == list(range(10))


def test_a_redraw_stays_what_it_was_while_an_older_label_drift_goes_or_comes_further() -> None:
    data = {**DIGITS, "partition": {"kind": "iid", "samples": 30, "classes": [0, 1, 3, 4]}}
    habits = {"name": "habits", "kind": "label", "at": "3 min", "dirichlet": {"alpha": 1.0}}
    visitors = {"name": "visitors", "kind": "label", "at": "2 min", "add_classes": [2]}
    gradual = {"gradual": {"over": "5 min", "steps": 5}}
    for moving in ({"lasts": "6 min"}, {"profile": gradual}):
        scenario = tiny_scenario(drifts=[{**visitors, **moving}, habits], data=data)
        stream = _stream(scenario)
        priors = []
        for strike in strikes(scenario, 0):
            stream.change(strike.time_s, strike.change(stream))
            if strike.time_s >= 180:
                priors.append(stream.prior.tolist())
        assert np.flatnonzero(priors[0]).tolist() == [0, 1, 2, 3, 4]
        assert priors == [priors[0]] * len(priors)


def test_labels_are_swapped_or_renamed() -> None:
    swapped = changed({"name": "c", "kind": "concept", "at": "1 min", "swap": {3: 5}})
    renamed = changed({"name": "c", "kind": "concept", "at": "1 min", "permute": {1: 2, 2: 3, 3: 1}})
    assert swapped.transform.labels == ((3, 5), (5, 3))
    assert renamed.transform.labels == ((1, 2), (2, 3), (3, 1))


def test_features_drift_each_in_a_way_of_the_devices_own_and_in_the_same_way_when_it_comes_again() -> None:
    data = {"source": "synthetic", "samples": 400, "classes": 4, "shape": [8], "proxy": {"share": 0.3}}
    data |= {"partition": {"kind": "iid", "samples": 20}}
    drift = {"name": "s", "kind": "feature", "at": "1 min", "transform": "offset", "amount": 1.0, "per_feature": True}
    one, other = changed(drift, data=data), changed(drift, index=1, data=data)
    assert one.transform.steps[0].per_feature
    assert one.transform.steps[0].seed != other.transform.steps[0].seed
    assert changed({**drift, "every": "5 min"}, data=data).transform == one.transform


# the file


def test_everything_that_a_drift_may_say_survives_being_written(tmp_path: Any) -> None:
    from edgesim.scenario import load

    ramp = {"over": "3 min", "steps": 4}
    drifts = [
        {**BLUR, "name": "a", "every": "30 min", "until": "2 h", "lasts": "9 min", "profile": {"gradual": ramp}},
        {**BLUR, "name": "b", "at": "1 min", "profile": {"incremental": ramp}, "devices": {"group": "far"}},
        {"name": "c", "kind": "concept", "at": "1 min", "swap": {0: 1}, "devices": {"sample": 1, "group": "far"}},
        {"name": "d", "kind": "concept", "at": "1 min", "permute": {0: 1, 1: 2, 2: 0}, "devices": {"share": 0.5}},
        {"name": "e", "kind": "label", "at": "1 min", "dirichlet": {"alpha": 0.5, "among": "all"}},
        {"name": "f", "kind": "label", "at": "1 min", "prior": {0: 0.25, 1: 0.75}, "correlated": False, "spread": 60.0},
        {"name": "g", "kind": "feature", "at": 1.0, "transform": "scale", "amount": 2.0, "per_feature": True},
        {"name": "h", "kind": "replacement", "at": 1.0, "replace": 0.5, "profile": {"gradual": ramp}},
    ]
    partition = {"kind": "split", "ratios": [1, 3]}
    scenario = tiny_scenario(
        drifts=drifts, horizon="3 h", data={**tiny_scenario().to_document()["data"], "partition": partition}
    )
    file = tmp_path / "all.yaml"
    file.write_text(scenario.to_yaml())
    again = load(file, learner_params=installed_params())
    assert again.to_document() == scenario.to_document()
    assert again.drifts == scenario.drifts
    assert "profile: abrupt" in scenario.to_yaml()


def test_a_class_is_named_with_the_place_that_names_it() -> None:
    drift = LabelDrift.model_validate({"kind": "label", "name": "a", "at": 1.0, "classes": [3, 4]})
    assert drift.named_classes() == ((("classes", 0), 3), (("classes", 1), 4))


# a pool dealt out


def test_a_split_gives_each_device_its_whole_share_and_a_buffer_that_holds_it() -> None:
    data = {**DIGITS, "partition": {"kind": "split", "ratios": [1, 3]}, "arrival": {}}
    scenario = tiny_scenario(data=data, drifts=[])
    streams = [_stream(scenario, index) for index in range(4)]
    sizes = [stream.held(0.0) for stream in streams]
    assert sizes[0] == pytest.approx(sizes[1] / 3, abs=2)
    held = [set(stream.samples(0.0).view.indices.tolist()) for stream in streams]
    assert sum(map(len, held)) == len(set().union(*held)) == len(streams[0].pools.devices)


def test_a_buffer_too_small_for_its_share_of_a_split_is_told() -> None:
    from edgesim.errors import UserError

    data = {**DIGITS, "partition": {"kind": "split", "ratios": [1]}, "arrival": {"buffer": 10}}
    with pytest.raises(UserError, match=r"arrival\.buffer is 10, but a device of near holds"):
        table(data=data)
