"""A byte stream to a guest, with the means to end it."""

import asyncio
import contextlib
import signal
import socket
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

__all__ = ["Channel", "GuestProcess", "SocketChannel", "describe_exit", "readable", "shielded"]

_CHUNK = 256 * 1024


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

    async def aclose(self) -> None:
        """Kill the guest and free all that it holds. May be called again; safe when cancelled."""
        ...


class GuestProcess(Protocol):
    """The process behind a `SocketChannel`."""

    def kill(self) -> None:
        """End it at once; nothing happens where it has ended."""
        ...

    async def wait(self) -> int | None:
        """Wait for its end; see `Channel.exit_status`."""
        ...

    async def release(self) -> None:
        """Free what stands for it, once it is killed."""
        ...

    def abandon(self) -> None:
        """Kill it and free what stands for it, without waiting: nobody holds the channel any more."""
        ...


class SocketChannel:
    """A guest at the other end of a stream socket.

    Args:
        stream: The host's end, non-blocking.
        process: The guest's process.
        received: What was read from the stream already.
    """

    def __init__(self, stream: socket.socket, process: GuestProcess, received: bytes = b"") -> None:
        self._stream, self._process, self._received = stream, process, received
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._exit: asyncio.Future[int | None] | None = None
        self._closed = False
        self._abandon = weakref.finalize(self, _abandon, stream, process)

    async def send(self, data: bytes) -> None:
        """Send all of it; see `Channel`."""
        rest = memoryview(data)
        while rest and not self._closed:
            try:
                rest = rest[self._stream.send(rest, socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                await self._wait(self._loop.add_writer, self._loop.remove_writer)
            except OSError:
                return

    async def receive(self) -> bytes:
        """Give the next bytes; see `Channel`."""
        if self._received:
            data, self._received = self._received, b""
            return data
        while not self._closed:
            try:
                return self._stream.recv(_CHUNK)
            except BlockingIOError:
                await self._wait(self._loop.add_reader, self._loop.remove_reader)
            except OSError:
                break
        return b""

    async def _wait(self, add: Callable[..., None], remove: Callable[[int], bool]) -> None:
        waiter = self._waiter = self._loop.create_future()
        descriptor = self._stream.fileno()
        add(descriptor, _resolve, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            remove(descriptor)

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

    async def aclose(self) -> None:
        """Kill the guest and free the socket and the process."""
        if self._closed:
            return
        self._closed = True
        self._abandon.detach()
        self._process.kill()
        if self._waiter is not None:
            _resolve(self._waiter)
            self._loop.remove_reader(self._stream.fileno())
            self._loop.remove_writer(self._stream.fileno())
        self._stream.close()
        await shielded(self._free())

    async def _free(self) -> None:
        if self._exit is not None:
            self._exit.cancel()
            await asyncio.wait({self._exit})
        await self._process.release()


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
    loop.add_reader(descriptor, _resolve, waiter)
    try:
        await waiter
    finally:
        loop.remove_reader(descriptor)


async def shielded(work: Coroutine[Any, Any, None]) -> None:
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


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


def _abandon(stream: socket.socket, process: GuestProcess) -> None:
    process.abandon()
    stream.close()
