"""The functions of a task file, which are anybody's code: bounded in time, and unable to end the evaluation."""

import asyncio
import inspect
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

FUNCTION_SECONDS = 60.0
"""Seconds that a setup or a check may take."""


async def call_function(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a setup or a check, synchronous or not, and return its value.

    Raises:
        TimeoutError: It takes too long.
        RuntimeError: It raised what ends a process, such as `SystemExit`: with status 0 it would end the evaluation as if
            every task were right.
        Exception: Whatever else it raises.
    """
    late = f"it did not end within {FUNCTION_SECONDS:g} seconds"
    try:
        with _alarm(late):
            value = function(*args, **kwargs)
        if not inspect.isawaitable(value):
            return value
        bound = asyncio.timeout(FUNCTION_SECONDS)
        try:
            async with bound:
                return await value
        except TimeoutError as error:
            raise (TimeoutError(late) if bound.expired() else error) from error.__cause__
    except (Exception, KeyboardInterrupt, asyncio.CancelledError):
        raise
    except BaseException as error:
        raise RuntimeError(f"it raised {type(error).__name__}: {error}") from error


@contextmanager
def _alarm(message: str) -> Iterator[None]:
    """Interrupt a synchronous function by a signal, where there are alarms and this is the main thread.

    In a thread of its own it could not be stopped, and would find connections that belong to this one.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(message)

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, FUNCTION_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
