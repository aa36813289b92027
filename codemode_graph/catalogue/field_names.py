"""The keys of a result that are names of fields, told from those that are data.

Keys may be anything that a service knows: ids, people, addresses, secrets. A key is learned only where something other than
the result speaks for it: each of its words is one of which names of fields are made anywhere (`field_words.txt`), or stands
in the tool's own name, description or arguments. So no key tells anything that was not known before the call.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from codemode_graph.catalogue.merge import LONGEST_NAME
from codemode_graph.tools.spec import ToolSpec

_NAME = re.compile(r"[@$_]{0,2}[A-Za-z][A-Za-z0-9]*(?:[-_.:/ @$]{1,2}[A-Za-z0-9]+)*_?")
_PART = re.compile(r"[A-Za-z0-9]+")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
# What follows another word without a sign between: `userid`, `createdat`.
_ENDINGS = ("ids", "id", "at", "by", "on", "name", "type", "url", "code", "date", "time", "count", "number")
_READ = 8_000
_MOST_SPACED = 4  # words of a name with spaces between them


class FieldNames:
    """The words that names of fields in one tool's results may have.

    Args:
        spec: The tool.
    """

    def __init__(self, spec: ToolSpec) -> None:
        text = " ".join(_texts(spec))[:_READ]
        words = {word for part in _PART.findall(text) for word in (part.lower(), *_split(part))}
        # A number in a description speaks for no key, and a letter for too many.
        self._own = {word for word in words if len(word) > 1 and word[0].isalpha()}

    def is_known(self, key: str) -> bool:
        """Tell whether each word of a key is one of which names of fields are made."""
        # A letter is a unit behind other words, and alone a coordinate or nothing.
        if len(key) > LONGEST_NAME or not _NAME.fullmatch(key) or (len(key) == 1 and key not in "hwxyz"):
            return False
        # A key of several words with spaces may be a sentence, which a card would show to a model.
        if key.count(" ") >= _MOST_SPACED:
            return False
        return all(
            self._has(part.lower()) or all(self._has(word) for word in _split(part)) for part in _PART.findall(key)
        )

    def _has(self, word: str) -> bool:
        if word in self._own or f"{word}s" in self._own or _is_field_word(word):
            return True
        return any(word.endswith(end) and _is_field_word(word.removesuffix(end)) for end in _ENDINGS)


def _split(part: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(part)]


def _texts(spec: ToolSpec) -> Iterator[str]:
    yield spec.own_name or spec.name
    yield spec.description
    yield from _names(spec.input_schema)


def _names(schema: object, depth: int = 0) -> Iterator[str]:
    """Yield the names of arguments and their descriptions; examples and defaults may be data."""
    if depth > 4 or not isinstance(schema, Mapping):
        return
    properties: Any = schema.get("properties")
    for name, each in properties.items() if isinstance(properties, Mapping) else ():
        yield str(name)
        if isinstance(each, Mapping) and isinstance(text := each.get("description"), str):
            yield text
        yield from _names(each, depth + 1)


@cache
def _field_words() -> frozenset[str]:
    lines = files(__package__).joinpath("field_words.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def _is_field_word(word: str) -> bool:
    # Not cached: words come from results, without end.
    words = _field_words()
    return word in words or word.removesuffix("s") in words or (word.endswith("ies") and f"{word[:-3]}y" in words)
