"""The page of the papers' cells: what it says of runs that were written by hand."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from paper_page import CELLS, Task, draw, keep, page, restore, same_run, tasks
from paper_page.cells import loaded, scenario_of
from paper_page.traffic import compare
from paper_page.variants import sized
from typer.main import get_command
from written_runs import WrittenRun, WrittenWorld

from edgesim.cli import app
from edgesim.errors import UserError
from edgesim.run_folder import identity
from edgesim.simulation import load_scenario, prepare

STEP: dict[str, Any] = {
    "kind": "step",
    "title": "Pictures",
    "learners": ["no_adaptation", "fedavg", "eclm"],
    "paper": {"no_adaptation": 70.0, "fedavg": 75.0, "eclm": 90.0},
    "paper_bytes": {"fedavg": 7.0},
    "small": {},
}
SIZES: dict[str, Any] = {
    "kind": "sizes",
    "title": "Sizes",
    "learners": ["eclm", "without"],
    "points": {"10 %": {}, "20 %": {}},
    "paper": "Theirs gains 11.5 points.",
    "small": {},
}
FEDAVG_S = (100, 200)
"""When FedAvg's rounds end."""


def _close(run: WrittenRun, model: str = "resnet18") -> None:
    run.manifest["scenario"]["model"] = {"name": model}
    run.manifest |= {"cpu_capability": "by hand", "wall_s": 60.0}
    run.close()


def _fedavg(world: WrittenWorld, levels: tuple[int, int, int]) -> None:
    """Two rounds of device a; device b only gets copies. 1 MB a transfer; the first model was installed before."""
    for device in ("a", "b"):
        world.accuracy(device, 0, levels[0])
        for end_s, level in zip(FEDAVG_S, levels[1:], strict=True):
            world.send(device, end_s - 10, end_s, 1_000_000, direction="down")
            world.accuracy(device, end_s, level)
    for end_s in FEDAVG_S:
        world.send("a", end_s - 30, end_s - 20, 1_000_000)


def _eclm(world: WrittenWorld, level: int, shares: tuple[float, ...] = (0.5, 0.5)) -> None:
    """One round of device a at half a megabyte each way."""
    for device in ("a", "b"):
        world.accuracy(device, 0, 70)
    world.send("a", 10, 20, 500_000, direction="down")
    world.send("a", 30, 40, 500_000)
    for device in ("a", "b"):
        world.accuracy(device, 50, level)
    for module, share in enumerate(shares):
        world.add("selections", device="a", time_s=50, model_id="m", layer=0, module=module, held=True, share=share)


def _step(root: Path, cell: str, levels: tuple[int, int, int], **more: Any) -> None:
    for seed in (0, 1, 2):
        for learner in ("eclm", "fedavg", "no_adaptation"):  # the page has them in the cell's order
            folder = root / "small" / cell / "all" / f"seed-{seed}" / learner
            run = WrittenRun(folder, horizon_s=300, learners=[learner], seeds=[seed])
            world = run[learner, seed]
            if learner == "fedavg":
                _fedavg(world, levels)
            elif learner == "eclm":
                _eclm(world, 90 + seed, **more)
            else:
                for device in ("a", "b"):
                    world.accuracy(device, 0, 70)
            _close(run)


def _sizes(root: Path) -> None:
    for point, numbers, gains in (("10pct", 1000, (20, 22, 24)), ("20pct", 2000, (10, 10, 11))):
        for seed, gain in enumerate(gains):
            folder = root / "small" / "sizes" / point / f"seed-{seed}"
            run = WrittenRun(folder, learners=["eclm", "without"], seeds=[seed])
            for learner, level in (("eclm", 50 + gain), ("without", 50)):
                for device, more in (("a", 0), ("b", 100)):
                    run[learner, seed].accuracy(device, 0, level)
                    run[learner, seed].deploy(device, 0, size_bytes=40_000)
                    run[learner, seed].deploy(device, 10, size_bytes=4 * (numbers + more))
            _close(run)


def test_an_overview_sets_eclms_lead_beside_the_papers(tmp_path: Path) -> None:
    _step(tmp_path, "pictures", (70, 78, 80))
    written = page(tmp_path, {"pictures": STEP})
    row = next(line for line in written.splitlines() if line.startswith("| `pictures`"))
    assert "91.0 (88.5 to 93.5) | `fedavg` 80.0 (80.0 to 80.0) | +11.0 (+8.5 to +13.5): better" in row
    assert "| `fedavg`: +15.00 | +21.0 (+18.5 to +23.5) | +20.00 |" in row


def test_copies_for_devices_that_only_serve_are_not_bytes_of_a_round(tmp_path: Path) -> None:
    _step(tmp_path, "pictures", (70, 78, 80))
    found = compare(loaded(tmp_path, "pictures", STEP, full=False)[""])["fedavg"]
    assert found.targets == [0.8, 0.8, 0.8]
    fedavg, eclm = found.spent["fedavg"], found.spent["eclm"]
    # Two uploads of a, and the download between them; its last download and all of b's are for serving.
    assert fedavg.to_target_bytes == [3e6] * 3
    assert fedavg.copies_bytes == [3e6] * 3
    assert fedavg.seconds == [200.0] * 3
    assert eclm.to_target_bytes == [1e6] * 3
    assert found.ratio("fedavg") == 3.0


def test_who_never_gets_half_of_eclms_gain_needs_more_than_it_has_sent(tmp_path: Path) -> None:
    _step(tmp_path, "pictures", (70, 78, 80))
    written = page(tmp_path, {"pictures": STEP})
    assert "half of what ECLM gains on no adaptation (80.0 %, 80.5 %, 81.0 %)" in written
    assert "| `fedavg` | 3.00, > 3.00, > 3.00 | 3.00, > 3.00, > 3.00 |" in written
    assert "| `eclm` | 1.00, 1.00, 1.00 |  |" in written
    assert "to half of ECLM's gain at least 3.00 times its bytes at each seed" in written


def test_where_eclm_is_half_way_at_the_start_nobody_is_compared_with_it(tmp_path: Path) -> None:
    _step(tmp_path, "pictures", (70, 78, 80))
    for seed in (0, 1, 2):
        run = WrittenRun(
            tmp_path / "small" / "even" / "all" / f"seed-{seed}",
            horizon_s=300,
            learners=["no_adaptation", "fedavg", "eclm"],
            seeds=[seed],
        )
        for device in ("a", "b"):
            run["no_adaptation", seed].accuracy(device, 0, 60)
        _fedavg(run["fedavg", seed], (60, 78, 80))
        _eclm(run["eclm", seed], 72)  # from 70 on: half way between 60 and 72 at once
        _close(run)
    written = page(tmp_path, {"pictures": STEP, "even": STEP})
    assert "| `fedavg` | 2.00, 2.00, 2.00 | n/a, n/a, n/a |" in written
    assert "to half of ECLM's gain at least 3.00 times its bytes at each seed" in written


def test_a_method_that_never_gets_better_has_no_ratio_of_bytes(tmp_path: Path) -> None:
    _step(tmp_path, "pictures", (70, 65, 60))
    written = page(tmp_path, {"pictures": STEP})
    row = next(line for line in written.splitlines() if line.startswith("| `fedavg` | 70.0 %"))
    assert "| 0.00 | 0.00 | n/a, n/a, n/a | 7.00 |" in row


def test_a_gain_that_may_be_chance_is_no_ratio_of_bytes(tmp_path: Path) -> None:
    for cell, best in (("chance", 79), ("more", 80)):  # of 200 test samples, two standard errors are 9.2 points
        _step(tmp_path, cell, (70, best, 75))
    chance, more = (compare(loaded(tmp_path, cell, STEP, full=False)[""])["fedavg"] for cell in ("chance", "more"))
    assert chance.seeds_with_ratio("fedavg") == 0
    assert more.seeds_with_ratio("fedavg") == 3


def test_a_rivals_target_is_its_own_and_eclms(tmp_path: Path) -> None:
    _step(tmp_path, "pictures", (70, 78, 85))
    for seed in (0, 1, 2):
        folder = tmp_path / "small" / "pictures" / "all" / f"seed-{seed}" / "heterofl"
        run = WrittenRun(folder, horizon_s=300, learners=["heterofl"], seeds=[seed])
        _fedavg(run["heterofl", seed], (75, 74, 73))
        _close(run)
    cell = {**STEP, "learners": [*STEP["learners"], "heterofl"]}
    found = compare(loaded(tmp_path, "pictures", cell, full=False)[""])
    assert found["fedavg"].targets == [0.85] * 3  # whatever HeteroFL comes to
    assert found["fedavg"].ratio("fedavg") == 3.0
    assert found["heterofl"].seeds_with_ratio("heterofl") == 0


def test_the_mean_ratio_is_over_the_cells_with_images_that_have_one(tmp_path: Path) -> None:
    _step(tmp_path, "pictures", (70, 78, 80))
    _step(tmp_path, "worse", (70, 65, 60))
    written = page(tmp_path, {"pictures": STEP, "worse": {**STEP, "title": "Worse"}})
    assert "to an accuracy that both come to from below 3.00 times (3 seeds in all; none in `worse`)" in written


def test_a_collapsed_layer_shows_in_the_table(tmp_path: Path) -> None:
    _step(tmp_path, "even", (70, 78, 80))
    _step(tmp_path, "collapsed", (70, 78, 80), shares=(1.0, 0.0))
    even, collapsed = page(tmp_path, {"even": STEP, "collapsed": STEP}).split("(`collapsed`)")
    assert "| `eclm` | 91.0 (88.5 to 93.5) |  | 90.00 |  | 1.00 |" in even
    assert "| `eclm` | 91.0 (88.5 to 93.5) |  | 90.00 |  | 0.00 |" in collapsed


def test_sizes_are_those_of_the_models_that_serve_at_the_end(tmp_path: Path) -> None:
    _sizes(tmp_path)
    small, large = sized(SIZES, loaded(tmp_path, "sizes", SIZES, full=False))
    assert small.sizes == (1050.0, 1050.0)
    assert large.sizes == (2050.0, 2050.0)
    assert small.gain.value == pytest.approx(0.22)
    written = page(tmp_path, {"sizes": SIZES})
    assert (
        "| 10 % | 1.1 | 72.0 (67.0 to 77.0) | 1.1 | 50.0 (50.0 to 50.0) | +22.0 (+17.0 to +27.0): better |" in written
    )
    assert "Mean gain over the sizes: +16.2 points. Theirs gains 11.5 points." in written


def test_the_page_shows_the_figures_that_are_drawn(tmp_path: Path) -> None:
    _step(tmp_path, "pictures", (70, 78, 80))
    _sizes(tmp_path)
    cells = {"pictures": STEP, "sizes": SIZES}
    written = page(tmp_path, cells)
    files = draw(tmp_path, tmp_path / "figures", cells)
    assert [file.name for file in files] == ["step_accuracy.png", "eclm_sizes.png"]
    for file in files:
        assert f"(figures/{file.name})" in written
        assert file.read_bytes().startswith(b"\x89PNG")


def test_seeds_of_different_scenarios_are_not_put_together(tmp_path: Path) -> None:
    for seed, horizon_s in ((0, 100), (1, 200)):
        folder = tmp_path / "small" / "pictures" / "all" / f"seed-{seed}"
        _close(WrittenRun(folder, horizon_s=horizon_s, learners=["eclm"], seeds=[seed]))
    with pytest.raises(UserError, match=r"not run with the scenario and parameters of .*seed-0: .*seed-1; run"):
        page(tmp_path, {"pictures": {**STEP, "learners": ["eclm"]}})


def test_a_seed_counts_when_all_learners_are_done(tmp_path: Path) -> None:
    _step(tmp_path, "pictures", (70, 78, 80))
    shutil.rmtree(tmp_path / "small" / "pictures" / "all" / "seed-1" / "fedavg")
    assert loaded(tmp_path, "pictures", STEP, full=False)[""].seeds == [0, 2]
    more = {"pictures": {**STEP, "learners": [*STEP["learners"], "ideal"]}}
    assert "Not run, or not with all learners at any seed (small form): `pictures`." in page(tmp_path, more)


def test_methods_come_in_the_cells_order(tmp_path: Path) -> None:
    _step(tmp_path, "pictures", (70, 78, 80))
    assert loaded(tmp_path, "pictures", STEP, full=False)[""].learners == STEP["learners"]


def test_a_cells_tasks_are_its_scenarios_learners_at_each_seed() -> None:
    found = list(tasks(["ecavg_mnist", "eclm_ratio"], range(2), full=False))
    told = [(task.cell, task.point, task.learner, task.seed) for task in found]
    assert told[:2] == [("ecavg_mnist", "", "averaged_separate", seed) for seed in (0, 1)]
    assert told[-1] == ("eclm_ratio", "50 %", "eclm", 1)
    assert len(set(told)) == len({task.folder(Path()) for task in found}) == 2 * 5 + 2 * 4


def test_a_tasks_command_has_options_that_there_are() -> None:
    there = {option for parameter in get_command(app).commands["run"].params for option in parameter.opts}
    for task in tasks(["eclm_har", "ecavg_cifar10_imagenet"], [0], full=False):
        assert {word for word in shlex.split(task.command()) if word.startswith("--")} <= there


def test_a_world_that_was_played_is_not_played_again(tmp_path: Path) -> None:
    first, second, *_ = tasks(["ecavg_mnist"], range(1), full=False)
    assert not first.is_done(tmp_path)
    _close(WrittenRun(first.folder(tmp_path), learners=[first.learner], seeds=[first.seed]))
    assert first.is_done(tmp_path)
    assert not second.is_done(tmp_path)


def test_a_world_of_two_cells_is_found_whichever_was_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cifar10.npz").touch()
    monkeypatch.setenv("EDGESIM_DATA", str(tmp_path))
    of_five, of_ten, *_ = [task for task in tasks(["eclm_participants"], [0], full=False) if task.learner == "fedavg"]

    def identity_of(task: Task) -> dict[str, Any]:
        scenario = load_scenario(scenario_of(task.cell), overrides=task.overrides())
        ready = prepare(scenario, seeds=[0], learners=["fedavg"])
        return identity(ready.scenario, ready.seeds, ready.facts, timing_only=False)

    run = tmp_path / "small" / "eclm_cifar10_m2" / "all" / "seed-0" / "fedavg"
    run.mkdir(parents=True)
    wanted = identity_of(of_ten)
    manifest = {**json.loads(json.dumps(wanted)), "status": "running"}
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert same_run(tmp_path, wanted) is None  # it has not ended
    kept = json.dumps({**manifest, "status": "done"}).replace(str(tmp_path), "${EDGESIM_DATA}")
    (run / "manifest.json").write_text(kept)
    assert same_run(tmp_path, wanted) == run
    assert same_run(tmp_path, identity_of(of_five)) is None
    assert same_run(tmp_path, {**wanted, "seeds": [1]}) is None


def test_the_page_is_the_same_from_kept_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGESIM_DATA", "/at/home")
    root, kept, elsewhere = tmp_path / "runs", tmp_path / "kept", tmp_path / "elsewhere"
    _step(root, "pictures", (70, 78, 80))
    _sizes(root)
    cells = {"pictures": STEP, "sizes": SIZES}
    run = root / "small" / "pictures" / "all" / "seed-0" / "eclm"
    (run / "journal").mkdir()
    (run / "journal" / "values").write_text("large")
    (run / "scenario.yaml").write_text("path: /at/home/cifar10.npz")
    WrittenRun(run.with_name("on_device"), learners=["on_device"])  # still running
    archives = list(keep(root, cells, kept))
    assert archives == [kept / "small" / "pictures.tar.xz", kept / "small" / "sizes.tar.xz"]
    before = [archive.read_bytes() for archive in archives]
    assert [archive.read_bytes() for archive in keep(root, cells, kept)] == before
    monkeypatch.setenv("EDGESIM_DATA", "/elsewhere")
    restored = list(restore(kept, elsewhere))
    assert len(restored) == 9 + 6
    assert elsewhere / run.relative_to(root) in restored
    assert page(elsewhere, cells) == page(root, cells)
    assert not (elsewhere / run.relative_to(root) / "journal").exists()
    assert (elsewhere / run.relative_to(root) / "scenario.yaml").read_text() == "path: /elsewhere/cifar10.npz"
    assert list(restore(kept, elsewhere)) == []
    assert [archive.read_bytes() for archive in keep(elsewhere, cells, kept)] == before
    monkeypatch.delenv("EDGESIM_DATA")
    assert len(list(restore(kept, tmp_path / "anywhere"))) == 9 + 6
    scenario = tmp_path / "anywhere" / run.relative_to(root) / "scenario.yaml"
    assert scenario.read_text() == "path: ${EDGESIM_DATA}/cifar10.npz"
    shutil.rmtree(root)
    assert list(keep(root, ["pictures"], kept)) == archives[:1]  # what was kept is not lost
    assert [archive.read_bytes() for archive in archives] == before


def test_what_has_not_been_run_is_said(tmp_path: Path) -> None:
    written = page(tmp_path, {"pictures": STEP})
    assert "Not run, or not with all learners at any seed (small form): `pictures`." in written


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_names_a_scenario_and_a_kind_that_there_are(name: str) -> None:
    assert scenario_of(name).is_file()
    assert CELLS[name]["kind"] in ("step", "ablation", "sensitivity", "sizes", "continuous", "update")
