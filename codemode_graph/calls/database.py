"""A journal in tables: the schema and the statements that its siblings for SQLite and PostgreSQL share."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from codemode_graph.calls.journal import Conflict, JournalError, RunInfo, describe, hash_of
from codemode_graph.calls.log import Closed, Event, Opened, dump_events, load_events
from codemode_graph.calls.worker import Workers

SCHEMA_VERSION = 1
"""Of the tables. A database that a later version of this package made is refused."""

# A run's batches are its events, in order: `first` is the number of the first event of a batch, from 1. Of two that append
# after the same event, the primary key lets one through. `codemode_runs` is kept in the same transaction; its `info` has what
# a list of runs shows as JSON, so that there may be more of it without new tables.
SCHEMA = """
CREATE TABLE IF NOT EXISTS codemode_schema (version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS codemode_runs (
    id {serial},
    run TEXT NOT NULL UNIQUE,
    input TEXT NOT NULL,
    info TEXT NOT NULL,
    opened DOUBLE PRECISION NOT NULL,
    closed TEXT,
    length INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS codemode_runs_opened ON codemode_runs (opened, run);
CREATE INDEX IF NOT EXISTS codemode_runs_open ON codemode_runs (input, id) WHERE closed IS NULL;
CREATE TABLE IF NOT EXISTS codemode_batches (
    run TEXT NOT NULL,
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    events TEXT NOT NULL,{token}
    PRIMARY KEY (run, first)
){clustered};
CREATE TABLE IF NOT EXISTS codemode_values (
    run TEXT NOT NULL,
    hash TEXT NOT NULL,
    value {bytes} NOT NULL,
    PRIMARY KEY (run, hash)
);
CREATE TABLE IF NOT EXISTS codemode_notes (
    topic TEXT NOT NULL,
    key TEXT NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (topic, key)
);
INSERT INTO codemode_schema SELECT {version} WHERE NOT EXISTS (SELECT 1 FROM codemode_schema)
"""
NEWEST_TABLE = "codemode_notes"
"""Where it is missing, the database has none of the tables, or was made before there were notes."""
TABLES = ("codemode_batches", "codemode_values", "codemode_runs")
COLUMNS = ("run", "closed", "length", "info")
READ = """
SELECT first, events FROM codemode_batches WHERE run = ? AND first >= coalesce(
    (SELECT max(first) FROM codemode_batches WHERE run = ? AND first <= ?), 0
) ORDER BY first
"""
FIND = f"SELECT {', '.join(COLUMNS)} FROM codemode_runs WHERE input = ? AND closed IS NULL ORDER BY id"
LENGTH = "SELECT length FROM codemode_runs WHERE run = ?"
KEEP = "INSERT INTO codemode_values (run, hash, value) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
NOTES = "SELECT key, note FROM codemode_notes WHERE topic = ?"
NOTE = """
INSERT INTO codemode_notes (topic, key, note) VALUES (?, ?, ?)
ON CONFLICT (topic, key) DO UPDATE SET note = excluded.note
"""
FORGET = "DELETE FROM codemode_notes WHERE topic = ? AND key = ?"
LOAD = "SELECT value FROM codemode_values WHERE run = ? AND hash = ?"


class DatabaseJournal(ABC):
    """A journal in the tables of a database. See `Journal` for what its methods do.

    Statements are written with `?` for a parameter.
    """

    durable = True
    fenced = True

    def __init__(self, workers: Workers) -> None:
        self._workers = workers

    @abstractmethod
    async def _append(self, head: tuple[str, Sequence[Any]], batch: tuple[str, int, int, str], expected: int) -> None:
        """Append a batch, all or nothing, where the statement `head` changes one row.

        Raises:
            Conflict: The statement changed none.
        """

    async def append(self, run: str, expected: int, events: Sequence[Event]) -> int:
        """Append events to a run. See `Journal.append`."""
        run, length = escape(run), expected + len(events)
        batch = (run, expected + 1, len(events), dump_events(events))
        await self._append(_head(run, expected, events), batch, expected)
        return length

    async def read(self, run: str, after: int = 0) -> list[Event]:
        """Return events of a run. See `Journal.read`."""
        run = escape(run)

        def select(connection: Any) -> list[Event]:
            found: list[Event] = []
            for first, batch in self._rows(connection, READ, (run, run, after + 1)):
                found += load_events(batch)[max(0, after + 1 - first) :]
            return found

        events: list[Event] = await self._run(select)
        return events

    async def find(self, thread: str, namespace: str, digest: str) -> list[RunInfo]:
        """Return the open runs of one input. See `Journal.find`."""
        return await self._infos(FIND, (_input(thread, namespace, digest),))

    async def runs(self, *, before: RunInfo | None = None, limit: int = 100) -> list[RunInfo]:
        """Return runs, the newest first. See `Journal.runs`."""
        where, parameters = "", tuple[Any, ...]()
        if before is not None:
            where, parameters = "WHERE (opened, run) < (?, ?)", (before.opened, escape(before.run))
        query = f"SELECT {', '.join(COLUMNS)} FROM codemode_runs {where} ORDER BY opened DESC, run DESC LIMIT ?"
        return await self._infos(query, (*parameters, limit))

    async def keep(self, run: str, text: str) -> str:
        """Keep a large value. See `Journal.keep`."""
        hash = hash_of(text)
        # As bytes, because PostgreSQL's text cannot hold every character.
        parameters = (escape(run), hash, text.encode("utf-8", "surrogatepass"))
        await self._run(lambda connection: self._change(connection, KEEP, parameters), writes=True)
        return hash

    async def load(self, run: str, hash: str) -> str:
        """Return a value. See `Journal.load`."""
        rows = await self._run(lambda connection: self._rows(connection, LOAD, (escape(run), hash)))
        if not rows:
            raise KeyError(hash)
        return bytes(rows[0][0]).decode("utf-8", "surrogatepass")

    async def delete(self, run: str) -> None:
        """Remove a run. See `Journal.delete`."""
        parameters = (escape(run),)

        def remove(connection: Any) -> None:
            for table in TABLES:
                self._change(connection, f"DELETE FROM {table} WHERE run = ?", parameters)

        await self._run(remove, writes=True)

    async def notes(self, topic: str) -> dict[str, str]:
        """Return the texts of a topic. See `Notes.notes`."""
        rows = await self._run(lambda connection: self._rows(connection, NOTES, (escape(topic),)))
        return {unescape(key): unescape(note) for key, note in rows}

    async def note(self, topic: str, key: str, text: str | None) -> None:
        """Keep a text, or remove it. See `Notes.note`."""
        place = (escape(topic), escape(key))
        query, parameters = (FORGET, place) if text is None else (NOTE, (*place, escape(text)))
        await self._run(lambda connection: self._change(connection, query, parameters), writes=True)

    async def aclose(self) -> None:
        """Close the connections and end their threads. The journal can be used again after."""
        await self._workers.aclose()

    async def _run(self, function: Any, *, writes: bool = False) -> Any:
        return await self._workers.run(function, writes=writes)

    async def _infos(self, query: str, parameters: Sequence[Any]) -> list[RunInfo]:
        rows = await self._run(lambda connection: self._rows(connection, query, parameters))
        return [_info(row) for row in rows]

    def _rows(self, connection: Any, query: str, parameters: Sequence[Any]) -> list[Any]:
        rows: list[Any] = connection.execute(self._statement(query), parameters).fetchall()
        return rows

    def _change(self, connection: Any, query: str, parameters: Sequence[Any]) -> int:
        """Run a statement, and return how many rows it changed."""
        changed: int = connection.execute(self._statement(query), parameters).rowcount
        return changed

    def _conflict(self, connection: Any, run: str, expected: int) -> Conflict:
        rows = self._rows(connection, LENGTH, (run,))
        return Conflict(f"run {unescape(run)} has {rows[0][0] if rows else 0} events, not {expected}")

    def _statement(self, query: str) -> str:
        return query


def _head(run: str, expected: int, events: Sequence[Event]) -> tuple[str, Sequence[Any]]:
    """Return the statement that moves a run on from `expected` events, with its parameters.

    It changes no row where the run has another number of events: this is the fence.
    """
    info = describe(run, events)
    columns: dict[str, Any] = {"length": expected + len(events)}
    if expected == 0 or any(isinstance(event, Opened) for event in events):
        shown = {field.name: getattr(info, field.name) for field in fields(info) if field.name not in COLUMNS}
        columns["input"] = _input(info.thread, info.namespace, info.digest)
        columns["info"] = json.dumps(shown)
        columns["opened"] = info.opened
    if any(isinstance(event, Closed) for event in events):
        columns["closed"] = escape(info.closed or "")
    if expected:
        sets = ", ".join(f"{name} = ?" for name in columns)
        return f"UPDATE codemode_runs SET {sets} WHERE run = ? AND length = ?", (*columns.values(), run, expected)
    places = ", ".join("?" * (len(columns) + 1))
    query = f"INSERT INTO codemode_runs (run, {', '.join(columns)}) VALUES ({places}) ON CONFLICT (run) DO NOTHING"
    return query, (run, *columns.values())


def _info(row: Sequence[Any]) -> RunInfo:
    run, closed, length, info = row
    return RunInfo.of_json(info, run=unescape(run), closed=None if closed is None else unescape(closed), length=length)


def _input(thread: str, namespace: str, digest: str) -> str:
    # A hash, because a key of PostgreSQL's index is bounded in length.
    return hash_of(json.dumps([thread, namespace, digest]))


def escape(text: str) -> str:
    """Write text in characters that every database keeps: NUL and lone surrogates are JSON's escapes."""
    return json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "backslashreplace").decode()


def unescape(text: str) -> str:
    """Read text back that `escape` wrote."""
    return text if "\\" not in text else str(json.loads(f'"{text}"'))


def check_version(rows: Sequence[Sequence[Any]], place: str) -> None:
    """Refuse tables that a later version of this package made.

    Raises:
        JournalError: It did.
    """
    version = max((row[0] for row in rows), default=SCHEMA_VERSION)
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"the journal in {place} has version {version}, and this package reads up to {SCHEMA_VERSION}: "
            "update codemode-graph"
        )
