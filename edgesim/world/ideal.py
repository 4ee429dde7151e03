"""What nobody can do: train at no cost, on samples of the present distribution, and have the result everywhere at once.

For upper bounds. What is done here is recorded with the status ``ideal``, and only an oracle may do it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..data import Samples
from ..jobs import Label
from .payload import Model
from .worker import Work, counted, phases_of

if TYPE_CHECKING:
    from .device import Device
    from .training import Method
    from .world import World


class Ideal:
    """Training and deployment that take no time, no bytes, no memory and no energy."""

    __slots__ = ("_world",)

    def __init__(self, world: World) -> None:
        self._world = world

    def samples(self, device: Device, count: int) -> Samples:
        """``count`` labelled samples of the training pool as the device's present distribution gives them.

        Nobody has taken them: they are there at the very instant of a drift.
        """
        world, data = self._world, device.data
        return Samples(
            view=data.ideal_view(count),
            device=device.name,
            from_s=world.now,
            to_s=world.now,
            phase=data.phase,
            size_bytes=0,
            as_of_s=world.now,
            as_of_phase=data.phase,
        )

    def phase(self, device: Device) -> int:
        """How many changes there have been of the device's data: what tells who has drifted."""
        return device.data.phase

    def train(
        self,
        model: Model,
        on: Sequence[Samples],
        *,
        tag: str | int | None = None,
        method: Method | None = None,
        **settings: Any,
    ) -> Model:
        """Train ``model`` at once; see ``Device.train`` for the settings."""
        from ..jobs.arithmetic import train

        world = self._world
        how = world.training.but(**settings)
        job_id, seed = world.names.seeded("train", "ideal", tag)
        count, taken = counted(on)
        function, inputs, parameters = (train, (), {}) if method is None else (
            method.function, method.inputs, method.parameters
        )  # fmt: skip
        state = world.plane.submit(
            function,
            model.state,
            *inputs,
            *[samples.view for samples in on],
            label=Label(world.label, "ideal", world.now, job_id, "train"),
            seed=seed,
            architecture=model.architecture,
            epochs=how.epochs,
            batch_size=how.batch_size,
            accumulate=how.accumulate,
            learning_rate=how.learning_rate,
            optimizer=how.optimizer,
            **parameters,
        )
        work = Work(
            job_id=job_id,
            kind="train",
            flops=0.0,
            memory_bytes=0,
            samples=count,
            batch_size=how.micro_batch_size,
            data=taken,
            input_model_ids=(model.id,),
            output_model_id=job_id,
            outcome=state.part("outcome"),
        )
        world.recorder.ideal(work)
        return Model(
            job_id,
            model.architecture,
            state.part("state"),
            model.lineage.with_samples(phases_of(taken)),
            model.scored,
        )

    def give(self, device: Device, model: Model) -> None:
        """Let ``device`` serve ``model`` from now on, wherever it was made and whether the device is there or not."""
        device.serve(model, "device", "deploy")
