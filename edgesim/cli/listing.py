"""``edgesim learners``: what is installed, with each one's parameters."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import typer

from edgesim.cli.failing import told

if TYPE_CHECKING:
    from edgesim.learner import Learner, LearnerEntry

MOST_KEYS = 4
"""Keys of a mapping that are listed; of more, the first ones."""


@told
def learners() -> None:
    """List the installed learners and their parameters."""
    from edgesim.learner import discover

    entries = discover()
    if not entries:
        typer.echo("no learners are installed")
    for number, entry in enumerate(entries.values()):
        if number:
            typer.echo("")
        for line in _lines(entry):
            typer.echo(line)


def _lines(entry: LearnerEntry) -> list[str]:
    try:
        learner = entry.load()
    except Exception as error:  # one that is broken must not hide the others
        return [f"{entry.name}  ({entry.source})", f"  cannot be loaded: {type(error).__name__}: {error}"]
    flags = "".join(f"  [{flag}]" for flag in _flags(learner))
    lines = [f"{entry.name}  ({entry.source}){flags}", f"  {_first_line(learner)}"]
    rows = parameters(learner)
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for name, kind, default, description in rows:
        cells = f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {default:<{widths[2]}}"
        lines.append(f"    {cells}  {description}".rstrip())
    return lines


def _flags(learner: type[Learner]) -> list[str]:
    said: object = learner.needs_values  # a word of the class, or a property that looks at the parameters
    if any(field.is_required() for field in learner.Params.model_fields.values()):
        return ["needs values"] if said is True else []
    plain = learner(learner.Params())
    flags = ["needs values"] if plain.needs_values else []
    return [*flags, "oracle by default"] if plain.oracle else flags


def _first_line(learner: type[Learner]) -> str:
    return (inspect.getdoc(learner) or "").partition("\n")[0]


def parameters(learner: type[Learner]) -> list[tuple[str, str, str, str]]:
    """Name, kind, default and description of each parameter, as a scenario file would write them."""
    from edgesim.scenario.json_schema import params_schema

    schema = params_schema(learner.Params)
    required = schema.get("required", ())
    return [
        (
            name,
            _kind(described, schema.get("$defs", {})),
            "required" if name in required else f"= {_default(described)}",
            described.get("description", ""),
        )
        for name, described in schema.get("properties", {}).items()
    ]


def _default(described: dict[str, Any]) -> str:
    from edgesim.scenario.findings import in_flow

    default = described.get("default")
    if default is None:
        return "none"
    return str(default).lower() if isinstance(default, bool) else in_flow(default)


def _kind(described: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Name the kind of value that a JSON Schema describes."""
    if "pattern" in described and "title" in described:
        return str(described["title"])
    if "enum" in described:
        return " | ".join(map(str, described["enum"]))
    if "const" in described:
        return str(described["const"])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in described:
            kinds = [_kind(part, definitions) for part in described[key]]
            return " | ".join(dict.fromkeys(kind for kind in kinds if kind != "nothing"))
    if "$ref" in described:
        return _kind(definitions[described["$ref"].rpartition("/")[2]], definitions)
    if described.get("type") == "object":
        keys = list(described.get("properties", {}))
        return f"{{{', '.join(keys if len(keys) <= MOST_KEYS else [*keys[: MOST_KEYS - 1], '...'])}}}"
    if described.get("type") == "array":
        return f"list of {_kind(described.get('items', {}), definitions)}"
    names = {"integer": "whole number", "boolean": "true | false", "string": "text", "null": "nothing"}
    kind = described.get("type", "anything")
    return names.get(kind, str(kind))
