"""Models of a user's own, for the keys that name a function."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn


def sized(input_shape: Sequence[int], classes: int, width: int) -> nn.Module:
    """One hidden layer of this width."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), width), nn.ReLU(), nn.Linear(width, classes))


def narrow(input_shape: Sequence[int], classes: int) -> nn.Module:
    """Two hidden units."""
    return sized(input_shape, classes, 2)


def wide(input_shape: Sequence[int], classes: int) -> nn.Module:
    """Twelve hidden units."""
    return sized(input_shape, classes, 12)
