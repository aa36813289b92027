"""A sandbox for tests that runs nothing: a script says which events come."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from types import GeneratorType
from typing import TypeAlias

from codemode_sandboxes.contract import Blocked, Capabilities, Event, Failed, Finished, Limits, Outcome, Program
from codemode_sandboxes.errors import SandboxClosed

__all__ = ["MockExecution", "MockSandbox", "Script"]

Ending: TypeAlias = Finished | Failed

Script: TypeAlias = (
    Ending
    | Iterable[Event]
    | Callable[[Program], Ending | Iterable[Event] | Generator[Blocked, Mapping[int, Outcome], Ending]]
)
"""What happens in each run: an ending; the events in order; or a function of the program that returns either, or is a
generator that yields `Blocked`, receives the outcomes, and returns the ending."""

_CAPABILITIES = Capabilities(language="none: a script for tests", boundary="none", modules=frozenset())


class MockExecution:
    """One run of a `MockSandbox`.

    Attributes:
        program: The program that was started.
        limits: Its bounds; the mock enforces none.
        outcomes: The host's answers, one mapping for each `advance`.
        elapsed: The clock of each `advance`.
        closed: Whether the run has ended or was closed.
    """

    def __init__(self, events: Generator[Blocked, Mapping[int, Outcome], Ending], program: Program, limits: Limits):
        self._events, self._started = events, False
        self.program, self.limits = program, limits
        self.outcomes: list[Mapping[int, Outcome]] = []
        self.elapsed: list[float | None] = []
        self.closed = False

    async def advance(self, outcomes: Mapping[int, Outcome] | None = None, *, elapsed: float | None = None) -> Event:
        """Return the script's next event."""
        if self.closed:
            raise SandboxClosed("the execution has ended")
        received = dict(outcomes or {})
        self.outcomes.append(received)
        self.elapsed.append(elapsed)
        try:
            event = self._events.send(received) if self._started else next(self._events)
            self._started = True
        except StopIteration as stop:
            await self.aclose()
            ending: Ending = stop.value
            return ending
        return event

    async def aclose(self) -> None:
        """End the run."""
        self.closed = True
        self._events.close()


class MockSandbox:
    """Plays a script instead of running programs.

    Args:
        script: See `Script`.
        capabilities: What it pretends to offer; by default nothing, with the boundary "none".

    Attributes:
        executions: Every run that was started, in order.

    Examples:
        >>> def script(program):
        ...     outcomes = yield Blocked(calls=(Call(1, "weather", (), {"city": "Oslo"}),))
        ...     return Finished(outcomes[1].value["temperature"])
        >>> sandbox = MockSandbox(script)
    """

    name = "mock"

    def __init__(self, script: Script, *, capabilities: Capabilities = _CAPABILITIES) -> None:
        # An iterator could be played only once, and every run plays the script from its start.
        self._script: Script = tuple(script) if isinstance(script, Iterable) else script
        self._capabilities = capabilities
        self.executions: list[MockExecution] = []

    @property
    def capabilities(self) -> Capabilities:
        """The capabilities that it pretends to have."""
        return self._capabilities

    async def start(self, program: Program, limits: Limits | None = None) -> MockExecution:
        """Prepare a run of the script from its start."""
        execution = MockExecution(self._play(program), program, limits or Limits())
        self.executions.append(execution)
        return execution

    async def aclose(self) -> None:
        """End every run."""
        for execution in self.executions:
            await execution.aclose()

    def _play(self, program: Program) -> Generator[Blocked, Mapping[int, Outcome], Ending]:
        script = self._script(program) if callable(self._script) else self._script
        if isinstance(script, Finished | Failed):
            return _play_events(iter([script]))
        if isinstance(script, GeneratorType):
            return script
        return _play_events(iter(script))


def _play_events(events: Iterator[Event]) -> Generator[Blocked, Mapping[int, Outcome], Ending]:
    for event in events:
        if not isinstance(event, Blocked):
            return event
        yield event
    raise AssertionError("the script of the mock ran out of events before Finished or Failed")
