"""When a device's samples come and which of them get a label: closed forms, no event and no draw a sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from edgesim.data.facts import EVICTIONS
from edgesim.errors import UserError
from edgesim.seeds import stream_seed

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

_MILLION = 1_000_000  # labelled ratios are kept to a millionth, so that counting is exact


@dataclass(frozen=True, slots=True)
class Arrival:
    """How samples come to a device, get their labels and leave again.

    Attributes
    ----------
    rate_per_s
        Samples a second; 0: none after the first ones.
    labelled_ratio
        The share of arriving samples that ever get a label, 0 to 1, kept to a millionth.
    label_delay_s
        How long after its arrival a sample's label becomes visible.
    buffer
        How many samples the device holds, labelled or not; ``None``: as many as at t = 0.
    eviction
        What a full buffer gives up for a new sample: the ``oldest``, or a ``random`` one.
    """

    rate_per_s: float = 0.0
    labelled_ratio: float = 1.0
    label_delay_s: float = 0.0
    buffer: int | None = None
    eviction: Literal["oldest", "random"] = "oldest"

    def __post_init__(self) -> None:
        for name, value in (("rate", self.rate_per_s), ("label_delay", self.label_delay_s)):
            if not 0 <= value < float("inf"):
                raise UserError(f"arrival: {name} must be finite and not negative, found {value:g}")
        if not 0 <= self.labelled_ratio <= 1:
            raise UserError(f"arrival: labelled is a share from 0 to 1, found {self.labelled_ratio:g}")
        if self.buffer is not None and self.buffer < 1:
            raise UserError(f"arrival: a buffer holds at least 1 sample, found {self.buffer}")
        if self.eviction not in EVICTIONS:
            raise UserError(f"arrival: eviction is one of {', '.join(EVICTIONS)}, found {self.eviction!r}")


@dataclass(frozen=True, slots=True)
class Schedule:
    """The arrivals of one device, numbered from 0: evenly spaced from a random first moment on.

    Labels are spread evenly too: of any n arrivals in a row, n x ratio get one, up to one sample. Which ones
    does not depend on their classes.
    """

    rate_per_s: float
    offset: float  # in (0, 1]: the first sample comes after this part of the time between two
    label_delay_s: float
    labels_per_million: int
    label_offset: int  # 0 to 999,999

    @classmethod
    def of(cls, arrival: Arrival, seed: int, device: str) -> Schedule:
        """The schedule of a device; its offsets are named by the seed and the device."""
        drawn = stream_seed(seed, "arrivals", device)  # 63 bits
        return cls(
            arrival.rate_per_s,
            (drawn % 2**31 + 1) / 2**31,
            arrival.label_delay_s,
            round(arrival.labelled_ratio * _MILLION),
            (drawn >> 31) % _MILLION,
        )

    def count(self, time_s: float) -> int:
        """How many samples have arrived by then, that instant included."""
        if self.rate_per_s == 0:
            return 0
        count = max(math.floor(time_s * self.rate_per_s - self.offset) + 1, 0)
        while count > 0 and self.time_s(count - 1) > time_s:  # the estimate may be one off
            count -= 1
        while self.time_s(count) <= time_s:
            count += 1
        return count

    def time_s(self, number: int) -> float:
        """When a sample arrives."""
        return (number + self.offset) / self.rate_per_s

    def times_s(self, numbers: Int64Array) -> Float64Array:
        """When samples arrive, (sample,)."""
        return (numbers.astype(np.float64) + self.offset) / self.rate_per_s

    def labelled(self, numbers: Int64Array) -> npt.NDArray[np.bool_]:
        """Which samples ever get a label, (sample,)."""
        before = numbers * self.labels_per_million + self.label_offset
        return (before + self.labels_per_million) // _MILLION > before // _MILLION
