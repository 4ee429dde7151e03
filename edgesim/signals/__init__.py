"""Piecewise-constant functions of time: value, integral, and the inverse of the integral.

A bandwidth, a compute speed, free memory: each is a :class:`Signal`. Asking when an amount is reached is one
search, never one event per step. Trace files are read in :mod:`edgesim.traces`.
"""

from ._views import Deferred, rotated
from .signal import GaveUp, Signal

__all__ = ["Deferred", "GaveUp", "Signal", "rotated"]
