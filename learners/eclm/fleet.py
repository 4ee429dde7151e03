"""ECLM while it runs: the cloud's modular network, what each device has of it in which version, who sends what."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any, final

from simpy.events import Event as SimEvent

from edgesim import (
    Bundle,
    Event,
    Message,
    Model,
    OutOfMemory,
    Patch,
    Samples,
    Selection,
    VerbFailure,
    World,
    models,
)
from edgesim.models import Architecture

from ..on_device import fitting_accumulation
from . import budgets
from .architectures import Held, everything, modules_per_layer, selector_alone, with_held
from .derivation import DoesNotFit
from .params import ECLMParams
from .pretraining import Prepared, drawn_importance
from .sites import Level, Site, Update

if TYPE_CHECKING:
    from .aggregation import Importance

BYTES_PER_SCORE = 4
"""Importance travels as 32-bit numbers, and so do the three budgets."""

REFUSAL_BYTES = 16
"""What the cloud answers where no sub-model fits a device's budgets: a control message down."""

ARRIVAL_WINDOW_S = 60.0
"""How long updates are waited for after the first one, where there are no rounds and no deadline is set."""


@final
class Fleet:
    """The cloud's modular network, its versions, and what every device has of it."""

    def __init__(self, world: World, params: ECLMParams, prepared: Prepared) -> None:
        self._world = world
        self._params = params
        self._cloud = prepared.cloud
        self._full = prepared.cloud.architecture
        self._scorer = prepared.selector
        self._modules: dict[tuple[int, int], int] = {}  # versions; 0 where nothing has been aggregated yet
        self._shared = 0
        self._selector = 0
        self._inbox: list[Update] = []
        self._arrived: SimEvent | None = None
        self._draws = 0
        first = {(layer, module): 0 for layer, mine in enumerate(prepared.held) for module in mine}
        self.sites = [
            Site(
                device,
                dict(first),
                prepared.selector,
                prepared.initial,
                prepared.held,
                max_ratio=max_ratio,
                serves=prepared.held,
            )
            for device, max_ratio in zip(world.devices, prepared.max_ratios, strict=True)
        ]

    # What a device does -------------------------------------------------------------------------------------------

    def adapt(self, site: Site) -> Generator[Event, Any, bool]:
        """Score modules, get the sub-model that they ask for, train it, send it back; whether that came about."""
        samples = site.device.samples()
        if site.busy or not len(samples):
            return False
        site.busy = True
        before = site.scores
        try:
            if self._params.cloud or not site.asked:
                site.accumulate = yield from self._ask(site, samples)
                if site.scores is before:
                    return False  # nothing fits now
            samples = site.device.samples()  # after the downloads, which take time
            if self._params.local_training and site.accumulate and len(samples):
                yield from self._train(site, samples)
            return True
        except VerbFailure:
            return False  # its row says what happened; the device goes on serving what it has
        finally:
            site.busy = site.computes = False

    def _ask(self, site: Site, samples: Samples) -> Generator[Event, Any, int]:
        """Get a sub-model for the device's present data and resources; in how many parts it trains a step, 0: never."""
        from . import work

        world, device, params = self._world, site.device, self._params
        if site.selector != self._selector:
            version, scorer = self._selector, self._scorer
            site.scorer = yield device.download(scorer)
            site.selector = version
        count = modules_per_layer(self._full)
        site.computes = True
        scores = yield device.score(site.scorer, work.importance, samples, modules_per_layer=count)
        site.computes = False
        yield device.upload(Message((sum(count) + 3) * BYTES_PER_SCORE, "importance and budgets"))
        importance: Importance = self._drawn() if params.surrogate else scores.value()
        yield world.cloud.solve(params.solve_flops)
        cloud, versions, shared = self._cloud, dict(self._modules), self._shared
        version, scorer = self._selector, self._scorer
        here = tuple(
            tuple(m for m in range(n) if site.modules.get((layer, m)) == versions.get((layer, m), 0))
            for layer, n in enumerate(count)
        )
        try:
            choice = budgets.choose(
                world,
                device,
                params,
                self._full,
                importance,
                max_ratio=site.max_ratio,
                here=here,
                shared_here=site.shared == shared,
                samples=len(samples),
            )
        except DoesNotFit as reason:
            yield device.download(Message(REFUSAL_BYTES, f"nothing for you: {reason}"))
            return 0  # it goes on serving what it has
        target = self._target(choice.held)
        sub_model: Model = yield world.cloud.derive(
            [cloud],
            work.extract,
            target,
            scored=[samples],
            have=everything(self._full),
            want=choice.held,
            target=target,
        )
        travels = budgets.sent_down(self._full, choice.held, here, shared_here=site.shared == shared)
        patch = Patch(sub_model, travels)
        if site.selector == version:
            patch = yield device.download(patch)
        else:  # what was merged since it scored is routed by a newer selector
            bundle = yield device.download(Bundle((scorer, patch)))
            site.scorer, patch = bundle.parts
            site.selector = version
        site.importance, site.scores, site.asked = importance, scores, True
        site.computes = True
        model = patch.model
        if params.shared == "local" and site.trained:
            try:
                model = yield device.derive([model, site.model], work.keep_shared, target, target=target)
            except OutOfMemory:
                return 1  # it goes on with the sub-model that it has, in batches that fit
        site.modules |= {
            (layer, module): versions.get((layer, module), 0)
            for layer, mine in enumerate(choice.held)
            for module in mine
        }
        site.shared = shared
        yield from self._serve(site, model, choice.held, self._selection(site, choice.held))
        return choice.accumulate

    def _train(self, site: Site, samples: Samples) -> Generator[Event, Any, None]:
        device, params = site.device, self._params
        assert site.importance is not None
        how = self._world.training
        accumulate = max(site.accumulate, fitting_accumulation(device, site.model, how.batch_size))
        how = how.but(epochs=params.epochs, accumulate=accumulate)
        flops = models.cost(site.model.architecture).train_flops_per_sample
        if flops > budgets.flops_in_time(device, params, how, len(samples)):
            return  # slower, or with less memory, than when it asked
        site.computes = True
        trained: Model = yield device.train(site.model, samples, epochs=params.epochs, accumulate=accumulate)
        site.trained = True
        self._overwritten(site)
        yield from self._serve_trained(site, trained)
        site.computes = False
        if not params.cloud:
            return
        arrived: Patch = yield device.upload(Patch(trained, budgets.sent_up(self._full, params, site.held)))
        self._inbox.append(Update(arrived.model, site.held, site.importance, len(samples)))
        if self._arrived is not None:
            self._arrived.succeed()
            self._arrived = None

    def _serve(
        self, site: Site, model: Model, held: Held, selection: Selection | None = None
    ) -> Generator[Event, Any, None]:
        yield site.device.deploy(model, selection=selection)
        site.model, site.held, site.serves = model, held, held
        if self._params.switch_every is not None:
            yield from self._store(site)

    def _serve_trained(self, site: Site, trained: Model) -> Generator[Event, Any, None]:
        """Serve with what was trained, or where a smaller one suits better now, with that one out of it."""
        level = self._suiting(site)
        if level is None or level.held == site.held:
            selection = None if site.serves == site.held else self._selection(site, site.held)  # it had switched
            yield from self._serve(site, trained, site.held, selection)
            return
        site.model = trained
        yield from self._store(site)
        level = self._suiting(site)
        if level is not None:
            yield from self._change(site, level)

    def _store(self, site: Site) -> Generator[Event, Any, None]:
        """Take smaller sub-models out of the one that a device works with while it has the memory for that."""
        from . import work

        assert site.importance is not None
        site.levels = [Level(site.model, site.held)]
        for held in budgets.smaller(self._full, self._params, site.importance, site.held)[1:]:
            target = self._target(held)
            try:
                model = yield site.device.derive(
                    [site.model], work.extract, target, have=site.held, want=held, target=target
                )
            except OutOfMemory:
                continue  # it does without this one
            site.levels.append(Level(model, held))

    def _overwritten(self, site: Site) -> None:
        """A device has trained what it works with: it no longer has that in the cloud's version."""
        for layer, mine in enumerate(site.held):
            for module in mine:
                site.modules.pop((layer, module), None)
        if self._params.shared != "local":  # what is its own is never replaced by the cloud's
            site.shared = None

    def _target(self, held: Held) -> Architecture:
        """The architecture of a sub-model on a device."""
        return with_held(self._full, held, "frozen" if self._params.selector == "keep" else "trained")

    def switch(self, site: Site, every_s: float) -> Generator[Event, Any, None]:
        """Serve with a smaller stored sub-model while resources are short, and with the larger one again afterwards.

        Nothing is computed then. Where memory suffices for none, the device goes on with what it serves.
        """
        while True:
            yield self._world.sleep_to_multiple(every_s)
            if not site.device.online or site.computes:
                continue
            level = self._suiting(site)
            if level is not None and level.held != site.serves:
                yield from self._change(site, level)

    def _suiting(self, site: Site) -> Level | None:
        """Which of what is stored suits a device's resources now; None where nothing is stored or fits in memory."""
        stored = [level.model.architecture for level in site.levels]
        best = budgets.suiting(site.device, self._params, stored)
        return None if best is None else site.levels[best]

    def _change(self, site: Site, level: Level) -> Generator[Event, Any, None]:
        selection = None if level.held == site.serves else self._selection(site, level.held)
        yield site.device.deploy(level.model, selection=selection)
        site.serves = level.held

    # What the cloud does ------------------------------------------------------------------------------------------

    def merge_what_arrives(self) -> Generator[Event, Any, None]:
        """Merge for ever: each update at once, or with those that come within the deadline of the first."""
        merged = True
        while True:
            if not self._inbox or not merged:
                self._arrived = SimEvent(self._world.env)
                yield self._arrived
            if self._params.aggregation == "round":
                yield self._world.sleep(self._params.deadline or ARRIVAL_WINDOW_S)
            merged = yield from self.merge()

    def merge(self) -> Generator[Event, Any, bool]:
        """Aggregate what has arrived, module by module; where that fails, it counts with what arrives next."""
        updates, self._inbox = self._inbox, []
        try:
            if updates:
                yield from self._aggregate(updates)
        except VerbFailure:
            self._inbox[:0] = updates
            return False
        return True

    def _aggregate(self, updates: Sequence[Update]) -> Generator[Event, Any, None]:
        from . import work

        params, full = self._params, self._full
        numbers = sum(models.cost(update.model.architecture).parameters for update in updates)
        merged: Model = yield self._world.cloud.derive(
            [self._cloud, *(update.model for update in updates)],
            work.aggregate,
            full,
            flops=2.0 * numbers,  # a multiplication and an addition each
            full=full,
            held=[update.held for update in updates],
            importance=[update.importance for update in updates],
            samples=[update.samples for update in updates],
            shared="average" if params.shared == "average" else "keep",
            statistics=params.statistics,
            selector=params.selector,
            mixing=params.mixing if params.aggregation == "arrival" else None,
        )
        if params.selector == "average":
            alone = selector_alone(full)
            self._scorer = yield self._world.cloud.derive([merged], work.take_selector, alone, selector=alone)
            self._selector += 1
        self._cloud = merged
        for update in updates:
            for layer, mine in enumerate(update.held):
                for module in mine:
                    self._modules[layer, module] = self._modules.get((layer, module), 0) + 1
        if params.shared == "average":
            self._shared += 1

    def _selection(self, site: Site, held: Held) -> Selection:
        return Selection(modules_per_layer(self._full), held, site.scores)

    def _drawn(self) -> Importance:
        self._draws += 1
        return drawn_importance(self._world.rng("surrogate", self._draws), modules_per_layer(self._full))
