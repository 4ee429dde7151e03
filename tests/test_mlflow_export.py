"""A run copied into MLflow: what arrives, and that it arrives once."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner
from written_runs import WrittenRun

import analysis
from analysis.mlflow_export import POINTS, _curves, _flat, _thinned
from edgesim.cli import app


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    run = WrittenRun(tmp_path / "mine", learners={"a": False, "o": True}, seeds=[0, 1])
    run.manifest["started"] = "2026-01-01T00:00:00+00:00"
    run.manifest["scenario"]["devices"] = [{"name": "hub", "uplink": "1 Mbit/s"}]
    run._write_manifest()
    for world in run.worlds:
        own = run[world]
        own.accuracy("x", 0.0, 50 + world[1])
        own.accuracy("x", 40.5, 80)
        own.send("x", 0.0, 10.0, 1000)
        own.send("x", 5.0, 20.0, 500)
        own.drift("x", 40.5, 1)
    return run.close()


def test_without_mlflow_the_command_says_what_to_install(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    for name in [name for name in sys.modules if name.startswith("mlflow.")]:
        monkeypatch.delitem(sys.modules, name)
    result = CliRunner().invoke(app, ["export", "mlflow", str(run_dir)])
    assert result.exit_code == 2
    assert "pip install 'edgesim[mlflow]'" in result.stderr


def test_a_scenario_is_flat_for_mlflow() -> None:
    document = {
        "name": "m",
        "devices": [{"name": "hub", "uplink": {"steps": {"0 s": 1}}}],
        "classes": [1, 2],
        "none": {},
    }
    assert _flat(document) == {
        "name": "m",
        "devices.hub.name": "hub",
        "devices.hub.uplink.steps.0 s": 1,
        "classes": [1, 2],
        "none": {},
    }


def test_a_long_curve_is_read_off_at_even_times() -> None:
    curve = pd.Series(range(10_000), index=[float(second) for second in range(10_000)], dtype="float64")
    thinned = _thinned(curve)
    assert len(thinned) == POINTS
    assert (thinned.index[0], thinned.index[-1]) == (0.0, 9999.0)
    assert all(value == math.floor(time_s) for time_s, value in thinned.items())
    short = curve.iloc[:POINTS]
    pd.testing.assert_series_equal(_thinned(short), short)


def test_what_is_under_way_at_the_end_counts_there(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run["a", 0].send("x", 0.0, 10.0, 100)
    run["a", 0].send("x", 50.0, None, 900)
    loaded = analysis.load(run.close())
    assert _curves(loaded, "a", 0)["up_bytes"].to_dict() == {10.0: 100.0, 100.0: 1000.0}
    assert loaded.seed_metrics.loc[("a", 0), "up_bytes"] == 1000


# -- with MLflow ---------------------------------------------------------------------------------------------------


@pytest.fixture
def client(tmp_path: Path) -> Any:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_a_run_arrives_with_its_worlds_once(run_dir: Path, client: Any) -> None:
    result = CliRunner().invoke(app, ["export", "mlflow", str(run_dir)])
    assert result.exit_code == 0, result.output
    assert "with 4 runs nested in it" in result.stdout
    again = CliRunner().invoke(app, ["export", "mlflow", str(run_dir)])
    assert again.exit_code == 0
    assert "was exported before" in again.stdout

    found = client.search_runs([client.get_experiment_by_name("paper").experiment_id])
    by_name = {run.info.run_name: run for run in found}
    assert sorted(by_name) == ["a, seed 0", "a, seed 1", "mine", "o, seed 0", "o, seed 1"]
    parent, world = by_name["mine"], by_name["a, seed 1"]
    assert parent.data.params["devices.hub.uplink"] == "1 Mbit/s"
    assert parent.data.metrics["a/up_bytes"] == 1500.0
    assert world.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert by_name["o, seed 0"].data.tags["edgesim.oracle"] == "true"
    assert world.data.params["seed"] == "1"
    metrics = analysis.load(run_dir).seed_metrics.loc[("a", 1)]
    assert world.data.metrics["accuracy"] == pytest.approx(metrics["accuracy"])
    assert "energy_j" not in world.data.metrics  # not measured
    assert world.data.tags["edgesim.not_reached"] == "reaction_s, deployment_s"
    assert world.info.end_time - world.info.start_time == 100_000  # virtual milliseconds

    def curve(name: str) -> list[tuple[int, float, int]]:
        history = client.get_metric_history(world.info.run_id, name)
        return [(point.step, point.value, point.timestamp - world.info.start_time) for point in history]

    assert curve("accuracy_over_time") == [(0, 0.51, 0), (40, 0.8, 40_500)]
    assert curve("up_bytes_over_time") == [(10, 1000.0, 10_000), (20, 1500.0, 20_000)]


@pytest.mark.filterwarnings("ignore")
def test_a_run_that_has_gone_on_replaces_what_was_exported(run_dir: Path, client: Any, tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / "going")
    run["a", 0].accuracy("x", 0.0, 50)
    run.kill()
    command = ["export", "mlflow", "going", "--uri", f"sqlite:///{tmp_path}/mlflow.db"]
    for _ in range(2):
        assert CliRunner().invoke(app, command).exit_code == 0
    run.close()
    assert CliRunner().invoke(app, command).exit_code == 0
    found = client.search_runs([client.get_experiment_by_name("paper").experiment_id])
    assert sorted((one.info.run_name, one.info.status) for one in found) == [
        ("a, seed 0", "FINISHED"),
        ("going", "FINISHED"),
    ]


@pytest.mark.filterwarnings("ignore")
def test_a_store_that_is_none_is_told(run_dir: Path, client: Any) -> None:
    result = CliRunner().invoke(app, ["export", "mlflow", str(run_dir), "--uri", "nonsense://x"])
    assert result.exit_code == 2
    assert "MLflow cannot open nonsense://x" in result.stderr
