"""The run folder: where a run's manifest, resolved scenario and tables live, and how a run's end is told.

The folder, with the scenario in it, exists before torch is imported; whatever happens later, it says what was run and
how far it came.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import DiskFull, RunningElsewhere, UserError
from .interrupts import interruptible
from .models import SavedWeights
from .stopwatch import Stopwatch

if TYPE_CHECKING:
    from filelock import BaseFileLock

    from .scenario import Scenario

FORMAT = 1
"""Version of the manifest's layout."""

MANIFEST = "manifest.json"

JOURNAL = "journal"
"""Folder of results that a run needs to go on; gone when it is done."""

LOCK = ".lock"
"""Held by the process that writes into the folder, and removed when the run is done."""

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
    watch
        What wall time is spent on.
    """

    path: Path
    manifest: dict[str, Any] = field(default_factory=dict)
    watch: Stopwatch = field(default_factory=Stopwatch)
    _lock: BaseFileLock | None = None

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
        RunningElsewhere
            Another process has just begun in it.
        DiskFull
            There is no space for it.
        """
        path = _take_next(scenario.name) if out is None else Path(out)
        if path.exists() and (not path.is_dir() or not _is_unborn(path)):
            raise UserError(f"{path} is there already and not empty: choose another --out, or remove it")
        with _full_is_told(path):
            path.mkdir(parents=True, exist_ok=True)
            folder = RunFolder(path, _lock=_locked(path))
            (path / "scenario.yaml").write_text(scenario.to_yaml(), encoding="utf-8")
            folder.update(
                format=FORMAT,
                status="running",
                **identity(scenario, seeds, learners, timing_only=timing_only),
                started=datetime.now(UTC).isoformat(timespec="seconds"),
                worlds=[],
            )
        return folder

    @staticmethod
    def reopen(path: Path) -> RunFolder:
        """Take over a run that did not finish.

        Raises
        ------
        RunningElsewhere
            Another process is running it.
        """
        lock = _locked(path)
        return RunFolder(path, json.loads((path / MANIFEST).read_text(encoding="utf-8")), _lock=lock)

    @property
    def journal(self) -> Path:
        """Where results are kept that a resumed run needs."""
        return self.path / JOURNAL

    def update(self, **entries: Any) -> None:
        """Change entries of the manifest and write it."""
        self.manifest.update(entries)
        target = self.path / MANIFEST
        temporary = self.path / ".manifest.json"
        try:
            temporary.write_text(json.dumps(self.manifest, indent=2) + "\n", encoding="utf-8")
            os.replace(temporary, target)
        except OSError:  # a disk may be full: half of it is of no use
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Tell in the manifest how what happens inside ends: ``done``, ``failed`` or ``interrupted``. Where a disk is
        full, it may go on to say that the run has begun.

        Raises
        ------
        DiskFull
            For the error that the system gives.
        """
        self.watch.reset()
        began = time.monotonic()
        try:
            with interruptible():
                yield
        except KeyboardInterrupt:
            with contextlib.suppress(OSError):
                self._end("interrupted", began)
            raise
        except BaseException as error:
            full = isinstance(error, OSError) and is_full(error)
            failure = DiskFull(str(self.path), str(error)) if full else error
            with contextlib.suppress(OSError):
                self._end("failed", began, error=f"{type(failure).__name__}: {failure}")
            if failure is error:
                raise
            raise failure from error
        else:
            with _full_is_told(self.path):
                self._end("done", began)
            shutil.rmtree(self.journal, ignore_errors=True)  # not before: a run that dies here is done
            (self.path / LOCK).unlink(missing_ok=True)
        finally:
            self.leave()

    def leave(self) -> None:
        """Let other processes have the folder."""
        if self._lock is not None:
            self._lock.release()

    def _end(self, status: str, began: float, **entries: Any) -> None:
        self.update(status=status, wall_s=time.monotonic() - began, profile=self.profile(), **entries)

    def profile(self) -> dict[str, Any]:
        """What wall time was spent on so far, by this process and by workers, and the most memory that one has held."""
        parts = {part: round(spent_s, 6) for part, spent_s in self.watch.spent_s().items()}
        workers = {part: round(spent_s, 6) for part, spent_s in self.watch.elsewhere_s().items()}
        memory = {"peak_rss_bytes": _peak_rss(0), "worker_peak_rss_bytes": _peak_rss(-1)}
        return {"spent_s": parts, "workers_s": workers, **memory}


@contextlib.contextmanager
def _full_is_told(folder: Path) -> Iterator[None]:
    """Raise ``DiskFull`` for the error that the system gives."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise DiskFull(str(folder), str(error)) from error
        raise


def _is_unborn(path: Path) -> bool:
    """Whether a folder is empty, or all that is in it is of a run that died before it had a manifest."""
    there = {child.name for child in path.iterdir()}
    return not there or (LOCK in there and there <= {LOCK, "scenario.yaml", ".manifest.json"})


def _peak_rss(who: int) -> int | None:
    """Bytes of the most memory that this process (0) or a child that has ended (-1) has held; None where not known."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(who).ru_maxrss * unit


def is_full(error: OSError) -> bool:
    """Whether the system says that a disk is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _locked(path: Path) -> BaseFileLock:
    from filelock import FileLock, Timeout

    lock = FileLock(path / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunningElsewhere(f"{path}: another process is running it") from None
    return lock


def remove(path: Path) -> None:
    """Remove a run folder with all that is in it.

    Raises
    ------
    RunningElsewhere
        Another process is running it; it is left as it is.
    """
    lock = _locked(path)
    try:
        shutil.rmtree(path)
    finally:
        lock.release()


def identity(
    scenario: Scenario, seeds: Sequence[int], learners: Mapping[str, Mapping[str, Any]], *, timing_only: bool
) -> dict[str, Any]:
    """What a manifest says before anything has happened: two runs that agree in it give the same tables."""
    document = scenario.to_document()
    return {
        "scenario": document,
        "horizon_s": scenario.horizon,
        "seeds": list(seeds),
        "learners": {label: dict(facts) for label, facts in learners.items()},
        "timing_only": timing_only,
        "weights": None if scenario.pretrain.weights is None else SavedWeights.of(scenario.pretrain.weights).digest,
        "files": dict(_files({key: value for key, value in document.items() if key not in ("data", "pretrain")})),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _files(document: object) -> Iterator[tuple[str, str]]:
    """The recordings and tables that a scenario names, with checksums. (Data have a fingerprint once they are read.)"""
    if isinstance(document, Mapping):
        for value in document.values():
            yield from _files(value)
    elif isinstance(document, list | tuple):
        for value in document:
            yield from _files(value)
    elif isinstance(document, str) and os.path.isabs(document) and os.path.isfile(document):
        with open(document, "rb") as file:
            yield document, hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def differences(
    manifest: Mapping[str, Any],
    scenario: Scenario,
    seeds: Sequence[int],
    learners: Mapping[str, Mapping[str, Any]],
    *,
    timing_only: bool,
) -> list[str]:
    """Tell what differs between a run's manifest and a run with this identity, as ``key: old -> new``."""
    new = json.loads(json.dumps(identity(scenario, seeds, learners, timing_only=timing_only)))
    old = {key: manifest.get(key) for key in new}
    for told in (old, new):  # `learners` has them with all their parameters, in a scenario defaults may be left out
        told["scenario"] = {key: value for key, value in (told["scenario"] or {}).items() if key != "learners"}
    return list(_differences(old, new, ""))


def _differences(old: object, new: object, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences(one, other, f"{path}.{place}")
    elif old != new:
        yield f"{path}: {_short(old)} -> {_short(new)}"


def _short(value: object) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


@contextlib.contextmanager
def next_free(name: str) -> Iterator[Path]:
    """Make the next free ``runs/NAME-N``; where what happens inside fails before anything is in it, it goes again."""
    path = _take_next(name)
    try:
        yield path
    except BaseException:
        with contextlib.suppress(OSError):
            path.rmdir()
            path.parent.rmdir()
        raise


def _take_next(name: str) -> Path:
    """Make the next free ``runs/NAME-N``: of processes that want one at the same time, each gets its own."""
    number = 1
    while True:
        path = Path("runs") / f"{name}-{number}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except FileNotFoundError:  # another process has just removed an empty ``runs``
            continue
        else:
            return path


@cache
def _versions() -> Mapping[str, str]:
    """Of the packages that a process has begun with."""
    found = {}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
