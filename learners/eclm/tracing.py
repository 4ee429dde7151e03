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

_ACTIVATIONS: dict[Any, Callable[..., nn.Module]] = {
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
    torch.tanh_: nn.Tanh,
    Tensor.tanh: nn.Tanh,
    Tensor.tanh_: nn.Tanh,
    torch.sigmoid: nn.Sigmoid,
    torch.sigmoid_: nn.Sigmoid,
    Tensor.sigmoid: nn.Sigmoid,
    Tensor.sigmoid_: nn.Sigmoid,
}
Value = tuple[int, int]
"""A tensor as it was when a call read or made it: its identity, and how often it had been changed in place."""

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
        The tensors that went in, the first argument first; of a layer also those that it read otherwise, its weights
        for instance.
    target
        The tensor that came out.
    input_shape, output_shape
        Of the first tensor and of the result, without the batch.
    begin, end
        Which of the steps lie inside; of a step, itself.
    function
        Name of the function; empty for a module.
    is_sum
        Whether two tensors were added.
    """

    path: str
    layer: nn.Module | None
    sources: tuple[Value, ...]
    target: Value
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    begin: int
    end: int
    function: str = ""
    is_sum: bool = False


@dataclass(slots=True)
class _Open:
    """A module that is being called, and what it has read so far."""

    path: str
    begin: int
    sources: list[Value]
    shape: tuple[int, ...]


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
        self._inside: list[_Open] = []
        self._alive: list[Tensor] = []  # so that no two tensors share an identity
        with ExitStack() as hooks:
            for path, module in self.modules.items():
                hooks.callback(module.register_forward_pre_hook(self._enter(path), with_kwargs=True).remove)
                hooks.callback(module.register_forward_hook(self._leave).remove)
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

    def within(self, call: Call) -> list[Call]:
        """The steps inside a call."""
        return self.steps[call.begin : call.end]

    @property
    def in_layer(self) -> bool:
        """Whether a module without children is being called."""
        return bool(self._inside) and next(self.modules[self._inside[-1].path].children(), None) is None

    def values(self, given: Any) -> list[Value]:
        """The tensors in some arguments, as they are now."""
        found = tensors_in(given)
        self._alive += found
        return [(id(tensor), tensor._version) for tensor in found]

    def _enter(self, path: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            first = next(iter(tensors_in((args, kwargs))), None)
            shape = () if first is None else tuple(first.shape[1:])
            self._inside.append(_Open(path, len(self.steps), self.values((args, kwargs)), shape))

        return hook

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        layer = self.in_layer
        call = self._inside.pop()
        targets = self.values(output)
        if not call.sources or not targets:
            return
        end = call.begin + 1 if layer else len(self.steps)
        made = Call(
            call.path,
            module,
            tuple(call.sources),
            targets[0],
            call.shape,
            tuple(tensors_in(output)[0].shape[1:]),
            call.begin,
            end,
        )
        if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
            self._calls.setdefault(call.path, []).append(made)
        if layer:
            self.steps.append(made)

    def read(self, sources: Sequence[Value]) -> None:
        """Record what a layer has read."""
        self._inside[-1].sources += sources

    def function(self, name: str, layer: nn.Module | None, sources: Sequence[Value], shape: Any, result: Any) -> None:
        """Record a function that was called outside of layers; ``name`` is "+" for a sum of two tensors."""
        path = self._inside[-1].path if self._inside else ""
        output = tensors_in(result)[0]
        place = len(self.steps)
        self.steps.append(
            Call(
                path,
                layer,
                tuple(sources),
                self.values(output)[0],
                shape,
                tuple(output.shape[1:]),
                place,
                place + 1,
                name,
                name == "+",
            )
        )


class _Functions(TorchFunctionMode):
    """Records functions that are called outside of layers, and what layers read."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        first = next(iter(tensors_in((args, given))), None)
        if first is None:
            return func(*args, **given)
        sources, shape = self._trace.values((args, given)), tuple(first.shape[1:])
        result = func(*args, **given)
        made = first if func is Tensor.__setitem__ else result
        if not tensors_in(made):
            return result
        if self._trace.in_layer:
            self._trace.read(sources)
        elif func in _ACTIVATIONS and "out" not in given:
            slope = [value for value in args[1:2] if not isinstance(value, bool)]  # or another number; no `inplace`
            settings = {name: value for name, value in given.items() if name not in ("input", "inplace")}
            self._trace.function(func.__name__, _ACTIVATIONS[func](*slope, **settings), sources, shape, made)
        else:
            is_sum = func in _SUMS and len(sources) == 2
            self._trace.function("+" if is_sum else func.__name__, None, sources, shape, made)
        return result


def tensors_in(given: Any) -> list[Tensor]:
    """The tensors among some values, also in lists, tuples and dictionaries."""
    if isinstance(given, Tensor):
        return [given]
    if isinstance(given, dict):
        given = given.values()
    elif not isinstance(given, list | tuple):
        return []
    return [tensor for value in given for tensor in tensors_in(value)]
