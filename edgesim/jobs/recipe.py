"""What training from scratch wants and adapting to a few samples rarely does: a step size that falls, varied images.

Used where the cloud trains before the start, by every learner alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

Schedule = Literal["constant", "cosine"]
"""How the step size goes: as it is, or down to 0 along half a cosine (Loshchilov and Hutter 2017, without restarts)."""

Augmentation = Literal["crop", "flip"]
"""How images are varied: shifted by up to an eighth of their side over a border of zeros, or mirrored left to right
with probability one half (He et al. 2016, section 4.2: 4 pixels of 32)."""

CROP_SHARE = 8
"""An image is shifted by at most its side over this."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a long training goes besides its optimizer.

    Attributes
    ----------
    schedule
        Of the step size.
    augment
        How images are varied anew at each step, in this order; nothing that is no image can be.
    """

    schedule: Schedule = "constant"
    augment: tuple[Augmentation, ...] = ()

    def __post_init__(self) -> None:
        if unknown := {self.schedule, *self.augment} - {*get_args(Schedule), *get_args(Augmentation)}:
            raise ValueError(f"no schedule and no augmentation is called {', '.join(sorted(unknown))}")

    @property
    def key(self) -> str:
        """Text that differs between different recipes."""
        return "/".join((self.schedule, *self.augment))

    def pace(self, step: int, steps: int) -> float:
        """The step size over the first one, at a step from 0 of so many.

        Examples
        --------
        >>> Recipe().pace(3, 4), Recipe("cosine").pace(0, 4), round(Recipe("cosine").pace(2, 4), 6)
        (1.0, 1.0, 0.5)
        """
        return 1.0 if self.schedule == "constant" else (1 + cos(pi * step / steps)) / 2

    def varied(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Samples of a batch, each varied on its own; the same samples where nothing is to be varied.

        Parameters
        ----------
        x
            (sample, channel, height, width), or any shape where nothing is varied. Not changed.
        random
            Where the draws come from, on the CPU.
        """
        if self.augment and x.dim() != 4:
            raise ValueError(f"only images can be varied, not samples of shape {tuple(x.shape[1:])}")
        for how in self.augment:
            x = _VARIATIONS[how](x, random)
        return x


PLAIN = Recipe()
"""Constant steps on the samples as they are."""


def _flipped(x: Tensor, random: torch.Generator) -> Tensor:
    mirrored = (torch.rand(x.shape[0], generator=random) < 0.5).to(x.device)
    return torch.where(mirrored[:, None, None, None], x.flip(3), x)


def _cropped(x: Tensor, random: torch.Generator) -> Tensor:
    samples, channels, height, width = x.shape
    up, left = height // CROP_SHARE, width // CROP_SHARE
    bordered = functional.pad(x, (left, left, up, up))
    top = torch.randint(0, 2 * up + 1, (samples, 1), generator=random) + torch.arange(height)
    first = torch.randint(0, 2 * left + 1, (samples, 1), generator=random) + torch.arange(width)
    sample, channel = torch.arange(samples)[:, None, None, None], torch.arange(channels)[None, :, None, None]
    places = (sample, channel, top[:, None, :, None], first[:, None, None, :])
    return bordered[tuple(place.to(x.device) for place in places)]


_VARIATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {"crop": _cropped, "flip": _flipped}
