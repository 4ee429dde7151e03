"""The drift episodes of run folders that are written by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd
from written_runs import WrittenRun

import analysis
from analysis.episodes import RecoveryRule


def episodes(run: WrittenRun, **rule: Any) -> pd.DataFrame:
    """Close the run; its episodes by a rule of recovery."""
    return analysis.load(run.close(), RecoveryRule(**rule)).episodes


def only(run: WrittenRun, **rule: Any) -> pd.Series[Any]:
    """Close the run; its only episode."""
    found = episodes(run, **rule)
    assert len(found) == 1
    return found.iloc[0]
