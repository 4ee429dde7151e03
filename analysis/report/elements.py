"""Pieces of HTML: text that is escaped, tables that can be scrolled and read aloud."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Markup:
    """HTML that is finished: it is not escaped again."""

    html: str


Content = str | Markup


def html(content: Content) -> str:
    """Return content as HTML: text is escaped.

    >>> html("a < b"), html(Markup("<b>a</b>"))
    ('a &lt; b', '<b>a</b>')
    """
    return content.html if isinstance(content, Markup) else escape(content)


def element(tag: str, content: Content | Iterable[Content] = "", **attributes: str) -> Markup:
    """Return an element; attributes are written with ``_`` for ``-`` and ``class_`` for ``class``.

    >>> element("p", "1 < 2", class_="note", aria_label="x").html
    '<p class="note" aria-label="x">1 &lt; 2</p>'
    """
    parts = [content] if isinstance(content, (str, Markup)) else content
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value, quote=True)}"' for name, value in attributes.items()
    )
    return Markup(f"<{tag}{written}>{''.join(html(part) for part in parts)}</{tag}>")


def table(
    caption: str, head: Sequence[Content], rows: Iterable[tuple[Content, Sequence[Content]]], class_: str = ""
) -> Markup:
    """Return a table in a region of its own that scrolls sideways; the first cell of a row names it."""
    cells = [element("th", title, scope="col") for title in head]
    body = [
        element("tr", [element("th", name, scope="row"), *(element("td", cell) for cell in own)]) for name, own in rows
    ]
    whole = element(
        "table",
        [element("caption", caption), element("thead", element("tr", cells)), element("tbody", body)],
        class_=class_,
    )
    return element("div", whole, class_="scroll", role="region", tabindex="0", aria_label=caption)


def details(summary: str, *content: Content) -> Markup:
    """Return content that is shown when asked for."""
    return element("details", [element("summary", summary), *content])


def join(parts: Iterable[Content]) -> Markup:
    """Return pieces one after the other."""
    return Markup("\n".join(html(part) for part in parts))
