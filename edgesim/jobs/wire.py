"""Calls and outcomes as bytes, for other processes: data sets by their fingerprint, tensors as plain arrays, or by
their place in a file that both sides map.

Bytes go between processes of one run only; nothing here is ever read from a file of somebody else's.
"""

from __future__ import annotations

import io
import pickle
import traceback
from collections.abc import Callable
from dataclasses import fields
from math import prod
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from cloudpickle import CloudPickler
from torch import Tensor

from ..data import Dataset
from .executors import Calls, Outcome, Raised
from .function import JobFunction
from .shared import NoRoom, Place

_DATASET = "dataset"
_TENSOR = "tensor"

SHARED_BYTES = 32 * 2**10
"""Size of a tensor from which on it goes by way of a file, if there is one: smaller ones are faster inside of the
message."""

Put = Callable[[Tensor], Place]
"""Writes a tensor into a file, and says where."""

Get = Callable[[str], Tensor]
"""Returns the bytes of the file with a name, mapped."""


def pack_calls(calls: Calls, publish: Callable[[Dataset], None], put: Put | None = None) -> bytes:
    """Pack calls; each data set that they read is given to ``publish``, which sees to it that workers find it, and each
    large tensor to ``put``."""
    return _pickled(calls, put, publish)


def unpack_calls(packed: bytes, dataset: Callable[[str], Dataset], get: Get | None = None) -> Calls:
    """Unpack calls; ``dataset`` returns the data set with a fingerprint. Tensors of files stay in them."""
    calls: Calls = _Unpickler(packed, dataset, get).load()
    return calls


def pack_outcomes(outcomes: list[Outcome], put: Put | None = None) -> bytes:
    """Pack outcomes, large tensors by ``put``. An exception takes its traceback along as a note; one that cannot be
    pickled is told in words, and a value that cannot be is a failure of its call alone."""
    portable = [_portable(outcome) for outcome in outcomes]
    try:
        return _pickled(portable, put)
    except NoRoom:
        raise
    except Exception:  # whatever the classes of a user's own raise
        return _pickled([_sendable(outcome) for outcome in portable])


def unpack_outcomes(packed: bytes, get: Get | None = None) -> list[Outcome]:
    """Unpack outcomes; tensors of files are copied, each into memory of its own."""
    outcomes: list[Outcome] = _Unpickler(packed, None, get, copies=True).load()
    return outcomes


def dataset_facts(dataset: Dataset) -> bytes:
    """Pack all of a data set but its features."""
    return _pickled({field.name: getattr(dataset, field.name) for field in fields(dataset) if field.name != "x"})


def dataset_of(facts: bytes, x: npt.NDArray[Any]) -> Dataset:
    """Make a data set of what was packed and its features. Its fingerprint is taken as packed: to work it out would
    read all features, which may be mapped from a file."""
    dataset = object.__new__(Dataset)
    for name, value in {**pickle.loads(facts), "x": x}.items():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
        object.__setattr__(dataset, name, value)
    return dataset


@final
class _Pickler(CloudPickler):  # type: ignore[misc]  # cloudpickle has no types
    """Pickles what standard pickle does, functions of a script, and tensors as the bytes that they show: standard
    pickling of a tensor takes all of the storage that it may be a small part of."""

    def __init__(self, file: io.BytesIO, put: Put | None, publish: Callable[[Dataset], None] | None) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._put = put
        self._publish = publish

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            plain = value.detach()
            try:
                return _tensor, (plain.numpy(),)
            except TypeError:  # bfloat16 and the like, which NumPy does not know
                bits = torch.int16 if plain.itemsize == 2 else torch.uint8
                return _tensor_of_bits, (plain.view(bits).numpy(), plain.dtype)
        if isinstance(value, JobFunction) and value.__module__ == "__main__":
            return JobFunction, (value.__wrapped__, value.version, value.depends, value.fused, value.light)
        return super().reducer_override(value)

    def persistent_id(self, value: Any) -> tuple[Any, ...] | None:
        if self._put is not None and isinstance(value, Tensor) and value.nbytes >= SHARED_BYTES:
            return _TENSOR, *self._put(value), value.dtype, tuple(value.shape)
        if self._publish is not None and isinstance(value, Dataset):
            self._publish(value)
            return _DATASET, value.fingerprint
        return None


@final
class _Unpickler(pickle.Unpickler):
    def __init__(
        self, packed: bytes, dataset: Callable[[str], Dataset] | None, get: Get | None, *, copies: bool = False
    ) -> None:
        super().__init__(io.BytesIO(packed))
        self._dataset = dataset
        self._get = get
        self._copies = copies
        self._files: dict[str, Tensor] = {}

    def persistent_load(self, pid: tuple[Any, ...]) -> Any:
        if pid[0] == _DATASET:
            assert self._dataset is not None
            return self._dataset(pid[1])
        _, name, start, dtype, shape = pid
        if name not in self._files:
            assert self._get is not None
            self._files[name] = self._get(name)
        size = prod(shape) * dtype.itemsize
        tensor = self._files[name][start : start + size].view(dtype).view(shape)
        return tensor.clone() if self._copies else tensor


def _pickled(value: object, put: Put | None = None, publish: Callable[[Dataset], None] | None = None) -> bytes:
    file = io.BytesIO()
    _Pickler(file, put, publish).dump(value)
    return file.getvalue()


def _portable(outcome: Outcome) -> Outcome:
    if not isinstance(outcome, Raised):
        return outcome
    error = outcome.error
    told = "".join(traceback.format_exception(error))
    try:
        pickle.loads(_pickled(error))
    except Exception:  # somebody else's exception: reading it back may raise anything
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"in the worker:\n{told}")
    return Raised(error)


def _sendable(outcome: Outcome) -> Outcome:
    """The outcome, or a failure where it cannot be pickled."""
    try:
        _pickled(outcome)
    except Exception as error:
        failure = TypeError(f"what it returned cannot go to another process: {error}")
        failure.__cause__ = error
        return _portable(Raised(failure))
    return outcome


def _tensor(array: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(array)


def _tensor_of_bits(array: npt.NDArray[Any], dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(array).view(dtype)
