"""A backbone with branches: each does what a block does, with fewer channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgesim.models import Architecture, instantiate

from ..eclm.blocks import Block
from ..eclm.layers import ModuleLayer
from ..eclm.main_path import Unit
from ..eclm.network import blocks_of
from ..eclm.placing import put
from .architectures import Branching, Choice


class Branch(nn.Module):
    """What can take a block's place: layers like its own, beside a shortcut.

    Parameters
    ----------
    block
        Whose input and output it has.
    ratio
        Hidden width over the block's.
    min_width
        Fewest hidden channels.
    """

    def __init__(self, block: Block, ratio: float, min_width: int) -> None:
        super().__init__()
        self.layer = ModuleLayer(block, shrunk=1, bypass=True, ratio=ratio, min_width=min_width)

    def forward(self, x: Tensor) -> Tensor:
        """Take what the block takes, return what it returns."""
        self.layer.gates = x.new_ones(len(x), 2)
        out: Tensor = self.layer(x)
        del self.layer.gates
        return out


def branches_of(block: Block, branching: Branching) -> list[Branch]:
    """The branches beside a block: copies of each ratio, then the short one where the block has more than two layers.

    What lies in between is left out, so it must not change the shape.
    """
    grown = [Branch(block, ratio, branching.min_width) for ratio in branching.ratios]
    inner = block.units[1:-1]
    if branching.short and inner and not any(_changes_shape(unit) for unit in inner):
        short = replace(block, units=(block.units[0], block.units[-1]), skips=())
        grown.append(Branch(short, 1.0, branching.min_width))
    return grown


def _changes_shape(unit: Unit) -> bool:
    pools = any(isinstance(layer, nn.MaxPool2d | nn.AvgPool2d | nn.Flatten) for layer in unit.after)
    return pools or (isinstance(unit.layer, nn.Conv2d) and max(unit.layer.stride) > 1)


class Supernet(nn.Module):
    """A frozen backbone, and branches that learn to do what its blocks do.

    In training mode a forward pass also runs all branches: that is what a step of their training costs.
    """

    def __init__(self, backbone: nn.Module, blocks: Sequence[Block], branching: Branching) -> None:
        super().__init__()
        self.backbone = backbone
        _freeze(backbone)
        self.branches = nn.ModuleList(nn.ModuleList(branches_of(block, branching)) for block in blocks)
        self._seen: dict[tuple[int, str], Tensor] = {}
        self._taken: Choice | None = None
        for place, block in enumerate(blocks):
            parent = backbone.get_submodule(block.parent)
            parent.get_submodule(block.children[0]).register_forward_pre_hook(self._entering(place))
            parent.get_submodule(block.children[-1]).register_forward_hook(self._leaving(place))

    def forward(self, x: Tensor) -> Tensor:
        """Return the backbone's logits. (batch, class)"""
        logits = self._run(x)
        if self.training:
            self._distance()
        self._seen.clear()
        return logits

    def distance(self, x: Tensor) -> Tensor:
        """How far branches are from their blocks, each fed with what its block is fed with: the mean over branches of
        the squared error over the variance of the block's output."""
        self._run(x)
        apart = self._distance()
        self._seen.clear()
        return apart

    def along(self, x: Tensor, choice: Choice) -> Tensor:
        """Return the logits of a path: branches take their blocks' places, the rest is the frozen backbone's."""
        self.backbone.eval()
        self._taken = choice
        try:
            logits: Tensor = self.backbone(x)
        finally:
            self._taken = None
            self._seen.clear()
        return logits

    def _run(self, x: Tensor) -> Tensor:
        self.backbone.eval()
        with torch.no_grad():
            logits: Tensor = self.backbone(x)
        return logits

    def _distance(self) -> Tensor:
        apart = []
        for place, branches in enumerate(self.branches):
            assert isinstance(branches, nn.ModuleList)
            given, wanted = self._seen[place, "in"], self._seen[place, "out"]
            scale = wanted.var() + 1e-6
            apart += [functional.mse_loss(branch(given), wanted) / scale for branch in branches]
        return torch.stack(apart).mean()

    def _entering(self, place: int) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, inputs: Any) -> None:
            self._seen[place, "in"] = inputs[0].clone()  # a block may change what it is given

        return hook

    def _leaving(self, place: int) -> Callable[[nn.Module, Any, Any], Tensor | None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> Tensor | None:
            if self._taken is None:
                self._seen[place, "out"] = output.clone()
                return None
            if not (chosen := self._taken[place]):
                return None
            branches = self.branches[place]
            assert isinstance(branches, nn.ModuleList)
            replaced: Tensor = branches[chosen - 1](self._seen[place, "in"])
            return replaced

        return hook


def supernet(
    *,
    base: str,
    base_options: tuple[tuple[str, object], ...],
    base_key: str,
    allow_code: bool,
    ratios: tuple[float, ...],
    short: bool,
    min_width: int,
    input_shape: tuple[int, ...],
    classes: int,
) -> Supernet:
    """Make the supernet of a network; see ``architectures.supernet_of``."""
    of_base = Architecture(base, base_options, input_shape, classes, allow_code)  # type: ignore[arg-type]
    branching = Branching(ratios, short, min_width)
    return Supernet(instantiate(of_base, torch.initial_seed()), blocks_of(of_base), branching)


def path(
    *,
    base: str,
    base_options: tuple[tuple[str, object], ...],
    base_key: str,
    allow_code: bool,
    ratios: tuple[float, ...],
    short: bool,
    min_width: int,
    choice: Choice,
    input_shape: tuple[int, ...],
    classes: int,
) -> nn.Module:
    """Make a path through a supernet; see ``architectures.path_of``."""
    of_base = Architecture(base, base_options, input_shape, classes, allow_code)  # type: ignore[arg-type]
    network = instantiate(of_base, torch.initial_seed())
    for block, chosen in zip(blocks_of(of_base), choice, strict=True):
        if chosen:
            put(network, block, branches_of(block, Branching(ratios, short, min_width))[chosen - 1])
    return network


@lru_cache(maxsize=64)
def branch_counts(base: Architecture, branching: Branching) -> tuple[int, ...]:
    """How many branches grow beside each block of a network."""
    with torch.device("meta"):
        return tuple(len(branches_of(block, branching)) for block in blocks_of(base))


def _freeze(module: nn.Module) -> None:
    """Make all parameters buffers: part of the state, but nothing that training changes."""
    for layer in list(module.modules()):
        for name, parameter in list(layer.named_parameters(recurse=False)):
            delattr(layer, name)
            layer.register_buffer(name, parameter.detach())
