"""Every file in ``bad_scenarios`` says in its first lines which messages it must give, and gives exactly these.

``# says LINE:COLUMN: ...`` is one message (``FOLDER`` stands for the folder), ``# set KEY=VALUE`` an override.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from edgesim.errors import ScenarioError
from edgesim.scenario import PositiveSeconds, load

FOLDER = Path(__file__).parent / "bad_scenarios"


class _Every(BaseModel):
    model_config = ConfigDict(extra="forbid")

    every: PositiveSeconds


class _OnDevice(BaseModel):
    model_config = ConfigDict(extra="forbid")

    trigger: Literal["drift"] | _Every = "drift"
    epochs: int = Field(5, ge=1)
    period: PositiveSeconds = 60.0


class _None(BaseModel):
    model_config = ConfigDict(extra="forbid")


def _broken() -> type[BaseModel]:
    raise ImportError("no module named 'teapot'")


LEARNERS: dict[str, Callable[[], type[BaseModel]]] = {
    "no_adaptation": lambda: _None,
    "on_device": lambda: _OnDevice,
    "broken": _broken,
}


def _header(path: Path, word: str) -> list[str]:
    lines = path.read_text().splitlines()
    return [line.removeprefix(f"# {word} ") for line in lines if line.startswith(f"# {word} ")]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_bad_scenario_says_everything_that_is_wrong_with_it_and_where(path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(path, overrides=_header(path, "set"), learner_params=LEARNERS)
    said = [str(problem).replace(f"{path}:", "", 1) for problem in caught.value.problems]
    assert [message.strip().replace(str(FOLDER), "FOLDER") for message in said] == _header(path, "says")
