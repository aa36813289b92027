"""A journal in a SQLite file: for one machine, with any number of processes."""

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from codemode_graph.calls.database import NEWEST_TABLE, SCHEMA, SCHEMA_VERSION, DatabaseJournal, check_version
from codemode_graph.calls.journal import JournalError
from codemode_graph.calls.worker import Job, Workers

__all__ = ["SQLiteJournal", "open_database"]

APPEND = "INSERT INTO codemode_batches (run, first, count, events) VALUES (?, ?, ?, ?)"
CHECKPOINT_PAGES = 100
"""Pages of the log after which they are copied to the database.

The log is then written anew from its start: to write over what is there waits about a third as long for the disk as to make
a file longer. SQLite's default of 1,000 pages is some 300 appends, more than most processes make.
"""
FAULTS = {
    sqlite3.SQLITE_FULL: "there is no space left on its disk; free some",
    sqlite3.SQLITE_BUSY: "another program has locked it for {timeout:g} seconds",
    sqlite3.SQLITE_LOCKED: "another program has locked it for {timeout:g} seconds",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database; name another file",
    sqlite3.SQLITE_CORRUPT: "it is damaged; move it away, or put a copy of it back",
    sqlite3.SQLITE_READONLY: "it must not be written to; allow that, or name another file",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; name a file in a folder that may be written to",
    sqlite3.SQLITE_TOOBIG: "SQLite does not store values of this size",
}


class SQLiteJournal(DatabaseJournal):
    """Keeps the events of runs in a SQLite file, which other journals, threads and processes may use at the same time.

    The file may hold other tables too, such as those of LangGraph's checkpointer. It must be on a local disk, as any SQLite
    database that several processes use. What is appended is on the disk when `append` returns.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 20.0) -> None:
        """Describe the file; the first use opens it.

        Args:
            path: The file. It is created where it is missing, with its folder, and only its owner may read it.
            timeout: Seconds to wait while others write.
        """
        if os.fspath(path) == ":memory:":
            raise ValueError("a journal in memory is MemoryJournal()")
        # Absolute, so it stays the same file where the working directory changes.
        self.path = path = Path(path).absolute()
        super().__init__(Workers(lambda: _Connection(path, timeout)))

    def __repr__(self) -> str:
        return f"SQLiteJournal({str(self.path)!r})"

    async def _append(self, head: tuple[str, Sequence[Any]], batch: tuple[str, int, int, str], expected: int) -> None:
        def insert(connection: sqlite3.Connection) -> None:
            if not self._change(connection, *head):
                raise self._conflict(connection, batch[0], expected)
            self._change(connection, APPEND, batch)

        await self._run(insert, writes=True)


class _Connection:
    """The connection of the journal's one thread. It is opened by the first job, and anew after a fault."""

    def __init__(self, path: Path, timeout: float) -> None:
        self.lock = threading.Lock()
        self._path = path
        self._timeout = timeout
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)

    def execute(self, jobs: Sequence[Job]) -> None:
        writes = [job for job in jobs if job.writes]
        if writes:
            self._execute(writes, self._in_transaction)
        for job in jobs:
            if not job.writes:
                self._execute([job], _run)

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _execute(self, jobs: Sequence[Job], how: Callable[[sqlite3.Connection, Sequence[Job]], None]) -> None:
        try:
            how(self._open(), jobs)
        except Exception as error:
            # Closing rolls back what is not committed.
            self.close()
            if len(jobs) > 1:
                # One of them may be at fault: the others are done without it.
                for job in jobs:
                    self._execute([job], how)
            else:
                jobs[0].error = self._translate(error)

    def _in_transaction(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
        # The lock to write is taken at once: a transaction that reads first may find later that another has written.
        connection.execute("BEGIN IMMEDIATE")
        _run(connection, jobs)
        connection.execute("COMMIT")

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            # SQLite goes on in a file that was deleted, and all would be lost with the process.
            if _identity(self._path) != self._file:
                raise JournalError(f"the journal {self._path} was removed or replaced while it was in use")
            return self._connection
        self._connection = connection = open_database(self._path, timeout=self._timeout)
        self._file = _identity(self._path)
        self._set_up(connection)
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (NEWEST_TABLE,)).fetchone()
        if known is None:
            kinds = {"serial": "INTEGER PRIMARY KEY AUTOINCREMENT", "bytes": "BLOB", "clustered": " WITHOUT ROWID"}
            schema = SCHEMA.format(version=SCHEMA_VERSION, token="", **kinds)
            connection.execute("BEGIN IMMEDIATE")
            for statement in schema.split(";"):
                connection.execute(statement)
            connection.execute("COMMIT")
        check_version(connection.execute("SELECT version FROM codemode_schema").fetchall(), str(self._path))

    def _translate(self, error: Exception) -> Exception:
        if not isinstance(error, sqlite3.Error | OSError | OverflowError):
            return error
        fault = JournalError(f"the journal {self._path} cannot be used: {fault_of(error, timeout=self._timeout)}")
        fault.__cause__ = error
        return fault


def fault_of(error: sqlite3.Error | OSError | OverflowError, *, timeout: float) -> str:
    """Return why a file cannot be used, in words for a person; `timeout` is the time in seconds that was waited for others."""
    if isinstance(error, sqlite3.Error):
        return FAULTS.get(_code(error), str(error)).format(timeout=timeout)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return FAULTS[sqlite3.SQLITE_TOOBIG]  # Python's own check, before SQLite's


def open_database(path: Path, *, timeout: float) -> sqlite3.Connection:
    """Open a SQLite file whose commits are on the disk when they return. It is created where it is missing, with its folder.

    Args:
        path: The file. Only its owner may read one that is created here.
        timeout: Seconds to wait while others write.

    Returns:
        A connection for any one thread at a time, without implicit transactions.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # An existing file is not opened here: closing it would release the locks that this process holds on it.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
    try:
        _use_log(connection, timeout)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS alone: its fsync leaves data in the disk's own memory
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_log(connection: sqlite3.Connection, timeout: float) -> None:
    # Of several processes that change the mode at one time, SQLite refuses all but one at once, and does not wait.
    end = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if _code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def _run(connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
    for job in jobs:
        assert job.function is not None
        try:
            job.result, job.error = job.function(connection), None
        except JournalError as error:  # a conflict, or events of a later version: nothing was changed
            job.error = error


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_dev, status.st_ino


def _code(error: sqlite3.Error) -> int:
    # The low byte is the kind of fault; the rest says where in SQLite it came up.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
