"""Threads that work for event loops: each has a connection of its own to a database, and closes it when it ends."""

import asyncio
import contextlib
import os
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeAlias

LARGEST_GROUP = 256
"""Jobs that one transaction takes at most, so that the first of many does not wait for all of them."""


class Job:
    """A function to run with a connection, and who waits for its result.

    Attributes:
        function: Takes the database's connection; None ends the thread.
        writes: It changes the database, so it needs a transaction.
        result: What it returned; `error` is what it raised.
    """

    __slots__ = ("error", "function", "future", "loop", "result", "writes")

    def __init__(self, function: Callable[[Any], Any] | None, writes: bool = False) -> None:
        self.function = function
        self.writes = writes
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.result: Any = None
        self.error: Exception | None = None


Queue: TypeAlias = "SimpleQueue[Job | None]"


class Connection(Protocol):
    """A connection to a database that one thread uses. `lock` is held while it does."""

    lock: threading.Lock

    def execute(self, jobs: Sequence[Job]) -> None:
        """Run jobs, and set the result or the error of each. It raises nothing."""
        ...

    def close(self) -> None:
        """Close the connection. The next job opens it again."""
        ...


class Workers:
    """Up to `size` threads that take jobs from one queue. They start with the first job and end with `aclose`.

    A lone thread takes all jobs that wait at one time together, so they share one transaction.
    """

    def __init__(self, connect: Callable[[], Connection], size: int = 1) -> None:
        self._connect = connect
        self._size = size
        self._reset()
        _workers.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._queue: Queue = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._connections: list[Connection] = []
        # Threads hold the queue, not this object: when it is collected, they end.
        self._end = weakref.finalize(self, _end, self._queue, self._threads)
        self._end.atexit = False

    async def run(self, function: Callable[[Any], Any], *, writes: bool = False) -> Any:
        """Run a function with a connection, in a thread.

        Where the caller is cancelled meanwhile, the function may have run or not.
        """
        job = Job(function, writes)
        with self._lock:
            # Another thread only where the others are behind: each costs a connection.
            if len(self._threads) < self._size and (not self._threads or not self._queue.empty()):
                self._start()
            self._queue.put(job)
        return await job.future

    def _start(self) -> None:
        connection = self._connect()
        thread = threading.Thread(
            target=_work, args=(self._queue, connection, self._size == 1), name="codemode-journal", daemon=True
        )
        self._connections.append(connection)
        self._threads.append(thread)
        thread.start()

    async def aclose(self) -> None:
        """Wait for the jobs that are queued, close the connections and end the threads."""
        with self._lock:
            threads, ends = self._threads, [Job(None) for _ in self._threads]
            for end in ends:
                self._queue.put(end)
            self._end.detach()
            self._reset()
        await asyncio.gather(*(end.future for end in ends))
        for thread in threads:
            thread.join()  # it has nothing left to do


def _work(queue: Queue, connection: Connection, together: bool) -> None:
    end: Job | None = None
    ends = False
    while not ends:
        job = queue.get()
        jobs: list[Job] = []
        while job is not None and job.function is not None:
            if not job.future.cancelled():  # nobody waits for it, and it has not begun
                jobs.append(job)
            if not together or len(jobs) >= LARGEST_GROUP:
                break
            try:
                job = queue.get_nowait()
            except Empty:
                break
        else:
            end, ends = job, True
        if jobs:
            with connection.lock:
                connection.execute(jobs)
            _deliver(jobs)
        del job, jobs  # the results, and what the functions hold, do not wait here for the next job
    with connection.lock:
        connection.close()
    if end is not None:
        _deliver([end])


def _deliver(jobs: Sequence[Job]) -> None:
    by_loop = defaultdict(list)
    for job in jobs:
        by_loop[job.loop].append(job)
    for loop, its_jobs in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
            loop.call_soon_threadsafe(_settle, its_jobs)


def _settle(jobs: Sequence[Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is None:
            job.future.set_result(job.result)
        else:
            job.future.set_exception(job.error)


def _end(queue: Queue, threads: Sequence[threading.Thread]) -> None:
    for _ in threads:
        queue.put(None)


# A child that is forked has none of the threads, and a connection must not be used, nor closed, in two processes. SQLite
# also keeps locks by file for the whole process, and a child would inherit what it believes of them. So no connection is
# open, and no transaction under way, while a process forks.
_workers: "weakref.WeakSet[Workers]" = weakref.WeakSet()
_locked: list[Connection] = []


def _before_fork() -> None:
    for workers in list(_workers):
        for connection in list(workers._connections):
            connection.lock.acquire()
            connection.close()
            _locked.append(connection)


def _after_in_parent() -> None:
    while _locked:
        _locked.pop().lock.release()


def _after_in_child() -> None:
    _locked.clear()
    for workers in list(_workers):
        workers._end.detach()
        workers._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
