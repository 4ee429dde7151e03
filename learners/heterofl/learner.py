"""HeteroFL's protocol: federated rounds in which each device gets the width that it can train.

Source: Diao, Ding, Tarokh, HeteroFL: Computation and Communication Efficient Federated Learning for Heterogeneous
Clients, ICLR 2021 (arXiv 2010.01264), and the authors' code: widths 1, 1/2, 1/4, 1/8, 1/16 take the first channels,
elements are averaged over their owners, activations are scaled by the rate in training, batch norms are static,
logits of classes that a device does not have are masked. Ours: running statistics are worked out on the cloud's proxy
data (the code uses all clients' training data), and the nested widths are pretrained there too, by rounds over shares
of the proxy data, because slices of a network that was never trained in slices are worth nothing. Widths that
`max_share` rules out take no part: the cloud's network is the widest that a device may get.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self, final

from pydantic import Field, model_validator

from edgesim import Device, Event, Method, Model, Offline, Verb, World, models
from edgesim.jobs import steps
from edgesim.models import Architecture
from edgesim.scenario import PositiveSeconds, Ratio
from edgesim.scenario.findings import wrong
from edgesim.seeds import stream

from ..federated import Federated, FederatedParams, Update

if TYPE_CHECKING:
    from edgesim.data import View
    from edgesim.world import Training


@final
class HeteroFL(Federated):
    """Federated rounds over nested widths: each device trains the widest network that fits it."""

    class Params(FederatedParams):
        """What can be chosen."""

        rates: tuple[float, ...] = Field(
            (1.0, 0.5, 0.25, 0.125, 0.0625), min_length=1, description="Widths, as shares of every layer's channels."
        )
        assignment: Literal["widest", "dealt"] = Field(
            "widest",
            description="A device gets the widest network that fits it, or widths are dealt to devices in turn and it "
            "gets its own or the next one that fits.",
        )
        max_share: Ratio = Field(
            1.0, gt=0, description="A device gets no width with more than this share of all parameters."
        )
        training_budget: PositiveSeconds | None = Field(
            None, description="A device gets no width that would take longer to train; by default only memory counts."
        )
        masked: bool = Field(True, description="Mask the logits of classes that a device does not have.")
        pretraining_rounds: int | None = Field(
            None,
            ge=0,
            description="Rounds over shares of the proxy data, one for each width, before the start; by default as "
            "many as let each width pass over all of it as often as `pretrain` says.",
        )

        @model_validator(mode="after")
        def _rates(self) -> Self:
            if any(not 0 < rate <= 1 for rate in self.rates) or len(set(self.rates)) < len(self.rates):
                raise wrong("each rate is more than 0 and at most 1, and stands here once", ("rates",))
            return self

    params: Params

    def prepare(self, offline: Offline) -> Model:
        """Pretrain all widths, nested in one another, from the scenario's pretrained model on."""
        from . import work
        from .network import narrowed

        base = offline.architecture
        rates = self._allowed(base)
        widest = narrowed(base, rates[0])
        server = offline.derive([offline.pretrained()], work.take, widest, name="widest", target=widest)
        shares = _shares(offline, len(rates))
        how = offline.pretraining
        rounds = self.params.pretraining_rounds
        if rounds is None:
            rounds = how.epochs * len(rates)
        for number in range(rounds if shares else 0):
            one_pass = _one_round(how, number, rounds)
            turned = shares[number % len(shares) :] + shares[: number % len(shares)]
            trained = []
            for rate, share in zip(rates, turned, strict=True):
                name = f"nested/{number + 1}/{rate:g}"
                target = narrowed(base, rate)
                part = offline.derive([server], work.take, target, name=f"{name}/start", target=target)
                trained.append(offline.train(part, one_pass, name=name, on=share, method=self.method(part)))
            server = offline.derive(
                [server, *trained], work.merge, widest, name=f"nested/{number + 1}", inputs=turned, base=base
            )
        return _with_statistics(offline, server, widest, "server")

    def start(self, offline: Offline, world: World) -> Mapping[Device, Model]:
        """Every device serves the width that it is going to get."""
        from .network import narrowed

        base, server = offline.architecture, world.initial
        rates = {device: self._rate(world, device) for device in world.devices}
        made = {}
        for rate in sorted(set(rates.values())):
            target = narrowed(base, rate)
            if target != server.architecture:
                made[rate] = _with_statistics(offline, server, target, f"server/{rate:g}")
        return {device: made[rate] for device, rate in rates.items() if rate in made}

    def give(
        self, world: World, device: Device, server: Model, made: dict[Any, Verb[Model]]
    ) -> Generator[Event, Any, Model]:
        """The widest network that the device can train now, with statistics from the proxy data."""
        from . import work
        from .network import narrowed

        target = narrowed(world.environment.architecture, self._rate(world, device))
        if server is world.initial and target == server.architecture:
            return server
        if target not in made or (made[target].triggered and not made[target].ok):
            proxy = world.environment.proxy
            made[target] = world.cloud.derive(
                [server],
                work.take,
                target,
                inputs=[proxy] if len(proxy) else [],
                flops=len(proxy) * models.cost(target).forward_flops_per_sample,
                target=target,
            )
        part: Model = yield made[target]
        return part

    def suits(self, world: World, device: Device, held: Model) -> bool:
        """Whether it fits the device's memory now: that may be less than when it was sent."""
        from .network import narrowed

        fits = narrowed(world.environment.architecture, self._rate(world, device))
        return models.cost(held.architecture).parameters <= models.cost(fits).parameters

    def method(self, given: Model) -> Method | None:
        """Training by the masked loss."""
        from .work import train_masked

        return Method(train_masked, parameters={"masked": self.params.masked})

    def merge(self, world: World, server: Model, updates: Sequence[Update]) -> Verb[Model]:
        """Each element is averaged over its owners."""
        from . import work

        numbers = sum(models.cost(update.model.architecture).parameters for update in updates)
        return world.cloud.derive(
            [server, *(update.model for update in updates)],
            work.merge,
            server.architecture,
            inputs=[update.samples.view for update in updates],
            flops=2.0 * numbers,  # a multiplication by the mask and an addition each
            base=world.environment.architecture,
        )

    def _allowed(self, base: Architecture) -> list[float]:
        """The rates within `max_share`, the largest first; the smallest where none is."""
        from .network import narrowed

        whole = models.cost(narrowed(base, 1.0)).parameters
        rates = sorted(self.params.rates, reverse=True)
        within = [r for r in rates if models.cost(narrowed(base, r)).parameters <= self.params.max_share * whole]
        return within or rates[-1:]

    def _rate(self, world: World, device: Device) -> float:
        """The largest rate that fits the device's memory, and the budgets that are set; else the smallest.

        Where rates are dealt, the device's own takes the largest one's place.
        """
        from .network import narrowed

        base = world.environment.architecture
        how = world.training.but(epochs=self.params.epochs)
        rates = self._allowed(base)
        dealt = world.devices.index(device) % len(rates) if self.params.assignment == "dealt" else 0
        samples, budget_s = len(device.samples()), self.params.training_budget
        overhead_s = device.hardware.step_overhead_s * steps(samples, how.batch_size, how.epochs)
        for rate in rates[dealt:]:
            costs = models.cost(narrowed(base, rate))
            memory = costs.training_memory_bytes(how.largest_batch, how.optimizer)
            flops = how.epochs * samples * costs.train_flops_per_sample
            if memory + device.hardware.memory_overhead_bytes <= device.free_memory_bytes and (
                budget_s is None or flops <= (budget_s - overhead_s) * device.compute_flops_per_s
            ):
                return rate
        return rates[-1]


def _one_round(how: Training, number: int, rounds: int) -> Training:
    """A round of a long training as one pass: the step size falls from round to round, where it is to fall."""
    if how.recipe is None:
        return how.but(epochs=1)
    pace = how.recipe.pace(number, rounds)
    return how.but(epochs=1, learning_rate=how.learning_rate * pace, recipe=replace(how.recipe, schedule="constant"))


def _with_statistics(offline: Offline, server: Model, target: Architecture, name: str) -> Model:
    """A width of the cloud's network, with its batch norms' statistics from the proxy data."""
    from . import work

    views = [offline.proxy] if len(offline.proxy) else []
    flops = len(offline.proxy) * models.cost(target).forward_flops_per_sample
    return offline.derive([server], work.take, target, name=name, inputs=views, flops=flops, target=target)


def _shares(offline: Offline, count: int) -> list[View]:
    """The proxy data in shuffled shares of equal size, at least two samples each; none where it is too little."""
    each = len(offline.proxy) // count
    if each < 2:
        return []
    order = stream(offline.environment.seed, "learner", "heterofl", "shares").permutation(len(offline.proxy))
    return [offline.proxy.take(order[place * each : (place + 1) * each]) for place in range(count)]
