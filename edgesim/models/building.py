"""Makes networks from architectures: without storage to count on, or with weights drawn for a seed.

Initial weights are those that PyTorch or torchvision would draw, because it is their own code that draws
them: layers take no generator, so the global one is borrowed for the duration and given back
(``randomness``). Rules written anew per layer type would be wrong for every network with rules of its own:
half of torchvision's, and any user's.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UserError
from . import facts, networks
from .architecture import Architecture
from .randomness import seeded_globals

State = dict[str, Tensor]
"""Parameters and persistent buffers by name, as in ``state_dict()``; tied tensors once, under their first
name."""


def build(architecture: Architecture) -> nn.Module:
    """Build the network on the ``meta`` device: shapes, no numbers, no memory.

    Raises
    ------
    UserError
        A factory that may not be called, cannot be found, or does not take what it is given.
    """
    try:
        with torch.device("meta"):
            return instantiate(architecture, seed=0)
    except (NotImplementedError, RuntimeError):
        # It computes with tensors while it is built (torchvision's RegNet does): with numbers first, then
        # without.
        return instantiate(architecture, seed=0).to("meta")


def instantiate(architecture: Architecture, seed: int) -> nn.Module:
    """Build the network on torch's current default device, with the initial weights of ``seed``.

    The same seed gives the same weights, bit for bit. Global random state is left as it was. Raises as
    :func:`build`.
    """
    with seeded_globals(seed):
        module = _construct(architecture)
    if not isinstance(module, nn.Module):
        raise UserError(f"model.name: {architecture.name} must return a torch.nn.Module, not {type(module).__name__}")
    return module


def initial_state(architecture: Architecture, seed: int) -> State:
    """Draw the initial weights of ``seed``: all parameters and persistent buffers, on the CPU."""
    module = instantiate(architecture, seed)
    return {name: tensor.detach() for name, tensor in named_tensors(module)}


def named_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters and persistent buffers of a module in the order of ``state_dict()``, each tensor
    once."""
    seen: set[int] = set()
    for name, tensor in module.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and id(tensor) not in seen:
            seen.add(id(tensor))
            yield name, tensor


def _construct(architecture: Architecture) -> object:
    options: dict[str, Any] = dict(architecture.options)
    shape, classes = architecture.input_shape, architecture.classes
    match facts.source_of(architecture.name):
        case "torchvision":
            return _torchvision(architecture.name.partition(":")[2], options, shape, classes)
        case "factory":
            if not architecture.allow_code:
                raise UserError(
                    f"model.name: {architecture.name} runs code from outside edgesim; "
                    "allow it with --allow-code if you trust it"
                )
            return _call_factory(architecture.name, options, shape, classes)
    match architecture.name:
        case "mlp":
            return networks.mlp(shape, classes, **options)
        case "cnn":
            return networks.cnn(shape, classes, **options)
        case "resnet18":
            return networks.ResNet(shape, classes, blocks=(2, 2, 2, 2), **options)
        case "resnet34":
            return networks.ResNet(shape, classes, blocks=(3, 4, 6, 3), **options)
        case "vgg16":
            return networks.VGG16(shape, classes, **options)
    raise UserError(f"model.name: there is no model {architecture.name!r}")


def _torchvision(name: str, options: dict[str, Any], shape: tuple[int, ...], classes: int) -> nn.Module:
    from ..vision import vision

    if name in ("googlenet", "inception_v3"):
        # Their auxiliary classifiers need images of 75x75 and more and make them return tuples.
        options = {"aux_logits": False, "init_weights": True, **options}
    try:
        module: nn.Module = vision("models").get_model(name, weights=None, num_classes=classes, **options)
    except (TypeError, ValueError) as error:
        raise UserError(f"model: torchvision:{name} does not take these options: {error}") from error
    if shape[0] != 3:
        _replace_first_convolution(module, name, shape[0])
    return module


def _replace_first_convolution(module: nn.Module, name: str, channels: int) -> None:
    """Give a network made for colour images a first convolution for ``channels`` channels, drawn as PyTorch
    draws."""
    for path, layer in module.named_modules():
        if isinstance(layer, nn.Conv2d):
            parent, _, attribute = path.rpartition(".")
            replacement = nn.Conv2d(
                channels,
                layer.out_channels,
                layer.kernel_size,  # type: ignore[arg-type]  # torch types it as a tuple of any length
                stride=layer.stride,  # type: ignore[arg-type]
                padding=layer.padding,  # type: ignore[arg-type]
                bias=layer.bias is not None,
            )
            setattr(module.get_submodule(parent), attribute, replacement)
            return
    raise UserError(f"model.name: torchvision:{name} has no convolution to adapt to {channels}-channel images")


def _call_factory(name: str, options: dict[str, Any], shape: tuple[int, ...], classes: int) -> object:
    module_name, _, function_name = name.partition(":")
    try:
        factory: Callable[..., object] = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"model.name: cannot import {name}: {error}") from error
    accepted = inspect.signature(factory).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
    for key, value in (("classes", classes), ("input_shape", shape)):
        if key in accepted or takes_all:
            options.setdefault(key, value)
    try:
        inspect.signature(factory).bind(**options)
    except TypeError as error:
        raise UserError(f"model: {name} does not take these options: {error}") from error
    return factory(**options)
