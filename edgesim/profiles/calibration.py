"""Fits a device's speed, overheads and memory base to published measurements, and predicts those left out.

The measurements are the per-batch training latency (Fig. 9) and the peak training memory (Fig. 8) of Nebula (ICPP
2024), read off its vector figures. Only the rows of full models are fitted; those of sub-models are predicted, never
fitted. ``python -m edgesim.profiles.calibration`` prints the fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgesim.models import Architecture, Cost

BATCH_SIZE = 16  # the paper's, section 6.1
OPTIMIZER = "adam"  # the paper does not say; two numbers a parameter fit its memory better than none or one

TASKS = ("HAR", "CIFAR10", "CIFAR100")
"""The fitted tasks. Speech is left out: the size of its inputs is not known."""

SUB_MODELS = ("HeteroFL", "Nebula m1", "Nebula m2")
"""The rows that are predicted; m1 and m2 are the paper's two data partitions."""

LATENCY_S: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "jetson-nano": {
        "HAR": {"full": 0.0106, "HeteroFL": 0.0085, "Nebula m1": 0.0087},
        "CIFAR10": {"full": 0.619, "HeteroFL": 0.431, "Nebula m1": 0.438, "Nebula m2": 0.557},
        "CIFAR100": {"full": 0.451, "HeteroFL": 0.327, "Nebula m1": 0.256, "Nebula m2": 0.306},
    },
    "raspberry-pi-4b": {
        "HAR": {"full": 0.0479, "HeteroFL": 0.0370, "Nebula m1": 0.0246},
        "CIFAR10": {"full": 4.537, "HeteroFL": 2.737, "Nebula m1": 2.137, "Nebula m2": 2.728},
        "CIFAR100": {"full": 3.983, "HeteroFL": 2.049, "Nebula m1": 1.728, "Nebula m2": 1.868},
    },
}
"""Fig. 9: seconds per batch of training, by device, task and model."""

MEMORY_BYTES: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "jetson-nano": {
        "HAR": {"full": 0.202e9, "HeteroFL": 0.200e9, "Nebula m1": 0.141e9},
        "CIFAR10": {"full": 0.795e9, "HeteroFL": 0.722e9, "Nebula m1": 0.569e9, "Nebula m2": 0.691e9},
        "CIFAR100": {"full": 0.798e9, "HeteroFL": 0.711e9, "Nebula m1": 0.650e9, "Nebula m2": 0.670e9},
    },
    "raspberry-pi-4b": {
        "HAR": {"full": 0.0171e9, "HeteroFL": 0.0089e9, "Nebula m1": 0.0078e9},
        "CIFAR10": {"full": 0.366e9, "HeteroFL": 0.178e9, "Nebula m1": 0.095e9, "Nebula m2": 0.160e9},
        "CIFAR100": {"full": 0.473e9, "HeteroFL": 0.214e9, "Nebula m1": 0.082e9, "Nebula m2": 0.123e9},
    },
}
"""Fig. 8: bytes at the peak of training, by device, task and model."""

_HIDDEN = 512  # of the three-layer network for HAR, whose widths the paper does not give
_WIDTH = 64  # of the first stage of ResNet-18 and VGG-16


@dataclass(frozen=True, slots=True)
class Fit:
    """What fits a device's full-model rows best.

    Attributes
    ----------
    device
        The profile.
    flops_per_s, step_s
        Latency of a step = its FLOPs / ``flops_per_s`` + ``step_s``.
    base_bytes
        Peak memory = that of the model + ``base_bytes``.
    """

    device: str
    flops_per_s: float
    step_s: float
    base_bytes: float

    def latency_s(self, model: Cost) -> float:
        """Predicted seconds per batch."""
        return _step_flops(model) / self.flops_per_s + self.step_s

    def memory_bytes(self, model: Cost) -> float:
        """Predicted peak of training."""
        return model.training_memory_bytes(BATCH_SIZE, OPTIMIZER) + self.base_bytes


@dataclass(frozen=True, slots=True)
class Row:
    """A measurement and what is predicted for it, in SI units."""

    device: str
    task: str
    model: str
    measured: float
    predicted: float
    assumption: str = ""

    @property
    def error(self) -> float:
        """Predicted over measured, less 1."""
        return self.predicted / self.measured - 1.0


def architecture(task: str, width: float = 1.0) -> Architecture:
    """The model of a task, with ``width`` times as many channels or hidden units."""
    from edgesim.models import Architecture

    if task == "HAR":
        hidden = max(1, round(_HIDDEN * width))
        return Architecture.of("mlp", {"hidden": (hidden, hidden)}, input_shape=(561,), classes=6)
    name, classes = ("resnet18", 10) if task == "CIFAR10" else ("vgg16", 100)
    options = {"width": max(1, round(_WIDTH * width))}
    return Architecture.of(name, options, input_shape=(3, 32, 32), classes=classes)


def fit(device: str) -> Fit:
    """Fit one device by least squares of the relative errors of its full-model rows.

    Relative, because the rows span two orders of magnitude.
    """
    from edgesim.models import cost

    models = [cost(architecture(task)) for task in TASKS]
    latencies = [LATENCY_S[device][task]["full"] for task in TASKS]
    memories = [MEMORY_BYTES[device][task]["full"] for task in TASKS]
    per_flop_s, step_s = _plane(
        [_step_flops(model) / latency for model, latency in zip(models, latencies, strict=True)],
        [1.0 / latency for latency in latencies],
    )
    weights = [1.0 / memory**2 for memory in memories]
    residuals = [
        memory - model.training_memory_bytes(BATCH_SIZE, OPTIMIZER)
        for model, memory in zip(models, memories, strict=True)
    ]
    base = sum(weight * residual for weight, residual in zip(weights, residuals, strict=True)) / sum(weights)
    return Fit(device, 1.0 / per_flop_s, step_s, base)


def _plane(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """The ``a, b`` that make ``a * first + b * second`` nearest to 1 in every row, by least squares."""
    aa, bb = sum(a * a for a in first), sum(b * b for b in second)
    ab = sum(a * b for a, b in zip(first, second, strict=True))
    determinant = aa * bb - ab * ab
    return (sum(first) * bb - sum(second) * ab) / determinant, (sum(second) * aa - sum(first) * ab) / determinant


def _step_flops(model: Cost) -> float:
    return BATCH_SIZE * model.train_flops_per_sample


def fitted_rows(found: Fit) -> tuple[list[Row], list[Row]]:
    """Latency and memory of the full models, as fitted."""
    from edgesim.models import cost

    latencies, memories = [], []
    for task in TASKS:
        model = cost(architecture(task))
        measured_s, measured_bytes = LATENCY_S[found.device][task]["full"], MEMORY_BYTES[found.device][task]["full"]
        latencies.append(Row(found.device, task, "full", measured_s, found.latency_s(model)))
        memories.append(Row(found.device, task, "full", measured_bytes, found.memory_bytes(model)))
    return latencies, memories


def width_rows(found: Fit, widths: Iterable[tuple[float, str]]) -> list[Row]:
    """Latency of the HeteroFL rows if its sub-models were so much narrower: the paper does not say how much."""
    from edgesim.models import cost

    rows = []
    for task in TASKS:
        measured = LATENCY_S[found.device][task]["HeteroFL"]
        for width, words in widths:
            predicted = found.latency_s(cost(architecture(task, width)))
            rows.append(Row(found.device, task, "HeteroFL", measured, predicted, words))
    return rows


def sized_rows(found: Fit) -> list[Row]:
    """Latency of all sub-model rows, each taken as the narrower full model with the row's measured share of memory.

    The size of a sub-model is what its memory row says: the width at which predicted memory, over that of the full
    model, is what was measured. A row whose share of memory no width reaches is left out.
    """
    from edgesim.models import cost

    rows = []
    for task in TASKS:
        full = found.memory_bytes(cost(architecture(task)))
        for name in SUB_MODELS:
            memories, latencies = MEMORY_BYTES[found.device][task], LATENCY_S[found.device][task]
            if name not in memories:
                continue
            width = _width(found, task, memories[name] / memories["full"] * full)
            if width is not None:
                predicted = found.latency_s(cost(architecture(task, width)))
                rows.append(Row(found.device, task, name, latencies[name], predicted, f"width {width:.2f}"))
    return rows


def _width(found: Fit, task: str, memory_bytes: float) -> float | None:
    """The width, in steps of one channel, whose predicted memory is nearest to ``memory_bytes``."""
    from edgesim.models import cost

    channels = _HIDDEN if task == "HAR" else _WIDTH
    low, high = 1, channels
    if memory_bytes < found.memory_bytes(cost(architecture(task, low / channels))):
        return None
    while low < high:
        middle = (low + high) // 2
        if found.memory_bytes(cost(architecture(task, middle / channels))) < memory_bytes:
            low = middle + 1
        else:
            high = middle
    return low / channels


def main() -> None:
    """Print the fit of both devices."""
    for device in LATENCY_S:
        found = fit(device)
        print(
            f"{device}: {found.flops_per_s / 1e9:.3g} GFLOP/s, {found.step_s * 1e3:.3g} ms a step, "
            f"{found.base_bytes / 1e6:.3g} MB base"
        )
        for what, rows in zip(("latency s", "memory B"), fitted_rows(found), strict=True):
            for row in rows:
                print(
                    f"  {what:10}{row.task:9}{row.model:6}measured {row.measured:9.4g}  "
                    f"fitted {row.predicted:9.4g}  {row.error:+.0%}"
                )
        for row in (*width_rows(found, ((0.5, "half as wide"), (0.5**0.5, "half the FLOPs"))), *sized_rows(found)):
            print(
                f"  latency s {row.task:9}{row.model:10}measured {row.measured:8.4g}  predicted {row.predicted:8.4g}  "
                f"{row.error:+.0%}  ({row.assumption})"
            )


if __name__ == "__main__":
    main()
