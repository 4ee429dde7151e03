"""The verbs that compute, the same on a device and in the cloud: train, score, average, solve.

What a verb costs follows from the architecture and the number of samples; what it computes is submitted to the work
plane in the same instant, so virtual time never waits for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from .. import models
from ..jobs import Label, Plane, largest_part
from .payload import Lineage, Model
from .verbs import Verb
from .worker import Work, Worker, counted, phases_of

if TYPE_CHECKING:
    from ..data import Samples, View
    from ..jobs import Handle
    from ..jobs.arithmetic import Recipe
    from ..models import Architecture
    from .names import Names
    from .prices import Prices


@dataclass(frozen=True, slots=True)
class Training:
    """How a model is trained.

    Attributes
    ----------
    epochs
        Passes over the samples, at least 0.
    batch_size
        Samples per optimizer step, at least 1.
    accumulate
        Each optimizer step is done in so many smaller batches, at least 1: less memory, the same step.
    learning_rate
        Greater than 0.
    optimizer
        ``sgd``, ``momentum`` (0.9) or ``adam``.
    recipe
        How the step size goes and how images are varied; None: constant, as they are.
    """

    epochs: int = 1
    batch_size: int = 16
    accumulate: int = 1
    learning_rate: float = 0.05
    optimizer: str = "sgd"
    recipe: Recipe | None = None

    @property
    def micro_batch_size(self) -> int:
        """Samples that go through the network at a time."""
        return math.ceil(self.batch_size / self.accumulate)

    @property
    def largest_batch(self) -> int:
        """Samples that may be in memory at a time, however many there are: a last one joins the batch before it."""
        return self.micro_batch_size + 1 if self.micro_batch_size > 1 else 1

    def largest_of(self, samples: int) -> int:
        """Samples that are in memory at a time where there are so many, at least 1."""
        return max(1, largest_part(samples, self.batch_size, self.accumulate))

    def but(self, **changes: Any) -> Training:
        """The same with some settings replaced; ``None`` leaves a setting as it is."""
        fresh = {name: value for name, value in changes.items() if value is not None and value != getattr(self, name)}
        return replace(self, **fresh) if fresh else self

    def asked_of(self, method: Method) -> dict[str, Any]:
        """What a job function is told of this, and of the method's own parameters."""
        return self.asked | dict(method.parameters)

    @property
    def asked(self) -> dict[str, Any]:
        """What a job function is told of this."""
        told: dict[str, Any] = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "accumulate": self.accumulate,
            "learning_rate": self.learning_rate,
            "optimizer": self.optimizer,
        }
        if self.recipe is not None:
            told["recipe"] = self.recipe
        return told


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """A learner's own way to train: what it computes; what it costs is counted as for any training.

    Attributes
    ----------
    function
        A job ``f(state, *inputs, *views, architecture, epochs, batch_size, accumulate, learning_rate, optimizer,
        [recipe], seed, **parameters)`` that returns ``Trained`` (see ``edgesim.jobs.arithmetic.train``).
    inputs
        Handles that it reads besides.
    parameters
        Its own parameters.
    """

    function: Callable[..., Any]
    inputs: tuple[Handle, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)


@cache
def plain_training() -> Callable[..., Any]:
    """What a device computes where its learner has no way of its own; imports torch."""
    from ..jobs.arithmetic import train

    return train


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where one node's computing verbs happen.

    Attributes
    ----------
    node
        The node's name.
    worker
        Its processor and memory.
    plane
        The work plane.
    names
        Unique names of jobs and their seeds.
    prices
        What models and trainings cost.
    learner
        The learner's label, for messages.
    step_overhead_s
        Seconds added per training step.
    memory_overhead_bytes
        Bytes that the training framework needs on top of the model's own.
    """

    node: str
    worker: Worker
    plane: Plane
    names: Names
    prices: Prices
    learner: str
    step_overhead_s: float = 0.0
    memory_overhead_bytes: int = 0

    def train(
        self,
        model: Model,
        data: Sequence[Samples],
        how: Training,
        method: Method | None,
        tag: str | int | None,
        now_s: float,
    ) -> Verb[Model]:
        """Train ``model`` on all of ``data`` together; see ``Device.train``."""
        architecture = model.architecture
        count, taken = counted(data)
        price = self.prices.training(architecture, how, count)
        job_id, seed = self.names.seeded("train", self.node, tag)
        plane = self.plane
        label = Label(self.learner, self.node, now_s, job_id, "train")
        if method is None:
            kind = price.kind
            if kind is None:
                kind = price.kind = plane.kind(plain_training(), architecture=architecture, **how.asked)
            inputs: tuple[object, ...] = (model.state, *[samples.view for samples in data])
        else:
            kind = plane.kind(method.function, architecture=architecture, **how.asked_of(method))
            inputs = (model.state, *method.inputs, *[samples.view for samples in data])
        state = plane.submit_one(kind, inputs, label, seed)
        work = Work(
            job_id,
            "train",
            price.flops,
            price.memory_bytes + self.memory_overhead_bytes,
            price.steps * self.step_overhead_s,
            count,
            price.batch_size,
            taken,
            (model.id,),
            job_id,
            state.part("outcome"),
        )
        lineage = model.lineage.with_samples(phases_of(taken))
        return self.worker.compute(work, Model(job_id, architecture, state.part("state"), lineage, model.scored))

    def average(
        self, summands: Sequence[Model], weights: Sequence[float] | None, tag: str | int | None, now_s: float
    ) -> Verb[Model]:
        """Average ``summands`` of one architecture; see ``Cloud.average``."""
        from ..jobs.arithmetic import average

        if not summands:
            raise ValueError("average() needs at least one model")
        architecture = summands[0].architecture
        others = [model for model in summands if model.architecture is not architecture]
        if any(model.architecture != architecture for model in others):
            raise ValueError("average() needs models of one architecture")
        if weights is not None and len(weights) != len(summands):
            raise ValueError(f"average() got {len(weights)} weights for {len(summands)} models")
        job_id = self.names.new("average", self.node, tag)
        costs = self.prices.model(architecture).cost
        work = Work(
            job_id=job_id,
            kind="average",
            flops=2.0 * costs.parameters * len(summands),  # a multiplication and an addition each
            memory_bytes=2 * costs.weight_bytes,  # the sum and one summand: models are added as they come
            input_model_ids=tuple(model.id for model in summands),
            output_model_id=job_id,
        )
        state = self.plane.submit(
            average,
            *[model.state for model in summands],
            label=Label(self.learner, self.node, now_s, job_id, "average"),
            weights=None if weights is None else tuple(float(weight) for weight in weights),
        )
        lineage = Lineage.merged(model.lineage for model in summands)
        scored = Lineage.merged(model.scored for model in summands)
        return self.worker.compute(work, Model(job_id, architecture, state, lineage, scored))

    def derive(
        self,
        sources: Sequence[Model],
        function: Callable[..., Any],
        architecture: Architecture,
        inputs: Sequence[Handle | View],
        flops: float,
        scored: Sequence[Samples],
        parameters: Mapping[str, Any],
        tag: str | int | None,
        now_s: float,
    ) -> Verb[Model]:
        """Make a model out of ``sources`` by a function of their weights; see ``Cloud.derive``."""
        if not sources:
            raise ValueError("derive() needs at least one model")
        job_id, seed = self.names.seeded("derive", self.node, tag)
        work = Work(
            job_id=job_id,
            kind="derive",
            flops=flops,
            memory_bytes=2 * models.weight_bytes(architecture),  # the new weights, and one source at a time
            input_model_ids=tuple(model.id for model in sources),
            output_model_id=job_id,
        )
        state = self.plane.submit(
            function,
            *[model.state for model in sources],
            *inputs,
            label=Label(self.learner, self.node, now_s, job_id, "derive"),
            seed=seed,
            **parameters,
        )
        lineage = Lineage.merged(model.lineage for model in sources)
        by_scores = Lineage.merged(model.scored for model in sources).with_samples(phases_of(scored))
        return self.worker.compute(work, Model(job_id, architecture, state, lineage, by_scores))

    def score(
        self,
        model: Model,
        data: Sequence[Samples],
        function: Callable[..., Any],
        parameters: dict[str, Any],
        tag: str | int | None,
        now_s: float,
    ) -> Verb[Handle]:
        """Run ``model`` forward over ``data``; see ``Device.score``."""
        costs = self.prices.model(model.architecture).cost
        count, taken = counted(data)
        job_id, seed = self.names.seeded("score", self.node, tag)
        work = Work(
            job_id=job_id,
            kind="score",
            flops=count * costs.forward_flops_per_sample,
            memory_bytes=costs.inference_memory_bytes,
            samples=count,
            batch_size=1,
            data=taken,
            input_model_ids=(model.id,),
        )
        scores = self.plane.submit(
            function,
            model.state,
            *[samples.view for samples in data],
            label=Label(self.learner, self.node, now_s, job_id, "score"),
            seed=seed,
            architecture=model.architecture,
            **parameters,
        )
        return self.worker.compute(work, scores)

    def solve(self, flops: float, tag: str | int | None) -> Verb[None]:
        """Spend a declared number of FLOPs on a decision; see ``Cloud.solve``."""
        job_id = self.names.new("solve", self.node, tag)
        return self.worker.compute(Work(job_id=job_id, kind="solve", flops=flops, memory_bytes=0), None)
