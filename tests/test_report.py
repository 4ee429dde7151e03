"""The report: one file that holds everything, whose numbers are the run's, also where there is little to tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from drawn_run import DEVICES, LEVELS, fill, written, written_modules
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner
from written_runs import WrittenRun

import analysis
from analysis import palette
from analysis.report import devices as drill
from analysis.report import document as documents
from analysis.report import surroundings, usage, write_report
from analysis.report.document import document
from analysis.report.thinning import steps, thinned, to_the_end
from edgesim.cli import app


class Page(HTMLParser):
    """What a browser would find in the page: elements with their attributes, text outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.data = ""
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside.append("data" if dict(attrs).get("id") == "data" else tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if self._inside and self._inside[-1] == "data":
            self.data += data
        elif not self._inside or self._inside[-1] not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def documents(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.data)
        return found


def opened(tmp_path: Path, *folders: Path) -> Page:
    """The page about run folders, without the five megabytes of Plotly."""
    with patch("plotly.offline.get_plotlyjs", return_value=""):
        return Page(write_report(folders, tmp_path / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> analysis.Run:
    return analysis.load(written(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def data(run: analysis.Run) -> dict[str, Any]:
    return document(analysis.compare([run]).scenarios[0])


@pytest.fixture(scope="module")
def page(run: analysis.Run, tmp_path_factory: pytest.TempPathFactory) -> Page:
    file = write_report(run.folders, tmp_path_factory.mktemp("page") / "report.html")
    return Page(file.read_text(encoding="utf-8"))


def test_the_page_asks_the_network_for_nothing(page: Page) -> None:
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "base"), tag
        for name in ("src", "href", "action", "poster", "srcset"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)


def test_every_chart_and_part_has_its_place_once(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {str(attributes["href"])[1:] for tag, attributes in page.elements if tag == "a"}
    assert targets <= set(ids)


def test_the_answer_comes_first_and_says_no_more_than_the_comparison(page: Page, run: analysis.Run) -> None:
    said = analysis.compare([run]).sentences()
    assert "cloud_only was the most accurate" in page.text
    assert all(sentence in page.text for sentence in said)
    assert page.text.index("cloud_only was the most accurate") < page.text.index("Accuracy against no_adaptation")
    assert "Which of 3 learners serves 4 devices best through 2 drifts, and at what cost?" in page.text


def test_numbers_in_the_summary_carry_intervals_and_what_they_support(page: Page, run: analysis.Run) -> None:
    found = run.summary().loc["cloud_only"]
    low, high = (f"{100 * found[f'accuracy_{end}']:.1f}" for end in ("low", "high"))
    assert f"{100 * found['accuracy']:.1f} % {low} to {high} better" in page.text
    assert "not measured" in page.text
    assert "not reached" in page.text


def test_the_mean_curve_is_the_mean_over_devices_and_seeds(data: dict[str, Any]) -> None:
    line = data["fleet"]["all"]["no_adaptation"]
    assert dict(zip(line["t"], line["v"], strict=True))[0] == pytest.approx(0.915)
    assert dict(zip(line["t"], line["v"], strict=True))[120] == pytest.approx((0.62 + 0.64 + 0.66 + 0.68) / 4)
    assert line["t"][-1] == 600
    assert line["v"][-1] == pytest.approx((0.62 + 0.64 + 0.46 + 0.48) / 4)


def test_a_seed_s_curve_is_that_seed_s(data: dict[str, Any]) -> None:
    first = {seed: data["fleet"][seed]["on_device"]["t"][2] for seed in ("0", "1", "2")}
    assert first == {"0": 165, "1": 169, "2": 173}


def test_the_bytes_curve_ends_at_the_bytes_sent(data: dict[str, Any], run: analysis.Run) -> None:
    means = run.seed_metrics["both_ways_bytes"].groupby("learner").mean()
    for learner in LEVELS:
        assert data["bytes"]["all"][learner]["v"][-1] == pytest.approx(means[learner], rel=1e-4)


def test_a_learner_has_the_colour_that_it_has_in_figures(data: dict[str, Any]) -> None:
    shown = {learner["name"]: learner["colour"] for learner in data["learners"]}
    assert shown == palette.colours(list(LEVELS))


def test_colours_stand_out_on_dark_ground_and_stay_apart() -> None:
    dark = [palette.on_dark(colour) for colour in palette.KNOWN.values()]
    assert min(palette.contrast(colour, palette.DARK_GROUND) for colour in dark) >= palette.DARK_CONTRAST
    assert len(set(dark)) == len(dark)


def test_what_a_device_did_is_told_job_by_job(data: dict[str, Any]) -> None:
    hub = data["drill"]["0"]["cloud_only"]["hub-0"]
    jobs = [bar for bar in hub["bars"] if bar[0] == 0]
    assert [bar[1:3] for bar in jobs] == [[145, 153], [190, 198]]
    cut = [bar for bar in hub["bars"] if not bar[4]]
    assert [bar[3] for bar in cut] == ["weights, cut"]
    assert hub["memory"]["v"][:2] == [0, 2e7]


def test_the_environment_says_what_was_offered_and_who_was_away(data: dict[str, Any], page: Page) -> None:
    seen = data["environment"]["0"]
    assert seen["signals"]["uplink"][0]["devices"] == ["hub-0"]
    assert seen["signals"]["uplink"][0]["v"] == [2e6, 5e5, 2e6]
    assert seen["away"] == [[0, 450, 480]]
    assert [(drift["time"], drift["name"], drift["devices"]) for drift in seen["drifts"]] == [
        (120, "new-digits", 4),
        (360, "dusk", 2),
    ]
    assert "4 Mbit/s to 16 Mbit/s mean 13.6 Mbit/s" in page.text  # 2e6 x 480 s + 5e5 x 120 s over 600 s, in bits
    assert "5.0 %" in page.text  # offline for 30 s of 600


def test_oracles_are_marked_and_not_called_the_best(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / "run", learners={"told": True, "a": False, "b": False}, seeds=(0,))
    for learner, level in (("told", 99), ("a", 80), ("b", 70)):
        run[learner, 0].online("x", 0)
        run[learner, 0].accuracy("x", 0, level)
    page = opened(tmp_path, run.close())
    assert "a had the highest accuracy over time and devices at this seed, 80.0 %" in page.text
    assert "told *" in page.text
    assert {learner["name"]: learner["oracle"] for learner in page.documents[0]["learners"]}["told"]
    assert page.documents[0]["costs"][0]["front"] == ["a"]


def test_text_of_a_scenario_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><b>&"
    page = opened(tmp_path, written(tmp_path / "run", seeds=(0,), name=evil))
    assert page.documents[0]["label"] == evil
    assert evil in page.text
    assert sum(tag == "script" for tag, _ in page.elements) == 3
    assert not any(tag == "b" for tag, _ in page.elements)


def test_it_is_told_how_to_get_the_same_numbers_again(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / "my run", learners=["a"], seeds=(0, 1, 2, 7), timing_only=True)
    run.manifest["versions"] = {"edgesim": "0.1.0", "torch": "2.13.0"}
    run["a", 0].online("x", 0)
    page = opened(tmp_path, run.close())
    assert "edgesim run paper.yaml --seeds 0-2,7 --learner a --timing-only" in page.text
    assert f"edgesim report '{tmp_path / 'my run'}' -o report.html" in page.text
    assert "edgesim 0.1.0, torch 2.13.0" in page.text


def test_runs_of_different_versions_are_told_apart(tmp_path: Path) -> None:
    folders = []
    for seed in (0, 1):
        run = WrittenRun(tmp_path / str(seed), seeds=(seed,))
        run.manifest["versions"] = {"torch": f"2.1{seed}"}
        run["a", seed].online("x", 0)
        folders.append(run.close())
    assert "made with different versions" in opened(tmp_path, *folders).text


def test_modules_are_told_selection_by_selection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = opened(tmp_path, written_modules(tmp_path / "run")).documents[0]["usage"]["0"]["eclm"]
    assert found["layers"] == [4, 4]
    assert found["devices"]["hub-1"] == [
        [101, "10001000", [250] * 8],
        [301, "11001100", [1000, 0, 0, 0, 400, 300, 200, 100]],
    ]
    monkeypatch.setattr(usage, "CELLS", 24)
    thinned = opened(tmp_path, tmp_path / "run")
    assert [one[0] for one in thinned.documents[0]["usage"]["0"]["eclm"]["devices"]["hub-1"]] == [301]
    assert "some are left out, evenly chosen" in thinned.text


# Where there is little to tell ------------------------------------------------------------------------------------


def _empty(folder: Path) -> Path:
    return WrittenRun(folder).close()


def _killed_at_once(folder: Path) -> Path:
    return WrittenRun(folder).kill()


def _killed(folder: Path) -> Path:
    run = WrittenRun(folder, horizon_s=600, learners=list(LEVELS), seeds=(0, 1))
    fill(run["no_adaptation", 0], "no_adaptation", 0)
    fill(run["on_device", 0], "on_device", 0)
    return run.kill()


def _without_drifts(folder: Path) -> Path:
    run = WrittenRun(folder, seeds=(0, 1))
    for seed in (0, 1):
        run["a", seed].online("x", 0)
        run["a", seed].accuracy("x", 0, 90 + seed)
    return run.close()


def _one_device(folder: Path) -> Path:
    run = WrittenRun(folder, learners=["a", "b"])
    for learner in ("a", "b"):
        run[learner, 0].online("x", 0)
        run[learner, 0].accuracy("x", 0, 90)
        run[learner, 0].drift("x", 50, 1)
        run[learner, 0].accuracy("x", 50, 60, cause="drift")
    return run.close()


def _never_deployed(folder: Path) -> Path:
    run = WrittenRun(folder)
    run["a", 0].online("x", 0)
    run["a", 0].drift("x", 50, 1)
    run["a", 0].job("x", 60, 70, "x@1", status="out_of_memory", output_model_id="")
    return run.close()


def _timing_only(folder: Path) -> Path:
    run = WrittenRun(folder, timing_only=True, learners=["a", "b"])
    for learner in ("a", "b"):
        run[learner, 0].online("x", 0)
        run[learner, 0].accuracy("x", 0, None)
        run[learner, 0].drift("x", 50, 1)
        run[learner, 0].send("x", 10, 20, 1000)
    return run.close()


LITTLE: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "empty": (_empty, ("nothing was run yet", "Accuracy was not measured.", "No drift fell into the run")),
    "killed at once": (_killed_at_once, ("nothing was run yet", "Nothing was run.", "running")),
    "killed": (_killed, ("is not finished: its numbers end at", "running", "Which of 2 learners")),
    "without drifts": (
        _without_drifts,
        ("How well does a serve 1 device without any drift", "a was right 90.5 %", "No drift fell into the run"),
    ),
    "one device": (_one_device, ("One seed: there are no intervals", "nothing can be said about chance", "x")),
    "never deployed": (_never_deployed, ("Accuracy was not measured.", "not reached", "did not fit into memory: a 1")),
    "one seed": (lambda folder: written(folder, seeds=(4,)), ("One seed: there are no intervals", "at this seed")),
    "timing only": (_timing_only, ("Timing only: nothing was trained", "not measured", "1 kB")),
}


@pytest.mark.parametrize("case", LITTLE)
def test_where_there_is_little_to_tell_that_is_told(case: str, tmp_path: Path) -> None:
    write, expected = LITTLE[case]
    page = opened(tmp_path, write(tmp_path / "run"))
    for text in expected:
        assert text in page.text, text
    assert len(page.documents) == 1
    assert "NaN" not in page.data


def test_one_seed_has_no_interval_anywhere(tmp_path: Path) -> None:
    page = opened(tmp_path, written(tmp_path / "run", seeds=(4,)))
    assert not any(point["xs"] or point["ys"] for cost in page.documents[0]["costs"] for point in cost["points"])
    assert {curve["band"] for curve in page.documents[0]["recovery"].values()} == {"within run"}


def test_a_killed_run_s_curves_end_where_it_ended(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / "run", horizon_s=100)
    run["a", 0].online("x", 0)
    run["a", 0].accuracy("x", 0, 90)
    run["a", 0].accuracy("x", 40, 80)
    found = opened(tmp_path, run.kill()).documents[0]
    assert found["fleet"]["all"]["a"]["t"][-1] == 40
    assert found["learners"][0]["until"] == 40
    assert found["horizon"] == 100


def test_many_run_folders_of_one_scenario_are_one_part_and_other_scenarios_others(tmp_path: Path) -> None:
    folders = [written(tmp_path / f"{seed}", seeds=(seed,)) for seed in range(4)]
    folders.append(written(tmp_path / "other", seeds=(0,), name="other"))
    page = opened(tmp_path, *folders)
    assert [found["label"] for found in page.documents] == ["paper", "other"]
    assert page.documents[0]["seeds"] == [0, 1, 2, 3]
    assert [a["value"] for tag, a in page.elements if tag == "option"] == ["0", "1"]


# What does not fit ------------------------------------------------------------------------------------------------


def test_what_is_left_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill, "DEVICES", 2)
    monkeypatch.setattr(drill, "BARS", 20)
    monkeypatch.setattr(documents, "POINTS", 8)
    monkeypatch.setattr(drill, "POINTS", 0)
    monkeypatch.setattr(drill, "LEAST", 4)
    monkeypatch.setattr(surroundings, "SIGNALS", 0)
    page = opened(tmp_path, written(tmp_path / "run"))
    found = page.documents[0]
    assert len(found["devices"]) <= 3
    assert "Of 4 devices" in page.text
    assert "kept for seed 0 only" in page.text
    assert "Curves of more than 8 points are thinned" in page.text
    assert "Curves of single devices of more than 4 points are thinned" in page.text
    assert "bars" in found["drill"]["0"]["on_device"][found["devices"][0]]
    assert "bars" not in found["drill"]["1"]["on_device"][found["devices"][0]]
    assert [line["name"] for line in found["environment"]["0"]["signals"]["uplink"]] == [
        "greatest of 1 devices",
        "median of 1 devices",
        "least of 1 devices",
    ]
    assert found["environment"]["0"]["own"]["uplink"]["hub-0"]["v"] == [2e6, 5e5, 2e6]


def test_of_too_many_devices_some_signals_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "DEVICES", 2)
    monkeypatch.setattr(drill, "DEVICES", 3)
    run = WrittenRun(tmp_path / "run")
    for k in range(5):
        run["a", 0].online(f"d{k}", 0)
        run["a", 0].add("environment", device=f"d{k}", resource="uplink", time_s=0, value=1e6 + k)
    page = opened(tmp_path, run.close())
    assert [one["devices"] for one in page.documents[0]["environment"]["0"]["signals"]["uplink"]] == [
        [device] for device in ("d0", "d2", "d4")
    ]  # those of the page among them
    assert "Signals are those of 2 evenly chosen devices of 5." in page.text


def test_where_one_seed_has_too_many_jobs_those_in_vain_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drill, "BARS", 60)
    run = WrittenRun(tmp_path / "run")
    run["a", 0].online("x", 0)
    for k in range(90):
        lost = {"status": "killed", "output_model_id": ""} if k in (31, 77) else {}
        run["a", 0].job("x", k, k + 0.5, **lost)
    page = opened(tmp_path, run.close())
    bars = page.documents[0]["drill"]["0"]["a"]["x"]["bars"]
    assert len(bars) == 60
    assert [bar[1] for bar in bars if not bar[4]] == [31, 77]
    assert [bar[1] for bar in bars] == sorted(bar[1] for bar in bars)
    assert "Of the jobs and transfers of a device 60 are drawn" in page.text


def test_a_battery_s_level_is_told_device_by_device(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / "run")
    run["a", 0].online("x", 0)
    for time_s, level in ((0, 1.0), (40, 0.5), (100, 0.2)):
        run["a", 0].add("battery", device="x", time_s=time_s, event="change", level_ratio=level)
    entry = opened(tmp_path, run.close()).documents[0]["drill"]["0"]["a"]["x"]
    assert entry["battery"] == {"t": [0, 40, 100], "v": [1, 0.5, 0.2]}


def test_the_worst_device_of_each_learner_is_among_those_that_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drill, "DEVICES", 2)
    run = WrittenRun(tmp_path / "run", learners=["a"])
    for k in range(9):
        run["a", 0].online(f"d{k}", 0)
        run["a", 0].accuracy(f"d{k}", 0, 10 if k == 5 else 90)
    assert "d5" in opened(tmp_path, run.close()).documents[0]["devices"]


@given(st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), min_size=1, max_size=300), st.integers(8, 40))
def test_thinning_keeps_ends_and_extremes(values: list[float], most: int) -> None:
    times = np.arange(len(values), dtype=float)
    given_values = np.array(values)
    t, v = thinned(times, given_values, most)
    assert len(t) <= max(most, len(values) if len(values) <= most else 5 * max(1, most // 4))
    assert (t[0], t[-1]) == (times[0], times[-1])
    assert (np.diff(t) > 0).all()
    if not np.isnan(given_values).all():
        assert (np.nanmin(v), np.nanmax(v)) == (np.nanmin(given_values), np.nanmax(given_values))
    assert np.isnan(v).any() == np.isnan(given_values).any()


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3)), min_size=1, max_size=40))
def test_dropping_what_does_not_change_leaves_the_step_function(rows: list[tuple[int, int]]) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    full_t, full_v = (np.array(column, float) for column in zip(*rows, strict=True))
    t, v = steps(full_t, full_v)
    for moment in np.arange(full_t[0], 21):
        wanted = full_v[np.searchsorted(full_t, moment, side="right") - 1]
        assert v[np.searchsorted(t, moment, side="right") - 1] == wanted
    assert (v[1:] != v[:-1]).all()


def test_a_series_holds_its_last_value_to_its_end() -> None:
    _, values = to_the_end(np.array([0.0, 5.0]), np.array([0.4, np.nan]))
    assert values.tolist() == [0.4, 0.4]
    _, only = to_the_end(np.array([0.0]), np.array([np.nan]))
    assert np.isnan(only).all()


# The command ------------------------------------------------------------------------------------------------------


def test_the_command_writes_the_file_and_says_how_large_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = written(tmp_path / "run")
    done = CliRunner().invoke(app, ["report", str(folder), "-o", "page.html", "--baseline", "on_device"])
    assert done.exit_code == 0
    assert done.output.startswith("written: page.html (4.")
    text = Page((tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert "Accuracy against on_device" in text


def test_a_folder_that_is_no_run_is_the_user_s_mistake(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(tmp_path), "-o", str(tmp_path / "page.html")])
    assert done.exit_code == 2
    assert "is not a run folder" in done.output
    assert not (tmp_path / "page.html").exists()


def test_every_device_of_the_run_has_a_button(page: Page) -> None:
    buttons = {attributes["data-device"] for tag, attributes in page.elements if "data-device" in attributes}
    assert buttons == set(DEVICES)
