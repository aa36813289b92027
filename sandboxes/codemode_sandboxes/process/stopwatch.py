"""A bound on the time that is spent in blocks of code, one after another."""

import asyncio
import weakref
from types import TracebackType
from typing import Self

__all__ = ["Stopwatch"]


class Stopwatch:
    """Bounds the time that tasks spend in its blocks, together, by `TimeoutError`.

        async with stopwatch:
            ...

    As `asyncio.timeout` does, it cancels the task that is in a block. But a block that is entered again and again takes
    no timer of its own, and between blocks no time passes.

    Args:
        seconds: The most that all blocks may take.
    """

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._entered = 0.0
        self._cancelling = 0
        self._expired = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        self._entered = self._loop.time()
        if self._timer is None:
            self._set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        self._left -= self._loop.time() - self._entered
        if self._expired:
            self._expired = False
            assert task is not None
            if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def _set(self) -> None:
        # The timer that goes off late, or after all, must not keep what holds this.
        self._timer = self._loop.call_at(self._entered + self._left, _go_off, weakref.ref(self))

    def _go_off(self) -> None:
        self._timer = None
        if self._task is None:
            return
        if self._loop.time() < self._entered + self._left:  # it was set in a block before this one
            self._set()
        else:
            self._expired = True
            self._task.cancel()

    def close(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()


def _go_off(stopwatch: "weakref.ref[Stopwatch]") -> None:
    if (found := stopwatch()) is not None:
        found._go_off()
