"""Names of what happens in a world: each once, whether it counts or has a tag."""

import pytest

from edgesim.world.names import Names


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
