"""Weights that a user has: which files are read, what of them is taken, and what is said where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from edgesim import world
from edgesim.cli import app
from edgesim.errors import ScenarioError, UserError
from edgesim.models import Architecture, SavedWeights, initial_state, layout
from edgesim.resuming import resume
from edgesim.simulation import run
from edgesim.tables import read_tables
from edgesim.testing import tiny_scenario

TINY = tiny_scenario(pretrain={"epochs": 0}, learners={"no_adaptation": {}})
CLASSES = 4


def network(classes: int = CLASSES, hidden: int = 8) -> Architecture:
    return Architecture.of("mlp", {"hidden": [hidden]}, input_shape=(6,), classes=classes)


def scenario(file: Path, **pretrain: Any) -> Any:
    document = TINY.to_document()
    data = {"source": "synthetic", "shape": [6], "classes": CLASSES, "proxy": {"share": "20 %"}, "test_samples": 50}
    document["data"] = {**data, "partition": {"kind": "iid", "samples": 20}}
    document["model"] = {"name": "mlp", "hidden": [8]}
    document["drifts"] = []
    document["pretrain"] = {"epochs": 0, "weights": str(file), **pretrain}
    return type(TINY).model_validate(document)


def trained_accuracy(tmp_path: Path, name: str, **pretrain: Any) -> float:
    folder = run(scenario(tmp_path / "weights.pt", **pretrain), out=tmp_path / name, cache=False)
    return float(read_tables(folder)["accuracy"]["accuracy"].mean())


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def known_state() -> dict[str, torch.Tensor]:
    """Weights that call everything class 2."""
    state = {name: torch.zeros_like(tensor) for name, tensor in initial_state(network(), seed=1).items()}
    last = list(state)[-1]
    state[last][2] = 1.0
    return state


@pytest.mark.parametrize("form", ["plain", "checkpoint", "safetensors", "half"])
def test_a_file_of_weights_is_what_devices_begin_with(tmp_path: Path, form: str) -> None:
    state, file = known_state(), tmp_path / ("weights.safetensors" if form == "safetensors" else "weights.pt")
    if form == "safetensors":
        save_file(state, file)
    elif form == "half":
        torch.save({name: tensor.half() for name, tensor in state.items()}, file)
    else:
        torch.save({"state_dict": state, "epoch": 3} if form == "checkpoint" else state, file)
    folder = run(scenario(file), out=tmp_path / "run", cache=False)
    tables = read_tables(folder)
    served = tables["accuracy"]
    assert served["accuracy"].between(0.1, 0.45).all()  # one of four classes
    assert tables["computations"].query("status == 'offline'").iloc[0]["input_model_ids"] == "saved"
    told = manifest(folder)
    assert (told["weights"], told["weights_drawn"]) == (SavedWeights.of(file).digest, [])


def test_a_last_layer_for_other_classes_is_drawn_and_the_manifest_says_so(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    torch.save(initial_state(network(classes=1000), seed=1), file)
    folder = run(scenario(file), out=tmp_path / "run", cache=False)
    last_two = [spec.name for spec in layout(network())][-2:]
    assert manifest(folder)["weights_drawn"] == last_two


def test_pretraining_goes_on_from_the_file(tmp_path: Path) -> None:
    state = initial_state(network(), seed=1)
    torch.save(state, tmp_path / "weights.pt")
    begun, trained = trained_accuracy(tmp_path, "begun"), trained_accuracy(tmp_path, "trained", epochs=20)
    assert trained > begun + 0.2


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    torch.save({"conv.weight": torch.zeros(3, 3)}, file)
    with pytest.raises(UserError, match=r"pretrain.weights: .*weights.pt does not fit the model.*'conv.weight'"):
        run(scenario(file), out=tmp_path / "run")


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\x80\x02cos\nsystem\n(S'true'\ntR."])
@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_file_that_holds_something_else_is_refused_and_no_code_in_it_runs(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="holds no weights"):
        run(scenario(tmp_path / name), out=tmp_path / "run")


def test_a_file_that_is_not_there_is_told_at_its_line(tmp_path: Path) -> None:
    torch.save(known_state(), tmp_path / "weights.pt")
    document = json.dumps(scenario(tmp_path / "weights.pt").to_document())
    file = tmp_path / "scenario.yaml"
    file.write_text(document.replace("weights.pt", "nowhere.pt"))
    with pytest.raises(ScenarioError, match=r"scenario.yaml:1:\d+: pretrain.weights: there is no file .*nowhere.pt"):
        run(file, out=tmp_path / "run")


def test_other_weights_under_the_same_name_are_no_cached_result_and_no_run_to_go_on_with(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    torch.save(known_state(), file)
    first = SavedWeights.of(file)
    torch.save(initial_state(network(), seed=1), file)
    assert SavedWeights.of(file).key != first.key
    with pytest.raises(UserError, match="changed while it was in use"):
        first.read()
    folder = run(scenario(file), out=tmp_path / "run", cache=False)
    torch.save(known_state(), file)
    with pytest.raises(UserError, match=r"weights: .* -> "):
        resume(folder, scenario=scenario(file))  # done, and not with these
    (folder / "manifest.json").write_text(json.dumps({**manifest(folder), "status": "failed"}))
    with pytest.raises(UserError, match=r"weights: .* -> "):
        resume(folder)


def test_weights_that_change_between_two_seeds_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights.pt"
    torch.save(known_state(), file)
    draw = world.draw_environment

    def changed(scenario: Any, seed: int, *given: Any, **named: Any) -> Any:
        if seed == 1:
            torch.save(initial_state(network(), seed=1), file)
        return draw(scenario, seed, *given, **named)

    monkeypatch.setattr(world, "draw_environment", changed)
    with pytest.raises(UserError, match="changed while it was in use"):
        run(scenario(file), seeds=[0, 1], out=tmp_path / "run", cache=False)


@pytest.mark.parametrize("wrong", [float("nan"), 1j])
def test_weights_that_no_network_can_have_are_refused(tmp_path: Path, wrong: complex) -> None:
    state = known_state()
    torch.save({**state, "0.weight": torch.full((8, 6), wrong)}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"'0.weight' is not dense, real and finite"):
        run(scenario(tmp_path / "weights.pt"), out=tmp_path / "run")


def test_the_command_says_what_was_drawn(tmp_path: Path) -> None:
    torch.save(initial_state(network(classes=1000), seed=1), tmp_path / "weights.pt")
    file = tmp_path / "scenario.yaml"
    file.write_text(json.dumps(scenario(tmp_path / "weights.pt").to_document()))
    said = CliRunner().invoke(app, ["run", str(file), "--out", str(tmp_path / "run")])
    assert "but for 2 tensors that were drawn" in said.output


def test_timing_only_does_not_read_it(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"nothing that could be read")
    folder = run(scenario(tmp_path / "weights.pt"), out=tmp_path / "run", timing_only=True)
    assert (read_tables(folder)["computations"]["input_model_ids"] == "saved").any()
    assert "weights_drawn" not in manifest(folder)  # nobody knows
