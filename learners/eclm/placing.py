"""Puts a layer in the place of a block, so that whoever calls the block's children calls the layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import Block


def put(network: nn.Module, block: Block, layer: nn.Module) -> None:
    """Let a layer take the place of a block's children; it comes to stand at ``block.path``.

    It is called in the place of the first child, and the others hand its output on. Where the parent calls activations
    between the children, that would apply them to the output: there the last child's place calls the layer, on what
    came in at the first, and the activations are fed with zeros.
    """
    parent = network.get_submodule(block.parent)
    for name in block.children:
        setattr(parent, name, nn.Identity())
    if block.is_open:
        entrance = _Entrance()
        setattr(parent, block.children[0], entrance)
        setattr(parent, block.children[-1], _Exit(entrance, layer))
    else:
        setattr(parent, block.children[0], layer)


class _Entrance(nn.Module):
    """Keeps what comes in for the exit, and hands on one zero a sample."""

    kept: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.kept = x
        return torch.zeros(len(x), *[1] * (x.dim() - 1), dtype=x.dtype, device=x.device)


class _Exit(nn.Module):
    """Calls a layer on what came in at the entrance, whatever it is given itself."""

    def __init__(self, entrance: _Entrance, layer: nn.Module) -> None:
        super().__init__()
        self.entrance = entrance
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        given = self.entrance.kept
        del self.entrance.kept  # nothing of this batch stays
        return self.layer(given)  # type: ignore[no-any-return]  # torch: a module's call is Any
