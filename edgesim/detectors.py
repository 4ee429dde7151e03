"""Drift detectors: which there are, their parameters, and how one is made. The detectors are river's."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

DETECTORS: Mapping[str, Mapping[str, float | int]] = MappingProxyType(
    {
        # The defaults of river 0.26. The published ones where a paper gives any: Bifet and Gavalda 2007 (ADWIN),
        # Gama et al. 2004 (DDM), Raab et al. 2020 (KSWIN).
        "adwin": {"delta": 0.002, "clock": 32, "min_window_length": 5, "grace_period": 10},
        "page_hinkley": {"min_instances": 30, "delta": 0.005, "threshold": 50.0, "alpha": 0.9999},
        "ddm": {"warm_start": 30, "drift_threshold": 3.0},
        "kswin": {"alpha": 0.005, "window_size": 100, "stat_size": 30},
    }
)
"""Name of each detector -> its parameters with their defaults."""


class Detector(Protocol):
    """What river's detectors have in common."""

    @property
    def drift_detected(self) -> bool:
        """Whether the value taken last tells a drift."""
        ...

    def update(self, x: Any) -> Any:
        """Take the next value."""
        ...


def make_detector(name: str, parameters: Mapping[str, float | int], seed: int) -> Detector:
    """A fresh detector.

    Parameters
    ----------
    name
        One of ``DETECTORS``.
    parameters
        All of its parameters.
    seed
        Of KSWIN's draws from its window; the others draw nothing.
    """
    from river import drift

    made: dict[str, tuple[Any, dict[str, Any]]] = {
        "adwin": (drift.ADWIN, {}),
        "page_hinkley": (drift.PageHinkley, {"mode": "up"}),  # errors that become fewer are no reason to adapt
        "ddm": (drift.binary.DDM, {}),
        "kswin": (drift.KSWIN, {"seed": seed}),
    }
    kind, own = made[name]
    detector: Detector = kind(**parameters, **own)
    return detector
