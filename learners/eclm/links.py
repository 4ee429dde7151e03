"""Says whether one module of a network feeds the next, whether others read what lies between, and why if not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from torch.nn.modules.batchnorm import _BatchNorm

from .main_path import KEEPING_SHAPE, Weighted
from .tracing import Call, Trace, Value


def linked(trace: Trace, before: Call, after: Call) -> list[Call] | None:
    """The activations between two siblings that follow each other; None where they are not links of one chain.

    Activations are called as functions, or are modules that are called several times; nothing else may lie between,
    and nothing else may read what is handed on. A norm follows its layer at once.
    """
    between = _between(trace, before, after)
    if between is None or (between and _starts_with_norm(trace, after)):
        return None
    if _reader(trace, [before, *between, after], {step.target: step for step in (before, *between)}) is not None:
        return None
    return between


def leak(trace: Trace, calls: Sequence[Call]) -> str | None:
    """What is read outside of some calls though it is made or held inside, for people; None where there is nothing.

    What goes into the first of them and what comes out of the last may be read by anybody.
    """
    made = {step.target: step for call in calls for step in trace.within(call)}
    made.pop(calls[0].sources[0], None)
    made.pop(calls[-1].target, None)
    if (found := _reader(trace, calls, made)) is not None:
        return _told(*found)
    held = {
        id(weight): f"{call.path}.{name}"
        for call in calls if not call.function
        for name, weight in trace.modules[call.path].named_parameters()
    }  # fmt: skip
    for step in _outside(trace, calls):
        if name := next((held[source[0]] for source in step.sources if source[0] in held), None):
            return f"{_name(step)} reads {name} too"
    return None


def why_apart(trace: Trace, path: str) -> Iterator[str]:
    """Why children of a module with weighted layers among them are not links of one chain, for people."""
    children = trace.children(path)
    weighted = [any(isinstance(step.layer, Weighted) for step in trace.within(call)) for _, call in children]
    for place, ((_, before), (_, after)) in enumerate(itertools.pairwise(children)):
        if any(weighted[: place + 1]) and any(weighted[place + 1 :]) and linked(trace, before, after) is None:
            yield _why(trace, before, after)


def _why(trace: Trace, before: Call, after: Call) -> str:
    between = _between(trace, before, after)
    if between is not None:
        found = _reader(trace, [before, *between, after], {step.target: step for step in (before, *between)})
        return f"{after.path} normalises after an activation" if found is None else _told(*found)
    strange = [_name(step) for step in trace.steps[before.end : after.begin]
               if not isinstance(step.layer, KEEPING_SHAPE)]  # fmt: skip
    if strange:
        what = ", ".join(dict.fromkeys(strange))
        return f"between {before.path} and {after.path} stands {what}: make it a module that is called once"
    return f"{after.path} does not read what {before.path} puts out"


def _between(trace: Trace, before: Call, after: Call) -> list[Call] | None:
    found: list[Call] = []
    wanted = after.sources[0]
    for step in reversed(trace.steps[before.end : after.begin]):
        if step.target == wanted:
            if not isinstance(step.layer, KEEPING_SHAPE):
                return None
            found.append(step)
            wanted = step.sources[0]
    return found[::-1] if wanted == before.target else None


def _starts_with_norm(trace: Trace, call: Call) -> bool:
    return any(isinstance(step.layer, _BatchNorm) for step in trace.within(call)[:1])


def _reader(trace: Trace, calls: Sequence[Call], made: dict[Value, Call]) -> tuple[Call, Call] | None:
    """Who made something that is read outside of some calls, and who reads it."""
    for step in _outside(trace, calls):
        if maker := next((made[source] for source in step.sources if source in made), None):
            return maker, step
    return None


def _outside(trace: Trace, calls: Sequence[Call]) -> Iterator[Call]:
    inside = {place for call in calls for place in range(call.begin, call.end)}
    return (step for place, step in enumerate(trace.steps) if place not in inside)


def _told(maker: Call, reader: Call) -> str:
    return f"what {_name(maker)} puts out is read by {_name(reader)} too"


def _name(step: Call) -> str:
    if not step.function:
        return step.path
    return f"the function {step.function} in {step.path or 'the network itself'}"
