"""Monty's worker processes, each driven by a thread while it is taken.

Monty's own asynchronous interface wakes the event loop at every suspension. A thread handles the suspensions that the
host need not hear of, so that a tool call takes half the time.
"""

import asyncio
import os
import signal
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

from pydantic_monty import Monty, MontyError, MontySession

from codemode_sandboxes.errors import SandboxUnavailable

__all__ = ["JobThread", "Worker", "Workers", "call_later"]

T = TypeVar("T")
_Job: TypeAlias = tuple[Callable[[], Any], asyncio.Future[Any] | None]

# A process is replaced after so many sessions, which bounds whatever it keeps of them.
_MAX_CHECKOUTS = 500
IDLE = 60.0
"""Seconds after which processes that nobody needed in this time are ended."""
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # on Windows, any signal ends a process at once
_REMEDY = "Reinstall it with `pip install --force-reinstall pydantic-monty`"


_users: set[int] = set()
"""The ids of this process, or of the one that it is a fork of, in which Monty was used."""


def note_use() -> None:
    """Note that this process uses Monty.

    Raises:
        SandboxUnavailable: It is a fork of a process that has used Monty. A fork has none of Monty's threads, and every call
            would wait for them for ever.
    """
    if _users - {os.getpid()}:
        reason = "this process is a fork of one that has used it, whose threads a fork does not have"
        raise SandboxUnavailable("monty", reason, "Start processes by spawn, or run no program before the fork")
    _users.add(os.getpid())


class JobThread:
    """A thread that makes one blocking call after another for the running event loop.

    It ends by `end`, or when nobody holds this object. The interpreter's end does not wait for it.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # The thread holds the queue and the loop, but not this object, so that it can be collected.
        threading.Thread(target=_work, args=(self._jobs, self._loop), name="codemode-monty", daemon=True).start()
        weakref.finalize(self, self._jobs.put, None).atexit = False

    def do(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Call a function after those before it have returned. Cancelling the future does not stop the call."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((function, future))
        return future

    def post(self, function: Callable[[], object]) -> None:
        """Call a function likewise, from any thread, and drop its result."""
        self._jobs.put((function, None))

    def end(self) -> None:
        """End the thread after the calls that were asked for."""
        self._jobs.put(None)


def _work(jobs: "SimpleQueue[_Job | None]", loop: asyncio.AbstractEventLoop) -> None:
    while (job := jobs.get()) is not None:
        function, future = job
        result: Any = None
        error: BaseException | None = None
        try:
            result = function()
        except BaseException as problem:
            error = problem
        if future is not None:
            with suppress(RuntimeError):  # the loop has ended, and nobody waits for the result
                loop.call_soon_threadsafe(_resolve, future, result, error)
        # While the thread waits for a job it must hold nothing, or a worker that nobody else holds is never collected.
        del job, function, future, result, error


def _resolve(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


class Worker:
    """A process that is taken, until it is closed or nobody holds it.

    Args:
        session: Not entered yet.
        thread: The worker's thread, while the process is taken.
        on_free: Called in the event loop once the process has been given back.

    Attributes:
        session: To be used in the worker's thread only.
    """

    def __init__(self, session: MontySession, thread: JobThread, on_free: Callable[[], None]) -> None:
        self.session = session
        self._thread, self._process = thread, _Process()
        self._current: asyncio.Future[Any] | None = None
        self._closing: asyncio.Future[None] | None = None
        loop, process = asyncio.get_running_loop(), self._process

        def give_back() -> None:
            if process.returned:
                return
            # First of all: from the pool another run may take the process, which `kill` must not hit.
            process.forget()
            process.returned = True
            with suppress(MontyError, OSError, RuntimeError):
                session.__exit__(None, None, None)
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(on_free)

        self._give_back = give_back
        self._finalizer = weakref.finalize(self, thread.post, give_back)
        self._finalizer.atexit = False

    @property
    def pid(self) -> int | None:
        """The process's id."""
        return self._process.pid

    async def open(self) -> None:
        """Enter the session."""

        def enter() -> None:
            self.session.__enter__()
            self._process.note(self.session.worker_pid)

        await self.do(enter)

    async def do(self, function: Callable[[], T]) -> T:
        """Call, in the worker's thread, a function that waits for the process."""
        self._current = current = self._thread.do(function)
        return await current

    def kill(self) -> None:
        """Kill the process, whatever it does. From any thread."""
        self._process.kill()

    def give_back(self) -> None:
        """Return the process to the pool. From the worker's thread, as the last thing that it does there."""
        self._give_back()

    async def aclose(self) -> None:
        """Return the process to the pool; kill it first where it is at work."""
        if self._closing is None:
            self._finalizer.detach()
            current = self._current
            if self._process.returned and current is not None and current.done() and not current.cancelled():
                return
            # A cancelled call still runs in the thread, and `give_back` waits behind it.
            if self._current is not None and (self._current.cancelled() or not self._current.done()):
                self.kill()
            self._closing = self._thread.do(self._give_back)
        await asyncio.shield(self._closing)


class _Process:
    """A process that can be killed; on Linux without the risk to hit another process that got its id since."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self.returned = False
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    def note(self, pid: int | None) -> None:
        self.pid = pid
        if pid is not None and hasattr(os, "pidfd_open"):
            with suppress(OSError):  # an old kernel, or a filter around this process that refuses the call
                self._descriptor = os.pidfd_open(pid)

    def kill(self) -> None:
        with self._lock, suppress(OSError):
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, _KILL)
            elif self.pid is not None:
                os.kill(self.pid, _KILL)

    def forget(self) -> None:
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
            self.pid = self._descriptor = None


@dataclass(slots=True, eq=False)
class _Pool:
    """Processes of Monty's own, which only end together.

    Attributes:
        monty: The processes.
        taken: The processes that are taken.
        peak: The most that were taken since the last look.
        size: The most that were ever taken, which is the number of processes.
    """

    monty: Monty
    busy: int = 0
    peak: int = 0
    size: int = 0

    def take(self) -> None:
        self.busy += 1
        self.peak, self.size = max(self.peak, self.busy), max(self.size, self.busy)

    def end(self) -> None:
        self.monty.__exit__(None, None, None)


class Workers:
    """The processes of one event loop, started when the first is needed, and ended when they are idle.

    Args:
        least: Processes kept ready.
        most: Processes at most; a `Worker` has one to itself.
        timeout: Seconds to wait for a process when all of them are taken.
        binary: The `monty` binary or a wrapper that starts it; None finds the installed one.
    """

    def __init__(self, *, least: int, most: int, timeout: float, binary: str | Path | None) -> None:
        self._least, self._most, self._timeout, self._binary = least, most, timeout, binary
        self._lock = asyncio.Lock()
        self._free = asyncio.Semaphore(most)
        self._threads: list[JobThread] = []
        self._pool: _Pool | None = None
        self._retired: list[_Pool] = []
        self._timer: asyncio.TimerHandle | None = None

    async def open(self, **options: Any) -> Worker:
        """Take a process, for a session.

        Args:
            options: Those of `Monty.checkout`.

        Raises:
            SandboxUnavailable: No process could be started, or none came free in time, or this is a fork; see `note_use`.
        """
        note_use()
        try:
            async with asyncio.timeout(self._timeout):
                await self._free.acquire()
        except TimeoutError:
            reason = f"none of its workers, {self._most} at most, came free in {self._timeout:g} s"
            raise SandboxUnavailable("monty", reason, "Close executions that are done, or raise max_workers") from None
        try:
            async with self._lock:
                if self._pool is None:
                    self._pool = _Pool(await asyncio.to_thread(self._start))
                pool = self._pool
            thread = self._threads.pop() if self._threads else JobThread()
        except BaseException as error:
            self._free.release()
            if isinstance(error, RuntimeError):  # the system allows no further thread
                raise _does_not_start(error) from error
            raise
        pool.take()
        self._watch()
        worker = Worker(pool.monty.checkout(**options), thread, partial(self._release, pool, thread))
        try:
            await worker.open()
        except BaseException as error:
            await worker.aclose()
            if isinstance(error, MontyError | OSError | RuntimeError):
                raise _does_not_start(error) from error
            raise
        return worker

    async def aclose(self) -> None:
        """End the processes. Others are started when workers are taken again."""
        async with self._lock:
            pools = [*self._retired, *([] if self._pool is None else [self._pool])]
            self._retired, self._pool = [], None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for pool in pools:
            await asyncio.to_thread(pool.end)
        self._end_threads()

    def _release(self, pool: _Pool, thread: JobThread) -> None:
        self._threads.append(thread)
        self._free.release()
        pool.busy -= 1
        if not pool.busy and pool in self._retired:
            self._end_later(pool)

    def _watch(self) -> None:
        """Look at the processes after a while, unless that is arranged for."""
        if self._timer is None:
            self._timer = call_later(self._end_idle)

    def _end_idle(self) -> None:
        """Retire the pool where it has more processes than were needed since the last look: the next one grows as needed.

        Monty's pool has no way to end some of its processes. Those of a retired one end when the last is given back.
        """
        self._timer, pool = None, self._pool
        if pool is None or pool.size <= self._least:
            return
        if pool.peak == pool.size:
            pool.peak = pool.busy
            self._watch()
            return
        self._pool = None
        self._end_threads()
        self._retired.append(pool)
        if not pool.busy:
            self._end_later(pool)

    def _end_later(self, pool: _Pool) -> None:
        thread = JobThread()  # the end of a process is waited for, which would block the event loop
        thread.post(lambda: self._end(pool))
        thread.end()

    def _end(self, pool: _Pool) -> None:
        with suppress(MontyError, OSError, RuntimeError):
            pool.end()
        with suppress(ValueError):  # `aclose` has taken it
            self._retired.remove(pool)

    def _end_threads(self) -> None:
        while self._threads:
            self._threads.pop().end()

    def _start(self) -> Monty:
        workers = Monty(
            binary_path=self._binary,
            min_processes=self._least,
            max_processes=self._most,
            checkout_timeout=self._timeout,
            max_checkouts_per_worker=_MAX_CHECKOUTS,
        )
        try:
            workers.__enter__()
        except (MontyError, OSError, RuntimeError) as error:
            raise _does_not_start(error) from error
        return workers


def call_later(method: Callable[[], None]) -> asyncio.TimerHandle:
    """Call a method after `IDLE` seconds, where somebody still holds its object: a timer alone does not keep it."""
    weak = weakref.WeakMethod(method)

    def call() -> None:
        if (function := weak()) is not None:
            function()

    # A context of its own: that of the caller holds all that runs there, such as a graph, and with it this very object.
    return asyncio.get_running_loop().call_later(IDLE, call, context=Context())


def _does_not_start(error: Exception) -> SandboxUnavailable:
    return SandboxUnavailable("monty", f"its worker does not start ({error})", _REMEDY)
