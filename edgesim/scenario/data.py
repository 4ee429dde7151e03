"""The ``data`` section: where samples come from, how they are split, and how they arrive at devices."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Gt, MaxLen, MinLen
from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, Strict, model_validator
from pydantic_core import CoreSchema, core_schema

from edgesim.data.facts import (
    SOURCES,
    SYNTHETIC_CLASSES,
    SYNTHETIC_SAMPLES,
    SYNTHETIC_SEPARABILITY,
    SYNTHETIC_SHAPE,
    SourceFacts,
    synthetic_facts,
)
from edgesim.scenario.base import (
    ClassList,
    Flag,
    NotNegative,
    Number,
    Positive,
    PositiveWholeNumber,
    Spec,
    Tagged,
    WholeNumber,
)
from edgesim.scenario.findings import found, wrong
from edgesim.scenario.paths import FilePath
from edgesim.scenario.units import Bytes, PerSecond, Ratio, Seconds, with_units

_TORCHVISION_FOLDERS = {
    "mnist": "MNIST/raw",
    "cifar10": "cifar-10-batches-py",
    "cifar100": "cifar-100-python",
}


@dataclass(frozen=True, slots=True)
class SampleRange:
    """How many samples a device holds at first: drawn uniformly from ``low`` to ``high``, both included."""

    low: int
    high: int

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


class _SampleRangeType:
    """A number of samples, or a range ``50-150``."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            read_sample_range,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value, information: _write_sample_range(value) if with_units(information.context) else value,
                info_arg=True,
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": r"^\s*[1-9]\d*\s*-\s*[1-9]\d*\s*$"},
            ],
            "examples": [100, "50-150"],
        }


def read_sample_range(value: object) -> SampleRange:
    """Read ``100`` or ``"50-150"``."""
    if isinstance(value, SampleRange):
        low, high = value.low, value.high
    elif isinstance(value, int) and not isinstance(value, bool):
        low = high = value
    elif isinstance(value, str) and (match := re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", value)):
        low, high = int(match[1]), int(match[2])
    else:
        raise wrong(f"found {found(value)} where a number of samples is expected, for example 100 or 50-150")
    if low < 1:
        raise wrong(f"found {found(value)}: a device holds at least 1 sample")
    if high < low:
        raise wrong(f"found {found(value)}: a range goes up, did you mean '{high}-{low}'?")
    return SampleRange(low, high)


def _write_sample_range(value: SampleRange) -> int | str:
    return value.low if value.low == value.high else str(value)


class Proxy(Spec):
    """The cloud's own labelled data, which models are pretrained on."""

    share: Annotated[Ratio, Gt(0)] = Field(
        description="Share of the training pool that the cloud holds; the rest is the devices'.",
        examples=["30 %"],
    )
    classes: ClassList | None = Field(default=None, description="Classes in the cloud's data; all of them by default.")


class _Partition(Spec):
    kind: str
    classes: ClassList | None = Field(
        default=None, description="Classes that occur on devices before any drift; all by default."
    )


class _DrawnPartition(_Partition):
    samples: Annotated[SampleRange, _SampleRangeType()] = Field(
        description="Samples that a device holds at first: a number, or a range to draw from.",
        examples=[100, "50-150"],
    )


class IidPartition(_DrawnPartition):
    """Every device draws from the same distribution."""

    kind: Literal["iid"] = Field(description="Every device draws from the same distribution.")


class DirichletPartition(_DrawnPartition):
    """Each device's class prior is drawn from a Dirichlet distribution."""

    kind: Literal["dirichlet"] = Field(description="A device's class prior is a draw from a Dirichlet distribution.")
    alpha: Positive = Field(description="Concentration: small means few classes a device, large means alike.")


class ClassesPartition(_DrawnPartition):
    """Each device holds a few classes only."""

    kind: Literal["classes"] = Field(description="Each device holds samples of a few classes only.")
    per_device: PositiveWholeNumber | None = Field(
        default=None, description="Classes a device holds, drawn for each device.", examples=[2]
    )
    sets: Annotated[tuple[ClassList, ...], MinLen(1)] | None = Field(
        default=None,
        description="Instead: classes that occur together. A device holds one of these sets, each as many devices.",
        examples=[[[0, 1], [2, 3]]],
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.per_device is None) == (self.sets is None):
            raise wrong("give either `per_device` or `sets`", ("sets",) if self.sets is not None else ())
        if self.sets is not None and self.classes is not None:
            raise wrong("`sets` say which classes occur", ("classes",))
        if self.per_device is not None and self.classes is not None and self.per_device > len(set(self.classes)):
            raise wrong(
                f"found {self.per_device} classes a device, but `classes` lists {len(set(self.classes))}",
                ("per_device",),
            )
        return self


class GroupPartition(_DrawnPartition):
    """Each device holds the samples of one natural group, such as one person."""

    kind: Literal["group"] = Field(description="Each device holds one natural group's samples (a person's, say).")


class SplitPartition(_Partition):
    """The devices' whole pool is dealt out, every sample to one device, each class in the same ratios."""

    kind: Literal["split"] = Field(description="The whole pool is dealt out: every sample is on one device.")
    ratios: Annotated[tuple[Positive, ...], MinLen(1)] = Field(
        description="Sizes of the devices' shares relative to each other: one a device, or fewer and repeated.",
        examples=[[1, 1]],
    )
    samples: Annotated[SampleRange, _SampleRangeType()] | None = Field(
        default=None, description="Samples of its share that a device holds at first; by default all of them."
    )


Partition = Annotated[
    IidPartition | DirichletPartition | ClassesPartition | GroupPartition | SplitPartition, Tagged("kind")
]


class Arrival(Spec):
    """How new samples arrive at a device while time passes."""

    rate: PerSecond = Field(default=0.0, description="Samples per second.", examples=["0.2 /s"])
    labelled: Ratio = Field(default=1.0, description="Share of the samples that get a label.", examples=["50 %"])
    label_delay: Seconds = Field(default=0.0, description="Time from a sample to its label.", examples=["30 s"])
    buffer: PositiveWholeNumber | None = Field(
        default=None, description="Samples that a device keeps; by default as many as it holds at first."
    )
    eviction: Literal["oldest", "random"] = Field(default="oldest", description="Which sample leaves a full buffer.")


class ArrivalOverride(Spec):
    """What a group of devices changes in ``data.arrival``; keys left out stay as they are there."""

    rate: PerSecond | None = Field(default=None, description="Samples per second.", examples=["0.2 /s"])
    labelled: Ratio | None = Field(
        default=None, description="Share of the samples that get a label.", examples=["50 %"]
    )
    label_delay: Seconds | None = Field(default=None, description="Time from a sample to its label.", examples=["30 s"])
    buffer: PositiveWholeNumber | None = Field(default=None, description="Samples that a device keeps.")
    eviction: Literal["oldest", "random"] | None = Field(default=None, description="Which sample leaves a full buffer.")

    def over(self, base: Arrival) -> Arrival:
        """Return ``base`` with what is set here."""
        return base.model_copy(update=self.model_dump(exclude_none=True))


class _Data(Spec):
    source: str
    proxy: Proxy = Field(description="The cloud's own labelled data.", examples=[{"share": "30 %"}])
    test_share: Annotated[Ratio, Gt(0)] | None = Field(
        default=None,
        description="Share of the whole set to test with, split anew; by default the official test split.",
        examples=["30 %"],
    )
    test_samples: WholeNumber = Field(
        default=100, description="Test samples in a device's view; 0: nothing is evaluated, and there is no accuracy."
    )
    partition: Partition = Field(
        description="How training samples are spread over devices.", examples=[{"kind": "iid", "samples": 100}]
    )
    arrival: Arrival = Field(default_factory=Arrival, description="How new samples arrive; none by default.")
    sample_bytes: Annotated[Bytes, Gt(0)] | None = Field(
        default=None,
        description="Size of a raw sample; by default its stored size and its label.",
        examples=["2 kB"],
    )
    codec_ratio: Positive | None = Field(
        default=None,
        description="Size of an encoded sample relative to the stored one, instead of `sample_bytes`.",
    )

    @property
    def facts(self) -> SourceFacts:
        """What is known of the source without loading it."""
        return SOURCES[self.source]

    @property
    def options(self) -> dict[str, Any]:
        """What the source itself is loaded with, by the names of :func:`edgesim.data.load_dataset`."""
        own = {key: value for key, value in self if key not in _Data.model_fields}
        return {key: value for key, value in own.items() if value is not None}

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.sample_bytes is not None and self.codec_ratio is not None:
            raise wrong("`sample_bytes` already gives the size; leave one of them out", ("codec_ratio",))
        return self


class DigitsData(_Data):
    """scikit-learn's 1,797 handwritten digits, 8 x 8, embedded."""

    source: Literal["digits"] = Field(description="scikit-learn's 1,797 handwritten digits, embedded.")


class ImageData(_Data):
    """A set that torchvision reads: MNIST, CIFAR-10, CIFAR-100."""

    source: Literal["mnist", "cifar10", "cifar100"] = Field(description="A set that torchvision reads.")
    path: FilePath = Field(description="The folder that holds torchvision's files.", examples=["${EDGESIM_DATA}"])
    download: Flag = Field(default=False, description="Download the files where they are missing.")

    @model_validator(mode="after")
    def _files(self) -> Self:
        wanted = Path(self.path, _TORCHVISION_FOLDERS[self.source])
        if not self.download and not wanted.is_dir():
            raise wrong(f"there is no folder {wanted}; put the files there, or write `download: true`", ("path",))
        return self


class HarData(_Data):
    """UCI's human activity recognition with smartphones, from its official folder."""

    source: Literal["uci_har"] = Field(description="UCI HAR, from its official folder.")
    path: FilePath = Field(description="The folder `UCI HAR Dataset`, or the one that holds it.")

    @model_validator(mode="after")
    def _files(self) -> Self:
        if not any(Path(self.path, inner, "train").is_dir() for inner in ("", "UCI HAR Dataset")):
            message = f"{self.path} does not hold the unpacked 'UCI HAR Dataset' (train/X_train.txt and so on)"
            raise wrong(message, ("path",))
        return self


class NpzData(_Data):
    """Arrays from a NumPy file."""

    source: Literal["npz"] = Field(description="Arrays from an .npz file.")
    path: FilePath = Field(description="The .npz file.", examples=["${EDGESIM_DATA}/har.npz"])
    x: str = Field(default="x", description="The array of samples: `x`, or `x_train` and `x_test`.")
    y: str = Field(default="y", description="The array of labels.")
    group: str | None = Field(
        default=None, alias="group_key", description="The array that says which natural group a sample is of."
    )
    class_names: str | None = Field(default=None, description="The array of class names.")
    layout: Literal["auto", "nchw", "nhwc"] = Field(default="auto", description="Order of the sides of images.")
    value_range: Annotated[tuple[Number, ...], MinLen(2), MaxLen(2)] | None = Field(
        default=None, description="The two stored values that stand for 0 and 1 in images."
    )
    remap_labels: Flag = Field(default=False, description="Number the labels anew from 0, in sorted order.")

    @model_validator(mode="after")
    def _files(self) -> Self:
        if not Path(self.path).is_file():
            raise wrong(f"there is no file {self.path}", ("path",))
        return self


class SyntheticData(_Data):
    """Seeded samples of any shape."""

    source: Literal["synthetic"] = Field(description="Gaussian classes of any shape, seeded.")
    samples: PositiveWholeNumber = Field(default=SYNTHETIC_SAMPLES, description="Samples in all.")
    classes: Annotated[int, Strict(), Ge(2)] = Field(default=SYNTHETIC_CLASSES, description="Number of classes.")
    shape: Annotated[tuple[PositiveWholeNumber, ...], MinLen(1)] = Field(
        default=SYNTHETIC_SHAPE, description="Shape of a sample: [features], or [channels, height, width]."
    )
    separability: NotNegative = Field(
        default=SYNTHETIC_SEPARABILITY,
        description="Distance between two classes in standard deviations of the noise.",
    )
    groups: WholeNumber = Field(default=0, description="Number of natural groups, each with an offset of its own.")
    group_shift: NotNegative = Field(default=1.0, description="Length of a group's offset, in standard deviations.")
    seed: WholeNumber = Field(default=0, description="Names the data set; independent of a run's seed.")

    @property
    def facts(self) -> SourceFacts:
        """What is known of the data without making it."""
        return synthetic_facts(classes=self.classes, shape=self.shape, groups=self.groups)

    @model_validator(mode="after")
    def _a_sample_each(self) -> Self:
        if self.samples < self.classes:
            raise wrong(f"found {self.samples} samples for {self.classes} classes", ("samples",))
        return self


DataSpec = Annotated[DigitsData | ImageData | HarData | NpzData | SyntheticData, Tagged("source")]
"""The ``data`` section; ``source`` says which."""
