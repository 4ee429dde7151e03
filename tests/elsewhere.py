"""A device that is not the CPU, for tests on machines without one: torch calls it ``meta``, and it computes.

Tensors that are there hold numbers of their own and behave as those on a GPU: they do not mix with those of the CPU,
and they have no NumPy array. What is computed with them is what the CPU would compute, to the bit, so that results show
whether everything was put where it belongs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")

_MOVING = (torch.ops.aten.copy_, torch.ops.aten._foreach_copy_, torch.ops.aten._to_copy)
"""What takes tensors of two devices."""


@final
class _There(Tensor):
    """A tensor that is there; ``inner`` holds its numbers."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> _There:
        return Tensor._make_wrapper_subclass(  # type: ignore[attr-defined, no-any-return]  # torch does not declare it
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _compute(function, args, kwargs or {})


@final
class Elsewhere(TorchDispatchMode):
    """Inside, there is such a device.

    Attributes
    ----------
    arrived
        How many tensors have been sent there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.arrived = 0

    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = _compute(function, args, kwargs or {})
        left = any(isinstance(value, Tensor) and not isinstance(value, _There) for value in tree_leaves(args))
        self.arrived += left and isinstance(result, _There)
        return result


def _compute(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    there = any(isinstance(tensor, _There) for tensor in tensors)
    here = [tensor for tensor in tensors if not isinstance(tensor, _There) and tensor.dim()]
    if there and here and function.overloadpacket not in _MOVING:
        raise RuntimeError(f"{function}: expected all tensors to be on the same device, found two")
    plain_args, plain_kwargs = tree_map(_inner, tuple(args)), tree_map(_inner, dict(kwargs))
    if (device := kwargs.get("device")) is not None:
        plain_kwargs["device"], there = "cpu", torch.device(device) == DEVICE
    result = function(*plain_args, **plain_kwargs)
    if function._schema.is_mutable:
        return args[0] if isinstance(result, Tensor) else result
    if not there:
        return result
    with torch.inference_mode(False):  # views of what was made outside of inference are made there
        return tree_map(lambda value: _There(value) if isinstance(value, Tensor) else value, result)


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, _There) else value
