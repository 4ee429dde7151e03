"""Small worlds whose devices are asked for inferences, served on the device or from a cloud without limits."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pandas as pd
from scripted_worlds import Scripted, scripted

from edgesim import Event, World
from edgesim.testing import tiny_scenario

FLOPS = 192  # of one answer of the tiny model
SAMPLE_BYTES = 33
RESPONSE_BYTES = 100


def device(count: int = 1, **changes: Any) -> dict[str, Any]:
    """Ten answers a second, on its own or through its uplink; the downlink is no matter."""
    links = {"uplink": f"{8 * 10 * SAMPLE_BYTES} bit/s", "downlink": "1 Gbit/s"}
    return {"name": "cam", "count": count, "compute": f"{10 * FLOPS} FLOP/s", "memory": "64 MiB", **links, **changes}


def serve(devices: list[dict[str, Any]], *, in_cloud: bool = False, script: Any = None, **changes: Any) -> pd.DataFrame:
    """The table ``serving`` where all are served on the device, or all from a cloud without limits."""

    def play(self: Scripted, world: World) -> Generator[Event, Any, None]:
        if in_cloud:
            world.cloud.serve(world.initial)
        yield from script(world) if script else iter([world.sleep(0)])

    wide = {"compute": "1 PFLOP/s", "memory": "1 GiB", "ingress": "1 Tbit/s", "egress": "1 Tbit/s"}
    changes = {"horizon": "3 min", "cloud": wide, **changes}
    _, tables = scripted(play, tiny_scenario(devices=devices, drifts=[], record={"environment": False}, **changes))
    return tables["serving"]
