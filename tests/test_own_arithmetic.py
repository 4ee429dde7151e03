"""A learner's own arithmetic in the world: its way to train, models made out of models, parts of models that travel."""

from collections.abc import Generator
from typing import Any

import torch

from edgesim import Event, Learner, Method, Model, Patch, World, job
from edgesim.jobs.arithmetic import Batch, Trained, train
from edgesim.models import Architecture, State, layout, payload_bytes, weight_bytes
from edgesim.testing import check_learner, run_tiny, tiny_scenario, unexplained


@job
def scaled_training(
    state: State,
    reference: State,
    *views: Batch,
    architecture: Architecture,
    epochs: int,
    batch_size: int,
    accumulate: int,
    learning_rate: float,
    optimizer: str,
    share: float,
    seed: int,
) -> Trained:
    """Train, then go back a share of the way to a reference."""
    trained = train(
        state,
        *views,
        architecture=architecture,
        epochs=epochs,
        batch_size=batch_size,
        accumulate=accumulate,
        learning_rate=learning_rate,
        optimizer=optimizer,
        seed=seed,
    )
    mixed = {name: torch.lerp(tensor, reference[name], share) for name, tensor in trained.state.items()}
    return Trained(mixed, trained.loss, trained.steps)


@job
def halved(state: State) -> State:
    return {name: tensor / 2 for name, tensor in state.items()}


class OwnArithmetic(Learner):
    """Trains its own way, halves what it has trained, and sends only the biases."""

    share = 1.0
    seen: dict[str, Any]

    def run(self, world: World) -> Generator[Event, Any, None]:
        self.seen = {}
        for device in world.devices[:1]:
            method = Method(scaled_training, (world.initial.state,), {"share": self.share})
            trained: Model = yield device.train(world.initial, method=method)
            half: Model = yield device.derive(
                [trained], halved, trained.architecture, flops=5e5, scored=[device.samples()]
            )
            biases = tuple(spec for spec in layout(half.architecture) if spec.name.endswith("bias"))
            sent: Patch = yield device.upload(Patch(half, biases))
            merged: Model = yield world.cloud.derive([sent.model], halved, half.architecture)
            yield device.download(merged)
            yield device.deploy(merged)
            self.seen = {"trained": trained, "half": half, "sent": sent, "biases": biases}


def run() -> tuple[OwnArithmetic, dict[str, Any]]:
    learner = OwnArithmetic(OwnArithmetic.Params())
    return learner, run_tiny(learner)


def test_a_learner_may_train_its_own_way_at_the_cost_of_training() -> None:
    learner, tables = run()
    jobs = tables["computations"]
    (row,) = jobs[jobs["kind"] == "train"].to_dict("records")
    assert row["output_model_id"] == learner.seen["trained"].id
    assert row["flops"] > 0
    trained = learner.seen["trained"].state.value()
    # With share 1 it goes all the way back to where it started.
    assert all(torch.allclose(trained[name], tensor) for name, tensor in _initial(learner).items())


def _initial(learner: OwnArithmetic) -> State:
    half = learner.seen["half"].state.value()
    return {name: tensor * 2 for name, tensor in half.items()}


def test_a_derived_model_descends_from_its_sources_and_from_what_was_scored() -> None:
    learner, tables = run()
    half = learner.seen["half"]
    device = half.id.partition("/")[0]
    assert half.lineage.phase_of(device) == learner.seen["trained"].lineage.phase_of(device)
    jobs = tables["computations"]
    (row,) = jobs[(jobs["kind"] == "derive") & (jobs["node"] == device)].to_dict("records")
    assert (row["input_model_ids"], row["output_model_id"], row["flops"]) == (
        learner.seen["trained"].id,
        half.id,
        5e5,
    )


def test_a_patch_weighs_its_tensors_and_brings_the_whole_model() -> None:
    learner, tables = run()
    up = tables["transfers"][tables["transfers"]["direction"] == "up"].to_dict("records")
    (row,) = up
    assert row["kind"] == "weights"
    assert row["model_id"] == learner.seen["half"].id
    assert row["size_bytes"] == payload_bytes(learner.seen["biases"]) < weight_bytes(learner.seen["half"].architecture)
    assert not unexplained(tables)


def test_the_codec_packs_patches_too() -> None:
    learner = OwnArithmetic(OwnArithmetic.Params())
    tables = run_tiny(learner, tiny_scenario(training={"codec": "fp16"}))
    (row,) = tables["transfers"][tables["transfers"]["direction"] == "up"].to_dict("records")
    assert row["size_bytes"] == payload_bytes(learner.seen["biases"], "fp16")
    whole, arrived = learner.seen["half"].state.value(), learner.seen["sent"].model.state.value()
    for name, tensor in whole.items():  # what did not travel is what it was
        assert torch.equal(arrived[name], tensor.half().float() if name.endswith("bias") else tensor)


def test_such_a_learner_keeps_the_contract() -> None:
    check_learner(_Tolerant)


class _Tolerant(OwnArithmetic):
    def run(self, world: World) -> Generator[Event, Any, None]:
        from edgesim import VerbFailure

        try:
            yield from super().run(world)
        except VerbFailure:
            return
