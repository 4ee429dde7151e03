"""The points of a sweep: how grids and files are read, and what points are called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesim.errors import ScenarioError, UserError
from edgesim.scenario.document import read_yaml
from edgesim.sweeps import Point, combine, grid_of, points_of, read_grid, read_points
from edgesim.sweeps.points import NAME_LENGTH, Setting


def _settings(points: Sequence[Point]) -> list[dict[str, object]]:
    return [{setting.key: setting.value for setting in point.settings} for point in points]


# -- grids ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a.b=1 Mbit/s,5 Mbit/s", ["1 Mbit/s", "5 Mbit/s"]),
        ("a.b = 8, 16 ,true", [8, 16, True]),
        ("a.b='x, y',z", ["x, y", "z"]),
        ("a.b={kind: iid, samples: 9},[1, 2]", ["{kind: iid, samples: 9}", "[1, 2]"]),
        ("a.b=x=1", ["x=1"]),
    ],
)
def test_a_grid_is_a_yaml_list_without_its_brackets(text: str, values: list[object]) -> None:
    assert _settings(read_grid(text)) == [{"a.b": value} for value in values]


@pytest.mark.parametrize("text", ["", "a", "=1", "a.=1", "a=", "a=1,,2", "a=[1", "a=1],[2", "a={", "a='"])
def test_a_grid_written_otherwise_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--grid"):
        read_grid(text)


def test_every_combination_is_a_point_and_the_last_key_is_fastest() -> None:
    points = combine([read_grid("a=1,2"), read_grid("b=x,y,z")])
    assert list(points) == ["a=1,b=x", "a=1,b=y", "a=1,b=z", "a=2,b=x", "a=2,b=y", "a=2,b=z"]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ([], "nothing to vary"),
        (["a=1,2", "a=3"], "a is varied twice"),
        (["a=1,1"], "the point a=1 is there 2 times"),
        ([f"{key}={','.join(map(str, range(100)))}" for key in "abc"], "1,000,000 points"),
    ],
)
def test_grids_that_make_no_sense_are_refused(axes: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        combine([read_grid(axis) for axis in axes])


# -- names ---------------------------------------------------------------------------------------------------------


def test_a_points_name_does_not_depend_on_the_other_points() -> None:
    alone = combine([read_grid("devices.0.uplink=5 Mbit/s"), read_grid("a=1")])
    among = combine([read_grid("devices.0.uplink=1 Mbit/s,5 Mbit/s"), read_grid("a=1,2")])
    assert list(alone) == ["devices.0.uplink=5-Mbit-s,a=1"]
    assert set(alone) <= set(among)


def test_values_that_no_folder_can_be_called_after_get_a_digest() -> None:
    (name,) = combine([read_grid("data.partition={kind: iid, samples: 9}")])
    assert name.startswith("data.partition=-kind-iid-samples-9.")
    (long,) = combine([read_grid(f"{'very.' * 40}long=1")])
    assert len(long) <= NAME_LENGTH


def test_points_that_would_be_called_alike_are_told_apart() -> None:
    points = combine([read_grid("a=x y,x-y,X Y,z")])
    assert len({name.casefold() for name in points}) == 4
    assert "a=z" in points


TEXT = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(VALUES, min_size=1, max_size=5))
def test_values_from_python_arrive_as_they_are_under_names_that_folders_may_have(values: list[Any]) -> None:
    for value, point in zip(values, grid_of({"a.b": values})[0], strict=True):
        read = read_yaml(point.settings[0].text, "")
        assert not read.problems
        assert read.data == value
        (name,) = combine([[point]])
        assert name == os.path.basename(name)
        assert 0 < len(name) <= NAME_LENGTH
        assert name not in (".", "..")


def test_a_grid_from_python_needs_values() -> None:
    with pytest.raises(UserError, match="a has no values"):
        grid_of({"a": []})


# -- lists of points -----------------------------------------------------------------------------------------------


def test_a_csv_file_has_a_column_a_key_and_empty_cells_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "points.csv"
    file.write_text(
        'point,devices.0.uplink,a\nslow,1 Mbit/s,\n\nboth,"{steps: {0 s: 1 Mbit/s, 1 s: 2 Mbit/s}}",3\n,,7\n'
    )
    points = combine([read_points(file)])
    assert list(points) == ["slow", "both", "a=7"]
    assert _settings(list(points.values())) == [
        {"devices.0.uplink": "1 Mbit/s"},
        {"devices.0.uplink": "{steps: {0 s: 1 Mbit/s, 1 s: 2 Mbit/s}}", "a": 3},
        {"a": 7},
    ]
    assert points["a=7"].settings[0].override.origin == f"{file}:5:"


def test_a_yaml_file_is_a_list_of_mappings(tmp_path: Path) -> None:
    file = tmp_path / "points.yaml"
    file.write_text("- {point: slow, devices.0.uplink: 1 Mbit/s}\n- a: {kind: iid}\n  b: yes\n- {}\n")
    points = combine([read_points(file)])
    assert [name.partition("=")[0] for name in points] == ["slow", "a", "base"]
    assert _settings(list(points.values())) == [
        {"devices.0.uplink": "1 Mbit/s"},
        {"a": '{"kind": "iid"}', "b": "yes"},
        {},
    ]
    assert points["slow"].settings == (Setting("devices.0.uplink", "1 Mbit/s", f"{file}:1:"),)


def test_a_list_and_a_grid_are_combined() -> None:
    points = combine([points_of([{"point": "slow", "a": 1}, {"a": 2}]), read_grid("b=3,4")])
    assert list(points) == ["slow,b=3", "slow,b=4", "a=2,b=3", "a=2,b=4"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "a,b\n1\n", "p.csv:2: 1 cells under 2 columns"),
        ("p.csv", "a,a\n1,2\n", "a is there twice"),
        ("p.csv", "a,\n1,2\n", "a column has no name"),
        ("p.csv", "a..b\n1\n", "'a..b' is no key"),
        ("p.csv", "a\n", "there are no points"),
        ("p.csv", 'a\n"1\n', "not CSV"),
        ("p.csv", "point,a\n../x,1\n", "no name of a point"),
        ("p.csv", "point,a\nx,1\nX,2\n", "two points are called 'x'"),
        ("p.yaml", "", "there are no points"),
        ("p.yaml", "a: 1\n", "found a mapping where a list of points"),
        ("p.yaml", "- a: 1\n- 5\n", "p.yaml:2:3: found 5"),
        ("p.yaml", "- {a: [}\n", "p.yaml:1:"),
        ("p.yaml", "- {1: 2}\n", "1 is no key"),
    ],
)
def test_files_that_say_something_else_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises((UserError, ScenarioError)) as raised:
        combine([read_points(file)])
    assert message in str(raised.value)


def test_a_file_that_is_not_there_is_told() -> None:
    with pytest.raises(UserError, match=r"none\.csv: No such file"):
        read_points(Path("none.csv"))
