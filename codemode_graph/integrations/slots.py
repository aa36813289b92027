"""Bound the calls of clients that run and that wait at one time, stop those whose clients have gone, and end them all."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio

from codemode_graph.errors import CodeModeError

__all__ = ["CallSlots", "ClientDisconnected", "Refused", "Slot", "Stopped"]

T = TypeVar("T")


class Refused(CodeModeError):
    """A call is not taken: too many run and wait, or the server shuts down. Nothing was run."""


class ClientDisconnected(CodeModeError):
    """A call was stopped because its client has hung up."""


class Stopped(CodeModeError):
    """A call was stopped because the server shuts down."""


class Slot:
    """The place of a call among those that run."""

    def __init__(self, slots: "CallSlots", free: asyncio.Semaphore) -> None:
        self._slots, self._free = slots, free
        self._acquired = False

    async def __aenter__(self) -> "Slot":
        self._slots.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._slots.waiting -= 1
        self._acquired = True
        self._slots.running += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._acquired:  # not where the call was ended while it waited for a person, or to go on after that
            self._acquired = False
            self._slots.running -= 1
            self._free.release()

    @asynccontextmanager
    async def pause(self) -> AsyncIterator[None]:
        """Free the place for another call while a person is asked: their program does not run meanwhile."""
        await self.__aexit__()
        self._slots.asking += 1
        try:
            yield
        finally:
            self._slots.asking -= 1
        await self.__aenter__()


class CallSlots:
    """Runs calls, each in a task of its own.

    Args:
        running: Calls that run at one time.
        waiting: Further calls that wait for it, or for a person. One more is refused.

    Attributes:
        running: The calls that run now.
        waiting: The calls that wait to run.
        asking: The calls that wait for a person.
        closed: Calls are refused, because the server shuts down.
    """

    def __init__(self, *, running: int = 32, waiting: int = 256) -> None:
        self._most_running, self._most_waiting = running, waiting
        self._free = asyncio.Semaphore(running)
        self._tasks: set[asyncio.Task[object]] = set()
        self._handlers = 0
        self._ended = asyncio.Event()
        self.running = self.waiting = self.asking = 0
        self.closed = False

    @property
    def full(self) -> bool:
        """True where one more call is refused."""
        # Calls that wait for a person count as well: each keeps its run in memory for as long as nobody answers.
        return len(self._tasks) >= self._most_running + self._most_waiting

    async def run(self, work: Callable[[Slot], Awaitable[T]], *, disconnected: asyncio.Event | None = None) -> T:
        """Run a call once it has a slot.

        Args:
            work: The call.
            disconnected: Set when the client has hung up: the call is stopped then.

        Raises:
            Refused: The call is not taken.
            Stopped: The server shuts down, and the call did not end in time.
            Gone: The client has hung up.
            asyncio.CancelledError: The client has cancelled its request.
        """
        if self.closed:
            raise Refused("the server is shutting down, and nothing was run: try again in a moment")
        if self.full:
            raise Refused(
                f"the server is busy, and nothing was run: {self._most_running} calls run and {self._most_waiting} wait. "
                "Try again later"
            )
        # The SDK cancels a request by a cancel scope of anyio, under which LangGraph leaves its nodes running, and which
        # cancels anew what still cleans up. A task is cancelled once, and as asyncio does it.
        task = asyncio.create_task(self._run(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        hang_up = None if disconnected is None else asyncio.create_task(disconnected.wait())
        self._handlers += 1
        try:
            await asyncio.wait([task] if hang_up is None else [task, hang_up], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClientDisconnected("the client has gone")
            if task.cancelled():
                raise Stopped("the server is shutting down")
            return task.result()
        finally:
            if hang_up is not None:
                hang_up.cancel()
            task.cancel()
            # Under the scope of a cancelled request every further wait would be cancelled, too.
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task])
            self._handlers -= 1
            if not self._handlers:
                self._ended.set()

    async def _run(self, work: Callable[[Slot], Awaitable[T]]) -> T:
        async with Slot(self, self._free) as slot:
            return await work(slot)

    async def close(self, *, grace: float) -> None:
        """Refuse further calls, wait so many seconds for those that were taken, and stop the others."""
        self.closed = True
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=grace)
        for task in list(self._tasks):
            task.cancel()
        # A handler still composes its answer when its task is over; the server must not end before that.
        if self._handlers:
            self._ended.clear()
            await self._ended.wait()
