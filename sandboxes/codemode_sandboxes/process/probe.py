"""Finding out what a sandbox's guests offer, by having one say it."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from codemode_sandboxes.contract import Boundary, Capabilities, Finished, Limits, Program
from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.process.execution import ProcessExecution
from codemode_sandboxes.process.pool import GuestPool, StartFailed

__all__ = ["ask", "ask_apart"]

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
        execution = ProcessExecution(await pool.take(), Program(code=_PROGRAM.format(names=names)), Limits())
        event = await execution.advance()
    except StartFailed as error:
        raise unavailable(str(error)) from None
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
