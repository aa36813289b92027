"""The common part of the sandboxes whose guests are processes that come from a pool."""

import asyncio
import os
import platform
import struct
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, Protocol, TypeVar

from codemode_sandboxes.contract import Boundary, Capabilities, Finished, Limits, Program
from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.linux.seccomp import ARCHITECTURES
from codemode_sandboxes.process.channel import StreamChannel
from codemode_sandboxes.process.execution import ProcessExecution
from codemode_sandboxes.process.pool import GuestPool, S, StartFailed

__all__ = ["ELSEWHERE", "LoopRuns", "ProcessSandbox", "SizedSandbox", "ask", "ask_apart", "require_linux"]

T = TypeVar("T")

ELSEWHERE = "Use another sandbox; 'monty' runs everywhere"
"""The remedy where a sandbox cannot run on this system at all."""

_REFILL_SECONDS = 0.1  # the run that took the spare has the processor first

# Importing tells more than looking: a module may be there and not work inside the guest's walls.
_PROBE = """
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


class _Run(Protocol):
    @property
    def ended(self) -> bool: ...

    async def aclose(self) -> None: ...


R = TypeVar("R", bound=_Run)


class LoopRuns(Generic[R]):
    """The runs of each event loop that uses a sandbox; one that nobody holds is forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.WeakSet[R]] = (
            weakref.WeakKeyDictionary()
        )

    def add(self, run: R) -> R:
        """Note a run of the calling event loop, and return it."""
        with self._lock:
            self._runs.setdefault(asyncio.get_running_loop(), weakref.WeakSet()).add(run)
        return run

    async def aclose(self) -> bool:
        """End the calling event loop's runs. Return whether no other event loop has a run of its own."""
        with self._lock:
            own = list(self._runs.pop(asyncio.get_running_loop(), ()))
        await asyncio.gather(*[run.aclose() for run in own])
        # Nobody can end the runs of an event loop that is closed, so they do not count.
        with self._lock:
            others = [run for loop, runs in self._runs.items() if not loop.is_closed() for run in runs]
        return all(run.ended for run in others)


class ProcessSandbox(Generic[S]):
    """A sandbox that runs each program in a guest of a pool, and knows the runs of each event loop.

    Args:
        pool: Where guests come from; it belongs to this sandbox alone.
    """

    def __init__(self, pool: GuestPool[S]) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._capabilities: Capabilities | None = None
        self._runs: LoopRuns[ProcessExecution] = LoopRuns()

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of a guest, which is asked once; that takes some seconds.

        Raises:
            SandboxUnavailable: The sandbox cannot run here.
        """
        if self._capabilities is None:
            self._capabilities = ask_apart(self._ask)
        return self._capabilities

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
        return self._runs.add(ProcessExecution(channel, program, limits))

    async def aclose(self) -> None:
        """End this event loop's runs, and the pool unless another event loop has runs of its own."""
        if await self._runs.aclose():
            self._pool.close()

    async def _ask(self) -> Capabilities:
        """Ask a guest what it offers, in an event loop and with a pool of its own; see `ask`."""
        raise NotImplementedError

    def _guests(self, limits: Limits) -> GuestPool[S]:
        """Return the pool whose guests keep these limits."""
        return self._pool

    def _confine(self, channel: StreamChannel, limits: Limits) -> None:
        """Bound from outside what the guest may use in this run."""

    def _unavailable(self, reason: str) -> SandboxUnavailable:
        """Return the error that says why guests do not start, and what to do."""
        raise NotImplementedError


class SizedSandbox(ProcessSandbox[S]):
    """A sandbox whose guests' memory is settled when they start.

    The spares have the size of the newest run. A run of another size gets a new pool, of its own size.

    Args:
        spares: The number of guests kept ready.
    """

    def __init__(self, spares: int) -> None:
        self._spares, self._memory_bytes = spares, Limits().memory_bytes
        super().__init__(self._new_pool(spares))

    def _starter(self, memory_bytes: int) -> S:
        """Return a starter of guests that have this much memory at most."""
        raise NotImplementedError

    def _new_pool(self, spares: int) -> GuestPool[S]:
        memory_bytes = self._memory_bytes
        return GuestPool(lambda: self._starter(memory_bytes), spares, refill_after=_REFILL_SECONDS)

    def _guests(self, limits: Limits) -> GuestPool[S]:
        with self._lock:
            # Guests that were taken go on: the old pool ends its spares alone.
            if limits.memory_bytes != self._memory_bytes:
                self._memory_bytes, old = limits.memory_bytes, self._pool
                self._pool = self._new_pool(self._spares)
                old.close()
            return self._pool


def require_linux(name: str, *, seccomp: bool = True) -> None:
    """Check that a sandbox of this name can work on this system: on Linux, with a Python that can hold processes fast.

    Modules that only POSIX has are imported, and names that only Linux has are looked up, after this check alone.

    Args:
        name: The sandbox's name.
        seccomp: It filters system calls, so it needs a table of this machine's.

    Raises:
        SandboxUnavailable: It cannot.
    """
    if sys.platform != "linux" or not hasattr(os, "fork"):
        raise SandboxUnavailable(name, "it needs Linux", ELSEWHERE)
    if not hasattr(os, "pidfd_open"):
        raise SandboxUnavailable(name, "it needs Linux 5.3 or later, and a Python that was built for it", ELSEWHERE)
    # The table is that of 64-bit calls, and a Python of 32 bits makes others on the same machine.
    if seccomp and (platform.machine() not in ARCHITECTURES or struct.calcsize("P") != 8):
        raise SandboxUnavailable(name, f"it has no system call table for {platform.machine()}", ELSEWHERE)


async def ask(
    pool: GuestPool[Any],
    *,
    boundary: Boundary,
    unavailable: Callable[[str], SandboxUnavailable],
    names: tuple[str, ...] | None = None,
) -> Capabilities:
    """Ask a guest for its Python's version and the modules that it can import.

    Args:
        pool: Where the guest comes from.
        boundary: What contains the guest.
        unavailable: Makes the error for a reason.
        names: The modules to try; None for all that the guest's Python has.

    Raises:
        SandboxUnavailable: No guest starts, or the program that asks it fails.
    """
    try:
        channel = await pool.take()
    except StartFailed as error:
        raise unavailable(str(error)) from None
    execution = ProcessExecution(channel, Program(code=_PROBE.format(names=names)), Limits())
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


def ask_apart(question: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end in a thread of its own, as the caller's thread may run an event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, question()).result()
