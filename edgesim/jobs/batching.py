"""How samples are cut into batches: the rule that training follows and that virtual time counts by."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=4096)
def batches(samples: int, batch_size: int) -> tuple[tuple[int, int], ...]:
    """Cut ``samples`` into batches of ``batch_size``; a last batch of one sample joins the batch before it.

    Batch norm has no statistics over a single sample, and dropping it would train on fewer samples than are
    charged. So the last batch may hold ``batch_size + 1``, whatever the network; batches of one are left
    where ``batch_size`` or ``samples`` is 1.

    Returns
    -------
    tuple
        ``(start, stop)`` of each batch.

    Examples
    --------
    >>> batches(7, 3)
    ((0, 3), (3, 7))
    >>> batches(8, 3)
    ((0, 3), (3, 6), (6, 8))
    """
    if batch_size < 1:
        raise ValueError(f"a batch has at least one sample, not {batch_size}")
    starts = list(range(0, samples, batch_size))
    if batch_size > 1 and len(starts) > 1 and starts[-1] == samples - 1:
        starts.pop()
    return tuple(zip(starts, [*starts[1:], samples], strict=True)) if starts else ()


def steps(samples: int, batch_size: int, epochs: int, accumulate: int = 1) -> int:
    """How many forward and backward passes ``epochs`` over ``samples`` take.

    Examples
    --------
    >>> steps(100, 32, epochs=2), steps(97, 32, epochs=1), steps(100, 32, epochs=1, accumulate=2)
    (8, 3, 7)
    """
    cut = batches(samples, batch_size)
    if accumulate > 1:
        micro = micro_batch(batch_size, accumulate)
        return epochs * sum(len(batches(stop - start, micro)) for start, stop in cut)
    return epochs * len(cut)


def largest_part(samples: int, batch_size: int, accumulate: int = 1) -> int:
    """The most of ``samples`` that are in memory at a time; 0 where there are none.

    Examples
    --------
    >>> largest_part(20, 128), largest_part(96, 16), largest_part(97, 16), largest_part(97, 16, accumulate=2)
    (20, 16, 17, 9)
    """
    sizes = {stop - start for start, stop in batches(samples, batch_size)}
    micro = micro_batch(batch_size, accumulate)
    return max((stop - start for size in sizes for start, stop in batches(size, micro)), default=0)


def micro_batch(batch_size: int, accumulate: int) -> int:
    """Samples that are in memory at a time where each batch is done in ``accumulate`` parts."""
    if accumulate < 1:
        raise ValueError(f"a batch is done in at least one part, not {accumulate}")
    return -(-batch_size // accumulate)
