"""How a mistake is told: what was found, what would be right, "did you mean"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic_core import PydanticCustomError

Path = tuple[str | int, ...]
"""Where a value stands in a scenario: ``("devices", 0, "uplink")``."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake, by the path of the value; the loader adds file, line and column.

    ``on_key`` points to the key rather than to its value.
    """

    path: Path
    message: str
    on_key: bool = False


def wrong(message: str, at: Path = ()) -> PydanticCustomError:
    """Make the error that a validator raises for a mistake at ``at``, below the value being validated."""
    return several([Finding(at, message)])


def several(findings: Sequence[Finding]) -> PydanticCustomError:
    """Make the error that a validator raises for several mistakes, each below the value being validated."""
    text = "; ".join(
        f"{dotted(finding.path)}: {finding.message}" if finding.path else finding.message for finding in findings
    )
    return PydanticCustomError("edgesim", "{text}", {"text": text, "findings": tuple(findings)})


def found(value: object) -> str:
    """Name a value the way its writer sees it in the file."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    return repr(value)


def did_you_mean(word: object, known: Iterable[str], called: str = "known") -> str:
    """Suggest the nearest of ``known``, or list them: what comes after "there is no such thing".

    >>> "unknown key" + did_you_mean("cuont", ["name", "count"])
    "unknown key; did you mean 'count'?"
    >>> "unknown key" + did_you_mean("speed", ["name", "count"])
    'unknown key; known: name, count'
    """
    names = list(known)
    by_folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(str(word).casefold(), by_folded, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {by_folded[near[0]]!r}?"
    return f"; {called}: {', '.join(names) or 'none'}"


def dotted(path: Path) -> str:
    """Write a path the way ``--set`` takes it: ``devices.0.uplink``."""
    return ".".join(str(part) for part in path)


def in_flow(value: object) -> str:
    """Write a value on one line, the way it may stand in a scenario file.

    >>> in_flow({"kind": "iid", "samples": [50, 150]})
    '{kind: iid, samples: [50, 150]}'
    """
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {in_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(in_flow, value)) + "]"
    return str(value)
