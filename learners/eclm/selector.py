"""The unified selector: looks at the raw sample once and decides for all module layers at once (Nebula, 4.2).

A small embedding network, and one fully connected head a layer with a softmax over that layer's modules. It needs no
module, so it can run alone on a device to score modules.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

NOISE_FLOOR = 1e-2
"""Least standard deviation of the gating noise (``noise_epsilon`` of the usual implementations of Shazeer 2017)."""

_HEAD_STD = 0.01  # heads start near zero: at first all modules are as good


class Selector(nn.Module):
    """Embeds a sample and gives one logit a module, all layers side by side.

    Parameters
    ----------
    input_shape
        Of a sample, without the batch.
    modules
        How many modules each layer has.
    embedding
        Width of the embedding, at least 4.
    images
        Look at samples of three dimensions with convolutions.
    noisy
        Hold the head of the gating noise, which only training in the cloud uses.
    """

    def __init__(
        self, input_shape: Sequence[int], modules: Sequence[int], *, embedding: int, images: bool, noisy: bool
    ) -> None:
        super().__init__()
        self.modules_per_layer = tuple(modules)
        if images and len(input_shape) == 3:
            self.embed = _image_embedding(input_shape, embedding)
        else:
            self.embed = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(input_shape), embedding), nn.ReLU())
        self.heads = nn.Linear(embedding, sum(modules))
        nn.init.normal_(self.heads.weight, 0, _HEAD_STD)
        nn.init.zeros_(self.heads.bias)
        self.noise = nn.Linear(embedding, sum(modules), bias=False) if noisy else None
        if self.noise is not None:
            nn.init.zeros_(self.noise.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of all modules, layer by layer. (batch, modules)"""
        return self.heads(self.embed(x))  # type: ignore[no-any-return]  # torch: a module's call is Any

    def with_noise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits without noise, and the standard deviation of the noise. (batch, modules) each"""
        embedded = self.embed(x)
        if self.noise is None:
            raise ValueError("this selector holds no noise head")
        return self.heads(embedded), functional.softplus(self.noise(embedded)) + NOISE_FLOOR

    def by_layer(self, values: Tensor) -> tuple[Tensor, ...]:
        """Cut (batch, modules) into (batch, modules of the layer), one a layer."""
        return torch.split(values, list(self.modules_per_layer), dim=1)

    def freeze(self) -> None:
        """Make all parameters buffers: part of the state, but nothing that training changes."""
        for module in list(self.modules()):
            for name, parameter in list(module.named_parameters(recurse=False)):
                delattr(module, name)
                module.register_buffer(name, parameter.detach())
        for parent in list(self.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.BatchNorm2d):
                    setattr(parent, name, _FixedNorm(child))


class _FixedNorm(nn.Module):
    """A batch norm by its running statistics, whatever the mode; nothing in it is trained."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.eps = norm.eps
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        return functional.batch_norm(
            x, mean, variance, self.get_buffer("weight"), self.get_buffer("bias"), eps=self.eps
        )


def _image_embedding(input_shape: Sequence[int], width: int) -> nn.Sequential:
    """Three convolutions of a quarter, half and all of the width, each halving images larger than 4x4."""
    layers: list[nn.Module] = []
    channels, side = input_shape[0], min(input_shape[1:])
    for wide in (width // 4, width // 2, width):
        stride = 2 if side > 4 else 1
        layers += [
            nn.Conv2d(channels, wide, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
        ]
        channels, side = wide, -(-side // stride)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def top_k_gates(logits: Tensor, k: int) -> Tensor:
    """Weights of the ``k`` best modules, renormalised over them; the others get 0.

    ``softmax(KeepTopK(logits, k))`` of Shazeer et al. 2017. With fewer than ``k`` modules all are active.

    Parameters
    ----------
    logits
        Of the modules that are there; leaving a column out is masking its module with minus infinity.
        (batch, module)
    k
        At least 1.

    Returns
    -------
    Tensor
        At least 0, each row sums to 1. (batch, module)
    """
    if k >= logits.shape[1]:
        return logits.softmax(1)
    best, places = logits.topk(k, dim=1)
    return torch.zeros_like(logits).scatter(1, places, best.softmax(1))
