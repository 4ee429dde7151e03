"""Paths in a scenario: relative to its file, absolute once it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo

from edgesim.scenario.findings import found, wrong


def resolved(written: str, context: Any) -> Path:
    """Make a path absolute: relative to the scenario's folder, or to the working directory from Python."""
    base = context.get("folder") if isinstance(context, Mapping) else None
    return Path(base or Path.cwd(), Path(written).expanduser()).absolute()


def _absolute(value: object, information: ValidationInfo) -> str:
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or not value:
        raise wrong(f"found {found(value)} where a path is expected")
    return str(resolved(value, information.context))


FilePath = Annotated[str, BeforeValidator(_absolute)]
"""A path, absolute once it is read."""
