"""What sandboxes whose guests come from a pool have in common."""

import asyncio
import threading
import weakref
from typing import Generic

from codemode_sandboxes.contract import Limits, Program
from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.process.channel import StreamChannel
from codemode_sandboxes.process.execution import ProcessExecution
from codemode_sandboxes.process.pool import GuestPool, S, StartFailed

__all__ = ["ProcessSandbox"]


class ProcessSandbox(Generic[S]):
    """Gives each program a guest of a pool, and knows the runs of each event loop.

    Args:
        pool: Where guests come from; this sandbox's alone.
    """

    def __init__(self, pool: GuestPool[S]) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._runs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.WeakSet[ProcessExecution]] = (
            weakref.WeakKeyDictionary()
        )

    async def start(self, program: Program, limits: Limits = Limits()) -> ProcessExecution:  # noqa: B008 - frozen
        """Take a guest for a program; see `Sandbox`."""
        try:
            channel = await self._guests(limits).take()
        except StartFailed as error:
            raise self._unavailable(str(error)) from None
        try:
            self._confine(channel, limits)
        except BaseException:
            await channel.aclose()
            raise
        execution = ProcessExecution(channel, program, limits)
        with self._lock:
            self._runs.setdefault(asyncio.get_running_loop(), weakref.WeakSet()).add(execution)
        return execution

    async def aclose(self) -> None:
        """End this event loop's runs, and the ready guests unless another loop has runs of its own."""
        with self._lock:
            own = list(self._runs.pop(asyncio.get_running_loop(), ()))
        for execution in own:
            await execution.aclose()
        with self._lock:
            others = [run for loop, runs in self._runs.items() if not loop.is_closed() for run in runs]
        if all(run.ended for run in others):
            self._pool.close()

    def _guests(self, limits: Limits) -> GuestPool[S]:
        """Give the pool whose guests keep these limits."""
        return self._pool

    def _confine(self, channel: StreamChannel, limits: Limits) -> None:
        """Bound from outside what the guest may use in this run."""

    def _unavailable(self, reason: str) -> SandboxUnavailable:
        """Say why guests do not start, and what to do."""
        raise NotImplementedError
