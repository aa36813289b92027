"""Values on a page: readable, and bounded."""

import json
from typing import Any

from codemode_graph.preview import sample, shape
from codemode_graph.references import is_reference
from codemode_graph.trace.marks import bytes_of, plural
from codemode_graph.trace.markup import Child, Html, el
from codemode_graph.trace.source import highlight

__all__ = ["Values"]

_WHOLE_PAGE = 2_000_000
_HIGHLIGHTED = 6_000
_FOLDED_LINES = 14


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
            note = f"{bytes_of(value['bytes'])}, kept outside the state. {self._cut(value['shape'])}"
            return el("div", el("p", note, class_="note"), self._text(self._cut(value["sample"])))
        if isinstance(value, str):
            return self.words(value, limit=limit)
        whole = json.dumps(value, ensure_ascii=False, indent=2)
        if len(whole) > min(limit, self._room):
            note = f"{plural(len(whole), 'character')}, here a sample. {self._cut(shape(value))}"
            return el("div", el("p", note, class_="note"), self._text(self._cut(sample(value, limit=2_000))))
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

    def _cut(self, value: str) -> str:
        return value if len(value) <= 2_000 else f"{value[:2_000]} …"

    def _text(self, value: str) -> Html:
        return el("pre", value)


def _folded(content: Child, lines: int) -> Html:
    """A few lines as they are, many behind a click."""
    shown = el("pre", content)
    if lines <= _FOLDED_LINES:
        return shown
    return el("details", el("summary", el("span", f"{lines:,} lines")), shown, class_="fold")
