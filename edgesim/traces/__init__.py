"""Recorded and artificial traces: what becomes a :class:`edgesim.signals.Signal`.

Owns file formats and random shapes. Which device gets which trace is decided elsewhere.
"""

from .generators import background_load, diurnal, markov_modulated, random_walk
from .readers import read_csv, read_mahimahi, read_parquet, read_text
from .trace import UNITS, Trace, TraceError

__all__ = [
    "UNITS",
    "Trace",
    "TraceError",
    "background_load",
    "diurnal",
    "markov_modulated",
    "random_walk",
    "read_csv",
    "read_mahimahi",
    "read_parquet",
    "read_text",
]
