"""The README does what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgesim.testing import check_learner

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LEARNERS = (ROOT / "docs" / "learners.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_gate_finds_both_commands_in_the_readme() -> None:
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for pattern in re.findall(r"grep -m1 '(.*?)' README.md", gate):
        assert re.search(pattern, README, flags=re.MULTILINE), pattern


def test_the_learner_of_the_readme_keeps_the_contract() -> None:
    source = next(block for block in blocks("python") if "class MorningSync" in block)
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(source, "README.md", "exec"), names)
    check_learner(names["MorningSync"])  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    source = next(block for block in blocks("python") if "edgesim.load_scenario" in block)
    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios")
    told = subprocess.run([sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "cloud_only" in told.stdout


def test_the_documents_that_the_readme_names_are_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README + LEARNERS):
        assert (ROOT / target).exists() or (ROOT / "docs" / target).exists(), target


def test_the_page_on_learners_names_every_verb() -> None:
    from edgesim.world.cloud import Cloud
    from edgesim.world.device import Device
    from edgesim.world.world import World

    for owner, verbs in (
        (Device, "train score upload download send deploy wait_for_drift wait_until_online"),
        (Cloud, "train average solve broadcast serve"),
        (World, "sleep sleep_to_multiple gather process rng untrained"),
    ):
        for verb in verbs.split():
            assert hasattr(owner, verb)
            assert f"`{verb}`" in LEARNERS
