"""What a network costs, counted on the network itself: FLOPs, parameters, training memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..errors import UserError
from .architecture import Architecture
from .building import build, instantiate, named_tensors
from .flops import FlopCounter
from .payload import weight_bytes
from .trainable import set_trainable

OPTIMIZERS = {"sgd": 0, "momentum": 1, "adam": 2}
"""Optimizers, and how many numbers each keeps per trainable parameter."""

_PROBES = (2, 4)
"""Batch sizes at which memory is measured; batch norm in train mode refuses a batch of one."""

_ALIKE = (nn.Sequential, nn.Flatten, nn.Linear, nn.Conv2d, nn.ReLU, nn.MaxPool2d)
"""Layers that do on the CPU what they do on the ``meta`` device, where the first of them imports torch's compiler. They
draw nothing."""

_SMALL_BYTES = 16 * 2**20
"""Weights and a batch's input, up to which a network of those layers is rather computed than imagined."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a network costs to hold, to run and to train, for one choice of trainable parameters.

    Attributes
    ----------
    parameters
        How many numbers its parameters hold (buffers not among them).
    trainable_parameters
        How many of them training changes.
    state_bytes
        Memory of parameters and buffers.
    gradient_bytes
        Memory of the gradients, that is, of the trainable parameters.
    weight_bytes
        Length of the safetensors file with all weights and persistent buffers as 32-bit floats.
    forward_flops_per_sample
        FLOPs of a forward pass in train mode; a multiply and an add are two.
    train_flops_per_sample
        Forward, plus twice the forward FLOPs of the layers that have trainable parameters.
    activation_bytes, activation_bytes_per_sample
        What autograd saves for the backward pass of a batch: ``activation_bytes + n *
        activation_bytes_per_sample`` for ``n`` samples; parameters and buffers not among them, every storage
        once.
    working_bytes_per_sample
        Input and output of the layer where both together are largest.
    """

    parameters: int
    trainable_parameters: int
    state_bytes: int
    gradient_bytes: int
    weight_bytes: int
    forward_flops_per_sample: float
    train_flops_per_sample: float
    activation_bytes: int
    activation_bytes_per_sample: int
    working_bytes_per_sample: int

    @property
    def trainable_share(self) -> float:
        """Trainable parameters over all, between 0 and 1."""
        return self.trainable_parameters / self.parameters if self.parameters else 0.0

    def training_memory_bytes(self, batch_size: int, optimizer: str = "sgd") -> int:
        """Memory of a training step: weights, gradients, optimizer state, saved activations.

        Parameters
        ----------
        batch_size
            Samples that go through the network at a time, at least 1 (with gradient accumulation: the
            micro-batch).
        optimizer
            ``sgd``, ``momentum`` (one number per trainable parameter) or ``adam`` (two).
        """
        if batch_size < 1:
            raise ValueError(f"a batch has at least one sample, not {batch_size}")
        activations = self.activation_bytes + batch_size * self.activation_bytes_per_sample
        return self.state_bytes + (1 + OPTIMIZERS[optimizer]) * self.gradient_bytes + activations

    @property
    def inference_memory_bytes(self) -> int:
        """Memory of a forward pass of one sample: weights, and input and output of the largest layer."""
        return self.state_bytes + self.working_bytes_per_sample


@lru_cache(maxsize=1024)
def cost(architecture: Architecture, trainable: tuple[str, ...] | None = None) -> Cost:
    """Count what a network costs.

    Parameters
    ----------
    architecture
        The network.
    trainable
        Names of the parameters, or of the modules with all their parameters, that training changes; None for
        all.

    Raises
    ------
    UserError
        The network does not take such samples or does not return one number per class; nothing is called
        ``trainable`` there; or it holds weights in a layer whose FLOPs PyTorch's counter does not see.

    Notes
    -----
    FLOPs are those of ``torch.utils.flop_counter`` in train mode (matrix products and convolutions) on a
    batch of two, halved: batch norm refuses a batch of one. The backward pass is taken as twice the forward
    pass because the counter is wrong for the backward of grouped convolutions. Saved activations are measured
    at two batch sizes, which fixes the line they are on. Nothing is computed, the network is on the ``meta``
    device, unless it is so small and plain that it takes a hundredth of the time to compute a batch.
    """
    module = _probe(architecture)
    chosen = set_trainable(module, trainable)
    forward = _forward_pass(architecture, module, _PROBES[0])
    _refuse_unseen(architecture, module, forward)
    forward_flops = sum(forward.flops.values()) / _PROBES[0]
    trainable_flops = _flops_of_trainable_layers(forward) / _PROBES[0]
    small, large = (_saved_bytes(architecture, module, batch) for batch in _PROBES)
    per_sample = (large - small) // (_PROBES[1] - _PROBES[0])
    everything = [tensor for _, tensor in named_tensors(module)]
    return Cost(
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        trainable_parameters=sum(parameter.numel() for parameter in chosen),
        state_bytes=_bytes(everything),
        gradient_bytes=_bytes(chosen),
        weight_bytes=weight_bytes(architecture),
        forward_flops_per_sample=forward_flops,
        train_flops_per_sample=forward_flops + 2 * trainable_flops,
        activation_bytes=small - _PROBES[0] * per_sample,
        activation_bytes_per_sample=per_sample,
        working_bytes_per_sample=forward.largest_bytes // _PROBES[0],
    )


def _probe(architecture: Architecture) -> nn.Module:
    """Build the network where it is counted: on the ``meta`` device, or on the CPU if that is quicker."""
    module = build(architecture)
    size_bytes = _bytes(list(module.parameters())) + 4 * _PROBES[1] * math.prod(architecture.input_shape)
    if all(type(layer) in _ALIKE for layer in module.modules()) and size_bytes <= _SMALL_BYTES:
        return instantiate(architecture, seed=0)
    return module


@dataclass(frozen=True, slots=True)
class _Forward:
    """What one forward pass of a batch did.

    ``flops`` holds, for each layer that was called, the FLOPs of its own operations, those of the layers
    inside it not among them. ``largest_bytes`` is the largest sum of a layer's input and output.
    """

    flops: dict[nn.Module, int]
    largest_bytes: int


def _forward_pass(architecture: Architecture, module: nn.Module, batch: int) -> _Forward:
    flops: dict[nn.Module, int] = {}
    largest = 0
    inside: list[tuple[int, int]] = []  # for each layer being called: the count at its start, FLOPs of layers inside

    def before(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        inside.append((counter.total, 0))

    def after(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal largest
        start, of_children = inside.pop()
        spent = counter.total - start
        flops[layer] = flops.get(layer, 0) + spent - of_children
        if inside:
            outer, siblings = inside[-1]
            inside[-1] = outer, siblings + spent
        if next(layer.children(), None) is None:
            largest = max(largest, _bytes([value for value in (*inputs, output) if isinstance(value, Tensor)]))

    hooks: list[RemovableHandle] = []
    for layer in module.modules():
        hooks += [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]
    try:
        with FlopCounter() as counter, torch.no_grad():
            _logits(architecture, module, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return _Forward(flops, largest)


def _refuse_unseen(architecture: Architecture, module: nn.Module, forward: _Forward) -> None:
    """Refuse a network with weights that the counter does not see being used."""
    for path, layer in module.named_modules():
        is_leaf = next(layer.children(), None) is None
        if is_leaf and forward.flops.get(layer) == 0 and _holds_matrices(layer):
            where = f"{type(layer).__name__} {path}".strip()
            raise UserError(
                f"model: PyTorch's counter sees no FLOPs in {where}, which holds weights: its costs would be wrong"
            )
    if not sum(forward.flops.values()) and any(True for _ in module.parameters()):
        raise UserError(f"model: {architecture} has parameters and no FLOPs that PyTorch's counter sees")


def _flops_of_trainable_layers(forward: _Forward) -> int:
    trainable = 0
    for layer, flops in forward.flops.items():
        # Products outside layers with weights of their own (attention) need gradients if anything inside
        # does.
        parameters = list(layer.parameters(recurse=False)) or list(layer.parameters())
        if any(parameter.requires_grad for parameter in parameters):
            trainable += flops
    return trainable


def _holds_matrices(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):  # a look-up, rightly free
        return False
    return any(parameter.dim() >= 2 for parameter in layer.parameters(recurse=False))


def _saved_bytes(architecture: Architecture, module: nn.Module, batch: int) -> int:
    """Bytes that autograd saves for the backward pass of one batch, the loss included."""
    known = {tensor.untyped_storage()._cdata for tensor in (*module.parameters(), *module.buffers())}
    saved: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            saved[storage._cdata] = storage  # held, so that no other storage can take its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = _logits(architecture, module, batch)
        nn.functional.cross_entropy(logits, torch.zeros(batch, dtype=torch.int64, device=logits.device))
    return sum(storage.nbytes() for storage in saved.values())


def _logits(architecture: Architecture, module: nn.Module, batch: int) -> Tensor:
    device = next((parameter.device for parameter in module.parameters()), None)
    x = torch.zeros(batch, *architecture.input_shape, device=device or "meta")
    try:
        logits = module(x)
    except (RuntimeError, ValueError, TypeError, AssertionError, IndexError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"model: {architecture} does not take samples of shape {architecture.input_shape}: {reason}"
        ) from error
    expected = (batch, architecture.classes)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(
            f"model: {architecture} must return logits of shape {expected} for a batch of {batch}, not {got}"
        )
    return logits


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
