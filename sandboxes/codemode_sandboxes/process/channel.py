"""A byte stream to a guest, with the means to end it."""

import asyncio
import contextlib
import os
import signal
import weakref
from collections.abc import Awaitable
from typing import Protocol, TypeVar

__all__ = ["Channel", "GuestProcess", "StreamChannel", "describe_exit", "readable", "shielded"]

T = TypeVar("T")

_CHUNK = 256 * 1024
_READ = 64 * 1024  # the memory for more is asked of the kernel, at each read anew


class Channel(Protocol):
    """A guest, as an execution sees it. Used by one task at a time, but for `kill` and `aclose`."""

    async def send(self, data: bytes) -> None:
        """Send all of it. What a guest that is gone does not take is lost."""
        ...

    async def receive(self) -> bytes:
        """Give the next bytes; none where the guest, or this channel, is gone."""
        ...

    def kill(self) -> None:
        """End the guest at once. May be called at any time, in any state."""
        ...

    async def exit_status(self) -> int | None:
        """Wait for the guest's end: its exit status, minus a signal's number, or None where it is not known."""
        ...

    def out_of_memory(self) -> bool:
        """Whether the guest was ended for the memory that it used, where that shows. Asked once it has ended."""
        ...

    async def aclose(self) -> None:
        """Kill the guest and free all that it holds. May be called again; safe when cancelled."""
        ...


class GuestProcess(Protocol):
    """The process behind a `StreamChannel`."""

    def kill(self) -> None:
        """End it at once; nothing happens where it has ended."""
        ...

    async def wait(self) -> int | None:
        """Wait for its end; see `Channel.exit_status`."""
        ...

    def out_of_memory(self) -> bool:
        """Whether its memory was used up; see `Channel.out_of_memory`."""
        ...

    async def release(self) -> None:
        """Free what stands for it, once it is killed."""
        ...

    def abandon(self) -> None:
        """Kill it and free what stands for it, without waiting: nobody holds the channel any more."""
        ...


class StreamChannel:
    """A guest at the other end of two pipes, or of one socket.

    Args:
        reading: The descriptor on which the guest is heard, non-blocking.
        writing: The one on which it hears, non-blocking; it may be the same.
        process: The guest's process.
        received: What was read already.
    """

    def __init__(self, reading: int, writing: int, process: GuestProcess, received: bytes = b"") -> None:
        self._reading, self._writing, self._process, self._received = reading, writing, process, received
        self._loop = asyncio.get_running_loop()
        self._hearer: asyncio.Future[bytes] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._listening = False
        self._exit: asyncio.Future[int | None] | None = None
        self._closed = self._freed = False
        self._abandon = weakref.finalize(self, _abandon, self._loop, {reading, writing}, process)

    @property
    def process(self) -> GuestProcess:
        """The guest's process."""
        return self._process

    async def send(self, data: bytes) -> None:
        """Send all of it; see `Channel`."""
        rest = memoryview(data)
        while rest and not self._closed:
            try:
                rest = rest[os.write(self._writing, rest[:_CHUNK]) :]
            except BlockingIOError:
                await self._can_write()
            except OSError:
                return

    async def receive(self) -> bytes:
        """Give the next bytes; see `Channel`."""
        if self._received:
            data, self._received = self._received, b""
            return data
        if self._closed:
            return b""
        try:
            return self._read()
        except BlockingIOError:
            pass
        except OSError:
            return b""
        if not self._listening:  # and from then on, for telling the loop takes longer than listening
            self._loop.add_reader(self._reading, _heard, weakref.ref(self))
            self._listening = True
        self._hearer = self._loop.create_future()
        try:
            return await self._hearer
        finally:
            self._hearer = None

    def _read(self) -> bytes:
        """Read what is there: at the end nothing. Raises `BlockingIOError` where there is nothing yet."""
        return os.read(self._reading, _READ)

    def _heard(self) -> None:
        try:
            data = self._read()
        except BlockingIOError:
            return
        except OSError:
            data = b""
        heard = self._hearer is not None and not self._hearer.done()
        if not (data and heard):
            self._loop.remove_reader(self._reading)
            self._listening = False
        if heard:
            _resolve(self._hearer, data)
        else:
            self._received += data

    async def _can_write(self) -> None:
        self._writer = self._loop.create_future()
        self._loop.add_writer(self._writing, _resolve, self._writer, None)
        try:
            await self._writer
        finally:
            if not self._closed:  # then the descriptor may be somebody else's by now
                self._loop.remove_writer(self._writing)

    def kill(self) -> None:
        """End the guest at once."""
        if not self._closed:
            self._process.kill()

    async def exit_status(self) -> int | None:
        """Wait for the guest's end; see `Channel`."""
        if self._closed:
            return None
        self._exit = asyncio.ensure_future(self._process.wait())
        try:
            return await self._exit
        except asyncio.CancelledError:
            if self._closed:
                return None
            raise

    def out_of_memory(self) -> bool:
        """Whether its memory was used up; see `Channel`."""
        return not self._closed and self._process.out_of_memory()

    async def aclose(self) -> None:
        """Kill the guest and free the descriptors and the process."""
        if self._closed:
            return
        self._closed = True
        self._abandon.detach()
        self._process.kill()
        self._loop.remove_reader(self._reading)
        self._loop.remove_writer(self._writing)
        _resolve(self._hearer, b"")
        _resolve(self._writer, None)
        for descriptor in {self._reading, self._writing}:
            os.close(descriptor)
        try:
            await shielded(self._free())
        except BaseException:
            if not self._freed:  # the event loop is being closed, with all that runs in it
                self._process.abandon()
            raise

    async def _free(self) -> None:
        if self._exit is not None:
            self._exit.cancel()
            await asyncio.wait({self._exit})
        await self._process.release()
        self._freed = True


def describe_exit(status: int | None) -> str:
    """Say in words how a process ended."""
    if status is None:
        return "ended for a reason that is not known"
    if status >= 0:
        return f"ended with exit status {status}"
    name = f"signal {-status}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-status).name
    return f"was killed by {name}"


async def readable(descriptor: int) -> None:
    """Wait until there is something to read, or the other end is closed."""
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()
    loop.add_reader(descriptor, _resolve, waiter, None)
    try:
        await waiter
    finally:
        loop.remove_reader(descriptor)


async def shielded(work: Awaitable[None]) -> None:
    """Do this to its end, even if the caller is cancelled meanwhile, however often; the cancellation comes after."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.done() and task.cancelled():
                raise
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


def _resolve(waiter: "asyncio.Future[T] | None", result: T) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(result)


def _heard(channel: "weakref.ref[StreamChannel]") -> None:
    if (found := channel()) is not None:
        found._heard()


def _abandon(loop: asyncio.AbstractEventLoop, descriptors: set[int], process: GuestProcess) -> None:
    # In whatever thread the garbage is collected; the loop's descriptors are the loop's to touch.
    def close() -> None:
        for descriptor in descriptors:
            if not loop.is_closed():
                loop.remove_reader(descriptor)
            os.close(descriptor)

    process.abandon()
    try:
        loop.call_soon_threadsafe(close)
    except RuntimeError:
        close()
