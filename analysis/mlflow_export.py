"""A run folder copied into an MLflow tracking store: parameters, final metrics, and how they grew over virtual time.

Needs ``pip install 'edgesim[mlflow]'``. The run folder stays the truth: MLflow gets numbers to look at, no tables.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from analysis.difference import by_name
from analysis.run import Run
from analysis.worlds import WORLD
from edgesim.tables import UserError

DEFAULT_URI = "sqlite:///mlflow.db"
"""A file in the working directory: `mlflow ui --backend-store-uri sqlite:///mlflow.db` shows it."""

POINTS = 1000
"""Points of a curve; a longer one is read off at so many even times."""

_BATCH = {"metrics": 1000, "params": 100}  # what MLflow takes at a time
_LONGEST_PARAM = 500  # of old servers; newer ones take 6000
_STATUS = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "running": "RUNNING"}

_SOURCE = "edgesim.source"
"""The tag by which a run is known that was exported before."""
_EXPORTED = "edgesim.exported"
"""The tag that a run gets when its export is complete: the run's status then."""


@dataclass(frozen=True, slots=True)
class Exported:
    """Where a run went. ``before``: it had been exported already, and nothing was done."""

    uri: str
    experiment: str
    run_id: str
    worlds: int
    before: bool = False


def export_mlflow(run: Run, uri: str = DEFAULT_URI) -> Exported:
    """Copy a run of one folder into MLflow; once: a second time nothing is done.

    The experiment is called after the scenario. The run folder becomes an MLflow run, with the resolved scenario as
    parameters and the means over seeds as metrics (``ecavg/accuracy``). Each (learner, seed) becomes a run nested in
    it, with the learner's parameters, every metric that was measured, and three curves: ``accuracy_over_time`` (mean
    over devices), ``up_bytes_over_time`` and ``down_bytes_over_time`` (a transfer counts when it ends, or where the
    world's tables end). A curve's step is the virtual time in whole seconds; MLflow's relative time is the virtual time
    too.

    Parameters
    ----------
    run
        A run, finished or not.
    uri
        A tracking store, such as ``sqlite:///mlflow.db`` or ``http://localhost:5000``.

    Returns
    -------
    Exported

    Raises
    ------
    UserError
        MLflow, or what it needs for such a store, is not installed; the store cannot be opened.
    """
    client = _client(uri)
    folder = run.folders[0].absolute()
    source = hashlib.sha256(f"{folder} {run.manifest.get('started')}".encode()).hexdigest()[:16]
    status = str(run.manifest["status"])
    experiment = client.get_experiment_by_name(run.name)
    experiment_id = client.create_experiment(run.name) if experiment is None else experiment.experiment_id
    old = client.search_runs([experiment_id], f"tags.`{_SOURCE}` = '{source}'", max_results=50_000)
    for found in old:
        if found.data.tags.get(_EXPORTED) == status != "running":
            return Exported(uri, run.name, found.info.run_id, len(run.worlds), before=True)
    for found in old:  # of a run that has gone on since, or an export that was stopped
        client.delete_run(found.info.run_id)
    parent = _Record(
        client, experiment_id, folder.name, _began_ms(run), {_SOURCE: source, "edgesim.run_folder": str(folder)}
    )
    parent.params({**_flat(run.manifest["scenario"]), **_flat({"versions": run.manifest.get("versions", {})})})
    for world in run.worlds.to_dict(orient="records"):
        _export_world(client, experiment_id, parent.run_id, run, world, {_SOURCE: source})
    estimates = run.estimates
    names = estimates["learner"] + "/" + estimates["metric"]
    parent.metrics(dict(zip(names.tolist(), estimates["value"].tolist(), strict=True)))
    parent.close(_STATUS[status], float(run.worlds["until_s"].max()) if len(run.worlds) else 0.0)
    client.set_tag(parent.run_id, _EXPORTED, status)
    return Exported(uri, run.name, parent.run_id, len(run.worlds))


def _export_world(
    client: Any, experiment_id: str, parent_id: str, run: Run, world: Mapping[Any, Any], tags: Mapping[str, str]
) -> None:
    learner, seed = world["learner"], world["seed"]
    tags = {**tags, "mlflow.parentRunId": parent_id, "edgesim.oracle": str(world["oracle"]).lower()}
    record = _Record(client, experiment_id, f"{learner}, seed {seed}", _began_ms(run), tags)
    facts = run.params[learner]
    known = {"learner": learner, "learner.kind": facts["learner"], "seed": seed}
    own = {f"params.{name}" if name in known else name: value for name, value in _flat(facts["params"]).items()}
    record.params(known | own)
    record.metrics(run.seed_metrics.loc[(learner, seed)].to_dict())
    for name, curve in _curves(run, learner, seed).items():
        record.curve(f"{name}_over_time", curve)
    record.close("FINISHED" if world["finished"] else "KILLED", world["until_s"])


def _curves(run: Run, learner: str, seed: int) -> dict[str, pd.Series[float]]:
    """What grows over time: numbers, indexed by virtual time."""

    def own(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[(frame[WORLD[0]] == learner) & (frame[WORLD[1]] == seed)]

    fleet = own(run.fleet)
    curves = {"accuracy": fleet.set_index("time_s")["accuracy"].dropna()}
    transfers, serving = own(run.transfers), own(run.serving)
    transfers = transfers.assign(end_s=transfers["end_s"].fillna(float(own(run.worlds)["until_s"].iloc[0])))
    for way in ("up", "down"):
        sent = transfers[transfers["direction"] == way].set_index("end_s")["sent_bytes"]
        asked = serving.set_index("end_s")[f"{way}_bytes"]
        curves[f"{way}_bytes"] = pd.concat([sent, asked]).groupby(level=0).sum().cumsum()
    return {name: _thinned(curve) for name, curve in curves.items()}


def _thinned(curve: pd.Series[float]) -> pd.Series[float]:
    """Read a step function off at ``POINTS`` even times, where it has more steps than that."""
    if len(curve) <= POINTS:
        return curve
    times = curve.index.to_numpy(np.float64)
    wanted = np.linspace(times[0], times[-1], POINTS)
    return pd.Series(curve.to_numpy()[np.searchsorted(times, wanted, side="right") - 1], index=wanted)


class _Record:
    """One MLflow run that is being written."""

    def __init__(self, client: Any, experiment_id: str, name: str, began_ms: int, tags: Mapping[str, str]) -> None:
        self.client = client
        self.began_ms = began_ms
        tags = {**tags, "mlflow.runName": name}
        created = client.create_run(experiment_id, start_time=began_ms, tags=tags, run_name=name)
        self.run_id: str = created.info.run_id

    def params(self, values: Mapping[str, object]) -> None:
        """Write parameters."""
        from mlflow.entities import Param

        params = [Param(_key(name), str(value)[:_LONGEST_PARAM]) for name, value in values.items()]
        for batch in _batches(params, _BATCH["params"]):
            self.client.log_batch(self.run_id, params=batch)

    def metrics(self, values: Mapping[Any, float]) -> None:
        """Write final numbers: those that were measured. What was not reached is told in a tag."""
        from mlflow.entities import Metric

        at_ms = self.began_ms
        metrics = [Metric(_key(str(name)), value, at_ms, 0) for name, value in values.items() if math.isfinite(value)]
        for batch in _batches(metrics, _BATCH["metrics"]):
            self.client.log_batch(self.run_id, metrics=batch)
        infinite = [str(name) for name, value in values.items() if math.isinf(value)]
        if infinite:
            self.client.set_tag(self.run_id, "edgesim.not_reached", ", ".join(infinite)[:_LONGEST_PARAM])

    def curve(self, name: str, curve: pd.Series[float]) -> None:
        """Write numbers over virtual time."""
        from mlflow.entities import Metric

        points = [
            Metric(name, float(value), self.began_ms + round(1000 * time_s), int(time_s))
            for time_s, value in zip(curve.index.tolist(), curve.tolist(), strict=True)
        ]
        for batch in _batches(points, _BATCH["metrics"]):
            self.client.log_batch(self.run_id, metrics=batch)

    def close(self, status: str, until_s: float) -> None:
        """Tell how it ended, and when in virtual time."""
        self.client.set_terminated(self.run_id, status, end_time=self.began_ms + round(1000 * until_s))


def _client(uri: str) -> Any:
    missing = "the export to MLflow needs packages that are not installed: pip install 'edgesim[mlflow]'"
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ModuleNotFoundError as error:
        raise UserError(missing) from error
    for name in ("mlflow", "alembic"):  # both tell at length how they make a new database
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    except ModuleNotFoundError as error:
        raise UserError(f"{missing} ({error.name})") from error
    except MlflowException as error:
        raise UserError(f"MLflow cannot open {uri}: {str(error).splitlines()[0]}") from error
    return client


def _began_ms(run: Run) -> int:
    started = run.manifest.get("started")
    return round(1000 * datetime.fromisoformat(started).timestamp()) if started else 0


def _flat(document: Mapping[str, Any], path: str = "") -> dict[str, object]:
    """Leaves of a document by dotted paths; items of a list by their names or numbers."""
    flat: dict[str, object] = {}
    for key, value in document.items():
        below, inner = f"{path}.{key}" if path else str(key), by_name(value)
        if isinstance(inner, Mapping) and inner:
            flat |= _flat(inner, below)
        else:
            flat[below] = value
    return flat


def _key(name: str) -> str:
    """A name as MLflow takes it."""
    return re.sub(r"[^A-Za-z0-9_.\-/: ]", "_", name)[:250]


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
