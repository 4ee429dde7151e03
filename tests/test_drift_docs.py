"""The page on drifts says what holds: its examples are read, its table is that of the transforms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from edgesim.data.facts import TRANSFORMS
from edgesim.learner import installed_params
from edgesim.scenario import DriftSpec
from edgesim.scenario.document import read_yaml
from edgesim.scenario.learners import read_learners

PAGE = (Path(__file__).parent.parent / "docs" / "drifts.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_example_of_the_page_is_a_scenarios(block: str) -> None:
    document = read_yaml(f"it:\n{re.sub('^', '  ', block, flags=re.MULTILINE)}", "drifts.md")
    assert not document.problems
    context = {"from_file": True, "learner_models": installed_params()}
    if isinstance(document.data["it"], list):
        drifts = TypeAdapter(tuple[DriftSpec, ...]).validate_python(document.data["it"], context=context)
        assert len({drift.name for drift in drifts}) == len(drifts)
    else:
        assert read_learners(document.data["it"], context)


def test_the_table_of_the_page_is_that_of_the_transforms() -> None:
    rows = {cells[0].strip("`"): cells for line in PAGE.splitlines() if (cells := _cells(line)) and "`" in cells[0]}
    assert set(rows) == set(TRANSFORMS)
    for name, facts in TRANSFORMS.items():
        _, kinds, severities, meaning, _ = rows[name]
        assert kinds == ", ".join(sorted(f"{kind}s" for kind in facts.kinds))
        assert severities == ", ".join(f"{amount:g}" for amount in facts.severities)
        assert meaning == facts.meaning


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
