"""Runs a program to its end in any sandbox, answering its calls and moving its clock."""

import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from codemode_sandboxes import Blocked, Execution, Failed, Finished, Limits, Outcome, Program, Raised, Returned, Sandbox

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z

Tool = Callable[..., Awaitable[Any]]


@dataclass
class Run:
    """The course of a run. `blocked` holds the events before the last."""

    event: Finished | Failed
    stdout: str = ""
    blocked: list[Blocked] = field(default_factory=list)

    @property
    def value(self) -> Any:
        assert isinstance(self.event, Finished), self.event
        return self.event.value

    @property
    def failed(self) -> Failed:
        assert isinstance(self.event, Failed), self.event
        return self.event


def interpreters() -> list[str]:
    """This interpreter, and each other supported version that the path has."""
    found = [sys.executable]
    for minor in (11, 12, 13, 14):
        if minor != sys.version_info.minor:
            command = [f"python3.{minor}", "-c", "import sys; print(sys.executable)"]
            try:
                found.append(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
            except (OSError, subprocess.CalledProcessError):
                continue
    return found


async def run(
    sandbox: Sandbox,
    code: str,
    tools: Mapping[str, Tool | None] | None = None,
    *,
    limits: Limits | None = None,
    seed: int = 1,
) -> Run:
    """Run a program. A tool that is None never answers."""
    program = Program(code=code, tools=tuple(tools or ()), seed=seed, now=NOW)
    execution = await sandbox.start(program, limits or Limits(seconds=10))
    try:
        return await drive(execution, tools or {})
    finally:
        await execution.aclose()


async def drive(execution: Execution, tools: Mapping[str, Tool | None]) -> Run:
    """Answer each event's calls before the next; where there is nothing to answer, let the next timer fire."""
    stdout, blocked, elapsed = "", [], 0.0
    event = await execution.advance()
    while isinstance(event, Blocked):
        stdout += event.stdout
        blocked.append(event)
        outcomes: dict[int, Outcome] = {}
        for call in event.calls:
            if (tool := tools[call.tool]) is not None:
                try:
                    outcomes[call.id] = Returned(await tool(*call.args, **call.kwargs))
                except Exception as error:
                    outcomes[call.id] = Raised(type(error).__name__, str(error))
        if not outcomes:
            assert event.wake_after is not None, "the program waits for a tool that never answers"
            elapsed += event.wake_after
        event = await execution.advance(outcomes, elapsed=elapsed)
    assert not isinstance(event, Blocked)
    return Run(event, stdout + event.stdout, blocked)


async def double(value: Any = None) -> Any:
    """Return twice the value."""
    return value * 2


async def echo(*args: Any, **kwargs: Any) -> Any:
    """Return the arguments."""
    return [list(args), kwargs]


async def broken(type_name: str = "RuntimeError", message: str = "it broke") -> None:
    """Raise an exception whose type has this name."""
    raise type(type_name, (Exception,), {})(message)
