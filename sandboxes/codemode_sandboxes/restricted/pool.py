"""Ready guests: a fork server, started when first needed and again when it dies, and a few guests ahead of need."""

import asyncio
import os
import threading
import time
import weakref
from collections import deque

from codemode_sandboxes.process.channel import StreamChannel
from codemode_sandboxes.restricted.server import ForkServer, Newborn, StartFailed

__all__ = ["GuestPool"]

_ATTEMPTS = 3
_START_SECONDS = 20.0
_FULL_SECONDS = 0.005
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


class GuestPool:
    """Gives guests, each once. May be used from several event loops and threads.

    Args:
        python: The interpreter.
        spares: Guests kept ready.
    """

    def __init__(self, python: str, spares: int) -> None:
        self._python, self._size = python, spares
        self._lock = threading.Lock()
        self._server: ForkServer | None = None
        self._spares: deque[Newborn] = deque()
        self._at_end = weakref.finalize(self, _close, self._spares)
        self._process = os.getpid()
        self._failures = 0
        self._pause_until = 0.0
        self._reason = ""

    async def take(self) -> StreamChannel:
        """Give a guest that is ready, for the running event loop.

        Raises:
            StartFailed: Guests do not start here. After that it is not tried again for a while.
        """
        if time.monotonic() < self._pause_until:
            raise StartFailed(self._reason)
        for _ in range(_ATTEMPTS):
            try:
                async with asyncio.timeout(_START_SECONDS):
                    channel = await (await self._next()).channel()
            except (StartFailed, OSError) as error:
                self._reason = str(error) or "a guest did not start in time"
                continue
            self._failures = 0
            return channel
        pause = min(_FIRST_PAUSE * 2**self._failures, _LONGEST_PAUSE)
        self._failures = min(self._failures + 1, 10)
        self._pause_until = time.monotonic() + pause
        raise StartFailed(self._reason)

    async def _next(self) -> Newborn:
        while True:
            try:
                with self._lock:
                    return self._pop()
            except BlockingIOError:
                await asyncio.sleep(_FULL_SECONDS)

    def _pop(self) -> Newborn:
        if self._process != os.getpid():
            self._forget()
        if self._server is None or not self._server.alive:
            self._forget()
            self._server = ForkServer(self._python)
        newborn = self._spares.popleft() if self._spares else self._server.fork()
        try:
            while len(self._spares) < self._size:
                self._spares.append(self._server.fork())
        except (StartFailed, OSError):  # enough for now: the next caller asks again
            pass
        return newborn

    def _forget(self) -> None:
        _close(self._spares)
        if self._server is not None:
            self._server.close()
        self._server = None
        self._process = os.getpid()

    def layers(self) -> tuple[str, ...]:
        """Name what stands around a guest; see `ForkServer.layers`."""
        return self._server.layers() if self._server is not None else ()

    def close(self) -> None:
        """End the fork server and every guest. The next `take` starts anew."""
        with self._lock:
            self._forget()


def _close(spares: deque[Newborn]) -> None:
    while spares:
        spares.pop().close()
