"""What the drifts that are in force on one device make together, each for all samples or for a share of them.

A drift is a layer over what there was before. While it comes or goes gradually, a *gate* decides for each sample
whether it is reached; a blend is what follows for every combination of open and closed gates.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from edgesim.errors import UserError

T = TypeVar("T")

_MOST_GATES = 8  # 256 combinations: as many drifts on one device, all on their way at once


@dataclass(frozen=True, slots=True)
class Gate:
    """A drift that has reached some samples only.

    Attributes
    ----------
    name
        The drift's name: it names the draws of who is reached.
    share
        Of all samples, more than 0 and less than 1.
    """

    name: str
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class Layer(Generic[T]):
    """One occurrence of one drift, over what there was before.

    Attributes
    ----------
    name
        The drift's name. Where two occurrences of one drift reach a sample, the later one alone counts.
    occurrence
        Which one.
    share
        Of all samples, more than 0 and at most 1, that it reaches.
    apply
        What it makes of what there was before; a pure function.
    """

    name: str
    occurrence: int
    share: float
    apply: Callable[[T], T]


@dataclass(frozen=True, slots=True, eq=False)
class Blend(Generic[T]):
    """What holds for a sample, by which gates it has passed.

    Attributes
    ----------
    gates
        In the order of their layers; only those that make a difference.
    outcomes
        ``2 ** len(gates)`` values: bit i of a value's place says whether gate i is open. The first is what holds
        for samples that no gradual drift has reached, the last for those that all have.
    """

    gates: tuple[Gate, ...]
    outcomes: tuple[T, ...]

    def weights(self) -> list[float]:
        """The share of samples for which each outcome holds: gates open independently of each other."""
        shares = [1.0]
        for gate in self.gates:
            shares = [share * (1.0 - gate.share) for share in shares] + [share * gate.share for share in shares]
        return shares

    def which(self, count: int, passed: Callable[[Gate], npt.NDArray[np.bool_]]) -> npt.NDArray[np.int64]:
        """The place in ``outcomes`` of each of ``count`` samples, given who has passed each gate, (sample,)."""
        places = np.zeros(count, dtype=np.int64)
        for bit, gate in enumerate(self.gates):
            places += passed(gate).astype(np.int64) << bit
        return places


def put(layers: tuple[Layer[T], ...], layer: Layer[T]) -> tuple[Layer[T], ...]:
    """Put a layer on top, or in the place of the same occurrence; earlier occurrences that it covers go."""
    place = _place(layers, layer.name, layer.occurrence)
    new = (*layers, layer) if place is None else (*layers[:place], layer, *layers[place + 1 :])
    if layer.share < 1:
        return new
    top = new.index(layer)
    return tuple(other for number, other in enumerate(new) if number >= top or other.name != layer.name)


def lift(layers: tuple[Layer[T], ...], name: str, occurrence: int) -> tuple[Layer[T], ...]:
    """Take one occurrence of a drift away; what lay below it shows again."""
    return tuple(layer for layer in layers if (layer.name, layer.occurrence) != (name, occurrence))


def blend(base: T, layers: Sequence[Layer[T]], key: Callable[[T], Hashable]) -> Blend[T]:
    """Work out what the layers make of ``base``.

    Parameters
    ----------
    base
        What holds without any drift.
    layers
        From the lowest.
    key
        Tells which values are the same: a gate that makes no difference is left out.

    Raises
    ------
    UserError
        More gradual drifts are on their way at once than can be told apart.
    """
    if not layers:
        return Blend((), (base,))
    partial = [number for number, layer in enumerate(layers) if layer.share < 1]
    if len(partial) > _MOST_GATES:
        names = ", ".join(layers[number].name for number in partial)
        raise UserError(f"more than {_MOST_GATES} gradual drifts are on their way on one device at once: {names}")
    outcomes = []
    for bits in range(1 << len(partial)):
        opened = {number for bit, number in enumerate(partial) if bits >> bit & 1}
        reaching = [layer for number, layer in enumerate(layers) if layer.share == 1 or number in opened]
        value = base
        for number, layer in enumerate(reaching):
            if all(later.name != layer.name for later in reaching[number + 1 :]):
                value = layer.apply(value)
        outcomes.append(value)
    gates = [Gate(layers[number].name, layers[number].share) for number in partial]
    for bit in reversed(range(len(gates))):
        closed = [value for place, value in enumerate(outcomes) if not place >> bit & 1]
        opened_ = [value for place, value in enumerate(outcomes) if place >> bit & 1]
        if all(key(one) == key(other) for one, other in zip(closed, opened_, strict=True)):
            outcomes = closed
            del gates[bit]
    return Blend(tuple(gates), tuple(outcomes))


def _place(layers: Sequence[Layer[T]], name: str, occurrence: int) -> int | None:
    for number, layer in enumerate(layers):
        if (layer.name, layer.occurrence) == (name, occurrence):
            return number
    return None
