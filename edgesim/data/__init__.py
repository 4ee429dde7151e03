"""Data sets, pools, partitions, drift, and the view a device has of its data at a time.

The names below load NumPy when first used; ``edgesim.data.facts`` never does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgesim.data.dataset import Dataset
    from edgesim.data.partitions import Partition, Share, partition
    from edgesim.data.pools import Pools, split
    from edgesim.data.sources import load_dataset
    from edgesim.data.stream import Arrival, Change, DataStream
    from edgesim.data.transforms import Transform
    from edgesim.data.view import Samples, View

__all__ = [
    "Arrival",
    "Change",
    "DataStream",
    "Dataset",
    "Partition",
    "Pools",
    "Samples",
    "Share",
    "Transform",
    "View",
    "load_dataset",
    "partition",
    "split",
]

_HOME = {
    "Arrival": "stream",
    "Change": "stream",
    "DataStream": "stream",
    "Dataset": "dataset",
    "Partition": "partitions",
    "Pools": "pools",
    "Samples": "view",
    "Share": "partitions",
    "Transform": "transforms",
    "View": "view",
    "load_dataset": "sources",
    "partition": "partitions",
    "split": "pools",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
