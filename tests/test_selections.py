"""Selections of modules: written by the deployment, read late, the same in every mode but for what is computed."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pandas as pd
import pytest

from edgesim import Event, Learner, LearnerParams, Selection, World
from edgesim.testing import run_tiny, tiny_scenario
from edgesim.world.selection import Share
from learners.eclm.learner import ECLM


class Promise:
    """A handle that remembers whether it was asked."""

    def __init__(self) -> None:
        self.asked = False
        self.done = False
        self.key = "promise"

    def value(self) -> Any:
        self.asked = True
        return ((0.75, 0.25), (0.5, 0.5))

    def part(self, name: str) -> Promise:
        return self


class TwoLayers(Learner):
    """Deploys what is there, and says that it has modules."""

    class Params(LearnerParams):
        pass

    promise = Promise()

    def run(self, world: World) -> Generator[Event, Any, None]:
        device = world.devices[0]
        yield world.sleep(60)
        yield device.deploy(device.model, selection=Selection((2, 2), ((1,), (0, 1)), self.promise))
        assert not self.promise.asked
        yield device.deploy(device.model)
        yield device.deploy(device.model, selection=Selection((2, 2), ((), ())))


def selections(*, timing_only: bool = False) -> pd.DataFrame:
    TwoLayers.promise = Promise()
    learner = TwoLayers(TwoLayers.Params())
    return run_tiny(learner, tiny_scenario(horizon="2 min", drifts=[]), timing_only=timing_only)["selections"]


def test_a_deployment_writes_a_row_a_module_and_reads_the_shares_when_rows_are_cut() -> None:
    rows = selections()
    assert rows["time_s"].unique().tolist() == [60.0]
    assert rows["device"].unique().tolist() == ["near-0"]
    told = list(zip(rows["layer"], rows["module"], rows["held"], rows["share"], strict=True))
    assert told[:4] == [(0, 0, False, 0.75), (0, 1, True, 0.25), (1, 0, True, 0.5), (1, 1, True, 0.5)]
    assert rows["held"].tolist()[4:] == [False] * 4
    assert rows["share"].isna().tolist() == [False] * 4 + [True] * 4
    assert TwoLayers.promise.asked


def test_a_timing_only_run_knows_what_is_held_and_asks_for_no_share() -> None:
    full, timed = selections(), selections(timing_only=True)
    assert not TwoLayers.promise.asked
    assert timed["share"].isna().all()
    pd.testing.assert_frame_equal(full.drop(columns="share"), timed.drop(columns="share"))


def test_a_module_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"layer 1 has modules 0 to 2, not \[0, 3\]"):
        Selection((2, 3), ((0,), (0, 3)))
    with pytest.raises(ValueError, match="shorter"):
        Selection((2, 3), ((0,),))


def test_a_share_is_one_number_of_a_result_that_may_come_later() -> None:
    share = Share(Promise(), 0, 1)
    assert not share.done
    assert share.value() == 0.25


def test_eclm_tells_which_modules_a_device_holds_and_what_each_gets() -> None:
    params = {"modules": 4, "active": 2, "period": "3 min", "epochs_end_to_end": 1, "epochs_enhancing": 1, "epochs": 1}
    tables = run_tiny(ECLM(ECLM.Params.model_validate(params)), tiny_scenario(horizon="7 min", drifts=[]))
    rows = tables["selections"]
    by_layer = rows.groupby(["device", "time_s", "layer"])
    assert by_layer["module"].apply(list).map(lambda own: own == [0, 1, 2, 3]).all()
    assert by_layer["share"].sum().tolist() == pytest.approx([1.0] * by_layer.ngroups)
    assert by_layer["held"].any().all()  # every layer of a sub-model has a module
    served = set(zip(*(tables["deployments"][name] for name in ("device", "time_s", "model_id")), strict=True))
    assert set(zip(*(rows[name] for name in ("device", "time_s", "model_id")), strict=True)) <= served
