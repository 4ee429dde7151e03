"""The points of a sweep: which values of a scenario are changed at each, from grids, from files or from Python.

Values are YAML text, as in ``--set``: whether they fit the scenario is found where it is loaded.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import SequenceNode

from ..errors import Problem, ScenarioError, UserError
from ..scenario import Override
from ..scenario.document import read_yaml
from ..scenario.findings import found

MOST_POINTS = 100_000
"""A grid of more points is a slip of the hand."""

NAME_COLUMN = "point"
"""The column of a file of points, or the key, that names a point; no key of a scenario is called so."""

NAME_LENGTH = 100
"""Characters of the longest name that is made of values: below what file systems allow."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value that a point sets: ``key`` as in ``--set``, ``text`` as YAML, ``origin`` where the user wrote it."""

    key: str
    text: str
    origin: str

    @property
    def override(self) -> Override:
        """What the loader takes."""
        return Override(f"{self.key}={self.text}", self.origin)

    @property
    def value(self) -> object:
        """The value where it is a scalar, else its text."""
        data = read_yaml(self.text, self.origin).data
        return self.text if isinstance(data, dict | list) else data


@dataclass(frozen=True, slots=True)
class Point:
    """One variant of a scenario. Without a ``label`` it is named after its settings."""

    settings: tuple[Setting, ...]
    label: str = ""

    @property
    def key(self) -> str:
        """Text that is the same for points that set the same."""
        return json.dumps([(setting.key, setting.text) for setting in self.settings], ensure_ascii=False)

    @property
    def name(self) -> str:
        """A name for a folder, the same whatever other points a sweep has.

        >>> Point((Setting("cloud.ingress", "5 Mbit/s", "--grid"),)).name
        'cloud.ingress=5-Mbit-s'
        """
        if self.label or not self.settings:
            return self.label or "base"
        written = ",".join(f"{setting.key}={setting.text}" for setting in self.settings)
        name = ",".join(_readable(f"{setting.key}={setting.text}") for setting in self.settings)
        told = re.fullmatch(r"[A-Za-z0-9._=,%/ -]*", written)
        return name if told and len(name) <= NAME_LENGTH else self.distinct_name

    @property
    def distinct_name(self) -> str:
        """The name with a digest of the settings at its end."""
        name = ",".join(_readable(f"{setting.key}={setting.text}") for setting in self.settings)
        digest = hashlib.sha256(self.key.encode()).hexdigest()[:8]
        return f"{name[: NAME_LENGTH - 9].rstrip('-.,=')}.{digest}"


def read_grid(text: str) -> list[Point]:
    """Read ``KEY=VALUE,VALUE,...``: a point a value, each written as in a YAML list.

    Raises
    ------
    UserError
        It is written otherwise.

    Examples
    --------
    >>> [point.settings[0].text for point in read_grid("data.partition={kind: iid, samples: 9},{kind: group}")]
    ['{kind: iid, samples: 9}', '{kind: group}']
    """
    key, equals, values = text.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")) or not values.strip():
        raise UserError(f"--grid {text}: write KEY=VALUE,VALUE,..., for example devices.0.uplink=1 Mbit/s,5 Mbit/s")
    try:
        pieces = _pieces(values)
    except YAMLError as error:
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"--grid {text}: the values are no list in YAML: {reason}") from None
    if not all(pieces):
        raise UserError(f"--grid {text}: a value is missing between two commas")
    return [Point((Setting(key, piece, "--grid"),)) for piece in pieces]


def grid_of(grid: Mapping[str, Iterable[object]]) -> list[list[Point]]:
    """Make an axis a key from Python values: ``{"devices.0.uplink": ["1 Mbit/s", "5 Mbit/s"]}``.

    Raises
    ------
    UserError
        A key has no values.
    """
    axes = []
    for key, values in grid.items():
        axes.append([Point((Setting(key, _flow(value), "grid"),)) for value in values])
        if not axes[-1]:
            raise UserError(f"grid: {key} has no values")
    return axes


def points_of(points: Iterable[Mapping[str, object]]) -> list[Point]:
    """Make points from mappings of keys to values; ``point`` names one."""
    return [_point(dict(settings), f"point {number}:") for number, settings in enumerate(points, 1)]


def read_points(file: Path) -> list[Point]:
    """Read a file of points: YAML, a list of mappings from keys to values; or CSV, a column a key.

    An empty cell, or a key left out, leaves the scenario as it is there. The column (or key) ``point`` names a point.

    Raises
    ------
    UserError
        It cannot be read, or says something else.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"--points {file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"--points {file}: not text in UTF-8: {error.reason}") from None
    points = _csv_points(text, file) if file.suffix.lower() == ".csv" else _yaml_points(text, file)
    if not points:
        raise UserError(f"--points {file}: there are no points in it")
    return points


def combine(axes: Sequence[Sequence[Point]]) -> dict[str, Point]:
    """Take every combination of one point an axis, the last axis fastest; returns them by name.

    Raises
    ------
    UserError
        There are none, or far too many; a key or a point is given twice.
    """
    if not axes:
        raise UserError("nothing to vary: give --grid KEY=VALUE,VALUE,... or --points FILE")
    count = math.prod(map(len, axes))
    if count > MOST_POINTS:
        raise UserError(f"the grid has {count:,} points; {MOST_POINTS:,} are the most")
    points = [_merged(parts) for parts in itertools.product(*axes)]
    for point in points:
        for key, times in Counter(setting.key for setting in point.settings).items():
            if times > 1:
                raise UserError(f"{key} is varied twice: give all its values at once")
    for key, times in Counter(point.key for point in points).items():
        if times > 1:
            same = next(point for point in points if point.key == key)
            raise UserError(f"the point {same.name} is there {times} times")
    names = Counter(point.name.casefold() for point in points)  # some file systems do not tell A from a
    clash = next((point for point in points if point.label and names[point.label.casefold()] > 1), None)
    if clash is not None:
        raise UserError(f"two points are called {clash.label!r}")
    return {point.name if names[point.name.casefold()] == 1 else point.distinct_name: point for point in points}


def _merged(parts: Sequence[Point]) -> Point:
    settings = tuple(setting for part in parts for setting in part.settings)
    label = next((part.label for part in parts if part.label), "")
    if label and len(parts) > 1:  # a listed point, under each combination of the grid
        rest = Point(tuple(setting for part in parts if not part.label for setting in part.settings))
        label = f"{label},{rest.name}"
    return Point(settings, label)


def _point(settings: dict[str, object], origin: str) -> Point:
    label = settings.pop(NAME_COLUMN, "")
    if label and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._=%-]{0,99}", str(label)):
        raise UserError(f"{origin} {str(label)!r} is no name of a point: write letters, digits, and . _ = % -")
    _check_keys(settings, origin)
    return Point(tuple(Setting(key, _flow(value), origin) for key, value in settings.items()), str(label))


def _check_keys(keys: Iterable[object], origin: str) -> None:
    for key in keys:
        if not isinstance(key, str) or not all(key.split(".")):
            raise UserError(f"{origin} {key!r} is no key, such as devices.0.uplink")


def _csv_points(text: str, file: Path) -> list[Point]:
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    points: list[Point] = []
    keys: list[str] = []
    try:
        for cells in reader:
            origin = f"{file}:{reader.line_num}:"
            if not any(map(str.strip, cells)):
                continue
            if not keys:
                keys = [cell.strip() for cell in cells]
                twice = [key for key, times in Counter(keys).items() if times > 1]
                if twice or not all(keys):
                    raise UserError(
                        f"{origin} {'a column has no name' if '' in keys else f'{twice[0]} is there twice'}"
                    )
                _check_keys(keys, origin)
                continue
            if len(cells) != len(keys):
                raise UserError(f"{origin} {len(cells)} cells under {len(keys)} columns; quote a value with a comma")
            given = {key: cell.strip() for key, cell in zip(keys, cells, strict=True) if cell.strip()}
            named = _point({NAME_COLUMN: given.pop(NAME_COLUMN, "")}, origin)
            points.append(Point(tuple(Setting(key, cell, origin) for key, cell in given.items()), named.label))
    except csv.Error as error:
        raise UserError(f"{file}:{reader.line_num}: not CSV: {error}") from None
    return points


def _yaml_points(text: str, file: Path) -> list[Point]:
    document = read_yaml(text, str(file))
    if document.problems:
        raise ScenarioError(tuple(document.problems))
    if document.data is not None and not isinstance(document.data, list):
        raise UserError(f"--points {file}: found {found(document.data)} where a list of points is expected")
    points = []
    problems = []
    for index, settings in enumerate(document.data or ()):
        place = document.place((index,))
        if isinstance(settings, dict):
            points.append(_point(dict(settings), f"{file}:{place.line}:"))
        else:
            message = f"found {found(settings)} where a mapping such as {{devices.0.uplink: 1 Mbit/s}} is expected"
            problems.append(Problem(str(file), place.line, place.column, "", message))
    if problems:
        raise ScenarioError(tuple(problems))
    return points


def _pieces(values: str) -> list[str]:
    """Split at the commas of a YAML list; each piece as it was written."""
    node = YAML(typ="safe", pure=True).compose(io.StringIO(f"[{values}]"))
    assert isinstance(node, SequenceNode)
    return [f"[{values}]"[item.start_mark.index : item.end_mark.index].strip() for item in node.value]


def _flow(value: object) -> str:
    """Write a value as YAML on one line that reads back the same."""
    if isinstance(value, str) and value and "\n" not in value:
        read = read_yaml(value, "")
        if not read.problems and read.data == value:
            return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _readable(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=%-]+", "-", text).strip("-")
