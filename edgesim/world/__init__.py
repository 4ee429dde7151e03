"""What happens in virtual time: devices, the cloud, the links between them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cloud import Cloud
    from .device import Device
    from .environment import Environment, draw_environment, load_data
    from .offline import Offline
    from .payload import Bundle, Lineage, Message, Model, Patch
    from .selection import Selection
    from .training import Method, Training
    from .verbs import Gathered, Verb
    from .world import World

# Imported when first asked for, so that `edgesim.world.network` costs no torch.
_HOME = {
    "Bundle": "payload",
    "Cloud": "cloud",
    "Device": "device",
    "Environment": "environment",
    "Gathered": "verbs",
    "Lineage": "payload",
    "Message": "payload",
    "Method": "training",
    "Model": "payload",
    "Offline": "offline",
    "Patch": "payload",
    "Selection": "selection",
    "Training": "training",
    "Verb": "verbs",
    "World": "world",
    "draw_environment": "environment",
    "load_data": "environment",
}

__all__ = [
    "Bundle",
    "Cloud",
    "Device",
    "Environment",
    "Gathered",
    "Lineage",
    "Message",
    "Method",
    "Model",
    "Offline",
    "Patch",
    "Selection",
    "Training",
    "Verb",
    "World",
    "draw_environment",
    "load_data",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
