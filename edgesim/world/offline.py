"""What happens before time 0: models are made and pretrained on the cloud's proxy data, at no virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .. import models
from ..jobs import Label, Plane
from ..models import Architecture
from ..seeds import stream_seed
from .payload import Model
from .training import Training
from .worker import Work

if TYPE_CHECKING:
    from ..data import View
    from .environment import Environment


@dataclass(slots=True)
class Offline:
    """What a learner may use in ``prepare``.

    Attributes
    ----------
    environment
        The seed's environment.
    plane
        The work plane.
    label
        The learner's label, for messages.
    work
        What has been done so far: reported as offline cost.
    """

    environment: Environment
    plane: Plane
    label: str
    work: list[Work] = field(default_factory=list)

    @property
    def architecture(self) -> Architecture:
        """The scenario's model."""
        return self.environment.architecture

    @property
    def proxy(self) -> View:
        """The cloud's proxy data; empty where the scenario gives it none."""
        return self.environment.proxy

    def untrained(self, architecture: Architecture | None = None, *, tag: str | int = "0") -> Model:
        """A freshly initialised model (by default the scenario's); another tag draws other weights."""
        from ..jobs.arithmetic import initialise

        architecture = architecture or self.architecture
        name = f"untrained/{tag}"
        state = self.plane.submit(
            initialise,
            label=Label(self.label, "cloud", 0.0, name),
            seed=stream_seed(self.environment.seed, "initialise", architecture.key, tag),
            architecture=architecture,
        )
        return Model(name, architecture, state)

    def pretrained(self) -> Model:
        """The scenario's model, trained on the proxy data as ``pretrain`` says; learners share this job."""
        how = self.environment.scenario.pretrain
        training = Training(
            epochs=how.epochs,
            batch_size=how.batch_size,
            learning_rate=how.learning_rate,
            optimizer=how.optimizer,
        )
        return self.train(self.untrained(), training, name="pretrained")

    def train(self, model: Model, training: Training, *, name: str) -> Model:
        """Train ``model`` on the proxy data; the new model is called ``name``."""
        from ..jobs.arithmetic import train

        proxy = self.proxy
        costs = models.cost(model.architecture)
        state = self.plane.submit(
            train,
            model.state,
            proxy,
            label=Label(self.label, "cloud", 0.0, name),
            seed=stream_seed(self.environment.seed, "pretrain", model.architecture.key, name),
            architecture=model.architecture,
            epochs=training.epochs,
            batch_size=training.batch_size,
            accumulate=training.accumulate,
            learning_rate=training.learning_rate,
            optimizer=training.optimizer,
        )
        self.work.append(
            Work(
                job_id=f"offline/pretrain/{name}",
                kind="pretrain",
                flops=training.epochs * len(proxy) * costs.train_flops_per_sample,
                memory_bytes=costs.training_memory_bytes(training.largest_batch, training.optimizer),
                samples=len(proxy),
                batch_size=training.micro_batch_size,
                input_model_ids=(model.id,),
                output_model_id=name,
            )
        )
        return Model(name, model.architecture, state.part("state"))
