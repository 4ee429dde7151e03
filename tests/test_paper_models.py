"""Networks that the papers' cells bring along."""

from __future__ import annotations

import pytest
import torch
from paper_models import mobilenet_v2
from paper_page import Task

from edgesim.vision import vision

HALF = (0.5, 0.5, 0.5)


def test_a_network_for_small_images_takes_torchvisions_weights() -> None:
    theirs = vision("models").mobilenet_v2(weights=None, num_classes=10).state_dict()
    ours = mobilenet_v2((3, 32, 32), 10, mean=HALF, std=HALF).state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {
        name: tensor.shape for name, tensor in theirs.items()
    }


def test_an_image_of_32_pixels_is_2_by_2_at_the_end() -> None:
    module = mobilenet_v2((3, 32, 32), 10, mean=HALF, std=HALF)
    assert module.features(torch.zeros(2, 3, 32, 32)).shape == (2, 1280, 2, 2)  # type: ignore[operator]


def test_inputs_are_scaled_before_the_first_layer() -> None:
    plain = mobilenet_v2((3, 32, 32), 10, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)).eval()
    scaled = mobilenet_v2((3, 32, 32), 10, mean=(0.5, 0.4, 0.3), std=(0.5, 0.25, 0.2)).eval()
    scaled.load_state_dict(plain.state_dict())
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.5, 0.25, 0.2]).view(3, 1, 1)
    assert torch.allclose(scaled(x), plain((x - mean) / std))


def test_images_of_other_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="images of 3 channels"):
        mobilenet_v2((1, 28, 28), 10, mean=HALF, std=HALF)


def test_the_command_of_a_cell_with_a_network_of_its_own_lets_it_run() -> None:
    told = Task("ecavg_cifar10_imagenet", "", "ecavg", 0, full=False).command()
    assert told.startswith("PYTHONPATH=benchmarks edgesim run scenarios/papers/ecavg_cifar10.yaml --seeds 0 ")
    assert told.endswith(" --allow-code")
    assert Task("ecavg_cifar10", "", "ecavg", 0, full=False).command().startswith("edgesim run ")
