"""Unique names of what happens in a world, and the seeds that follow from them."""

from __future__ import annotations

from ..seeds import stream_seed


class Names:
    """Hands out each name once.

    Parameters
    ----------
    seed
        The world's seed.
    """

    __slots__ = ("_counts", "_seed", "_taken")

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._counts: dict[str, int] = {}
        self._taken: set[str] = set()

    def new(self, purpose: str, node: str, tag: str | int | None) -> str:
        """The name ``node/purpose/tag``.

        Without a tag the name counts: the node's first, second, ... use of this purpose.

        Raises
        ------
        ValueError
            The name was used before: two different jobs must not draw from one stream.
        """
        return self._new(f"{node}/{purpose}", tag)[0]

    def seeded(self, purpose: str, node: str, tag: str | int | None) -> tuple[str, int]:
        """A new name, and the seed of its random stream."""
        name, tag = self._new(f"{node}/{purpose}", tag)
        return name, stream_seed(self._seed, purpose, node, tag)

    def claim(self, name: str) -> None:
        """Take a name; a second time it is refused with ``ValueError``."""
        if name in self._taken or self._is_counted(name):
            raise ValueError(f"the name {name!r} is taken: two draws from one random stream would be the same")
        self._taken.add(name)

    def _is_counted(self, name: str) -> bool:
        stem, _, tag = name.rpartition("/")
        count = self._counts.get(stem, 0)
        return count > 0 and tag.isdecimal() and tag == str(int(tag)) and 1 <= int(tag) <= count

    def _new(self, stem: str, tag: str | int | None) -> tuple[str, str | int]:
        if tag is not None:
            name = f"{stem}/{tag}"
            self.claim(name)
            return name, tag
        count = self._counts.get(stem, 0) + 1
        name = f"{stem}/{count}"
        if name in self._taken:
            self.claim(name)
        self._counts[stem] = count  # the names up to it are taken; a set of them would grow with the run
        return name, count
