"""Takes sub-models out of modular networks, puts them back together, and says what bytes which part has."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from edgesim.models import CODECS, Architecture, State, TensorSpec, build, layout

from .architectures import Held
from .layers import BYPASS, Slot
from .network import ModularNetwork

SELECTOR = "selector."
"""How names of the selector's tensors start."""

STATISTICS = ("running_mean", "running_var")
"""How names of running statistics of batch norms end."""

_NOISE = "selector.noise."


@dataclass(frozen=True, slots=True)
class Place:
    """Whose a tensor is: of all shrunk modules of a layer, side by side, or (``slot`` None) of its residual module."""

    layer: int
    slot: Slot | None


@lru_cache(maxsize=256)
def places(architecture: Architecture) -> Mapping[str, Place]:
    """The tensors of a modular network that belong to modules; all others are in every sub-model."""
    network = network_of(architecture)
    found = {}
    for number, (path, layer) in enumerate(zip(network.paths, network.layers, strict=True)):
        for name, slot in layer.slots().items():
            found[f"network.{path}.{name}"] = Place(number, slot)
    return found


@lru_cache(maxsize=256)
def held_names(architecture: Architecture) -> tuple[str, ...]:
    """The name of each layer's list of held modules."""
    return tuple(f"network.{path}.held" for path in network_of(architecture).paths)


def held_in(state: State, architecture: Architecture) -> Held:
    """Which modules a state holds."""
    return tuple(tuple(state[name].tolist()) for name in held_names(architecture))


def extract(state: State, have: Held, want: Held, target: Architecture) -> State:
    """Take a sub-model out of a modular network.

    Parameters
    ----------
    state, have
        A network's weights and its modules.
    want
        Modules to take, all of them in ``have``.
    target
        The architecture of the sub-model: of the shape of ``want``.

    Raises
    ------
    ValueError
        A module is wanted that is not there.
    """
    if any(not set(wanted) <= set(there) for wanted, there in zip(want, have, strict=True)):
        raise ValueError(f"modules {want} are wanted, {have} are there")
    of_modules = places(target)
    lists = dict(zip(held_names(target), want, strict=True))
    taken: State = {}
    for spec in layout(target):
        name = spec.name
        if name in lists:
            taken[name] = torch.tensor(lists[name], dtype=torch.int64)
            continue
        place = of_modules.get(name)
        if place is None or place.slot is None:
            taken[name] = state[name]
            continue
        taken[name] = state[name].index_select(
            place.slot.dim, _entries(_shrunk(have[place.layer]), _shrunk(want[place.layer]), place.slot.width)
        )
    return taken


def keep_shared(state: State, own: State, target: Architecture) -> State:
    """Take what lies outside of modules and selector from ``own``, everything else from ``state``.

    Parameters
    ----------
    state
        A sub-model of architecture ``target``.
    own
        A sub-model of the same network, with the same modules or others.
    """
    of_modules, lists = places(target), held_names(target)
    # What hidden norms count is in no module's place, but only where there are shrunk modules.
    inside = (SELECTOR, *(name.removesuffix("held") + "units." for name in lists))
    return {
        name: tensor if name in of_modules or name in lists or name.startswith(inside) else own[name]
        for name, tensor in state.items()
    }


def missing(want: Held, have: Held) -> Held:
    """The modules of ``want`` that are not in ``have``; layers may come out empty."""
    return tuple(tuple(m for m in wanted if m not in there) for wanted, there in zip(want, have, strict=True))


def tensors_of(architecture: Architecture, modules: Held, *, shared: bool, selector: bool) -> tuple[TensorSpec, ...]:
    """The tensors that travel when some parts of a modular network are sent.

    Parameters
    ----------
    architecture
        A modular network that has all these modules.
    modules
        Those that travel; layers may be empty. The lists of what is held always travel.
    shared
        Whether what lies outside of the modules does.
    selector
        Whether the selector does (never the head of the gating noise, which only the cloud uses).
    """
    of_modules = places(architecture)
    lists = dict(zip(held_names(architecture), modules, strict=True))
    travelling: list[TensorSpec] = []
    for spec in layout(architecture):
        place = of_modules.get(spec.name)
        if spec.name in lists:
            travelling.append(replace(spec, shape=(len(lists[spec.name]),)))
        elif place is not None:
            count = len(_shrunk(modules[place.layer]))
            if place.slot is None and BYPASS in modules[place.layer]:
                travelling.append(spec)
            elif place.slot is not None and count:
                shape = list(spec.shape)
                shape[place.slot.dim] = count * place.slot.width
                travelling.append(replace(spec, shape=tuple(shape)))
        elif spec.name.startswith(SELECTOR):
            if selector and not spec.name.startswith(_NOISE):
                travelling.append(spec)
        elif shared:
            travelling.append(spec)
    return tuple(travelling)


@dataclass(frozen=True, slots=True)
class ModuleSizes:
    """Numbers that modules and shared parts hold, in bytes.

    Attributes
    ----------
    shared_bytes, selector_bytes
        What every sub-model has.
    bypass_bytes, shrunk_bytes
        The residual module and one shrunk module of each layer.
    """

    shared_bytes: int
    selector_bytes: int
    bypass_bytes: tuple[int, ...]
    shrunk_bytes: tuple[int, ...]


def module_sizes(architecture: Architecture, codec: str = "fp32", *, statistics: bool = True) -> ModuleSizes:
    """What the parts of a modular network with all modules weigh; a module's entry in the list of the held included.

    ``codec`` packs the numbers (see ``edgesim.models.payload_bytes``); ``statistics`` says whether running statistics
    count.
    """
    of_modules = places(architecture)
    layers = len(held_names(architecture))
    shared, selector, bypass, shrunk = 0, 0, [8] * layers, [8] * layers
    for spec in layout(architecture):
        place = of_modules.get(spec.name)
        if spec.name.startswith(_NOISE) or spec.name in held_names(architecture):
            continue
        if not statistics and spec.name.endswith(STATISTICS):
            continue
        size_bytes = sum(part.size_bytes for part in CODECS[codec](spec))
        if place is None and spec.name.startswith(SELECTOR):
            selector += size_bytes
        elif place is None:
            shared += size_bytes
        elif place.slot is None:
            bypass[place.layer] += size_bytes
        else:
            modules = spec.shape[place.slot.dim] // place.slot.width
            shrunk[place.layer] += size_bytes // modules
    return ModuleSizes(shared, selector, tuple(bypass), tuple(shrunk))


def selector_state(state: State, selector: Architecture) -> State:
    """Take the selector alone out of a modular network."""
    return {spec.name: state[SELECTOR + spec.name] for spec in layout(selector)}


def total_parameters(tensors: Iterable[TensorSpec]) -> int:
    """How many numbers some tensors hold."""
    return sum(math.prod(spec.shape) for spec in tensors)


def network_of(architecture: Architecture) -> ModularNetwork:
    """Build a modular network on the ``meta`` device.

    Raises
    ------
    TypeError
        It is no modular network.
    """
    network = build(architecture)
    if not isinstance(network, ModularNetwork):
        raise TypeError(f"{architecture} is no modular network")
    return network


def _shrunk(modules: Sequence[int]) -> list[int]:
    return [module for module in modules if module != BYPASS]


def _entries(there: Sequence[int], wanted: Sequence[int], width: int) -> Tensor:
    """The entries of some modules along a dimension in which modules ``there`` follow each other."""
    starts = torch.tensor([there.index(module) for module in wanted], dtype=torch.int64) * width
    return (starts.unsqueeze(1) + torch.arange(width)).reshape(-1)
