"""A thread that makes one blocking call after another for an event loop."""

import asyncio
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

__all__ = ["Line"]

T = TypeVar("T")
_Job: TypeAlias = tuple[Callable[[], Any], asyncio.Future[Any] | None]


class Line:
    """A thread. It ends by `end`, or with the line that nobody holds; the interpreter's end does not wait for it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        threading.Thread(target=_work, args=(self._jobs, self._loop), name="codemode-monty", daemon=True).start()
        weakref.finalize(self, self._jobs.put, None).atexit = False

    def do(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Call a function when those before have returned. Who gives the future up does not stop it."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((function, future))
        return future

    def post(self, function: Callable[[], object]) -> None:
        """Call a function likewise, from any thread, and tell nobody."""
        self._jobs.put((function, None))

    def end(self) -> None:
        """End the thread when everything has been called."""
        self._jobs.put(None)


def _work(jobs: "SimpleQueue[_Job | None]", loop: asyncio.AbstractEventLoop) -> None:
    while (job := jobs.get()) is not None:
        function, future = job
        result: Any = None
        error: BaseException | None = None
        try:
            result = function()
        except BaseException as problem:
            error = problem
        if future is not None:
            with suppress(RuntimeError):  # the loop has ended, and nobody asks any more
                loop.call_soon_threadsafe(_answer, future, result, error)
        # While it waits it holds nothing, or what nobody else holds would stay.
        del job, function, future, result, error


def _answer(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
