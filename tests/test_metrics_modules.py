"""Loads of modules and their entropy, against hand-computed cases."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from drawn_run import SHARES, written_modules
from written_runs import WrittenRun

import analysis
from analysis.modules import load_entropy, module_load, selected_at


def even(*shares: float) -> float:
    return -sum(share * math.log(share) for share in shares if share) / math.log(len(shares))


@pytest.fixture
def run(tmp_path: Path) -> analysis.Run:
    return analysis.load(written_modules(tmp_path))


def test_a_selection_holds_until_the_device_s_next_one(run: analysis.Run) -> None:
    assert selected_at(run.selections, 50).empty
    between = selected_at(run.selections, 301)  # hub-0 and hub-1 have their second one, field-0 has not
    assert between.groupby("device", sort=False)["time_s"].first().to_dict() == {
        "hub-0": 300,
        "hub-1": 301,
        "field-0": 102,
    }
    assert len(between) == 3 * 2 * 4


def test_the_load_of_a_module_is_its_mean_share_over_devices(run: analysis.Run) -> None:
    load = module_load(run.selections)
    assert load[load["layer"] == 0]["share"].tolist() == pytest.approx([0.5, 1 / 3, 1 / 6, 0.0])
    assert load[load["layer"] == 0]["devices"].tolist() == [2, 3, 1, 0]  # hub-1 holds 1 as its second, of equals
    assert load[load["layer"] == 1]["share"].tolist() == pytest.approx(np.mean([SHARES[d][1] for d in SHARES], axis=0))


def test_the_entropy_of_a_layer_is_over_its_greatest_possible(run: analysis.Run) -> None:
    found = load_entropy(run.selections).set_index("layer")["entropy"]
    assert found[0] == pytest.approx(even(1 / 2, 1 / 3, 1 / 6, 0))
    assert load_entropy(run.selections, 200)["entropy"].tolist() == pytest.approx([1.0, 1.0])


def test_the_metric_is_of_the_layer_that_is_least_even_and_of_learners_with_modules(run: analysis.Run) -> None:
    summary = run.summary()["load_entropy"]
    assert summary["eclm"] == pytest.approx(even(1 / 2, 1 / 3, 1 / 6, 0))
    assert math.isnan(summary["no_adaptation"])


@pytest.mark.parametrize(("shares", "expected"), [((1.0, 0.0), 0.0), ((0.5, 0.5), 1.0), ((None, 0.5), math.nan)])
def test_collapse_evenness_and_what_was_not_measured(
    shares: tuple[float | None, float], expected: float, tmp_path: Path
) -> None:
    run = WrittenRun(tmp_path)
    for module, share in enumerate(shares):
        cells = {"device": "x", "time_s": 1.0, "model_id": "m", "layer": 0, "held": True}
        run["a", 0].add("selections", **cells, module=module, share=share)
    found = load_entropy(analysis.load(run.close()).selections)["entropy"].tolist()
    assert found == pytest.approx([expected], nan_ok=True)
