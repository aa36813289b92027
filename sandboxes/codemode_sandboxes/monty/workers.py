"""Monty's worker processes."""

import asyncio
import atexit
import functools
import time
from pathlib import Path
from typing import Any

from pydantic_monty import AsyncMonty, AsyncMontySession, MontyError

from codemode_sandboxes.errors import SandboxUnavailable

__all__ = ["Workers"]

_THREAD_GRACE = 0.02
_MAX_CHECKOUTS = 500
_REMEDY = "Reinstall it with `pip install --force-reinstall pydantic-monty`"


class Workers:
    """Processes of one event loop, started when the first is needed.

    Args:
        least: Processes kept ready.
        most: Processes that there may be; a session owns one from its start to its end.
        timeout: Seconds to wait for one when all of them are taken.
        binary: The `monty` binary or a wrapper that starts it; None finds the installed one.
    """

    def __init__(self, *, least: int, most: int, timeout: float, binary: str | Path | None) -> None:
        self._least, self._most, self._timeout, self._binary = least, most, timeout, binary
        self._lock = asyncio.Lock()
        self._started: AsyncMonty | None = None

    async def open(self, **options: Any) -> AsyncMontySession:
        """Begin a session, with what `AsyncMonty.checkout` takes.

        Raises:
            SandboxUnavailable: No process could be started, or none came free in time.
        """
        async with self._lock:
            if self._started is None:
                self._started = await self._start()
        session = self._started.checkout(**options)
        try:
            await session.__aenter__()
        except TimeoutError:
            reason = f"none of its workers, {self._most} at most, came free in {self._timeout:g} s"
            raise SandboxUnavailable("monty", reason, "Close executions that are done, or raise max_workers") from None
        except (MontyError, OSError, RuntimeError) as error:
            raise _does_not_start(error) from error
        return session

    async def aclose(self) -> None:
        """End the processes. Others are started where sessions are begun again."""
        async with self._lock:
            started, self._started = self._started, None
        if started is not None:
            await started.__aexit__(None, None, None)
            await asyncio.sleep(_THREAD_GRACE / 2)

    async def _start(self) -> AsyncMonty:
        _let_threads_finish_at_exit()
        workers = AsyncMonty(
            binary_path=self._binary,
            min_processes=self._least,
            max_processes=self._most,
            checkout_timeout=self._timeout,
            max_checkouts_per_worker=_MAX_CHECKOUTS,
        )
        try:
            await workers.__aenter__()
        except (MontyError, OSError, RuntimeError) as error:
            raise _does_not_start(error) from error
        return workers


def _does_not_start(error: Exception) -> SandboxUnavailable:
    return SandboxUnavailable("monty", f"its worker does not start ({error})", _REMEDY)


@functools.cache
def _let_threads_finish_at_exit() -> None:
    # pydantic-monty's threads may still be waking the event loop when the interpreter ends, and then abort the
    # process. They need a moment: see aclose() for programs that close, and this for those that do not.
    atexit.register(time.sleep, _THREAD_GRACE)
