"""What it cost on the devices: compute, memory, energy, and the service that requests got.

A processor second is counted once however many jobs share it. The cloud's own work is reported apart.
"""

from __future__ import annotations

import pandas as pd

from analysis.worlds import WORLD, largest, ratio, total

CLOUD = "cloud"


def busy_s(computations: pd.DataFrame, worlds: pd.DataFrame, *, cloud: bool = False) -> pd.Series[float]:
    """Processor seconds spent on jobs by all devices (or by the cloud), finished or not."""
    return total(computations[(computations["node"] == CLOUD) == cloud], worlds, "busy_s")


def done_flops(computations: pd.DataFrame, worlds: pd.DataFrame, *, wasted: bool = False) -> pd.Series[float]:
    """Floating-point operations done on devices and cloud during the run; ``wasted``: of killed jobs only."""
    counted = computations["status"] == "killed" if wasted else computations["status"] != "offline"
    return total(computations[counted], worlds, "done_flops")


def offline_flops(computations: pd.DataFrame, worlds: pd.DataFrame) -> pd.Series[float]:
    """Floating-point operations done before time zero (pretraining): no virtual time, but not free."""
    return total(computations[computations["status"] == "offline"], worlds, "done_flops")


def job_count(computations: pd.DataFrame, worlds: pd.DataFrame, status: str) -> pd.Series[float]:
    """How many jobs ended (or never began) with this status, e.g. ``out_of_memory`` or ``killed``."""
    return total(computations[computations["status"] == status], worlds)


def diverged(computations: pd.DataFrame, worlds: pd.DataFrame) -> pd.Series[float]:
    """How many trainings ended with an infinite or missing loss or weight; NaN where that was not computed."""
    unknown = computations["kind"].isin(["train", "pretrain"]) & computations["diverged"].isna()
    unknown &= computations["status"].isin(["done", "offline", "ideal"])
    found = total(computations[computations["diverged"] == 1], worlds)
    return found.where(total(computations[unknown], worlds) == 0)


def peak_memory_bytes(memory: pd.DataFrame, worlds: pd.DataFrame) -> pd.Series[float]:
    """Most memory that jobs held at once on any device; 0 where no job ran on a device."""
    return largest(memory[memory["device"] != CLOUD], worlds, "used_bytes").fillna(0.0)


def peak_memory_ratio(memory: pd.DataFrame, worlds: pd.DataFrame) -> pd.Series[float]:
    """Largest share of the available memory that jobs held on any device at a start or an end of a job."""
    rows = memory[(memory["device"] != CLOUD) & (memory["available_bytes"] > 0)]
    rows = rows[WORLD].assign(share=rows["used_bytes"] / rows["available_bytes"])
    return largest(rows, worlds, "share").fillna(0.0)


def energy_j(energy: pd.DataFrame, worlds: pd.DataFrame, column: str = "total_j") -> pd.Series[float]:
    """Energy of all devices; NaN where one device's was not measured or the run did not close."""
    sums = total(energy, worlds, column)
    return sums.where(total(energy, worlds) > 0)


def battery_deaths(availability: pd.DataFrame, worlds: pd.DataFrame) -> pd.Series[float]:
    """How often a device went offline because its battery was empty."""
    dead = (availability["state"] == "offline") & (availability["cause"] == "battery")
    return total(availability[dead], worlds)


def unserved_requests_ratio(serving: pd.DataFrame, worlds: pd.DataFrame) -> pd.Series[float]:
    """Share of the inference requests that were not answered; NaN without requests."""
    return ratio(total(serving, worlds, "unserved"), total(serving, worlds, "requests"))


def serving_latency_s(serving: pd.DataFrame, worlds: pd.DataFrame, quantile: str) -> pd.Series[float]:
    """A quantile (``p50``, ``p95``, ``p99``) of the request latency in the worst stretch of any device.

    Quantiles of stretches do not average to the quantile of all requests; that one is at most this.
    """
    return largest(serving, worlds, f"latency_{quantile}_s")
