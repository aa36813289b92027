"""The words of queries and tools: their stems, and the words by which tools may say what a query says in others.

A word of a query stands for itself, and at less weight for its synonyms (`synonyms.txt`), for words of the same root
("assignment" and "assign"), and for those that it begins or that begin it ("config" and "configuration"). One that no tool has
stands for the word that it may be a slip of.
"""

import bisect
import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

# Weights beside a word's own of 1. Chosen on questions of benchmarks/catalogue that are not kept back, and on others' tools.
_SYNONYM = 0.5
_SAME_ROOT = 0.5
_PREFIX = 0.4
_SLIP = 0.5
_SHORTEST_PREFIX = 4
_SHORTEST_LONGER = 5
_LONGEST_SLIP = 40
# Words of a query that are looked up: a whole task may be asked for, and its later words tell little more.
_MOST_WORDS = 100

# Longest first, so that "-ation" goes before "-ion".
_DERIVED = (
    *("ation", "ition", "ment", "ance", "ence", "able", "ible", "tion", "sion"),
    *("ion", "ive", "ity", "age", "er", "or", "al", "ly", "at"),
)
_CHANGES = """
    accept add approve assign block cancel clear close convert copy create delete disable dismiss duplicate edit enable fork
    grant import insert install invite lock make merge modify move new post publish put remove rename replace reply rerun retry
    revoke run save send set share star start stop submit subscribe trigger uninstall update upgrade upload write
"""


class Vocabulary:
    """The words of some tools, and which of them a query may mean.

    Args:
        words: The words of all tools, as `split_words` gives them.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._words = frozenset(words)
        self._sorted = sorted(self._words)
        self._roots = defaultdict[str, list[str]](list)
        for word in self._sorted:
            self._roots[_root(word)].append(word)

    def concepts(self, query: str) -> list[dict[str, float]]:
        """Return what a query asks for: for each word or phrase of it, words that tools may have, with their weights."""
        every = _raw(query)[: 2 * _MOST_WORDS]
        stems, found = [_stem(word) for word in every], list[dict[str, float]]()
        for size in (2, 3):
            for turn in zip(*(stems[shift:] for shift in range(size)), strict=False):
                if targets := _synonyms().get(" ".join(turn)):
                    found.append(dict.fromkeys(targets, 1.0))
        words = [_stem(word) for word in every if word not in _stop_words()]
        words += map(_stem, _joined(query))
        return [*found, *map(self._expand, list(dict.fromkeys(words))[:_MOST_WORDS])]

    def _expand(self, word: str) -> dict[str, float]:
        found = {word: 1.0}
        for each in _synonyms().get(word, ()):
            found.setdefault(each, _SYNONYM)
        for each in self._roots.get(_root(word), ()):
            found.setdefault(each, _SAME_ROOT)
        for each in self._near(word):
            found.setdefault(each, _PREFIX)
        if len(found) == 1 and word not in self._words and _SHORTEST_LONGER <= len(word) <= _LONGEST_SLIP:
            # A slip is rarely in the first letter, and all words of thousands of tools would take long.
            others = self._sorted[bisect.bisect_left(self._sorted, word[0]) :]
            end = bisect.bisect_left(others, chr(ord(word[0]) + 1))
            found |= dict.fromkeys(difflib.get_close_matches(word, others[:end], 2, cutoff=0.85), _SLIP)
        return found

    def _near(self, word: str) -> list[str]:
        """Return the words that begin with a word, or that it begins with."""
        found = [
            word[:size] for size in range(_SHORTEST_LONGER, min(len(word), _LONGEST_SLIP)) if word[:size] in self._words
        ]
        if len(word) >= _SHORTEST_PREFIX:
            start = bisect.bisect_right(self._sorted, word)
            found += self._sorted[start : bisect.bisect_left(self._sorted, f"{word}\U0010ffff")]
        return found


def changes_something(concepts: Iterable[Mapping[str, float]]) -> bool:
    """Tell whether a query has a word for something that is done, and not only for something that is looked at."""
    return any(weight >= _SYNONYM and word in _changes() for each in concepts for word, weight in each.items())


def split_words(text: str) -> list[str]:
    """Return the stems of a text's words: of names such as `listPulls` too, and without those that say nothing."""
    return [_stem(word) for word in _raw(text) if word not in _stop_words()]


def _raw(text: str) -> list[str]:
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text)
    return re.findall(r"[^\W_]+", spaced.lower())


def _joined(query: str) -> list[str]:
    """Return the words that a query writes with a dash and names of tools without one: `todo` for `to-do`."""
    # One without a dash is matched too: a pattern that leaves it tries each of its letters as a beginning.
    dashed = [word for word in re.findall(r"[^\W_]+(?:-[^\W_]+)*", query.lower()) if "-" in word]
    # Other parts stand for themselves; these are no words of their own, or are left out.
    return [
        word.replace("-", "")
        for word in dashed
        if any(len(part) < 3 or part in _stop_words() for part in word.split("-"))
    ]


def _stem(word: str) -> str:
    for ending in ("ings", "ing", "ies", "ied", "es", "ed", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word.removesuffix(ending) + ("y" if ending in ("ies", "ied") else "")
            break
    # "cancelled" and "cancel", "running" and "run": and so "pull" is "pul" everywhere.
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiou":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 4 else word


def _root(word: str) -> str:
    for ending in _DERIVED:
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word.removesuffix(ending)
    return word


def _lines(name: str) -> list[str]:
    lines = files(__package__).joinpath(name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@cache
def _stop_words() -> frozenset[str]:
    return frozenset(word for line in _lines("stop_words.txt") for word in line.split())


@cache
def _changes() -> frozenset[str]:
    return frozenset(map(_stem, _CHANGES.split()))


@cache
def _synonyms() -> dict[str, list[str]]:
    """Return the words that a word finds, by its stem; those of a phrase by its stems with a space between."""
    found: dict[str, list[str]] = {}
    for line in _lines("synonyms.txt"):
        sources, arrow, targets = line.partition(" > ")
        words = [" ".join(map(_stem, word.split("_"))) for word in sources.split()]
        others = list(map(_stem, targets.split())) if arrow else words
        for word in words:
            found.setdefault(word, []).extend(each for each in others if each != word)
    return found
