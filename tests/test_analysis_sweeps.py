"""A sweep as one frame: a row a point and learner, what was varied beside what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from written_runs import WrittenRun

import analysis
from analysis import Sweep
from edgesim.tables import UserError


def _sweep(folder: Path, points: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Path:
    blank = {"settings": {}, "settings_si": {}, "status": "done", "error": ""}
    record = {"format": 1, "name": "paper", "keys": list(keys), "points": [{**blank, **point} for point in points]}
    folder.mkdir(exist_ok=True)
    (folder / "sweep.json").write_text(json.dumps(record))
    return folder


def _point(
    folder: Path, name: str, correct: Sequence[int], *, back_s: float = 50.0, seeds: int = 2, horizon_s: float = 100.0
) -> None:
    """A device whose accuracy falls at a drift at 20 s and is back at ``back_s``, under two learners."""
    run = WrittenRun(
        folder / "points" / name, horizon_s=horizon_s, learners={"a": False, "o": True}, seeds=range(seeds)
    )
    for learner, seed in run.worlds:
        world = run[learner, seed]
        level = correct[seed] if learner == "a" else 50
        world.accuracy("d", 0.0, level)
        world.drift("d", 20.0, 1)
        world.accuracy("d", 20.0, 0, cause="drift")
        if back_s < horizon_s:
            world.accuracy("d", back_s, level, cause="deployment")
    run.close()


@pytest.fixture
def swept(tmp_path: Path) -> Sweep:
    settings = [{"cloud.compute": "1 GFLOP/s", "seed": 1}, {"cloud.compute": "2 GFLOP/s", "seed": 1}, {}]
    points = [
        {"name": f"p{n}", "settings": told, "settings_si": {"cloud.compute": (n + 1) * 1e9} if told else {}}
        for n, told in enumerate(settings)
    ]
    points[2] |= {"status": "failed", "error": "no luck"}
    folder = _sweep(tmp_path / "sweep", points, ["cloud.compute", "seed"])
    _point(folder, "p0", [80, 60], back_s=50.0)
    _point(folder, "p1", [40, 40], back_s=30.0)
    return analysis.load_sweep(folder)


def test_there_is_a_row_a_point_and_learner_with_what_was_varied(swept: Sweep) -> None:
    frame = swept.summary()
    assert list(frame.columns[:7]) == [
        *("point", "cloud.compute", "cloud.compute_si", "scenario.seed", "learner", "seeds", "oracle")
    ]
    assert list(zip(frame["point"], frame["learner"], frame["oracle"], strict=True)) == [
        *(("p0", "a", False), ("p0", "o", True), ("p1", "a", False), ("p1", "o", True))
    ]
    assert frame["cloud.compute_si"].tolist() == [1e9, 1e9, 2e9, 2e9]
    assert frame["cloud.compute"].tolist()[2] == "2 GFLOP/s"
    assert frame["accuracy"].tolist() == pytest.approx([0.49, 0.35, 0.36, 0.45])  # 70 s of 100 at 80 % and 60 %, ...
    assert frame["accuracy_low"].tolist()[2] == pytest.approx(0.36)
    assert "accuracy_low" not in swept.summary(intervals=False)


def test_there_is_a_row_a_seed_too(swept: Sweep) -> None:
    frame = swept.by_seed()
    own = frame[(frame["point"] == "p0") & (frame["learner"] == "a")]
    assert own["seed"].tolist() == [0, 1]
    assert own["accuracy"].tolist() == pytest.approx([0.56, 0.42])
    assert own["recovery_mean_s"].tolist() == [30.0, 30.0]


def test_one_point_gives_what_its_run_gives(swept: Sweep) -> None:
    alone = analysis.load(swept.folder / "points" / "p0").summary()
    among = swept.summary().query("point == 'p0'").set_index("learner")
    limited = [name for name in alone if "_mean_s" in name]  # their limit is common to all points
    pd.testing.assert_frame_equal(
        among[alone.columns.drop([*limited, "finished", "until_s"])],
        alone.drop(columns=[*limited, "finished", "until_s"]),
        check_names=False,
    )


def test_restricted_means_have_one_limit_at_all_points(tmp_path: Path) -> None:
    """At the second point recovery is not seen within 20 s: 20 s is as far as both curves are known."""
    folder = _sweep(tmp_path / "sweep", [{"name": "p0"}, {"name": "p1"}], [])
    _point(folder, "p0", [80], back_s=50.0, seeds=1)
    _point(folder, "p1", [80], back_s=50.0, seeds=1, horizon_s=40.0)
    frame = analysis.load_sweep(folder).summary()
    assert frame["recovery_mean_s"].tolist() == [20.0] * 4


def test_points_that_failed_are_told_and_have_no_rows(swept: Sweep) -> None:
    assert swept.failed == {"p2": "no luck"}
    assert swept.points["status"].tolist() == ["done", "done", "failed"]
    assert "p2" not in set(swept.summary()["point"])


def test_a_sweep_that_goes_on_has_what_is_done(swept: Sweep) -> None:
    record = json.loads((swept.folder / "sweep.json").read_text())
    for point in record["points"]:
        point["status"] = "waiting"
    (swept.folder / "sweep.json").write_text(json.dumps(record))
    assert analysis.load_sweep(swept.folder).points["status"].tolist() == ["done", "done", "waiting"]


def test_the_files_hold_the_same_rows(swept: Sweep) -> None:
    written = swept.save()
    assert [path.name for path in written] == [
        *("results.csv", "results.parquet", "results-by-seed.csv", "results-by-seed.parquet")
    ]
    for text, table in ((written[0], written[1]), (written[2], written[3])):
        one, other = pd.read_csv(text), pd.read_parquet(table)
        assert list(one.columns) == list(other.columns)
        pd.testing.assert_series_equal(one["accuracy"], other["accuracy"])
        assert one["cloud.compute"].tolist() == other["cloud.compute"].tolist()


def test_values_of_several_kinds_fit_into_one_column(tmp_path: Path) -> None:
    points = [{"name": f"p{n}", "settings": {"a": value}} for n, value in enumerate((1, "max", True, None))]
    folder = _sweep(tmp_path / "sweep", points, ["a"])
    for point in points:
        _point(folder, str(point["name"]), [80], seeds=1)
    results = analysis.load_sweep(folder)
    results.save()
    assert pd.read_parquet(folder / "results.parquet")["a"].tolist()[:6:2] == ["1", "max", "true"]
    assert [line.split()[0] for line in results.to_text().splitlines() if line.endswith("%")] == [
        *("1", "max", "true", "p3")
    ]


def test_the_terminal_shows_a_table_a_metric_a_row_a_point_a_column_a_learner(swept: Sweep) -> None:
    assert swept.to_text(80, ["accuracy", "energy_j"]).splitlines() == [
        "accuracy",
        "",
        "cloud.compute  seed             a      o*",
        "1 GFLOP/s      1           49.0 %  35.0 %",
        "                     0.0 to 100.0",
        "2 GFLOP/s      1           36.0 %  45.0 %",
        "",
        "95 % intervals over seeds, in the unit above; none where seeds hardly differ",
        "not measured at any point: energy",
        "*: told the true instant of every drift (oracle)",
    ]


def test_where_nothing_is_done_that_is_said(tmp_path: Path) -> None:
    folder = _sweep(tmp_path / "sweep", [{"name": "p0", "status": "waiting"}], [])
    assert analysis.load_sweep(folder).to_text() == "no point is done\n"


def test_mistakes_are_told(swept: Sweep, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not the folder of a sweep"):
        analysis.load_sweep(tmp_path)
    with pytest.raises(UserError, match="no metric 'speed'"):
        swept.to_text(80, ["speed"])
