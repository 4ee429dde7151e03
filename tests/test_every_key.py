"""No dead parameter: every key that the schema knows changes the tables of a run, or what a person is told.

``every_key.yaml`` says for each key what to change. A key that is missing there fails the first test; one that changes
nothing, the other.
"""

from __future__ import annotations

import copy
import functools
import struct
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML
from typer.testing import CliRunner

from edgesim.cli import app
from edgesim.errors import EdgesimError
from edgesim.learner import installed_params
from edgesim.models import Architecture, initial_state
from edgesim.scenario.document import write_yaml
from edgesim.scenario.json_schema import json_schema
from edgesim.simulation import load_scenario, run
from edgesim.tables import read_tables

HERE = Path(__file__).parent
CASES: dict[str, Any] = YAML(typ="safe").load(HERE / "every_key.yaml")

KIN = {
    "Data": ("DigitsData", "HarData", "ImageData", "NpzData", "SyntheticData"),
    "Partition": ("ClassesPartition", "DirichletPartition", "GroupPartition", "IidPartition", "SplitPartition"),
    "Drift": ("ConceptDrift", "FeatureDrift", "LabelDrift", "ReplacementDrift"),
}
"""Kinds of one thing: a key that several of them describe alike is one key, read by the same code."""

_CHOOSING = ("kind", "source")
"""Keys that say which kind it is."""

TOLD = {
    "Scenario.edgesim": "reads format 1",
    "Scenario.name": None,
    "Scenario.description": None,
    "Work.executor": None,
    "Work.workers": None,
    "Work.memory": None,
    "Work.device": "work.device: found cuda",
    "NpzData.class_names": "missing",
    "NpzData.remap_labels": "must be the whole numbers",
    "ImageData.path": "there is no folder",
    "ImageData.download": "no network here",
    "HarData.path": "does not hold the unpacked",
}
"""Keys that change what a person is told, with words of it: of an error, or (None) of what ``edgesim run`` prints."""


def keys_of_the_schema() -> set[str]:
    """``Definition.key`` for all that a scenario may say; the signals of all dimensions are one definition."""
    schema = json_schema(installed_params())
    found = {f"Scenario.{key}" for key in schema["properties"]}
    for name, definition in schema["definitions"].items():
        name = "signal" if name.endswith(" over time") else name.removeprefix("learner ")
        found |= {_kin(key, schema["definitions"]) for key in _keys(definition, name)}
    return found


def _keys(node: Mapping[str, Any], name: str) -> Iterator[str]:
    for choice in node.get("anyOf", ()):
        form = next(iter(choice.get("required", ())), None)
        for key in _keys(choice, name):
            part = key.removeprefix(f"{name}.")
            yield f"{name}.{form}/{part}" if name == "signal" and "." not in part and part != form else key
    for key, described in node.get("properties", {}).items():
        yield f"{name}.{key}"
        yield from _keys(described, f"{name}.{key}")


def _kin(key: str, definitions: Mapping[str, Any]) -> str:
    name, _, part = key.partition(".")
    for family, kinds in KIN.items():
        if name in kinds:
            told = [definitions[kind]["properties"].get(part, {}).get("description") for kind in kinds]
            return f"{family}.{part}" if told.count(told[kinds.index(name)]) > 1 or part in _CHOOSING else key
    return key


def listed() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """What to set for the two runs of each key."""
    found: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for group in CASES["groups"]:
        base = group.get("base", {})
        for key, change in group["keys"].items():
            before, after = change if isinstance(change, list) else ({}, change)
            assert key not in found, f"{key} is listed twice"
            found[key] = {**base, **before}, {**base, **after}
    return found


def test_every_key_of_the_schema_is_listed():
    assert keys_of_the_schema() == set(listed())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small recordings and data sets."""
    folder = tmp_path_factory.mktemp("files")
    random = np.random.default_rng(0)
    for name, factor in (("", 1.0), ("other_", 1.5)):
        links = pd.DataFrame({"time": [0.0, 30.0, 60.0], "value": [1.0, 2.0, 3.0]}) * factor
        links["time2"], links["value2"] = links["time"] * 1.2, links["value"] * 2
        links.to_csv(folder / f"{name}link.csv", index=False)
        links.to_parquet(folder / f"{name}link.parquet")
        links[["time", "value"]].to_csv(folder / f"{name}link.txt", sep=" ", header=False, index=False)
        stamps = np.cumsum(random.integers(1, 30, 300))  # ms
        (folder / f"{name}link.mahi").write_text("\n".join(map(str, stamps)) + "\n")
        pd.DataFrame(
            {
                "gflops": np.array([1.0, 2.0, 3.0, 4.0]) * factor * 1e-3,
                "gflops2": np.array([4.0, 3.0, 2.0, 2.0]) * factor * 1e-3,
                "ram": [400, 5000, 100000, 50],
                "rate": [1.0, 2.0, 3.0, 4.0],
                "delay": [10, 20, 30, 40],
            }
        ).to_csv(folder / f"{name}devices.csv", index=False)
        spans = pd.DataFrame({"device": ["a", "a", "b", "c"], "start": [0, 60, 20, 0], "end": [30, 120, 90, 10]})
        spans[["start", "end"]] *= factor
        spans["client"], spans["start2"], spans["end2"] = ["a", "b", "c", "d"], spans["start"] + 1, spans["end"] + 2
        spans.to_csv(folder / f"{name}presence.csv", index=False)
        images = random.integers(0, 256, (300, 8, 8, 8), dtype=np.uint8)
        labels = np.arange(300) % 4
        np.savez(
            folder / f"{name}images.npz",
            x=images,
            x2=images[::-1],
            y=labels,
            y2=labels[::-1],
            y_gaps=labels * 2,
            g=np.arange(300) % 6,
            g2=np.arange(300) // 50,
            names=np.array(["a", "b", "c", "d"]),
        )
    mlp = Architecture.of("mlp", {"hidden": [8]}, input_shape=(8,), classes=4)
    torch.save(initial_state(mlp, seed=5), folder / "mlp.pt")
    raw = folder / "mnist" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 200), ("t10k", 100)):
        pixels = random.integers(0, 256, count * 28 * 28, dtype=np.uint8).tobytes()
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + pixels)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">II", 2049, count) + bytes(i % 10 for i in range(count))
        )
    for part, count in (("train", 200), ("test", 100)):
        (folder / "har" / part).mkdir(parents=True)
        np.savetxt(folder / "har" / part / f"X_{part}.txt", random.normal(size=(count, 561)))
        np.savetxt(folder / "har" / part / f"y_{part}.txt", np.arange(count) % 6 + 1, fmt="%d")
        np.savetxt(folder / "har" / part / f"subject_{part}.txt", np.arange(count) % 10, fmt="%d")
    return folder


@pytest.fixture(scope="module")
def outcome(files: Path) -> Any:
    """Run the plain scenario with settings; its tables, or the text of an error. Each once."""
    known: dict[str, dict[str, pd.DataFrame] | str] = {}

    def of(settings: Mapping[str, Any]) -> dict[str, pd.DataFrame] | str:
        file = files / f"{len(known)}.yaml"
        text = _document(settings, files)
        if text not in known:
            file.write_text(text)
            try:
                known[text] = read_tables(run(load_scenario(file), out=file.with_suffix(""), allow_code=True))
            except EdgesimError as error:
                known[text] = str(error)
        return known[text]

    return of


def _document(settings: Mapping[str, Any], files: Path) -> str:
    document = copy.deepcopy(CASES["plain"])
    for path, value in settings.items():
        *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
        place = functools.reduce(_child, parents, document)
        if value is None:
            del place[last]
        else:
            place[last] = copy.deepcopy(value)
    return write_yaml(document).replace("FILES", str(files))


def _child(place: Any, key: str | int) -> Any:
    return place.setdefault(key, {}) if isinstance(place, dict) else place[key]


@pytest.mark.slow
@pytest.mark.parametrize("key", listed())
def test_the_key_changes_something(key, files, outcome, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network here")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.syspath_prepend(HERE)
    before, after = (outcome(settings) for settings in listed()[key])
    if key not in TOLD:
        assert not isinstance(before, str), before
        assert not isinstance(after, str), after
        assert any(not before[name].equals(after[name]) for name in before), f"{key} changes no table"
    elif (words := TOLD[key]) is not None:
        told = [text for text in (before, after) if isinstance(text, str)]
        assert any(words in text for text in told), told
        assert isinstance(before, str) != isinstance(after, str) or before != after
    else:
        printed = []
        for number, settings in enumerate(listed()[key]):
            (files / "told.yaml").write_text(_document(settings, files))
            result = CliRunner().invoke(app, ["run", str(files / "told.yaml"), "--out", str(files / f"{key}-{number}")])
            assert result.exit_code == 0, result.output
            printed.append(result.stdout.split("run folder")[0])
        assert printed[0] != printed[1]
