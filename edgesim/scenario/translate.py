"""From pydantic's errors to findings in the words of the person who wrote the file.

Owns every message about a value of the wrong kind, a missing key and an unknown key. Works for any pydantic
model, also for a learner's parameters.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from edgesim.scenario.base import DEVICE_PATTERN, tags_of
from edgesim.scenario.findings import Finding, Path, did_you_mean, found, in_flow

_KINDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
    "none_required": "nothing",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "multiple_of": ("multiple_of", "a multiple of"),
}


def findings_of(error: ValidationError, model: Any, written: object) -> list[Finding]:
    """Tell what is wrong with ``written``, which did not fit ``model``.

    Parameters
    ----------
    error : pydantic.ValidationError
        What pydantic found.
    model : type
        The model, or any annotation, that was validated against.
    written : object
        The data as read from the file.

    Returns
    -------
    list of Finding
        At least one, with paths below ``written``. Alternatives of one value are told in one sentence.
    """
    told = [item for found_error in error.errors(include_url=False) for item in _translate(found_error, model, written)]
    alternatives: dict[Path, list[str]] = {}
    for item in told:
        if item.alternative:
            alternatives.setdefault(item.path, []).append(item.message)
    findings: dict[Finding, None] = {}
    for item in told:
        message = item.message
        if item.alternative:
            if any(other.path[: len(item.path)] == item.path and other.path != item.path for other in told):
                continue  # another alternative fits better: its mistakes lie deeper
            message = ", or ".join(dict.fromkeys(alternatives[item.path]))
        findings[Finding(item.path, message, item.on_key)] = None
    return list(findings)


@dataclass(frozen=True, slots=True)
class _Told:
    path: Path
    message: str
    on_key: bool = False
    alternative: bool = False
    """One of several kinds of value that would have been right."""


def _translate(item: ErrorDetails, model: Any, written: object) -> Iterable[_Told]:
    kind, context, value = item["type"], item.get("ctx") or {}, item["input"]
    missing = kind == "missing"
    path, on_key, alternative = _path(item["loc"], written, missing)
    if kind == "edgesim":
        for finding in context["findings"]:
            yield _Told(path + finding.path, finding.message, finding.on_key or on_key, alternative)
    elif kind == "edgesim_tag":
        yield _wrong_tag(path, context, value)
    elif missing:
        yield _Told(path, _is_missing(_at(model, item["loc"][:-1]), str(path[-1])))
    elif kind == "extra_forbidden":
        known = [name for name, _ in _fields(_at(model, item["loc"][:-1]))]
        yield _Told(path, f"unknown key{did_you_mean(path[-1], known)}", on_key=True)
    elif kind == "too_short" and len(value) >= context["min_length"]:
        return  # pydantic does not count items that are wrong themselves; those are told
    else:
        message = _wrong_value(kind, context, value, item["msg"])
        if _KINDS.get(kind) == "a mapping" and (keys := [name for name, _ in _fields(_at(model, item["loc"]))]):
            message += f", with keys such as {', '.join(keys[:3])}"
        yield _Told(path, message, on_key, alternative)


def _wrong_value(kind: str, context: Mapping[str, Any], value: object, message: str) -> str:
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"found {found(value)}, must be {words} {context[key]:g}"
    if kind in _KINDS:
        return f"found {found(value)} where {_KINDS[kind]} is expected"
    if kind in ("literal_error", "enum"):
        known = [str(choice).strip("'") for choice in context["expected"].replace(" or ", ", ").split(", ")]
        return f"found {found(value)}{did_you_mean(value, known)}"
    if kind in ("too_short", "too_long"):
        bound = "at least" if kind == "too_short" else "at most"
        number = context.get("min_length") if kind == "too_short" else context.get("max_length")
        return f"found {found(value)}, must have {bound} {number} item{'' if number == 1 else 's'}"
    if kind == "string_pattern_mismatch":
        return f"found {found(value)}, which does not look like {_pattern_in_words(context['pattern'])}"
    if kind == "value_error":
        return str(context["error"])
    return f"found {found(value)}: {message[:1].lower()}{message[1:]}"


def _pattern_in_words(pattern: str) -> str:
    if pattern.startswith("^[A-Za-z][A-Za-z0-9_-]"):
        return "a name: a letter first, then letters, digits, - and _"
    if pattern == DEVICE_PATTERN:
        return "a device of PyTorch's: cpu, cuda, cuda:0, ..., or auto"
    return f"the pattern {pattern}"


def _is_missing(candidates: list[Any], key: str) -> str:
    for name, field in _fields(candidates):
        if name == key:
            description = (field.description or "").rstrip(".")
            message = f"is missing: {description[:1].lower()}{description[1:]}" if description else "is missing"
            return message + (f", for example `{key}: {in_flow(field.examples[0])}`" if field.examples else "")
    return "is missing"


def _wrong_tag(path: Path, context: Mapping[str, Any], value: object) -> _Told:
    key, known = context["key"], context["known"].split(" ")
    if not isinstance(value, Mapping):
        return _Told(path, f"found {found(value)} where a mapping with the key {key!r} is expected")
    if key not in value:
        return _Told((*path, key), f"is missing: one of {', '.join(known)}")
    return _Told((*path, key), f"found {found(value[key])}{did_you_mean(value[key], known)}")


def _path(location: tuple[str | int, ...], written: object, missing: bool) -> tuple[Path, bool, bool]:
    """Drop from a location what is no key and no index: tags, names of union members, ``[key]``.

    Returns the path, whether its key is meant, and whether the location names one of several alternatives.
    """
    path: list[str | int] = []
    at, on_key, alternative = written, False, False
    for depth, part in enumerate(location):
        if part == "[key]":
            on_key = True
        elif isinstance(at, list | tuple) and isinstance(part, int) and part < len(at):
            path.append(part)
            at = at[part]
        elif isinstance(at, Mapping) and (key := _key(part, at)) is not None:
            path.append(key)
            at = at[key]
        elif missing and depth == len(location) - 1:
            path.append(part)
        elif not _is_tag(part):
            alternative = True
    return tuple(path), on_key, alternative


def _key(part: str | int, mapping: Mapping[Any, Any]) -> Any:
    """Find the key that pydantic names ``part``: a key that is no text comes as its text."""
    if part in mapping:
        return part
    return next((key for key in mapping if not isinstance(key, str) and str(key) == str(part)), None)


def _at(model: Any, location: tuple[str | int, ...]) -> list[Any]:
    """Return the types that may stand at ``location`` below ``model``."""
    candidates = _members(model)
    for part in location:
        text = str(part)
        if _is_tag(part):
            candidates = [c for c in candidates if _is_model(c) and text[1:-1] in _all_tags(c)]
            continue
        below: list[Any] = []
        for candidate in candidates:
            if _is_model(candidate):
                below += [f.annotation for name, f in _fields([candidate]) if name == text]
            elif get_origin(candidate) in (list, tuple, dict):
                below += [argument for argument in get_args(candidate) if argument is not Ellipsis]
        candidates = [member for annotation in below for member in _members(annotation)] or candidates
    return candidates


def _is_tag(part: str | int) -> bool:
    return isinstance(part, str) and part.startswith("<") and part.endswith(">")


def _members(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [member for argument in get_args(annotation) for member in _members(argument)]
    return [annotation]


def _is_model(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, BaseModel)


def _all_tags(model: type[BaseModel]) -> tuple[str, ...]:
    literals = [name for name, field in model.model_fields.items() if get_origin(field.annotation) is Literal]
    keys = literals or list(model.model_fields)[:1]
    return tuple(str(tag) for key in keys for tag in tags_of(model, key))


def _fields(candidates: Iterable[Any]) -> list[tuple[str, FieldInfo]]:
    return [
        (field.alias or name, field)
        for candidate in candidates
        if _is_model(candidate)
        for name, field in candidate.model_fields.items()
    ]
