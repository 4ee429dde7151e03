"""What happens before time 0: models are made and pretrained on the cloud's proxy data, at no virtual time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import models
from ..jobs import Label, Plane
from ..models import Architecture
from ..seeds import stream_seed
from .payload import Model
from .training import Method, Training
from .worker import Work

if TYPE_CHECKING:
    from ..data import View
    from ..jobs import Handle
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
    remarks
        What whoever runs it should know, such as a parameter that could not be kept: ``edgesim run`` and the manifest
        tell.
    """

    environment: Environment
    plane: Plane
    label: str
    work: list[Work] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    _names: set[str] = field(default_factory=set, init=False, repr=False)
    _pretrained: Model | None = field(default=None, init=False, repr=False)

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
            label=Label(self.label, "cloud", 0.0, name, "initialise", shared=True),
            seed=stream_seed(self.environment.seed, "initialise", architecture.stream_name, tag),
            architecture=architecture,
        )
        return Model(name, architecture, state)

    @property
    def pretraining(self) -> Training:
        """How the scenario pretrains."""
        from ..jobs.arithmetic import Recipe

        how = self.environment.scenario.pretrain
        varied = how.schedule != "constant" or how.augment
        return Training(
            epochs=how.epochs,
            batch_size=how.batch_size,
            learning_rate=how.learning_rate,
            optimizer=how.optimizer,
            recipe=Recipe(how.schedule, how.augment) if varied else None,
        )

    def pretrained(self) -> Model:
        """The scenario's model, trained on the proxy data as ``pretrain`` says: once, and learners share this job."""
        if self._pretrained is None:
            self._pretrained = self.train(self._start(), self.pretraining, name="pretrained")
        return self._pretrained

    def _start(self) -> Model:
        """What pretraining starts from: random weights, or those of a file."""
        drawn, file = self.untrained(), self.environment.scenario.pretrain.weights
        if file is None:
            return drawn
        if not self.plane.computes:
            return Model("saved", drawn.architecture, drawn.state)
        from ..jobs.arithmetic import start_from

        state = self.plane.submit(
            start_from,
            drawn.state,
            label=Label(self.label, "cloud", 0.0, "saved", "start_from", shared=True),
            saved=models.SavedWeights.of(file),
        )
        return Model("saved", drawn.architecture, state)

    def _claim(self, name: str) -> None:
        """Take a name; a second time it is refused."""
        if name in self._names:
            raise ValueError(
                f"the name {name!r} is taken: what is made before the start needs a name of its own each, since jobs, "
                "models and random streams are called by it"
            )
        self._names.add(name)

    def train(
        self,
        model: Model,
        training: Training,
        *,
        name: str,
        on: View | None = None,
        method: Method | None = None,
    ) -> Model:
        """Train ``model``; the new model is called ``name``.

        Parameters
        ----------
        model
            Where to start from.
        training
            How.
        name
            Unique among what is trained, derived and scored before the start; the job draws from the stream of this
            name.
        on
            Samples; by default all proxy data.
        method
            The learner's own way to train; by default by cross-entropy.

        Raises
        ------
        ValueError
            The name was used before.
        """
        from ..jobs.arithmetic import train

        self._claim(name)
        view = self.proxy if on is None else on
        costs = models.cost(model.architecture)
        method = method or Method(train)
        state = self.plane.submit(
            method.function,
            model.state,
            *method.inputs,
            view,
            label=Label(self.label, "cloud", 0.0, name, "pretrain", shared=True),
            seed=stream_seed(self.environment.seed, "pretrain", model.architecture.stream_name, name),
            architecture=model.architecture,
            **training.asked_of(method),
        )
        self.work.append(
            Work(
                job_id=f"offline/pretrain/{name}",
                kind="pretrain",
                flops=training.epochs * len(view) * costs.train_flops_per_sample,
                memory_bytes=costs.training_memory_bytes(training.largest_of(len(view)), training.optimizer),
                samples=len(view),
                batch_size=training.micro_batch_size,
                input_model_ids=(model.id,),
                output_model_id=name,
                outcome=state.part("outcome"),
            )
        )
        return Model(name, model.architecture, state.part("state"))

    def derive(
        self,
        sources: Sequence[Model],
        function: Callable[..., Any],
        architecture: Architecture,
        *,
        name: str,
        inputs: Sequence[Handle | View] = (),
        flops: float = 0.0,
        **parameters: Any,
    ) -> Model:
        """Make a model called ``name`` out of models, by a job on their weights; see ``train`` and ``Cloud.derive``."""
        self._claim(name)
        state = self.plane.submit(
            function,
            *[model.state for model in sources],
            *inputs,
            label=Label(self.label, "cloud", 0.0, name, "derive", shared=True),
            seed=stream_seed(self.environment.seed, "derive", architecture.stream_name, name),
            **parameters,
        )
        self.work.append(
            Work(
                job_id=f"offline/derive/{name}",
                kind="derive",
                flops=flops,
                memory_bytes=2 * models.weight_bytes(architecture),
                input_model_ids=tuple(model.id for model in sources),
                output_model_id=name,
            )
        )
        return Model(name, architecture, state)

    def score(self, model: Model, function: Callable[..., Any], *, name: str, **parameters: Any) -> Handle:
        """Run ``model`` forward over the proxy data; ``name`` as in ``train``; see ``Device.score``."""
        self._claim(name)
        costs = models.cost(model.architecture)
        samples = len(self.proxy)
        scores = self.plane.submit(
            function,
            model.state,
            self.proxy,
            label=Label(self.label, "cloud", 0.0, name, "score", shared=True),
            seed=stream_seed(self.environment.seed, "score", model.architecture.stream_name, name),
            architecture=model.architecture,
            **parameters,
        )
        self.work.append(
            Work(
                job_id=f"offline/score/{name}",
                kind="score",
                flops=samples * costs.forward_flops_per_sample,
                memory_bytes=costs.inference_memory_bytes,
                samples=samples,
                batch_size=1,
                input_model_ids=(model.id,),
            )
        )
        return scores
