"""Text from others, made safe to show, and the nearest name to a misspelled one."""

import difflib
import re
import unicodedata
from collections.abc import Iterable

__all__ = ["first_sentence", "one_line", "suggest"]

_SENTENCE_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\betc)(?<!\bvs)(?<!\bcf)(?<!\bNo)[.!?](?=\s|$)|\n\s*\n")
_FENCES = re.compile(r"`{3,}|\"{3,}|'{3,}|~{3,}")


def one_line(text: object, limit: int = 200) -> str:
    """Return text by others on one line that cannot pose as anything else.

    Control, format and unassigned characters become spaces, runs of space become one, and anything that ends a fence, a
    docstring or a chat turn (three quotes or backticks, `<|`) is broken up.

    Args:
        text: Any text; anything else is put through `str`.
        limit: Characters at most; a longer text ends in `…`.
    """
    # Spaces may shrink the text, so more than the limit is read; all of it could be many megabytes.
    raw = str(text)[: limit * 8]
    plain = "".join(" " if unicodedata.category(character)[0] in "CZ" else character for character in raw)
    plain = _FENCES.sub(lambda match: match[0][0], " ".join(plain.split())).replace("<|", "< |")
    return plain if len(plain) <= limit else plain[: limit - 1].rstrip() + "…"


def first_sentence(text: str, limit: int = 200) -> str:
    """Return the first sentence or paragraph of a description, on one line."""
    stripped = text.strip()[: limit * 8]
    end = _SENTENCE_END.search(stripped)
    return one_line(stripped[: end.end()] if end else stripped, limit)


def suggest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'?" with the known name that is spelled most like this one, or an empty string."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {close[0]!r}?" if close else ""
