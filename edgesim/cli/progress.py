"""How far a run is, while it runs: a live bar in a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from edgesim.cli.human import time_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from edgesim.progress import Progress as Report

SECONDS_PER_LINE = 5.0
"""Wall time between two lines where there is no terminal."""


class Display:
    """Shows reports on ``console``; a context manager, called with each report.

    Parameters
    ----------
    console
        A live bar where it is a terminal, else plain lines.
    quiet
        Show nothing; the last report is still kept.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self.last: Report | None = None
        self._console = console
        self._quiet = quiet
        self._live: RichProgress | None = None
        self._task: TaskID | None = None
        self._began = self._world_began = time.monotonic()
        self._next_line = self._began + SECONDS_PER_LINE

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._quiet:
            self._live = _live(self._console)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self.last is not None:
            self._finish(self.last)
        if self._live is not None:
            self._live.stop()

    def __call__(self, report: Report) -> None:
        """Take the next report."""
        before, self.last = self.last, report
        if before is not None and before.world != report.world:
            self._finish(before)
        if self._quiet:
            return
        if before is None and report.world:
            self._line(f"{report.world} of {report.worlds} simulations were finished before")
        if self._live is not None:
            self._show(self._live, report)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + SECONDS_PER_LINE
            self._line(f"{time_text(time.monotonic() - self._began):>9}  {_world(report)}: {_state(report)}")

    def _finish(self, report: Report) -> None:
        took, self._world_began = time.monotonic() - self._world_began, time.monotonic()
        if not self._quiet:
            self._line(f"{_world(report)}: done in {time_text(took)}")

    def _line(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _show(self, live: RichProgress, report: Report) -> None:
        if self._task is None:
            self._task = live.add_task("", total=1.0, state="")
        live.update(
            self._task,
            description=_world(report),
            completed=report.frontier_s,
            total=report.horizon_s,
            state=_state(report),
        )


def _live(console: Console) -> RichProgress:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[state]}", markup=False),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def _world(report: Report) -> str:
    return f"{report.learner}, seed {report.seed} ({report.world + 1} of {report.worlds})"


def _state(report: Report) -> str:
    jobs = "1 job" if report.pending_jobs == 1 else f"{report.pending_jobs} jobs"
    return (
        f"computed to {time_text(report.frontier_s)} of {time_text(report.horizon_s)}, "
        f"simulated to {time_text(report.virtual_s)}, {jobs} pending"
    )
