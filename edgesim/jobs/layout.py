"""Networks of linear layers as stacks of matrices: the names and shapes of their weights, and what does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..models import Architecture, build
from .filled import Filled, filled
from .function import Element
from .members import Member, Weights, side_by_side
from .placement import put
from .trained import weights


@dataclass(frozen=True, slots=True)
class Layout:
    """A network of linear layers: the names and shapes of its weights (outgoing, incoming) and biases, in order."""

    weights: tuple[str, ...]
    biases: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    names: tuple[str, ...]

    @property
    def features(self) -> int:
        """Numbers in a sample."""
        return self.shapes[0][1]

    @property
    def classes(self) -> int:
        """Logits of a sample."""
        return self.shapes[-1][0]

    def wrong_weights(self, state: Weights) -> ValueError | None:
        """What is wrong with weights that are not of this network."""
        if tuple(state) != self.names and state.keys() != set(self.names):
            strange = sorted(state.keys() ^ set(self.names))
            return ValueError(f"these weights are not of this network: {', '.join(strange[:3])}, {len(strange)} in all")
        for weight, bias, shape in zip(self.weights, self.biases, self.shapes, strict=True):
            for name, expected in ((weight, shape), (bias, shape[:1])):
                if state[name].shape != expected:
                    return ValueError(f"these weights are not of this network: {name} is {tuple(state[name].shape)}")
        return None

    def wrong_samples(self, rows: Filled) -> ValueError | None:
        """What is wrong with samples that are not for this network, or with their labels."""
        numbers = rows.x.size(1)
        if numbers != self.shapes[0][1]:
            return ValueError(f"a sample has {numbers} numbers, and the network takes {self.features}")
        low, high = rows.labels
        if low < 0 or high >= self.shapes[-1][0]:
            return ValueError(f"labels go from {low} to {high}, and there are {self.classes} classes")
        return None

    def stacked(self, states: Sequence[Weights], *, own: bool = False) -> list[Tensor]:
        """Weights (network, out, in) and biases (network, 1, out) of networks side by side, in the order of ``names``.

        Not to be written to, unless they are to be their ``own``; see ``side_by_side``.
        """
        stacks = [put(stack) for stack in side_by_side(states, self.names, own=own)]
        return [stack if stack.dim() == 3 else stack.unsqueeze(1) for stack in stacks]


@lru_cache(maxsize=64)
def layout(architecture: Architecture) -> Layout:
    """The layout of a network of linear layers with ReLU between them."""
    layers = [(name, layer) for name, layer in build(architecture).named_modules() if isinstance(layer, nn.Linear)]
    weights = tuple(f"{name}.weight" for name, _ in layers)
    biases = tuple(f"{name}.bias" for name, _ in layers)
    shapes = tuple((layer.out_features, layer.in_features) for _, layer in layers)
    return Layout(weights, biases, shapes, tuple(name for pair in zip(weights, biases, strict=True) for name in pair))


class Given(NamedTuple):
    """An element that can be computed: where in the batch it stands, and what is computed of what."""

    place: int
    state: Weights
    views: list[Filled]  # none of them empty
    seed: int | None


def sound(shape: Layout, elements: Sequence[Element], results: list[Any]) -> list[Given]:
    """The elements that can be computed; of the others, ``results`` takes what is wrong."""
    given: list[Given] = []
    last: object = None  # found to be of this network: jobs often start from the same weights
    single = True
    for place, ((start, *batches), seed) in enumerate(elements):
        state: Weights = weights(start)
        whole = state.stack or state if type(state) is Member else state
        mistake = None
        if whole is not last:
            mistake = shape.wrong_weights(state)
            single = mistake is not None or all(state[name].dtype is torch.float32 for name in shape.names)
        views = [rows for rows in map(filled, batches) if rows.samples]
        for rows in views:
            mistake = mistake or shape.wrong_samples(rows)
        if mistake is None:
            given.append(Given(place, state if single else _single(state), views, seed))
            last = whole
        else:
            results[place] = mistake
    return given


def _single(state: Weights) -> Weights:
    """Weights as a network would take them that they are copied into."""
    return {name: tensor.float() for name, tensor in state.items()}
