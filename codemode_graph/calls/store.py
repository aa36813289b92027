"""A journal in a LangGraph store: for LangGraph Server, whose store is what all of its workers share."""

import asyncio
import dataclasses
import json
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from langgraph.store.base import BaseStore, GetOp, Item, Op, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from codemode_graph.calls.journal import Conflict, JournalError, RunInfo, describe, hash_of
from codemode_graph.calls.log import Event, dump_events, load_events

__all__ = ["StoreJournal"]

ROOT = "codemode_journal"
WINDOW = 100
"""Batches that are asked for at a time."""
ALL = 1_000_000
"""A search's limit. Pages by offset lose items while others write, as stores sort them by the time of change."""
HOUR = 3600

_appending: set[tuple[int, str, int]] = set()
_lock = threading.Lock()


class StoreJournal:
    """Keeps the events of runs in a LangGraph store.

    A store cannot refuse a write because of what it holds, so the journal is not fenced: of two processes that append to a
    run at the same time, both may be told that they did, and one is lost. Within one process this cannot happen.

    A batch of events is an item, and its key the number of its first event. A reader knows each next key, so it asks for
    items by key and never pages through a search.

    Attributes:
        durable: False for an `InMemoryStore`; other stores last as long as what they write to.
    """

    fenced = False

    def __init__(self, store: BaseStore) -> None:
        """Take a store. It is used in the event loop of the caller, where the store itself allows several."""
        self.store = store
        self.durable = not isinstance(store, InMemoryStore)

    def __repr__(self) -> str:
        return f"StoreJournal({type(self.store).__name__})"

    async def append(self, run: str, expected: int, events: Sequence[Event]) -> int:
        """Append events to a run. See `Journal.append`."""
        # Within one process this set is the fence that the store itself lacks.
        place = (id(self.store), run, expected)
        with _lock:
            if place in _appending:
                raise Conflict(f"another task appends to run {run} after event {expected}")
            _appending.add(place)
        try:
            return await self._append(run, expected, events)
        finally:
            _appending.discard(place)

    async def _append(self, run: str, expected: int, events: Sequence[Event]) -> int:
        text = dump_events(events)
        where = _namespace(run)
        head, same = await self._batch(GetOp(where, "info"), GetOp(where, _key(expected + 1)))
        info = RunInfo.of_json(head.value["info"]) if head is not None else None
        length = info.length if info is not None else 0
        if same is not None or length != expected:
            # A process that died after the batch was written, and two that wrote at one time, leave another length behind.
            length = sum(item.value["count"] for item in await self._chain(run))
            if length != expected:
                raise Conflict(f"run {run} has {length} events, not {expected}")
        info = dataclasses.replace(describe(run, events, info), length=expected + len(events))
        puts = [
            _put(where, _key(expected + 1), {"count": len(events), "events": text}),
            _put(where, "info", {"info": json.dumps(dataclasses.asdict(info))}),
        ]
        if expected == 0:
            puts.append(_put(_opened(info), hash_of(run), {"run": json.dumps(run)}))
        if expected == 0 and info.closed is None:
            puts.append(_put(_open(info), hash_of(run), {"run": json.dumps(run)}))
        elif info.closed is not None:
            puts.append(PutOp(_open(info), hash_of(run), None))
        await self._batch(*puts)
        return info.length

    async def read(self, run: str, after: int = 0) -> list[Event]:
        """Return events of a run. See `Journal.read`."""
        items = await self._chain(run, after)
        start = after
        if not items and after:
            items, start = await self._chain(run), 0
        events = [event for item in items for event in load_events(item.value["events"])]
        return events[after - start :]

    async def find(self, thread: str, namespace: str, digest: str) -> list[RunInfo]:
        """Return the open runs of one input. See `Journal.find`."""
        input = RunInfo(run="", thread=thread, namespace=namespace, digest=digest)
        items = sorted(await self._search(_open(input)), key=lambda item: (item.created_at, item.key))
        return [info for info in await self._infos(items) if info.closed is None]

    async def runs(self, *, before: RunInfo | None = None, limit: int = 100) -> list[RunInfo]:
        """Return runs, the newest first. See `Journal.runs`."""
        spaces = await self._call(self.store.alist_namespaces(prefix=(ROOT, "runs"), max_depth=3, limit=ALL))
        found: list[RunInfo] = []
        for space in sorted(set(spaces), reverse=True):
            if before is not None and space > _opened(before):
                continue
            infos = await self._infos(await self._search(space))
            infos.sort(key=lambda info: info.rank, reverse=True)
            found += [info for info in infos if before is None or info.rank < before.rank]
            if len(found) >= limit:
                break
        return found[:limit]

    async def keep(self, run: str, text: str) -> str:
        """Keep a large value. See `Journal.keep`."""
        hash = hash_of(text)
        # As JSON in ASCII: a database's text cannot hold every character.
        await self._batch(_put((*_namespace(run), "values"), hash, {"text": json.dumps(text)}))
        return hash

    async def load(self, run: str, hash: str) -> str:
        """Return a value. See `Journal.load`."""
        (item,) = await self._batch(GetOp((*_namespace(run), "values"), hash))
        if item is None:
            raise KeyError(hash)
        return str(json.loads(item.value["text"]))

    async def delete(self, run: str) -> None:
        """Remove a run. See `Journal.delete`."""
        (head,) = await self._batch(GetOp(_namespace(run), "info"))
        ops = [PutOp(item.namespace, item.key, None) for item in await self._search(_namespace(run))]
        if head is not None:
            info = RunInfo.of_json(head.value["info"])
            ops += [PutOp(_opened(info), hash_of(run), None), PutOp(_open(info), hash_of(run), None)]
        if ops:
            await self._batch(*ops)

    async def notes(self, topic: str) -> dict[str, str]:
        """Return the texts of a topic. See `Notes.notes`."""
        items = await self._search((ROOT, "notes", hash_of(topic)))
        return {str(json.loads(item.value["key"])): str(json.loads(item.value["note"])) for item in items}

    async def note(self, topic: str, key: str, text: str | None) -> None:
        """Keep a text, or remove it. See `Notes.note`."""
        where, name = (ROOT, "notes", hash_of(topic)), hash_of(key)
        if text is None:
            await self._batch(PutOp(where, name, None))
        else:
            await self._batch(_put(where, name, {"key": json.dumps(key), "note": json.dumps(text)}))

    async def aclose(self) -> None:
        """Do nothing: the store belongs to others."""

    async def _chain(self, run: str, after: int = 0) -> list[Item]:
        """Return the batches that follow the first `after` events, each the one that the last leads to."""
        where = _namespace(run)
        items: list[Item] = []
        while True:
            start = after
            window = await self._batch(*(GetOp(where, _key(start + 1 + step)) for step in range(WINDOW)))
            while after - start < WINDOW and (item := window[after - start]) is not None:
                items.append(item)
                after += item.value["count"]
            if after - start < WINDOW:
                return items

    async def _infos(self, items: Iterable[Item]) -> list[RunInfo]:
        runs = [json.loads(item.value["run"]) for item in items]
        heads = await self._batch(*(GetOp(_namespace(run), "info") for run in runs)) if runs else []
        return [RunInfo.of_json(head.value["info"]) for head in heads if head is not None]

    async def _search(self, prefix: tuple[str, ...]) -> list[Item]:
        for _ in range(10):
            try:
                (items,) = await self._batch(SearchOp(prefix, limit=ALL))
            except JournalError as error:
                # LangGraph's store in memory walks over a dict that other threads change.
                if not isinstance(error.__cause__, RuntimeError):
                    raise
                await asyncio.sleep(0.001)
            else:
                return list(items)
        raise JournalError("the store changed each time that it was searched")

    async def _batch(self, *ops: Op) -> list[Any]:
        return list(await self._call(self.store.abatch(ops)))

    async def _call(self, call: Any) -> Any:
        try:
            return await call
        except Exception as error:
            raise JournalError(f"the journal's {type(self.store).__name__} cannot be used: {error}") from error


# Texts that come from users are hashed where they are part of a namespace: it allows no dots and no empty labels.
def _namespace(run: str) -> tuple[str, ...]:
    return ROOT, "run", hash_of(run)


def _open(info: RunInfo) -> tuple[str, ...]:
    # By the whole input: an agent's thread may have many runs that are open, each of another program.
    return ROOT, "open", hash_of(json.dumps([info.thread, info.namespace, info.digest]))


def _opened(info: RunInfo) -> tuple[str, ...]:
    return ROOT, "runs", f"{max(0, int(info.opened // HOUR)):010d}"


def _key(first: int) -> str:
    return f"{first:010d}"


def _put(namespace: tuple[str, ...], key: str, value: dict[str, Any]) -> PutOp:
    return PutOp(namespace, key, value, index=False)
