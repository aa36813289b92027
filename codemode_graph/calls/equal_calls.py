"""The number of a call among equal calls, and the effects that a program has been told of."""

import hashlib
from collections.abc import Iterator
from itertools import chain, count

from codemode_graph.calls.view import Identity, Record, View
from codemode_graph.tools.spec import ToolSpec


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
    """

    def __init__(self, view: View, session: int) -> None:
        self._view, self._session = view, session
        self._used: dict[tuple[str, str], set[int]] = {}
        self._retries: dict[tuple[str, str], list[int]] = {}
        self._free: dict[tuple[str, str], Iterator[int]] = {}
        self._known = KnownEffects()

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
