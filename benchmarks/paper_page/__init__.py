"""``docs/results.md`` and its figures: what the papers' cells came to, beside what the papers report.

``cells`` knows where runs are and ``kept`` makes archives of them, ``page`` puts sections together, a module each says
what one kind of cell shows.
"""

from .cells import CELLS, DATA, Cell, Task, scenario_of, tasks
from .figures import draw
from .kept import keep, restore
from .page import page

__all__ = ["CELLS", "DATA", "Cell", "Task", "draw", "keep", "page", "restore", "scenario_of", "tasks"]
