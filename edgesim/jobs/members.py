"""Weights of networks that were computed side by side and stay so: a stack of tensors, and its members.

To take a network out of a stack costs as much as training it a step. So what a batch of trainings gives stays as it is,
and averages, trainings and evaluations side by side read the stack. Everybody else gets a member as a dict of its own.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from torch import Tensor

    from ..models import State


Weights = Mapping[str, "Tensor"]
"""Of one network: a ``State``, or a member of a stack."""


@final
class Stack:
    """Weights of networks side by side.

    Parameters
    ----------
    tensors
        By name, (network, ...).

    Attributes
    ----------
    size
        How many networks there are.
    """

    __slots__ = ("__weakref__", "_members", "_thin", "member_bytes", "members", "size", "tensors")

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self.size = min(map(len, tensors.values()))
        self.member_bytes = sum([tensor.nbytes for tensor in tensors.values()]) // self.size
        self.members = 0
        self._members: list[weakref.ref[Member]] = []
        self._thin: list[weakref.ref[Stack]] | None = None

    def member(self, place: int) -> Member:
        """The network at a place; to be asked for once."""
        member = Member(self, place)
        self.members += 1
        self._members.append(weakref.ref(member))
        return member

    def watch(self, thin: list[weakref.ref[Stack]]) -> None:
        """Join ``thin`` once nobody needs half of the networks any more."""
        self._thin = thin

    def left(self) -> None:
        """A member is gone or on its own."""
        self.members -= 1
        if self._thin is not None and 2 * self.members <= self.size:
            self._thin.append(weakref.ref(self))
            self._thin = None

    def dissolve(self) -> None:
        """Let the members that are left have memory of their own."""
        for reference in self._members:
            member = reference()
            if member is not None:
                member.own()


@final
class Member(Mapping[str, "Tensor"]):
    """The weights of one network of a stack, read like a ``State``; its tensors are parts of the stack's.

    Attributes
    ----------
    stack
        What it is a member of; None once it has memory of its own.
    place
        Where it stands in the stack.
    nbytes
        Of its tensors.
    """

    __slots__ = ("__weakref__", "_own", "nbytes", "place", "stack")

    def __init__(self, stack: Stack, place: int) -> None:
        self.stack: Stack | None = stack
        self.place = place
        self.nbytes = stack.member_bytes
        self._own: State = {}

    def __getitem__(self, name: str) -> Tensor:
        return self._own[name] if self.stack is None else self.stack.tensors[name][self.place]

    def __iter__(self) -> Iterator[str]:
        return iter(self._own if self.stack is None else self.stack.tensors)

    def __len__(self) -> int:
        return len(self._own if self.stack is None else self.stack.tensors)

    def __reduce__(self) -> tuple[object, ...]:
        return dict, (dict(self),)

    def __del__(self) -> None:
        if self.stack is not None:
            self.stack.left()

    def own(self) -> State:
        """The weights in memory of their own, as a dict."""
        stack = self.stack
        if stack is not None:
            self._own = {name: tensor[self.place].clone() for name, tensor in stack.tensors.items()}
            self.stack = None
            stack.left()
        return self._own


def side_by_side(states: Sequence[Weights], names: Sequence[str], *, own: bool = False) -> list[Tensor]:
    """Tensors of some networks side by side, (network, ...), in the order of ``names``.

    Not to be written to, unless they are to be their ``own``: where all are one network, its numbers are there once,
    and where they are a stack, it is that.
    """
    import torch

    first = states[0]
    if all(state is first for state in states):
        count = len(states)
        stacks = [tensor.expand(count, *tensor.shape) for tensor in [first[name] for name in names]]
        return [tensor.clone(memory_format=torch.contiguous_format) for tensor in stacks] if own else stacks
    pieces = list(_pieces(states))
    if len(pieces) == len(states):
        return [torch.stack([state[name] for state in states]) for name in names]
    if len(pieces) > 1:
        return [torch.cat([piece(name) for piece in pieces]) for name in names]
    whole = [pieces[0](name) for name in names]
    return [tensor.clone() for tensor in whole] if own else whole


def _pieces(states: Sequence[Weights]) -> Iterator[Callable[[str], Tensor]]:
    """What gives the tensors of neighbours, (network, ...): together, where they are neighbours in one stack too."""
    for _, neighbours in groupby(enumerate(states), _stack_and_offset):
        first, *others = [state for _, state in neighbours]
        if type(first) is Member and first.stack is not None:
            yield partial(_part, first.stack.tensors, first.place, 1 + len(others))
        else:
            for state in (first, *others):
                yield partial(_one, state)


def _stack_and_offset(numbered: tuple[int, Weights]) -> tuple[int, int]:
    """Equal for neighbours that are neighbours in a stack too."""
    number, state = numbered
    if type(state) is Member and state.stack is not None:
        return id(state.stack), state.place - number
    return 0, number


def _part(tensors: Mapping[str, Tensor], first: int, count: int, name: str) -> Tensor:
    return tensors[name].narrow(0, first, count)


def _one(state: Weights, name: str) -> Tensor:
    return state[name].unsqueeze(0)


def one_by_one(states: Sequence[Weights], names: Sequence[str]) -> list[list[Tensor]]:
    """The tensors of each network, in the order of ``names``. Not to be written to."""
    stack = common_stack(states)
    if stack is None:
        return [[state[name] for name in names] for state in states]
    columns = [stack.tensors[name].unbind() for name in names]
    return [[column[state.place] for column in columns] for state in states if type(state) is Member]


def common_stack(states: Sequence[Weights]) -> Stack | None:
    """The stack that all of some networks are members of."""
    first = states[0]
    stack = first.stack if type(first) is Member else None
    if stack is None or not all(type(state) is Member and state.stack is stack for state in states):
        return None
    return stack


def plain(value: Any) -> Any:
    """What somebody gets to see who knows of no stacks: dicts for members, those in what training gave too."""
    if type(value) is Member:
        return value.own()
    weights = getattr(value, "state", None)
    return replace(value, state=weights.own()) if type(weights) is Member else value
