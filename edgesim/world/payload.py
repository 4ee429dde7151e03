"""What travels and what is computed with: models, messages, and the lineage that says whose data a model has seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..data import Samples
from ..records import record

if TYPE_CHECKING:
    from ..jobs import Handle
    from ..models import Architecture, TensorSpec


class Lineage:
    """Per device, the highest data phase among the samples in a model's history (``semantics``: *informed*).

    A device's data phase counts the changes of its data so far; phase 0 (before any drift) informs nothing and is not
    kept. A model is informed by a drift of a device when its lineage holds that device at the drift's phase or later.
    Immutable. Models that descend from one global model share that model's map and add only their own few devices.
    """

    __slots__ = ("_base", "_own")

    def __init__(self, base: Mapping[str, int] | None = None, own: Mapping[str, int] | None = None) -> None:
        self._base: Mapping[str, int] = base if base is not None else {}
        self._own: Mapping[str, int] = own if own is not None else {}

    def phase_of(self, device: str) -> int:
        """The highest phase of ``device``'s samples in this lineage; 0 if none informs."""
        return max(self._base.get(device, 0), self._own.get(device, 0))

    def maps(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Device to phase, in two maps whose union it is: one that models share, and this model's own few."""
        return self._base, self._own

    def with_samples(self, seen: Iterable[tuple[str, int]]) -> Lineage:
        """This lineage after training on samples of ``(device, phase)``."""
        new = [(device, phase) for device, phase in seen if phase and phase > self.phase_of(device)]
        if not new:
            return self
        own = dict(self._own)
        for device, phase in new:
            own[device] = max(phase, own.get(device, 0))
        if len(own) > 64:
            return Lineage(_union([self._base, own]))
        return Lineage(self._base, own)

    @staticmethod
    def merged(lineages: Iterable[Lineage]) -> Lineage:
        """The lineage of a model made from several."""
        maps: dict[int, Mapping[str, int]] = {}
        for lineage in lineages:
            for part in (lineage._base, lineage._own):
                if part:
                    maps[id(part)] = part
        if not maps:
            return Lineage()
        if len(maps) == 1:
            return Lineage(next(iter(maps.values())))
        return Lineage(_union(maps.values()))


def _union(maps: Iterable[Mapping[str, int]]) -> dict[str, int]:
    union: dict[str, int] = {}
    for part in maps:
        for device, phase in part.items():
            if phase > union.get(device, 0):
                union[device] = phase
    return union


@record
class Model:
    """A model in the simulated world: its weights may not be computed yet, everything else is known.

    Attributes
    ----------
    id
        Readable, unique within a world, e.g. ``camera-3/train/7``.
    architecture
        What kind of network it is; its costs follow from it.
    state
        The handle of the weights in the work plane (``dict[str, Tensor]``).
    lineage
        Whose samples it was trained on, by data phase.
    scored
        Whose samples took part in deriving it by scores alone (ECLM's importance), by data phase.
    """

    id: str
    architecture: Architecture
    state: Handle
    lineage: Lineage = field(default_factory=Lineage)
    scored: Lineage = field(default_factory=Lineage)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A model of which the receiver has a part already: only some tensors travel, and the model is there.

    Attributes
    ----------
    model
        What the receiver has afterwards.
    tensors
        What travels, as it would stand in a file of its own; may be empty.
    """

    model: Model
    tensors: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """A control message: what it holds, and its size on the wire (``size_bytes``, finite and at least 0)."""

    size_bytes: int
    content: object = None

    def __post_init__(self) -> None:
        if not 0 <= self.size_bytes < math.inf:
            raise ValueError(f"a size is finite and at least 0 bytes, found {self.size_bytes!r}")


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """Several payloads sent as one transfer, e.g. a model together with the samples it was trained on."""

    parts: tuple[Part, ...]


Part = Model | Patch | Samples | Message
"""What can be sent on its own or in a bundle."""

Payload = Model | Patch | Samples | Message | Bundle
"""What can be sent."""
