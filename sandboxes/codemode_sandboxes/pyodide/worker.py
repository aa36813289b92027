"""Workers: for each program a process, whose interpreter starts from the snapshot and waits for the program."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NoReturn, TypeVar

from codemode_sandboxes.process.channel import StreamChannel
from codemode_sandboxes.process.execution import require_ready
from codemode_sandboxes.process.pool import StartFailed
from codemode_sandboxes.process.spawn import Command, Noise, Started, launch
from codemode_sandboxes.pyodide.jail import Jail
from codemode_sandboxes.pyodide.snapshot import WORKER

__all__ = ["Count", "Setup", "Worker", "WorkerStarter", "in_spawner"]

T = TypeVar("T")

_PLAIN_SNAPSHOT_BYTES = 31 << 20  # without packages


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """The files and the jail that workers start from; `modules` are the top-level modules of packages."""

    jail: Jail
    pyodide: Path
    snapshot: Path
    modules: tuple[str, ...] = ()

    def launch(self, memory_bytes: int) -> Started:
        """Start a worker whose program may use this much memory."""
        # What packages take in the snapshot is not the program's.
        memory_bytes += max(0, self.snapshot.stat().st_size - _PLAIN_SNAPSHOT_BYTES)
        command = self.jail.command(WORKER, "serve", self.pyodide, self.snapshot, memory_bytes=memory_bytes)
        return launch(command, env=self.jail.environment)


class Count:
    """A number that several threads may change."""

    def __init__(self) -> None:
        self.value = 0
        self._lock = threading.RLock()  # a garbage collection may free a worker at any place

    def add(self, number: int) -> None:
        """Add to it."""
        with self._lock:
            self.value += number


class WorkerStarter:
    """Starts workers. Implements `Starter`.

    Args:
        find: Returns what workers start from; called in the thread that starts them.
        memory_bytes: The memory that a program may use.
        alive: The number of workers; counted here.
        most: The number of workers that there may be.
    """

    def __init__(self, find: Callable[[], Setup], *, memory_bytes: int, alive: Count, most: int) -> None:
        self._find, self._memory_bytes, self._count, self._most = find, memory_bytes, alive, most

    @property
    def alive(self) -> bool:
        """Always true: each worker is a process of its own."""
        return True

    def fork(self) -> "Worker":
        """Start a worker; see `Starter`."""
        if self._count.value >= self._most:
            raise BlockingIOError
        count = self._count
        count.add(1)
        return Worker(in_spawner(lambda: self._find().launch(self._memory_bytes)), lambda: count.add(-1))

    def close(self) -> None:
        """Do nothing: workers are ended one by one."""


class Worker:
    """A worker that starts. Implements `Newborn`.

    Args:
        started: The future of its process.
        freed: Called once, when the process is gone.
    """

    def __init__(self, started: Future[Started], freed: Callable[[], None]) -> None:
        self._started, self._freed = started, freed
        self._owner = os.getpid()

    async def channel(self) -> StreamChannel:
        """Wait until the interpreter is ready, and return its channel; see `Newborn`."""
        try:
            # The shield keeps a cancelled run from cancelling the future, whose process `close` then ends.
            started = asyncio.wrap_future(self._started)
            popen, reading, writing = await asyncio.shield(started)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise StartFailed(f"a worker cannot be started: {error}") from None
            raise
        noise = Noise()
        channel = StreamChannel(reading, writing, Command(popen, noise, self._freed))
        await require_ready(channel, lambda: popen.poll() is not None, noise)
        return channel

    def close(self) -> None:
        """End the worker, now or once it has started."""
        self._started.add_done_callback(self._end)

    def _end(self, future: Future[Started]) -> None:
        if not future.cancelled() and future.exception() is None:
            popen, reading, writing = future.result()
            if self._owner == os.getpid():
                with suppress(ProcessLookupError):
                    os.killpg(popen.pid, signal.SIGKILL)
                popen.wait()
            else:
                popen.returncode = 0  # a fork of the host: the process is the parent's
            for descriptor in (reading, writing):
                os.close(descriptor)
            if popen.stderr is not None:
                popen.stderr.close()
        self._freed()


def in_spawner(function: Callable[[], T]) -> Future[T]:
    """Call a function in the thread that starts workers, and return the future of its result.

    The kernel kills a worker when the thread that started it ends, so that thread lasts as long as this process. It is
    a daemon thread: the process does not wait for it.
    """
    future: Future[T] = Future()
    _spawner(os.getpid()).put((future, function))
    return future


@cache  # by process: a fork has no thread of its parent's
def _spawner(process: int) -> SimpleQueue[tuple[Future[Any], Callable[[], Any]]]:
    work: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
    threading.Thread(target=_work, args=(work,), name="codemode-pyodide", daemon=True).start()
    return work


def _work(work: SimpleQueue[tuple[Future[Any], Callable[[], Any]]]) -> NoReturn:
    while True:
        future, function = work.get()
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)
        del future, function  # or they would live until the next call
