"""The tables: what is recorded can be read back, whenever the run ended and wherever parts were cut."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesim.errors import UserError
from edgesim.simulation import run
from edgesim.tables import (
    TABLES,
    Column,
    Table,
    TableWriter,
    documentation,
    read_manifest,
    read_table,
    read_tables,
    writer,
)
from edgesim.testing import tiny_scenario

START = {"device": "a", "time_s": 0.0, "state": "online", "cause": "start"}


class Evaluated:
    """A deferred evaluation that remembers whether it was asked."""

    def __init__(self, correct: int, loss: float, samples: int) -> None:
        self.result = (correct, loss, samples)
        self.asked = 0

    def value(self) -> tuple[int, float, int]:
        self.asked += 1
        return self.result


def cells(evaluated: tuple[int, float, int]) -> tuple[int, float, float]:
    correct, loss, samples = evaluated
    return correct, correct / samples, loss


def write(folder: Path, rows_per_part: int = 65_536, manual_cuts: bool = False) -> TableWriter:
    """Two seeds of two learners, rows of two tables interleaved."""
    writer = TableWriter(folder, rows_per_part=rows_per_part)
    for seed in (7, 3):
        for learner in ("zeta", "alpha"):
            world = writer.world(learner, learner == "alpha", seed)
            online = world.adder("availability")
            for i in range(10):
                online(f"device-{i}", float(i), "online", "start")
                world.add("energy", device=f"device-{i}", online_s=1.5 * i, total_j=None)
                if manual_cuts and i % 3 == 0:
                    world.cut(float(i))
    return writer


def closed_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "tables").iterdir()}


def test_closed_tables_are_sorted_by_seed_and_learner_as_run_then_by_recording(tmp_path: Path) -> None:
    write(tmp_path).close()
    rows = read_table(tmp_path, "availability")
    worlds = rows[["seed", "learner", "oracle"]].drop_duplicates().to_numpy().tolist()
    assert worlds == [[7, "zeta", False], [7, "alpha", True], [3, "zeta", False], [3, "alpha", True]]
    assert rows["sequence"].tolist() == list(range(0, 20, 2)) * 4
    assert rows["device"].tolist() == [f"device-{i}" for i in range(10)] * 4


def test_equal_rows_give_equal_bytes_wherever_parts_were_cut(tmp_path: Path) -> None:
    variants = {"whole": {}, "small": {"rows_per_part": 3}, "by-hand": {"manual_cuts": True}}
    bytes_of = {}
    for name, options in variants.items():
        write(tmp_path / name, **options).close()  # type: ignore[arg-type]
        bytes_of[name] = closed_bytes(tmp_path / name)
    assert bytes_of["whole"] == bytes_of["small"] == bytes_of["by-hand"]


def test_rows_given_as_columns_are_those_given_one_by_one(tmp_path: Path) -> None:
    for name in ("rows", "columns"):
        writer = TableWriter(tmp_path / name)
        world = writer.world("a", False, 0)
        online = world.adder("availability")
        online("first", 0.0, "online", "start")
        if name == "rows":
            for i in range(5):
                world.adder("accuracy")(f"{i}", 2.0 * i, "start", "current", "device", "m", 9, i, None, 0.5)
        else:
            numbers, times_s = [f"{i}" for i in range(5)], np.arange(5) * 2.0
            fixed = ("start", "current", "device", "m", 9)
            world.extend("accuracy", 5, numbers, times_s, *fixed, np.arange(5), None, 0.5)
        online("last", 9.0, "offline", "schedule")
        writer.close()
    assert closed_bytes(tmp_path / "columns") == closed_bytes(tmp_path / "rows")


def test_columns_are_checked_as_rows_are(tmp_path: Path) -> None:
    world = TableWriter(tmp_path).world("a", False, 0)
    with pytest.raises(TypeError, match="has 4 cells, got 3"):
        world.extend("availability", 1, ["a"], 0.0, "online")
    with pytest.raises(ValueError, match=r"availability\.time_s was not given"):
        world.extend("availability", 1, ["a"], None, "online", "start")
    with pytest.raises(ValueError, match=r"accuracy\.samples holds counts"):
        world.extend("accuracy", 1, ["a"], 0.0, "start", "current", "device", "m", [1.5], 1, 0.5, 0.5)


def test_equal_rows_give_equal_bytes_across_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "ROWS_PER_GROUP", 7)
    for name, rows_per_part in (("a", 1000), ("b", 3)):
        write(tmp_path / name, rows_per_part).close()
    assert closed_bytes(tmp_path / "a") == closed_bytes(tmp_path / "b")
    assert len(read_table(tmp_path / "a", "energy")) == 40


def test_every_table_is_written_and_typed_even_without_rows(tmp_path: Path) -> None:
    TableWriter(tmp_path).close()
    assert sorted(closed_bytes(tmp_path)) == sorted(f"{name}.parquet" for name in TABLES)
    for name, frame in read_tables(tmp_path).items():
        assert list(frame.columns) == [column.name for column in TABLES[name].all_columns]
        assert len(frame) == 0
        assert frame["seed"].dtype == "int64"


def test_a_column_has_one_type_whether_its_values_are_missing_or_not(tmp_path: Path) -> None:
    dtypes = []
    for name, correct in (("some", 3), ("none", None)):
        world = TableWriter(tmp_path / name).world("x", False, 0)
        world.add("accuracy", device="a", time_s=0.0, cause="start", view="current", serving="device",
                  model_id="m", samples=4, correct=correct)  # fmt: skip
        world.cut(1.0)
        dtypes.append(read_table(tmp_path / name, "accuracy").dtypes.to_dict())
    assert dtypes[0] == dtypes[1]
    assert dtypes[0]["correct"] == "float64"


def test_a_killed_run_is_readable_up_to_its_frontier(tmp_path: Path) -> None:
    world = TableWriter(tmp_path).world("x", False, 0)
    world.add("availability", **START)  # type: ignore[arg-type]
    world.cut(5.0)
    world.add("availability", **{**START, "time_s": 6.0})  # type: ignore[arg-type]
    assert world.frontier_s == 5.0
    assert read_table(tmp_path, "availability")["time_s"].tolist() == [0.0]


def test_a_run_killed_while_closing_is_still_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = write(tmp_path)
    renamed: list[Path] = []
    replace = Path.replace

    def dies(self: Path, target: Any) -> Path:
        if len(renamed) == 2:
            raise KeyboardInterrupt
        renamed.append(self)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        writer.close()
    assert len(renamed) == 2
    assert len(read_table(tmp_path, "energy")) == 40


def test_a_new_writer_discards_the_parts_of_a_killed_run(tmp_path: Path) -> None:
    TableWriter(tmp_path).world("x", False, 0).cut(1.0)
    stale = TableWriter(tmp_path).world("x", False, 0)
    stale.add("availability", **START)  # type: ignore[arg-type]
    stale.cut(1.0)
    TableWriter(tmp_path).close()
    assert len(read_table(tmp_path, "availability")) == 0


def test_parts_are_cut_by_the_rows_of_all_tables_together(tmp_path: Path) -> None:
    now = 0.0
    world = TableWriter(tmp_path, rows_per_part=4).world("x", False, 0, clock=lambda: now)
    for i in range(5):
        now = float(i)
        world.add("availability", **{**START, "time_s": now})  # type: ignore[arg-type]
        world.add("energy", device="a", online_s=now)
    assert world.frontier_s == 3.0
    assert len(read_table(tmp_path, "availability")) + len(read_table(tmp_path, "energy")) == 8


def test_parts_cut_in_between_do_not_move_the_rows_after_which_one_is_cut(tmp_path: Path) -> None:
    now = 0.0
    world = TableWriter(tmp_path, rows_per_part=4).world("x", False, 0, clock=lambda: now)
    frontiers = []
    for i in range(10):
        if i == 2:
            world.cut(1.5)
        now = float(i)
        world.add("availability", **{**START, "time_s": now})  # type: ignore[arg-type]
        frontiers.append(world.frontier_s)
    assert frontiers == [0.0, 0.0, 1.5, 3.0, 3.0, 3.0, 3.0, 7.0, 7.0, 7.0]
    world.close()
    with pytest.raises(ValueError, match="closed"):
        world.add("availability", **START)  # type: ignore[arg-type]


def test_deferred_cells_are_computed_when_the_part_is_cut_and_not_before(tmp_path: Path) -> None:
    world = TableWriter(tmp_path).world("x", False, 0)
    evaluated = world.adder("accuracy", read=cells)
    first = Evaluated(3, 0.5, 4)
    evaluated("a", 0.0, "start", "current", "device", "m", 4, first)
    evaluated("b", 0.0, "start", "current", "device", "m", 4, None)
    assert first.asked == 0
    world.cut(1.0)
    rows = read_table(tmp_path, "accuracy")
    assert first.asked == 1
    assert rows["correct"].fillna(-1).tolist() == [3, -1]
    assert rows["accuracy"].fillna(-1).tolist() == [0.75, -1]
    assert rows["loss"].fillna(-1).tolist() == [0.5, -1]


def test_timing_only_tables_never_ask_for_a_value(tmp_path: Path) -> None:
    world = TableWriter(tmp_path, timing_only=True).world("x", False, 0)
    evaluation = Evaluated(3, 0.5, 4)
    world.adder("accuracy", read=cells)("a", 0.0, "start", "current", "device", "m", 4, evaluation)
    world.cut(1.0)
    assert evaluation.asked == 0
    assert read_table(tmp_path, "accuracy")[["correct", "accuracy", "loss"]].isna().to_numpy().all()


def test_rows_are_kept_when_computing_a_deferred_cell_fails(tmp_path: Path) -> None:
    class Failing:
        def value(self) -> None:
            raise ArithmeticError("the job failed")

    world = TableWriter(tmp_path).world("x", False, 0)
    world.adder("accuracy", read=cells)("a", 0.0, "start", "current", "device", "m", 4, Failing())
    for _ in range(2):
        with pytest.raises(ArithmeticError, match="the job failed"):
            world.cut(1.0)
    assert world.frontier_s == 0.0


def test_a_row_with_a_wrong_number_of_cells_is_refused_at_once(tmp_path: Path) -> None:
    world = TableWriter(tmp_path).world("x", False, 0)
    with pytest.raises(TypeError, match="a row of 'availability' has 4 cells, got 3"):
        world.adder("availability")("a", 0.0, "online")
    with pytest.raises(TypeError, match="table 'availability' has no column speed"):
        world.add("availability", speed=3.0)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**START, "cause": None}, "availability.cause was not given, and it is never missing"),
        ({**START, "time_s": "noon"}, "availability.time_s holds numbers"),
    ],
)
def test_a_cell_of_the_wrong_type_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    world = TableWriter(tmp_path).world("x", False, 0)
    world.add("availability", **row)
    with pytest.raises(ValueError, match=message):
        world.cut(1.0)


def test_a_count_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    world = TableWriter(tmp_path).world("x", False, 0)
    world.add("deployments", device="a", time_s=0.0, cause="start", serving="device", model_id="m",
              architecture="mlp", size_bytes=10.5, informed_by="", cohort_informed_by="",
              score_informed_by="")  # fmt: skip
    with pytest.raises(ValueError, match=r"deployments\.size_bytes holds counts"):
        world.cut(1.0)


def test_nothing_is_lost_silently_after_closing(tmp_path: Path) -> None:
    world = TableWriter(tmp_path).world("x", False, 0)
    world.close()
    world.close()
    with pytest.raises(ValueError, match="the tables of learner 'x', seed 0 are closed"):
        world.add("availability", **START)  # type: ignore[arg-type]


def test_a_world_is_opened_once(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path)
    writer.world("x", False, 0)
    with pytest.raises(ValueError, match="open already"):
        writer.world("x", False, 0)


def test_deferred_columns_are_refused_where_the_table_has_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'energy' has no deferred columns"):
        TableWriter(tmp_path).world("x", False, 0).adder("energy", read=cells)


def test_reading_where_there_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no run folder"):
        read_table(tmp_path / "nowhere", "transfers")
    with pytest.raises(UserError, match=r"is not a run folder: it holds no manifest\.json"):
        read_manifest(tmp_path)


def test_some_columns_can_be_read_alone(tmp_path: Path) -> None:
    writer = write(tmp_path)
    for world_open in (True, False):
        if not world_open:
            writer.close()
        assert list(read_table(tmp_path, "energy", ["seed", "online_s"]).columns) == ["seed", "online_s"]


@pytest.mark.parametrize("columns", [None, ["seed"], ["time_s"]])
def test_values_that_were_read_may_be_changed(columns: list[str] | None, tmp_path: Path) -> None:
    folder = run(tiny_scenario(), learners=["no_adaptation"], out=tmp_path / "run")
    frame = read_table(folder, "accuracy", columns)
    for name in frame.columns:
        frame.loc[0, name] = frame.loc[1, name]
    assert frame.loc[0].equals(frame.loc[1])


def test_deferred_columns_are_the_last_ones_and_may_be_missing() -> None:
    for table in TABLES.values():
        last = table.columns[len(table.columns) - len(table.deferred) :]
        assert tuple(column.name for column in last) == table.deferred
        assert all(column.nullable for column in last)


def test_column_names_are_unique_and_documented() -> None:
    for table in TABLES.values():
        names = [column.name for column in table.all_columns]
        assert len(set(names)) == len(names)
        assert all(column.doc for column in table.all_columns)


def test_the_documentation_of_the_columns_is_in_step_with_the_code() -> None:
    page = Path(__file__).parents[1] / "docs" / "tables.md"
    assert page.read_text(encoding="utf-8") == documentation()


def test_the_columns_are_known_without_pandas_and_pyarrow() -> None:
    code = "import sys, edgesim.tables; print({'pandas', 'pyarrow', 'numpy'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


@pytest.mark.parametrize("closed", [True, False])
def test_a_run_that_was_written_without_a_column_is_read_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    writer = write(tmp_path)
    if closed:
        writer.close()
    else:
        for world in writer._worlds.values():
            world.cut()
    table = TABLES["energy"]
    for column, expected in (
        (Column("spare_j", "number", "new", nullable=True), True),
        (Column("remark", "text", "new"), True),
        (Column("spare", "flag", "new"), False),
    ):
        later = Table("energy", table.doc, (column, *table.columns))
        monkeypatch.setitem(TABLES, "energy", later)
        if expected:
            rows = read_table(tmp_path, "energy")
            assert list(rows.columns) == [c.name for c in later.all_columns]
            assert rows[column.name].isna().all() or (rows[column.name] == "").all()
            assert len(rows) == 40
        else:
            with pytest.raises(UserError, match="its table energy has no column spare"):
                read_table(tmp_path, "energy")
