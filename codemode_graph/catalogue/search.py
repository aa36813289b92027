"""The index of tools: those that fit some words best, best first.

Names, the first sentences of descriptions and the rest of them are ranked by BM25 of SQLite's FTS5 with weights of their own.
Synonyms count less than the words themselves, and a tool counts more the more of its name the words cover: among
`delete_branch` and `delete_branch_protection`, "delete a branch" means the first. With embeddings, both orders are joined by
their ranks.
"""

import math
import re
import sqlite3
import threading
import weakref
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from langchain_core.embeddings import Embeddings

from codemode_graph.tools.spec import ToolSpec
from codemode_graph.tools.text import first_sentence

if TYPE_CHECKING:
    from langchain_core.vectorstores import VectorStore

__all__ = ["ToolIndex"]

# Chosen on the questions of benchmarks/catalogue: `python -m benchmarks.catalogue` prints what they find.
_WEIGHTS = (3.0, 2.0, 0.7)
_SYNONYM_WEIGHT = 0.25
_NAME_WEIGHT = 3.0
# Characters of a description behind its first sentence: what follows is mostly about permissions and formats.
_REST = 600
# Of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): the constant of the paper.
_FUSION = 60
_LINK = re.compile(r"\]\([^)\s]*\)")


class ToolIndex:
    """Finds tools by what they do.

    Args:
        specs: The tools.
        embeddings: Ranks them by meaning as well. It is asked once for all tools, and once for each search.
    """

    def __init__(self, specs: Iterable[ToolSpec], *, embeddings: Embeddings | None = None) -> None:
        self._specs = list(specs)
        self._names = [frozenset(_words(f"{_place(spec)} {spec.name}")) for spec in self._specs]
        counts = Counter(word for name in self._names for word in name)
        self._rarity = {word: math.log(1 + len(self._names) / (1 + count)) for word, count in counts.items()}
        self._embeddings = embeddings
        self._vectors: VectorStore | None = None
        # Searches come from threads: SQLite's own lock is for one statement, the vectors are made once.
        self._lock = threading.Lock()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        weakref.finalize(self, self._database.close)
        self._database.execute("create virtual table tools using fts5(name, title, rest, detail=column)")
        self._database.executemany("insert into tools values (?, ?, ?)", map(_fields, self._specs))

    def search(self, query: str, *, limit: int = 8) -> list[ToolSpec]:
        """Return the tools that fit best, best first. Tools that share no word with the query are left out.

        Args:
            query: Any words: what the tool is to do, in any order.
            limit: Tools at most.
        """
        with self._lock:
            order = self._by_words(query)
            if self._embeddings is not None:
                order = _join(order, self._by_meaning(query, self._embeddings))
        return [self._specs[number] for number in order[: max(0, limit)]]

    def _by_words(self, query: str) -> list[int]:
        words = list(dict.fromkeys(_words(f"{query} {' '.join(_joined(query))}")))
        synonyms = list(
            dict.fromkeys(each for word in words for each in _synonyms().get(word, ()) if each not in words)
        )
        scores = defaultdict(float, self._ranked(words))
        for number, score in self._ranked(synonyms).items():
            scores[number] += _SYNONYM_WEIGHT * score
        known = {*words, *synonyms}
        for number in scores:
            scores[number] *= 1 + _NAME_WEIGHT * self._cover(self._names[number], known)
        return sorted(scores, key=lambda number: (-scores[number], number))

    def _ranked(self, words: Sequence[str]) -> dict[int, float]:
        if not words:
            return {}
        rows = self._database.execute(
            "select rowid - 1, -bm25(tools, ?, ?, ?) from tools where tools match ?",
            (*_WEIGHTS, " OR ".join(f'"{word}"' for word in words)),
        )
        return dict(rows.fetchall())

    def _cover(self, name: frozenset[str], words: set[str]) -> float:
        total = sum(self._rarity[word] for word in name)
        return sum(self._rarity[word] for word in name & words) / total if total else 0.0

    def _by_meaning(self, query: str, embeddings: Embeddings) -> list[int]:
        if self._vectors is None:
            # It imports numpy, which nothing else here needs.
            from langchain_core.vectorstores import InMemoryVectorStore

            self._vectors = InMemoryVectorStore(embeddings)
            texts = [f"{spec.name}: {first_sentence(spec.description, 400)}" for spec in self._specs]
            self._vectors.add_texts(texts, metadatas=[{"number": number} for number in range(len(texts))])
        found = self._vectors.similarity_search(query, k=len(self._specs))
        return [document.metadata["number"] for document in found]


def _join(*orders: Sequence[int]) -> list[int]:
    scores: defaultdict[int, float] = defaultdict(float)
    for order in orders:
        for rank, number in enumerate(order):
            scores[number] += 1 / (_FUSION + rank)
    return sorted(scores, key=lambda number: (-scores[number], number))


def _fields(spec: ToolSpec) -> tuple[str, str, str]:
    description = _LINK.sub("]", spec.description[:10_000])
    title = first_sentence(description, 400).removesuffix("…")
    rest = " ".join(description.split())[len(title) :][:_REST]
    arguments = " ".join(map(str, spec.input_schema.get("properties", {})))
    return (
        " ".join(_words(f"{_place(spec)} {spec.name}")),
        " ".join(_words(title)),
        " ".join(_words(f"{rest} {arguments}")),
    )


def _place(spec: ToolSpec) -> str:
    """Return the name of the MCP server that a tool is from: "kubernetes" is said in no description of its tools."""
    return spec.source.removeprefix("mcp:") if spec.source.startswith("mcp:") else ""


def _words(text: str) -> list[str]:
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text)
    return [_stem(word) for word in re.findall(r"[^\W_]+", spaced.lower()) if word not in _stop_words()]


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
    for ending in ("ations", "ation", "ings", "ing", "ies", "ied", "es", "ed", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending) + ("y" if ending in ("ies", "ied") else "")
            break
    return word.removesuffix("e") if len(word) > 4 else word


def _read_groups(name: str) -> list[list[str]]:
    lines = files(__package__).joinpath(name).read_text(encoding="utf-8").splitlines()
    return [line.split() for line in lines if not line.startswith("#")]


@cache
def _stop_words() -> frozenset[str]:
    return frozenset(word for group in _read_groups("stop_words.txt") for word in group)


@cache
def _synonyms() -> dict[str, set[str]]:
    groups: dict[str, set[str]] = {}
    for words in _read_groups("synonyms.txt"):
        group = {_stem(word) for word in words}
        for word in group:
            groups.setdefault(word, set()).update(group - {word})
    return groups
