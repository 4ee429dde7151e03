"""Every number that a summary shows: its name, unit, definition, and which way is better.

``python -m analysis`` prints this as the page ``docs/metrics.md``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from edgesim.tables import UserError

Unit = Literal["ratio", "s", "bytes", "J", "FLOP", "count", "1/h"]
Better = Literal["higher", "lower", ""]
Over = Literal["seeds", "median", "restricted mean"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One number a learner.

    Parameters
    ----------
    name
        Its column in ``summary()``.
    unit
        ``ratio`` is a share in [0, 1] (a difference of accuracies lies in [-1, 1]).
    better
        Which way is better; empty where neither is.
    over
        How several seeds give one number: the mean of the number of each seed, or, for times with censoring,
        the Kaplan-Meier median or restricted mean of all seeds together.
    title
        A short heading for people.
    doc
        The definition.
    signed
        Whether it can be negative.
    """

    name: str
    unit: Unit
    better: Better
    title: str
    doc: str
    over: Over = "seeds"
    signed: bool = False

    @property
    def range(self) -> tuple[float, float]:
        """The values that it can take: intervals do not reach beyond."""
        return (-math.inf if self.signed else 0.0), (1.0 if self.unit == "ratio" else math.inf)


def _latency(measure: str, what: str) -> tuple[Metric, Metric]:
    title = measure.replace("_", " ")
    return (
        Metric(
            f"{measure}_s",
            "s",
            "lower",
            title,
            f"{what}: Kaplan-Meier median over devices and drifts; infinite where less than half had it while they "
            "could be watched",
            "median",
        ),
        Metric(
            f"{measure}_mean_s",
            "s",
            "lower",
            f"mean {title}",
            f"{what}: mean of min(time, limit), from the Kaplan-Meier curve; the limit is the longest time up to "
            "which the curves of all learners are known",
            "restricted mean",
        ),
    )


_METRICS = (
    Metric(
        "accuracy",
        "ratio",
        "higher",
        "accuracy",
        "accuracy integrated over time and devices, over the device-seconds served and measured; exact, since "
        "accuracy is a step function; undefined before a device's first row; unserved time is left out",
    ),
    Metric(
        "worst_device_accuracy",
        "ratio",
        "higher",
        "worst device",
        "time-weighted accuracy of the device that fared worst",
    ),
    Metric(
        "worst_decile_accuracy",
        "ratio",
        "higher",
        "worst tenth",
        "time-weighted accuracy of the worst tenth of the devices (rounded up)",
    ),
    Metric(
        "horizon_accuracy",
        "ratio",
        "higher",
        "at the end",
        "mean accuracy over the devices that are served at the end of the run",
    ),
    Metric(
        "forgetting",
        "ratio",
        "lower",
        "forgetting",
        "mean over devices and retained old views of (best accuracy on that data while it was current - at the "
        "end); needs `evaluation.forgetting_views`",
        signed=True,
    ),
    Metric(
        "backward_transfer",
        "ratio",
        "higher",
        "backward transfer",
        "mean over devices and retained old views of (accuracy at the end - when that data was last current); of a "
        "gradual drift the old view is that of its last step",
        signed=True,
    ),
    *_latency(
        "detection",
        "from a drift to the first alarm of the device's detector, where one was set up by then",
    ),
    Metric(
        "missed_ratio",
        "ratio",
        "lower",
        "missed",
        "share of the episodes on devices with a detector that it did not notice before the device's next drift or the "
        "end",
    ),
    Metric(
        "false_alarms_per_h",
        "1/h",
        "lower",
        "false alarms",
        "alarms before a device's first drift, per hour of watching until then; later ones do not count, for an alarm "
        "after a drift cannot be told from a late one",
    ),
    *_latency(
        "reaction", "from a drift to the start of the first job that trains on the device's samples taken after it"
    ),
    *_latency("deployment", "from a drift to the first model so trained that serves the device"),
    *_latency(
        "recovery",
        "from a drift that cost accuracy to the first time at (1 - epsilon) of the level before it, 0 s where a "
        "deployment at the drift's very instant made it good; unaffected drifts do not count",
    ),
    Metric(
        "unrecovered_ratio",
        "ratio",
        "lower",
        "never recovered",
        "share of the affected episodes that did not recover before the device's next drift or the end",
    ),
    Metric("episodes", "count", "", "drift episodes", "device-drift episodes, affected or not"),
    Metric("unaffected", "count", "", "unaffected", "episodes without a drop below (1 - epsilon) of the level before"),
    Metric(
        "relapses",
        "count",
        "lower",
        "relapses",
        "falls below that level after recovery, before the device's next drift; drifts at one instant count once",
    ),
    Metric(
        "unserved_ratio",
        "ratio",
        "lower",
        "unserved time",
        "share of the device-seconds, those served on the device included, in which a device that was there could not "
        "be served: the cloud was to serve it and there was no connection, or its battery was empty",
    ),
    Metric(
        "up_bytes", "bytes", "lower", "up", "bytes from devices to the cloud, inference requests included, wasted too"
    ),
    Metric("down_bytes", "bytes", "lower", "down", "bytes from the cloud to devices, answers included, wasted too"),
    Metric("peer_bytes", "bytes", "lower", "between devices", "bytes between devices, wasted too"),
    Metric(
        "both_ways_bytes",
        "bytes",
        "lower",
        "both ways",
        "up + down + between devices: an exchange of a model counts as two transfers",
    ),
    Metric(
        "one_way_bytes",
        "bytes",
        "lower",
        "one way",
        "the dearer of up and down, + between devices: an exchange counts once. Papers use either; ratios between "
        "learners that send models both ways do not depend on it",
    ),
    Metric("weights_bytes", "bytes", "lower", "weights", "bytes of weights, all directions"),
    Metric("data_bytes", "bytes", "lower", "data", "bytes of samples, all directions"),
    Metric("control_bytes", "bytes", "lower", "control", "bytes of control messages, all directions"),
    Metric("request_bytes", "bytes", "lower", "requests", "bytes of inference requests to the cloud and their answers"),
    Metric("wasted_bytes", "bytes", "lower", "wasted", "bytes sent in transfers that were cut"),
    Metric("device_compute_s", "s", "lower", "device compute", "processor seconds of all devices spent on jobs"),
    Metric("cloud_compute_s", "s", "lower", "cloud compute", "processor seconds of the cloud spent on jobs"),
    Metric("flops", "FLOP", "lower", "computed", "floating-point operations done during the run, devices and cloud"),
    Metric("wasted_flops", "FLOP", "lower", "wasted compute", "floating-point operations of jobs that were killed"),
    Metric("offline_flops", "FLOP", "lower", "offline compute", "floating-point operations before time zero"),
    Metric(
        "energy_j",
        "J",
        "lower",
        "energy",
        "energy of all devices: idle, compute, radio; not measured where a device has no power profile",
    ),
    Metric("peak_memory_bytes", "bytes", "lower", "peak memory", "most memory that jobs held at once on any device"),
    Metric(
        "peak_memory_ratio",
        "ratio",
        "lower",
        "peak of available",
        "largest share of a device's available memory that jobs held when one began or ended",
    ),
    Metric("out_of_memory", "count", "lower", "out of memory", "jobs refused because they did not fit"),
    Metric("killed", "count", "lower", "killed", "jobs killed while they ran"),
    Metric("diverged", "count", "lower", "diverged", "trainings whose loss or weights became infinite or NaN"),
    Metric("battery_deaths", "count", "lower", "battery deaths", "times that a device's battery ran empty"),
    Metric(
        "unserved_requests_ratio",
        "ratio",
        "lower",
        "unserved requests",
        "share of the inference requests that found no connection, or waited when their device left",
    ),
    Metric(
        "load_entropy",
        "ratio",
        "",
        "evenness of modules",
        "entropy of the load over the modules of the layer where it is the least even, over the devices' last "
        "selections, as a share of the greatest: 0 where one module gets everything (the selector has collapsed), 1 "
        "where all get the same; of learners with modules only",
    ),
    *(
        Metric(
            f"serving_latency_p{q}_s",
            "s",
            "lower",
            f"request p{q}",
            f"{q}th percentile of the request latency in the worst stretch of any device; that of all requests is "
            "at most this",
        )
        for q in (50, 95, 99)
    ),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _METRICS}
"""All metrics by name, in the order of the summary's columns."""

HEADLINE = (
    "accuracy",
    "worst_device_accuracy",
    "deployment_s",
    "recovery_s",
    "unrecovered_ratio",
    "up_bytes",
    "down_bytes",
    "device_compute_s",
    "energy_j",
    "peak_memory_bytes",
)
"""What a table in the terminal shows, unless told otherwise."""


def axis_title(metric: Metric) -> str:
    """Return a metric's title, saying of traffic that it is bytes."""
    traffic = metric.unit == "bytes" and "memory" not in metric.name
    return f"bytes, {metric.title}" if traffic else metric.title


def check_metrics(names: Iterable[str]) -> None:
    """Refuse names of metrics that do not exist.

    Raises
    ------
    UserError
        One is not known.
    """
    for name in names:
        if name not in METRICS:
            raise UserError(f"there is no metric {name!r}; known are {', '.join(METRICS)}")


def documentation() -> str:
    """Return the Markdown page that defines every metric."""
    lines = [
        "# Metrics",
        "",
        "Generated by `python -m analysis > docs/metrics.md`; edit `analysis/metrics.py` instead.",
        "",
        "`analysis.load(run_dir).summary()` has a row a learner and these columns, each followed by its 95 %",
        "interval in `<name>_low` and `<name>_high`. SI units; a ratio is a share in [0, 1]. NaN is *not measured*;",
        "an infinite time is one that was *not reached*.",
        "",
        "The unit of replication is the seed: the number of a learner is the mean over its seeds, with Student's t",
        "interval. Medians and restricted means of times pool the episodes of all seeds; their intervals come from",
        "leaving out whole seeds in turn. One seed gives no interval, and two give none for a median. The restricted",
        "mean of a single seed (`Run.seed_metrics`, a sweep's `by_seed()`) prolongs the last value of its curve where",
        "it was watched for less than the limit, which is common to all.",
        "",
        "A drift opens an episode on every device that it strikes and that is of the fleet then: it has joined, and",
        "has not left for good. The episode is followed until the device's next drift, until it leaves, or to the end",
        "of the run; what happens at the very instant of the next drift belongs to that one. What has not happened by",
        "then is right-censored. A dead battery is a competing event: that device never recovers, and a model that is",
        "deployed to it does not count.",
        "",
        "A device is *served* while a model on it answers, also while it is away by its schedule, or while the cloud",
        "does and is within reach. It is *unserved* while the cloud is to answer and there is no connection, and while",
        "its battery is empty, wherever the model is. Before a device joins, and after it has left for good, it is",
        "neither.",
        "",
        "| column | unit | better | meaning |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{m.name}` | {m.unit} | {m.better or '-'} | {m.doc} |" for m in METRICS.values()]
    lines += [
        "",
        "Two learners are compared at the same seeds, in the same environments: differences are paired. One is",
        "*better* where the 95 % interval of the difference excludes 0. Otherwise they are *tied* where the",
        "difference is at most 1 point (of a ratio) or 1 % of the baseline's number, and *undecided* where it is",
        "more. With one seed nothing is said about chance.",
        "",
        "Ranks, Pareto fronts and the most accurate learner go by the seeds that all learners but the oracles have.",
        "Oracles are bounds and have no rank.",
    ]
    return "\n".join(lines) + "\n"
