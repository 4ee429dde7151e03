"""Networks of the papers' cells that are not edgesim's own; a scenario names them ``paper_models:NAME``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from edgesim.vision import vision

if TYPE_CHECKING:
    from torchvision.models import MobileNetV2
else:
    MobileNetV2 = vision("models").MobileNetV2

_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),  # torchvision: step 2
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Widening, channels, how many, and the first one's step."""


class SmallImages(MobileNetV2):  # type: ignore[misc]  # torchvision has no types
    """MobileNetV2 that halves images four times instead of five and scales its inputs itself.

    Weights have torchvision's names and shapes, so that a file of ImageNet's fits. An image of 32 pixels is 2 x 2 at
    the end, where torchvision's strides leave a single place.
    """

    def __init__(self, classes: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(num_classes=classes, inverted_residual_setting=[list(block) for block in _BLOCKS])
        self.mean, self.std = tuple(mean), tuple(std)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images whose values are 0 to 1."""
        mean, std = (torch.tensor(values, dtype=x.dtype, device=x.device) for values in (self.mean, self.std))
        logits: Tensor = super().forward((x - mean.view(-1, 1, 1)) / std.view(-1, 1, 1))
        return logits


def mobilenet_v2(
    input_shape: tuple[int, ...], classes: int, *, mean: Sequence[float], std: Sequence[float]
) -> nn.Module:
    """MobileNetV2 for small images; ``mean`` and ``std`` a channel are those of the inputs that its weights want."""
    if len(input_shape) != 3 or not input_shape[0] == len(mean) == len(std):
        raise ValueError(f"images of {len(mean)} channels, not samples of shape {input_shape}")
    return SmallImages(classes, mean, std)
