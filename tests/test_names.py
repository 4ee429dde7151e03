"""Names of what happens in a world, and before it: each once, whether it counts or has a tag."""

from collections.abc import Callable, Generator
from typing import Any

import pytest

from edgesim import Event, Learner, LearnerFailure, Model, Offline, World, job
from edgesim.testing import run_tiny
from edgesim.world.names import Names
from edgesim.world.training import Training


def test_names_without_a_tag_count() -> None:
    names = Names(0)
    assert [names.new("train", "camera-1", None) for _ in range(3)] == [f"camera-1/train/{n}" for n in (1, 2, 3)]
    assert names.new("train", "camera-2", None) == "camera-2/train/1"


@pytest.mark.parametrize("tag", [0, "0", "01", 4, "warm", "3/again"])
def test_a_tag_that_no_name_has_had_is_free(tag: str | int) -> None:
    names = Names(0)
    for _ in range(3):
        names.new("train", "camera-1", None)
    assert names.new("train", "camera-1", tag) == f"camera-1/train/{tag}"
    with pytest.raises(ValueError, match="is taken"):
        names.new("train", "camera-1", tag)


@pytest.mark.parametrize("tag", [1, "2", 3])
def test_a_tag_that_was_counted_is_taken(tag: str | int) -> None:
    names = Names(0)
    for _ in range(3):
        names.new("train", "camera-1", None)
    with pytest.raises(ValueError, match="is taken"):
        names.claim(f"camera-1/train/{tag}")


def test_counting_does_not_pass_over_a_tag_in_silence() -> None:
    names = Names(0)
    names.new("train", "camera-1", 1)
    with pytest.raises(ValueError, match="is taken"):
        names.new("train", "camera-1", None)


@job
def same(state: Any, *, seed: int) -> Any:
    """Give back what was given."""
    return state


@job
def seen(state: Any, view: Any, *, architecture: Any, seed: int) -> int:
    """Count samples."""
    return len(view)


class Prepares(Learner):
    """Makes something before the start, and nothing afterwards."""

    def __init__(self, make: Callable[[Offline], Model]) -> None:
        super().__init__(None)
        self.make = make

    def prepare(self, offline: Offline) -> Model:
        return self.make(offline)

    def run(self, world: World) -> Generator[Event, Any, None]:
        yield world.sleep(0.0)


def trained(offline: Offline, model: Model) -> Model:
    return offline.train(model, Training(), name="mine")


def derived(offline: Offline, model: Model) -> Model:
    return offline.derive([model], same, model.architecture, name="mine")


def scored(offline: Offline, model: Model) -> Model:
    offline.score(model, seen, name="mine")
    return model


@pytest.mark.parametrize("first", [trained, derived, scored])
@pytest.mark.parametrize("second", [trained, derived, scored])
def test_a_name_before_the_start_is_taken_once(
    first: Callable[[Offline, Model], Model], second: Callable[[Offline, Model], Model]
) -> None:
    def twice(offline: Offline) -> Model:
        return second(offline, first(offline, offline.untrained()))

    with pytest.raises(LearnerFailure, match="ValueError: the name 'mine' is taken"):
        run_tiny(Prepares(twice), timing_only=True)


def test_a_scenarios_pretraining_is_done_and_counted_once_however_often_it_is_asked_for() -> None:
    def pretrained(offline: Offline) -> Model:
        assert offline.pretrained() is offline.pretrained()
        assert [work.job_id for work in offline.work] == ["offline/pretrain/pretrained"]
        return offline.pretrained()

    run_tiny(Prepares(pretrained), timing_only=True)
