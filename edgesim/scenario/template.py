"""The commented scenario that ``edgesim new`` writes."""

from __future__ import annotations

import re
from importlib.resources import files

from edgesim.errors import UserError
from edgesim.scenario.base import NAME_PATTERN


def template(name: str) -> str:
    """Return a commented scenario called ``name``, ready to run.

    Raises
    ------
    UserError
        ``name`` is no name.
    """
    if re.fullmatch(NAME_PATTERN, name) is None:
        raise UserError(f"{name!r} is no name for a scenario: a letter first, then letters, digits, - and _")
    text = files("edgesim.scenario").joinpath("template.yaml").read_text(encoding="utf-8")
    return text.replace("name: NAME", f"name: {name}", 1)
