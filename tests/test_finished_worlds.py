"""What is over is not played again: a run that goes on keeps the worlds that it had finished, if they are whole."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from dying_runs import (
    LEARNERS,
    SEEDS,
    Died,
    Mortal,
    Whole,
    die,
    manifest,
    run_whole,
    scenario,
    sync_all_the_time,
    tables,
)
from typer.testing import CliRunner

from edgesim.cli import app
from edgesim.errors import DiskFull
from edgesim.jobs.arithmetic import Trained
from edgesim.progress import Progress
from edgesim.resuming import resume
from edgesim.simulation import run
from edgesim.stage import Stage
from edgesim.tables import TableWriter, read_table
from edgesim.tables import writer as tables_module
from edgesim.tables.parts import SEAL
from edgesim.testing import tiny_scenario

WORLDS = [(label, seed) for seed in SEEDS for label in LEARNERS]


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    sync_all_the_time(monkeypatch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return run_whole(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The worlds that are played from now on."""
    found: list[tuple[str, int]] = []
    original = Stage.play

    def play(stage: Stage, label: str, learner: Any, surroundings: Any) -> None:
        found.append((label, surroundings.seed))
        original(stage, label, learner, surroundings)

    monkeypatch.setattr(Stage, "play", play)
    return found


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory, whole: Whole) -> Path:
    """The folder of a run that died in its last world."""
    folder = tmp_path_factory.mktemp("dead") / "run"
    with pytest.MonkeyPatch.context() as patch:
        sync_all_the_time(patch)
        die(folder, whole.ticks - 8)
    assert len(manifest(folder)["worlds"]) == len(WORLDS) - 1
    return folder


@pytest.fixture
def folder(tmp_path: Path, dead: Path) -> Path:
    """A copy of it, to go on in."""
    return Path(shutil.copytree(dead, tmp_path / "run"))


def sealed(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob(f"parts/*/{SEAL}"))


# Kept


def test_only_the_world_that_was_not_over_is_played(folder: Path, whole: Whole, played: list[tuple[str, int]]) -> None:
    rows = len(read_table(folder, "accuracy"))
    played.clear()
    resume(folder)
    assert played == WORLDS[-1:]
    assert tables(folder) == whole.tables
    told = manifest(folder)
    assert [(world["learner"], world["seed"]) for world in told["worlds"]] == WORLDS
    assert told["jobs"] == sum(world["jobs"] for world in told["worlds"])
    assert rows > 0


def test_a_run_that_goes_on_tells_as_many_jobs_as_one_that_was_left_alone(folder: Path, tmp_path: Path) -> None:
    resume(folder)
    alone = run(scenario(), seeds=SEEDS, out=tmp_path / "alone")
    assert manifest(folder)["jobs"] == manifest(alone)["jobs"]


def test_while_a_run_goes_on_what_was_finished_can_be_read(folder: Path) -> None:
    seen: list[set[tuple[str, int]]] = []

    def look(report: Progress) -> None:
        seen.append({(row.learner, row.seed) for row in read_table(folder, "accuracy").itertuples()})

    resume(folder, on_progress=look)
    assert seen[0] >= set(WORLDS[:-1])


@pytest.mark.parametrize("moment", ["closing", "removing"])
def test_a_run_that_died_while_its_tables_were_closed_plays_nothing_again(
    moment: str, tmp_path: Path, whole: Whole, played: list[tuple[str, int]]
) -> None:
    def dies(*_: Any) -> Any:
        raise Died

    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        if moment == "closing":
            patch.setattr(tables_module, "_write_closed", dies)
        else:
            patch.setattr(tables_module.shutil, "rmtree", dies)
        die(folder, 0)
    assert (folder / ".parts-spent").exists() == (moment == "removing")
    played.clear()
    resume(folder)
    assert played == []
    assert tables(folder) == whole.tables


def test_what_learners_share_is_found_in_the_journal(tmp_path: Path) -> None:
    trio = {name: {"learner": "on_device", "trigger": {"every": f"{n} min"}} for n, name in enumerate("abc", 3)}
    lone = tiny_scenario(horizon="13 min", learners=trio, pretrain={"epochs": 30})
    starts: list[int] = []
    steps: list[int] = []
    play, trained = Stage.play, Trained.__init__

    def note(self: Trained, *arguments: Any, **options: Any) -> None:
        trained(self, *arguments, **options)
        steps.append(self.steps)

    with pytest.MonkeyPatch.context() as patch:
        mortal = Mortal(patch)
        patch.setattr(Trained, "__init__", note)
        patch.setattr(Stage, "play", lambda *given: (starts.append(mortal.count), play(*given)))
        run(lone, out=tmp_path / "whole", cache=False)
        assert max(steps) > 30  # a pretraining of 30 epochs; a device's training has few steps
        steps.clear()
    with pytest.MonkeyPatch.context() as patch:
        Mortal(patch, at=starts[2] + 1)  # when the third learner needs what it shares with the others
        with pytest.raises(Died):
            run(lone, out=tmp_path / "run", cache=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trained, "__init__", note)
        resume(tmp_path / "run", cache=False)
    assert tables(tmp_path / "run") == tables(tmp_path / "whole")
    assert 0 < max(steps) < 30


# Played again


@pytest.mark.parametrize("damage", ["no seal", "half a seal", "another seal", "a bit", "a part less", "a part more"])
def test_a_finished_world_that_is_not_whole_is_played_again(
    damage: str, folder: Path, whole: Whole, played: list[tuple[str, int]]
) -> None:
    first, second, *_ = sealed(folder)
    part = min(first.glob("0*/*.arrow"))
    match damage:
        case "no seal":
            (first / SEAL).unlink()
        case "half a seal":
            (first / SEAL).write_bytes((first / SEAL).read_bytes()[:100])
        case "another seal":
            (first / SEAL).write_bytes((second / SEAL).read_bytes())
        case "a bit":
            data = bytearray(part.read_bytes())
            data[len(data) // 2] ^= 1
            part.write_bytes(data)
        case "a part less":
            part.unlink()
        case "a part more":
            part.parent.rename(first / "00000099")
    played.clear()
    resume(folder)
    assert played == [WORLDS[0], WORLDS[-1]]
    assert tables(folder) == whole.tables


MINE = """
from learners.no_adaptation import NoAdaptation

class Mine(NoAdaptation):
    pass
"""


def test_worlds_that_were_played_with_other_code_are_played_again(
    tmp_path: Path, played: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine_of_a_test.py"
    file.write_text(MINE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    own = tiny_scenario(learners={"mine": {"learner": "mine_of_a_test:Mine"}, "no_adaptation": {}})

    def dies(*_: Any) -> Any:
        raise Died

    for change, expected in (("", []), ("# a comment\n", [("mine", 0), ("no_adaptation", 0)])):
        folder = tmp_path / f"run-{len(change)}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tables_module, "_write_closed", dies)
            with pytest.raises(Died):
                run(own, out=folder, allow_code=True)
        file.write_text(MINE + change, encoding="utf-8")
        played.clear()
        resume(folder, allow_code=True)
        assert played == expected
    del sys.modules["mine_of_a_test"]


def test_worlds_whose_code_was_edited_while_they_were_played_are_played_again(
    tmp_path: Path, played: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "edited_in_a_test.py"
    file.write_text(MINE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    own = tiny_scenario(learners={"mine": {"learner": "edited_in_a_test:Mine"}, "no_adaptation": {}})

    def edit(progress: Progress) -> None:
        file.write_text(MINE + "# edited\n", encoding="utf-8")

    def dies(*_: Any) -> Any:
        raise Died

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables_module, "_write_closed", dies)
        with pytest.raises(Died):
            run(own, out=tmp_path / "run", allow_code=True, on_progress=edit)
    played.clear()
    resume(tmp_path / "run", allow_code=True)
    assert played == [("mine", 0), ("no_adaptation", 0)]
    del sys.modules["edited_in_a_test"]


# What is shown


def test_the_command_tells_how_many_simulations_were_finished_before(folder: Path) -> None:
    outcome = CliRunner().invoke(app, ["run", "--resume", str(folder)])
    assert outcome.exit_code == 0, outcome.output
    assert "3 of 4 simulations were finished before" in outcome.output
    assert "fedavg, seed 1 (4 of 4): done in" in outcome.output


def test_a_run_that_goes_on_can_be_watched_from_where_it_was(
    folder: Path, whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a terminal
    monkeypatch.setenv("COLUMNS", "160")
    outcome = CliRunner().invoke(app, ["run", "--resume", str(folder), "--watch"])
    assert outcome.exit_code == 0, outcome.output
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", outcome.output)
    assert re.search(r"on_device +│ +2/2 │ +│ finished before", shown)
    assert re.search(r"fedavg +│ +2/2 │ +1 │", shown)
    assert "conformance: 4 of 4 simulations finished" in shown
    assert tables(folder) == whole.tables


# A full disk


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("table", ["accuracy", "the closed tables"])
def test_a_disk_that_is_full_for_a_table_is_told_and_the_run_goes_on_once_there_is_space(
    table: str, tmp_path: Path, whole: Whole, played: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "run"
    file = tmp_path / "tiny.yaml"
    file.write_text(scenario().to_yaml(), encoding="utf-8")
    opened = 0
    new_file, writer = pa.ipc.new_file, pq.ParquetWriter

    def new_file_until_full(path: Path, *arguments: Any, **options: Any) -> Any:
        nonlocal opened
        opened += path.name == "accuracy.arrow"
        full = opened == len(WORLDS) and path.name == "accuracy.arrow"  # in the last world
        return new_file(Path("/dev/full") if full else path, *arguments, **options)

    def writer_to_a_full_disk(path: Path, *arguments: Any, **options: Any) -> Any:
        return writer(Path("/dev/full"), *arguments, **options)

    with monkeypatch.context() as patch:
        if table == "accuracy":
            patch.setattr(pa.ipc, "new_file", new_file_until_full)
        else:
            patch.setattr(pq, "ParquetWriter", writer_to_a_full_disk)
        outcome = CliRunner().invoke(app, ["run", str(file), "--seeds", "0-1", "--out", str(folder)])
    told = " ".join(outcome.output.split())
    assert outcome.exit_code == 1
    assert f"no space is left for {folder} ([Errno 28]" in told
    assert "what was recorded so far stays" in told
    assert ("of learner 'fedavg', seed 1, up to" in told) == (table == "accuracy")
    assert f"`edgesim run --resume {folder}` goes on from there" in told
    assert manifest(folder)["status"] == "failed"
    assert not list(folder.glob("parts/*/.0*"))  # no half a part takes up space
    assert len(sealed(folder)) == (3 if table == "accuracy" else 4)
    played.clear()
    with pytest.MonkeyPatch.context() as patch:
        mortal = Mortal(patch)
        resume(folder)
    assert tables(folder) == whole.tables
    assert played == (WORLDS[-1:] if table == "accuracy" else [])
    assert mortal.count <= 1  # nothing that was computed is computed again, but for what was under way


def test_a_full_disk_names_no_world_where_none_was_played() -> None:
    assert "of learner" not in str(DiskFull("runs/a", "No space left on device"))


# The writer alone


def test_a_writer_keeps_sealed_worlds_only_where_it_goes_on(tmp_path: Path) -> None:
    for goes_on, facts in ((True, {"n": 1}), (False, None)):
        folder = tmp_path / str(goes_on)
        first = TableWriter(folder)
        first.world("a", False, 0).seal({"n": 1})
        first.world("b", False, 0)
        second = TableWriter(folder, goes_on=goes_on)
        assert second.over("a", 0) == facts
        assert second.over("b", 0) is None
        assert len(list(folder.glob(f"parts/*/{SEAL}"))) == goes_on
