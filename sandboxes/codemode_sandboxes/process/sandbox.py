"""What sandboxes whose guests come from a pool have in common."""

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from codemode_sandboxes.contract import Boundary, Capabilities, Finished, Limits, Program
from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.process.channel import StreamChannel
from codemode_sandboxes.process.execution import ProcessExecution
from codemode_sandboxes.process.pool import GuestPool, S, StartFailed

__all__ = ["ProbedSandbox", "ProcessSandbox", "SizedSandbox", "ask", "ask_apart"]


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


T = TypeVar("T")

_PROGRAM = """
import importlib, sys
names = {names}
if names is None:
    import pkgutil
    names = {{*sys.stdlib_module_names, *(module.name for module in pkgutil.iter_modules())}}
found = []
for name in sorted(names):
    if not name.startswith("_"):
        try:
            importlib.import_module(name)
        except BaseException:
            continue
        found.append(name)
[sys.version.split()[0], found]
"""


class ProbedSandbox(ProcessSandbox[S]):
    """A sandbox that has one of its guests tell what they offer.

    Args:
        pool: Where guests come from; this sandbox's alone.
    """

    def __init__(self, pool: GuestPool[S]) -> None:
        super().__init__(pool)
        self._capabilities: Capabilities | None = None

    @property
    def capabilities(self) -> Capabilities:
        """What programs can do and cannot, found out by running one, once: some seconds.

        Raises:
            SandboxUnavailable: The sandbox cannot run here.
        """
        if self._capabilities is None:
            self._capabilities = ask_apart(self._ask)
        return self._capabilities

    async def _ask(self) -> Capabilities:
        """Ask a guest, in an event loop of its own; see `ask`."""
        raise NotImplementedError


async def ask(
    pool: GuestPool[Any],
    *,
    boundary: Boundary,
    unavailable: Callable[[str], SandboxUnavailable],
    names: tuple[str, ...] | None = None,
) -> Capabilities:
    """Have a guest tell its Python's version and the modules that it can import.

    Args:
        pool: Where the guest comes from.
        boundary: What is around it.
        unavailable: Makes the error of a reason.
        names: The modules that come into question; None for all that the guest's Python has.

    Raises:
        SandboxUnavailable: No guest starts, or it cannot tell.
    """
    try:
        channel = await pool.take()
    except StartFailed as error:
        raise unavailable(str(error)) from None
    execution = ProcessExecution(channel, Program(code=_PROGRAM.format(names=names)), Limits())
    try:
        event = await execution.advance()
    finally:
        await execution.aclose()
    if not isinstance(event, Finished):
        raise unavailable(f"its own first program failed: {event}")
    version, modules = event.value
    return Capabilities(
        language=f"CPython {version}",
        boundary=boundary,
        modules=frozenset(modules),
        enforces=frozenset({"time", "memory", "output", "processes", "files", "network"}),
    )


def ask_apart(asking: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine in a thread of its own: the caller's may run an event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, asking()).result()


_REFILL_SECONDS = 0.1  # the run that took the spare has the processor first


class SizedSandbox(ProbedSandbox[S]):
    """Has guests of one size ready, the newest run's: a run of another size gets a pool of its own size.

    Args:
        spares: Guests kept ready.
    """

    def __init__(self, spares: int) -> None:
        self._spares, self._memory_bytes = spares, Limits().memory_bytes
        super().__init__(self._new_pool(spares))

    def _starter(self, memory_bytes: int) -> S:
        """Make what starts guests that have this much memory at most."""
        raise NotImplementedError

    def _new_pool(self, spares: int) -> GuestPool[S]:
        memory_bytes = self._memory_bytes
        return GuestPool(lambda: self._starter(memory_bytes), spares, refill_after=_REFILL_SECONDS)

    def _guests(self, limits: Limits) -> GuestPool[S]:
        with self._lock:
            if limits.memory_bytes != self._memory_bytes:
                self._memory_bytes, old = limits.memory_bytes, self._pool
                self._pool = self._new_pool(self._spares)
                old.close()
            return self._pool
