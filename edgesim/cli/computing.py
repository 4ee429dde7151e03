"""Options that commands have in common which train: where, in how many processes, on what."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

Executor: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--executor",
        metavar="NAME",
        help="Where training is computed: inline, in processes, or on ray. By default as the scenario says.",
    ),
]

Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        help="In how many processes; by default one a core, shared by points of a sweep that run at the same time.",
    ),
]

RayAddress: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--ray-address", metavar="ADDRESS", help="A Ray cluster that runs already; by default one starts here."
    ),
]

Device: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="What training is computed on: cpu, cuda, cuda:N, or auto for CUDA where there is any. "
        "By default as the scenario says. Other devices give other last digits.",
    ),
]
