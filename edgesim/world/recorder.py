"""Where the world plane's rows are made: every verb and every change of the environment writes its own row here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from simpy import Environment

from ..tables import WorldTables
from .selection import read_share

if TYPE_CHECKING:
    from ..jobs import Handle
    from ..tables.writer import Cells
    from .battery import Battery
    from .device import Device
    from .drift import Strike
    from .memory import Memory
    from .payload import Model
    from .prices import Prices
    from .radio import Shipment
    from .selection import Selection
    from .worker import Work


_COMPUTED = ("done", "offline", "ideal")
"""How jobs end whose results somebody may have."""


class Recorder:
    """Turns what happens in one world into rows, at the virtual time at which it happens.

    Parameters
    ----------
    env
        The SimPy environment: its clock dates the rows.
    tables
        The world's rows.
    read_evaluation
        Turns the value of an evaluation's handle into the cells ``(correct, accuracy, loss)``.
    """

    def __init__(
        self,
        env: Environment,
        tables: WorldTables,
        read_evaluation: Callable[[Any], Sequence[float | int | None]],
    ) -> None:
        self._env = env
        self._tables = tables
        self._transfers = tables.adder("transfers")
        self._computations = tables.adder("computations", read=_training)
        self._deployments = tables.adder("deployments")
        self._selections = tables.adder("selections", read=read_share)
        self._drifts = tables.adder("drifts")
        self._accuracy = tables.adder("accuracy", read=read_evaluation)
        self._detections = tables.adder("detections")
        self._memory = tables.adder("memory")
        self._availability = tables.adder("availability")
        self._battery = tables.adder("battery")
        self._serving = tables.adder("serving")

    def start(self, devices: Sequence[Device], prices: Prices) -> None:
        """Time 0: who is there, and what serves every device."""
        names = [device.name for device in devices]
        states = ["online" if device.online else "offline" for device in devices]
        causes = [device.away_cause or "start" for device in devices]
        self._tables.extend("availability", len(names), names, self._env._now, states, causes)
        served = {id(device.model): device.model for device in devices}
        cells = {
            key: (model.id, model.architecture.name, prices.model(model.architecture).wire_bytes)
            for key, model in served.items()
        }
        columns: Sequence[Any] = next(iter(cells.values()))
        if len(cells) > 1:
            columns = [list(column) for column in zip(*[cells[id(device.model)] for device in devices], strict=True)]
        self._tables.extend(
            "deployments",
            len(names),
            names,
            self._env._now,
            "start",
            "device",
            *columns,
            *("", "", ""),  # nothing has drifted
        )

    def transfer(
        self,
        shipment: Shipment,
        start_s: float,
        sent_bytes: float,
        status: str,
        cause: str,
        energy_j: float | None,
    ) -> None:
        """A transfer is over, or is still under way at the horizon (``in_flight``)."""
        self._transfers(
            shipment.transfer_id,
            shipment.device,
            shipment.peer,
            shipment.direction,
            shipment.kind,
            start_s,
            None if status == "in_flight" else self._env._now,
            shipment.size_bytes,
            sent_bytes,
            status,
            cause,
            energy_j,
            shipment.model_id,
            shipment.data_device,
            shipment.data_from_s,
            shipment.data_to_s,
            shipment.data_phase,
        )

    def computation(
        self,
        node: str,
        work: Work,
        start_s: float,
        done_flops: float,
        available_bytes: int | None,
        busy_s: float,
        energy_j: float | None,
        status: str,
        cause: str,
    ) -> None:
        """A job is over, was refused, or is still running at the horizon (``running``)."""
        if not work.data:
            from_s, to_s, data = None, None, ""
        elif len(work.data) == 1:
            (samples,) = work.data
            from_s, to_s, data = samples.from_s, samples.to_s, f"{samples.device}@{samples.phase}"
        else:
            from_s = min([samples.from_s for samples in work.data])
            to_s = max([samples.to_s for samples in work.data])
            data = ";".join([f"{samples.device}@{samples.phase}" for samples in work.data])
        self._computations(
            work.job_id,
            node,
            work.kind,
            start_s,
            None if status == "running" else self._env._now,
            work.flops,
            done_flops,
            work.samples or None,
            work.batch_size or None,
            work.memory_bytes,
            available_bytes,
            busy_s,
            energy_j,
            status,
            cause,
            from_s,
            to_s,
            data,
            ";".join(work.input_model_ids),
            work.output_model_id,
            work.outcome if status in _COMPUTED else None,
        )

    def offline(self, work: Work) -> None:
        """Something was computed in the cloud before time 0: no virtual time, but its FLOPs are told."""
        self.computation(
            "cloud",
            work,
            start_s=0.0,
            done_flops=work.flops,
            available_bytes=None,
            busy_s=0.0,
            energy_j=None,
            status="offline",
            cause="",
        )

    def ideal(self, work: Work) -> None:
        """Something was computed that costs nothing: see ``Ideal``."""
        self.computation(
            "cloud",
            work,
            start_s=self._env._now,
            done_flops=0.0,
            available_bytes=None,
            busy_s=0.0,
            energy_j=None,
            status="ideal",
            cause="",
        )

    def memory(self, node: str, event: str, work: Work, memory: Memory) -> None:
        """A job took or gave back memory, was killed for it, or was refused."""
        self._memory(
            node,
            self._env._now,
            event,
            work.job_id,
            memory.used_bytes,
            work.memory_bytes,
            memory.available_bytes,
        )

    def deployment(
        self,
        device: str,
        cause: str,
        serving: str,
        model: Model,
        size_bytes: int,
        informed_by: str,
        cohort_informed_by: str,
        score_informed_by: str,
    ) -> None:
        """Another model serves a device from now on."""
        self._deployments(
            device,
            self._env._now,
            cause,
            serving,
            model.id,
            model.architecture.name,
            size_bytes,
            informed_by,
            cohort_informed_by,
            score_informed_by,
        )

    def selection(self, device: str, model: Model, selection: Selection) -> None:
        """A device serves with other modules from now on."""
        for layer, module, held, share in selection.cells():
            self._selections(device, self._env._now, model.id, layer, module, held, share)

    def drift(self, strike: Strike, device: str, phase: int, replaced_samples: int) -> None:
        """A device's data changed."""
        self._drifts(
            strike.drift_id(device),
            strike.episode_id(device),
            strike.cohort_id,
            strike.name,
            device,
            self._env._now,
            phase,
            strike.step,
            strike.steps,
            strike.opens_episode,
            strike.undo,
            strike.kind,
            replaced_samples,
            strike.detail,
        )

    def accuracy(
        self,
        device: str,
        cause: str,
        view: str,
        serving: str,
        model_id: str,
        samples: int,
        evaluation: Handle | None,
    ) -> None:
        """A device's accuracy changes to what ``evaluation`` will turn out to be."""
        self._accuracy(device, self._env._now, cause, view, serving, model_id, samples, evaluation)

    def detection(
        self,
        device: str,
        detector: str,
        event: str,
        drift_id: str,
        delay_s: float | None,
        samples: int,
        model_id: str,
    ) -> None:
        """A drift detector was set up, or raised an alarm."""
        self._detections(device, self._env._now, detector, event, drift_id, delay_s, samples, model_id)

    def availability(self, device: str, state: str, cause: str) -> None:
        """A device came or went."""
        self._availability(device, self._env._now, state, cause)

    def energy(self, devices: Sequence[Device]) -> None:
        """What devices have spent in all: idle, compute, radio; missing where their power is not known."""
        names = [device.name for device in devices]
        online_s = [device.online_s for device in devices]
        spent = [device.spent_j for device in devices]
        parts = zip(*[(None, None, None) if joules is None else joules for joules in spent], strict=True)
        totals = [None if joules is None else sum(joules) for joules in spent]
        self._tables.extend("energy", len(names), names, online_s, *parts, totals)

    def battery(self, device: str, event: str, battery: Battery) -> None:
        """Something about a battery changed; between two rows its level is a line, held at full."""
        self._battery(
            device,
            self._env._now,
            event,
            max(0.0, battery.level_j),
            max(0.0, battery.level_j) / battery.capacity_j,
            battery.draw_w,
            battery.charging_w,
            battery.charged_j,
            battery.spent_j,
        )

    def serving(self, device: str, *cells: float | str | None) -> None:
        """A stretch of serving; the cells in the order of the table's columns after ``device``."""
        self._serving(device, *cells)

    def environment(self, nodes: Cells, resources: Cells, times_s: Cells, values: Cells) -> None:
        """Steps of the environment's signals, in columns."""
        self._tables.extend("environment", len(nodes), nodes, resources, times_s, values)


def _training(outcome: tuple[float, bool]) -> tuple[float | None, int]:
    """The cells of ``Trained.outcome``; there is no loss where nothing was trained on, or not to the end."""
    loss, diverged = outcome
    return (loss if math.isfinite(loss) else None), int(diverged)
