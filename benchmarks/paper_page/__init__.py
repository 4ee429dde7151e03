"""``docs/results.md`` and its figures: what the papers' cells came to, beside what the papers report.

``cells`` knows where runs are and ``kept`` makes archives of them, ``page`` puts sections together, a module each says
what one kind of cell shows.
"""

from .cells import CELLS, DATA, Cell, Task, same_run, scenario_of, seeds_from, tasks
from .figures import draw
from .kept import LEFT_OUT, keep, restore
from .page import page

__all__ = [
    "CELLS",
    "DATA",
    "LEFT_OUT",
    "Cell",
    "Task",
    "draw",
    "keep",
    "page",
    "restore",
    "same_run",
    "scenario_of",
    "seeds_from",
    "tasks",
]
