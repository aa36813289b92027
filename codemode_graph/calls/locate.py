"""The journal of a graph that names none: in the database of its checkpointer."""

import inspect
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from codemode_graph.calls.journal import Journal, JournalError
from codemode_graph.compat import run_on_aiosqlite

if TYPE_CHECKING:
    import sqlite3

_lock = threading.Lock()
# A journal lives as long as a checkpointer or store that it is beside, and is closed with the last.
_beside: "weakref.WeakKeyDictionary[Any, Journal]" = weakref.WeakKeyDictionary()
_journals: "weakref.WeakValueDictionary[Hashable, Journal]" = weakref.WeakValueDictionary()

# Arguments of psycopg's `connect` that are no parameters of the connection.
_NOT_OF_LIBPQ = ("autocommit", "prepare_threshold", "context", "row_factory", "cursor_factory")


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


def keep_beside(owner: Any, create: Callable[[], Journal]) -> Journal:
    """Return the journal that lives as long as a checkpointer or a store, so that every graph on it finds the same runs.

    Args:
        owner: The checkpointer or store.
        create: Makes the journal, the first time.
    """
    with _lock:
        if owner not in _beside:
            _beside[owner] = create()
        return _beside[owner]


def _place(checkpointer: Any) -> tuple[Hashable, Callable[[], Journal]] | None:
    # By name, so that neither library is imported where it is not used. A class of the user's own may be a subclass.
    modules = [each.__module__ for each in type(checkpointer).__mro__]
    if any(module.startswith("langgraph.checkpoint.sqlite") for module in modules):
        from codemode_graph.calls.sqlite import SQLiteJournal

        path = _sqlite_path(checkpointer)
        return (("sqlite", path), lambda: SQLiteJournal(path)) if path else None
    if any(module.startswith("langgraph.checkpoint.postgres") for module in modules):
        from codemode_graph.calls.postgres import PostgresJournal

        conninfo = _conninfo(checkpointer.conn)
        return (("postgres", conninfo), lambda: PostgresJournal(conninfo)) if conninfo is not None else None
    return None


def _sqlite_path(checkpointer: Any) -> str:
    import sqlite3

    connection = checkpointer.conn
    try:
        if isinstance(connection, sqlite3.Connection):
            with checkpointer.lock:
                return _main_file(connection)
        return run_on_aiosqlite(connection, _main_file)
    except (sqlite3.Error, ValueError) as error:
        raise JournalError(f"the checkpointer's connection to SQLite cannot be used: {error}") from error


def _main_file(connection: "sqlite3.Connection") -> str:
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
