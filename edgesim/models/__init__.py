"""Networks and what they cost: FLOPs, bytes, training memory.

Importing this package imports no torch; the functions that build or count import it when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .architecture import Architecture
from .payload import CODECS, TensorSpec, layout, payload_bytes, weight_bytes

if TYPE_CHECKING:
    from .building import State, build, initial_state, instantiate, named_tensors
    from .costs import OPTIMIZERS, Cost, cost, select
    from .randomness import seeded_globals, seeded_torch

__all__ = [
    "CODECS",
    "OPTIMIZERS",
    "Architecture",
    "Cost",
    "State",
    "TensorSpec",
    "build",
    "cost",
    "initial_state",
    "instantiate",
    "layout",
    "named_tensors",
    "payload_bytes",
    "seeded_globals",
    "seeded_torch",
    "select",
    "weight_bytes",
]

_NEED_TORCH = {
    **dict.fromkeys(("State", "build", "initial_state", "instantiate", "named_tensors"), "building"),
    **dict.fromkeys(("OPTIMIZERS", "Cost", "cost", "select"), "costs"),
    **dict.fromkeys(("seeded_globals", "seeded_torch"), "randomness"),
}


def __getattr__(name: str) -> Any:
    if name in _NEED_TORCH:
        return getattr(importlib.import_module(f".{_NEED_TORCH[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
