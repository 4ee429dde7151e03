"""Counting floating-point operations where they are called, with the formulas of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # how classes are derived is untyped in torch
    """Counts what is called inside of its block; a multiply and an add are two.

    The numbers are those of ``torch.utils.flop_counter.FlopCounterMode``, which imports torch's compiler before it
    counts: a second of every process.

    Attributes
    ----------
    total
        FLOPs so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in torch
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Leave out the guard against being compiled: it is what imports the compiler."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call an operator, in the parts that it is made of where it is made of parts."""
        named = kwargs or {}
        if func is not torch.ops.prim.device.default:
            with self:
                result = func.decompose(*args, **named)
            if result is not NotImplemented:
                return result
        result = func(*args, **named)
        formula: Callable[..., int] | None = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **named, out_val=result)
        return result
