"""Which modules of a modular model a device holds, and what share of its load each gets there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..jobs import Handle


@dataclass(frozen=True, slots=True)
class Selection:
    """What a learner says of a modular model when a device gets it: ``device.deploy(model, selection=...)``.

    Attributes
    ----------
    modules
        How many modules there are to hold, layer by layer.
    held
        Which of them the device holds, layer by layer, numbered from 0.
    share
        The handle of the share of the device's samples that each module gets: for each layer a number a module, 1 in
        all. It is read when the table is written, never by the deployment. None where it is not known.
    """

    modules: Sequence[int]
    held: Sequence[Sequence[int]]
    share: Handle | None = None

    def __post_init__(self) -> None:
        for layer, (count, mine) in enumerate(zip(self.modules, self.held, strict=True)):
            if mine and not 0 <= min(mine) <= max(mine) < count:
                raise ValueError(f"layer {layer} has modules 0 to {count - 1}, not {list(mine)}")

    def cells(self) -> Iterator[tuple[int, int, bool, Share | None]]:
        """For each module its layer, its number, whether it is held, and the promise of its share."""
        for layer, (count, mine) in enumerate(zip(self.modules, self.held, strict=True)):
            for module in range(count):
                share = None if self.share is None else Share(self.share, layer, module)
                yield layer, module, module in mine, share


@dataclass(frozen=True, slots=True)
class Share:
    """The share of one module, which may not be computed yet."""

    of: Handle
    layer: int
    module: int

    @property
    def done(self) -> bool:
        """Whether it is there."""
        return self.of.done

    def value(self) -> float:
        """Return it, computing it first if need be."""
        return float(self.of.value()[self.layer][self.module])


def read_share(share: float) -> tuple[float]:
    """Turn a share into the cells of its row."""
    return (share,)
