"""The conformance suite for learners: what any paradigm must keep to, so that its numbers can be trusted.

>>> from edgesim.testing import check_learner
>>> from learners.no_adaptation import NoAdaptation
>>> check_learner(NoAdaptation)
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import EdgesimError
from .learner import Learner
from .run_folder import RunFolder
from .scenario import Scenario
from .simulation import simulate
from .tables import TABLES, read_tables

if TYPE_CHECKING:
    import pandas as pd

Tables = Mapping[str, "pd.DataFrame"]

_TINY: dict[str, Any] = {
    "edgesim": 1,
    "name": "conformance",
    "horizon": "20 min",
    "data": {
        "source": "synthetic",
        "samples": 400,
        "classes": 4,
        "shape": [8],
        "proxy": {"share": 0.3},
        "test_samples": 20,
        "partition": {"kind": "dirichlet", "alpha": 1.0, "samples": 20},
        "arrival": {"rate": "0.1 /s", "buffer": 40},
    },
    "model": {"name": "mlp", "hidden": [8]},
    "pretrain": {"epochs": 2},
    "devices": [
        {
            "name": "near",
            "count": 2,
            "compute": "100 MFLOP/s",
            "memory": "64 MiB",
            "uplink": "1 Mbit/s",
            "downlink": "4 Mbit/s",
            "latency": "10 ms",
        },
        {
            "name": "far",
            "count": 2,
            "compute": "1 MFLOP/s",
            "memory": "64 MiB",
            "uplink": "20 kbit/s",
            "downlink": "50 kbit/s",
            "latency": "200 ms",
        },
    ],
    "cloud": {"compute": "1 GFLOP/s", "memory": "1 GiB", "ingress": "10 Mbit/s", "egress": "10 Mbit/s"},
    "drifts": [
        {"name": "shift", "kind": "label", "at": "6 min", "classes": [0, 1]},
        {"name": "turnover", "kind": "replacement", "at": "11 min", "replace": 0.5},
    ],
    "learners": {"learner": {"learner": "no_adaptation"}},
}


def tiny_scenario(**changes: Any) -> Scenario:
    """A scenario of four devices and two drifts that runs in about a second, with top-level keys changed.

    >>> tiny_scenario(horizon="5 min", drifts=[]).horizon
    300.0
    """
    return Scenario.model_validate({**_TINY, **changes})


def run_tiny(
    learner: Learner, scenario: Scenario | None = None, *, seed: int = 0, timing_only: bool = False
) -> dict[str, pd.DataFrame]:
    """Run one learner in a scenario, by default ``tiny_scenario()``; its tables."""
    with tempfile.TemporaryDirectory() as folder:
        _run(learner, scenario or tiny_scenario(), Path(folder), seed, timing_only)
        return read_tables(folder)


def check_learner(learner: type[Learner], params: Mapping[str, Any] | None = None) -> None:
    """Check that a learner keeps its promises.

    It leaves the global random state alone; the same seed gives the same tables, to the byte; nothing is deployed,
    averaged or trained on that was not sent or made there; it survives devices that vanish, jobs that do not fit into
    memory and links that carry nothing; ``--timing-only`` gives the same tables but for what is computed, or is refused
    because the learner declares ``needs_values``; it is not an oracle without saying so.

    Parameters
    ----------
    learner
        The class.
    params
        Its parameters; by default their defaults.

    Raises
    ------
    AssertionError
        Tells every promise that was broken.
    """

    def fresh() -> Learner:
        return learner(learner.Params.model_validate(dict(params or {})))

    broken: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = _global_random_state()
        try:
            _run(fresh(), tiny_scenario(), folder / "first")
        except EdgesimError as error:
            raise AssertionError(f"{learner.__name__} fails in a plain scenario: {error}") from error
        if _global_random_state() != before:
            broken.append("it draws from a global random generator (random, numpy.random or torch): use world.rng()")
        _run(fresh(), tiny_scenario(), folder / "second")
        broken += [
            f"two runs of one seed differ in {table}: something is random without a name, or depends on order"
            for table in TABLES
            if _bytes(folder / "first", table) != _bytes(folder / "second", table)
        ]
        tables = read_tables(folder / "first")
        broken += unexplained(tables)
        for hardship, scenario in _hardships().items():
            try:
                _run(fresh(), scenario, folder / hardship.replace(" ", "-"))
            except EdgesimError as error:
                broken.append(f"it does not survive {hardship}: {error}")
            else:
                told = unexplained(read_tables(folder / hardship.replace(" ", "-")))
                broken += [f"with {hardship}: {text}" for text in told]
        if not fresh().needs_values:
            broken += _timing_differences(fresh(), tables, folder)
    if broken:
        raise AssertionError(f"{learner.__name__} breaks its contract:\n- " + "\n- ".join(broken))


_FREE = ("offline", "ideal")
"""Computations whose results are wherever they are wanted: made before time 0, or an upper bound's."""


def unexplained(tables: Tables) -> list[str]:
    """What happens in ``tables`` without having been sent or made where it is used; empty if all is well."""
    done = [row for row in _rows(tables["computations"]) if row["status"] in ("done", *_FREE)]
    delivered = [row for row in _rows(tables["transfers"]) if row["status"] == "delivered"]
    anywhere = {row["output_model_id"] for row in done if row["status"] in _FREE}
    here = {(row["node"], row["output_model_id"]) for row in done}  # a model exists on a node at some time
    for row in delivered:
        receiver = {"up": "cloud", "down": row["device"], "peer": row["peer"]}[row["direction"]]
        here.add((receiver, row["model_id"]))

    def knows(node: str, model_id: str) -> bool:
        return (node, model_id) in here or model_id in anywhere or model_id.startswith("untrained/")

    problems = []
    for row in _rows(tables["deployments"]):
        node = "cloud" if row["serving"] == "cloud" else row["device"]
        if row["cause"] != "start" and not knows(node, row["model_id"]):
            problems.append(f"{node} serves {row['model_id']!r}, which was neither made there nor sent there")
    sent_data = {row["data_device"] for row in delivered if row["kind"] == "data"}
    for row in _rows(tables["computations"]):
        if row["status"] in _FREE:
            continue
        job, node = row["job_id"], row["node"]
        problems += [
            f"{job} uses {model_id!r}, which was neither made on {node} nor sent there"
            for model_id in filter(None, row["input_model_ids"].split(";"))
            if not knows(node, model_id)
        ]
        owners = {entry.rpartition("@")[0] for entry in filter(None, row["input_data"].split(";"))}
        problems += [f"{job} reads samples of {owner}, which were never sent" for owner in owners - {node} - sent_data]
    return sorted(set(problems))


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return frame.to_dict("records")  # type: ignore[return-value]  # the stubs allow keys that are no column names


def _hardships() -> dict[str, Scenario]:
    near, far = _TINY["devices"]
    gone = [{"at": "2 min", "for": "30 s", "every": "100 s"}]
    return {
        "devices that vanish": tiny_scenario(devices=[{**near, "away": gone}, far]),
        "devices that never come": tiny_scenario(devices=[near, {**far, "away": [{"at": "0 s", "for": "1 h"}]}]),
        "no memory": tiny_scenario(devices=[near, {**far, "memory": "1 kB"}]),
        "memory that shrinks": tiny_scenario(
            devices=[{**near, "memory": {"steps": {"0 s": "64 MiB", "1 s": "1 kB"}, "repeat": "2 s"}}, far]
        ),
        "a link that carries nothing": tiny_scenario(
            devices=[near, {**far, "uplink": "0 bit/s", "downlink": "0 bit/s"}]
        ),
        "a single device": tiny_scenario(devices=[{**near, "count": 1}]),
    }


def _timing_differences(learner: Learner, full: Tables, folder: Path) -> list[str]:
    try:
        _run(learner, tiny_scenario(), folder / "timing", timing_only=True)
    except EdgesimError as error:
        return [f"--timing-only fails, and needs_values is not declared: {error}"]
    timed = read_tables(folder / "timing")
    return [
        f"--timing-only gives another {name} table"
        for name, table in TABLES.items()
        if not full[name].drop(columns=list(table.deferred)).equals(timed[name].drop(columns=list(table.deferred)))
    ]


def _run(learner: Learner, scenario: Scenario, out: Path, seed: int = 0, timing_only: bool = False) -> None:
    facts = {"learner": {"learner": type(learner).__name__, "oracle": learner.oracle}}
    folder = RunFolder.create(out, scenario, [seed], facts, timing_only=timing_only)
    with folder.running():
        simulate(folder, scenario, [seed], {"learner": learner}, timing_only=timing_only)


def _bytes(run_dir: Path, table: str) -> bytes:
    return (run_dir / "tables" / f"{table}.parquet").read_bytes()


def _global_random_state() -> tuple[Any, ...]:
    import numpy as np
    import torch

    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002 - this looks at the global generator on purpose
    return random.getstate(), repr(numpy_state), bytes(torch.random.get_rng_state().numpy())
