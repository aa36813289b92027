"""Guests kept ready: a few are started ahead of need, by a starter that is made when first needed and when it dies."""

import asyncio
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Generic, Protocol, TypeVar

from codemode_sandboxes.process.channel import StreamChannel

__all__ = ["GuestPool", "Newborn", "StartFailed", "Starter"]

_ATTEMPTS = 3  # a spare may have died unnoticed, and so may the starter
_QUEUE_SECONDS = 60.0  # for a starter that is busy with others' guests
_START_SECONDS = 20.0  # for one guest, on a machine under load
_BUSY_SECONDS = 0.005
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # before starts that failed are tried again: each costs seconds


class StartFailed(Exception):
    """A guest or its starter did not start. The message says why."""


class Newborn(Protocol):
    """A guest that is being started. It belongs to no event loop yet."""

    async def channel(self) -> StreamChannel:
        """Wait until the guest is ready, and return its channel for the running event loop.

        Raises:
            StartFailed: The guest did not start. Nothing is left of it.
        """
        ...

    def close(self) -> None:
        """End the guest; it is not needed."""
        ...


class Starter(Protocol):
    """Starts guests. It belongs to no event loop. Its methods do not wait, and one thread at a time calls them."""

    @property
    def alive(self) -> bool:
        """True while it can start guests."""
        ...

    def fork(self) -> Newborn:
        """Start a guest.

        Raises:
            BlockingIOError: Too many are starting; try again soon.
            StartFailed: The starter is gone.
            OSError: No descriptors are left.
        """
        ...

    def close(self) -> None:
        """End the starter and all guests that were not taken. May be called again."""
        ...


S = TypeVar("S", bound=Starter)


class GuestPool(Generic[S]):
    """Hands out guests, each once. Several event loops and threads may use it.

    Args:
        start: Makes the starter of the guests.
        spares: The number of guests kept ready.
        refill_after: Seconds until a spare that was taken is replaced.
    """

    def __init__(self, start: Callable[[], S], spares: int, *, refill_after: float = 0.0) -> None:
        self._start, self._size, self._refill_after = start, spares, refill_after
        self._lock = threading.Lock()
        self._starter: S | None = None
        self._spares: deque[Newborn] = deque()
        self._at_end = weakref.finalize(self, _close, self._spares)
        self._process = os.getpid()
        self._failures = 0
        self._pause_until = 0.0
        self._reason = ""

    async def take(self) -> StreamChannel:
        """Return a guest that is ready, for the running event loop.

        Raises:
            StartFailed: Guests do not start here. For some seconds after that, every call fails at once.
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
                if not self._has_starter:
                    # To start a process blocks until the kernel has replaced its program: the event loop goes on meanwhile.
                    await asyncio.to_thread(self._renew_starter)
                with self._lock:
                    return self._pop()
            except BlockingIOError:
                await asyncio.sleep(_BUSY_SECONDS)

    @property
    def _has_starter(self) -> bool:
        # In a fork of the host, starter and spares are the parent's.
        return self._starter is not None and self._starter.alive and self._process == os.getpid()

    def _renew_starter(self) -> None:
        with self._lock:
            if not self._has_starter:
                self._forget()
                self._starter = self._start()

    def _pop(self) -> Newborn:
        if self._starter is None or not self._has_starter:
            self._forget()
            self._starter = self._start()
        newborn = self._spares.popleft() if self._spares else self._starter.fork()
        # A new guest starts beside the run that took this one, and competes with it for the processor: hence the delay.
        if self._refill_after:
            # A context of its own: that of the caller holds all that runs there, such as a graph.
            loop = asyncio.get_running_loop()
            loop.call_later(self._refill_after, self._refill_later, self._starter, context=Context())
        else:
            self._refill(self._starter)
        return newborn

    def _refill_later(self, starter: S) -> None:
        with self._lock:
            if self._starter is starter and starter.alive and self._process == os.getpid():
                self._refill(starter)

    def _refill(self, starter: S) -> None:
        try:
            while len(self._spares) < self._size:
                self._spares.append(starter.fork())
        except (StartFailed, OSError):  # the next caller tries again, and reports what it meets
            pass

    def _forget(self) -> None:
        _close(self._spares)
        if self._starter is not None:
            self._starter.close()
        self._starter = None
        self._process = os.getpid()

    @property
    def starter(self) -> S | None:
        """The starter of the guests, where there is one now."""
        return self._starter

    def close(self) -> None:
        """End the starter and the spares. The next `take` makes new ones."""
        with self._lock:
            self._forget()


def _close(spares: deque[Newborn]) -> None:
    while spares:
        spares.pop().close()
