"""Type checks of a program by Monty's own checker, without running it."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from pydantic_monty import (
    ExternalModule,
    FunctionSnapshot,
    MontyCrashedError,
    MontyError,
    MontySyntaxError,
    MontyTypingError,
)

from codemode_sandboxes.contract import Diagnostic
from codemode_sandboxes.errors import SandboxError
from codemode_sandboxes.monty.workers import Worker, Workers, call_later

__all__ = ["CHECKERS", "TypeCheckers"]

CHECKERS = 4
"""Processes in which an event loop's programs are checked, at most."""

# A statement of the first line that never type-checks: Monty then refuses the program whatever else is in it, and so never
# runs it. It comes first because a `# type: ignore` for the whole file, or code that cannot be reached, would hide a later one.
_REFUSED = "__refused: int = ''"
_SECONDS = 5.0
# Programs that one session checks: it grows by some ten kilobytes with each. Stubs that it knows: a check takes six
# microseconds longer with each, whether or not its program imports them.
_CHECKS = 200
_MODULES = 32


@dataclass(slots=True, eq=False)
class _Checker:
    """A session, and the modules that it knows: one for each text of stubs."""

    worker: Worker
    modules: dict[str, ExternalModule]
    names: dict[str, str] = field(default_factory=dict)
    checks: int = 0

    def module(self, stubs: str) -> str:
        """Return the name of the module that declares these stubs."""
        if stubs not in self.names:
            self.names[stubs] = name = f"__declared_{len(self.names)}"
            # The session reads the mapping anew at each import.
            self.modules[name] = ExternalModule({}, stubs=stubs)
        return self.names[stubs]

    @property
    def is_used_up(self) -> bool:
        """True where a new session would be smaller and faster."""
        return self.checks >= _CHECKS or len(self.names) >= _MODULES


class TypeCheckers:
    """The sessions in which one event loop's programs are checked.

    Sessions are kept: one reads the standard library's stubs at its first check, which takes some fifteen milliseconds; a
    further check takes one. Stubs are a module that the program imports, and not the session's own, so any session checks
    with any stubs. What it finds in a program does not depend on the programs before.

    Args:
        workers: The processes, `CHECKERS` at most.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._slots = asyncio.Semaphore(CHECKERS)
        self._idle: list[_Checker] = []
        self._busy = 0
        self._used = False
        self._closing: list[asyncio.Task[None]] = []
        self._timer: asyncio.TimerHandle | None = None

    async def check(self, code: str, stubs: str) -> list[Diagnostic]:
        """Check a program in script form.

        Nothing of it runs: Monty refuses it before that, and if it did not, no call of a tool would be answered.

        Args:
            code: The program.
            stubs: Declarations of what it finds when it starts, as in a `.pyi` file.

        Returns:
            The diagnostics, in the order of the program. Modules that the sandbox does not have are among them.

        Raises:
            SandboxUnavailable: No process starts.
            SandboxError: The check took longer than 5 seconds, or the checker died of it.
        """
        source = code.encode("utf-8", "replace").decode()
        async with self._slots:
            self._busy += 1
            try:
                while True:
                    checker = await self._take()
                    try:
                        return await self._check_in(checker, source, stubs)
                    except MontyCrashedError:
                        # A session that was kept may have died since; only a new one dies of this program.
                        if not checker.checks:
                            raise SandboxError("the type checker died of this program") from None
            finally:
                self._busy -= 1

    async def aclose(self) -> None:
        """End the processes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        idle, self._idle = self._idle, []
        for checker in idle:
            await checker.worker.aclose()
        await self._workers.aclose()

    def _end_idle(self) -> None:
        """Close the sessions where no program was checked since the last look."""
        self._timer = call_later(self._end_idle) if self._used else None
        if not self._used:
            idle, self._idle = self._idle, []
            # Not left to the garbage collector: the error of a session's last check holds the session in a circle.
            self._closing = [asyncio.create_task(checker.worker.aclose()) for checker in idle]
        self._used = False

    async def _take(self) -> _Checker:
        """Take the session that was used last, or open one."""
        if self._idle:
            return self._idle.pop()
        modules: dict[str, ExternalModule] = {}
        limits = {"max_feed_duration_secs": _SECONDS}
        worker = await self._workers.open(
            type_check=True, type_check_format="json", external_modules=modules, limits=limits
        )
        return _Checker(worker, modules)

    async def _check_in(self, checker: _Checker, source: str, stubs: str) -> list[Diagnostic]:
        first = f"{_REFUSED}; from {checker.module(stubs)} import *\n"
        try:
            found = await _check(checker.worker, first + source)
        except BaseException:
            await checker.worker.aclose()
            raise
        checker.checks += 1
        self._used = True
        if self._timer is None:
            self._timer = call_later(self._end_idle)
        if checker.is_used_up:
            await checker.worker.aclose()
        else:
            self._idle.append(checker)
        return found


async def _check(worker: Worker, source: str) -> list[Diagnostic]:
    def check() -> None:
        snapshot = worker.session.feed_start(source, print_callback=_ignore)
        while isinstance(snapshot, FunctionSnapshot) and snapshot.function_name == "import_stubs":
            snapshot = snapshot.resume_auto()

    try:
        async with asyncio.timeout(_SECONDS):
            await worker.do(check)
    except MontyTypingError as error:
        return _diagnostics(error.display())
    except MontySyntaxError as error:
        return [Diagnostic("invalid-syntax", error.display("msg"), line=1, column=1)]
    except TimeoutError:
        raise SandboxError(f"the type check took longer than {_SECONDS:g} seconds") from None
    except MontyCrashedError:
        raise
    except MontyError:
        pass
    raise SandboxError("this version of Monty ran a program that it should have refused")


def _ignore(stream: str, text: str) -> None:
    pass


def _diagnostics(report: str) -> list[Diagnostic]:
    found = [_diagnostic(entry) for entry in json.loads(report)]
    return [entry for entry in found if entry.line >= 1 and "__future__" not in entry.message]


def _diagnostic(entry: dict[str, Any]) -> Diagnostic:
    location = entry.get("location") or {}
    return Diagnostic(
        rule=str(entry["code"]),
        message=str(entry["message"]),
        line=int(location.get("row", 0)) - 1,
        column=int(location.get("column", 0)),
    )
