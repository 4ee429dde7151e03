"""The JSON Schema for editors: in step with the models and the shipped learners, and something draft 7 can read."""

from __future__ import annotations

import importlib
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from edgesim.scenario.json_schema import json_schema
from edgesim.scenario.units import DIMENSIONS, format_quantity, quantity_json_schema

ROOT = Path(__file__).parent.parent
COMMITTED = ROOT / "scenarios" / "scenario.schema.json"


def shipped_learners() -> dict[str, Callable[[], type[BaseModel]]]:
    """The learners of this project, whatever else is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def params(source: str) -> Callable[[], type[BaseModel]]:
        module, _, name = source.partition(":")
        return lambda: getattr(importlib.import_module(module), name).Params

    return {name: params(source) for name, source in project["entry-points"]["edgesim.learners"].items()}


@cache
def schema() -> dict[str, Any]:
    return json_schema(shipped_learners())


def _nodes(node: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from _nodes(value, f"{path}/{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _nodes(value, f"{path}/{number}")


def test_the_committed_schema_is_the_one_that_edgesim_schema_writes() -> None:
    written = json.loads(COMMITTED.read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(schema())), (
        "run `edgesim schema --out scenarios/scenario.schema.json` with no other learners installed"
    )


def test_every_key_is_described() -> None:
    undescribed = []
    for path, node in _nodes(schema()):
        properties = node.get("properties", {})
        if path.endswith("/properties") or not isinstance(properties, dict):
            continue
        for name, value in properties.items():
            inner = value.get("allOf", [{}])[0].get("$ref", "").rpartition("/")[2]
            if "description" not in value and "description" not in schema()["definitions"].get(inner, {}):
                undescribed.append(f"{path}/{name}")
    assert [path for path in undescribed if not path.startswith("/properties/learners/")] == []


def test_the_schema_keeps_to_what_draft_7_knows() -> None:
    for path, node in _nodes(schema()):
        if path.endswith(("/properties", "/definitions")):
            continue
        assert not node.keys() & {"prefixItems", "$defs", "unevaluatedProperties", "dependentRequired"}, path
        assert "$ref" not in node or len(node) == 1, f"draft 7 ignores what stands beside $ref: {path}"
        if "$ref" in node:
            assert node["$ref"].removeprefix("#/definitions/") in schema()["definitions"], path


def test_defaults_are_written_with_their_units() -> None:
    group = schema()["definitions"]["DeviceGroup"]["properties"]
    assert group["latency"]["default"] == "0 s"
    assert group["requests"]["default"] == "0 /s"
    assert schema()["definitions"]["LabelDrift"]["properties"]["devices"]["default"] == "all"


@pytest.mark.parametrize("dimension", DIMENSIONS, ids=str)
def test_what_edgesim_writes_matches_the_pattern_of_the_schema(dimension: Any) -> None:
    described = quantity_json_schema(dimension)
    values = (0, 1, 12_345_678, 10**20) if dimension.whole else (0.0, 1e-9, 0.3, 12345.678, 1e20)
    texts = [format_quantity(value, dimension) for value in values]
    assert all(re.search(described["pattern"], text) for text in [*texts, *described["examples"]])
    assert not re.search(described["pattern"], "30")


def _valid(document: Any) -> bool:
    jsonschema = pytest.importorskip("jsonschema")
    return not list(jsonschema.Draft7Validator(schema()).iter_errors(document))


def _document(path: Path) -> Any:
    from edgesim.scenario.document import read_yaml

    return json.loads(json.dumps(read_yaml(path.read_text(encoding="utf-8"), path.name).data))


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_editors_accept_the_shipped_scenarios(path: Path) -> None:
    assert _valid(_document(path))


@pytest.mark.parametrize(
    "name", ["bare_number", "unknown_key", "drift_kind", "learner_parameters", "missing_keys", "no_devices"]
)
def test_editors_mark_bad_scenarios(name: str) -> None:
    assert not _valid(_document(ROOT / "tests" / "bad_scenarios" / f"{name}.yaml"))


def test_editors_accept_everything_that_edgesim_itself_writes(tmp_path: Path) -> None:
    from edgesim.scenario import load
    from edgesim.scenario.template import template

    file = tmp_path / "fresh.yaml"
    file.write_text(template("fresh"))
    resolved = load(file, learner_params=shipped_learners()).to_document()
    assert _valid(_document(file))
    assert _valid(json.loads(json.dumps(resolved)))
