"""The digest of a call and its number among equal calls, and the effects that a program has been told of."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count
from typing import Any

from codemode_graph.calls.view import Identity, Record, View
from codemode_graph.exact import encode
from codemode_graph.state import ToolCall
from codemode_graph.tools.canonical import canonical
from codemode_graph.tools.schema import without_defaults
from codemode_graph.tools.spec import ToolSpec

# `json.dumps` would make another one for each call.
_COMPACT = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


class KnownEffects:
    """The set of effects that a program has been told of, as a short text: equal sets have equal texts."""

    def __init__(self) -> None:
        self._identities: set[str] = set()
        self._sum = 0

    def add(self, identity: str) -> None:
        """Add an effect, by its identity."""
        if identity not in self._identities:
            self._identities.add(identity)
            # A sum, so that the order does not count, at the same cost for every call.
            number = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:16], "big")
            self._sum = (self._sum + number) % (1 << 128)

    @property
    def text(self) -> str:
        """Text that stands for the set."""
        return f"{self._sum:x}"


class EqualCalls:
    """Numbers the equal calls of one program in one session, and sums up what the program was told.

    Args:
        view: What has happened in the run.
        session: The session's number.
        others: Calls of other runs that equal calls are compared with.
    """

    def __init__(self, view: View, session: int, others: Iterable[ToolCall] = ()) -> None:
        self._view, self._session = view, session
        self._records = view.records[:]
        self._others = list(others)
        self._digests: dict[str, dict[str, str]] = {}
        self._used: dict[tuple[str, str], set[int]] = {}
        self._retries: dict[tuple[str, str], list[int]] = {}
        self._free: dict[tuple[str, str], Iterator[int]] = {}
        self._known = KnownEffects()

    def digest(self, tool: ToolSpec, arguments: Mapping[str, Any]) -> str:
        """Return what equal calls have in common, also where the tool has had other parameters when one was recorded.

        A deployment may give a tool a parameter with a default, or another type. Then the validated arguments of the same
        call are others, and it is known by what the program wrote. What a policy redacts is not recorded as it was written.
        """
        digest = digest_of(tool, arguments)
        if (tool.name, digest) in self._view.calls or tool.policy.redact or not (self._records or self._others):
            return digest
        if tool.name not in self._digests:
            self._digests[tool.name] = dict(self._written(tool.name))
        return self._digests[tool.name].get(_spelled(arguments), digest)

    def _written(self, tool: str) -> Iterator[tuple[str, str]]:
        """Iterate over the digests of earlier calls of a tool, each with the arguments as they were written."""
        for call in self._others:
            if call["tool"] == tool:
                yield _spelled(call["arguments"]), call.get("edited", call["key"]).rpartition(":")[2]
        for record in self._records:
            if record.event.tool != tool:
                continue
            # One that a person edited was made with other arguments than the program wrote.
            yield _spelled(record.event.arguments), record.event.edited or record.event.digest
            question = self._view.questions.get(record.event.question or "")
            if record.event.edited is not None and question is not None:
                yield _spelled(question["arguments"]), record.event.digest

    def occurrence(self, number: int, tool: ToolSpec, digest: str) -> int:
        """Return which of several equal calls this one is.

        A call that follows an error of an equal one is that call again. Otherwise effects that stand come before what
        failed: of two equal calls of which one failed, the one call of a repaired program is the one that took effect.
        """
        key = (tool.name, digest)
        used = self._used.setdefault(key, set())
        retries = self._retries.get(key, [])
        # In a restart the record under this number says which of the equal calls this one is.
        own = self._view.numbers.get((self._session, number))
        if isinstance(own, Record) and key == (own.identity.tool, own.identity.digest):
            occurrence = own.identity.occurrence
        elif retries:
            occurrence = min(retries)
        else:
            occurrence = next(each for each in self._numbers(key, tool) if each not in used)
        if occurrence in retries:
            retries.remove(occurrence)
        used.add(occurrence)
        return occurrence

    def _numbers(self, key: tuple[str, str], tool: ToolSpec) -> Iterator[int]:
        if key not in self._free:
            # Reads count from 1 in each session: no read must be kept from happening twice.
            known = self._view.calls.get(key, {}) if tool.has_effect else {}
            stands = {
                occurrence: any(record.stands for record in records)
                for occurrence, records in known.items()
                if any(record.session != self._session for record in records)
            }
            # Effects that stand first: a program that repeats one of two equal calls means the one that took effect.
            first = sorted(stands, key=lambda occurrence: (not stands[occurrence], occurrence))
            self._free[key] = chain(first, (each for each in count(1) if each not in stands))
        return self._free[key]

    def take(self, identity: Identity) -> None:
        """Reserve the number of a call whose arguments a person edited: no later call may have it."""
        self._used.setdefault(identity[:2], set()).add(identity.occurrence)

    def retry(self, identity: Identity) -> None:
        """Note that the program was told an error: an equal call that follows is that call again."""
        if identity.occurrence:
            self._retries.setdefault(identity[:2], []).append(identity.occurrence)

    def tell(self, identity: Identity) -> None:
        """Note that the program was told that an effect is done."""
        self._known.add(str(identity))

    @property
    def known_effects(self) -> str:
        """Text that stands for the set of effects that the program has been told of: T in the rules."""
        return self._known.text


def _spelled(arguments: Mapping[str, Any]) -> str:
    return _COMPACT.encode(encode(dict(arguments)))


def digest_of(tool: ToolSpec, arguments: Mapping[str, Any]) -> str:
    """Return what equal calls of a tool have in common: a digest of their validated arguments."""
    try:
        validated = arguments if tool.validate is None else tool.validate(arguments)
    except Exception:  # the tool will refuse them itself, in its own words
        validated = arguments
    if tool.validate is None:
        # Without a validator of its own, a tool is called alike with a default written out and with the default left
        # out.
        validated = without_defaults(tool.input_schema, arguments)
    text = _COMPACT.encode(canonical(validated))
    return hashlib.sha256(f"{tool.name}\0{text}".encode()).hexdigest()[:20]
