"""Unions of models told apart by a key that only one of them has: ``{on_off: ...}`` or ``{diurnal: ...}``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from edgesim.scenario.findings import Finding


@dataclass(frozen=True)
class ByKey:
    """Annotation for such a union. Each member names its key in a class variable ``TAG``."""

    what: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Build a tagged union whose error locations carry ``<tag>``, which cannot be mistaken for a key."""
        members = {member.TAG: member for member in get_args(source)}

        def tag_of(value: object) -> str | None:
            if isinstance(value, Mapping):
                return next((f"<{tag}>" for tag in members if tag in value), None)
            own = getattr(value, "TAG", None)
            return f"<{own}>" if own in members else None

        known = ", ".join(f"`{tag}`" for tag in members)
        context: dict[str, Any] = {"findings": (Finding((), f"{self.what} is a mapping with one of {known}"),)}
        return core_schema.tagged_union_schema(
            {f"<{tag}>": handler.generate_schema(member) for tag, member in members.items()},
            discriminator=tag_of,
            custom_error_type="edgesim",
            custom_error_message=f"{self.what} is a mapping with one of the keys {known}",
            custom_error_context=context,
        )
