"""Runs that go on in another backend, where their own comes to something that it would do otherwise than CPython.

What a program comes to cannot all be read from its text: a key may be NaN, a text may hold a letter that a pattern reads in
another way. A backend ends such a run with `Failed.lacks`. Here the program is started again in the next backend and
answered as before, and goes on from there. It makes none of its calls anew: as long as the other run does exactly what the
first one did, the host sees neither that nor where it runs.
"""

import marshal
from collections.abc import Awaitable, Callable, Mapping

from codemode_sandboxes.contract import (
    Blocked,
    Capabilities,
    Event,
    Execution,
    Failed,
    Limits,
    Outcome,
    Program,
    Raised,
    Returned,
    Sandbox,
)
from codemode_sandboxes.errors import SandboxUnavailable

__all__ = ["HandoverExecution", "HandoverSandbox", "NextBackend"]

NextBackend = Callable[[str], Awaitable[Sandbox | None]]
"""Takes what a backend lacks, and returns the backend that goes on with the run; None where there is none."""

# Answers are kept until the run ends. A run with more of them than this stays where it is.
_MOST_BYTES = 32 * 1024 * 1024


class HandoverSandbox:
    """A backend whose runs may go on in another one.

    Args:
        sandbox: The backend in which they begin.
        next_backend: Chooses the other one.

    Attributes:
        name: The name of the backend in which the newest run is.
    """

    def __init__(self, sandbox: Sandbox, next_backend: NextBackend) -> None:
        self._sandbox, self._next_backend = sandbox, next_backend
        self.name = sandbox.name

    @property
    def capabilities(self) -> Capabilities:
        """Those of the backend in which the newest run is."""
        return self._sandbox.capabilities

    async def start(self, program: Program, limits: Limits = Limits()) -> Execution:  # noqa: B008 - frozen
        """Prepare a run.

        Raises:
            SandboxUnavailable: The backend cannot run here.
        """
        return HandoverExecution(await self._sandbox.start(program, limits), program, limits, self._move)

    async def _move(self, lacks: str) -> Sandbox | None:
        following = await self._next_backend(lacks)
        if following is not None:
            self._sandbox, self.name = following, following.name
        return following

    async def aclose(self) -> None:
        """Do nothing: the backends belong to the choice."""


class HandoverExecution:
    """See `codemode_sandboxes.Execution`.

    Args:
        execution: The run.
        program: Its program.
        limits: Its bounds.
        next_backend: Called where the run ends for what its backend lacks.
    """

    def __init__(self, execution: Execution, program: Program, limits: Limits, next_backend: NextBackend) -> None:
        self._execution, self._program, self._limits = execution, program, limits
        self._next_backend = next_backend
        # What the program was told, and what it did then; None once that is too much to keep.
        self._steps: list[tuple[bytes, float | None, Blocked]] | None = []
        self._size = 0

    async def advance(self, outcomes: Mapping[int, Outcome] | None = None, *, elapsed: float | None = None) -> Event:
        """Run the program until it blocks or ends, here or elsewhere.

        Raises:
            SandboxClosed: The execution was closed, or has ended.
        """
        event = await self._execution.advance(outcomes, elapsed=elapsed)
        if isinstance(event, Failed) and event.lacks:
            return await self._go_on(event, outcomes, elapsed)
        if isinstance(event, Blocked) and self._steps is not None:
            self._keep(outcomes, elapsed, event)
        return event

    async def aclose(self) -> None:
        """End the run in whatever state it is, and free what it holds."""
        await self._execution.aclose()

    def _keep(self, outcomes: Mapping[int, Outcome] | None, elapsed: float | None, event: Blocked) -> None:
        assert self._steps is not None
        # As bytes: the host may change a value in its place once it has been told.
        answers = [
            (number, outcome.value, None)
            if isinstance(outcome, Returned)
            else (number, None, (outcome.type, outcome.message))
            for number, outcome in (outcomes or {}).items()
        ]
        try:
            step = marshal.dumps(answers)
        except ValueError:  # it is nested deeper than any value may be
            self._steps = None
            return
        self._size += len(step) + len(event.stdout)
        self._steps.append((step, elapsed, event))
        if self._size > _MOST_BYTES:
            self._steps = None

    async def _go_on(self, failed: Failed, outcomes: Mapping[int, Outcome] | None, elapsed: float | None) -> Event:
        if self._steps is None or (sandbox := await self._next_backend(failed.lacks)) is None:
            return failed
        try:
            execution = await sandbox.start(self._program, self._limits)
        except SandboxUnavailable:
            return failed
        steps, self._execution, self._steps = self._steps, execution, None
        try:
            if not await _catch_up(execution, steps):
                await execution.aclose()
                return failed
            return await execution.advance(outcomes, elapsed=elapsed)
        except BaseException:
            await execution.aclose()
            raise


async def _catch_up(execution: Execution, steps: list[tuple[bytes, float | None, Blocked]]) -> bool:
    """Tell a run what the run before it was told; return whether it did the same."""
    for step, elapsed, known in steps:
        outcomes: dict[int, Outcome] = {
            number: Returned(value) if error is None else Raised(*error) for number, value, error in marshal.loads(step)
        }
        event = await execution.advance(outcomes, elapsed=elapsed)
        if not isinstance(event, Blocked) or _seen(event) != _seen(known):
            return False
    return True


def _seen(event: Blocked) -> tuple[str, tuple[int, ...], bool, str]:
    """Return what the host sees of an event; by its text, in which NaN equals itself, and 1 is not 1.0."""
    calls = repr([(call.id, call.tool, call.args, dict(call.kwargs)) for call in event.calls])
    return calls, event.cancelled, event.wake_after is None, event.stdout
