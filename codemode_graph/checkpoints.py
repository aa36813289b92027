"""Checkpoints in a SQLite file. The library for it is imported only where a run is recorded."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.sqlite import SqliteSaver

from codemode_graph.calls.sqlite import fault_of, open_database
from codemode_graph.errors import JournalError

__all__ = ["FileCheckpoints"]

# A thread is a run: its checkpoints' ids are in the order of time.
_THREADS = """
SELECT thread_id FROM checkpoints WHERE checkpoint_ns = ''
GROUP BY thread_id ORDER BY min(checkpoint_id) DESC LIMIT ? OFFSET ?
"""


class FileCheckpoints(SqliteSaver):
    """Keeps checkpoints in a SQLite file, for sync and async graphs in any event loop.

    LangGraph's own `AsyncSqliteSaver` belongs to one event loop, and a `CodeMode` may be used in several.

    Args:
        path: The file. The first use opens it, and creates it where it is missing.
        timeout: Seconds to wait while others write.
    """

    def __init__(self, path: Path, *, timeout: float = 20.0) -> None:
        self._path, self._timeout = path, timeout
        self._connection: sqlite3.Connection | None = None
        self._opening = threading.Lock()
        super().__init__(None)  # type: ignore[arg-type]

    @property
    def conn(self) -> sqlite3.Connection:
        """The connection, open.

        Raises:
            JournalError: The file cannot be used.
        """
        with self._opening:
            if self._connection is None:
                with self._explained():
                    self._connection = open_database(self._path, timeout=self._timeout)
            return self._connection

    @conn.setter
    def conn(self, connection: object) -> None:
        """Do nothing: the base class sets what it was given."""

    @contextmanager
    def cursor(self, transaction: bool = True) -> Iterator[sqlite3.Cursor]:
        """Return a cursor. What is written by it is in the file as a whole or not at all, however the process ends.

        The base class leaves the beginning of a transaction to Python, and this connection does not: each row would be written
        by itself, and a step of which half is there counts as one that has run.
        """
        with self.lock, self._explained():
            self.setup()
            connection = self.conn
            with closing(connection.cursor()) as cursor:
                if not transaction:
                    yield cursor
                    return
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    yield cursor
                    cursor.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        cursor.execute("ROLLBACK")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, OverflowError, sqlite3.Error) as error:
            reason = fault_of(error, timeout=self._timeout)
            raise JournalError(f"the runs in {self._path} cannot be used: {reason}") from error

    def close(self) -> None:
        """Close the connection. The next use opens it again."""
        with self.lock, self._opening:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def threads(self, limit: int, offset: int = 0) -> list[str]:
        """Return threads, the newest first."""
        with self.cursor(transaction=False) as cursor:
            return [str(thread) for (thread,) in cursor.execute(_THREADS, (limit, offset))]

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint."""
        return await asyncio.to_thread(self.get_tuple, config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Iterate over checkpoints, the newest first."""
        for found in await asyncio.to_thread(lambda: [*self.list(config, filter=filter, before=before, limit=limit)]):
            yield found

    async def aput(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, versions: ChannelVersions
    ) -> RunnableConfig:
        """Write a checkpoint."""
        return await asyncio.to_thread(self.put, config, checkpoint, metadata, versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Write what a task has returned."""
        await asyncio.to_thread(self.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete the checkpoints of a thread."""
        await asyncio.to_thread(self.delete_thread, thread_id)
