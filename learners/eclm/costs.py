"""What each module costs: pre-computed once, so that a sub-model's cost is the sum over its modules (section 5.1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from edgesim import models
from edgesim.models import Architecture

from .architectures import Held, Selecting, modules_per_layer, with_held
from .parts import module_sizes

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Additive:
    """A cost that adds up: what every sub-model has, and what each module of each layer adds, (module,)."""

    always: float
    modules: tuple[Array, ...]


@dataclass(frozen=True, slots=True)
class ModuleCosts:
    """Costs of a modular network's parts.

    Attributes
    ----------
    parameters
        Numbers, those of the selector not among them.
    forward_flops, train_flops
        Per sample.
    inference_bytes
        Memory of serving.
    state_bytes, activation_bytes
        Memory of training: weights, gradients and optimizer state; what is saved of one sample.
    """

    parameters: Additive
    forward_flops: Additive
    train_flops: Additive
    inference_bytes: Additive
    state_bytes: Additive
    activation_bytes: Additive

    def training_bytes(self, batch_size: int) -> Additive:
        """Memory of training with so many samples at a time."""
        return Additive(
            self.state_bytes.always + batch_size * self.activation_bytes.always,
            tuple(
                state + batch_size * activation
                for state, activation in zip(self.state_bytes.modules, self.activation_bytes.modules, strict=True)
            ),
        )


@lru_cache(maxsize=64)
def module_costs(architecture: Architecture, optimizer: str, selecting: Selecting) -> ModuleCosts:
    """Count the parts of a modular network by the differences that single modules make.

    Parameters
    ----------
    architecture
        The network.
    optimizer
        ``sgd``, ``momentum`` or ``adam``.
    selecting
        Of the sub-models.
    """
    count = modules_per_layer(architecture)
    lean: Held = ((1,),) * len(count)  # one shrunk module everywhere

    def counted(held: Held) -> Array:
        costs = models.cost(with_held(architecture, held, selecting))
        return np.array(
            [
                costs.parameters,
                costs.forward_flops_per_sample,
                costs.train_flops_per_sample,
                costs.inference_memory_bytes,
                costs.training_memory_bytes(1, optimizer) - costs.activation_bytes_per_sample,
                costs.activation_bytes_per_sample,
            ],
            dtype=np.float64,
        )

    def changed(layer: int, modules: tuple[int, ...]) -> Held:
        return (*lean[:layer], modules, *lean[layer + 1 :])

    least = counted(lean)
    bypass = [counted(changed(layer, (0, 1))) - least for layer in range(len(count))]
    # A layer's only shrunk module is what it has beside the bypass.
    shrunk = [
        counted(changed(layer, (1, 2))) - least if n > 2 else least + bypass[layer] - counted(changed(layer, (0,)))
        for layer, n in enumerate(count)
    ]
    always = least - sum(shrunk)
    tables = [
        Additive(
            float(max(always[row], 0.0)),
            tuple(
                np.array([max(bypass[layer][row], 0.0)] + [max(shrunk[layer][row], 0.0)] * (n - 1))
                for layer, n in enumerate(count)
            ),
        )
        for row in range(len(least))
    ]
    if selecting == "trained":
        tables[0] = module_costs(architecture, optimizer, "frozen").parameters
    return ModuleCosts(*tables)


@lru_cache(maxsize=64)
def wire_bytes(architecture: Architecture, codec: str, *, statistics: bool = True) -> tuple[Array, ...]:
    """What each module of each layer takes on the wire, as a codec packs its numbers. (module,)

    ``statistics`` says whether its running statistics travel.
    """
    sizes = module_sizes(architecture, codec, statistics=statistics)
    return tuple(
        np.array([sizes.bypass_bytes[layer]] + [sizes.shrunk_bytes[layer]] * (n - 1), dtype=np.float64)
        for layer, n in enumerate(modules_per_layer(architecture))
    )
