"""AdaptiveNet's protocol: the cloud grows branches beside a network's blocks; each device picks a path and tunes it.

Source: Wen et al., AdaptiveNet: Post-deployment Neural Architecture Adaptation for Diverse Edge Environments, MobiCom
2023 (arXiv 2303.07129), and the authors' code: a pretrained backbone, channel-pruned branches beside its blocks,
trained with the backbone frozen, first by block-wise distillation, then by labels along random paths; on the device a
search for the best path by the loss on local data under the device's budgets; then, as the ECLM paper runs it,
fine-tuning on local data. A block here is a whole stage, so the branch of two layers stands for several of a residual
network's blocks at once.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Self, final

import numpy as np
from pydantic import Field, model_validator

from edgesim import (
    Device,
    Event,
    Learner,
    Method,
    Model,
    Offline,
    Samples,
    TrainingParams,
    Trigger,
    VerbFailure,
    World,
    minutes,
    models,
)
from edgesim.jobs import steps
from edgesim.models import Architecture
from edgesim.scenario import PositiveSeconds, Ratio, Seconds
from edgesim.scenario.findings import wrong

from ..on_device import fine_tune, least_accumulation
from .architectures import Branching, Choice, path_of, supernet_of
from .search import BranchCosts, feasible, first_candidates, next_candidates


@final
class AdaptiveNet(Learner):
    """A network with branches: each device picks the path that suits its data and budgets, and fine-tunes it."""

    class Params(TrainingParams):
        """What can be chosen."""

        trigger: Trigger = Field(
            Trigger(every=minutes(5)),
            description="When a device adapts: {every: 5 min}, {detector: adwin}, or `drift`, the true instant.",
        )
        collect: Seconds = Field(0.0, description="Wait after the trigger, to collect samples first.")
        ratios: tuple[Ratio, ...] = Field(
            (0.5, 0.25), min_length=1, description="Hidden widths of the branches beside each block, over the block's."
        )
        short: bool = Field(
            True, description="A branch of only two layers, of full width, beside each block with more."
        )
        min_width: int = Field(2, ge=1, description="Fewest hidden channels of a branch.")
        branch_epochs: int | None = Field(
            None, ge=0, description="Passes over the proxy data that distil branches; by default as in `pretrain`."
        )
        path_epochs: int | None = Field(
            None,
            ge=0,
            description="Then passes that train random paths' branches by labels; by default as in `pretrain`.",
        )
        install: Literal["start", "download"] = Field(
            "start", description="Branches are on the devices at time 0, or travel when a device first adapts."
        )
        population: int = Field(4, ge=1, description="Paths tried on local data at a time.")
        generations: int = Field(2, ge=1, description="How often new paths near the best are tried.")
        max_ratio: Ratio = Field(1.0, gt=0, description="Parameters of a path over the backbone's, at most.")
        latency_budget: PositiveSeconds | None = Field(
            None, description="Time for serving one request at the present speed, at most."
        )
        training_budget: PositiveSeconds | None = Field(
            None, description="Time for fine-tuning at the present speed, at most."
        )
        epochs: int = Field(10, ge=1, description="Passes over local samples when a path is fine-tuned.")

        @model_validator(mode="after")
        def _ratios(self) -> Self:
            if any(ratio == 0 for ratio in self.ratios) or len(set(self.ratios)) < len(self.ratios):
                raise wrong("each ratio is more than 0 and stands here once", ("ratios",))
            return self

    params: Params
    needs_values = True  # paths are compared by their losses

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        self._supernet: Model | None = None

    @property
    def oracle(self) -> bool:
        """Whether devices are woken at the true instant of a drift."""
        return self.params.trigger.oracle

    def prepare(self, offline: Offline) -> Model:
        """Grow branches beside the pretrained network's blocks and distil it into them; serve the backbone at first."""
        from . import work

        backbone = offline.pretrained()
        architecture = supernet_of(offline.architecture, self._branching)
        fresh = offline.untrained(architecture, tag="branches")
        supernet = offline.derive([fresh, backbone], work.with_backbone, architecture, name="with branches")
        if len(offline.proxy):
            distilling = offline.pretraining.but(epochs=self.params.branch_epochs)
            supernet = offline.train(supernet, distilling, name="distilled", method=Method(work.distil))
            by_labels = offline.pretraining.but(epochs=self.params.path_epochs)
            supernet = offline.train(supernet, by_labels, name="supernet", method=Method(work.train_paths))
        self._supernet = supernet
        return backbone

    def run(self, world: World) -> Generator[Event, Any, None]:
        """Every device lives on its own."""
        assert self._supernet is not None
        paths = _Paths(world.environment.architecture, self._branching)
        lives = [_Life(device, world.rng("paths", device.name), paths) for device in world.devices]
        if self.params.install == "start":
            for life in lives:
                life.supernet = self._supernet
        trigger, collect_s = self.params.trigger, self.params.collect
        yield world.gather(
            world.process(
                trigger.act(world, life.device, partial(self._adapt, world, life, self._supernet), collect_s=collect_s)
            )
            for life in lives
        )

    @property
    def _branching(self) -> Branching:
        ratios = tuple(sorted(self.params.ratios, reverse=True))
        return Branching(ratios, self.params.short, self.params.min_width)

    def _adapt(self, world: World, life: _Life, offered: Model) -> Generator[Event, Any, bool]:
        device = life.device
        if not len(device.samples()):
            return False
        try:
            if life.supernet is None:
                life.supernet = yield device.download(offered)
            samples = device.samples()  # after the download, which takes time
            if not len(samples):
                return False
            found = yield from self._search(world, life, life.supernet, samples)
            if found is None:
                return False  # no path fits now: it goes on serving what it has
            choice, model = found
            trained = yield from fine_tune(world, device, model, samples, self.params.epochs)
        except VerbFailure:
            return False  # its row says what happened; the device goes on serving what it has
        life.tuned = choice, trained
        return True

    def _search(
        self, world: World, life: _Life, supernet: Model, samples: Samples
    ) -> Generator[Event, Any, tuple[Choice, Model] | None]:
        """The path with the smallest loss on local data among those tried; its tuned weights compete too."""
        from edgesim.jobs.arithmetic import evaluate

        from . import work

        device, paths, tuned, random = life.device, life.paths, life.tuned, life.random
        fitting = feasible(paths.branches, self._budgets(world, device, paths, len(samples)), random)
        fitting = [choice for choice in fitting if self._in_time(world, device, paths.architecture(choice), samples)]
        if not fitting:
            return None
        losses: dict[Choice, float] = {}
        made: dict[Choice, Model] = {}
        candidates = first_candidates(fitting, self.params.population, random)
        if tuned is not None and tuned[0] in fitting:
            candidates = [tuned[0], *(choice for choice in candidates if choice != tuned[0])]
        for _ in range(self.params.generations):
            for choice in candidates:
                if tuned is not None and choice == tuned[0]:
                    made[choice] = tuned[1]
                else:
                    target = paths.architecture(choice)
                    made[choice] = yield device.derive(
                        [supernet], work.take_path, target, base=paths.base, target=target, choice=choice
                    )
                scored = yield device.score(made[choice], evaluate, samples)
                loss = scored.value().loss
                losses[choice] = loss if math.isfinite(loss) else math.inf  # NaN is neither less nor more
            candidates = next_candidates(losses, fitting, self.params.population, random)
        best = min(losses, key=lambda choice: (losses[choice], choice))
        if losses[best] == math.inf:
            return None  # what it serves is no worse than any of these
        return best, made[best]

    def _budgets(self, world: World, device: Device, paths: _Paths, samples: int) -> list[BranchCosts]:
        how = world.training.but(epochs=self.params.epochs)
        speed, params = device.compute_flops_per_s, self.params
        size = paths.costs("parameters", how.optimizer)
        # With single samples: where that fits, smaller batches make the step fit.
        room = device.free_memory_bytes - device.hardware.memory_overhead_bytes
        budgets = [
            BranchCosts(*size, params.max_ratio * size[0]),
            BranchCosts(*paths.costs("memory", how.optimizer), room),
        ]
        if params.latency_budget is not None:
            budgets.append(BranchCosts(*paths.costs("forward", how.optimizer), params.latency_budget * speed))
        if params.training_budget is not None:
            overhead_s = device.hardware.step_overhead_s * steps(samples, how.batch_size, how.epochs)
            within = (params.training_budget - overhead_s) * speed / (how.epochs * samples)
            budgets.append(BranchCosts(*paths.costs("train", how.optimizer), within))
        return budgets

    def _in_time(self, world: World, device: Device, path: Architecture, samples: Samples) -> bool:
        """Whether a path is tuned within ``training_budget``, with the smaller batches that it needs."""
        overhead_s, budget_s = device.hardware.step_overhead_s, self.params.training_budget
        if budget_s is None or not overhead_s:
            return True  # then the sum over its branches tells
        how, costs = world.training.but(epochs=self.params.epochs), models.cost(path)
        room = device.free_memory_bytes - device.hardware.memory_overhead_bytes

        def fits(accumulate: int) -> bool:
            return costs.training_memory_bytes(how.but(accumulate=accumulate).largest_batch, how.optimizer) <= room

        count = steps(len(samples), how.batch_size, how.epochs, least_accumulation(fits, how.batch_size))
        flops = how.epochs * len(samples) * costs.train_flops_per_sample
        return flops <= (budget_s - count * overhead_s) * device.compute_flops_per_s


@final
@dataclass(slots=True)
class _Life:
    """What a device has come to.

    Attributes
    ----------
    device
        The device.
    random
        Which paths it tries.
    paths
        All that there are.
    supernet
        The network with branches, once it is there.
    tuned
        The path that it has fine-tuned last, and its weights.
    """

    device: Device
    random: np.random.Generator
    paths: _Paths
    supernet: Model | None = None
    tuned: tuple[Choice, Model] | None = None


@final
class _Paths:
    """The paths through one supernet and what they cost: the backbone, and what each branch changes."""

    def __init__(self, base: Architecture, branching: Branching) -> None:
        from .network import branch_counts

        self.base = base
        self.branches = branch_counts(base, branching)
        self._branching = branching
        self._counted: dict[str, tuple[float, tuple[tuple[float, ...], ...]]] = {}

    def architecture(self, choice: Choice) -> Architecture:
        """The network of a path."""
        return path_of(self.base, self._branching, choice)

    def costs(self, what: str, optimizer: str) -> tuple[float, tuple[tuple[float, ...], ...]]:
        """``parameters``, ``memory`` (of training with one sample), ``forward`` or ``train`` FLOPs per sample."""
        if what not in self._counted:
            own = self._count((0,) * len(self.branches), what, optimizer)
            changes = []
            for place, count in enumerate(self.branches):
                taken = [tuple(branch if b == place else 0 for b in range(len(self.branches)))
                         for branch in range(1, count + 1)]  # fmt: skip
                changes.append((0.0, *(self._count(choice, what, optimizer) - own for choice in taken)))
            self._counted[what] = own, tuple(changes)
        return self._counted[what]

    def _count(self, choice: Choice, what: str, optimizer: str) -> float:
        costs = models.cost(self.architecture(choice))
        match what:
            case "parameters":
                return float(costs.parameters)
            case "memory":
                return float(costs.training_memory_bytes(1, optimizer))
            case "forward":
                return costs.forward_flops_per_sample
        return costs.train_flops_per_sample
