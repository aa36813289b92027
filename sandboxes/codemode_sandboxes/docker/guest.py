"""A guest in a container: its stream, which the daemon multiplexes, and its process."""

import asyncio
import logging
import ssl

from codemode_sandboxes.docker.facts import DaemonProblem, State
from codemode_sandboxes.docker.host import Guest
from codemode_sandboxes.process.channel import StreamChannel
from codemode_sandboxes.process.spawn import Noise

__all__ = ["AttachedChannel", "ContainerProcess", "Demultiplexer"]

_CHUNK = 256 * 1024
_READ = 64 * 1024  # the memory for more is asked of the kernel, at each read anew
_HEADER_BYTES = 8
_OUTPUT = 1
_FIRST_LOOK, _LONGEST_PAUSE = 0.002, 0.1
_SHELL_SIGNAL = 128
_LATE_SECONDS = 0.2
_STALLED_SECONDS = 0.2

_log = logging.getLogger(__name__)


class Demultiplexer:
    """Takes a daemon's stream apart: a header of eight bytes says whose the next bytes are, and how many.

    Args:
        noise: Keeps what the guest wrote to its standard error.
    """

    def __init__(self, noise: Noise) -> None:
        self._noise = noise
        self._header = b""
        self._left = 0
        self._kind = 0

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the stream, and give what of the guest's standard output is in them."""
        output = []
        rest = memoryview(data)
        while rest:
            if not self._left:
                missing = _HEADER_BYTES - len(self._header)
                self._header += bytes(rest[:missing])
                rest = rest[missing:]
                if len(self._header) < _HEADER_BYTES:
                    break
                self._kind, self._left = self._header[0], int.from_bytes(self._header[4:], "big")
                self._header = b""
                continue
            part, rest = rest[: self._left], rest[self._left :]
            self._left -= len(part)
            if self._kind == _OUTPUT:
                output.append(part)
            else:
                self._noise.add(bytes(part[-4096:]))
        return b"".join(output)


class ContainerProcess:
    """The guest's first process, and all that stands for it on the daemon's side. Implements `GuestProcess`."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._state: State | None = None

    @property
    def guest(self) -> Guest:
        """The container."""
        return self._guest

    def kill(self) -> None:
        """End it; the daemon is asked to and not waited for."""
        self._guest.kill_soon()

    async def wait(self) -> int | None:
        """Wait for its end. Daemons tell a signal as shells do; one that does not answer tells nothing."""
        pause = _FIRST_LOOK
        try:
            while (state := await asyncio.wrap_future(self._guest.state())).running:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            if state.status == _SHELL_SIGNAL + 9 and not state.out_of_memory:
                await asyncio.sleep(_LATE_SECONDS)  # word of a lack of memory can come after the end
                state = await asyncio.wrap_future(self._guest.state())
        except (DaemonProblem, RuntimeError) as problem:
            _log.debug("a guest's end is not known: %s", problem)
            return None
        self._state = state
        return _SHELL_SIGNAL - state.status if state.status > _SHELL_SIGNAL else state.status

    async def running(self) -> bool:
        """Whether it runs still, as far as the daemon tells."""
        try:
            return (await asyncio.wrap_future(self._guest.state())).running
        except (DaemonProblem, RuntimeError):
            return False

    def out_of_memory(self) -> bool:
        """Whether the kernel ended one of its processes for its memory."""
        return self._state is not None and self._state.out_of_memory

    async def release(self) -> None:
        """Have it removed, which takes the daemon a moment; closing the sandbox waits for that."""
        self._guest.discard()

    def abandon(self) -> None:
        """Have it removed."""
        self._guest.discard()


class AttachedChannel(StreamChannel):
    """A guest at the other end of a connection to its daemon.

    Args:
        guest: The guest.
        noise: Keeps what it writes to its standard error.
    """

    def __init__(self, guest: Guest, noise: Noise) -> None:
        self._socket = guest.attached.socket
        # The channel closes descriptors, the guest its socket; the copy also stands for a connection with TLS.
        descriptor = guest.descriptor()
        self._container = ContainerProcess(guest)
        super().__init__(descriptor, descriptor, self._container)
        self._streams = Demultiplexer(noise)

    async def send(self, data: bytes) -> None:
        """Send all of it; see `Channel`."""
        rest = memoryview(data)
        while rest and not self._closed:
            try:
                rest = rest[self._socket.send(rest[:_CHUNK]) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                if not await self._will_take_more():
                    return
            except ssl.SSLWantReadError:
                await asyncio.sleep(_FIRST_LOOK)
            except OSError:
                return

    async def _will_take_more(self) -> bool:
        """Wait until more can be sent. A daemon keeps the connection to a guest that ended with its input unread."""
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

    @property
    def ended(self) -> bool:
        """Whether the guest is known to have ended, or its daemon. What it said meanwhile is kept."""
        try:
            data = self._socket.recv(_READ)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError:
            return True
        self._received += self._streams.feed(data)
        return not data
