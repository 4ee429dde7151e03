"""The scenarios that come with edgesim run from end to end, and show what their headers say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from edgesim.simulation import load_scenario, run
from edgesim.tables import read_manifest, read_tables

FOLDER = Path(__file__).parent.parent / "scenarios"
NAMES = sorted(file.stem for file in FOLDER.glob("*.yaml"))

Tables = Mapping[str, pd.DataFrame]


def _waits_through_the_outage(tables: Tables) -> bool:
    sent = tables["transfers"]
    through = (sent["device"].str.startswith("north")) & (sent["start_s"] < 780) & (sent["end_s"] > 780)
    requests = tables["serving"].query("learner == 'cloud_served' and device.str.startswith('north')")
    return bool(through.any() and requests["unserved"].sum() > 0)


def _every_kind_of_drift(tables: Tables) -> bool:
    kinds = set(tables["drifts"]["kind"])
    return kinds == {"label", "feature", "concept", "replacement"} and not tables["detections"].empty


def _uplinks_collapse(tables: Tables) -> bool:
    mast = tables["environment"].query("device.str.startswith('mast') and resource == 'uplink'")
    return bool(mast["value"].max() >= 900 * mast["value"].min())


SHOWS: dict[str, Callable[[Tables], bool]] = {
    "bandwidth_collapse": _uplinks_collapse,
    "battery": lambda tables: {"battery", "charged"} <= set(tables["availability"]["cause"]),
    "churn": lambda tables: (
        {"availability", "joins", "leaves"} <= set(tables["availability"]["cause"])
        and "killed" in set(tables["computations"]["status"])
        and "cut" in set(tables["transfers"]["status"])
    ),
    "drift_zoo": _every_kind_of_drift,
    "gateway": _waits_through_the_outage,
    "memory_pressure": lambda tables: {"killed", "out_of_memory"} <= set(tables["computations"]["status"]),
    "quickstart": lambda tables: len(tables["drifts"]["drift_id"].unique()) > 0,
}
"""What each scenario is about, seen in its tables."""


@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_says_what_to_look_at_and_is_fine(name: str) -> None:
    header = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").split("edgesim: 1")[0]
    assert header.startswith("# yaml-language-server: $schema=scenario.schema.json\n")
    assert f"edgesim run scenarios/{name}.yaml" in header
    assert load_scenario(FOLDER / f"{name}.yaml").description


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_runs_to_its_horizon_and_shows_what_it_is_about(name: str, tmp_path: Path) -> None:
    scenario = load_scenario(FOLDER / f"{name}.yaml")
    folder = run(scenario, out=tmp_path / name)
    tables = read_tables(folder)
    assert read_manifest(folder)["status"] == "done"
    assert set(tables["accuracy"]["learner"]) == {spec.label for spec in scenario.learners}
    assert tables["accuracy"]["accuracy"].between(0, 1).all()
    assert SHOWS[name](tables)


PAPERS = sorted((FOLDER / "papers").glob("*.yaml"))


@pytest.mark.parametrize("file", PAPERS, ids=lambda file: file.stem)
def test_a_papers_scenario_is_fine_on_data_of_its_kind(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESIM_DATA", "nowhere")
    monkeypatch.setenv("EDGESIM_HAR", "nowhere")
    data = YAML(typ="safe").load(file)["data"]
    made = {"classes": 100, "shape": [3, 32, 32], "groups": 30, "samples": 60000}
    if data["source"] == "uci_har":
        made |= {"classes": 6, "shape": [561]}
    kept = {key: data[key] for key in ("proxy", "test_samples", "partition")}
    scenario = load_scenario(file, overrides=[f"data={json.dumps({'source': 'synthetic', **made, **kept})}"])
    assert scenario.description
    assert f"edgesim run scenarios/papers/{file.name}" in file.read_text(encoding="utf-8")
