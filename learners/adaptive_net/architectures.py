"""The supernet and the paths through it as ``Architecture`` values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgesim.models import Architecture

SUPERNET = "learners.adaptive_net.network:supernet"
PATH = "learners.adaptive_net.network:path"

Choice = tuple[int, ...]
"""For each block: 0 the backbone's own, or the number of a branch, from 1."""


@dataclass(frozen=True, slots=True)
class Branching:
    """What grows beside each block.

    Attributes
    ----------
    ratios
        A channel-pruned copy for each: its hidden width over the block's.
    short
        One branch of only two layers, of the block's own hidden width, in the place of more.
    min_width
        Fewest hidden channels of a branch.
    """

    ratios: tuple[float, ...]
    short: bool
    min_width: int


def supernet_of(base: Architecture, branching: Branching) -> Architecture:
    """The backbone with branches beside each block; the backbone is frozen."""
    return _made(SUPERNET, base, branching)


def path_of(base: Architecture, branching: Branching, choice: Choice) -> Architecture:
    """The network that takes one branch, or the backbone's own block, at each place."""
    return _made(PATH, base, branching, choice=choice)


def _made(factory: str, base: Architecture, branching: Branching, **more: Any) -> Architecture:
    options: dict[str, Any] = {
        "base": base.name,
        "base_options": base.options,
        "base_key": base.key,
        "allow_code": base.allow_code,
        "ratios": branching.ratios,
        "short": branching.short,
        "min_width": branching.min_width,
        **more,
    }
    return Architecture(factory, tuple(sorted(options.items())), base.input_shape, base.classes, allow_code=True)
