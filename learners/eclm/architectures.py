"""Modular networks and their sub-models as ``Architecture`` values: costs, bytes, seeds and keys follow from them.

An architecture says how many modules of each layer are held, not which: that is in the state (``ModuleLayer.held``).
So sub-models of one shape cost the same, and are counted and built once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from edgesim import UserError
from edgesim.models import Architecture

FACTORY = "learners.eclm.network:modular"
SELECTOR_FACTORY = "learners.eclm.network:selector_alone"

Held = tuple[tuple[int, ...], ...]
"""Which modules are held: for each module layer, their indices in ascending order; 0 is the residual module."""

Selecting = Literal["cloud", "trained", "frozen"]
"""The selector of a model: with the head of the gating noise, without it, or as buffers that training leaves alone."""


@dataclass(frozen=True, slots=True)
class Modularisation:
    """How a network is made modular.

    Attributes
    ----------
    modules
        Substitute modules a layer, at least 2; one of them is the residual module.
    layers
        How many blocks become module layers, the last ones of the network; None for all.
    ratio
        Hidden width of a shrunk module over that of the block, more than 0.
    min_width
        Fewest hidden channels of a shrunk module.
    k
        Active modules per sample and layer.
    embedding
        Width of the selector's embedding.
    """

    modules: int = 16
    layers: int | None = None
    ratio: float = 0.25
    min_width: int = 2
    k: int = 4
    embedding: int = 32


def modularise(base: Architecture, how: Modularisation) -> Architecture:
    """The modular form of a network, all modules held.

    Raises
    ------
    UserError
        It has no repeated blocks, or fewer than asked for.
    """
    from .network import blocks_of

    found = blocks_of(base)
    wanted = len(found) if how.layers is None else how.layers
    if not 1 <= wanted <= len(found):
        names = ", ".join(block.name for block in found)
        raise UserError(f"{base} has {len(found)} repeated blocks ({names}): {wanted} cannot become module layers")
    if how.modules < 2:
        raise UserError(f"a module layer has at least two modules, the residual one and another, not {how.modules}")
    options: dict[str, Any] = {
        "base": base.name,
        "base_options": base.options,
        "base_key": base.key,
        "allow_code": base.allow_code,
        "blocks": tuple(range(len(found) - wanted, len(found))),
        "modules": how.modules,
        "shrunk": (how.modules - 1,) * wanted,
        "bypass": (True,) * wanted,
        "ratio": how.ratio,
        "min_width": how.min_width,
        "k": how.k,
        "embedding": how.embedding,
        "selecting": "cloud",
        "charge": "held",
    }
    return Architecture(FACTORY, tuple(sorted(options.items())), base.input_shape, base.classes, allow_code=True)


def with_held(architecture: Architecture, held: Held, selecting: Selecting = "frozen") -> Architecture:
    """The sub-model that holds some modules of a modular network.

    Raises
    ------
    ValueError
        A layer is empty, or an index is no module's.
    """
    count = modules_per_layer(architecture)
    if len(held) != len(count) or any(not layer for layer in held):
        raise ValueError("each module layer holds at least one module")
    if any(list(layer) != sorted(set(layer)) or not 0 <= layer[0] <= layer[-1] < n
           for layer, n in zip(held, count, strict=True)):  # fmt: skip
        raise ValueError(f"modules are numbered from 0 in ascending order, not {held}")
    changes = {
        "shrunk": tuple(sum(module > 0 for module in layer) for layer in held),
        "bypass": tuple(0 in layer for layer in held),
        "selecting": selecting,
    }
    return _changed(architecture, changes)


def charged_by_active(architecture: Architecture) -> Architecture:
    """The same network, charged in FLOPs and memory for ``k`` modules a layer, not for all that are held."""
    return _changed(architecture, {"charge": "active"})


def selector_alone(architecture: Architecture) -> Architecture:
    """The selector of a modular network as a network of its own: its logits are those of all modules."""
    options = dict(architecture.options)
    chosen: dict[str, Any] = {name: options[name] for name in ("base", "base_options", "base_key", "embedding")}
    chosen["modules_per_layer"] = modules_per_layer(architecture)
    chosen["base_classes"] = architecture.classes
    chosen["allow_code"] = options["allow_code"]
    count = sum(modules_per_layer(architecture))
    return Architecture(
        SELECTOR_FACTORY, tuple(sorted(chosen.items())), architecture.input_shape, count, allow_code=True
    )


def modules_per_layer(architecture: Architecture) -> tuple[int, ...]:
    """How many modules each layer has in all, held or not."""
    options = dict(architecture.options)
    blocks: Sequence[int] = options["blocks"]  # type: ignore[assignment]  # an option is any plain value
    return (int(options["modules"]),) * len(blocks)  # type: ignore[arg-type]


def everything(architecture: Architecture) -> Held:
    """All modules of a modular network."""
    return tuple(tuple(range(count)) for count in modules_per_layer(architecture))


def _changed(architecture: Architecture, changes: dict[str, Any]) -> Architecture:
    options = {**dict(architecture.options), **changes}
    return replace(architecture, options=tuple(sorted(options.items())))
