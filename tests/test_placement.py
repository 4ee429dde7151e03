"""Jobs on a device that is not the CPU: the same seams, keys of their own, and what is said where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from elsewhere import DEVICE, Elsewhere
from typer.testing import CliRunner

import edgesim
from edgesim.cli import app
from edgesim.data import View, load_dataset
from edgesim.errors import ScenarioError, UserError
from edgesim.jobs import (
    CPU,
    Call,
    Calls,
    InlineExecutor,
    Label,
    Placement,
    Returned,
    WorkPlane,
    job,
    placement,
)
from edgesim.jobs.arithmetic import Trained, average, bench, evaluate, initialise, train
from edgesim.jobs.keys import environment
from edgesim.jobs.scoring import mistakes
from edgesim.jobs.stacked_evaluation import evaluate as evaluate_together
from edgesim.jobs.stacked_training import train as train_together
from edgesim.models import Architecture, State, seeded_torch
from edgesim.testing import tiny_scenario

LABEL = Label("fedavg", "camera-3", 12.5, "camera-3/train/7")
AWAY = Placement("meta", "stand-in")
CNN = Architecture.of("cnn", {"channels": [4], "hidden": [8], "dropout": 0.2}, input_shape=(1, 8, 8), classes=10)
NORM = Architecture.of("resnet18", {"width": 4}, input_shape=(1, 8, 8), classes=10)
MLP = Architecture.of("mlp", {"hidden": [16]}, input_shape=(1, 8, 8), classes=10)

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")


def samples(count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = View(load_dataset("digits"), np.arange(count)).materialise()
    return torch.from_numpy(x), torch.from_numpy(y)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Trained):
        return same(one.state, other.state) and one.outcome == other.outcome
    return all(torch.equal(one[name], other[name]) for name in one)


def on_cpu(value: Trained | State) -> bool:
    state = value.state if isinstance(value, Trained) else value
    return all(type(tensor) is torch.Tensor and tensor.device.type == "cpu" for tensor in state.values())


@job
def where(*, mark: int) -> str:
    return str(placement.current())


@job(light=True)
def where_lightly() -> str:
    return str(placement.current())


@job
def logits(state: State, view: tuple[torch.Tensor, torch.Tensor], *, architecture: Architecture) -> State:
    tool = bench(architecture)
    tool.load(state)
    tool.evaluate()
    with torch.no_grad():
        return {"logits": tool.module(tool.put(view[0]))}


# What is computed elsewhere is what is computed here


@pytest.mark.parametrize("architecture", [CNN, NORM, MLP], ids=lambda architecture: architecture.name)
@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd"},
        {"optimizer": "momentum", "weight_decay": 0.01},
        {"optimizer": "adam", "accumulate": 2},
        {"trainable": ("1",)},
    ],
    ids=["sgd", "momentum", "adam", "partial"],
)
def test_training_elsewhere_gives_the_same_weights_on_the_cpu(
    architecture: Architecture, options: dict[str, Any]
) -> None:
    if "trainable" in options and architecture is not MLP:
        pytest.skip("names a layer of the fully connected network")
    start = initialise(architecture=architecture, seed=0)
    how: Any = {"architecture": architecture, "epochs": 2, "batch_size": 16, "learning_rate": 0.05, **options}
    expected = train(start, samples(), samples(10), seed=3, **how)
    with Elsewhere() as device, placement.on("meta"):
        found = train(start, samples(), samples(10), seed=3, **how)
    assert device.arrived
    assert same(found, expected)
    assert on_cpu(found)


@pytest.mark.parametrize("architecture", [CNN, NORM], ids=lambda architecture: architecture.name)
def test_evaluating_and_scoring_elsewhere_give_the_same(architecture: Architecture) -> None:
    start = initialise(architecture=architecture, seed=0)
    expected = evaluate(start, samples(200), samples(5), architecture=architecture)
    wrong = mistakes(start, samples(200), architecture=architecture)
    with Elsewhere() as device, placement.on("meta"):
        assert evaluate(start, samples(200), samples(5), architecture=architecture) == expected
        assert mistakes(start, samples(200), architecture=architecture) == wrong
    assert device.arrived


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_networks_side_by_side_elsewhere_give_the_same_weights_on_the_cpu(optimizer: str) -> None:
    starts = [initialise(architecture=MLP, seed=seed) for seed in (0, 1)]
    elements: list[Any] = [((starts[n % 2], samples(20 + n)), n) for n in range(5)]
    how: Any = {"architecture": MLP, "epochs": 2, "batch_size": 16, "learning_rate": 0.05, "optimizer": optimizer}
    expected = train_together(elements, **how)
    scores = evaluate_together(elements, architecture=MLP)
    with Elsewhere() as device, placement.on("meta"):
        found = train_together(elements, **how)
        assert evaluate_together(elements, architecture=MLP) == scores
    assert device.arrived
    for one, other in zip(found, expected, strict=True):
        assert same(one, other)
        assert isinstance(one, Trained)
        assert on_cpu(one)


def test_a_training_that_diverges_elsewhere_is_the_same_event() -> None:
    start = initialise(architecture=MLP, seed=0)
    how: Any = {"architecture": MLP, "epochs": 3, "batch_size": 16, "learning_rate": 1e30}
    with Elsewhere(), placement.on("meta"):
        alone = train(start, samples(), seed=3, **how)
        (together,) = train_together([((start, samples()), 3)], **how)
    assert isinstance(together, Trained)
    assert alone.diverged
    assert together.diverged
    assert on_cpu(alone)
    assert on_cpu(together)


def test_tensors_of_two_devices_do_not_mix() -> None:
    with Elsewhere(), placement.on("meta"):
        tool = bench(MLP)
        assert tool.device == DEVICE
        with pytest.raises(RuntimeError, match="same device"):
            tool.module(samples()[0])


LEARNED = {
    "fedprox": {"learner": "fedprox", "period": "3 min", "mu": 0.1},
    "eclm": {},
    "heterofl": {},
    "adaptive_net": {},
}


@pytest.mark.parametrize("learner", [*LEARNED, "ecavg", "cloud_only"])
def test_every_learner_gives_the_same_tables_elsewhere(
    learner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = tiny_scenario(learners={learner: LEARNED.get(learner, {})})
    here = edgesim.run(scenario, out=tmp_path / "here", cache=False)
    monkeypatch.setattr("edgesim.placing.placement_of", lambda *_: AWAY)
    monkeypatch.setattr("edgesim.simulation.placement_of", lambda *_: AWAY)
    monkeypatch.setattr(Placement, "kind", "cpu")  # so that the same jobs are fused
    with Elsewhere() as device:
        there = edgesim.run(scenario, out=tmp_path / "there", cache=False)
    assert device.arrived
    assert json.loads((there / "manifest.json").read_text())["device"] == "cpu stand-in"
    for table in ("accuracy", "computations"):
        assert (here / "tables" / f"{table}.parquet").stat().st_size
    compared = edgesim.tables.read_tables(here), edgesim.tables.read_tables(there)
    for name in ("accuracy", "deployments", "transfers"):
        drop = [column for column in compared[0][name] if "model" in column]
        assert compared[0][name].drop(columns=drop).equals(compared[1][name].drop(columns=drop))


# What is placed, and what comes back


def test_jobs_are_placed_and_light_ones_stay_on_the_cpu() -> None:
    plane = WorkPlane(InlineExecutor(placement=AWAY))
    assert plane.submit(where, mark=1, label=LABEL).value() == "meta"
    assert plane.submit(where_lightly, label=LABEL).value() == "cpu"
    assert placement.current() == torch.device("cpu")


def test_what_a_job_leaves_on_the_device_comes_back() -> None:
    start = initialise(architecture=MLP, seed=0)
    calls = Calls(logits, "sequential", {"architecture": MLP}, (Call((start, samples(3)), None),))
    executor = InlineExecutor(placement=AWAY)
    with Elsewhere():
        executor.start(0, calls)
        _, (outcome,) = executor.finish()
        assert isinstance(outcome, Returned)
        assert on_cpu(outcome.value)
    assert outcome.value["logits"].shape == (3, 10)


def test_values_come_back_from_containers_and_dataclasses() -> None:
    with Elsewhere():
        away = torch.ones(2).to(DEVICE)
        value = placement.back({"a": [away, (1, away)], "b": Trained({"w": away}, 0.5, 3), "c": "text"})
        tensors = [value["a"][0], value["a"][1][1], value["b"].state["w"]]
    assert all(type(tensor) is torch.Tensor and torch.equal(tensor, torch.ones(2)) for tensor in tensors)
    assert (value["a"][1][0], value["b"].loss, value["b"].steps, value["c"]) == (1, 0.5, 3, "text")


# Keys


def test_results_of_two_devices_never_have_one_key() -> None:
    keys = {environment(1), environment(1, "cuda NVIDIA H200"), environment(1, "cuda NVIDIA T4"), environment(2)}
    assert len(keys) == 4
    assert environment(1, str(CPU)) == environment(1)
    assert str(Placement("cuda:0", "NVIDIA T4")) == str(Placement("cuda:1", "NVIDIA T4"))

    def trained(plane: WorkPlane) -> str:
        start = plane.submit(initialise, architecture=MLP, seed=0, label=LABEL)
        return plane.submit(average, start, start, label=LABEL).key

    assert trained(WorkPlane(InlineExecutor())) != trained(WorkPlane(InlineExecutor(placement=AWAY)))


def test_what_is_fused_is_asked_of_the_kind_of_device() -> None:
    wide = Architecture.of("mlp", {"hidden": [1024, 256]}, input_shape=(784,), classes=10)
    gpu = Placement("cuda:0", "NVIDIA T4")

    def path(where: Placement, threads: int) -> str:
        plane = WorkPlane(InlineExecutor(threads, placement=where))
        how: Any = {"architecture": wide, "epochs": 1, "batch_size": 32, "learning_rate": 0.1, "seed": 0}
        start = plane.submit(initialise, architecture=wide, seed=0, label=LABEL)
        handle = plane.submit(train, start, View(load_dataset("digits"), np.arange(5)), label=LABEL, **how)
        assert handle.job is not None
        return handle.job.kind.path

    assert (path(CPU, 1), path(CPU, 2)) == ("sequential", "sequential")
    assert (path(gpu, 1), path(gpu, 2)) == ("stacked", "stacked")


def test_a_run_is_not_resumed_on_another_device(tmp_path: Path) -> None:
    folder = edgesim.run(tiny_scenario(), out=tmp_path / "run", cache=False)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["device"] == "cpu"
    (folder / "manifest.json").write_text(json.dumps({**manifest, "status": "failed", "device": "cuda NVIDIA T4"}))
    with pytest.raises(UserError, match="begun on another device: cuda NVIDIA T4 -> cpu"):
        edgesim.resume(folder)


# Where there is none


@without_cuda
@pytest.mark.parametrize("wanted", ["cuda", "cuda:0", "cuda:7"])
def test_a_device_that_is_not_there_is_refused(wanted: str) -> None:
    with pytest.raises(UserError, match=rf"^found {wanted} where there is none: .*; cpu or auto runs here$"):
        placement.find(wanted)


def test_a_device_that_pytorch_does_not_have_is_refused() -> None:
    with pytest.raises(UserError, match="there is no device 'gpu'; known: cpu, cuda, cuda:N, auto"):
        placement.find("gpu")


@without_cuda
def test_auto_is_the_cpu_where_there_is_no_cuda() -> None:
    assert placement.find("auto") == placement.find("cpu") == CPU


def _say(folder: Path, work: str) -> Path:
    file = folder / "tiny.yaml"
    lines = [line for line in tiny_scenario().to_yaml().splitlines(keepends=True) if not line.startswith("work:")]
    file.write_text("".join(lines) + work)
    return file


@without_cuda
@pytest.mark.parametrize(
    ("work", "options", "message"),
    [
        ("work: {threads_per_job: 1, device: cuda}\n", [], "tiny.yaml:{line}:36: work.device: found cuda where there"),
        (
            "",
            ["--set", "work.device=cuda:3"],
            "--set work.device=cuda:3: work.device: found cuda:3 where there",
        ),
        ("", ["--device", "cuda"], "--device: found cuda where there is none"),
        ("", ["--device", "gpu"], "--device: there is no device 'gpu'"),
        (
            "work: {device: gpu}\n",
            [],
            "tiny.yaml:{line}:16: work.device: found 'gpu', which does not look",
        ),
    ],
    ids=["in the file", "--set", "--device", "unknown", "unknown in the file"],
)
def test_a_run_on_a_device_that_is_not_there_is_refused_where_it_was_asked_for(
    tmp_path: Path, work: str, options: list[str], message: str
) -> None:
    file = _say(tmp_path, work)
    result = CliRunner().invoke(app, ["run", str(file), "--out", str(tmp_path / "run"), *options])
    assert result.exit_code == 2
    assert message.format(line=len(file.read_text().splitlines())) in result.stderr.replace("\n", "")
    assert not (tmp_path / "run").exists()


@without_cuda
def test_a_run_in_python_names_the_place_too(tmp_path: Path) -> None:
    file = _say(tmp_path, "work: {device: cuda}\n")
    with pytest.raises(ScenarioError, match=r"tiny\.yaml:\d+:16: work\.device: found cuda where there is none"):
        edgesim.run(file, out=tmp_path / "run")
    with pytest.raises(UserError, match=r"^work\.device: found cuda where there is none"):
        edgesim.run(edgesim.load_scenario(file), out=tmp_path / "run")
    assert edgesim.run(file, out=tmp_path / "run", timing_only=True)


def test_the_device_of_the_command_is_the_scenarios_in_the_run_folder(tmp_path: Path) -> None:
    out = edgesim.run(tiny_scenario(), out=tmp_path / "run", device="auto", cache=False)
    assert edgesim.load_scenario(out / "scenario.yaml").work.device == "auto"


# With a GPU


@needs_cuda
@pytest.mark.gpu
@pytest.mark.parametrize("architecture", [CNN, NORM, MLP], ids=lambda architecture: architecture.name)
def test_training_on_cuda_is_close_to_training_on_the_cpu(architecture: Architecture) -> None:
    plain = Architecture.of(
        architecture.name,
        {name: value for name, value in architecture.options if name != "dropout"},
        input_shape=architecture.input_shape,
        classes=10,
    )
    start = initialise(architecture=plain, seed=0)
    how: Any = {"architecture": plain, "epochs": 1, "batch_size": 16, "learning_rate": 0.01, "seed": 3}
    expected = train(start, samples(), **how)
    with placement.on("cuda:0"):
        found = train(start, samples(), **how)
    assert on_cpu(found)
    torch.testing.assert_close(found.state, expected.state, rtol=1e-2, atol=1e-3)


@needs_cuda
@pytest.mark.gpu
def test_streams_of_cuda_are_seeded_and_given_back() -> None:
    device = torch.device("cuda:0")
    draw: Callable[[], torch.Tensor] = lambda: torch.rand(3, device=device)  # noqa: E731
    before = torch.cuda.get_rng_state(device)
    with seeded_torch(5, device):
        first = draw()
    with seeded_torch(5, device):
        assert torch.equal(first, draw())
    assert torch.equal(before, torch.cuda.get_rng_state(device))


@needs_cuda
@pytest.mark.gpu
def test_a_run_on_cuda_says_which(tmp_path: Path) -> None:
    out = edgesim.run(tiny_scenario(), out=tmp_path / "run", device="cuda", cache=False)
    told = json.loads((out / "manifest.json").read_text())["device"]
    assert told == f"cuda {torch.cuda.get_device_name(0)}"
