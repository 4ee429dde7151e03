"""Figures: what they promise, and that they look as they did.

With EDGESIM_UPDATE_FIGURES=1 in the environment the pictures in tests/figures are drawn anew: look at each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from drawn_run import written, written_modules
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.testing.compare import compare_images
from written_runs import WrittenRun

import analysis
from analysis import figures
from analysis.figure_style import one_scenario, time_unit
from analysis.palette import KNOWN, OTHERS
from edgesim.errors import UserError

PICTURES = Path(__file__).parent / "figures"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> analysis.Run:
    return analysis.load(written(tmp_path_factory.mktemp("run")))


ALL: dict[str, Callable[[analysis.Run], Figure]] = {
    "accuracy": figures.plot_accuracy,
    "bytes": figures.plot_bytes,
    "devices": figures.plot_devices,
    "recovery": figures.plot_recovery,
    "pareto": figures.plot_pareto,
    "device": figures.plot_device,
}


@pytest.mark.parametrize("name", ALL)
def test_a_figure_looks_as_it_did(name: str, run: analysis.Run, tmp_path: Path) -> None:
    drawn = tmp_path / f"{name}.png"
    ALL[name](run).savefig(drawn, dpi=60, metadata={"Software": None})
    same(drawn)


def same(drawn: Path) -> None:
    """Hold a picture against the one that is kept, or keep it."""
    expected = PICTURES / drawn.name
    if os.environ.get("EDGESIM_UPDATE_FIGURES"):
        PICTURES.mkdir(exist_ok=True)
        expected.write_bytes(drawn.read_bytes())
    difference = compare_images(str(expected), str(drawn), tol=6.0)  # lets fonts be rendered a little differently
    assert difference is None, difference


def test_the_map_of_modules_looks_as_it_did(tmp_path: Path) -> None:
    drawn = tmp_path / "modules.png"
    figures.plot_modules(written_modules(tmp_path / "run")).savefig(drawn, dpi=60, metadata={"Software": None})
    same(drawn)


def test_the_map_of_modules_shows_a_moment(tmp_path: Path) -> None:
    run = analysis.load(written_modules(tmp_path))
    early, late = (figures.plot_modules(run, time_s=time_s).axes[0] for time_s in (200.0, 600.0))
    dots = [len(np.asarray(ax.lines[0].get_xdata())) for ax in (early, late)]
    assert dots == [3 * 2, 3 * 2 * 2]
    assert any("100.0 %, 100.0 %" in text.get_text() for text in early.texts)
    own = Figure(layout="constrained")
    assert figures.plot_modules(run, ax=own.subplots()) is own


def test_a_run_without_modules_says_so(run: analysis.Run) -> None:
    with pytest.raises(UserError, match="cloud_only has no modules to draw"):
        figures.plot_modules(run)


@pytest.mark.parametrize("name", ALL)
def test_a_figure_can_be_drawn_on_axes_of_one_s_own(name: str, run: analysis.Run) -> None:
    own = Figure(layout="constrained")
    ax = own.subplots()
    assert ALL[name](run, ax=ax) is own  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ALL)
def test_every_axis_with_numbers_has_a_label(name: str, run: analysis.Run) -> None:
    for ax in ALL[name](run).axes:
        assert (
            ax.get_xlabel()
            or not any(label.get_visible() for label in ax.get_xticklabels())
            or name == "device"
            or (ax.get_label() == "<colorbar>")
        )


def test_times_and_shares_carry_their_units(run: analysis.Run) -> None:
    figure = figures.plot_accuracy(run)
    figure.canvas.draw()
    ax = figure.axes[0]
    assert ax.get_xlabel() == "time (min)"
    assert all(label.get_text().endswith(" %") for label in ax.get_yticklabels())


def test_drifts_are_marked_where_they_happen(run: analysis.Run) -> None:
    for plot in (figures.plot_accuracy, figures.plot_bytes):
        ax = plot(run).axes[0]
        dashed = sorted({float(np.asarray(line.get_xdata())[0]) for line in ax.lines if line.get_linestyle() == "--"})
        assert dashed == [2.0, 6.0]
        assert {"new-digits", "dusk"} <= {text.get_text() for text in ax.texts}


def test_the_accuracy_curve_is_the_mean_over_devices_and_seeds(run: analysis.Run) -> None:
    ax = figures.plot_accuracy(run).axes[0]
    line = next(line for line in ax.lines if line.get_label() == "no_adaptation")
    times, values = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert values[times == 0.0] == pytest.approx(0.915)
    assert values[times == 2.0] == pytest.approx((0.62 + 0.64 + 0.66 + 0.68) / 4)


def test_the_bytes_curve_ends_at_the_bytes_sent(run: analysis.Run) -> None:
    ax = figures.plot_bytes(run, direction="down").axes[0]
    means = run.seed_metrics["down_bytes"].groupby("learner").mean()
    for learner in run.learners:
        line = next(line for line in ax.lines if line.get_label() == learner)
        assert np.asarray(line.get_ydata())[-1] == pytest.approx(means[learner])


def test_a_learner_has_the_same_colour_in_every_figure_and_company() -> None:
    names = ["ecavg", "mine", "on_device"]
    assert figures.colours(names)["mine"] == figures.colours(["mine"])["mine"]
    assert figures.colours(names) == {
        **figures.colours(["mine"]),
        **{name: KNOWN[name] for name in names if name in KNOWN},
    }
    assert figures.colours(["a", "b"]) == figures.colours(["b", "a"])


def test_learners_of_one_figure_do_not_share_a_colour() -> None:
    names = [f"learner-{n}" for n in range(len(OTHERS))]
    assert len(set(figures.colours([*names, *KNOWN]).values())) == len(names) + len(KNOWN)


def test_the_palette_can_be_told_apart_without_red_green_vision() -> None:
    """Machado, Oliveira and Fernandes 2009: full protanopia and deuteranopia, on linear RGB."""
    matrices = (
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    )
    linear = np.array([to_rgb(colour) for colour in KNOWN.values()]) ** 2.2
    for matrix in matrices:
        seen = np.clip(linear @ np.array(matrix).T, 0, 1) ** (1 / 2.2)
        distance = np.linalg.norm(seen[:, None] - seen[None], axis=2)
        assert distance[~np.eye(len(seen), dtype=bool)].min() > 0.15


def test_recovery_says_whose_band_it_draws(run: analysis.Run, tmp_path: Path) -> None:
    texts = [text.get_text() for text in figures.plot_recovery(run).axes[0].texts]
    assert any("95 % over seeds" in text for text in texts)
    single = analysis.load(written(tmp_path, seeds=(0,)))
    texts = [text.get_text() for text in figures.plot_recovery(single).axes[0].texts]
    assert any("within the run" in text for text in texts)


def test_what_cannot_be_placed_in_a_front_is_named(run: analysis.Run) -> None:
    ax = figures.plot_pareto(run, cost="recovery_mean_s").axes[0]
    assert ax.get_xlabel() == "mean recovery"
    ax = figures.plot_pareto(run, cost="recovery_s").axes[0]
    assert any("not measured or not reached: no_adaptation" in text.get_text() for text in ax.texts)


@pytest.mark.parametrize("name", ["accuracy", "bytes", "recovery", "pareto"])
def test_an_empty_run_is_drawn_empty(name: str, tmp_path: Path) -> None:
    for folder in (WrittenRun(tmp_path / "done").close(), WrittenRun(tmp_path / "killed").kill()):
        figure = ALL[name](analysis.load(folder))
        figure.savefig(tmp_path / "empty.png")
        assert figure.axes


def test_a_run_without_measurements_is_drawn(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path, timing_only=True)
    run["a", 0].online("x", 0)
    run["a", 0].accuracy("x", 0, None)
    loaded = analysis.load(run.close())
    for plot in ALL.values():
        plot(loaded).savefig(tmp_path / "none.png")


def test_a_world_or_device_or_metric_that_is_not_there_is_the_user_s_mistake(run: analysis.Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="paper has no world ecavg; it has no_adaptation, on_device, cloud_only"):
        figures.plot_devices(run, learner="ecavg")
    with pytest.raises(UserError, match="paper has no device 'z'; it has hub-0"):
        figures.plot_device(run, device="z")
    with pytest.raises(UserError, match="there is no metric 'speed'"):
        figures.plot_pareto(run, cost="speed")
    with pytest.raises(UserError, match="nothing to draw yet"):
        figures.plot_devices(analysis.load(WrittenRun(tmp_path).kill()))


def test_the_lines_of_the_documentation_draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parent.parent / "docs" / "figures.md"
    first, second = (part.split("```")[0] for part in page.read_text(encoding="utf-8").split("```python\n")[1:])
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "runs" / "quickstart-1")
    written_modules(tmp_path / "runs" / "eclm-1")
    exec(compile(first + second, str(page), "exec"), {})
    drawn = {path.stem for path in tmp_path.glob("*.png")}
    assert drawn == {*ALL, "modules"}
    assert {f"plot_{name}" for name in drawn} == {name for name in figures.__all__ if name.startswith("plot_")}


def test_one_figure_shows_one_scenario(tmp_path: Path) -> None:
    folders = [WrittenRun(tmp_path / name, name=name).close() for name in ("hills", "plains")]
    with pytest.raises(UserError, match="one figure shows one scenario, these are hills, plains"):
        figures.plot_accuracy(folders)
    assert one_scenario(folders[0]).label == "hills"


def test_drawing_changes_no_global_state(run: analysis.Run) -> None:
    before = dict(mpl.rcParams)
    figures.plot_accuracy(run)
    assert dict(mpl.rcParams) == before
    code = "import sys, analysis.figures; print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


@pytest.mark.parametrize(("horizon_s", "unit"), [(100, "s"), (600, "min"), (1e5, "h"), (1e6, "days")])
def test_time_axes_have_a_unit_that_fits(horizon_s: float, unit: str) -> None:
    assert time_unit(horizon_s)[1] == unit
