"""A network with storage, into which jobs copy weights: one per architecture, process and thread."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Sequence
from functools import lru_cache
from math import isfinite
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..loaded_code import OWN
from ..models import Architecture, State, instantiate, named_tensors, set_trainable
from . import placement

Batch = tuple[Tensor, Tensor]
"""Samples as a job gets them: features float32 (sample, ...), labels int64 (sample,)."""

_KEPT = 16
_TRUSTED = {"torch", "torchvision", *OWN}
"""Packages whose layers change their tensors in place, and keep nothing else from one call to the next."""


@final
class Bench:
    """One network to train and evaluate on; what a job leaves in it, the next one overwrites.

    Attributes
    ----------
    module
        The network, on ``device``.
    device
        Where it computes; weights come from the CPU and go back there.
    """

    def __init__(self, architecture: Architecture, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.module = instantiate(architecture, seed=0).to(self.device)
        named = dict(named_tensors(self.module))
        self._names = list(named)
        self._tensors = list(named.values())
        kept = {id(tensor) for tensor in self._tensors}
        loose = [buffer for buffer in self.module.buffers() if id(buffer) not in kept]
        self._loose = loose  # buffers that are no part of a state: every job starts from them as they were made
        self._made = [buffer.clone() for buffer in loose]
        self._layers = list(self.module.modules())
        self._parameters = list(self.module.parameters())
        self._free = self._mode().free
        self._training: tuple[tuple[str, ...] | None, _Mode] | None = None
        self._evaluating: _Mode | None = None
        self._norms = [layer for layer in self.module.modules() if isinstance(layer, _BatchNorm)]
        layers = [layer for layer in self.module.modules() if type(layer).__module__.partition(".")[0] not in _TRUSTED]
        self._others = _Attributes(self.module, layers) if layers else None

    def load(self, state: State) -> None:
        """Copy weights in.

        Raises
        ------
        ValueError
            They are not those of this network.
        """
        if state.keys() != set(self._names):
            strange = sorted(state.keys() ^ set(self._names))
            raise ValueError(f"these weights are not of this network: {', '.join(strange[:3])}, {len(strange)} in all")
        if self._others is not None:
            self._others.restore()
        with torch.no_grad():
            torch._foreach_copy_(self._tensors, [state[name] for name in self._names])
            if self._loose:
                torch._foreach_copy_(self._loose, self._made)

    def state(self) -> State:
        """Copy weights out."""
        tensors = self._tensors
        if self._others is not None:  # it may have put other tensors in their places
            now = self.module.state_dict(keep_vars=True)
            tensors = [now[name] for name in self._names]
        if self.device.type != "cpu":
            return {name: tensor.detach().cpu() for name, tensor in zip(self._names, tensors, strict=True)}
        with torch.no_grad():
            return {name: tensor.clone() for name, tensor in zip(self._names, tensors, strict=True)}

    def put(self, tensor: Tensor) -> Tensor:
        """Return samples or labels where the network is; themselves, if they are there."""
        return tensor.to(self.device)

    def train(self, trainable: Sequence[str] | None = None) -> list[Tensor]:
        """Go into train mode and return the parameters to train; see ``set_trainable``."""
        names = None if trainable is None else tuple(trainable)
        if self._others is not None or self._training is None or self._training[0] != names:
            self._training = None
            chosen: list[Tensor] = list(set_trainable(self.module, names))
            self._training = names, self._mode()
            return chosen
        self._return_to(self._training[1])
        return [parameter for parameter in self._parameters if parameter.requires_grad]

    def evaluate(self) -> None:
        """Go into evaluation mode. Parameters are as free as they were made, whichever were trained before."""
        if self._others is not None or self._evaluating is None:
            self.module.eval()
            self._evaluating = _Mode(self._mode().trains, self._free)
        self._return_to(self._evaluating)

    def _mode(self) -> _Mode:
        trains = [layer.training for layer in self._layers]
        return _Mode(trains, [parameter.requires_grad for parameter in self._parameters])

    def _return_to(self, mode: _Mode) -> None:
        """Go into a mode that the network was in before, whatever a job has done to it meanwhile. To find the mode anew
        takes longer than a step of a small network."""
        for layer, trains in zip(self._layers, mode.trains, strict=True):
            if layer.training is not trains:
                layer.training = trains
        for parameter, is_free in zip(self._parameters, mode.free, strict=True):
            if parameter.requires_grad is not is_free:
                parameter.requires_grad_(is_free)

    def moving_norms(self) -> list[nn.Module]:
        """The batch norms that would normalise by their batch."""
        return [layer for layer in self._norms if layer.training]


class _Mode(NamedTuple):
    """Which layers are in train mode, and which parameters are to be trained."""

    trains: list[bool]
    free: list[bool]


@final
class _Attributes:
    """What the layers of a user's own network had as attributes when they were made: tensors that their own layers
    replace instead of changing them (``self.mean = 0.9 * self.mean + ...``), counters, caches, and what they change in
    PyTorch's (``self.norm.momentum``). No job may see what another one left there."""

    def __init__(self, network: nn.Module, own: Sequence[nn.Module]) -> None:
        self._own = own
        self._theirs = [layer for layer in network.modules() if not any(layer is mine for mine in own)]
        self._shared = [*network.modules(), *network.parameters(), *network.buffers()]  # themselves, not copies of them
        self._of_own = self._copies([vars(layer) for layer in own])
        self._of_theirs = [_shallow(vars(layer)) for layer in self._theirs]

    def restore(self) -> None:
        """Give the layers the attributes that they were made with."""
        made = [*self._copies(self._of_own), *map(_shallow, self._of_theirs)]
        for layer, attributes in zip([*self._own, *self._theirs], made, strict=True):
            vars(layer).clear()
            vars(layer).update(attributes)

    def _copies(self, of_layers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        memo = {id(shared): shared for shared in self._shared}
        return [{name: _copied(value, memo) for name, value in attributes.items()} for attributes in of_layers]


def _shallow(attributes: dict[str, Any]) -> dict[str, Any]:
    """A copy of attributes with the containers that are among them: parts, tensors, hooks by name."""
    return {
        name: copy.copy(value) if isinstance(value, dict | list | set) else value for name, value in attributes.items()
    }


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    with contextlib.suppress(Exception):  # an open file, a lock: it stays the same one
        return copy.deepcopy(value, memo)
    return value


@lru_cache(maxsize=_KEPT)
def _bench(architecture: Architecture, device: str, thread: int) -> Bench:
    return Bench(architecture, device)


def bench(architecture: Architecture) -> Bench:
    """The bench of this thread for a network, where the job of this thread computes; the last 16 are kept."""
    return _bench(architecture, str(placement.current()), threading.get_ident())


def is_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether no tensor holds a NaN or an infinity."""
    for tensor in tensors:
        # A sum is ten times faster; only where it overflows or is NaN are the numbers looked at.
        if tensor.is_floating_point() and not isfinite(tensor.sum().item()) and not bool(tensor.isfinite().all()):
            return False
    return True
