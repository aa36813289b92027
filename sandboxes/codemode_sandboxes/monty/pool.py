"""Worker processes: some for each event loop, made when the loop first needs them."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakSet

from codemode_sandboxes.contract import Execution
from codemode_sandboxes.monty.typecheck import CHECKERS, TypeCheckers
from codemode_sandboxes.monty.workers import Worker, Workers

__all__ = ["Pools"]


@dataclass(slots=True, eq=False)
class _Pool:
    workers: Workers
    checkers: TypeCheckers
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

    async def checkout(self, **options: Any) -> Worker:
        """Take a worker of the running loop's pool.

        Raises:
            SandboxUnavailable: No worker could be started, or none came free in time.
        """
        return await self._pool().workers.open(**options)

    @property
    def checkers(self) -> TypeCheckers:
        """What checks the running loop's programs."""
        return self._pool().checkers

    def add(self, execution: Execution) -> None:
        """Have an execution closed with the running loop's pool."""
        self._pool().executions.add(execution)

    async def aclose(self) -> None:
        """End the running loop's executions and its workers."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is None:
            return
        await asyncio.gather(*(execution.aclose() for execution in list(pool.executions)))
        await asyncio.gather(pool.workers.aclose(), pool.checkers.aclose())

    def _pool(self) -> _Pool:
        for loop in [loop for loop in list(self._pools) if loop.is_closed()]:
            self._pools.pop(loop, None)  # its workers end with the last reference
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            shared: dict[str, Any] = {"timeout": self._checkout_timeout, "binary": self._binary}
            self._pools[loop] = _Pool(
                workers=Workers(least=self._min_workers, most=self._max_workers, **shared),
                checkers=TypeCheckers(Workers(least=0, most=CHECKERS, **shared)),
            )
        return self._pools[loop]
