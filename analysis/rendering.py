"""Comparisons as text: for a terminal, Markdown, LaTeX and JSON."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.formatting import NOT_MEASURED, between, quantity
from analysis.metrics import METRICS

if TYPE_CHECKING:
    from analysis.comparison import Comparison, ScenarioComparison

Cells = list[str]


def text(comparison: Comparison, width: int) -> str:
    """Tables for a terminal, an interval below its number; wide tables are broken into several."""
    parts = []
    for part in comparison.scenarios:
        lines = [_heading(part), ""]
        head = [METRICS[name].title for name in comparison.metrics]
        rows = {_marked(part, name): _cells(part, name, comparison.metrics) for name in part.run.learners}
        lines += terminal_table(head, rows, width)
        lines += ["", *_notes(part, comparison.metrics), ""]
        parts.append("\n".join(lines))
    prose = [textwrap.fill(sentence, width, subsequent_indent="  ") for sentence in comparison.sentences()]
    return "\n".join([*parts, *prose]) + "\n"


def markdown(comparison: Comparison) -> str:
    """A Markdown table a scenario, intervals in brackets, then the sentences as a list."""
    lines = []
    for part in comparison.scenarios:
        head = ["learner", *(METRICS[name].title for name in comparison.metrics)]
        lines += [f"## {_heading(part)}", "", _pipes(head), _pipes(["---"] * len(head))]
        for learner in part.run.learners:
            lines.append(_pipes([_marked(part, learner), *_joined(part, learner, comparison.metrics)]))
        lines += ["", *_notes(part, comparison.metrics), ""]
    return "\n".join([*lines, *(f"- {sentence}" for sentence in comparison.sentences())]) + "\n"


def latex(comparison: Comparison) -> str:
    """A ``tabular`` a scenario with the rules of ``booktabs``, intervals in brackets."""
    lines = []
    for part in comparison.scenarios:
        head = ["learner", *(METRICS[name].title for name in comparison.metrics)]
        lines += [f"% {_heading(part)}", rf"\begin{{tabular}}{{l{'r' * len(comparison.metrics)}}}", r"\toprule"]
        lines += [_ampersands(head), r"\midrule"]
        for learner in part.run.learners:
            lines.append(_ampersands([_marked(part, learner), *_joined(part, learner, comparison.metrics)]))
        lines += [r"\bottomrule", r"\end{tabular}", *(f"% {note}" for note in _notes(part, comparison.metrics)), ""]
    return "\n".join(lines)


def json_text(comparison: Comparison) -> str:
    """The tidy table as records, and the sentences. JSON has no infinities: they are the text ``inf``."""
    records = [
        {name: plain(cell) for name, cell in record.items()} for record in comparison.table.to_dict(orient="records")
    ]
    document = {"estimates": records, "sentences": comparison.sentences()}
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def plain(cell: object) -> object:
    """Make a cell fit for JSON, which has no NaN and no infinity: ``None`` and the text ``inf``."""
    if isinstance(cell, float) and not math.isfinite(cell):
        return None if math.isnan(cell) else "inf"
    return cell


def _heading(part: ScenarioComparison) -> str:
    seeds = part.run.seeds
    count = f"{len(seeds)} seeds" if len(seeds) != 1 else f"seed {seeds[0]}"
    return f"{part.run.label}: {count}, {quantity(part.run.horizon_s, 's')}"


def _marked(part: ScenarioComparison, learner: str) -> str:
    return f"{learner} *" if learner in part.run.oracles else learner


def _cells(part: ScenarioComparison, learner: str, metrics: Sequence[str]) -> list[tuple[str, str]]:
    """The number and its interval, for each metric."""
    cells = []
    for name in metrics:
        found, unit = part.estimate(learner, name), METRICS[name].unit
        bounds = between(found.low, found.high, unit, like=found.value, named=math.isinf(found.value))
        cells.append((quantity(found.value, unit), bounds))
    return cells


def _joined(part: ScenarioComparison, learner: str, metrics: Sequence[str]) -> Cells:
    return [f"{value} [{bounds}]" if bounds else value for value, bounds in _cells(part, learner, metrics)]


def _notes(part: ScenarioComparison, metrics: Sequence[str]) -> Cells:
    cells = [cell for learner in part.run.learners for cell, _ in _cells(part, learner, metrics)]
    notes = []
    if NOT_MEASURED in cells:
        notes.append(f"{NOT_MEASURED}: not measured")
    if part.run.oracles:
        notes.append("*: told the true instant of every drift (oracle)")
    if len(part.run.seeds) > 1:
        notes.append("95 % intervals over seeds, in the unit above; none where seeds hardly differ")
    return notes


def terminal_table(
    head: Sequence[str], rows: dict[str, list[tuple[str, str]]], width: int, corner: str = "learner"
) -> list[str]:
    """Lines of a table: a row a label, a column a title, and in each cell a number with its interval below.

    ``corner`` heads the labels. What is wider than ``width`` is broken into several tables.
    """
    titles = [(" ".join(title.split(" ")[:-1]), title.split(" ")[-1]) for title in head]
    label = max(map(len, [corner, *rows]))
    widths = [
        max(len(piece) for pair in (title, *(row[column] for row in rows.values())) for piece in pair)
        for column, title in enumerate(titles)
    ]
    lines: Cells = []
    for block in _blocks(label, widths, width):
        if lines:
            lines.append("")
        for name, pairs in (("", titles), *rows.items()):
            for level in (0, 1):  # a title's words; a number and its interval
                first = ("" if level else name) if name else (corner if level else "")
                line = "  ".join([first.ljust(label), *(pairs[c][level].rjust(widths[c]) for c in block)]).rstrip()
                if line:
                    lines.append(line)
    return lines


def _blocks(label: int, widths: Sequence[int], width: int) -> list[list[int]]:
    """Columns side by side as long as they fit."""
    blocks: list[list[int]] = []
    used = width
    for column, needed in enumerate(widths):
        if used + needed + 2 > width:
            blocks.append([])
            used = label
        blocks[-1].append(column)
        used += needed + 2
    return blocks


def _pipes(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _ampersands(cells: Sequence[str]) -> str:
    escaped = [
        cell.replace("\\", r"\textbackslash{}")
        .replace("%", r"\%")
        .replace("_", r"\_")
        .replace("&", r"\&")
        .replace("#", r"\#")
        for cell in cells
    ]
    return f"{' & '.join(escaped)} \\\\"
