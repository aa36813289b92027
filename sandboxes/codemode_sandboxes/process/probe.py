"""Finding out what a sandbox's guests offer, by having one say it."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from codemode_sandboxes.contract import Boundary, Capabilities, Finished, Limits, Program
from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.process.execution import ProcessExecution
from codemode_sandboxes.process.pool import GuestPool, S, StartFailed
from codemode_sandboxes.process.sandbox import ProcessSandbox

__all__ = ["ProbedSandbox", "ask", "ask_apart"]

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
