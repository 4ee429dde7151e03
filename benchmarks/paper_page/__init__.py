"""``docs/results.md`` and its figures: what the papers' cells came to, beside what the papers report.

``cells`` knows where runs are, ``page`` puts sections together, a module each says what one kind of cell shows.
"""

from .cells import CELLS, Cell, Task, is_done, scenario_of, tasks
from .figures import draw
from .page import page

__all__ = ["CELLS", "Cell", "Task", "draw", "is_done", "page", "scenario_of", "tasks"]
