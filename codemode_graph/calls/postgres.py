"""A journal in a PostgreSQL database: for any number of machines. It needs psycopg: `codemode-graph[postgres]`."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from codemode_graph.calls.database import NEWEST_TABLE, SCHEMA, SCHEMA_VERSION, DatabaseJournal, check_version
from codemode_graph.calls.journal import JournalError
from codemode_graph.calls.worker import Job, Workers

if TYPE_CHECKING:
    import psycopg

__all__ = ["PostgresJournal"]

TOKEN = "SELECT token FROM codemode_batches WHERE run = ? AND first = ?"
# One statement is one transaction and one way to the server and back.
APPEND = """
WITH head AS ({head} RETURNING 1)
INSERT INTO codemode_batches (run, first, count, events, token) SELECT ?, ?, ?, ?, ? FROM head
"""
# Each has a thread and a connection of the server, which are dear there: a hundred is PostgreSQL's default for all.
CONNECTIONS = 4
RETRIES = (0.0, 0.1, 0.5, 2.0, 5.0)
"""Seconds before each new attempt after a connection was lost: a server that starts again takes some."""
DEFAULTS = {"connect_timeout": 10, "tcp_user_timeout": 30_000, "application_name": "codemode-graph"}
"""So a server that does not answer is an error in half a minute. A connection string that names them has its own way."""
SETTINGS = """
SET default_transaction_isolation = 'read committed';
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""
LOCK = 0x636F64656D6F6465
"""Of those who create the tables: `IF NOT EXISTS` alone fails where two do so at one time."""


class PostgresJournal(DatabaseJournal):
    """Keeps the events of runs in a PostgreSQL database, in the schema that is first on its search path.

    What is appended is committed when `append` returns. A connection that is lost is opened again.
    """

    def __init__(self, conninfo: str | Callable[[], str]) -> None:
        """Describe the database; the first use connects.

        Args:
            conninfo: A connection string or URL of libpq, or a function that returns one for each new connection, where
                passwords change.

        Raises:
            JournalError: psycopg is not installed.
        """
        try:
            import psycopg  # noqa: F401
        except ImportError as error:
            raise JournalError("a PostgresJournal needs psycopg: pip install 'codemode-graph[postgres]'") from error
        server = _Server(conninfo)
        super().__init__(Workers(lambda: _Connection(server), CONNECTIONS))

    async def _append(self, head: tuple[str, Sequence[Any]], batch: tuple[str, int, int, str], expected: int) -> None:
        query, parameters = APPEND.format(head=head[0]), (*head[1], *batch)
        run, first, *_ = batch
        token = uuid.uuid4().hex

        def is_ours(connection: Any) -> bool:
            return any(row[0] == token for row in self._rows(connection, TOKEN, (run, first)))

        sent = False

        def insert(connection: Any) -> None:
            nonlocal sent
            # Where the connection was lost after the statement had been sent, the row says whether it was committed. Our
            # statement may even arrive after this one. The fence lets one of the two through, and both have our token.
            if sent and is_ours(connection):
                return
            sent = True
            if not self._change(connection, query, (*parameters, token)) and not is_ours(connection):
                raise self._conflict(connection, run, expected)

        await self._run(insert)

    def _statement(self, query: str) -> str:
        return query.replace("?", "%s")


class _Server:
    """The address of the server and how to connect, for all threads of a journal.

    Attributes:
        was_reached: A connection has worked. So a failure may pass; before, the address may be wrong.
    """

    def __init__(self, conninfo: str | Callable[[], str]) -> None:
        self._conninfo = conninfo
        self.was_reached = False

    def connect(self) -> psycopg.Connection[Any]:
        """Return a connection to a database that has the tables."""
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        text = self._conninfo if isinstance(self._conninfo, str) else self._conninfo()
        parameters: dict[str, Any] = {**DEFAULTS, **conninfo_to_dict(text)}
        connection = psycopg.connect(autocommit=True, **parameters)
        try:
            connection.execute(SETTINGS)
            _set_up(connection)
        except BaseException:
            connection.close()
            raise
        self.was_reached = True
        return connection


class _Connection:
    """The connection of one thread. It is opened by the first job, and anew after it was lost."""

    def __init__(self, server: _Server) -> None:
        self.lock = threading.Lock()
        self._server = server
        self._connection: psycopg.Connection[Any] | None = None

    def execute(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            try:
                job.result = self._run(job)
            except Exception as error:
                job.error = error

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
            self._connection = None

    def _run(self, job: Job) -> Any:
        import psycopg

        assert job.function is not None
        delays = iter(RETRIES)
        while True:
            try:
                if self._connection is None:
                    self._connection = self._server.connect()
                if not job.writes:
                    return job.function(self._connection)
                with self._connection.transaction():
                    return job.function(self._connection)
            except psycopg.Error as error:
                lost = self._connection is None or self._connection.broken or self._connection.closed
                delay = next(delays, None)
                if not lost or not self._server.was_reached or delay is None:
                    # psycopg adds the statement, and libpq the addresses that it tried.
                    reason = " ".join(str(error).split()) or type(error).__name__
                    raise JournalError(f"the journal in PostgreSQL cannot be used: {reason}") from error
                self.close()
                time.sleep(delay)


def _set_up(connection: psycopg.Connection[Any]) -> None:
    row = connection.execute("SELECT to_regclass(%s)", (NEWEST_TABLE,)).fetchone()
    if row is None or row[0] is None:
        schema = SCHEMA.format(
            version=SCHEMA_VERSION,
            serial="BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
            bytes="BYTEA",
            token=" token TEXT NOT NULL,",
            clustered="",
        )
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            connection.execute(schema.encode())
    check_version(connection.execute("SELECT version FROM codemode_schema").fetchall(), "PostgreSQL")
