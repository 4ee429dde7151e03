"""Which modules a device can take now: its budgets from its present state, and the knapsack under them (5.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from edgesim import Device, World, models
from edgesim.jobs import steps
from edgesim.models import Architecture, TensorSpec

from . import parts
from .architectures import Held, Selecting, modules_per_layer, with_held
from .costs import Additive, Array, ModuleCosts, module_costs, wire_bytes
from .derivation import DoesNotFit, Resource, derive, derive_exactly
from .params import ECLMParams

if TYPE_CHECKING:
    from edgesim.world.training import Training

    from .aggregation import Importance


@dataclass(frozen=True, slots=True)
class Choice:
    """What a device gets.

    Attributes
    ----------
    held
        The modules.
    accumulate
        In how many parts it has to do each step of training; 0: it can only serve.
    """

    held: Held
    accumulate: int


def choose(
    world: World,
    device: Device,
    params: ECLMParams,
    full: Architecture,
    importance: Importance,
    *,
    max_ratio: float,
    here: Held,
    shared_here: bool,
    samples: int,
) -> Choice:
    """The sub-model that is worth most to a device under its present budgets.

    Memory is what is free now, computation and communication the time that the device has for them at its present
    speed and bandwidth. Memory is checked on the whole sub-model, not only summed over modules. A network that does not
    fit in memory is trained with smaller batches; where that does not help either, or the time does not suffice for
    training, it is only served.

    Parameters
    ----------
    max_ratio
        Parameters of the device's sub-models over those of the whole, at most.
    here, shared_here
        What the device has in the cloud's version: it need not travel.
    samples
        How many it would train on.

    Raises
    ------
    DoesNotFit
        Not even the cheapest sub-model can be served.
    """
    selecting: Selecting = "frozen" if params.selector == "keep" else "trained"
    how = world.training.but(epochs=params.epochs)
    costs = module_costs(full, how.optimizer, selecting)
    value = [np.array(layer) for layer in importance]
    plain = {"size": _whole(costs.parameters, max_ratio), **_serving(device, params, costs)}
    exact: dict[str, Callable[[Held], float]] = {"serving memory": partial(_serving_bytes, full, selecting)}
    way = partial(_Way, world, device, params, full, here, shared_here)
    if params.local_training:
        room = device.free_memory_bytes - device.hardware.memory_overhead_bytes
        training, counted = dict(plain), dict(exact)
        if params.transfer_budget is not None:
            both = way(up=params.cloud)
            training["transfer"], counted["transfer"] = both.resource(params.transfer_budget), both.seconds
        if params.training_budget is not None:
            counted["training"] = partial(_training_flops, full, selecting)
        accumulate = 1
        while True:
            cut = how.but(accumulate=accumulate)
            batch = cut.largest_batch
            training["memory"] = Resource(*_parts(costs.training_bytes(batch)), room)
            counted["memory"] = partial(_training_bytes, full, selecting, batch, how.optimizer)
            if params.training_budget is not None:
                training["training"] = _within(costs.train_flops, flops_in_time(device, params, cut, samples))
            try:
                return Choice(derive_exactly(value, training, counted), accumulate)
            except DoesNotFit as error:
                if "memory" not in error.missed or accumulate >= how.batch_size:
                    break
                accumulate = min(2 * accumulate, how.batch_size)
    if params.transfer_budget is not None:
        down = way(up=False)
        plain["transfer"], exact["transfer"] = down.resource(params.transfer_budget), down.seconds
    return Choice(derive_exactly(value, plain, exact), 0)


def flops_in_time(device: Device, params: ECLMParams, how: Training, samples: int) -> float:
    """FLOPs a sample that fit into ``training_budget`` at the present speed, after the overhead of the steps."""
    if params.training_budget is None:
        return math.inf
    overhead_s = device.hardware.step_overhead_s * steps(samples, how.batch_size, how.epochs, how.accumulate)
    return (params.training_budget - overhead_s) * device.compute_flops_per_s / (how.epochs * samples)


def sent_down(full: Architecture, held: Held, here: Held, *, shared_here: bool) -> tuple[TensorSpec, ...]:
    """The tensors of a sub-model that travel to a device which has modules ``here``, and perhaps the shared parts."""
    return parts.tensors_of(full, parts.missing(held, here), shared=not shared_here, selector=False)


def sent_up(full: Architecture, params: ECLMParams, held: Held) -> tuple[TensorSpec, ...]:
    """The tensors of a trained sub-model that travel to the cloud: nothing of which the cloud keeps its own."""
    sent = parts.tensors_of(full, held, shared=params.shared == "average", selector=params.selector == "average")
    if params.statistics == "average":
        return sent
    return tuple(spec for spec in sent if not spec.name.endswith(parts.STATISTICS))


def smaller(full: Architecture, params: ECLMParams, importance: Importance, held: Held) -> list[Held]:
    """Sub-models of a sub-model, at the stored levels of its parameters: the largest first, itself included.

    A level at which there is none is left out.
    """
    parameters = module_costs(full, "sgd", "frozen").parameters
    whole = Resource(parameters.always, parameters.modules, math.inf).of(held)
    value = [np.array(layer)[list(mine)] for layer, mine in zip(importance, held, strict=True)]
    modules = tuple(layer[list(mine)] for layer, mine in zip(parameters.modules, held, strict=True))
    found = [held]
    for level in sorted(params.levels, reverse=True):
        try:
            chosen = derive(value, {"parameters": Resource(parameters.always, modules, level * whole)})
        except DoesNotFit:
            continue
        found.append(tuple(tuple(mine[place] for place in of) for mine, of in zip(held, chosen, strict=True)))
    return [one for place, one in enumerate(found) if one not in found[:place]]


def suiting(device: Device, params: ECLMParams, stored: Sequence[Architecture]) -> int | None:
    """Which of some networks, the largest first, a device had better serve with now.

    The first that fits in free memory and is fast enough; where none is fast enough, the last that fits in memory;
    None where none does.
    """
    free, flops = device.free_memory_bytes, math.inf
    if params.latency_budget is not None:
        flops = params.latency_budget * device.compute_flops_per_s
    costs = [models.cost(architecture) for architecture in stored]
    fitting = [place for place, cost in enumerate(costs) if cost.inference_memory_bytes <= free]
    fast = [place for place in fitting if costs[place].forward_flops_per_sample <= flops]
    return next(iter([*fast, *reversed(fitting)]), None)


def _serving(device: Device, params: ECLMParams, costs: ModuleCosts) -> dict[str, Resource]:
    memory = {"serving memory": Resource(*_parts(costs.inference_bytes), device.free_memory_bytes)}
    if params.latency_budget is None:
        return memory
    return memory | {"serving": _within(costs.forward_flops, params.latency_budget * device.compute_flops_per_s)}


@dataclass(frozen=True, slots=True)
class _Way:
    """A sub-model's way down, for what is not here in this version, and perhaps up again, for what was trained."""

    world: World
    device: Device
    params: ECLMParams
    full: Architecture
    here: Held
    shared_here: bool
    up: bool

    def seconds(self, held: Held) -> float:
        """How long a sub-model is on its way."""
        down_bytes = self.world.tensor_bytes(sent_down(self.full, held, self.here, shared_here=self.shared_here))
        down_s = self.device.latency_s + down_bytes * self.down_s_per_byte
        if not self.up:
            return down_s
        up_bytes = self.world.tensor_bytes(sent_up(self.full, self.params, held))
        return down_s + self.device.latency_s + up_bytes * self.up_s_per_byte

    def resource(self, budget_s: float) -> Resource:
        """The same, summed over modules; a file's header grows with its tensors, which only ``seconds`` counts."""
        down, up = self.down_s_per_byte, self.up_s_per_byte if self.up else 0.0
        codec = self.world.environment.scenario.training.codec
        size = wire_bytes(self.full, codec)
        sent = wire_bytes(self.full, codec, statistics=self.params.statistics == "average")
        modules = tuple(
            layer * (np.where(np.isin(np.arange(len(layer)), mine), 0.0, down) + up * (back / layer))
            for layer, back, mine in zip(size, sent, self.here, strict=True)
        )
        return Resource(self.seconds(nothing_of(self.full)), modules, budget_s)

    @property
    def down_s_per_byte(self) -> float:
        """Over the narrower of the device's downlink and its gateway's, where it is behind one."""
        gateway = self.device.gateway
        behind = math.inf if gateway is None else gateway.hardware.downlink.value(self.world.now)
        return _per_byte(min(self.device.downlink_bytes_per_s, behind))

    @property
    def up_s_per_byte(self) -> float:
        """The same, up."""
        gateway = self.device.gateway
        behind = math.inf if gateway is None else gateway.hardware.uplink.value(self.world.now)
        return _per_byte(min(self.device.uplink_bytes_per_s, behind))


def _per_byte(bytes_per_s: float) -> float:
    return 1 / bytes_per_s if bytes_per_s > 0 else 1e9


def _whole(costs: Additive, share: float) -> Resource:
    return Resource(*_parts(costs), share * (costs.always + sum(float(layer.sum()) for layer in costs.modules)))


def _within(costs: Additive, budget: float) -> Resource:
    return Resource(*_parts(costs), budget)


def _parts(costs: Additive) -> tuple[float, tuple[Array, ...]]:
    return costs.always, costs.modules


def _serving_bytes(full: Architecture, selecting: Selecting, held: Held) -> float:
    return models.cost(with_held(full, held, selecting)).inference_memory_bytes


def _training_flops(full: Architecture, selecting: Selecting, held: Held) -> float:
    return models.cost(with_held(full, held, selecting)).train_flops_per_sample


def _training_bytes(full: Architecture, selecting: Selecting, batch: int, optimizer: str, held: Held) -> float:
    return models.cost(with_held(full, held, selecting)).training_memory_bytes(batch, optimizer)


def nothing_of(full: Architecture) -> Held:
    """No modules at all."""
    return ((),) * len(modules_per_layer(full))
