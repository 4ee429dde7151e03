"""The user's cache: results of work done before time 0, which learners, runs and points of a sweep have in common.

A file a result, named by its key: a safetensors record and its checksum. Files appear by renaming, so that any number
of processes can use the folder at once, and what one of them computes the others wait for; those used longest ago go
when it grows too large.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from .codec import NotStorable, Packing, read_record, unpacked
from .function import JobFunction
from .journal import Journal
from .results import Load, Loaded, Result

if TYPE_CHECKING:
    from filelock import BaseFileLock

VARIABLE = "EDGESIM_CACHE"
"""Environment variable that names the folder; empty: no cache."""

CACHE_BYTES = 2 * 2**30
"""Size over which the files go that were used longest ago."""

ROOM = 0.8
"""Part of that size that is left then."""

ABANDONED_S = 24 * 3600.0
"""Age from which on a file that was being written is nobody's any more: its process was killed."""

SECONDS_PER_LOOK = 0.1
"""Wall time between two looks at whether another process is done with what is wanted here."""

_CHECKSUM_BYTES = 16
_SUFFIX = ".record"
_CLAIM = ".claim"
_PARTIAL = ".partial"


def cache_folder() -> Path | None:
    """The user's cache folder; None where ``EDGESIM_CACHE`` is empty. It need not exist."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if named else None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "edgesim" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "edgesim"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgesim"


@final
class Cache:
    """A folder of results.

    Parameters
    ----------
    folder
        Made when something is kept.
    max_bytes
        See ``CACHE_BYTES``.

    Attributes
    ----------
    hits, kept
        Results that were found, and that were kept.
    problem
        Why nothing is kept any more, in words; empty as long as all is well.
    """

    def __init__(self, folder: Path, *, max_bytes: int = CACHE_BYTES) -> None:
        self.folder = folder
        self.hits = 0
        self.kept = 0
        self.problem = ""
        self._max_bytes = max_bytes
        self._size_bytes: int | None = None
        self._claims: dict[str, BaseFileLock] = {}

    def find(self, key: str, function: JobFunction[..., Any]) -> Load | None:
        """Read the result with this key; None where it is not there. One that is damaged is removed."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        record, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
        if _checksum(record) != checksum:
            with contextlib.suppress(OSError):  # it may only be read
                path.unlink(missing_ok=True)
            return None
        notes, tensors = read_record(record)
        try:
            value = unpacked(json.loads(notes["values"])[key], function, tensors.__getitem__)
        except NotStorable:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # used now
        self.hits += 1
        return Loaded(value)

    def put(self, result: Result) -> None:
        """Keep a result; where that does not work, nothing is kept any more, and ``problem`` says why."""
        path = self._path(result.key)
        packing = Packing()
        try:
            if self.problem or path.exists():
                return
            packing.add(result.key, result.value, result.function)
            record = packing.record({})
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, record + _checksum(record))
            self._limit(len(record) + _CHECKSUM_BYTES)
        except NotStorable:
            return
        except FileNotFoundError:  # somebody has just cleared the cache
            return
        except OSError as error:
            self.problem = str(error)
        else:
            self.kept += 1

    def claim(self, key: str) -> None:
        """Tell other processes that the job with this key is computed here; wait while another one computes it.

        Where there is a claim already, of another job, nothing is waited for: two processes might wait for each other.
        A claim goes with its process.
        """
        from filelock import FileLock, Timeout

        path = self._path(key).with_suffix(_CLAIM)
        lock = FileLock(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0 if self._claims else -1, poll_interval=SECONDS_PER_LOOK)
        except (Timeout, OSError, NotImplementedError):  # computed twice, at worst
            return
        self._claims[key] = lock

    def release(self, key: str) -> None:
        """Give a claim up, if there is one."""
        lock = self._claims.pop(key, None)
        if lock is not None:
            with contextlib.suppress(OSError):
                Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

    def close(self) -> None:
        """Give up all claims."""
        for key in list(self._claims):
            self.release(key)

    def files(self) -> list[tuple[Path, os.stat_result]]:
        """All results, those used longest ago first."""
        return self._found(_SUFFIX)

    def partial_files(self) -> list[tuple[Path, os.stat_result]]:
        """Files that a process is writing, or was when it was killed, the oldest first."""
        return self._found(_PARTIAL)

    def _found(self, suffix: str) -> list[tuple[Path, os.stat_result]]:
        found = []
        for path in self.folder.glob(f"*/*{suffix}"):
            with contextlib.suppress(FileNotFoundError):  # another process has just removed it
                found.append((path, path.stat()))
        return sorted(found, key=lambda file: (file[1].st_mtime_ns, file[0]))

    def clear(self) -> tuple[int, int]:
        """Remove all results, and all that is left of some; return how many results there were and how many bytes were
        taken."""
        results = self.files()
        files = [*results, *self.partial_files(), *self._found(_CLAIM)]
        for path, _ in files:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path, _ in files}:
            with contextlib.suppress(OSError):  # something else is in it
                folder.rmdir()
        return len(results), sum(stat.st_size for _, stat in files)

    def _limit(self, added_bytes: int) -> None:
        if self._size_bytes is None:
            self._clear_abandoned()
            self._size_bytes = self._taken_bytes(self.files())
        else:
            self._size_bytes += added_bytes
        if self._size_bytes <= self._max_bytes:
            return
        files = self.files()
        self._size_bytes = self._taken_bytes(files)
        for path, stat in files:
            if self._size_bytes <= ROOM * self._max_bytes:
                break
            path.unlink(missing_ok=True)
            self._size_bytes -= stat.st_size

    def _taken_bytes(self, files: list[tuple[Path, os.stat_result]]) -> int:
        return sum(stat.st_size for _, stat in [*files, *self.partial_files()])

    def _clear_abandoned(self) -> None:
        """Remove what processes left that were killed as they wrote."""
        before = time.time() - ABANDONED_S
        for path, stat in self.partial_files():
            if stat.st_mtime < before:
                path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{_SUFFIX}"


@final
class Shelves:
    """A store that is a run's journal and the user's cache; either may be missing. What learners have in common is held
    in memory as well."""

    def __init__(self, journal: Journal | None, cache: Cache | None) -> None:
        self._journal = journal
        self._cache = cache
        self._common: list[Result] = []

    def forget_common(self) -> None:
        """Let go of what learners have in common: the next worlds are others."""
        self._common.clear()

    @property
    def remembers(self) -> bool:
        """See ``Store``."""
        return self._journal is not None and self._journal.remembers

    def find(self, key: str, function: JobFunction[..., Any], *, shared: bool) -> Load | None:
        """See ``Store``."""
        found = None if self._journal is None else self._journal.find(key, function, shared=shared)
        if found is None and shared and self._cache is not None:
            found = self._cache.find(key, function)
        return found

    def found(self, result: Result) -> None:
        """See ``Store``."""
        if result.shared:
            self._common.append(result)

    def was_computed(self, key: str) -> bool:
        """See ``Store``."""
        return self._journal is not None and self._journal.was_computed(key)

    def put(self, result: Result) -> None:
        """See ``Store``."""
        if self._journal is not None:
            self._journal.put(result)
        if result.shared:
            self._common.append(result)
            if self._cache is not None:
                self._cache.put(result)

    def claim(self, key: str) -> None:
        """See ``Store``."""
        if self._cache is not None:
            self._cache.claim(key)

    def release(self, key: str) -> None:
        """See ``Store``."""
        if self._cache is not None:
            self._cache.release(key)

    def keep(self, result: Result) -> None:
        """See ``Store``."""
        if self._journal is not None:
            self._journal.keep(result)

    def tick(self, live: Mapping[str, Result]) -> None:
        """See ``Store``."""
        if self._journal is not None:
            self._journal.tick(live)

    def close(self, live: Mapping[str, Result]) -> None:
        """See ``Store``."""
        if self._cache is not None:
            self._cache.close()
        if self._journal is not None:
            self._journal.close(live)


def _write(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=_PARTIAL)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _checksum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_CHECKSUM_BYTES).digest()
