"""Worker processes: one pool for each event loop, made when the loop first needs it."""

import asyncio
import atexit
import functools
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakSet

from pydantic_monty import AsyncMonty, AsyncMontySession, MontyError

from codemode_sandboxes.contract import Execution
from codemode_sandboxes.errors import SandboxUnavailable

__all__ = ["Pools"]

_THREAD_GRACE = 0.02
_MAX_CHECKOUTS = 500


@dataclass(slots=True, eq=False)
class _Pool:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    workers: AsyncMonty | None = None
    executions: WeakSet[Execution] = field(default_factory=WeakSet)


class Pools:
    """The pools of one sandbox.

    Args:
        min_workers: Processes kept ready in each pool.
        max_workers: Processes that a pool may have; a run owns one from its start to its end.
        checkout_timeout: Seconds to wait for a worker when all of them are taken.
        binary: The `monty` binary or a wrapper that starts it; None finds the installed one.
    """

    def __init__(
        self, *, min_workers: int, max_workers: int, checkout_timeout: float, binary: str | Path | None
    ) -> None:
        self._min_workers, self._max_workers = min_workers, max_workers
        self._checkout_timeout, self._binary = checkout_timeout, binary
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}

    async def checkout(self, **options: Any) -> AsyncMontySession:
        """Take a worker of the running loop's pool.

        Raises:
            SandboxUnavailable: No worker could be started, or none came free in time.
        """
        pool = self._pool()
        async with pool.lock:
            if pool.workers is None:
                pool.workers = await self._start_workers()
        session = pool.workers.checkout(**options)
        try:
            await session.__aenter__()
        except TimeoutError:
            reason = f"none of its workers, {self._max_workers} at most, came free in {self._checkout_timeout:g} s"
            raise SandboxUnavailable("monty", reason, "Close executions that are done, or raise max_workers") from None
        except (MontyError, OSError, RuntimeError) as error:
            raise SandboxUnavailable("monty", f"its worker does not start ({error})", _REMEDY) from error
        return session

    def add(self, execution: Execution) -> None:
        """Have an execution closed with the running loop's pool."""
        self._pool().executions.add(execution)

    async def aclose(self) -> None:
        """End the running loop's executions and its workers."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is None:
            return
        await asyncio.gather(*(execution.aclose() for execution in list(pool.executions)))
        async with pool.lock:
            if pool.workers is not None:
                await pool.workers.__aexit__(None, None, None)
                await asyncio.sleep(_THREAD_GRACE / 2)

    def _pool(self) -> _Pool:
        for loop in [loop for loop in list(self._pools) if loop.is_closed()]:
            self._pools.pop(loop, None)  # its workers end with the last reference
        return self._pools.setdefault(asyncio.get_running_loop(), _Pool())

    async def _start_workers(self) -> AsyncMonty:
        _let_threads_finish_at_exit()
        workers = AsyncMonty(
            binary_path=self._binary,
            min_processes=self._min_workers,
            max_processes=self._max_workers,
            checkout_timeout=self._checkout_timeout,
            max_checkouts_per_worker=_MAX_CHECKOUTS,
        )
        try:
            await workers.__aenter__()
        except (MontyError, OSError, RuntimeError) as error:
            raise SandboxUnavailable("monty", f"its worker does not start ({error})", _REMEDY) from error
        return workers


_REMEDY = "Reinstall it with `pip install --force-reinstall pydantic-monty`"


@functools.cache
def _let_threads_finish_at_exit() -> None:
    # pydantic-monty's threads may still be waking the event loop when the interpreter ends, and then abort the
    # process. They need a moment: see pool.aclose() for programs that close, and this for those that do not.
    atexit.register(time.sleep, _THREAD_GRACE)
