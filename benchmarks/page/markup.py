"""HTML and SVG as values: text that goes in is escaped, so nothing can be forgotten."""

from __future__ import annotations

from html import escape
from typing import TypeAlias


class Markup(str):
    """Text that is markup already; only `element` and `joined` make it, and `raw` for our own."""

    __slots__ = ()


Child: TypeAlias = "Markup | str"
Value: TypeAlias = "str | float | bool"

# Elements that have no content and no end.
_EMPTY = frozenset({"meta", "br", "hr", "img", "link"})


def element(name: str, attributes: dict[str, Value] | None = None, *children: Child) -> Markup:
    """One element; plain text is escaped, and an attribute that is False left out."""
    words = "".join(_attribute(key, value) for key, value in (attributes or {}).items())
    if name in _EMPTY:
        return Markup(f"<{name}{words}>")
    return Markup(f"<{name}{words}>{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """Children one after the other, plain text escaped."""
    return Markup(
        "".join(child if isinstance(child, Markup) else escape(child) for child in children)
    )


def raw(text: str) -> Markup:
    """Markup that lies in this project's own files, taken as it is."""
    return Markup(text)


def _attribute(key: str, value: Value) -> str:
    if value is False:
        return ""
    if value is True:
        return f" {key}"
    text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f' {key}="{escape(text)}"'


def table(
    head: list[str], rows: list[list[Child]], numbers: frozenset[int], kind: str = ""
) -> Markup:
    """A table; columns in `numbers` are set to the right."""

    def cell(name: str, at: int, content: Child) -> Markup:
        return element(name, {"class": "number"} if at in numbers else {}, content)

    top = element("tr", {}, *(cell("th", at, word) for at, word in enumerate(head)))
    body = [
        element("tr", {}, *(cell("td", at, content) for at, content in enumerate(row)))
        for row in rows
    ]
    whole = element(
        "table", {"class": kind or False}, element("thead", {}, top), element("tbody", {}, *body)
    )
    return element("div", {"class": "wide"}, whole)
