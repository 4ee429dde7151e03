"""What is known about data sources and transforms without loading anything: no NumPy, no files.

A scenario is checked against these. What only the file knows (an ``npz``) is ``None`` here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

Kind = Literal["image", "vector"]


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """A data source as far as its name tells.

    Attributes
    ----------
    name
        The source, as in ``data.source``.
    classes
        Number of classes; ``None`` where the file decides.
    sample_shape
        Shape of one sample, channels first for images; ``None`` where the file decides.
    kind
        ``"image"`` (channels, height, width) or ``"vector"`` (features,).
    has_test
        Whether there is an official test split.
    has_groups
        Whether samples carry a natural group (the person who wore the sensor).
    default_test_share
        The share held out where nobody names one; ``None`` where it must be named (or comes with the source).
    needs_path
        Whether files have to be there (or be downloaded).
    can_download
        Whether ``download: true`` fetches them.
    """

    name: str
    classes: int | None
    sample_shape: tuple[int, ...] | None
    kind: Kind | None
    has_test: bool | None
    has_groups: bool | None
    default_test_share: float | None = None
    needs_path: bool = False
    can_download: bool = False


#: Defaults of ``synthetic``, where its options do not say otherwise.
SYNTHETIC_CLASSES = 10
SYNTHETIC_SAMPLES = 10_000
SYNTHETIC_SHAPE = (32,)
SYNTHETIC_SEPARABILITY = 5.0

SOURCES: Mapping[str, SourceFacts] = MappingProxyType(
    {
        facts.name: facts
        for facts in (
            SourceFacts("digits", 10, (1, 8, 8), "image", False, False, default_test_share=0.2),
            SourceFacts("mnist", 10, (1, 28, 28), "image", True, False, needs_path=True, can_download=True),
            SourceFacts("cifar10", 10, (3, 32, 32), "image", True, False, needs_path=True, can_download=True),
            SourceFacts("cifar100", 100, (3, 32, 32), "image", True, False, needs_path=True, can_download=True),
            SourceFacts("uci_har", 6, (561,), "vector", True, True, needs_path=True),
            SourceFacts("npz", None, None, None, None, None, needs_path=True),
            SourceFacts(
                "synthetic",
                SYNTHETIC_CLASSES,
                SYNTHETIC_SHAPE,
                "vector",
                False,
                False,
                default_test_share=0.2,
            ),
        )
    }
)


def synthetic_facts(*, classes: int, shape: tuple[int, ...], groups: int = 0) -> SourceFacts:
    """The facts of ``synthetic`` under its options: three dimensions make an image, any others a vector.

    >>> synthetic_facts(classes=4, shape=(3, 16, 16)).kind
    'image'
    """
    kind: Kind = "image" if len(shape) == 3 else "vector"
    return replace(SOURCES["synthetic"], classes=classes, sample_shape=shape, kind=kind, has_groups=groups > 0)


@dataclass(frozen=True, slots=True)
class TransformFacts:
    """One operation on features: what it applies to, and what its amount means.

    Attributes
    ----------
    name
        The operation, as in ``transform:`` of a feature drift.
    kinds
        The kinds of data that it applies to.
    neutral
        The amount that changes nothing (``jpeg``: the least that its quality can do).
    severities
        The amounts of severities 1 to 5.
    low, high
        The range of an explicit amount, both included.
    meaning
        What the amount is, with its unit.
    seeded
        Whether a seed takes part in it.
    source
        Where the amounts of the severities come from.
    """

    name: str
    kinds: frozenset[Kind]
    neutral: float
    severities: tuple[float, float, float, float, float]
    low: float
    high: float
    meaning: str
    seeded: bool
    source: str


_CIFAR_C = "CIFAR-10-C: Hendrycks & Dietterich, ICLR 2019 (arXiv 1903.12261), hendrycks/robustness make_cifar_c.py"
_MNIST_C = "MNIST-C: Mu & Gilmer 2019 (arXiv 1906.02337), rotate: 0.2 to 1.0 radians in steps of 0.2"
_OURS = "edgesim's own choice: no published table for sensor vectors"
_IMAGE: frozenset[Kind] = frozenset({"image"})
_VECTOR: frozenset[Kind] = frozenset({"vector"})
_INFINITY = float("inf")

TRANSFORMS: Mapping[str, TransformFacts] = MappingProxyType(
    {
        facts.name: facts
        for facts in (
            TransformFacts(
                "brightness",
                _IMAGE,
                0.0,
                (0.05, 0.1, 0.15, 0.2, 0.3),
                -1.0,
                1.0,
                "added to the value (the largest channel), on a scale from 0 to 1; below 0 it darkens",
                False,
                _CIFAR_C,
            ),
            TransformFacts(
                "contrast",
                _IMAGE,
                1.0,
                (0.75, 0.5, 0.4, 0.3, 0.15),
                0.0,
                10.0,
                "factor on the distance from the image's own mean, per channel; 1 changes nothing",
                False,
                _CIFAR_C,
            ),
            TransformFacts(
                "blur",
                _IMAGE,
                0.0,
                (0.4, 0.6, 0.7, 0.8, 1.0),
                0.0,
                32.0,
                "standard deviation of the Gaussian, in pixels",
                False,
                _CIFAR_C,
            ),
            TransformFacts(
                "noise",
                _IMAGE | _VECTOR,
                0.0,
                (0.04, 0.06, 0.08, 0.09, 0.10),
                0.0,
                _INFINITY,
                "standard deviation of the added Gaussian noise, in units of the feature (images: 0 to 1)",
                True,
                _CIFAR_C,
            ),
            TransformFacts(
                "rotation",
                _IMAGE,
                0.0,
                (11.459, 22.918, 34.377, 45.837, 57.296),
                -360.0,
                360.0,
                "degrees, counter-clockwise; what turns in from outside is 0",
                False,
                _MNIST_C,
            ),
            TransformFacts(
                "pixelate",
                _IMAGE,
                1.0,
                (0.95, 0.9, 0.85, 0.75, 0.65),
                0.01,
                1.0,
                "side length of the coarse image as a part of the original's",
                False,
                _CIFAR_C,
            ),
            TransformFacts(
                "jpeg",
                _IMAGE,
                100.0,
                (80.0, 65.0, 58.0, 50.0, 40.0),
                1.0,
                100.0,
                "JPEG quality, 1 to 100; JPEG-like: 8x8 cosine quantisation of every channel, no chroma",
                False,
                _CIFAR_C,
            ),
            TransformFacts(
                "scale",
                _VECTOR,
                1.0,
                (1.1, 1.2, 1.35, 1.5, 2.0),
                0.001,
                1000.0,
                "factor on every feature; per_feature: a drawn factor between 1/amount and amount each",
                True,
                _OURS,
            ),
            TransformFacts(
                "offset",
                _VECTOR,
                0.0,
                (0.05, 0.1, 0.2, 0.3, 0.5),
                -_INFINITY,
                _INFINITY,
                "added to every feature; per_feature: a drawn bias between -amount and amount each",
                True,
                _OURS,
            ),
        )
    }
)


def amount_of(operation: str, severity: float) -> float:
    """The amount of an operation at a severity from 0 (neutral) to 5, linear between the whole ones.

    >>> amount_of("blur", 3), amount_of("blur", 0), round(amount_of("blur", 0.5), 3)
    (0.7, 0.0, 0.2)
    """
    if not 0 <= severity <= 5:
        raise ValueError(f"a severity lies between 0 and 5, not at {severity:g}")
    table = (TRANSFORMS[operation].neutral, *TRANSFORMS[operation].severities)
    below = min(int(severity), 4)
    part = severity - below
    return table[below] if part == 0 else table[below] + (table[below + 1] - table[below]) * part


#: Every way to partition the devices' pool: see ``edgesim.data.partitions``.
PARTITIONS = ("iid", "dirichlet", "classes", "group", "split")
#: What a full buffer gives up: see ``edgesim.data.stream``.
EVICTIONS = ("oldest", "random")
