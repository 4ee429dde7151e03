"""On which of PyTorch's devices a run computes: what its scenario or its caller says, refused where it is not there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import ScenarioError, UserError
from .scenario import Scenario
from .scenario.loader import problem_at

if TYPE_CHECKING:
    from .jobs import Placement

KEY = "work.device"


def placed(scenario: Scenario, device: str | None) -> Scenario:
    """Return the scenario as it is computed on ``device``, by default on what it says itself.

    Raises
    ------
    UserError
        There is no such device here.
    """
    from .jobs.placement import find

    if device is None:
        return scenario
    try:
        find(device)
    except UserError as error:
        raise UserError(f"--device: {error}") from None
    return scenario.model_copy(update={"work": scenario.work.model_copy(update={"device": device})})


def placement_of(scenario: Scenario, file: Path | None = None, overrides: Sequence[str] = ()) -> Placement:
    """Return the device that a scenario is computed on.

    Parameters
    ----------
    scenario
        What asks for it.
    file, overrides
        What it was loaded from, for the message.

    Raises
    ------
    UserError
        There is no such device here: a ``ScenarioError`` where the file is known.
    """
    from .jobs.placement import find

    try:
        return find(scenario.work.device)
    except UserError as error:
        if file is None:
            raise UserError(f"{KEY}: {error}") from None
        raise ScenarioError((problem_at(file, KEY, str(error), overrides=overrides),)) from None
