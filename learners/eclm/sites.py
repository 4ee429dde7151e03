"""What ECLM keeps of each device while it runs: what is stored there in which version, and what it sends back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgesim import Device, Handle, Model

from .architectures import Held

if TYPE_CHECKING:
    from .aggregation import Importance


@dataclass(frozen=True, slots=True)
class Update:
    """What a device sent back: a trained sub-model, its modules, what they matter there, and on how many samples."""

    model: Model
    held: Held
    importance: Importance
    samples: int


@dataclass(frozen=True, slots=True)
class Level:
    """A sub-model that is stored on a device, and its modules."""

    model: Model
    held: Held


@dataclass(slots=True, eq=False)
class Site:
    """A device and what is stored on it: on flash, which is taken to be large enough; only what runs needs memory.

    Attributes
    ----------
    device
        The device.
    modules
        The version in which each module, as (layer, module), came from the cloud; none where the device has changed it.
    shared
        The version of the shared parts, likewise.
    selector
        The version of the selector alone, which the device does not change.
    scorer
        The selector alone.
    model, held
        The sub-model that it works with, and its modules.
    max_ratio
        Parameters of its sub-models over those of the whole, at most.
    importance
        What the modules matter to its data, as last scored.
    scores
        The handle of what the selector said of its data then, whether or not anything was decided by it.
    levels
        What it may switch to: the sub-model that it works with and smaller ones out of it, the largest first.
    serves
        The modules that serve now.
    accumulate
        In how many parts at least it does each step of training, as derived with the sub-model; 0: it only serves.
    asked
        Whether it ever got a sub-model of its own.
    trained
        Whether it ever trained one.
    busy
        Whether it is at work.
    computes
        Whether it computes for that, or takes another sub-model up: it does not switch then.
    """

    device: Device
    modules: dict[tuple[int, int], int]
    scorer: Model
    model: Model
    held: Held
    max_ratio: float
    shared: int | None = 0
    selector: int = 0
    importance: Importance | None = None
    scores: Handle | None = None
    levels: list[Level] = field(default_factory=list)
    serves: Held = ()
    accumulate: int = 1
    asked: bool = False
    trained: bool = False
    busy: bool = False
    computes: bool = False
