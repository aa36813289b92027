"""Text from others, made safe to show, and the nearest name to a misspelled one."""

import difflib
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

_SENTENCE_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\betc)(?<!\bvs)(?<!\bcf)(?<!\bNo)[.!?](?=\s|$)|\n\s*\n")
_FENCES = re.compile(r"`{3,}|\"{3,}|'{3,}|~{3,}")


def vocabulary(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


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


def listed(names: Iterable[str], *, most: int = 20) -> str:
    """Return names as a list in a message, cut at what a reader needs."""
    shown = list(names)
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


def first_sentence(text: str, limit: int = 200) -> str:
    """Return the first sentence or paragraph of a description, on one line."""
    stripped = text.strip()[: limit * 8]
    end = _SENTENCE_END.search(stripped)
    return one_line(stripped[: end.end()] if end else stripped, limit)


# Parts of a description: sentences, paragraphs, items of lists.
_PART_END = re.compile(
    r"(?<!\be\.g)(?<!\bi\.e)(?<!\betc)(?<!\bvs)(?<!\bcf)(?<!\bNo)(?<=[.!?])\s+(?=[^a-z])|\n\s*\n|\n(?=\s*[-*\u2022#>])"
)
_LINK = re.compile(r"\[([^\]\n]*)\]\([^)\s]*\)")
# A part with one of these says what no name and no type does: values, units, formats, conditions.
_FACT = re.compile(
    r"[`'\"$@={}]|\d|\b(?:must|only|never|cannot|can't|always|requires?d?|default|formats?|one of|e\.g|example|valid|allowed|"
    r"supported|possible|units?|seconds?|minutes?|bytes|ISO|UTC|not|instead|before|first|until|unless)\b"
)
# A part that only points elsewhere.
_POINTER = re.compile(
    r"^\W*(?:for (?:more|further)\b.{0,80}\bsee\b|see (?:also\b|https?:|the docs)|references?: https?:|learn more)",
    re.IGNORECASE,
)


# The same cards are written for many tasks, and of a card its description takes most.
@lru_cache(maxsize=2_048)
def condense(text: str, limit: int) -> str:
    """Return a description on one line, without what it repeats; where it is too long, without what says least.

    The first sentence stays, then those that have values, formats, units or conditions, then the others. `…` says that
    something is left out.

    Args:
        text: A description, in Markdown or plain.
        limit: Characters at most.
    """
    pieces = _PART_END.split(_LINK.sub(r"\1", text.strip()[: limit * 20]))
    lines = [one_line(re.sub(r"^\s*(?:[-*\u2022>]|#+)\s+", "", piece), limit) for piece in pieces]
    parts = list(dict.fromkeys(line for line in lines if line and not _POINTER.match(line)))
    order = sorted(range(1, len(parts)), key=lambda number: (not _FACT.search(parts[number]), number))
    numbers, rest = [0], limit - len(parts[0]) if parts else 0
    for number in order:
        if (room := len(parts[number]) + 1) <= rest:
            numbers.append(number)
            rest -= room
    shown = " ".join(parts[number] for number in sorted(numbers)) if parts else ""
    return f"{shown} …" if len(numbers) < len(parts) and not shown.endswith("…") else shown


def suggest(name: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'?" with the known name that is spelled most like this one, or an empty string."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {close[0]!r}?" if close else ""
