"""A YAML file as plain data with the position of every value: reading, ``--set``, ``${VARIABLES}``, writing.

Knows nothing of what a scenario is.
"""

from __future__ import annotations

import copy
import io
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.representer import SafeRepresenter

from edgesim.errors import Problem
from edgesim.scenario.findings import Path, dotted, found


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written; line and column count from 1, 0 where there is none (``--set``)."""

    file: str
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Override:
    """A value to set before checking, as ``devices.0.count=20``, and where the user wrote that."""

    text: str
    origin: str = "--set"

    def __str__(self) -> str:
        return f"{self.origin} {self.text}"


@dataclass
class Document:
    """Data read from YAML, with the places of its values and keys, and what was already wrong with it."""

    data: Any = None
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: Path, on_key: bool = False) -> Place:
        """Where the value (or key) at ``path`` stands; where it does not, what would hold it."""
        if on_key and path in self.keys:
            return self.keys[path]
        while path not in self.values and path:
            path = path[:-1]
        return self.values[path]

    def copy(self) -> Document:
        """Return a document that may be changed without changing this one."""
        return Document(copy.deepcopy(self.data), dict(self.values), dict(self.keys), list(self.problems))

    def complain(self, path: Path, message: str, on_key: bool = False) -> None:
        """Note a problem at ``path``."""
        place = self.place(path, on_key)
        self.problems.append(Problem(place.file, place.line, place.column, dotted(path), message))


def read_yaml(text: str, file: str) -> Document:
    """Read YAML text; mistakes are in the document's ``problems``."""
    document = Document(values={(): Place(file)})
    try:
        node = _yaml().compose(io.StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(str(part) for part in (error.context, error.problem) if part)
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        document.problems.append(Problem(file, line, column, "", f"not YAML: {what}"))
    except YAMLError as error:
        document.problems.append(Problem(file, 0, 0, "", f"not YAML: {' '.join(str(error).split())}"))
    except RecursionError:
        document.problems.append(Problem(file, 0, 0, "", "not a scenario: nested too deeply"))
    else:
        if node is not None:
            document.data = _Reader(document, file).read(node, ())
    return document


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    return yaml


class _Reader:
    """Turns YAML nodes into data and places."""

    def __init__(self, document: Document, file: str) -> None:
        self.document = document
        self.file = file
        self.constructor = _yaml().constructor
        self.open: set[int] = set()

    def read(self, node: Node, path: Path) -> Any:
        self.document.values[path] = self.place(node)
        if id(node) in self.open:
            self.document.complain(path, "an alias that contains itself")
            return None
        self.open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self.mapping(node, path)
            if isinstance(node, SequenceNode):
                return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
            assert isinstance(node, ScalarNode)
            return self.scalar(node, path)
        finally:
            self.open.discard(id(node))

    def place(self, node: Node) -> Place:
        return Place(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def scalar(self, node: ScalarNode, path: Path) -> Any:
        kind = str(node.tag).removeprefix("tag:yaml.org,2002:")
        if kind in ("str", "timestamp"):
            return node.value
        if kind in ("int", "float", "bool", "null"):
            try:
                value = self.constructor.construct_object(node)
            except ValueError:
                return node.value
            if isinstance(value, float) and not math.isfinite(value):
                self.document.complain(path, f"found {node.value}: every number here is finite")
                return None
            return value
        self.document.complain(path, f"the tag {node.tag} means nothing here; write plain values")
        return None

    def mapping(self, node: MappingNode, path: Path) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if str(key_node.tag) == "tag:yaml.org,2002:merge":
                continue
            if not isinstance(key_node, ScalarNode):
                place = self.place(key_node)
                self.document.problems.append(
                    Problem(place.file, place.line, place.column, dotted(path), "a key is plain text")
                )
                continue
            key = self.scalar(key_node, path)
            below = (*path, key)
            if key in result:
                first = self.document.keys[below]
                place = self.place(key_node)
                message = f"is given twice; first in line {first.line}"
                self.document.problems.append(Problem(place.file, place.line, place.column, dotted(below), message))
                continue
            self.document.keys[below] = self.place(key_node)
            result[key] = self.read(value_node, below)
        return self.merged(node, path, result)

    def merged(self, node: MappingNode, path: Path, own: dict[Any, Any]) -> dict[Any, Any]:
        """Add what ``<<: *anchor`` brings in, below what the mapping itself says."""
        for key_node, value_node in node.value:
            if str(key_node.tag) != "tag:yaml.org,2002:merge":
                continue
            sources = value_node.value if isinstance(value_node, SequenceNode) else [value_node]
            for source in sources:
                if not isinstance(source, MappingNode):
                    self.document.complain(path, "`<<` merges a mapping, such as *name")
                    continue
                for inner_key, inner_value in source.value:
                    key = inner_key.value
                    if key not in own and str(inner_key.tag) != "tag:yaml.org,2002:merge":
                        self.document.keys[(*path, key)] = self.place(inner_key)
                        own[key] = self.read(inner_value, (*path, key))
        return own


def apply_override(document: Document, override: Override) -> None:
    """Set one value. Mistakes about it, also later ones, point to the override."""
    file = str(override)
    target, equals, text = override.text.partition("=")
    parts = target.strip().split(".")
    if not equals or not all(parts):
        document.problems.append(Problem(file, 0, 0, "", "write KEY=VALUE, for example devices.0.count=20"))
        return
    value = read_yaml(text, file)
    if value.problems:
        document.problems += [Problem(file, 0, 0, target, problem.message) for problem in value.problems]
        return
    holder, path = _descend(document, parts, file)
    if holder is None:
        return
    key = path[-1]
    if isinstance(holder, list):
        holder[int(key)] = value.data
    else:
        holder[key] = value.data
    _forget(document, path)
    for below in value.values:
        document.values[path + below] = Place(file)
    document.keys[path] = Place(file)
    for below in value.keys:
        document.keys[path + below] = Place(file)


def _descend(document: Document, parts: list[str], file: str) -> tuple[Any, Path]:
    """Find what holds the value that ``parts`` lead to; makes mappings that are not there yet."""
    at, path = document.data, ()  # type: Any, Path
    for depth, part in enumerate(parts):
        key: str | int = part
        if isinstance(at, list):
            index = _index(at, part)
            if index is None:
                document.problems.append(Problem(file, 0, 0, dotted((*path, part)), _no_item(at, part)))
                return None, path
            key = index
        elif isinstance(at, Mapping):
            key = next((known for known in at if str(known) == part), part)
        else:
            message = f"{dotted(path)} is {found(at)}, nothing is below it"
            document.problems.append(Problem(file, 0, 0, dotted((*path, part)), message))
            return None, path
        path = (*path, key)
        if depth == len(parts) - 1:
            return at, path
        if isinstance(at, dict) and at.get(key) is None:
            at[key] = {}
            document.values[path] = document.keys[path] = Place(file)
        at = at[key]
    return None, path


def _index(items: list[Any], part: str) -> int | None:
    """Read a place in a list: its number, or the ``name`` of the item."""
    if part.isascii() and part.isdigit():
        return int(part) if int(part) < len(items) else None
    named = [index for index, item in enumerate(items) if isinstance(item, dict) and item.get("name") == part]
    return named[0] if named else None


def _no_item(items: list[Any], part: str) -> str:
    names = [str(item["name"]) for item in items if isinstance(item, dict) and "name" in item]
    called = f" ({', '.join(names)})" if names else ""
    return f"there is no item {part!r}: the list has {len(items)}, numbered from 0{called}"


def _forget(document: Document, path: Path) -> None:
    for places in (document.values, document.keys):
        for below in [known for known in places if known[: len(path)] == path]:
            del places[below]


_VARIABLE = re.compile(r"\$\$\{|\$\{([^}]*)\}")


def expand_variables(document: Document, environment: Mapping[str, str] | None = None) -> None:
    """Replace ``${NAME}`` in all text by environment variables; ``$${`` stands for ``${`` itself."""
    known = os.environ if environment is None else environment

    def expanded(text: str, path: Path) -> str:
        def value(match: re.Match[str]) -> str:
            if match[0] == "$${":
                return "${"
            if match[1] not in known:
                document.complain(path, f"the environment variable {match[1]!r} is not set")
                return match[0]
            return known[match[1]]

        return _VARIABLE.sub(value, text)

    def walk(data: Any, path: Path) -> Any:
        if isinstance(data, str):
            return expanded(data, path) if "${" in data else data
        if isinstance(data, dict):
            return {key: walk(item, (*path, key)) for key, item in data.items()}
        if isinstance(data, list):
            return [walk(item, (*path, index)) for index, item in enumerate(data)]
        return data

    document.data = walk(document.data, ())


_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./ %+-]*")


class _Representer(SafeRepresenter):
    """Quotes all text that is not quite plain: what ruamel leaves bare inside ``{}`` does not always read back."""


def _represent_text(representer: SafeRepresenter, text: str) -> ScalarNode:
    style = None if _PLAIN.fullmatch(text) else '"'
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Representer.add_representer(str, _represent_text)


def write_yaml(data: Any) -> str:
    """Write plain data as YAML that :func:`read_yaml` reads back; ``${`` is escaped."""

    def escaped(item: Any) -> Any:
        if isinstance(item, str):
            return item.replace("${", "$${")
        if isinstance(item, Mapping):
            return {key: escaped(value) for key, value in item.items()}
        return [escaped(value) for value in item] if isinstance(item, list | tuple) else item

    yaml = _yaml()
    yaml.Representer = _Representer
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # typed as None, read as a bool
    yaml.width = 110
    stream = io.StringIO()
    yaml.dump(escaped(data), stream)
    return stream.getvalue()
