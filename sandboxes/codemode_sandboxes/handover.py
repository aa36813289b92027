"""Runs that go on in another backend, where their own comes to something that it would do otherwise than CPython.

What a program comes to cannot all be read from its text: a key may be NaN, a text may hold a letter that a pattern reads in
another way. A backend ends such a run with `Failed.lacks`. Here the program is started again in the next backend and
answered as before, and goes on from there. It makes none of its calls anew: as long as the other run does exactly what the
first one did, the host sees neither that nor where it runs.
"""

import asyncio
import hashlib
import marshal
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

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

__all__ = ["Candidate", "Candidates", "HandoverExecution", "HandoverSandbox"]


class Candidate(NamedTuple):
    """A backend that may go on with a run.

    Attributes:
        sandbox: The backend.
        on_start: Called once the run is there, before it goes on.
    """

    sandbox: Sandbox
    on_start: Callable[[], None]


Candidates = Callable[[str], AsyncGenerator[Candidate]]
"""Takes what a backend lacks, and yields the backends that may go on with the run: the next is for one that does not start."""

# Seconds in which a backend ends a program that is out of time, before it is closed.
_GRACE = 1.0
# Answers are kept until the run ends. A run with more of them than this stays where it is.
_MOST_BYTES = 32 * 1024 * 1024


class HandoverSandbox:
    """A backend whose runs may go on in another one.

    Args:
        sandbox: The backend in which they begin.
        candidates: Chooses the other one.

    Attributes:
        name: The name of the backend in which the newest run is.
    """

    def __init__(self, sandbox: Sandbox, candidates: Candidates) -> None:
        self._sandbox, self._candidates = sandbox, candidates
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
        execution = await self._sandbox.start(program, limits)
        return HandoverExecution(execution, program, limits, self._candidates, self._note)

    def _note(self, sandbox: Sandbox) -> None:
        self._sandbox, self.name = sandbox, sandbox.name

    async def aclose(self) -> None:
        """Do nothing: the backends belong to the choice."""


class HandoverExecution:
    """See `codemode_sandboxes.Execution`.

    Args:
        execution: The run.
        program: Its program.
        limits: Its bounds. Where the run goes on, memory is counted anew, and the program has what is left of its seconds. To
            come to where it was it may take as long again, which does not count.
        candidates: Called where the run ends for what its backend lacks.
        on_move: Called with the backend that the run goes on in.
    """

    def __init__(
        self,
        execution: Execution,
        program: Program,
        limits: Limits,
        candidates: Candidates,
        on_move: Callable[[Sandbox], None],
    ) -> None:
        self._execution, self._program, self._limits = execution, program, limits
        self._candidates, self._on_move = candidates, on_move
        # What the program was told, and a digest of what it did then; None once that is too much to keep.
        self._steps: list[_Step] | None = []
        self._size = 0
        self._spent = 0.0
        self._left: float | None = None  # where the run has moved: seconds
        # What the program had printed in the first backend since its last event, which it prints again where it goes on.
        self._printed = ""

    async def advance(self, outcomes: Mapping[int, Outcome] | None = None, *, elapsed: float | None = None) -> Event:
        """Run the program until it blocks or ends, here or elsewhere.

        Raises:
            SandboxClosed: The execution was closed, or has ended.
        """
        event = await self._advance(outcomes, elapsed)
        if isinstance(event, Failed) and event.lacks:
            return await self._go_on(event, outcomes, elapsed)
        if isinstance(event, Blocked) and self._steps is not None:
            self._keep(outcomes, elapsed, event)
        return event

    async def _advance(self, outcomes: Mapping[int, Outcome] | None, elapsed: float | None) -> Event:
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._left) as deadline:
                return await self._execution.advance(outcomes, elapsed=elapsed)
        except TimeoutError:
            if not deadline.expired():
                raise
            await self._execution.aclose()
            return Failed.out_of_time(self._limits, self._printed)
        finally:
            took = time.monotonic() - began
            self._printed = ""
            self._spent += took
            if self._left is not None:
                self._left -= took

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
        self._size += len(step)
        self._steps.append((step, elapsed, _digest(event)))
        if self._size > _MOST_BYTES:
            self._steps = None

    async def _go_on(self, failed: Failed, outcomes: Mapping[int, Outcome] | None, elapsed: float | None) -> Event:
        steps, self._steps = self._steps, None
        if steps is None:
            return failed
        async with aclosing(self._candidates(failed.lacks)) as candidates:
            async for candidate in candidates:
                try:
                    self._execution = await candidate.sandbox.start(self._program, self._limits)
                except SandboxUnavailable:
                    continue
                break
            else:
                return failed
        try:
            if not await _catch_up(self._execution, steps):
                # The calls that were made stand, so the run ends as it did where they were made.
                await self._execution.aclose()
                return failed
            self._on_move(candidate.sandbox)
            candidate.on_start()
            self._left, self._printed = self._limits.seconds - self._spent, failed.stdout
            if isinstance(self._execution, _Shortened):
                # A backend that ends the program itself knows all that it has printed.
                self._execution.shorten(self._left)
                self._left += _GRACE
            return await self._advance(outcomes, elapsed)
        except BaseException:
            await self._execution.aclose()
            raise


@runtime_checkable
class _Shortened(Protocol):
    """An execution whose time can be made shorter."""

    def shorten(self, seconds: float) -> None: ...


_Step: TypeAlias = tuple[bytes, float | None, bytes]


async def _catch_up(execution: Execution, steps: list[_Step]) -> bool:
    """Tell a run what the run before it was told; return whether it did the same."""
    for step, elapsed, known in steps:
        outcomes: dict[int, Outcome] = {
            number: Returned(value) if error is None else Raised(*error) for number, value, error in marshal.loads(step)
        }
        event = await execution.advance(outcomes, elapsed=elapsed)
        if not isinstance(event, Blocked) or _digest(event) != known:
            return False
    return True


def _digest(event: Blocked) -> bytes:
    """Return a digest of what the host sees of an event.

    It is that of a text, in which NaN equals itself, and 1 is not 1.0. The arguments themselves may be large, and many.
    """
    calls = [(call.id, call.tool, call.args, dict(call.kwargs)) for call in event.calls]
    seen = repr((calls, event.cancelled, event.wake_after is None, event.stdout))
    return hashlib.sha256(seen.encode("utf-8", "surrogatepass")).digest()
