"""Guests in containers: their start, their stream, which the daemon multiplexes, and their process."""

import asyncio
import logging
import os
import ssl
import time
from concurrent.futures import Future

from codemode_sandboxes.docker.daemon import ContainerState, DaemonProblem
from codemode_sandboxes.docker.host import Guest, Hosts
from codemode_sandboxes.process.channel import StreamChannel
from codemode_sandboxes.process.execution import require_ready
from codemode_sandboxes.process.pool import StartFailed
from codemode_sandboxes.process.spawn import Noise

__all__ = ["AttachedChannel", "ContainerNewborn", "ContainerProcess", "ContainerStarter", "Demultiplexer"]

_CHUNK = 256 * 1024
_READ = 64 * 1024  # for a larger buffer the C library asks the kernel for memory at each read
_HEADER_BYTES = 8
_STDOUT = 1
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.1
_SHELL_SIGNAL = 128
_LATE_SECONDS = 0.2
_STALLED_SECONDS = 0.2
_FRESH_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Demultiplexer:
    """Splits a daemon's stream: a header of eight bytes names the stream of the next bytes, and their number.

    Args:
        noise: Keeps what the guest wrote to its standard error.
    """

    def __init__(self, noise: Noise) -> None:
        self._noise = noise
        self._header = b""
        self._room = 0
        self._kind = 0

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the stream, and return what they hold of the guest's standard output."""
        output = []
        rest = memoryview(data)
        while rest:
            if not self._room:
                missing = _HEADER_BYTES - len(self._header)
                self._header += bytes(rest[:missing])
                rest = rest[missing:]
                if len(self._header) < _HEADER_BYTES:
                    break
                self._kind, self._room = self._header[0], int.from_bytes(self._header[4:], "big")
                self._header = b""
                continue
            part, rest = rest[: self._room], rest[self._room :]
            self._room -= len(part)
            if self._kind == _STDOUT:
                output.append(part)
            else:
                self._noise.add(bytes(part[-4096:]))
        return b"".join(output)


class ContainerProcess:
    """The first process of a guest's container. Implements `GuestProcess`."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._state: ContainerState | None = None

    @property
    def guest(self) -> Guest:
        """The container."""
        return self._guest

    def kill(self) -> None:
        """Ask the daemon to kill the container, without waiting."""
        self._guest.kill_soon()

    async def wait(self) -> int | None:
        """Wait for its end, and return its exit status, or minus a signal; None where the daemon does not answer."""
        pause = _FIRST_PAUSE
        try:
            # A request that waits would hold one of the few threads until the container ends.
            while (state := await asyncio.wrap_future(self._guest.state())).running:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            if state.status == _SHELL_SIGNAL + 9 and not state.out_of_memory:
                # The daemon may learn of a lack of memory only after the end that it caused.
                await asyncio.sleep(_LATE_SECONDS)
                state = await asyncio.wrap_future(self._guest.state())
        except (DaemonProblem, RuntimeError) as problem:
            _log.debug("a guest's end is not known: %s", problem)
            return None
        self._state = state
        # Daemons report a signal as shells do.
        return _SHELL_SIGNAL - state.status if state.status > _SHELL_SIGNAL else state.status

    async def running(self) -> bool:
        """Return whether the daemon reports that it runs."""
        try:
            return (await asyncio.wrap_future(self._guest.state())).running
        except (DaemonProblem, RuntimeError):
            return False

    def out_of_memory(self) -> bool:
        """Return whether the kernel killed one of the container's processes for its memory."""
        return self._state is not None and self._state.out_of_memory

    async def release(self) -> None:
        """Remove the container, without waiting for the daemon; closing the sandbox waits."""
        self._guest.discard()

    def abandon(self) -> None:
        """Remove the container, without waiting."""
        self._guest.discard()


class AttachedChannel(StreamChannel):
    """The channel of a guest at the other end of a connection to its daemon.

    Args:
        guest: The guest.
        noise: Keeps what the guest writes to its standard error.
    """

    def __init__(self, guest: Guest, noise: Noise) -> None:
        self._socket = guest.attached.socket
        # The channel closes its descriptors, and the guest its socket. Over TLS the descriptor only tells when there
        # is something to read: the bytes go through the socket.
        descriptor = guest.descriptor()
        self._container = ContainerProcess(guest)
        super().__init__(descriptor, descriptor, self._container)
        self._streams = Demultiplexer(noise)

    async def send(self, data: bytes) -> None:
        """Send all of the data; see `Channel`."""
        rest = memoryview(data)
        while rest and not self._closed:
            try:
                rest = rest[self._socket.send(rest[:_CHUNK]) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                if not await self._wait_writable():
                    return
            except ssl.SSLWantReadError:
                await asyncio.sleep(_FIRST_PAUSE)
            except OSError:
                return

    async def _wait_writable(self) -> bool:
        """Wait until more can be sent; return False where the guest has ended.

        A daemon keeps open the connection to a guest that ended with unread input, so the socket alone does not tell.
        """
        while True:
            try:
                async with asyncio.timeout(_STALLED_SECONDS):
                    await self._can_write()
                return True
            except TimeoutError:
                if not await self._container.running():
                    return False

    def _read(self) -> bytes:
        while True:
            try:
                data = self._socket.recv(_READ)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise BlockingIOError from None
            if not data or (output := self._streams.feed(data)):
                return data and output

    def ended(self) -> bool:
        """Return whether the connection shows that the guest, or its daemon, has ended. Output that has come is kept."""
        try:
            data = self._socket.recv(_READ)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            return True
        self._received += self._streams.feed(data)
        return not data


class ContainerStarter:
    """Starts guests in containers. Implements `Starter`.

    Args:
        hosts: The daemons.
        memory_bytes: The memory that a program may use.
    """

    def __init__(self, hosts: Hosts, memory_bytes: int) -> None:
        self._hosts, self._memory_bytes = hosts, memory_bytes
        self._starting: list[ContainerNewborn] = []

    @property
    def alive(self) -> bool:
        """True while it can start guests."""
        return self._hosts.alive

    def fork(self) -> "ContainerNewborn":
        """Start a guest; see `Starter`."""
        self._starting = [newborn for newborn in self._starting if newborn.starting]
        if len(self._starting) >= self._hosts.most_starting:
            raise BlockingIOError("enough guests are starting")
        newborn = ContainerNewborn(self)
        self._starting.append(newborn)
        return newborn

    def start(self) -> "Future[Guest]":
        """Start a container."""
        try:
            return self._hosts.start(self._memory_bytes)
        except RuntimeError as error:
            raise StartFailed(f"no more guests are started: {error}") from None

    def close(self) -> None:
        """Do nothing: guests are ended one by one."""


class ContainerNewborn:
    """A container that is starting. Implements `Newborn`."""

    def __init__(self, starter: ContainerStarter) -> None:
        self._starter, self._owner, self._since = starter, os.getpid(), time.monotonic()
        self._future = starter.start()

    @property
    def starting(self) -> bool:
        """True while the daemon is starting it."""
        return not self._future.done()

    async def channel(self) -> StreamChannel:
        """Wait until the guest is ready; see `Newborn`."""
        spare = time.monotonic() - self._since > _FRESH_SECONDS
        try:
            return await self._channel()
        except StartFailed:
            if not spare:
                raise
        # A guest that was kept ready may have lost its daemon meanwhile; that is no reason to fail this run.
        self._future = self._starter.start()
        return await self._channel()

    async def _channel(self) -> StreamChannel:
        try:
            guest = await asyncio.wrap_future(self._future)
        except BaseException:
            self.close()
            raise
        noise = Noise()
        try:
            channel = AttachedChannel(guest, noise)
        except BaseException:
            guest.discard()
            raise
        await require_ready(channel, channel.ended, noise)
        return channel

    def close(self) -> None:
        """Discard the guest, now or once it has started."""
        if self._owner == os.getpid():  # in a fork of the host, the guest is the parent's
            self._future.add_done_callback(_discard)


def _discard(future: "Future[Guest]") -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().discard()
