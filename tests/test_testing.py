"""The conformance suite finds what it says it finds: each of these learners breaks one promise."""

import random
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
import torch

from edgesim import Event, Learner, World
from edgesim.testing import check_learner, tiny_scenario


class DrawsFromThePythonGenerator(Learner):
    def run(self, world: World) -> Generator[Event, Any, None]:
        yield world.sleep(1.0 + random.random())


class DrawsFromTheNumpyGenerator(Learner):
    def run(self, world: World) -> Generator[Event, Any, None]:
        np.random.random()  # noqa: NPY002 - the mistake under test
        yield world.sleep(1.0)


class DrawsFromTheTorchGenerator(Learner):
    def run(self, world: World) -> Generator[Event, Any, None]:
        torch.rand(1)
        yield world.sleep(1.0)


class SleepsDifferentlyEachTime(Learner):
    runs = 0

    def run(self, world: World) -> Generator[Event, Any, None]:
        SleepsDifferentlyEachTime.runs += 1
        yield world.sleep(float(SleepsDifferentlyEachTime.runs))
        yield world.devices[0].train(world.initial)


class DeploysWhatWasNeverSent(Learner):
    def run(self, world: World) -> Generator[Event, Any, None]:
        model = yield world.cloud.train(world.initial, [])
        yield world.devices[0].deploy(model)


class TrainsOnDataThatWasNeverSent(Learner):
    def run(self, world: World) -> Generator[Event, Any, None]:
        yield world.cloud.train(world.initial, [world.devices[0].samples()])


class AveragesModelsThatWereNeverSent(Learner):
    def run(self, world: World) -> Generator[Event, Any, None]:
        models = yield world.gather(device.train(world.initial) for device in world.devices)
        if len(models):
            yield world.cloud.average(models)


class WaitsForDriftSecretly(Learner):
    def run(self, world: World) -> Generator[Event, Any, None]:
        yield world.devices[0].wait_for_drift()


class DiesWhenADeviceIsGone(Learner):
    def run(self, world: World) -> Generator[Event, Any, None]:
        while True:
            for device in world.devices:
                yield device.upload(device.samples())
            yield world.sleep(10.0)


class DiesWithoutMemory(Learner):
    def run(self, world: World) -> Generator[Event, Any, None]:
        yield world.devices[-1].train(world.initial)


class ReadsValuesSecretly(Learner):
    def run(self, world: World) -> Generator[Event, Any, None]:
        model = yield world.devices[0].train(world.initial)
        model.state.value()


@pytest.mark.parametrize(
    ("learner", "promise"),
    [
        (DrawsFromThePythonGenerator, "global random generator"),
        (DrawsFromTheNumpyGenerator, "global random generator"),
        (DrawsFromTheTorchGenerator, "global random generator"),
        (SleepsDifferentlyEachTime, "two runs of one seed differ in computations"),
        (DeploysWhatWasNeverSent, "near-0 serves 'cloud/train/1', which was neither made there nor sent there"),
        (TrainsOnDataThatWasNeverSent, "cloud/train/1 reads samples of near-0, which were never sent"),
        (AveragesModelsThatWereNeverSent, "cloud/average/1 uses 'near-0/train/1', which was neither made on cloud"),
        (WaitsForDriftSecretly, "its `oracle` must say so"),
        (DiesWhenADeviceIsGone, "does not survive devices that vanish"),
        (DiesWithoutMemory, "does not survive no memory"),
        (ReadsValuesSecretly, "needs_values is not declared"),
    ],
)
def test_a_broken_promise_is_found(learner: type[Learner], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise.replace("(", r"\(")):
        check_learner(learner)


def test_a_tiny_scenario_can_be_changed() -> None:
    assert tiny_scenario(horizon="5 min", drifts=[]).horizon == 300.0
