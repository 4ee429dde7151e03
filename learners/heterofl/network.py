"""Narrow networks: the first part of every layer's channels, nested in one another.

A network of rate r has the first ``ceil(r C)`` of every layer's C channels. Its state has the names of the full one's,
so a narrow state is a slice of the full one. Activations are divided by the rate (the Scaler of the paper): in
training, as in the authors' code, and in serving too, which narrow networks never do there, so that one serves as it
was trained. Batch norms are static: in training they use the batch's statistics and leave the running ones alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgesim import UserError
from edgesim.models import Architecture, State, build, instantiate, layout

FACTORY = "learners.heterofl.network:narrow"


def narrowed(base: Architecture, rate: float) -> Architecture:
    """The network of ``rate``, more than 0 and at most 1, nested in ``base``."""
    if not 0 < rate <= 1:
        raise ValueError(f"a rate is more than 0 and at most 1, not {rate}")
    options: dict[str, Any] = {
        "base": base.name,
        "base_options": base.options,
        "base_key": base.key,
        "allow_code": base.allow_code,
        "rate": float(rate),
    }
    return Architecture(FACTORY, tuple(sorted(options.items())), base.input_shape, base.classes, allow_code=True)


def slices(architecture: Architecture) -> dict[str, tuple[slice, ...]]:
    """Where each tensor of a narrow network is in that of the full one."""
    return {spec.name: tuple(slice(size) for size in spec.shape) for spec in layout(architecture)}


def sliced(state: State, architecture: Architecture) -> State:
    """The narrow network's part of wider weights."""
    return {name: state[name][where].clone() for name, where in slices(architecture).items()}


def head_of(base: Architecture) -> str:
    """The path of the last layer: its rows are the classes."""
    return _shapes(base, 1.0).head


def narrow(
    *,
    base: str,
    base_options: tuple[tuple[str, object], ...],
    base_key: str,
    allow_code: bool,
    rate: float,
    input_shape: tuple[int, ...],
    classes: int,
) -> nn.Module:
    """Make the network of a rate; see ``narrowed``. ``base_key`` tells versions of a user's own network apart."""
    of_base = Architecture(base, base_options, input_shape, classes, allow_code)  # type: ignore[arg-type]
    network = instantiate(of_base, torch.initial_seed())
    plan = _shapes(of_base, rate)
    for path, layer in network.named_modules():
        for name, tensor in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
            shape = plan.shapes.get(f"{path}.{name}" if path else name)
            if shape is not None and shape != tuple(tensor.shape):
                part = tensor.detach()[tuple(slice(size) for size in shape)].clone()
                setattr(layer, name, nn.Parameter(part) if isinstance(tensor, nn.Parameter) else part)
        if isinstance(layer, nn.Conv2d) and path in plan.groups:
            layer.groups = plan.groups[path]
        if isinstance(layer, _BatchNorm):
            layer.momentum = 0.0
        if isinstance(layer, nn.Conv2d | nn.Linear) and rate < 1 and path != plan.head:
            layer.register_forward_hook(_Scaler(rate))
    return network


class _Scaler:
    """Divides what a layer puts out by the rate: as large as that of the full width."""

    def __init__(self, rate: float) -> None:
        self._rate = rate

    def __call__(self, layer: nn.Module, inputs: object, output: Tensor) -> Tensor:
        return output / self._rate


@dataclass(frozen=True, slots=True)
class _Plan:
    shapes: dict[str, tuple[int, ...]]
    groups: dict[str, int]
    head: str


@lru_cache(maxsize=64)
def _shapes(base: Architecture, rate: float) -> _Plan:
    """Shapes of all tensors at a rate, found by making each layer narrow just before it is called.

    What comes in is then narrow already, whatever the network does between its layers.
    """
    network = build(base)
    paths = {layer: path for path, layer in network.named_modules()}
    x = torch.empty(2, *base.input_shape, device="meta")
    head = _last_layer(network, paths, x)
    groups: dict[str, int] = {}

    def make_narrow(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        incoming = inputs[0].shape[-1] if isinstance(layer, nn.Linear) else inputs[0].shape[1]
        if isinstance(layer, _BatchNorm):
            for name, tensor in [*layer.named_parameters(), *layer.named_buffers()]:
                if tensor.dim():
                    _resize(layer, name, (incoming,))
            return
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        wide = layer.weight.shape[0]
        outgoing = wide if paths[layer] == head else math.ceil(rate * wide)
        per_group = incoming
        if isinstance(layer, nn.Conv2d) and layer.groups > 1:
            if layer.groups != layer.in_channels:
                raise UserError(f"{paths[layer]}: HeteroFL does not narrow grouped convolutions that are not depthwise")
            groups[paths[layer]] = layer.groups = incoming
            per_group, outgoing = 1, incoming * (wide // layer.in_channels)
        _resize(layer, "weight", (outgoing, per_group, *layer.weight.shape[2:]))
        if layer.bias is not None:
            _resize(layer, "bias", (outgoing,))

    for path, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | _BatchNorm):
            layer.register_forward_pre_hook(make_narrow)
        elif next(layer.parameters(recurse=False), None) is not None:
            raise UserError(f"{path or base}: HeteroFL does not narrow {type(layer).__name__}")
    try:
        with torch.no_grad():
            network(x)
    except RuntimeError as error:
        raise UserError(f"{base} cannot be made narrow: {error}") from error
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    return _Plan(shapes, groups, head)


def _last_layer(network: nn.Module, paths: dict[nn.Module, str], x: Tensor) -> str:
    called: list[str] = []
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, output: called.append(paths[layer]))
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    return called[-1]


def _resize(layer: nn.Module, name: str, shape: tuple[int, ...]) -> None:
    empty = torch.empty(shape, device="meta")
    if name in dict(layer.named_parameters(recurse=False)):
        setattr(layer, name, nn.Parameter(empty))
    else:
        setattr(layer, name, empty)
