"""ECLM's protocol: what happens when. Everything that is computed is in the other modules of this package.

Source: ECLM, arXiv 2311.11083, published as Nebula, ICPP 2024 (DOI 10.1145/3673038.3673120), sections 3 to 5. Offline:
block-level modularisation, one selector for all layers, end-to-end training with load balancing, ability-enhancing
training. Online: each device scores modules on its own data, the cloud derives a sub-model for it under its present
budgets, the device trains what it got, the cloud aggregates module by module.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any, final

from edgesim import Learner

from .params import ECLMParams

if TYPE_CHECKING:
    from edgesim import Event, Model, Offline, World

    from .fleet import Fleet
    from .pretraining import Prepared
    from .sites import Site


@final
class ECLM(Learner):
    """Edge-cloud learning with modular models: devices get, train and send back the modules that matter to them."""

    Params = ECLMParams
    params: ECLMParams

    def __init__(self, params: ECLMParams) -> None:
        super().__init__(params)
        self._prepared: Prepared | None = None

    @property
    def oracle(self) -> bool:
        """Whether devices are woken at the true instant of a drift."""
        return self.params.trigger is not None and self.params.trigger.oracle

    @property
    def needs_values(self) -> bool:
        """It decides by importance, unless that is drawn at random; and perhaps by a detector."""
        detects = self.params.trigger is not None and self.params.trigger.needs_values
        return detects or not self.params.surrogate

    def prepare(self, offline: Offline) -> Model:
        """Modularise and train in the cloud; devices start with the sub-model for the proxy data."""
        from .pretraining import prepare

        self._prepared = prepare(offline, self.params)
        return self._prepared.initial

    def run(self, world: World) -> Generator[Event, Any, None]:
        """Rounds, or what devices ask for."""
        from .fleet import Fleet

        assert self._prepared is not None
        fleet = Fleet(world, self.params, self._prepared)
        if self.params.aggregation == "arrival" or self.params.trigger is not None:
            world.process(fleet.merge_what_arrives())
        if self.params.switch_every is not None:
            for site in fleet.sites:
                world.process(fleet.switch(site, self.params.switch_every))
        if self.params.trigger is None:
            yield from self._rounds(world, fleet)
        else:
            trigger, collect_s = self.params.trigger, self.params.collect
            yield world.gather(
                world.process(trigger.act(world, site.device, partial(fleet.adapt, site), collect_s=collect_s))
                for site in fleet.sites
            )

    def _rounds(self, world: World, fleet: Fleet) -> Generator[Event, Any, None]:
        number = 0
        while True:
            yield world.sleep_to_multiple(self.params.period)
            number += 1
            asked = [world.process(fleet.adapt(site)) for site in self._sample(world, fleet, number)]
            yield world.gather(asked, deadline_s=self.params.deadline)
            if self.params.aggregation == "round":
                yield from fleet.merge()

    def _sample(self, world: World, fleet: Fleet, number: int) -> list[Site]:
        """Sites for a round. Who is online and has samples is known: a device that wants to take part says so."""
        free = [site for site in fleet.sites if site.device.online and not site.busy]
        wanted = self.params.participants
        if wanted is None:
            return free
        free = [site for site in free if len(site.device.samples())]
        if wanted >= len(free):
            return free
        drawn = world.rng("participants", number).choice(len(free), size=wanted, replace=False)
        return [free[int(place)] for place in sorted(drawn)]
