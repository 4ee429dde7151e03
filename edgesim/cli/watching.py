"""``edgesim run --watch``: a live table of how far each learner is, how accurate, at what cost, and how fast."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edgesim.cli.human import bytes_text, time_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from edgesim.progress import Progress as Report

BAR_WIDTH = 16

_WIDTHS = {
    "learner": 7,
    "done": 4,
    "seed": 4,
    "computed to": BAR_WIDTH + 9,
    "accuracy": 8,
    "so far": 7,
    "up": 7,
    "down": 7,
    "jobs": 4,
    "speed": 7,
}
"""Columns and their least widths in characters: so that the table does not jump about."""

_LEFT_OUT_FIRST = ("seed", "jobs", "so far", "speed", "down", "up", "done")
"""What a narrow terminal does without."""

NOTHING = "-"
"""Stands for what is not known yet, or is not measured in a timing-only run."""


class Dashboard:
    """A live table with a row a learner; a context manager, called with each report.

    A row is about the learner's latest seed; ``done`` counts the finished ones.

    Parameters
    ----------
    console
        A terminal.
    name
        The scenario's.
    learners
        Label -> whether it is told the instants of drifts.
    seeds
        How many there are.
    clock
        Wall time in seconds.

    Attributes
    ----------
    last
        The last report.
    """

    def __init__(
        self,
        console: Console,
        name: str,
        learners: dict[str, bool],
        seeds: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.last: Report | None = None
        self._name = name
        self._rows = {label: _Row(f"{label} *" if oracle else label) for label, oracle in learners.items()}
        self._oracles = any(learners.values())
        self._seeds = seeds
        self._clock = clock
        self._console = console
        self._began = self._world_began = clock()
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self.table)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self.last is not None:
            self._rows[self.last.learner].done += 1
        self._live.stop()

    def __call__(self, report: Report) -> None:
        """Take the next report."""
        before, self.last = self.last, report
        if before is None or before.world != report.world:
            for place, row in enumerate(self._rows.values()):  # one seed after the other, under each all learners
                row.done = len(range(place, report.world, len(self._rows)))
            self._world_began = self._clock()
        row = self._rows[report.learner]
        row.report, row.wall_s = report, self._clock() - self._world_began

    def table(self) -> RenderableType:
        """Draw how things stand."""
        table = Table(title=self._title(), title_justify="left", title_style="", caption=self._caption())
        table.caption_justify = "left"
        widths = self._fitting()
        for heading, width in widths.items():
            left = heading in ("learner", "computed to")
            table.add_column(heading, justify="left" if left else "right", min_width=width, no_wrap=True)
        for label, row in self._rows.items():
            running = self.last is not None and self.last.learner == label and row.done < self._seeds
            cells = row.cells(self._seeds, running)
            table.add_row(*(cells.get(heading, "") for heading in widths))
        return table

    def _fitting(self) -> dict[str, int]:
        """The columns for which the terminal is wide enough, with their widths."""
        widths = _WIDTHS | {"learner": max(map(len, ["learner", *(row.name for row in self._rows.values())]))}
        for heading in _LEFT_OUT_FIRST:
            if sum(widths.values()) + 3 * len(widths) + 1 <= self._console.width:  # each has a border and two blanks
                break
            del widths[heading]
        return widths

    def _title(self) -> Text:
        wall_s = self._clock() - self._began
        finished = sum(row.done for row in self._rows.values())
        worlds = self._seeds * len(self._rows)
        text = f"{self._name}: {finished} of {worlds} simulations finished in {time_text(wall_s)}"
        return Text(text)

    def _caption(self) -> Text:
        told = ["accuracy: the devices' latest, and their mean over time so far; speed: simulated over real time"]
        if self._oracles:
            told.append("*: told the true instant of every drift (oracle)")
        return Text("\n".join(told))


class _Row:
    """What is known of a learner."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.done = 0
        self.report: Report | None = None
        self.wall_s = 0.0

    def cells(self, seeds: int, running: bool) -> Mapping[str, RenderableType]:
        """The cells of its row by their column; without those that are empty."""
        done = f"{self.done}/{seeds}"
        report = self.report
        if report is None:
            text = "finished before" if self.done == seeds else "waiting"
            return {"learner": self.name, "done": done, "computed to": Text(text, style="dim")}
        share = report.frontier_s / report.horizon_s
        bar = Table.grid(padding=(0, 1))
        bar.add_row(ProgressBar(total=1.0, completed=share, width=BAR_WIDTH), time_text(report.frontier_s))
        return {
            "learner": Text(self.name, style="bold" if running else ""),
            "done": done,
            "seed": str(report.seed),
            "computed to": bar,
            "accuracy": _percent(report.latest_accuracy),
            "so far": _percent(report.accuracy),
            "up": bytes_text(report.up_bytes),
            "down": bytes_text(report.down_bytes),
            "jobs": str(report.pending_jobs) if running else NOTHING,
            "speed": f"{_digits(report.frontier_s / self.wall_s)}x" if self.wall_s > 0 else NOTHING,
        }


def _percent(ratio: float) -> str:
    return NOTHING if math.isnan(ratio) else f"{100 * ratio:.1f} %"


def _digits(number: float) -> str:
    if number >= 100_000:
        return f"{number:.0e}"  # of the first instant: no more digits than there is room for
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"
