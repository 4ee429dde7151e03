"""Networks and what they cost: FLOPs, bytes, training memory.

Importing this package imports no torch; the functions that build or count import it when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .architecture import Architecture
from .payload import CODECS, TensorSpec, layout, payload_bytes, weight_bytes
from .saved import SavedWeights

if TYPE_CHECKING:
    from .building import State, build, initial_state, instantiate, named_tensors
    from .costs import OPTIMIZERS, Cost, cost
    from .randomness import seeded_globals, seeded_torch
    from .trainable import set_trainable

__all__ = [
    "CODECS",
    "OPTIMIZERS",
    "Architecture",
    "Cost",
    "SavedWeights",
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
    "set_trainable",
    "weight_bytes",
]

_NEED_TORCH = {
    **dict.fromkeys(("State", "build", "initial_state", "instantiate", "named_tensors"), "building"),
    **dict.fromkeys(("OPTIMIZERS", "Cost", "cost"), "costs"),
    **dict.fromkeys(("seeded_globals", "seeded_torch"), "randomness"),
    "set_trainable": "trainable",
}


def __getattr__(name: str) -> Any:
    if name in _NEED_TORCH:
        found = getattr(importlib.import_module(f".{_NEED_TORCH[name]}", __name__), name)
        globals()[name] = found  # found at once from now on
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
