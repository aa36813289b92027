"""One event loop, in a thread of its own, for synchronous callers."""

import asyncio
import os
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="codemode-graph", daemon=True).start()
    return loop


if hasattr(os, "register_at_fork"):  # Windows has no fork
    # A fork has the loop and not the thread that runs it: whoever waited for that would wait for ever.
    os.register_at_fork(after_in_child=_loop.cache_clear)


def wait_for(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the loop for synchronous callers, in the caller's context, and wait for it.

    It works where no event loop runs, and in a thread that runs one (a notebook), which it blocks meanwhile. The loop lives
    as long as the process, so a sandbox or a client that holds something in it still has that at the next call.

    Args:
        coroutine: The coroutine.

    Returns:
        Its value. An exception, `KeyboardInterrupt` included, cancels it and is raised.
    """
    future = asyncio.run_coroutine_threadsafe(coroutine, _loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
