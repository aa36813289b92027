"""Type checks of a program by Monty's own checker, without running it."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from pydantic_monty import FunctionSnapshot, MontyCrashedError, MontyError, MontySyntaxError, MontyTypingError

from codemode_sandboxes.contract import Diagnostic
from codemode_sandboxes.errors import SandboxError
from codemode_sandboxes.monty.workers import Worker, Workers, call_later

__all__ = ["CHECKERS", "TypeCheckers"]

CHECKERS = 4
"""Processes in which an event loop's programs are checked, at most."""

# A first line that never type-checks: Monty then refuses the program whatever else is in it, and so never runs it. It
# comes first because a `# type: ignore` for the whole file, or code that cannot be reached, would hide a later one.
_REFUSED = "__refused: int = ''\n"
_SECONDS = 5.0
# Programs that one session checks: it grows by some ten kilobytes with each.
_CHECKS = 200


@dataclass(slots=True, eq=False)
class _Checker:
    stubs: str
    worker: Worker
    checks: int = 0


class TypeCheckers:
    """The sessions in which one event loop's programs are checked.

    Sessions are kept: one reads its stubs and the standard library's at its first check, which takes some fifteen
    milliseconds; a further check takes one. What it finds in a program does not depend on the programs before.

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
        source = _REFUSED + code.encode("utf-8", "replace").decode()
        async with self._slots:
            self._busy += 1
            try:
                while True:
                    checker = await self._take(stubs)
                    try:
                        return await self._check_in(checker, source)
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

    async def _take(self, stubs: str) -> _Checker:
        """Take a session that knows the stubs, or open one and close the one that has been idle longest."""
        for checker in reversed(self._idle):
            if checker.stubs == stubs:
                self._idle.remove(checker)
                return checker
        while len(self._idle) > CHECKERS - self._busy:
            await self._idle.pop(0).worker.aclose()
        limits = {"max_feed_duration_secs": _SECONDS}
        worker = await self._workers.open(
            type_check=True, type_check_stubs=stubs, type_check_format="json", limits=limits
        )
        return _Checker(stubs, worker)

    async def _check_in(self, checker: _Checker, source: str) -> list[Diagnostic]:
        try:
            found = await _check(checker.worker, source)
        except BaseException:
            await checker.worker.aclose()
            raise
        checker.checks += 1
        self._used = True
        if self._timer is None:
            self._timer = call_later(self._end_idle)
        if checker.checks < _CHECKS:
            self._idle.append(checker)
        else:
            await checker.worker.aclose()
        return found


async def _check(worker: Worker, source: str) -> list[Diagnostic]:
    def check() -> None:
        snapshot = worker.session.feed_start(source, print_callback=_ignore)
        while isinstance(snapshot, FunctionSnapshot) and snapshot.function_name == "import_stubs":
            snapshot = snapshot.resume_not_handled()

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
