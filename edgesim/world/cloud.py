"""The cloud: a node with a processor, a memory, an ingress and an egress, and the verbs that are its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..signals import Signal
from .energy import EnergyMeter
from .payload import Model
from .training import Method, Workshop
from .worker import Worker

if TYPE_CHECKING:
    from ..data import Samples, View
    from ..jobs import Handle
    from ..models import Architecture
    from .device import Device
    from .payload import Payload
    from .verbs import Gather, Verb
    from .world import World


@dataclass(frozen=True, slots=True)
class CloudHardware:
    """What the cloud is made of.

    Attributes
    ----------
    compute
        FLOP/s over time, shared by the jobs that run.
    memory
        Bytes for jobs over time.
    ingress, egress
        Bytes per second over time, shared by all transfers up and down.
    response_bytes
        The size of the answer to one inference request.
    """

    compute: Signal
    memory: Signal
    ingress: Signal
    egress: Signal
    response_bytes: int = 100


class Cloud:
    """The cloud, as a learner sees it. Its energy is not metered: the tables report devices' joules."""

    __slots__ = ("_shop", "_world", "egress", "hardware", "ingress")

    def __init__(self, world: World, hardware: CloudHardware) -> None:
        self._world = world
        self.hardware = hardware
        self.ingress = world.network.link("cloud/ingress", hardware.ingress)
        self.egress = world.network.link("cloud/egress", hardware.egress)
        worker = Worker(world.env, "cloud", hardware.compute, hardware.memory, EnergyMeter(None), world.recorder)
        self._shop = Workshop("cloud", worker, world.plane, world.names, world.prices, world.label)

    def train(
        self,
        model: Model,
        on: Samples | Iterable[Samples],
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        accumulate: int | None = None,
        learning_rate: float | None = None,
        optimizer: str | None = None,
        method: Method | None = None,
        tag: str | int | None = None,
    ) -> Verb[Model]:
        """Train ``model`` in the cloud on samples that were uploaded, all sets together.

        Parameters and failures are those of ``Device.train``.
        """
        from ..data import Samples

        data: Sequence[Samples] = [on] if isinstance(on, Samples) else list(on)
        how = self._world.how(epochs, batch_size, accumulate, learning_rate, optimizer)
        return self._shop.train(model, data, how, method, tag, self._world.now)

    def average(
        self,
        models: Iterable[Model],
        weights: Iterable[float] | None = None,
        *,
        tag: str | int | None = None,
    ) -> Verb[Model]:
        """Average models of one architecture: w = sum_i p_i w_i.

        Parameters
        ----------
        models
            At least one.
        weights
            One a model, at least 0, not all 0, normalised to sum to 1; without them the plain mean.
        tag
            Names the job; by default the cloud's averages are counted.
        """
        given = None if weights is None else list(weights)
        return self._shop.average(list(models), given, tag, self._world.now)

    def derive(
        self,
        sources: Sequence[Model],
        function: Callable[..., Any],
        architecture: Architecture,
        *,
        inputs: Sequence[Handle | View] = (),
        flops: float = 0.0,
        scored: Sequence[Samples] = (),
        tag: str | int | None = None,
        **parameters: Any,
    ) -> Verb[Model]:
        """Make a model out of models by the learner's own arithmetic on their weights: take apart, merge, average.

        Parameters
        ----------
        sources
            At least one; the new model descends from all of them.
        function
            A job ``f(*states, *inputs, **parameters)`` that gives the new weights.
        architecture
            Of the new model.
        inputs
            What else it reads that is there: results of other jobs, views of samples.
        flops
            What it costs; selecting and copying cost nothing.
        scored
            Samples that took part by their scores alone: they go into ``Model.scored``.
        tag
            Names the job; by default they are counted.
        parameters
            Of the function.
        """
        return self._shop.derive(
            sources, function, architecture, inputs, flops, scored, parameters, tag, self._world.now
        )

    def solve(self, flops: float, *, tag: str | int | None = None) -> Verb[None]:
        """Spend a declared number of FLOPs on a decision (an assignment, a knapsack): never a solver's wall time."""
        return self._shop.solve(flops, tag)

    def broadcast(self, payload: Payload, to: Iterable[Device] | None = None) -> Gather[Any]:
        """Send a payload to devices (by default all): gathers their downloads."""
        devices = self._world.devices if to is None else to
        return self._world.gather(device.download(payload) for device in devices)

    def serve(self, model: Model, to: Iterable[Device] | None = None) -> None:
        """Answer the requests of devices (by default all) with ``model`` from now on, here in the cloud.

        Every request then costs its bytes and a round trip; see the ``serving`` table.
        """
        for device in self._world.devices if to is None else to:
            device.serve(model, "cloud", "deploy")

    def close(self) -> None:
        """Record the jobs that are still running when the simulation ends."""
        self._shop.worker.close()
