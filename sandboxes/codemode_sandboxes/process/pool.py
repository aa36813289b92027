"""Ready guests: what starts them, made when first needed and again when it dies, and a few guests ahead of need."""

import asyncio
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from codemode_sandboxes.process.channel import StreamChannel

__all__ = ["GuestPool", "Newborn", "StartFailed", "Starter"]

_ATTEMPTS = 3
_QUEUE_SECONDS = 60.0
_START_SECONDS = 20.0
_FULL_SECONDS = 0.005
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0


class StartFailed(Exception):
    """A guest, or what starts guests, did not start. The message says why."""


class Newborn(Protocol):
    """A guest that was asked for. Belongs to no event loop yet."""

    async def channel(self) -> StreamChannel:
        """Wait until the guest is ready and give its channel, for the running event loop.

        Raises:
            StartFailed: It did not start. Nothing is left of it.
        """
        ...

    def close(self) -> None:
        """Do without it."""
        ...


class Starter(Protocol):
    """Starts guests. It belongs to no event loop; its methods do not wait, and are called by one thread at a time."""

    @property
    def alive(self) -> bool:
        """Whether it can start guests still."""
        ...

    def fork(self) -> Newborn:
        """Ask for a guest.

        Raises:
            BlockingIOError: Too many were asked for already; ask again soon.
            StartFailed: It is gone.
            OSError: No descriptors are left.
        """
        ...

    def close(self) -> None:
        """End it and all guests that were not taken. May be called again."""
        ...


S = TypeVar("S", bound=Starter)


class GuestPool(Generic[S]):
    """Gives guests, each once. May be used from several event loops and threads.

    Args:
        start: Makes what starts the guests.
        spares: Guests kept ready.
        refill_after: Seconds after which a spare that was taken is replaced; at once where a start costs little.
    """

    def __init__(self, start: Callable[[], S], spares: int, *, refill_after: float = 0.0) -> None:
        self._start, self._size, self._refill_after = start, spares, refill_after
        self._lock = threading.Lock()
        self._server: S | None = None
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
                async with asyncio.timeout(_QUEUE_SECONDS):
                    newborn = await self._next()
                async with asyncio.timeout(_START_SECONDS):
                    channel = await newborn.channel()
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
            self._server = self._start()
        newborn = self._spares.popleft() if self._spares else self._server.fork()
        if self._refill_after:
            asyncio.get_running_loop().call_later(self._refill_after, self._refill_later, self._server)
        else:
            self._refill(self._server)
        return newborn

    def _refill_later(self, server: S) -> None:
        with self._lock:
            if self._server is server and server.alive and self._process == os.getpid():
                self._refill(server)

    def _refill(self, server: S) -> None:
        try:
            while len(self._spares) < self._size:
                self._spares.append(server.fork())
        except (StartFailed, OSError):  # enough for now: the next caller asks again
            pass

    def _forget(self) -> None:
        _close(self._spares)
        if self._server is not None:
            self._server.close()
        self._server = None
        self._process = os.getpid()

    @property
    def server(self) -> S | None:
        """What starts the guests, where there is one now."""
        return self._server

    def close(self) -> None:
        """End what starts the guests, and the spares. The next `take` starts anew."""
        with self._lock:
            self._forget()


def _close(spares: deque[Newborn]) -> None:
    while spares:
        spares.pop().close()
