"""A labelled data set in memory: read-only arrays, their meaning, and a fingerprint of their content."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgesim.data.facts import Kind
from edgesim.errors import UserError

Int64Array = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Samples, labels and what they mean. Arrays are made read-only; nothing ever copies them whole.

    Attributes
    ----------
    name
        Where it came from, for people.
    x
        Stored features: images (sample, channel, height, width), vectors (sample, feature). Any real dtype.
    y
        Labels, 0 to ``classes`` - 1.
    classes
        Number of classes.
    kind
        ``"image"`` or ``"vector"``.
    class_names
        One name a class.
    group
        The natural group of each sample (the person, the site), or ``None``.
    is_test
        Whether a sample belongs to the official test split, or ``None`` where there is none.
    zero, unit
        A feature's value is ``(stored - zero) / unit``: images stored as 0 to 255 have 0 and 255.
    default_test_share
        The share to hold out where there is no official test split and nobody names one.
    fingerprint
        Hash of the content: of all the above but the name and the default share. Equal content, equal
        fingerprint, in every process.
    """

    name: str
    x: npt.NDArray[np.generic]
    y: Int64Array
    classes: int
    kind: Kind
    class_names: tuple[str, ...] = ()
    group: Int64Array | None = None
    is_test: npt.NDArray[np.bool_] | None = None
    zero: float = 0.0
    unit: float = 1.0
    default_test_share: float | None = None
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        names = self.class_names or tuple(str(label) for label in range(self.classes))
        object.__setattr__(self, "class_names", names)
        object.__setattr__(self, "x", np.ascontiguousarray(self.x))
        object.__setattr__(self, "y", np.ascontiguousarray(self.y, dtype=np.int64))
        if self.group is not None:
            object.__setattr__(self, "group", np.ascontiguousarray(self.group, dtype=np.int64))
        self._check()
        for array in (self.x, self.y, self.group, self.is_test):
            if array is not None:
                array.setflags(write=False)
        object.__setattr__(self, "fingerprint", self._hash())

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name!r}, {len(self)} samples of {self.sample_shape} {self.x.dtype}, {self.classes} classes)"
        )

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample, without the batch."""
        return self.x.shape[1:]

    @property
    def label_bytes(self) -> int:
        """Bytes of one label: the smallest of 1, 2 or 4 that holds every class."""
        return 1 if self.classes <= 2**8 else 2 if self.classes <= 2**16 else 4

    @property
    def sample_bytes(self) -> int:
        """Bytes of one raw labelled sample: stored dtype x shape + label (digits: 64 + 1)."""
        return math.prod(self.sample_shape) * self.x.dtype.itemsize + self.label_bytes

    def wire_bytes(self, *, sample_bytes: int | None = None, codec_ratio: float | None = None) -> int:
        """Bytes of one sample on the wire.

        Parameters
        ----------
        sample_bytes
            Replaces the size altogether, label included.
        codec_ratio
            Replaces the features' size by this part of it, rounded up; the label stays as it is.
        """
        if sample_bytes is not None and codec_ratio is not None:
            raise UserError("data: sample_bytes and codec_ratio both say how large a sample is: keep one")
        if sample_bytes is not None:
            return sample_bytes
        if codec_ratio is not None:
            return math.ceil((self.sample_bytes - self.label_bytes) * codec_ratio) + self.label_bytes
        return self.sample_bytes

    def features(self, indices: Int64Array) -> Float32Array:
        """The features of some samples as float32, images on a scale from 0 to 1: a fresh array."""
        taken = self.x[indices]
        if self.zero != 0.0:
            taken = np.subtract(taken, np.float32(self.zero), dtype=np.float32)
        values: Float32Array = np.divide(taken, np.float32(self.unit), dtype=np.float32)
        return values

    def _check(self) -> None:
        wanted = 4 if self.kind == "image" else 2
        if self.x.ndim != wanted:
            raise UserError(
                f"data {self.name}: {self.kind} data needs {wanted} dimensions "
                f"({'sample, channel, height, width' if wanted == 4 else 'sample, feature'}), "
                f"found shape {self.x.shape}"
            )
        for what, array in (("labels", self.y), ("groups", self.group), ("test marks", self.is_test)):
            if array is not None and array.shape != (len(self.x),):
                raise UserError(
                    f"data {self.name}: {len(self.x)} samples, but {what} have shape {array.shape}: "
                    "one a sample is needed"
                )
        if len(self.x) == 0:
            raise UserError(f"data {self.name}: no samples")
        if self.y.min() < 0 or self.y.max() >= self.classes:
            raise UserError(
                f"data {self.name}: labels run from {self.y.min()} to {self.y.max()}, "
                f"but there are {self.classes} classes: 0 to {self.classes - 1}"
            )
        if len(self.class_names) != self.classes:
            raise UserError(f"data {self.name}: {self.classes} classes, but {len(self.class_names)} class names")
        if self.x.dtype.kind == "f" and not np.isfinite(self.x).all():
            raise UserError(f"data {self.name}: some features are NaN or infinite")

    def _hash(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        meta = (self.kind, self.classes, self.class_names, repr(self.zero), repr(self.unit))
        digest.update(repr(meta).encode())
        for array in (self.x, self.y, self.group, self.is_test):
            if array is None:
                digest.update(b"\x00none")
            else:
                digest.update(f"\x00{array.dtype.str}{array.shape}".encode())
                digest.update(array.data)
        return digest.hexdigest()
