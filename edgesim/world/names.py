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
        self._counts: dict[tuple[str, str], int] = {}
        self._taken: set[str] = set()

    def new(self, purpose: str, node: str, tag: str | int | None) -> tuple[str, int]:
        """The name ``node/purpose/tag`` and the seed of its random stream.

        Without a tag the name counts: the node's first, second, ... use of this purpose.

        Raises
        ------
        ValueError
            The name was used before: two different jobs must not draw from one stream.
        """
        if tag is None:
            tag = self._counts.get((purpose, node), 0) + 1
            self._counts[purpose, node] = tag
        name = f"{node}/{purpose}/{tag}"
        self.claim(name)
        return name, stream_seed(self._seed, purpose, node, tag)

    def claim(self, *name: str | int) -> None:
        """Take a name; a second time it is refused with ``ValueError``."""
        text = "/".join(str(part) for part in name)
        if text in self._taken:
            raise ValueError(f"the name {text!r} is taken: two draws from one random stream would be the same")
        self._taken.add(text)
