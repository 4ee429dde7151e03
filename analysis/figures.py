"""Figures for papers and notebooks, drawn from run folders with matplotlib.

Each ``plot_...(runs, ax=None)`` takes a loaded run, a run folder or several folders of one scenario, draws on new axes
or on those given, and returns the figure. The same learner has the same colour in all of them.
"""

from analysis.figures_cost import plot_pareto, plot_recovery
from analysis.figures_device import plot_device
from analysis.figures_modules import plot_modules
from analysis.figures_time import plot_accuracy, plot_bytes, plot_devices
from analysis.palette import colours

__all__ = [
    "colours",
    "plot_accuracy",
    "plot_bytes",
    "plot_device",
    "plot_devices",
    "plot_modules",
    "plot_pareto",
    "plot_recovery",
]
