"""Monty's worker processes, each driven by a thread while it is taken.

Monty's own asynchronous interface wakes the event loop at every suspension. A thread passes those by of which the host
need not be told; a tool call takes half the time so.
"""

import asyncio
import os
import signal
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic_monty import Monty, MontyError, MontySession

from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.monty.line import Line

__all__ = ["Worker", "Workers"]

T = TypeVar("T")
_MAX_CHECKOUTS = 500
_REMEDY = "Reinstall it with `pip install --force-reinstall pydantic-monty`"


class Worker:
    """A process that is taken, until it is closed or nobody holds it.

    Args:
        session: Not begun yet.
        line: The worker's thread, for this time.
        freed: Called in the event loop once the process has been given back.

    Attributes:
        session: To be used in the worker's thread only.
    """

    def __init__(self, session: MontySession, line: Line, freed: Callable[[], None]) -> None:
        self.session = session
        self._line, self._process = line, _Process()
        self._doing: asyncio.Future[Any] | None = None
        self._closing: asyncio.Future[None] | None = None
        loop, process = asyncio.get_running_loop(), self._process

        def give_back() -> None:
            with suppress(MontyError, OSError, RuntimeError):
                session.__exit__(None, None, None)
            process.forget()
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(freed)

        self._give_back = give_back
        self._forgotten = weakref.finalize(self, line.post, give_back)
        self._forgotten.atexit = False

    @property
    def pid(self) -> int | None:
        """The process's id."""
        return self._process.pid

    async def open(self) -> None:
        """Begin the session."""

        def enter() -> None:
            self.session.__enter__()
            self._process.note(self.session.worker_pid)

        await self.do(enter)

    async def do(self, function: Callable[[], T]) -> T:
        """Call, in the worker's thread, what waits for its process."""
        self._doing = doing = self._line.do(function)
        return await doing

    def kill(self) -> None:
        """End the process, in the middle of whatever it does. From any thread."""
        self._process.kill()

    async def aclose(self) -> None:
        """Give the process back; end it where it is at work."""
        if self._closing is None:
            self._forgotten.detach()
            if self._doing is not None and (self._doing.cancelled() or not self._doing.done()):
                self.kill()
            self._closing = self._line.do(self._give_back)
        await asyncio.shield(self._closing)


class _Process:
    """A process that can be killed, on Linux without ever hitting another one that has got its id since."""

    def __init__(self) -> None:
        self.pid: int | None = None
        self._descriptor: int | None = None
        self._lock = threading.Lock()

    def note(self, pid: int | None) -> None:
        self.pid = pid
        if pid is not None and hasattr(os, "pidfd_open"):
            with suppress(OSError):  # an old kernel, or one that is not asked
                self._descriptor = os.pidfd_open(pid)

    def kill(self) -> None:
        with self._lock, suppress(OSError):
            if self._descriptor is not None:
                signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
            elif self.pid is not None:
                os.kill(self.pid, getattr(signal, "SIGKILL", signal.SIGTERM))

    def forget(self) -> None:
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
            self.pid = self._descriptor = None


class Workers:
    """The processes of one event loop, started when the first is needed.

    Args:
        least: Processes kept ready.
        most: Processes that there may be; a `Worker` has one to itself.
        timeout: Seconds to wait for one when all of them are taken.
        binary: The `monty` binary or a wrapper that starts it; None finds the installed one.
    """

    def __init__(self, *, least: int, most: int, timeout: float, binary: str | Path | None) -> None:
        self._least, self._most, self._timeout, self._binary = least, most, timeout, binary
        self._lock = asyncio.Lock()
        self._free = asyncio.Semaphore(most)
        self._lines: list[Line] = []
        self._started: Monty | None = None

    async def open(self, **options: Any) -> Worker:
        """Take a process, for a session with what `Monty.checkout` takes.

        Raises:
            SandboxUnavailable: No process could be started, or none came free in time.
        """
        async with self._lock:
            if self._started is None:
                self._started = await asyncio.to_thread(self._start)
            started = self._started
        try:
            async with asyncio.timeout(self._timeout):
                await self._free.acquire()
        except TimeoutError:
            reason = f"none of its workers, {self._most} at most, came free in {self._timeout:g} s"
            raise SandboxUnavailable("monty", reason, "Close executions that are done, or raise max_workers") from None
        try:
            line = self._lines.pop() if self._lines else Line()
        except RuntimeError as error:  # no thread can be started
            self._free.release()
            raise _does_not_start(error) from error
        worker = Worker(started.checkout(**options), line, partial(self._freed, line))
        try:
            await worker.open()
        except BaseException as error:
            await worker.aclose()
            if isinstance(error, MontyError | OSError | RuntimeError):
                raise _does_not_start(error) from error
            raise
        return worker

    async def aclose(self) -> None:
        """End the processes. Others are started where workers are taken again."""
        async with self._lock:
            started, self._started = self._started, None
        if started is not None:
            await asyncio.to_thread(started.__exit__, None, None, None)
        while self._lines:
            self._lines.pop().end()

    def _freed(self, line: Line) -> None:
        self._lines.append(line)
        self._free.release()

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


def _does_not_start(error: Exception) -> SandboxUnavailable:
    return SandboxUnavailable("monty", f"its worker does not start ({error})", _REMEDY)
