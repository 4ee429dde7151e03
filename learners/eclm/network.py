"""A network whose blocks are module layers under one selector, and the factories that make it an ``Architecture``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from edgesim.models import Architecture, build, instantiate

from .architectures import Selecting
from .blocks import Block, find_blocks
from .layers import ModuleLayer
from .placing import put
from .selector import Selector, top_k_gates


class ModularNetwork(nn.Module):
    """A network with module layers: the selector looks at the raw sample and sets the gates of all layers.

    Parameters
    ----------
    network
        With module layers in place.
    layers
        Their paths, in the order in which they are called.
    selector
        Decides for all of them.
    k
        Active modules per sample and layer, at least 1.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str], selector: Selector, k: int) -> None:
        super().__init__()
        self.network = network
        self.selector = selector
        self.k = k
        self.paths = tuple(layers)

    @property
    def layers(self) -> list[ModuleLayer]:
        """The module layers, in order."""
        found = [self.network.get_submodule(path) for path in self.paths]
        return [layer for layer in found if isinstance(layer, ModuleLayer)]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits. (batch, class)"""
        return self.run(x, self.selector(x))

    def run(self, x: Tensor, scores: Tensor) -> Tensor:
        """Return logits where the selector says ``scores``, noise included. (batch, modules)"""
        layers = self.layers
        for layer, of_layer in zip(layers, self.selector.by_layer(scores), strict=True):
            layer.gates = top_k_gates(of_layer.index_select(1, layer.held), self.k)
        if x.dim() == 4:  # convolutions in many small groups are two to three times as fast in this layout on CPUs
            x = x.contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.network(x)
        for layer in layers:
            del layer.gates  # nothing of this batch stays
        return logits


@lru_cache(maxsize=64)
def blocks_of(base: Architecture) -> tuple[Block, ...]:
    """The repeated blocks of a network; see ``find_blocks``."""
    return find_blocks(build(base), base.input_shape)


def base_of(architecture: Architecture) -> Architecture:
    """The network that a modular network was made from."""
    options: dict[str, Any] = dict(architecture.options)
    return Architecture(
        options["base"],
        options["base_options"],
        architecture.input_shape,
        architecture.classes,
        options["allow_code"],
    )


def modular(
    *,
    base: str,
    base_options: tuple[tuple[str, object], ...],
    base_key: str,
    allow_code: bool,
    blocks: tuple[int, ...],
    modules: int,
    shrunk: tuple[int, ...],
    bypass: tuple[bool, ...],
    ratio: float,
    min_width: int,
    k: int,
    embedding: int,
    selecting: Selecting,
    charge: str,
    input_shape: tuple[int, ...],
    classes: int,
) -> ModularNetwork:
    """Make the modular form of a network; see ``architectures.modularise``.

    ``base_key`` is not read: with it, editing a user's own network gives another key.
    """
    of_base = Architecture(base, base_options, input_shape, classes, allow_code)  # type: ignore[arg-type]
    # Drawn from the seed that the caller has set: what lies outside of module layers starts as it does in the base.
    network = instantiate(of_base, torch.initial_seed())
    charged = k if charge == "active" else None
    paths = []
    for place, count, has_bypass in zip(blocks, shrunk, bypass, strict=True):
        block = blocks_of(of_base)[place]
        layer = ModuleLayer(block, shrunk=count, bypass=has_bypass, ratio=ratio, min_width=min_width, charged=charged)
        put(network, block, layer)
        paths.append(block.path)
    selector = _selector(of_base, (modules,) * len(blocks), embedding, noisy=selecting == "cloud")
    if selecting == "frozen":
        selector.freeze()
    return ModularNetwork(network, paths, selector, k)


def selector_alone(
    *,
    base: str,
    base_options: tuple[tuple[str, object], ...],
    base_key: str,
    base_classes: int,
    allow_code: bool,
    modules_per_layer: tuple[int, ...],
    embedding: int,
    input_shape: tuple[int, ...],
    classes: int,
) -> Selector:
    """Make the selector of a modular network; see ``architectures.selector_alone``."""
    of_base = Architecture(base, base_options, input_shape, base_classes, allow_code)  # type: ignore[arg-type]
    selector = _selector(of_base, modules_per_layer, embedding, noisy=False)
    selector.freeze()
    return selector


def _selector(base: Architecture, modules_per_layer: Sequence[int], embedding: int, *, noisy: bool) -> Selector:
    convolutions = any(isinstance(unit.layer, nn.Conv2d) for block in blocks_of(base) for unit in block.units)
    return Selector(base.input_shape, modules_per_layer, embedding=embedding, images=convolutions, noisy=noisy)
