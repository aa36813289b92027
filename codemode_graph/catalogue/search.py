"""The index of tools: those that fit some words best, best first.

Names, the first sentences of descriptions and the rest of them, with what is said of arguments, are ranked by BM25 of SQLite's
FTS5 with weights of their own. Each word of a query counts by the best of the words that a tool may have for it, see
`query_words`. A tool counts more the more of its name the query covers: among `delete_branch` and `delete_branch_protection`,
"delete a branch" means the first. One that only reads counts more where the query has no word for a change. With embeddings,
both orders are joined by their ranks.
"""

import math
import re
import sqlite3
import threading
import weakref
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings

from codemode_graph.catalogue.query_words import Vocabulary, changes_something, split_words
from codemode_graph.tools.spec import ToolSpec
from codemode_graph.tools.text import first_sentence

if TYPE_CHECKING:
    from langchain_core.vectorstores import VectorStore

# Chosen on questions of benchmarks/catalogue that are not kept back, and on questions and tools of a public benchmark.
_WEIGHTS = (6.0, 3.0, 1.0)
_NAME_WEIGHT = 3.0
# Words of a query up to which its names count in full: a long one has words of many names by chance.
_SHORT_QUERY = 4
_READ_WEIGHT = 0.3
# Characters of a description behind its first sentence: what follows is mostly about permissions and formats. And of what is
# said of an argument, and its allowed values.
_REST = 600
_ARGUMENT = 120
_ARGUMENTS = 60
_VALUES = 20
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
        fields = [_fields(spec) for spec in self._specs]
        self._names = [frozenset(name) for name, _, _ in fields]
        self._vocabulary = Vocabulary(word for each in fields for part in each for word in part)
        counts = Counter(word for name in self._names for word in name)
        self._rarity = {word: math.log(1 + len(self._names) / (1 + count)) for word, count in counts.items()}
        self._totals = [sum(map(self._rarity.__getitem__, name)) for name in self._names]
        self._embeddings = embeddings
        self._vectors: VectorStore | None = None
        # Searches come from threads: SQLite's own lock is for one statement, the vectors are made once.
        self._lock = threading.Lock()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        weakref.finalize(self, self._database.close)
        self._database.execute("create virtual table tools using fts5(name, title, rest, detail=column)")
        rows = [tuple(map(" ".join, each)) for each in fields]
        self._database.executemany("insert into tools values (?, ?, ?)", rows)

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
        concepts = self._vocabulary.concepts(query)
        scores, known = defaultdict[int, float](float), set[str]()
        for concept in concepts:
            best: dict[int, float] = {}
            for word, weight in concept.items():
                for number, score in self._ranked(word):
                    # The best word alone: a tool that has many of one meaning fits no better.
                    best[number] = max(best.get(number, 0.0), weight * score)
            for number, score in best.items():
                scores[number] += score
            known |= concept.keys()
        by_name = _NAME_WEIGHT * min(1, _SHORT_QUERY / max(1, len(concepts)))
        prefers_reads = not changes_something(concepts)
        for number in scores:
            scores[number] *= 1 + by_name * self._cover(number, known)
            if prefers_reads and self._specs[number].effect_in_force == "read":
                scores[number] *= 1 + _READ_WEIGHT
        return sorted(scores, key=lambda number: (-scores[number], number))

    def _ranked(self, word: str) -> list[tuple[int, float]]:
        return self._database.execute(
            "select rowid - 1, -bm25(tools, ?, ?, ?) from tools where tools match ?", (*_WEIGHTS, f'"{word}"')
        ).fetchall()

    def _cover(self, number: int, words: set[str]) -> float:
        """Return the share of a tool's name that words make up, rare words counting more."""
        common = self._names[number] & words
        return sum(map(self._rarity.__getitem__, common)) / self._totals[number] if common else 0.0

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


def _fields(spec: ToolSpec) -> tuple[list[str], list[str], list[str]]:
    description = _LINK.sub("]", spec.description[:10_000])
    title = first_sentence(description, 400).removesuffix("…")
    rest = " ".join(description.split())[len(title) :][:_REST]
    properties = spec.input_schema.get("properties")
    arguments = _arguments(properties) if isinstance(properties, Mapping) else ""
    return split_words(f"{_place(spec)} {spec.name}"), split_words(title), split_words(f"{rest} {arguments}")


def _arguments(properties: Mapping[str, Any]) -> str:
    """Return the names of arguments, and the beginning of what is said of them."""
    found: list[str] = []
    for name, schema in list(properties.items())[:_ARGUMENTS]:
        found.append(str(name))
        if isinstance(schema, Mapping):
            found.append(str(schema.get("description") or "")[:_ARGUMENT])
            values = schema.get("enum")
            found += map(str, values[:_VALUES] if isinstance(values, list) else ())
    return " ".join(found)


def _place(spec: ToolSpec) -> str:
    """Return the name of the MCP server that a tool is from: "kubernetes" is said in no description of its tools."""
    return spec.source.removeprefix("mcp:") if spec.source.startswith("mcp:") else ""
