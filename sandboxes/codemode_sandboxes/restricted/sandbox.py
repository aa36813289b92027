"""`RestrictedSandbox`: its guests are forked from a server that has imported the standard library."""

import shutil
import sys
from functools import cache
from pathlib import Path

from codemode_sandboxes.contract import Capabilities, Limits, Program
from codemode_sandboxes.errors import SandboxUnavailable
from codemode_sandboxes.guest.preload import MODULES
from codemode_sandboxes.process.execution import ProcessExecution
from codemode_sandboxes.process.pool import GuestPool
from codemode_sandboxes.process.sandbox import ELSEWHERE, ProcessSandbox, ask, ask_apart, require_linux
from codemode_sandboxes.restricted.server import ForkServer

__all__ = ["RestrictedSandbox"]

_NAME = "restricted"
_REFILL_SECONDS = 0.02  # the run that took the spare has the processor first


class RestrictedSandbox(ProcessSandbox[ForkServer]):
    """Runs programs in forked, locked-down CPython processes. Linux only; needs no installation and no privilege.

    Each program has a process of its own, forked from a server that has imported the standard library. Before the
    process reads the program it gives up its environment, its descriptors, its capabilities and, by seccomp, every system
    call but those for memory and time. Landlock, namespaces and limits stand behind that.

    Args:
        spares: The number of guests kept ready; each holds about 2 MB and saves a few milliseconds.
        python: Path of the interpreter that runs programs; by default this process's own. Programs get its standard
            library alone.
    """

    name = _NAME

    def __init__(self, *, spares: int = 2, python: str | None = None) -> None:
        command = python or sys.executable
        self._python = str(Path(shutil.which(command) or command).absolute())
        super().__init__(GuestPool(lambda: ForkServer(self._python), spares, refill_after=_REFILL_SECONDS))

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities of its Python. A guest is asked for them once in a process, which takes about 0.3 seconds.

        Raises:
            SandboxUnavailable: The sandbox cannot run here.
        """
        return _probe(self._python)[0]

    @property
    def layers(self) -> tuple[str, ...]:
        """The walls between a program and the host here, such as "seccomp", "landlock 7", "namespaces".

        Seccomp is always there, as without it nothing starts. The kernel may lack the others.

        Raises:
            SandboxUnavailable: The sandbox cannot run here.
        """
        return _probe(self._python)[1]

    async def start(self, program: Program, limits: Limits = Limits()) -> ProcessExecution:  # noqa: B008 - frozen
        """Take a guest for a program; see `Sandbox`."""
        require_linux(_NAME)
        return await super().start(program, limits)

    def _unavailable(self, reason: str) -> SandboxUnavailable:
        return _refused(reason)


@cache
def _probe(python: str) -> tuple[Capabilities, tuple[str, ...]]:
    require_linux(_NAME)
    return ask_apart(lambda: _ask(python))


async def _ask(python: str) -> tuple[Capabilities, tuple[str, ...]]:
    pool = GuestPool(lambda: ForkServer(python), spares=0)
    try:
        offered = await ask(pool, boundary="os", unavailable=_refused, names=tuple(MODULES))
        return offered, pool.starter.layers() if pool.starter is not None else ()
    finally:
        pool.close()


def _refused(reason: str) -> SandboxUnavailable:
    return SandboxUnavailable(_NAME, reason, ELSEWHERE)
