"""A byte stream to a guest, with the means to end the guest."""

import asyncio
import contextlib
import os
import select
import signal
import weakref
from collections.abc import Awaitable
from typing import Protocol, TypeVar

__all__ = ["Channel", "GuestProcess", "StreamChannel", "describe_exit", "has_data", "readable", "shielded"]

T = TypeVar("T")

_CHUNK = 256 * 1024
_READ = 64 * 1024  # Python allocates it at each read; above this the C library asks the kernel for memory each time


class Channel(Protocol):
    """A guest, as an execution sees it. One task at a time uses it; `kill` and `aclose` may come from others."""

    async def send(self, data: bytes) -> None:
        """Send all of the data. What a guest does not take because it is gone is lost."""
        ...

    async def receive(self) -> bytes:
        """Return the next bytes; none where the guest, or this channel, is gone."""
        ...

    def kill(self) -> None:
        """End the guest at once. May be called at any time, in any state."""
        ...

    async def exit_status(self) -> int | None:
        """Wait for the guest's end. Return its exit status, a signal's number negated, or None where neither is known."""
        ...

    def out_of_memory(self) -> bool:
        """Return whether the guest was ended for the memory that it used, where that can be known. Ask after its end."""
        ...

    async def aclose(self) -> None:
        """Kill the guest and free all that stands for it. May be called again; safe when cancelled."""
        ...


class GuestProcess(Protocol):
    """The process behind a `StreamChannel`."""

    def kill(self) -> None:
        """End the process at once; do nothing where it has ended."""
        ...

    async def wait(self) -> int | None:
        """Wait for the process's end; see `Channel.exit_status`."""
        ...

    def out_of_memory(self) -> bool:
        """Return whether the process's memory was used up; see `Channel.out_of_memory`."""
        ...

    async def release(self) -> None:
        """Free what stands for the process, once it is killed."""
        ...

    def abandon(self) -> None:
        """Kill the process and free what stands for it, without waiting: nobody holds the channel any more."""
        ...


class StreamChannel:
    """A guest at the other end of two pipes, or of one socket.

    Args:
        reading: The descriptor to read from, non-blocking.
        writing: The descriptor to write to, non-blocking; for a socket the same.
        process: The guest's process.
        received: Bytes that were read already.
    """

    def __init__(self, reading: int, writing: int, process: GuestProcess, received: bytes = b"") -> None:
        self._reading, self._writing, self._process, self._received = reading, writing, process, received
        self._loop = asyncio.get_running_loop()
        self._reader: asyncio.Future[bytes] | None = None
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
        """Send all of the data; see `Channel`."""
        rest = memoryview(data)
        while rest and not self._closed:
            try:
                rest = rest[os.write(self._writing, rest[:_CHUNK]) :]
            except BlockingIOError:
                await self._can_write()
            except OSError:
                return

    async def receive(self) -> bytes:
        """Return the next bytes; see `Channel`."""
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
        # The loop goes on watching after this read: to take a descriptor out and put it in again costs two system calls,
        # and most reads are followed by another. It holds a weak reference, so that a forgotten channel is collected.
        if not self._listening:
            self._loop.add_reader(self._reading, _on_readable, weakref.ref(self))
            self._listening = True
        self._reader = self._loop.create_future()
        try:
            return await self._reader
        finally:
            self._reader = None

    def _read(self) -> bytes:
        """Read what is there; nothing at the stream's end. Raise `BlockingIOError` where there is nothing yet."""
        return os.read(self._reading, _READ)

    def _on_readable(self) -> None:
        try:
            data = self._read()
        except BlockingIOError:
            return
        except OSError:
            data = b""
        awaited = self._reader is not None and not self._reader.done()
        # A guest that sends what nobody waits for is not read further: its pipe fills, and bounds what is kept here.
        if not (data and awaited):
            self._loop.remove_reader(self._reading)
            self._listening = False
        if awaited:
            _resolve(self._reader, data)
        else:
            self._received += data

    async def _can_write(self) -> None:
        self._writer = self._loop.create_future()
        self._loop.add_writer(self._writing, _resolve, self._writer, None)
        try:
            await self._writer
        finally:
            if not self._closed:  # a closed descriptor's number may belong to somebody else by now
                self._loop.remove_writer(self._writing)

    def kill(self) -> None:
        """End the guest at once."""
        if not self._closed:
            self._process.kill()

    async def exit_status(self) -> int | None:
        """Wait for the guest's end; see `Channel.exit_status`."""
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
        """Return whether the guest's memory was used up; see `Channel.out_of_memory`."""
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
        _resolve(self._reader, b"")
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
    """Describe how a process ended, from what `Channel.exit_status` returns."""
    if status is None:
        return "ended for a reason that is not known"
    if status >= 0:
        return f"ended with exit status {status}"
    name = f"signal {-status}"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-status).name
    return f"was killed by {name}"


def has_data(descriptor: int) -> bool:
    """Return whether a read would not wait: there is data, the other end is closed or, for a pidfd, the process ended."""
    poll = select.poll()  # unlike `select.select` it takes descriptors above 1023
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


async def readable(descriptor: int) -> None:
    """Wait until a read would not wait; see `has_data`."""
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()
    loop.add_reader(descriptor, _resolve, waiter, None)
    try:
        await waiter
    finally:
        loop.remove_reader(descriptor)


async def shielded(work: Awaitable[None]) -> None:
    """Do this work to its end, even if the caller is cancelled meanwhile, however often; then raise the cancellation."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.done() and task.cancelled():  # it was the work itself that was cancelled: the loop is closing
                raise
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()


def _resolve(waiter: "asyncio.Future[T] | None", result: T) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(result)


def _on_readable(channel: "weakref.ref[StreamChannel]") -> None:
    if (alive := channel()) is not None:
        alive._on_readable()


def _abandon(loop: asyncio.AbstractEventLoop, descriptors: set[int], process: GuestProcess) -> None:
    # This runs in whatever thread collects the garbage, and a loop's descriptors may be touched in its own thread alone.
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
