"""Which of several identical calls a call is, so that a repaired program meets the right records."""

from collections.abc import Iterable, Iterator
from itertools import chain, count

from codemode_graph.state import ToolCall

__all__ = ["Occurrences", "call_digest", "newest", "occurrence"]

_WITHOUT_EFFECT = ("failed", "not_started")


class Occurrences:
    """Numbers the identical calls of one attempt.

    A number stands for something that is to happen once. So a call that the program makes again after it was told an
    error keeps its number: it is the same call, tried again. The calls of a repaired program first meet those of earlier
    attempts that may have taken effect; what failed for good comes last.

    Args:
        records: What the attempt finds in the journal.
        attempt: Its number.
    """

    def __init__(self, records: Iterable[ToolCall], attempt: int) -> None:
        self._earlier: dict[str, dict[int, bool]] = {}
        for record in records:
            if record["attempt"] < attempt:
                known = self._earlier.setdefault(call_digest(record["key"]), {})
                # What was found out in this attempt does not change the order that it began with.
                open_then = record.get("disproved") == attempt
                known[occurrence(record["key"])] = open_then or record["status"] not in _WITHOUT_EFFECT
        self._taken: dict[str, set[int]] = {}
        self._free: dict[str, Iterator[int]] = {}
        self._to_try_again: dict[str, list[int]] = {}
        self._open: dict[int, tuple[str, int]] = {}

    def take(self, call: int, digest: str, *, recorded: int | None = None) -> int:
        """Give a call its number among its like.

        Args:
            call: The attempt's call.
            digest: Equal for identical calls.
            recorded: The number that it had when this program ran before.
        """
        again = self._to_try_again.get(digest, [])
        taken = self._taken.setdefault(digest, set())
        if recorded is not None:
            number = recorded
        elif again:
            number = min(again)
        else:
            number = next(each for each in self._numbers(digest) if each not in taken)
        if number in again:
            again.remove(number)
        taken.add(number)
        self._open[call] = digest, number
        return number

    def told(self, call: int, *, error: bool) -> None:
        """Note that the program goes on with a call's outcome, or that it gave the call up, which is an error."""
        if (known := self._open.pop(call, None)) is not None and error:
            digest, number = known
            self._to_try_again.setdefault(digest, []).append(number)

    def _numbers(self, digest: str) -> Iterator[int]:
        if digest not in self._free:
            earlier = self._earlier.get(digest, {})
            first = sorted(earlier, key=lambda number: (not earlier[number], number))
            self._free[digest] = chain(first, (number for number in count(1) if number not in earlier))
        return self._free[digest]


def call_digest(key: str) -> str:
    """What the keys of identical calls have in common."""
    return key.rpartition(":")[2]


def occurrence(key: str) -> int:
    """A key's number among those of identical calls."""
    return int(key.rpartition(":")[0].rpartition("#")[2])


def newest(records: Iterable[ToolCall]) -> list[ToolCall]:
    """The newest record of each call: what became of it in the end."""
    return list({record["key"]: record for record in records}.values())
