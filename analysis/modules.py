"""Who uses which modules of a modular model: loads and their entropy, from the ``selections`` table."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from analysis.worlds import DEVICE, WORLD, index


def selected_at(selections: pd.DataFrame, time_s: float = math.inf) -> pd.DataFrame:
    """Return each device's rows that hold at a moment: those of its latest selection by then."""
    known = selections[selections["time_s"] <= time_s]
    latest = known.loc[known.groupby(DEVICE)["sequence"].idxmax(), [*DEVICE, "time_s", "model_id"]]
    return known.merge(latest, on=[*DEVICE, "time_s", "model_id"])


def module_load(selections: pd.DataFrame, time_s: float = math.inf) -> pd.DataFrame:
    """Return the load of each module: its mean share over the devices that hold a selection at a moment.

    Returns
    -------
    DataFrame
        ``learner, seed, layer, module, share, devices``; ``devices`` hold the module. ``share`` is NaN where one
        device's was not measured.
    """
    rows = selected_at(selections, time_s)
    grouped = rows.groupby([*WORLD, "layer", "module"], sort=True)
    share = grouped["share"].agg(lambda values: values.mean(skipna=False))
    return pd.DataFrame({"share": share, "devices": grouped["held"].sum()}).reset_index()


def load_entropy(selections: pd.DataFrame, time_s: float = math.inf) -> pd.DataFrame:
    """Return how evenly each layer's load is spread: the entropy of its modules' shares over its greatest possible.

    From 0 (one module gets everything: the selector has collapsed) to 1 (all get the same). Shannon's entropy over the
    logarithm of the number of modules, as in ``learners.eclm``'s training.

    Returns
    -------
    DataFrame
        ``learner, seed, layer, entropy``.
    """
    load = module_load(selections, time_s)
    keys = [*WORLD, "layer"]
    share = load["share"] / load.groupby(keys)["share"].transform("sum")
    bits = -share * np.log(share.where(share > 0, 1.0))
    grouped = bits.groupby([load[name] for name in keys])
    count = grouped.transform("size").groupby([load[name] for name in keys]).first()
    entropy = grouped.agg(lambda values: values.sum(skipna=False)) / np.log(count.where(count > 1))
    found: pd.DataFrame = entropy.rename("entropy").reset_index()
    return found


def lowest_entropy(selections: pd.DataFrame, worlds: pd.DataFrame) -> pd.Series[float]:
    """Return the entropy of the layer whose load is the least even at the end; NaN without modules."""
    found = load_entropy(selections).groupby(WORLD)["entropy"].agg(lambda values: values.min(skipna=False))
    return found.reindex(index(worlds)).astype("float64")
