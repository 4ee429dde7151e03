"""The run folder: where a run's manifest, resolved scenario and tables live, and how a run's end is told.

The folder, with the scenario in it, exists before torch is imported; whatever happens later, it says what was run and
how far it came.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import UserError

if TYPE_CHECKING:
    from .scenario import Scenario

FORMAT = 1
"""Version of the manifest's layout."""

_PACKAGES = ("edgesim", "simpy", "torch", "torchvision", "numpy", "pandas", "pyarrow", "scikit-learn")


@dataclass(slots=True)
class RunFolder:
    """One run on disk.

    Attributes
    ----------
    path
        The folder.
    manifest
        What ``manifest.json`` says; written anew at each change, atomically.
    """

    path: Path
    manifest: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def create(
        out: Path | str | None,
        scenario: Scenario,
        seeds: Sequence[int],
        learners: Mapping[str, Mapping[str, Any]],
        *,
        timing_only: bool,
    ) -> RunFolder:
        """Make the folder and write the scenario and the manifest into it.

        Parameters
        ----------
        out
            A new or empty folder; by default the next free ``runs/NAME-N``.
        scenario
            The scenario as it is run.
        seeds, learners
            Which worlds; learners by label.
        timing_only
            Whether anything is trained.

        Raises
        ------
        UserError
            ``out`` holds something already.
        """
        path = _next_free(scenario.name) if out is None else Path(out)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"{path} is there already and not empty: choose another --out, or remove it")
        path.mkdir(parents=True, exist_ok=True)
        (path / "scenario.yaml").write_text(scenario.to_yaml(), encoding="utf-8")
        folder = RunFolder(path)
        folder.update(
            format=FORMAT,
            status="running",
            **identity(scenario, seeds, learners, timing_only=timing_only),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            worlds=[],
        )
        return folder

    def update(self, **entries: Any) -> None:
        """Change entries of the manifest and write it."""
        self.manifest.update(entries)
        target = self.path / "manifest.json"
        temporary = self.path / ".manifest.json"
        temporary.write_text(json.dumps(self.manifest, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, target)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Tell in the manifest how what happens inside ends: ``done``, ``failed`` or ``interrupted``."""
        began = time.monotonic()
        try:
            yield
        except KeyboardInterrupt:
            self.update(status="interrupted", wall_s=time.monotonic() - began)
            raise
        except BaseException as error:
            self.update(status="failed", wall_s=time.monotonic() - began, error=f"{type(error).__name__}: {error}")
            raise
        self.update(status="done", wall_s=time.monotonic() - began)


def identity(
    scenario: Scenario, seeds: Sequence[int], learners: Mapping[str, Mapping[str, Any]], *, timing_only: bool
) -> dict[str, Any]:
    """What a manifest says before anything has happened: two runs that agree in it give the same tables."""
    return {
        "scenario": scenario.to_document(),
        "horizon_s": scenario.horizon,
        "seeds": list(seeds),
        "learners": {label: dict(facts) for label, facts in learners.items()},
        "timing_only": timing_only,
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _next_free(name: str) -> Path:
    number = 1
    while (path := Path("runs") / f"{name}-{number}").exists():
        number += 1
    return path


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
