"""Finds the repeated blocks of a network: the smallest layer patterns that it is made of, one after the other.

Works on any ``torch.nn.Module`` by watching one forward pass without numbers: residual stages, groups of convolutions
between poolings, pairs of fully connected layers. Nothing is known about particular networks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgesim.errors import UserError

from .links import leak, linked, why_apart
from .main_path import PLAIN, POOLINGS, MainPath, Unit, Weighted
from .tracing import Call, Trace

_REASONS = 3
"""So many are told where no block is found."""


@dataclass(frozen=True, slots=True)
class Block:
    """A run of sibling modules, called one after the other, whose place a module layer can take.

    Attributes
    ----------
    parent
        Path of the module that they are children of; empty for the network itself.
    children
        Their names there, in order.
    units
        The weighted layers on the main path in order, at least two.
    skips
        ``(first, last)``: what goes into unit ``first`` is added to what comes out of unit ``last``.
    input_shape, output_shape
        Without the batch.
    is_open
        Whether the parent calls activations between the children, which it goes on doing whatever takes their place.
    """

    parent: str
    children: tuple[str, ...]
    units: tuple[Unit, ...]
    skips: tuple[tuple[int, int], ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    is_open: bool = False

    @property
    def path(self) -> str:
        """Where the layer that takes its place comes to stand; see ``placing``."""
        return _join(self.parent, f"{self.children[-1]}.layer" if self.is_open else self.children[0])

    @property
    def name(self) -> str:
        """Where it is, for people: ``layer1.0-1``, ``features.24-33``."""
        first, last = self.children[0], self.children[-1]
        return _join(self.parent, first if first == last else f"{first}-{last}")

    @property
    def weights(self) -> int:
        """How many numbers the matrices and kernels on its main path hold."""
        return sum(math.prod(unit.layer.weight.shape) for unit in self.units)


def find_blocks(network: nn.Module, input_shape: Sequence[int]) -> tuple[Block, ...]:
    """Find the repeated blocks of a network, in the order in which they are called.

    1. Modules of one class that occur at least twice and hold several weighted layers (residual blocks), called one
       after the other: a block is a stage of them, up to the next one that changes the shape.
    2. In a chain of single layers: the layers up to and including a pooling, or, without poolings, each weighted
       layer with what follows it. Where that is a single weighted layer, it needs a partner to have something in
       between that can shrink: two neighbours make one block. The network's last layer stays what it is, unless
       nothing else can be found.

    Activations may be called as functions. What is made inside of a block is read by nobody else.

    Parameters
    ----------
    network
        On the ``meta`` device; not changed.
    input_shape
        Of a sample, without the batch.

    Raises
    ------
    UserError
        There is none, or one has parts that cannot be made smaller (parallel branches, recurrent layers).
    """
    trace = Trace(network, input_shape)
    groups = list(_groups(trace, "", _building_blocks(trace)))
    weighted = [step.path for step in trace.steps if isinstance(step.layer, Weighted)]
    blocks = _paired([group for group in groups if weighted[-1] not in group.paths], trace)
    blocks = blocks or _paired(groups, trace)
    if not blocks:
        apart = [why for path in trace.modules for why in why_apart(trace, path)]
        refused = [group.refused for group in groups if group.refused is not None]
        reasons = list(dict.fromkeys([*refused, *apart]))[:_REASONS]
        raise UserError(
            f"no repeated block found in {type(network).__name__}: there must be modules of one class that follow "
            "each other (residual blocks), or at least two convolutions or fully connected layers in a row"
            + "".join(f"; {reason}" for reason in reasons)
        )
    return tuple(blocks)


@dataclass(slots=True)
class _Group:
    """Sibling modules that may become a block, alone or with the next group of the same parent."""

    parent: str
    children: list[str]
    units: list[Unit]
    skips: list[tuple[int, int]]
    paths: set[str]  # of the layers inside
    is_stage: bool
    is_open: bool
    refused: str | None  # why it cannot become a block


def _building_blocks(trace: Trace) -> set[type[nn.Module]]:
    """Classes that occur at least twice and hold several weighted layers."""
    counts: Counter[type[nn.Module]] = Counter()
    for path, module in trace.modules.items():
        if path and not isinstance(module, nn.Sequential) and trace.once(path) is not None:
            counts[type(module)] += sum(isinstance(inner, Weighted) for inner in module.modules()) >= 2
    return {kind for kind, count in counts.items() if count >= 2}


def _groups(trace: Trace, path: str, building_blocks: set[type[nn.Module]]) -> Iterator[_Group]:
    for chain in _chains(trace, path):
        layers: list[str] = []
        stage: list[str] = []
        for name in chain:
            inner = _join(path, name)
            child = trace.modules[inner]
            in_stage = type(child) in building_blocks
            if stage and (not in_stage or _changes_shape(trace, inner)):
                yield _group(trace, path, stage, is_stage=True)
                stage = []
            if in_stage:
                stage.append(name)
            elif _is_layer(child):
                layers.append(name)
                continue
            if layers:
                yield from _layer_groups(trace, path, layers)
                layers = []
            if not in_stage:
                yield from _groups(trace, inner, building_blocks)
        if stage:
            yield _group(trace, path, stage, is_stage=True)
        if layers:
            yield from _layer_groups(trace, path, layers)


def _chains(trace: Trace, path: str) -> Iterator[list[str]]:
    """The children of a module in the order of their calls, cut where one is not fed by the one before alone."""
    chain: list[str] = []
    before: Call | None = None
    for name, call in trace.children(path):
        if before is not None and linked(trace, before, call) is None:
            yield chain
            chain = []
        chain.append(name)
        before = call
    if chain:
        yield chain


def _changes_shape(trace: Trace, path: str) -> bool:
    call = trace.once(path)
    return call is not None and call.input_shape != call.output_shape


def _leaves(module: nn.Module) -> list[nn.Module]:
    return [inner for inner in module.modules() if next(inner.children(), None) is None]


def _is_layer(module: nn.Module) -> bool:
    """A single layer, or a sequence around one weighted layer."""
    leaves = _leaves(module)
    if not all(isinstance(leaf, (nn.Conv2d, nn.Linear, _BatchNorm, *PLAIN)) for leaf in leaves):
        return False
    alone = leaves == [module]
    return alone or (isinstance(module, nn.Sequential) and sum(isinstance(leaf, Weighted) for leaf in leaves) <= 1)


def _layer_groups(trace: Trace, parent: str, names: list[str]) -> Iterator[_Group]:
    """Cut a chain of layers after each pooling; without several poolings, and in any case before a linear layer."""
    leaves = {name: _leaves(trace.modules[_join(parent, name)]) for name in names}
    by_pooling = sum(isinstance(leaf, POOLINGS) for name in names for leaf in leaves[name]) >= 2
    group: list[str] = []
    for name in names:
        weighted = any(isinstance(leaf, Weighted) for leaf in leaves[name])
        linear = any(isinstance(leaf, nn.Linear) for leaf in leaves[name])
        if group and weighted and (linear or not by_pooling):
            yield _group(trace, parent, group, is_stage=False)
            group = []
        if group or weighted:  # what comes before the first weighted layer stays where it is
            group.append(name)
        if group and by_pooling and any(isinstance(leaf, POOLINGS) for leaf in leaves[name]):
            yield _group(trace, parent, group, is_stage=False)
            group = []
    if group:
        yield _group(trace, parent, group, is_stage=False)


def _group(trace: Trace, parent: str, names: list[str], *, is_stage: bool) -> _Group:
    walk = MainPath(has_shortcuts=is_stage)
    calls: list[Call] = []
    is_open = False
    for name in names:
        call = trace.once(_join(parent, name))
        assert call is not None
        for step in (linked(trace, calls[-1], call) or []) if calls else []:
            walk.take(step)
            calls.append(step)
            is_open = True
        walk.enter(call)
        for step in trace.within(call):
            walk.take(step)
        calls.append(call)
    layers = {step.path for call in calls for step in trace.within(call)}
    refused = leak(trace, calls)
    if walk.leading is not None:
        refused = f"{calls[0].path} begins with {type(walk.leading).__name__}, before its first weighted layer"
    return _Group(parent, list(names), walk.units, walk.skips, layers, is_stage, is_open, refused)


def _paired(groups: Sequence[_Group], trace: Trace) -> list[Block]:
    """Join neighbours that have a single weighted layer each, and keep what can be shrunk."""
    joined: list[_Group] = []
    for group in groups:
        if joined and _make_a_pair(joined[-1], group, trace):
            first = joined.pop()
            group = _group(trace, group.parent, first.children + group.children, is_stage=False)
        joined.append(group)
    return [_block(group, trace) for group in joined if _can_shrink(group) and group.refused is None]


def _make_a_pair(first: _Group, second: _Group, trace: Trace) -> bool:
    if first.is_stage or second.is_stage or first.parent != second.parent:
        return False
    if len(first.units) != 1 or len(second.units) != 1:
        return False
    before = trace.once(_join(first.parent, first.children[-1]))
    after = trace.once(_join(second.parent, second.children[0]))
    return before is not None and after is not None and linked(trace, before, after) is not None


def _can_shrink(group: _Group) -> bool:
    """It has something in between; a depthwise layer at an end has the width of the block's own input or output."""
    return len(group.units) >= 2 and not group.units[0].depthwise and not group.units[-1].depthwise


def _block(group: _Group, trace: Trace) -> Block:
    first = trace.once(_join(group.parent, group.children[0]))
    last = trace.once(_join(group.parent, group.children[-1]))
    assert first is not None
    assert last is not None
    # A shortcut from the block's wide input, or to its wide output, is the residual module's task.
    inner = tuple((a, b) for a, b in group.skips if a > 0 and b < len(group.units) - 1)
    return Block(
        group.parent,
        tuple(group.children),
        tuple(group.units),
        inner,
        first.input_shape,
        last.output_shape,
        group.is_open,
    )


def _join(parent: str, name: str) -> str:
    return f"{parent}.{name}" if parent else name
