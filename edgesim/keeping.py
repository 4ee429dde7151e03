"""What a run keeps of its results besides its tables: a journal, so that it can go on after it died, and what it shares
with other runs in the user's cache."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .jobs.cache import Cache, Shelves
    from .jobs.journal import Journal
    from .run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is to be kept.

    Attributes
    ----------
    journal_bytes
        Size over which the journal is compacted; None for its default, 0 for no journal.
    cache
        Whether pretraining is shared with other runs.
    """

    journal_bytes: int | None = None
    cache: bool = False

    def open(self, folder: RunFolder) -> Kept:
        """Open the journal in ``folder``, where there may be one of an earlier process, and the cache."""
        from .jobs.cache import Cache, Shelves, cache_folder
        from .jobs.journal import JOURNAL_BYTES, Journal
        from .jobs.overflow import PREFIX

        for stale in folder.path.glob(f"{PREFIX}*"):  # of a process that died
            shutil.rmtree(stale, ignore_errors=True)
        journal = None
        if self.journal_bytes != 0:
            journal = Journal(folder.journal, max_bytes=self.journal_bytes or JOURNAL_BYTES)
            if journal.damage:
                folder.update(journal_damage=[*folder.manifest.get("journal_damage", ()), *journal.damage])
        place = cache_folder() if self.cache else None
        cache = None if place is None else Cache(place)
        return Kept(Shelves(journal, cache), journal, cache)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one run.

    Attributes
    ----------
    store
        What the work plane asks and tells.
    """

    store: Shelves
    _journal: Journal | None
    _cache: Cache | None

    def next_seed(self) -> None:
        """Forget what learners have in common under a seed."""
        self.store.forget_common()

    def done(self) -> None:
        """The run is over: nobody will go on with it, and its folder removes the journal."""
        if self._journal is not None:
            self._journal.abandon()

    def facts(self) -> dict[str, Any]:
        """What the manifest says of it."""
        facts: dict[str, Any] = {}
        if self._journal is not None and self._journal.refused:
            facts["not_journalled"] = sorted(self._journal.refused)
        if self._cache is not None:
            facts["cache"] = {"folder": str(self._cache.folder), "hits": self._cache.hits, "kept": self._cache.kept}
            if self._cache.problem:
                facts["cache"]["problem"] = self._cache.problem
        return facts
