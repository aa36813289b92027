"""Writing HTML in which nothing but this package's own words is markup.

What a run brings is text: `el` escapes every child and every attribute that is not `Html` already, and knows no attribute
that could run a script or load anything.
"""

import html
from collections.abc import Iterable
from typing import TypeAlias

from codemode_graph.trace.console import visible

__all__ = ["Child", "Html", "el", "join", "text"]

_ATTRIBUTES = frozenset({"checked", "class", "style", "type"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child] | None"
"""Text, HTML, nothing, or several of them."""


def text(value: str) -> Html:
    """Escape text. Control characters, and those that reverse the order of letters, are written out."""
    seen = visible(value).encode("utf-8", "backslashreplace").decode()
    return Html(html.escape(seen, quote=True))


def join(children: Child) -> Html:
    """Put children one after the other."""
    if children is None:
        return Html()
    if isinstance(children, Html):
        return children
    if isinstance(children, str):
        return text(children)
    return Html("".join(map(join, children)))


def el(name: str, *children: Child, **attributes: str | bool | None) -> Html:
    """Make an element.

    Args:
        name: Of the element.
        children: What it holds.
        attributes: `class_` is `class`; True is an attribute without a value, None and False leave it out.

    Raises:
        ValueError: The attribute is not one of the few that pages need.
    """
    given = []
    for key, value in attributes.items():
        attribute = key.rstrip("_")
        if attribute not in _ATTRIBUTES:
            raise ValueError(f"pages have no attribute {attribute!r}")
        if value is True:
            given.append(f" {attribute}")
        elif value is not None and value is not False:
            given.append(f' {attribute}="{text(value)}"')
    end = "" if name == "input" else f"{join(children)}</{name}>"
    return Html(f"<{name}{''.join(given)}>{end}")
