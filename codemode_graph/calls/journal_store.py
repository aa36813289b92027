"""What a killed process leaves of its calls: those with an effect, written to a store before and after they are made."""

from collections.abc import Iterable

from langgraph.store.base import BaseStore, Item

from codemode_graph.state import ToolCall

__all__ = ["JournalStore", "identity"]

_PAGE = 1000


class JournalStore:
    """The calls of one run in a store.

    Args:
        store: None keeps nothing.
        run_id: Keeps the calls of different runs apart.
    """

    def __init__(self, store: BaseStore | None, run_id: str) -> None:
        self._store, self._namespace = store, ("codemode", "journal", run_id)

    async def write(self, record: ToolCall) -> None:
        """Store how far a call has got. One that reads is not stored."""
        if self._store is not None and record["effect"] != "read":
            await self._store.aput(self._namespace, " ".join(identity(record)), dict(record), index=False)

    async def newer(self, records: Iterable[ToolCall]) -> list[ToolCall]:
        """Give what is stored of calls that are not among these records, or have got further than these say."""
        known = {identity(record): record for record in records}
        found = [ToolCall(**item.value) for item in await self._stored()]  # type: ignore[typeddict-item]
        return [each for each in found if identity(each) not in known or _precedes(known[identity(each)], each)]

    async def _stored(self) -> list[Item]:
        found: list[Item] = []
        if self._store is not None:
            while page := await self._store.asearch(self._namespace, limit=_PAGE, offset=len(found)):
                found += page
                if len(page) < _PAGE:
                    break
        return found


def identity(record: ToolCall) -> tuple[str, str]:
    """What tells a record from all others, also where a program goes another way and gives its number to another call."""
    return record["id"], record["key"]


def _precedes(known: ToolCall, found: ToolCall) -> bool:
    """Whether a call went on, or was begun anew, after the first of these records of it was kept."""
    if known["started"] == found["started"]:
        return known["status"] == "started"
    return known["started"] < found["started"]
