"""Values of which many thousands are made: dataclasses that only type checkers keep from being changed.

A frozen dataclass sets each of its fields through ``object.__setattr__``, which takes four times as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

C = TypeVar("C")


@dataclass_transform(eq_default=False, frozen_default=True)
def record(kind: type[C]) -> type[C]:
    """Make a class a dataclass with slots, of which each object equals itself only; to be treated as frozen.

    Examples
    --------
    >>> @record
    ... class Point:
    ...     x: float
    ...     y: float = 0.0
    >>> Point(1.5)
    Point(x=1.5, y=0.0)
    """
    return dataclass(slots=True, eq=False)(kind)
