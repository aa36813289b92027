"""The effect of a tool that does not declare one: a read where its name and its arguments can mean nothing else."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from codemode_graph.tools.schema import Document, branches_of, mapping_at
from codemode_graph.tools.spec import Effect
from codemode_graph.tools.text import vocabulary

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


_READS = vocabulary("get list read search find show count describe fetch view lookup inspect peek is has exists")
_AFTER_A_PREFIX = frozenset({"get", "describe"})
"""Verbs that are no nouns, so that they say what is done also as the second word: `slack_get_users`, not `mark_read`."""

# A name with one of these may do more than read: `get_or_create`, `find_and_replace`, `list_add`. Words that are mostly nouns
# behind a verb (`get_post`, `list_merge_requests`, `get_run`) are not here.
_CHANGES = vocabulary(
    """
    and or then add append approve ack acknowledge archive assign buy cancel charge claim clear close commit
    consume create decrement delete destroy disable download drop edit enable exec execute expire forget increment
    insert install invoke kill lock make mark modify move next notify overwrite paid pay perform pop publish purge push
    put refresh register remove rename renew replace reserve reset restart restore resume rid rotate save send set
    store submit subscribe sync take toggle touch transfer trigger truncate undo unlock update upload upsert write
    """
)
# An argument with one of these may carry a statement, a body or a command, or have something changed beside.
_CARRIES = vocabulary(
    """
    ack acknowledge action archive blob body bytes claim clear cmd code command commit consume content contents
    create cypher data delete document eval execute expression formula graphql html input instruction instructions
    javascript json lambda lock mark markdown message method mutation operation overwrite patch payload pipeline
    procedure program prompt publish python queries query refresh remove reset run save script send shell sql
    statement statements stdin text update value values verb write xml yaml
    """
)
_NAMES_A_THING = vocabulary(
    "id ids iid uuid name names type types kind number count size status format language cursor"
)
"""Last words of arguments that only name something: `message_id`, `content_type`."""
_SEARCHES = frozenset({"search", "find", "lookup"})
_DATABASES = frozenset({"sql", "db", "database", "query", "queries", "table", "graph", "graphql", "cypher", "dataset"})
_DEPTH = 6


def infer_effect(name: str, schema: Mapping[str, Any]) -> Effect:
    """Return "read" for a tool that can do nothing else, as far as its name and its arguments say, else "write".

    Args:
        name: The tool's own name.
        schema: Its input schema.
    """
    words = _words(name)
    while words[:1] == ["api"] or (len(words) > 2 and words[0] not in _READS and words[1] in _AFTER_A_PREFIX):
        del words[0]
    if words[:2] == ["look", "up"]:
        words[:2] = ["lookup"]
    if not words or words[0] not in _READS or _CHANGES.intersection(words[1:]):
        return "write"
    harmless = {"query", "queries"} if words[0] in _SEARCHES and not _DATABASES.intersection(words) else set()
    for argument in _arguments(Document(schema), schema, _DEPTH):
        parts = [] if argument is None else _words(argument)
        names_a_thing = parts and parts[-1] in _NAMES_A_THING
        if argument is None or (not names_a_thing and (_CARRIES - harmless).intersection(parts)):
            return "write"
    return "read"


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _arguments(document: Document, schema: object, depth: int) -> Iterator[str | None]:
    """Yield the names of all arguments, those within objects too; None for an object that may hold anything."""
    flat = document.flat(schema)
    named = mapping_at(flat, "properties")
    nested = depth < _DEPTH
    if not depth or flat.get("additionalProperties") not in (None, False) or "patternProperties" in flat:
        yield None
        return
    if nested and flat.get("type") == "object" and not named:
        yield None
    for name, item in named.items():
        yield name
        yield from _arguments(document, item, depth - 1)
    items = flat.get("items")
    for each in [*branches_of(flat), *([items] if isinstance(items, Mapping) else [])]:
        yield from _arguments(document, each, depth - 1)
