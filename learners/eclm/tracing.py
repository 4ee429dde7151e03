"""Watches one forward pass of a network, without numbers: which layer read what, in which order.

Layers are seen through hooks, activations, poolings and sums that are called as functions through torch's function
mode. What else happens between layers is recorded as unknown, so that nobody mistakes it for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from edgesim.errors import UserError

_ACTIVATIONS: dict[Any, Callable[[], nn.Module]] = {
    functional.relu: nn.ReLU,
    torch.relu: nn.ReLU,
    torch.relu_: nn.ReLU,
    Tensor.relu: nn.ReLU,
    Tensor.relu_: nn.ReLU,
    functional.relu6: nn.ReLU6,
    functional.leaky_relu: nn.LeakyReLU,
    functional.elu: nn.ELU,
    functional.gelu: nn.GELU,
    functional.silu: nn.SiLU,
    functional.hardswish: nn.Hardswish,
    torch.tanh: nn.Tanh,
    torch.sigmoid: nn.Sigmoid,
}
_SUMS = (torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a module, or of a function outside of layers.

    Attributes
    ----------
    path
        The module, or the innermost module in which the function was called.
    layer
        The module; for an activation that was called as a function, a module that does the same; None for a sum and
        for what is not known.
    sources
        Identities of the tensors that went in; of a module, the first only.
    target
        Identity of the tensor that came out.
    input_shape, output_shape
        Of the first tensor and of the result, without the batch.
    is_sum
        Whether two tensors were added.
    """

    path: str
    layer: nn.Module | None
    sources: tuple[int, ...]
    target: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    is_sum: bool = False


class Trace:
    """What happened in one forward pass of two samples.

    Attributes
    ----------
    modules
        The network's modules by path.
    steps
        Calls of layers (modules without children) and of functions between them, in order.

    Raises
    ------
    UserError
        The network does not take such samples.
    """

    def __init__(self, network: nn.Module, input_shape: Sequence[int]) -> None:
        self.modules = dict(network.named_modules())
        self.steps: list[Call] = []
        self._calls: dict[str, list[Call]] = {}
        self._inside: list[str] = []
        self._alive: list[Tensor] = []  # so that no two tensors share an identity
        with ExitStack() as hooks:
            for path, module in self.modules.items():
                hooks.callback(module.register_forward_pre_hook(self._enter(path)).remove)
                hooks.callback(module.register_forward_hook(self._leave(path)).remove)
            hooks.enter_context(torch.no_grad())
            hooks.enter_context(_Functions(self))
            try:
                network(torch.empty(2, *input_shape, device="meta"))
            except (RuntimeError, ValueError, TypeError, IndexError) as error:
                raise UserError(f"the network does not take samples of shape {tuple(input_shape)}: {error}") from error
        self._order = {id(call): place for place, call in enumerate(self._all)}

    @property
    def _all(self) -> Iterator[Call]:
        return (call for calls in self._calls.values() for call in calls)

    def once(self, path: str) -> Call | None:
        """The only call of a module; None where it is called never or several times."""
        calls = self._calls.get(path, [])
        return calls[0] if len(calls) == 1 else None

    def children(self, path: str) -> list[tuple[str, Call]]:
        """Names of the children of a module that are called once, in the order of their calls."""
        prefix = f"{path}." if path else ""
        names = [name for name, _ in self.modules[path].named_children()]
        called = [(name, call) for name in names if (call := self.once(prefix + name)) is not None]
        return sorted(called, key=lambda entry: self._order[id(entry[1])])

    def within(self, paths: Sequence[str]) -> list[Call]:
        """The steps inside some modules."""
        return [step for step in self.steps if any(step.path == p or step.path.startswith(p + ".") for p in paths)]

    @property
    def in_layer(self) -> bool:
        """Whether a module without children is being called."""
        return bool(self._inside) and next(self.modules[self._inside[-1]].children(), None) is None

    def _enter(self, path: str) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, inputs: Any) -> None:
            self._inside.append(path)

        return hook

    def _leave(self, path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            layer = self.in_layer
            self._inside.pop()
            given = inputs[0] if inputs else None
            if isinstance(given, Tensor) and isinstance(output, Tensor):
                call = self._call(path, module, (given,), output)
                self._calls.setdefault(path, []).append(call)
                if layer:
                    self.steps.append(call)

        return hook

    def function(self, layer: nn.Module | None, sources: Sequence[Tensor], target: Tensor, is_sum: bool) -> None:
        """Record a function that was called outside of layers."""
        path = self._inside[-1] if self._inside else ""
        self.steps.append(self._call(path, layer, sources, target, is_sum))

    def _call(
        self, path: str, layer: nn.Module | None, sources: Sequence[Tensor], target: Tensor, is_sum: bool = False
    ) -> Call:
        self._alive += [*sources, target]
        return Call(
            path,
            layer,
            tuple(id(source) for source in sources),
            id(target),
            tuple(sources[0].shape[1:]),
            tuple(target.shape[1:]),
            is_sum,
        )


class _Functions(TorchFunctionMode):
    """Records functions that are called outside of layers."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        result = func(*args, **given)
        sources = [value for value in args if isinstance(value, Tensor)]
        if self._trace.in_layer or not isinstance(result, Tensor) or not sources:
            return result
        if func in _ACTIVATIONS:
            self._trace.function(_ACTIVATIONS[func](), sources[:1], result, is_sum=False)
        else:
            self._trace.function(None, sources, result, is_sum=func in _SUMS and len(sources) == 2)
        return result
