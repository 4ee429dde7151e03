"""The one door to torchvision."""

from edgesim.vision import vision


def test_torchvision_models_and_readers_can_be_had_whatever_build_is_installed():
    assert callable(vision("models").mobilenet_v2)
    assert callable(vision("datasets").MNIST)
    assert vision().__name__ == "torchvision"
