"""From run folders to answers: metrics, comparisons, figures.

>>> import analysis
>>> run = analysis.load("runs/quickstart-1")  # doctest: +SKIP
>>> run.summary()["accuracy"]  # doctest: +SKIP
"""

from analysis.comparison import Comparison, ScenarioComparison, compare, pareto_front
from analysis.difference import Difference, diff
from analysis.episodes import RecoveryRule
from analysis.metrics import METRICS, Metric
from analysis.run import Run, load, load_many
from analysis.sweeps import Sweep, load_sweep

__all__ = [
    "METRICS",
    "Comparison",
    "Difference",
    "Metric",
    "RecoveryRule",
    "Run",
    "ScenarioComparison",
    "Sweep",
    "compare",
    "diff",
    "load",
    "load_many",
    "load_sweep",
    "pareto_front",
]
