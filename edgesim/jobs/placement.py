"""Where the tensors of a job are while it computes: on the CPU, or on a CUDA device.

Jobs are given CPU tensors and return CPU tensors. In between, a job asks for its network (``bench``), which stands
where the job was placed, and puts there what the network is to see (``put``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_CUDA = re.compile(r"cuda(?::(\d+))?")

_current: ContextVar[str] = ContextVar("edgesim_placement", default="cpu")


@dataclass(frozen=True, slots=True)
class Placement:
    """A device of PyTorch's.

    Attributes
    ----------
    device
        As torch writes it: ``cpu``, ``cuda:0``.
    name
        What the maker calls it; empty for a CPU, whose capability says what its bits depend on.
    """

    device: str = "cpu"
    name: str = ""

    @property
    def kind(self) -> str:
        """``cpu`` or ``cuda``: what the table of fused shapes asks for."""
        return self.device.partition(":")[0]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


CPU = Placement()


def find(wanted: str) -> Placement:
    """Return the device that ``cpu``, ``cuda``, ``cuda:N`` or ``auto`` (CUDA where there is any) stands for here.

    Raises
    ------
    UserError
        It is not there; the message does not say who wanted it.
    """
    if wanted == "cpu":
        return CPU
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto" and not there:
        return CPU
    match = _CUDA.fullmatch("cuda" if wanted == "auto" else wanted)
    if match is None:
        raise UserError(f"there is no device {wanted!r}; known: cpu, cuda, cuda:N, auto")
    if not there:
        why = "this build of PyTorch has no CUDA" if torch.version.cuda is None else "PyTorch finds no CUDA device"
        raise UserError(f"found {wanted} where there is none: {why} (torch {torch.__version__}); cpu or auto runs here")
    number = torch.cuda.current_device() if match[1] is None else int(match[1])
    if number >= there:
        raise UserError(f"found {wanted}, and there are {there} CUDA devices here: cuda:0 to cuda:{there - 1}")
    return Placement(f"cuda:{number}", torch.cuda.get_device_name(number))


@contextmanager
def on(device: str) -> Iterator[None]:
    """Inside, jobs of this thread compute on a device. Of CUDA, algorithms are asked for that are deterministic."""
    token = _current.set(device)
    try:
        if device.startswith("cuda"):
            with _deterministic():
                yield
        else:
            yield
    finally:
        _current.reset(token)


def current() -> torch.device:
    """The device that the job of this thread computes on."""
    import torch

    return torch.device(_current.get())


def put(tensor: Tensor) -> Tensor:
    """Return a tensor where the job computes; itself, if it is there."""
    device = _current.get()
    return tensor if device == "cpu" else tensor.to(device)


def back(value: Any) -> Any:
    """Return a value whose tensors are on the CPU: those in containers and dataclasses too."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {key: back(item) for key, item in value.items()}
    if isinstance(value, list):
        return [back(item) for item in value]
    if type(value) is tuple:
        return tuple(back(item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: back(getattr(value, field.name)) for field in fields(value) if field.init})
    return value


@contextmanager
def _deterministic() -> Iterator[None]:
    """Where there is no deterministic algorithm, PyTorch warns and takes the one that there is."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS when a process first uses it
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
