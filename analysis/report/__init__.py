"""``edgesim report``: run folders as one self-contained HTML page, with no connection needed to read it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.comparison import compare
from analysis.report.page import page
from analysis.run import Run

__all__ = ["write_report"]


def write_report(run_dirs: Sequence[Path | str | Run], out: Path | str, *, baseline: str | None = None) -> Path:
    """Write one HTML file about run folders; return where.

    Parameters
    ----------
    run_dirs
        Run folders (or loaded runs). Those of one scenario are merged, each scenario gets a part of the page.
    out
        The file; what is there is replaced.
    baseline
        The learner from which differences are measured; by default ``no_adaptation``, or else the first one.

    Raises
    ------
    UserError
        A folder is no run folder, or there is no such learner.
    """
    file = Path(out)
    file.write_text(page(compare(run_dirs, baseline=baseline)), encoding="utf-8")
    return file
