"""The journal of a graph that was given none: in the database of its checkpointer."""

import inspect
import queue
import sqlite3
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any

from codemode_graph.calls.journal import Journal, JournalError
from codemode_graph.calls.postgres import PostgresJournal
from codemode_graph.calls.sqlite import SQLiteJournal

__all__ = ["journal_beside"]

_lock = threading.Lock()
# A journal lives as long as a checkpointer that it is beside, and is closed with the last.
_beside: "weakref.WeakKeyDictionary[Any, Journal]" = weakref.WeakKeyDictionary()
_journals: "weakref.WeakValueDictionary[Hashable, Journal]" = weakref.WeakValueDictionary()

_NOT_OF_LIBPQ = ("autocommit", "prepare_threshold", "context", "row_factory", "cursor_factory")
"""Arguments of psycopg's `connect` that are no parameters of the connection."""


def journal_beside(checkpointer: Any) -> Journal | None:
    """Return the journal in the database of a checkpointer, the same one for each checkpointer of the database.

    Args:
        checkpointer: A graph's, whose connection is open.

    Returns:
        None where it has no database, or one that a journal cannot use: a SQLite database in memory, anything but SQLite
        and PostgreSQL, and a pool whose address is found out by a coroutine.

    Raises:
        JournalError: The checkpointer's connection is not open.
    """
    with _lock:
        try:
            known = _beside.get(checkpointer)
        except TypeError:  # not a checkpointer: True, None
            return None
        if known is not None:
            return known
        place = _place(checkpointer)
        if place is None:
            return None
        key, create = place
        journal = _journals.get(key)
        if journal is None:
            journal = _journals[key] = create()
        _beside[checkpointer] = journal
        return journal


def _place(checkpointer: Any) -> tuple[Hashable, Callable[[], Journal]] | None:
    # By name, so that neither library is imported where it is not used. A class of the user's own may be a subclass.
    modules = [each.__module__ for each in type(checkpointer).__mro__]
    if any(module.startswith("langgraph.checkpoint.sqlite") for module in modules):
        path = _sqlite_path(checkpointer)
        return (("sqlite", path), lambda: SQLiteJournal(path)) if path else None
    if any(module.startswith("langgraph.checkpoint.postgres") for module in modules):
        conninfo = _conninfo(checkpointer.conn)
        return (("postgres", conninfo), lambda: PostgresJournal(conninfo)) if conninfo is not None else None
    return None


def _sqlite_path(checkpointer: Any) -> str:
    connection = checkpointer.conn
    try:
        if isinstance(connection, sqlite3.Connection):
            with checkpointer.lock:
                return _main_file(connection)
        return _aiosqlite_file(connection)
    except (sqlite3.Error, ValueError) as error:
        raise JournalError(f"the checkpointer's connection to SQLite cannot be used: {error}") from error


def _main_file(connection: sqlite3.Connection) -> str:
    """Return the path of a connection's database; an empty text where it is in memory."""
    cursor = connection.cursor()
    cursor.row_factory = None
    rows = cursor.execute("PRAGMA database_list").fetchall()
    return next((str(file) for _, name, file in rows if name == "main" and file), "")


def _conninfo(connection: Any) -> str | Callable[[], str] | None:
    """Return how to connect to the database of a psycopg connection or pool, with the password."""
    import psycopg
    from psycopg.conninfo import make_conninfo

    if not hasattr(connection, "info"):
        return _conninfo_of_pool(connection)
    try:
        parameters = connection.info.get_parameters()
    except psycopg.Error as error:
        raise JournalError(f"the checkpointer's connection to PostgreSQL cannot be used: {error}") from error
    if connection.info.password:
        parameters["password"] = connection.info.password
    return make_conninfo(**parameters)


def _conninfo_of_pool(pool: Any) -> str | Callable[[], str] | None:
    from psycopg.conninfo import make_conninfo

    parts = (pool.conninfo, pool.kwargs)  # each a value, or a function that is called for each connection
    if any(inspect.iscoroutinefunction(part) for part in parts):
        return None

    def resolve() -> str:
        text, arguments = (part() if callable(part) else part for part in parts)
        known = {name: value for name, value in (arguments or {}).items() if name not in _NOT_OF_LIBPQ}
        return make_conninfo(text or "", **known)

    return resolve if any(callable(part) for part in parts) else resolve()


# Private names of libraries, each with the reason it is needed. `tests/durable/test_locate.py` has a test that fails once the
# library changes one, or offers a public one.


def _aiosqlite_file(connection: Any) -> str:
    """Return the path of the database of an `aiosqlite.Connection`.

    It can be asked with `await` alone, and a graph is compiled without. Its thread runs any function that is in its queue.
    """
    if connection._connection is None:
        raise ValueError("it is not open")
    answers: queue.SimpleQueue[str | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_main_file(connection._conn))
        except Exception as error:
            answers.put(error)

    connection._tx.put_nowait((None, ask))
    try:
        answer = answers.get(timeout=30)
    except queue.Empty:
        raise ValueError("its thread does not answer") from None
    if isinstance(answer, Exception):
        raise answer
    return answer
