"""Recipes of long trainings: the step size falls, images are varied, results stay a function of the seed."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgesim.jobs.arithmetic import Recipe, initialise, train
from edgesim.jobs.keys import SEQUENTIAL
from edgesim.jobs.optimizers import optimizer
from edgesim.jobs.shapes import training_path
from edgesim.models import Architecture

IMAGES = torch.arange(6 * 2 * 16 * 8, dtype=torch.float32).reshape(6, 2, 16, 8) + 1  # no pixel is 0
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
NETWORK = Architecture.of("mlp", {"hidden": [6]}, input_shape=(2, 16, 8), classes=3)


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


@given(st.integers(1, 1000))
def test_a_cosine_falls_from_the_whole_step_size_to_nothing(steps):
    paces = [Recipe("cosine").pace(step, steps) for step in range(steps)]
    assert paces[0] == 1
    assert paces == sorted(paces, reverse=True)
    assert sum(paces) / steps == pytest.approx(0.5 + 0.5 / steps)  # the sum of the cosines over k/n is 1


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam"])
def test_half_the_pace_is_half_the_step_size(name):
    moved = []
    for learning_rate, pace in ((0.2, 0.5), (0.1, 1.0)):
        parameter = torch.ones(3)
        mover = optimizer(name, [parameter], learning_rate=learning_rate)
        mover.step([torch.tensor([1.0, -2.0, 3.0])], pace)
        moved.append(parameter)
    torch.testing.assert_close(*moved)


def test_a_mirrored_image_is_itself_or_its_mirror_and_both_happen():
    found = Recipe(augment=("flip",)).varied(IMAGES.repeat(20, 1, 1, 1), drawn())
    mirrored = [torch.equal(now, then.flip(2)) for now, then in zip(found, IMAGES.repeat(20, 1, 1, 1), strict=True)]
    kept = [torch.equal(now, then) for now, then in zip(found, IMAGES.repeat(20, 1, 1, 1), strict=True)]
    assert all(one != other for one, other in zip(mirrored, kept, strict=True))
    assert 40 < sum(mirrored) < 80


def test_a_shifted_image_shows_what_was_there_with_zeros_at_its_edge():
    found = Recipe(augment=("crop",)).varied(IMAGES.repeat(50, 1, 1, 1), drawn())
    seen = set()
    for now, then in zip(found, IMAGES.repeat(50, 1, 1, 1), strict=True):
        down, right = next(
            (down, right)
            for down in range(-2, 3)  # an eighth of 16
            for right in range(-1, 2)  # an eighth of 8
            if torch.equal(now, shifted(then, down, right))
        )
        seen.add((down, right))
    assert len(seen) == 5 * 3


def shifted(image, down, right):
    found = torch.zeros_like(image)
    height, width = image.shape[1:]
    rows, columns = range(max(0, down), min(height, height + down)), range(max(0, right), min(width, width + right))
    for row in rows:
        for column in columns:
            found[:, row, column] = image[:, row - down, column - right]
    return found


def test_what_is_no_image_is_not_varied():
    with pytest.raises(ValueError, match=r"only images.*\(5,\)"):
        Recipe(augment=("crop",)).varied(torch.ones(2, 5), drawn())


def test_an_unknown_recipe_is_refused():
    with pytest.raises(ValueError, match="rotate"):
        Recipe(augment=("rotate",))
    with pytest.raises(ValueError, match="linear"):
        Recipe("linear")


def trained(recipe, seed=1):
    start = initialise(architecture=NETWORK, seed=0)
    how = {"epochs": 2, "batch_size": 2, "learning_rate": 1e-4}
    told = {} if recipe is None else {"recipe": recipe}
    return train(start, (IMAGES, LABELS), architecture=NETWORK, **how, **told, seed=seed).state["1.weight"]


def test_a_plain_recipe_changes_no_bit_and_any_other_does():
    assert torch.equal(trained(None), trained(Recipe()))
    others = [Recipe("cosine"), Recipe(augment=("flip",)), Recipe(augment=("crop",)), Recipe("cosine", ("flip",))]
    found = [trained(recipe) for recipe in (Recipe(), *others)]
    assert all(not torch.equal(one, other) for place, one in enumerate(found) for other in found[:place])
    assert len({recipe.key for recipe in (Recipe(), *others)}) == 5


def test_the_same_seed_varies_in_the_same_way():
    both = Recipe("cosine", ("crop", "flip"))
    assert torch.equal(trained(both), trained(both))
    assert not torch.equal(trained(both), trained(both, seed=2))


def test_training_with_a_recipe_runs_alone():
    told = {"architecture": NETWORK, "batch_size": 2}
    assert training_path(told) != SEQUENTIAL
    assert training_path(told | {"recipe": Recipe("cosine")}) == SEQUENTIAL
