"""Calls and outcomes as bytes, for other processes: tensors as plain arrays, data sets by their fingerprint.

Bytes go between processes of one run only; nothing here is ever read from a file of somebody else's.
"""

from __future__ import annotations

import io
import pickle
import traceback
from collections.abc import Callable
from dataclasses import fields
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from cloudpickle import CloudPickler
from torch import Tensor

from ..data import Dataset
from .executors import Calls, Outcome, Raised
from .function import JobFunction

_DATASET = "dataset"


def pack_calls(calls: Calls, publish: Callable[[Dataset], None]) -> bytes:
    """Pack calls; each data set that they read is given to ``publish``, which sees to it that workers find it."""
    file = io.BytesIO()
    _CallPickler(file, publish).dump(calls)
    return file.getvalue()


def unpack_calls(packed: bytes, dataset: Callable[[str], Dataset]) -> Calls:
    """Unpack calls; ``dataset`` returns the data set with a fingerprint."""
    calls: Calls = _CallUnpickler(packed, dataset).load()
    return calls


def pack_outcomes(outcomes: list[Outcome]) -> bytes:
    """Pack outcomes. An exception takes its traceback along as a note; one that cannot be pickled is told in words."""
    return _pickled([_portable(outcome) for outcome in outcomes])


def unpack_outcomes(packed: bytes) -> list[Outcome]:
    """Unpack outcomes."""
    outcomes: list[Outcome] = pickle.loads(packed)
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


class _Pickler(CloudPickler):  # type: ignore[misc]  # cloudpickle has no types
    """Pickles what standard pickle does, functions of a script, and tensors as the bytes that they show: standard
    pickling of a tensor takes all of the storage that it may be a small part of."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return _tensor, (value.detach().numpy(),)
        if isinstance(value, JobFunction) and value.__module__ == "__main__":
            return JobFunction, (value.__wrapped__, value.version, value.depends, value.fused, value.light)
        return super().reducer_override(value)


@final
class _CallPickler(_Pickler):
    def __init__(self, file: io.BytesIO, publish: Callable[[Dataset], None]) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._publish = publish

    def persistent_id(self, value: Any) -> tuple[str, str] | None:
        if not isinstance(value, Dataset):
            return None
        self._publish(value)
        return _DATASET, value.fingerprint


@final
class _CallUnpickler(pickle.Unpickler):
    def __init__(self, packed: bytes, dataset: Callable[[str], Dataset]) -> None:
        super().__init__(io.BytesIO(packed))
        self._dataset = dataset

    def persistent_load(self, pid: tuple[str, str]) -> Dataset:
        return self._dataset(pid[1])


def _pickled(value: object) -> bytes:
    file = io.BytesIO()
    _Pickler(file, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
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


def _tensor(array: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(array)
