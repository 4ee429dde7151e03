"""A module layer: N substitute modules in the place of a block, of which any subset can be held.

Module 0 is the residual module, a bypass; the others are shrunk modules: the block's own layer sequence with fewer
hidden channels, input and output as they were (Nebula, section 4.1). All shrunk modules that are held are computed
together, as one block of n times the width cut into n groups, so a layer executes exactly the modules that it holds.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .blocks import Block
from .main_path import Unit

BYPASS = 0
"""The index of the residual module in every layer."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the modules of a layer are in one tensor of its state.

    Attributes
    ----------
    dim
        The dimension along which the held shrunk modules follow each other.
    width
        How many entries each has there.
    """

    dim: int
    width: int


class ModuleLayer(nn.Module):
    """``f(x) = sum_i g_i(x) f_i(x)`` over the held modules, then the block's last norm and activation.

    The last norm, bias and activation (and pooling) of the block come once, after the sum: they belong to the part
    that every sub-model has. Let ``gates`` be set before each call.

    Parameters
    ----------
    block
        What it takes the place of.
    shrunk
        How many shrunk modules are held, at least 0.
    bypass
        Whether the residual module is held.
    ratio
        Hidden width of a shrunk module over that of the block, more than 0.
    min_width
        But at least so many channels, or as many as the block has.
    charged
        Count FLOPs and memory as if so many shrunk modules were held; None for all that are. Changes nothing but what
        a network on the ``meta`` device does.

    Attributes
    ----------
    widths
        Hidden channels of one shrunk module, for each unit but the last.
    held
        Which modules these are, in ascending order: a buffer, so that it is part of the state and architectures of
        equal shape are equal. (held,)
    gates
        Weight of each held module for each sample of the batch to come. (batch, held)
    """

    held: Tensor
    gates: Tensor

    def __init__(
        self,
        block: Block,
        *,
        shrunk: int,
        bypass: bool,
        ratio: float,
        min_width: int,
        charged: int | None = None,
    ) -> None:
        super().__init__()
        if shrunk + bypass < 1:
            raise ValueError("a module layer holds at least one module")
        self.shrunk = shrunk
        self.register_buffer("held", torch.arange(shrunk + bypass) + (0 if bypass else 1))
        self.widths = widths = hidden_widths(block, ratio, min_width)
        units, last = block.units[:-1], block.units[-1]
        self.units = nn.ModuleList()
        if shrunk:
            incoming: int | None = None  # of one module; the first unit reads the block's own input
            for place, (unit, width) in enumerate(zip(units, widths, strict=True)):
                inside = incoming and _inputs(units[place - 1], unit, incoming)
                self.units.append(_Hidden(unit, inside, width, shrunk))
                incoming = width
            assert incoming is not None
            self.last = _last(last, _inputs(units[-1], last, incoming), shrunk)
        self.bypass = _bypass(block.input_shape, last) if bypass else None
        self._skips = {end: start for start, end in block.skips}
        self._starts = frozenset(start for start, _ in block.skips)
        self.norm = _norm(last.norm, last.width) if last.norm is not None else None
        self.bias = nn.Parameter(torch.zeros(last.width)) if last.layer.bias is not None else None
        self.after = nn.Sequential(*map(copy.deepcopy, last.after))
        self._less: ModuleLayer | None = None
        if charged is not None and charged < shrunk:
            with torch.device("meta"):
                less = ModuleLayer(block, shrunk=charged, bypass=bypass, ratio=ratio, min_width=min_width)
            object.__setattr__(self, "_less", less)  # not a part: it has no weights of its own

    def forward(self, x: Tensor) -> Tensor:
        """Take (batch, ...), return (batch, ...) of the shape of the block's output."""
        if self._less is not None and x.is_meta:
            return self._count_less(self._less, x)
        gates = self.gates  # (batch, held)
        out: Tensor | None = None
        if self.bypass is not None:
            bypassed = self.bypass(x)
            out = bypassed * _to_dims(gates[:, :1], bypassed.dim())
            gates = gates[:, 1:]
        if self.shrunk:
            hidden = x
            kept: dict[int, Tensor] = {}
            for place, unit in enumerate(self.units):
                if place in self._starts:
                    kept[place] = hidden
                hidden = unit(hidden, kept.get(self._skips[place]) if place in self._skips else None)
            # hidden: (batch, shrunk * width, ...); one product with `last` is the sum over the modules
            per_channel = gates.repeat_interleave(hidden.shape[1] // self.shrunk, dim=1)
            summed = self.last(hidden * _to_dims(per_channel, hidden.dim()))
            out = summed if out is None else out + summed
        assert out is not None
        if self.norm is not None:
            out = self.norm(out)
        if self.bias is not None:
            out = out + _to_dims(self.bias.unsqueeze(0), out.dim())
        return self.after(out)  # type: ignore[no-any-return]  # torch: a module's call is Any

    def _count_less(self, less: ModuleLayer, x: Tensor) -> Tensor:
        """Do on the ``meta`` device what a layer with fewer modules would, with the first modules' weights."""
        less.gates = self.gates[:, : less.shrunk + (self.bypass is not None)]
        mine = dict(self.named_parameters())
        fewer: dict[str, Tensor] = {}
        for name, parameter in less.named_parameters():
            view: Tensor = mine[name]
            for dim, size in enumerate(parameter.shape):
                view = view.narrow(dim, 0, size)
            fewer[name] = view
        return torch.func.functional_call(less, fewer, (x,))  # type: ignore[no-any-return]

    def slots(self) -> dict[str, Slot | None]:
        """Which tensors of the layer's state belong to modules, by name; None: to the residual module alone.

        What is not named belongs to every sub-model.
        """
        found: dict[str, Slot | None] = {}
        for name, _ in self.named_parameters():
            if name.startswith("bypass."):
                found[name] = None
        for name, _ in self.named_buffers():
            if name.startswith("bypass."):
                found[name] = None
        for place, unit in enumerate(self.units):
            assert isinstance(unit, _Hidden)
            for name, tensor in unit.state_dict().items():
                if tensor.dim():  # the count of batches is no module's own
                    found[f"units.{place}.{name}"] = Slot(0, unit.width)
        if self.shrunk:
            found["last.weight"] = Slot(1, self.last.weight.shape[1] // self.shrunk)
        return found


def hidden_widths(block: Block, ratio: float, min_width: int) -> tuple[int, ...]:
    """Hidden channels of a shrunk module, for each unit but the last.

    A depthwise convolution has as many as come in.
    """
    widths: list[int] = []
    for unit in block.units[:-1]:
        narrow = min(unit.width, max(min_width, round(unit.width * ratio)))
        widths.append(widths[-1] if unit.depthwise else narrow)
    for start, end in block.skips:  # what is added has one width
        widths[end] = widths[start - 1]
    return tuple(widths)


class _Hidden(nn.Module):
    """One unit of all held shrunk modules: a layer in groups, a norm, activations."""

    def __init__(self, unit: Unit, inputs: int | None, width: int, modules: int) -> None:
        super().__init__()
        self.width = width
        self.layer = _grouped(unit, inputs, width, modules)
        self.norm = _norm(unit.norm, width * modules) if unit.norm is not None else None
        self.after = nn.Sequential(*map(copy.deepcopy, unit.after))

    def forward(self, x: Tensor, shortcut: Tensor | None) -> Tensor:
        x = self.layer(x)
        if self.norm is not None:
            x = self.norm(x)
        if shortcut is not None:
            x = x + shortcut
        return self.after(x)  # type: ignore[no-any-return]  # torch: a module's call is Any


class _GroupedLinear(nn.Conv1d):
    """Fully connected within each of several groups of features."""

    def __init__(self, inputs: int, outputs: int, groups: int, bias: bool) -> None:
        super().__init__(inputs * groups, outputs * groups, 1, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:  # (batch, inputs)
        return super().forward(x.unsqueeze(-1)).squeeze(-1)


def _grouped(unit: Unit, inputs: int | None, width: int, modules: int) -> nn.Module:
    """The unit's layer for several modules at once; ``inputs`` is None where they all read the block's input."""
    layer = unit.layer
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        if inputs is None:
            return nn.Linear(layer.in_features, width * modules, bias=bias)
        return _GroupedLinear(inputs, width, modules, bias)
    groups = 1 if inputs is None else width * modules if unit.depthwise else modules
    incoming = layer.in_channels if inputs is None else inputs * modules
    return nn.Conv2d(
        incoming,
        width * modules,
        layer.kernel_size,  # type: ignore[arg-type]  # torch types it as a tuple of any length
        stride=layer.stride,  # type: ignore[arg-type]
        padding=layer.padding,  # type: ignore[arg-type]
        dilation=layer.dilation,  # type: ignore[arg-type]
        groups=groups,
        bias=bias,
    )


def _last(unit: Unit, inputs: int, modules: int) -> nn.Conv2d | nn.Linear:
    """The last layer of several modules and the sum over them, drawn as if each module stood alone."""
    layer = unit.layer
    made: nn.Conv2d | nn.Linear
    if isinstance(layer, nn.Linear):
        made = nn.Linear(inputs * modules, layer.out_features, bias=False)
    else:
        made = nn.Conv2d(
            inputs * modules,
            layer.out_channels,
            layer.kernel_size,  # type: ignore[arg-type]  # torch types it as a tuple of any length
            stride=layer.stride,  # type: ignore[arg-type]
            padding=layer.padding,  # type: ignore[arg-type]
            dilation=layer.dilation,  # type: ignore[arg-type]
            bias=False,
        )
    with torch.no_grad():
        for place in range(modules):
            part = made.weight[:, place * inputs : (place + 1) * inputs]
            nn.init.kaiming_uniform_(part, a=math.sqrt(5))  # torch's own rule for such layers
    return made


def _to_dims(rows: Tensor, dims: int) -> Tensor:
    """(batch, channel) as (batch, channel, 1, ...)."""
    return rows.reshape(*rows.shape, *[1] * (dims - 2))


def _inputs(before: Unit, unit: Unit, width: int) -> int:
    """Inputs of one module's layer when the layer before it has ``width`` channels; flattening multiplies them."""
    layer = unit.layer
    wide = layer.in_channels if isinstance(layer, nn.Conv2d) else layer.in_features
    return width * (wide // before.width)


def _norm(original: _BatchNorm, channels: int) -> _BatchNorm:
    return type(original)(channels, eps=original.eps, momentum=original.momentum, affine=original.affine)


def _bypass(input_shape: Sequence[int], last: Unit) -> nn.Module:
    """The residual module: the identity where shapes allow it, else average pooling and a projection."""
    out = last.output_shape
    if tuple(input_shape) == out:
        return nn.Identity()
    if len(out) == 1:
        flat = nn.Linear(math.prod(input_shape), out[0], bias=False)
        return flat if len(input_shape) == 1 else nn.Sequential(nn.Flatten(), flat)
    project = nn.Conv2d(input_shape[0], out[0], 1, bias=False) if input_shape[0] != out[0] else nn.Identity()
    if tuple(input_shape[1:]) == out[1:]:
        return project
    return nn.Sequential(nn.AdaptiveAvgPool2d(out[1:]), project)
