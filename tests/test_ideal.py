"""The upper bound: it costs nothing, acts at the very instant of a drift, and says what it is."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import edgesim
from edgesim import UserError
from edgesim.testing import check_learner, run_tiny, tiny_scenario
from learners.ideal import Ideal
from learners.no_adaptation import NoAdaptation


def tables_of(**params: object) -> dict[str, pd.DataFrame]:
    return run_tiny(Ideal(Ideal.Params.model_validate(params)))


def test_it_costs_nothing() -> None:
    tables = tables_of()
    assert len(tables["transfers"]) == 0
    assert len(tables["memory"]) == 0
    jobs = tables["computations"]
    made = jobs[jobs["status"] == "ideal"]
    assert len(made)
    assert (made[["flops", "done_flops", "busy_s"]] == 0).all(axis=None)
    assert set(jobs["status"]) == {"ideal", "offline"}


def test_every_drifted_device_serves_an_informed_model_at_the_instant_of_its_drift() -> None:
    tables = tables_of()
    deployments = tables["deployments"]
    for drift in tables["drifts"].to_dict("records"):
        there = deployments[(deployments["device"] == drift["device"]) & (deployments["time_s"] == drift["time_s"])]
        assert there.iloc[-1]["informed_by"] == drift["drift_id"]


def test_it_is_no_worse_than_no_adaptation() -> None:
    def mean_after_drift(tables: dict[str, pd.DataFrame]) -> float:
        rows = tables["accuracy"]
        rows = rows[(rows["view"] == "current") & (rows["time_s"] >= 360)]
        return float(rows.groupby("device")["accuracy"].last().mean())

    assert mean_after_drift(tables_of(epochs=5)) >= mean_after_drift(run_tiny(NoAdaptation(NoAdaptation.Params())))


def test_its_fresh_samples_follow_the_present_distribution() -> None:
    from edgesim.testing import run_tiny as run

    class Looks(Ideal):
        def run(self, world):  # type: ignore[no-untyped-def]
            yield world.sleep(370)
            device = world.devices[0]
            Looks.labels = world.ideal.samples(device, 50).view.labels()
            Looks.tested = device.data.test_view().indices

    run(Looks(Looks.Params()))
    assert set(np.unique(Looks.labels)) == {0, 1}  # type: ignore[attr-defined]
    assert len(Looks.labels) == 50  # type: ignore[attr-defined]


def test_it_is_marked_in_every_table_and_in_the_manifest(tmp_path: Path) -> None:
    scenario = tiny_scenario(horizon="7 min", drifts=[])
    out = edgesim.run(scenario, learners=["ideal", "no_adaptation"], out=tmp_path / "run")
    manifest = json.loads((out / "manifest.json").read_text())
    facts = {name: (learner["oracle"], learner["ideal"]) for name, learner in manifest["learners"].items()}
    assert facts == {"ideal": (True, True), "no_adaptation": (False, False)}
    tables = edgesim.tables.read_tables(out)
    for frame in tables.values():
        assert frame.loc[frame["learner"] == "ideal", "oracle"].all()


def test_a_learner_that_is_no_oracle_may_not_do_what_nobody_can() -> None:
    class Cheat(NoAdaptation):
        def run(self, world):  # type: ignore[no-untyped-def]
            yield world.sleep(1)
            world.ideal.samples(world.devices[0], 3)

    with pytest.raises(UserError, match="oracle"):
        run_tiny(Cheat(Cheat.Params()))


def test_ideal_keeps_the_contract_with_other_parameters() -> None:
    check_learner(Ideal, {"samples": 10, "own_epochs": 0, "at_start": False})
