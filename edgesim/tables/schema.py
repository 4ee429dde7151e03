"""The columns of every table, each with its meaning: the one place that documents them.

``edgesim.tables`` writes and reads them and prints this module as a page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Dtype = Literal["text", "number", "count", "flag"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. Its unit is the end of its name; ``nullable`` columns may be missing in a row."""

    name: str
    dtype: Dtype
    doc: str
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table. The cells of its last columns, ``deferred``, may be computed after a row was recorded."""

    name: str
    doc: str
    columns: tuple[Column, ...]
    deferred: tuple[str, ...] = ()

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """The four common columns, then the table's own."""
        return COMMON + self.columns


def _text(name: str, doc: str) -> Column:
    return Column(name, "text", doc)


def _number(name: str, doc: str, missing: bool = False) -> Column:
    return Column(name, "number", doc, missing)


def _count(name: str, doc: str, missing: bool = False) -> Column:
    return Column(name, "count", doc, missing)


def _flag(name: str, doc: str) -> Column:
    return Column(name, "flag", doc)


COMMON: tuple[Column, ...] = (
    _text("learner", "the learner's label in the scenario"),
    _flag("oracle", "the learner is woken at the true instant of a drift (`wait_for_drift`)"),
    _count("seed", "the seed of the world"),
    _count(
        "sequence",
        "order of recording within the (learner, seed) world, over all tables, without holes",
    ),
)

_DATA_SPAN = (
    _number("data_from_s", "earliest time at which one of the samples was taken", missing=True),
    _number("data_to_s", "latest time at which one of the samples was taken", missing=True),
)

_TABLES = (
    Table(
        "transfers",
        "A row a transfer, recorded when it ends; one still open at the horizon when the run closes.",
        (
            _text("transfer_id", "unique within the world"),
            _text("device", "the device at this end; of a transfer between devices, the one that sends"),
            _text("peer", "the other end: `cloud` or a device"),
            _text("direction", "`up` to the cloud, `down` from the cloud, `peer` between devices"),
            _text("kind", "`weights`, `data` or `control`"),
            _number("start_s", "when it was asked for; waiting for a link is part of it"),
            _number("end_s", "when it was delivered or cut; missing while in flight", missing=True),
            _count("size_bytes", "the whole payload"),
            _number("sent_bytes", "what has left the sender: `size_bytes` if delivered"),
            _text("status", "`delivered`, `cut` or `in_flight`"),
            _text("cause", "why it was cut"),
            _number("energy_j", "radio energy of the devices at its ends", missing=True),
            _text("model_id", "the model that was sent, if weights"),
            _text("data_device", "whose samples were sent, if data"),
            *_DATA_SPAN,
            _count("data_phase", "the highest data phase among the samples (see `drifts.phase`)", missing=True),
        ),
    ),
    Table(
        "computations",
        "A row a job on a device or the cloud, recorded when it ends; one still running when the run closes.",
        (
            _text("job_id", "unique within the world"),
            _text("node", "a device or `cloud`"),
            _text("kind", "`train`, `score`, `average`, `derive`, `solve`, `pretrain`, ..."),
            _number("start_s", "when it was asked for"),
            _number("end_s", "when it was over, for whatever reason; missing while running", missing=True),
            _number("flops", "floating-point operations of the whole job"),
            _number("done_flops", "those done: `flops` if done"),
            _count("samples", "samples that it reads once per epoch", missing=True),
            _count("batch_size", "samples per step", missing=True),
            _number("peak_memory_bytes", "memory that it needs", missing=True),
            _number("available_bytes", "memory that was available when it started", missing=True),
            _number("busy_s", "processor seconds spent on it: n concurrent jobs share each second"),
            _number("energy_j", "energy of the device for it", missing=True),
            _text(
                "status",
                "`done`, `out_of_memory`, `killed`, `running`, `offline` (done before time zero) or `ideal` "
                "(an upper bound's: costs nothing)",
            ),
            _text("cause", "why it was killed"),
            *_DATA_SPAN,
            _text(
                "input_data",
                "whose samples it reads: `device@phase` joined by `;`, each device's highest phase",
            ),
            _text("input_model_ids", "models that it starts from, joined by `;`"),
            _text("output_model_id", "the model that it gives, if any"),
            _number(
                "loss",
                "of training that was done: mean loss over the samples of the last epoch; missing where nothing was "
                "trained on, where it diverged, and in timing-only runs",
                missing=True,
            ),
            _count(
                "diverged",
                "of training that was done: 1 where the loss or a weight became infinite or NaN, else 0. Training "
                "stops there, and what is made of these weights is what it is; missing in timing-only runs",
                missing=True,
            ),
        ),
        deferred=("loss", "diverged"),
    ),
    Table(
        "deployments",
        "A row a change of the model that serves a device's requests.",
        (
            _text("device", "the device that is served"),
            _number("time_s", "from when on"),
            _text("cause", "`start` or `deploy`"),
            _text("serving", "where the model runs: `device` or `cloud`"),
            _text("model_id", "the model"),
            _text("architecture", "its architecture"),
            _count("size_bytes", "its size"),
            _text(
                "informed_by",
                "the device's latest drift such that a train job in the model's lineage read a sample of "
                "this device taken after it; it is informed by every earlier one too; empty if none",
            ),
            _text(
                "cohort_informed_by",
                "likewise, with samples of any device that the same occurrence of the drift struck",
            ),
            _text("score_informed_by", "likewise, counting jobs that only scored samples (selection of modules)"),
        ),
    ),
    Table(
        "selections",
        "A row a module of a modular model, recorded when a device is given other modules to serve with. What it has "
        "holds until its next rows. Only learners with modules write it.",
        (
            _text("device", "the device"),
            _number("time_s", "from when on"),
            _text("model_id", "the model that serves from then on"),
            _count("layer", "the layer of modules, from 0"),
            _count("module", "the module's number in its layer, from 0"),
            _flag("held", "the device has it"),
            _number(
                "share",
                "share of the device's samples that a selector sends through it, 1 in all over the modules of the "
                "layer, held or not; missing in timing-only runs and where the learner does not say",
                missing=True,
            ),
        ),
        deferred=("share",),
    ),
    Table(
        "drifts",
        "A row a change of a device's data.",
        (
            _text("drift_id", "unique within the world"),
            _text("episode_id", "shared by the steps of one gradual drift on one device"),
            _text("cohort_id", "shared by all devices that one occurrence struck, at one time or each at its own"),
            _text("name", "the drift's name in the scenario"),
            _text("device", "the device"),
            _number("time_s", "when"),
            _count("phase", "the device's data phase from here on: the number of changes so far"),
            _count("step", "which step of the episode, from 1"),
            _count("steps", "how many steps the episode has"),
            _flag("opens_episode", "the first step: latencies are measured from here"),
            _flag("undo", "the drift goes again (`lasts`): an episode of its own"),
            _text("kind", "`label`, `feature`, `concept` or `replacement`"),
            _count("replaced_samples", "buffered samples that were rewritten at once"),
            _text("detail", "what changed, for people"),
        ),
    ),
    Table(
        "accuracy",
        "A row a change of accuracy: it is constant until the next row of the same device and view.",
        (
            _text("device", "the device"),
            _number("time_s", "from when on"),
            _text("cause", "`start`, `deployment`, `drift`, `step` (a later step of a gradual drift) or `replacement`"),
            _text(
                "view",
                "which test data: `current`, or `previous-1` (before the latest drift came or went), ...; drifts that "
                "only replace samples do not count",
            ),
            _text("serving", "where the model runs: `device` or `cloud`"),
            _text("model_id", "the model that serves"),
            _count("samples", "test samples"),
            _count("correct", "test samples classified correctly; missing in timing-only runs", missing=True),
            _number("accuracy", "correct / samples", missing=True),
            _number("loss", "mean cross-entropy over the test samples, in nats", missing=True),
        ),
        deferred=("correct", "accuracy", "loss"),
    ),
    Table(
        "detections",
        "A row an alarm of a drift detector, judged by the truth, and a row when a detector is set up.",
        (
            _text("device", "the device that it watches"),
            _number("time_s", "when the device knew: the errors had been computed"),
            _text("detector", "`adwin`, `page_hinkley`, `ddm` or `kswin`"),
            _text(
                "event",
                "`armed` (set up), `detection` (the first alarm credited to a drift), `repeat` (a further one) or "
                "`false_alarm` (no drift to credit it to)",
            ),
            _text(
                "drift_id",
                "what an alarm is credited to: the first step of the device's latest drift, other than a mere "
                "replacement, of which the detector had read a sample; empty for a false alarm",
            ),
            _number("delay_s", "from that first step to the alarm", missing=True),
            _count("samples", "labelled samples that the detector had read by then, over all models that it watched"),
            _text("model_id", "the model whose errors it watched"),
        ),
    ),
    Table(
        "memory",
        "A row a change of the memory that jobs hold on a node, and a row a job that was refused.",
        (
            _text("device", "the device, or `cloud`"),
            _number("time_s", "when"),
            _text("event", "`start`, `end`, `killed` or `refused`"),
            _text("job_id", "whose memory"),
            _number("used_bytes", "held by all jobs after the event"),
            _number("needed_bytes", "what this job needs"),
            _number("available_bytes", "what is available to jobs in all"),
        ),
    ),
    Table(
        "availability",
        "A row a change between online and offline or of what keeps a device away, and a row a device at the start.",
        (
            _text("device", "the device"),
            _number("time_s", "from when on"),
            _text("state", "`online` or `offline`"),
            _text(
                "cause",
                "`start`; `schedule` (`away`), `availability`, `joins`, `leaves`; `battery` (empty), `charged` (again)",
            ),
        ),
    ),
    Table(
        "energy",
        "A row a device, recorded when the run closes.",
        (
            _text("device", "the device"),
            _number("online_s", "time during which it was online"),
            _number("idle_j", "energy for being on", missing=True),
            _number("compute_j", "energy for jobs", missing=True),
            _number("radio_j", "energy for transfers", missing=True),
            _number("total_j", "the sum", missing=True),
        ),
    ),
    Table(
        "battery",
        "A row whenever what a device draws from its battery changes. Between two rows the level is a straight line "
        "(as far as the charging power is constant, and held at full); `level_j` = initial level + `charged_j` - "
        "`spent_j` in every row.",
        (
            _text("device", "the device"),
            _number("time_s", "when"),
            _text(
                "event",
                "`start`, `change` (of what is drawn), `empty` (the device leaves), `charged` (it comes back) or `end`",
            ),
            _number("level_j", "what it holds"),
            _number("level_ratio", "over what it holds when full"),
            _number("draw_w", "what is drawn from now on, energy of single bytes not among it"),
            _number("charging_w", "what it is charged with now"),
            _number("charged_j", "what has gone in so far: less than was offered while it was full"),
            _number("spent_j", "what has been drawn so far; at the end the `total_j` of the table `energy`"),
        ),
    ),
    Table(
        "serving",
        "A row a stretch of time during which a device's requests were served in one way. Those waiting at its start "
        "and those made are served, unserved, or waiting at its end.",
        (
            _text("device", "the device"),
            _number("start_s", "from"),
            _number("end_s", "to"),
            _text("mode", "`device` or `cloud`"),
            _number("requests", "requests made"),
            _number("served", "requests answered, those waiting at the start among them"),
            _number("unserved", "requests that found no connection, or waited when the device left"),
            _number("waiting", "requests not answered yet at the end: on the way, or in a backlog"),
            _number(
                "latency_mean_s", "mean time from request to answer, of those made with a connection", missing=True
            ),
            _number("latency_p50_s", "its median", missing=True),
            _number("latency_p95_s", "its 95th percentile", missing=True),
            _number("latency_p99_s", "its 99th percentile", missing=True),
            _number("up_bytes", "bytes of the requests that were answered"),
            _number("down_bytes", "bytes of the answers"),
        ),
    ),
    Table(
        "environment",
        "A row a step of a signal: what the environment offered, whatever the learner did with it.",
        (
            _text("device", "the device, a gateway, or `cloud`"),
            _text(
                "resource",
                "`uplink`, `downlink`, the cloud's `ingress`, `egress` (bytes/s), `memory` (bytes), `compute` (FLOP/s)",
            ),
            _number("time_s", "from when on"),
            _number("value", "in SI units"),
        ),
    ),
)

TABLES: dict[str, Table] = {table.name: table for table in _TABLES}
"""All tables by name, in the order of the documentation."""
