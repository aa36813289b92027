"""Values on a page: readable, and bounded."""

import json
from typing import Any

from codemode_graph.calls.values import is_reference
from codemode_graph.preview import sample, shape
from codemode_graph.trace.markup import Child, Html, el
from codemode_graph.trace.source import highlight
from codemode_graph.trace.words import bytes_of, plural

__all__ = ["Values"]

_WHOLE_PAGE = 2_000_000
_HIGHLIGHTED = 6_000
_FOLDED_LINES = 14
_COLUMNS = 84


class Values:
    """Shows the values of one page, which together get so much room and no more.

    Args:
        room: Characters for all of them.
    """

    def __init__(self, room: int = _WHOLE_PAGE) -> None:
        self._room = room

    def show(self, value: Any, *, limit: int = 16_000) -> Html:
        """Show a JSON value: indented, or its shape and a sample where it is too large.

        Args:
            value: The value, or a `Reference` to one that is kept elsewhere.
            limit: Characters that it may take.
        """
        if is_reference(value):
            return self._sampled(f"{bytes_of(value['bytes'])}, kept outside the state", value["shape"], value["sample"])
        if isinstance(value, str):
            return self.words(value, limit=limit)
        size = len(json.dumps(value, ensure_ascii=False))
        if size > min(limit, self._room):
            told = f"{plural(size, 'character')}, here a sample"
            return self._sampled(told, shape(value), sample(value, limit=min(2_000, self._least)))
        whole = _laid_out(value)
        self._room -= len(whole)
        if len(whole) > _HIGHLIGHTED:
            return _folded(whole, whole.count("\n") + 1)
        coded = highlight(whole, "json")
        return _folded([[line, "\n"] for line in coded], len(coded))

    def words(self, value: str, *, limit: int = 16_000) -> Html:
        """Show a text as it is, its end left out where it is too long."""
        kept = value[: max(0, min(limit, self._room))]
        self._room -= len(kept)
        more = len(value) - len(kept)
        note = el("p", f"… {plural(more, 'more character')}", class_="note") if more else None
        return el("div", _folded(kept, kept.count("\n") + 1), note)

    @property
    def _least(self) -> int:
        """Characters that are always granted."""
        return max(200, self._room)

    def _sampled(self, size: str, form: str, seen: str) -> Html:
        most = min(2_000, self._least)
        form, seen = (part if len(part) <= most else f"{part[:most]} …" for part in (form, seen))
        self._room -= len(form) + len(seen)
        return el("div", el("p", f"{size}. {form}", class_="note"), el("pre", seen))


def _folded(content: Child, lines: int) -> Html:
    """A few lines as they are, many behind a click."""
    shown = el("pre", content)
    if lines <= _FOLDED_LINES:
        return shown
    return el("details", el("summary", el("span", f"{lines:,} lines")), shown, class_="fold")


def _laid_out(value: Any, indent: str = "") -> str:
    """A value as JSON, broken into lines only where one is not enough."""
    line = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(line) <= _COLUMNS or not value or not isinstance(value, dict | list):
        return line
    inner = f"{indent}  "
    if isinstance(value, list):
        parts, ends = [_laid_out(item, inner) for item in value], "[]"
    else:
        parts = [f"{json.dumps(key, ensure_ascii=False)}: {_laid_out(item, inner)}" for key, item in value.items()]
        ends = "{}"
    between = f",\n{inner}"
    return f"{ends[0]}\n{inner}{between.join(parts)}\n{indent}{ends[1]}"
