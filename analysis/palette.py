"""The colour of a learner, the same in every figure and report, on light and on dark ground."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

# Okabe and Ito, "Color Universal Design" (2008), yellow left out (too faint on white), with three of Paul Tol's
# "muted" scheme (2021) for further learners; told apart under all common colour deficiencies.
KNOWN = {
    "no_adaptation": "#606060",
    "on_device": "#e69f00",
    "cloud_only": "#0072b2",
    "ecavg": "#009e73",
    "eclm": "#d55e00",
    "fedavg": "#cc79a7",
    "ideal": "#000000",
}
OTHERS = ("#56b4e9", "#882255", "#332288", "#999933", "#661100", "#44aa99")

DARK_GROUND = "#15181d"
"""What is behind charts in the dark."""

DARK_CONTRAST = 5.0
"""How much brighter than the dark ground a line is: WCAG 2.2 asks for 3 for graphics, thin lines need more."""


def colours(learners: Sequence[str]) -> dict[str, str]:
    """Return the colour of each learner: the same for a name wherever it is drawn.

    Other names than those of the learners that come with edgesim get a colour by their name; two such names in one
    figure never share one while there are enough, so that then a name's colour can depend on its company.
    """
    chosen = {name: KNOWN[name] for name in learners if name in KNOWN}
    for name in sorted(set(learners) - chosen.keys()):
        first = zlib.crc32(name.encode()) % len(OTHERS)
        order = [OTHERS[(first + step) % len(OTHERS)] for step in range(len(OTHERS))]
        chosen[name] = next((colour for colour in order if colour not in chosen.values()), order[0])
    return chosen


def on_dark(colour: str) -> str:
    """Return the same hue for dark ground: mixed with as much white as ``DARK_CONTRAST`` needs, if any.

    Greys are turned round first, so that black becomes white and two greys stay apart.

    >>> on_dark("#e69f00"), on_dark("#0072b2"), on_dark("#000000")
    ('#e69f00', '#3690c2', '#ffffff')
    """
    parts = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    if len(set(parts)) == 1:
        parts = [255 - part for part in parts]
    for share in range(101):
        mixed = "#" + "".join(f"{round(part + (255 - part) * share / 100):02x}" for part in parts)
        if contrast(mixed, DARK_GROUND) >= DARK_CONTRAST:
            return mixed
    return "#ffffff"


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, from 1 to 21 (WCAG 2.2, "contrast ratio")."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    """Relative luminance of an sRGB colour (WCAG 2.2)."""
    shares = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
