"""The sandbox contract: a program runs until it blocks.

A host starts a `Program`, then calls `Execution.advance` again and again. Each call hands over the outcomes of tool
calls and returns the next `Event`: the program is `Blocked` on calls and timers, has `Finished`, or has `Failed`.
A host that pauses does not advance. The program cannot see that, and so cannot catch it.

Nothing that comes out of an execution carries authority: hostile code chose the names, arguments and values.
"""

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, TypeAlias, runtime_checkable

from codemode_sandboxes.source.tree import Tree

__all__ = [
    "OPEN_CALLS",
    "Blocked",
    "Boundary",
    "Call",
    "Capabilities",
    "Diagnostic",
    "Event",
    "Execution",
    "Failed",
    "FailureKind",
    "Finished",
    "Gap",
    "Limits",
    "Outcome",
    "Program",
    "Raised",
    "Returned",
    "Sandbox",
]


Boundary = Literal["interpreter", "wasm", "os", "container", "none"]
"""What stands between a program and the host: a memory-safe interpreter without host operations, WebAssembly, the
kernel's own fences around a process, a container, or nothing (mocks only)."""

Enforced = Literal["time", "memory", "output", "processes", "files", "network"]
"""A limit or a denial that a backend really enforces."""

FailureKind = Literal["program", "syntax", "timeout", "memory", "output", "calls", "protocol", "died"]
"""Why a run failed: the program raised; it does not parse; it used up its time, memory, output or calls; its guest broke
the protocol; its process died."""

OPEN_CALLS = 4
"""The arguments of all open calls may take this many times `Limits.value_bytes`: the host holds them until they end."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A piece of ordinary Python that a backend does not run.

    Attributes:
        name: Short and stable, such as "generator functions".
        substitute: One line that says what to write instead.
        find: Yields the nodes of a parsed program that use it. Every node it yields would fail, or may give
            something else than in CPython; where it is in doubt, it yields the node.
        probe: A program whose value is True where the backend does run it; empty where it is found out in another way.
        rare: Whether programs use it so seldom that the prompt leaves it out.
    """

    name: str
    substitute: str
    find: Callable[[Tree], Iterable[ast.AST]]
    probe: str = ""
    rare: bool = False


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A type checker's remark on a place in a program.

    Attributes:
        rule: The rule's name, such as "invalid-argument-type".
        message: One line.
        line: Counted from 1.
        column: Counted from 1.
    """

    rule: str
    message: str
    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The features and the bounds of a backend. Prompts, checks and the automatic choice rely on them.

    Attributes:
        language: The language in words, such as "Python 3.14 subset (Monty 1.4.0)".
        boundary: What contains the program.
        modules: Top-level modules that a program can import.
        gaps: Ordinary Python that the backend does not run, each with what to write instead.
        enforces: Limits and denials that are truly enforced; no others are.
        snapshots: Whether a blocked program can be stored as bytes and revived in another process.
    """

    language: str
    boundary: Boundary
    modules: frozenset[str]
    gaps: tuple[Gap, ...] = ()
    enforces: frozenset[Enforced] = frozenset()
    snapshots: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program to run.

    Attributes:
        code: Python source in script form: top-level `await` is allowed and the value of the last expression is the
            program's value. `codemode_sandboxes.source.to_script` turns the other forms into this one.
        tools: Names of the tools that the program may call, as `tools['name'](...)`, or as `tools.attribute(...)` by the
            attribute that `attribute_names` returns.
        seed: Seeds `random` and everything else that would differ between two runs of the program.
        now: The time on the program's clock when it starts, in seconds since the epoch (UTC).
    """

    code: str
    tools: tuple[str, ...] = ()
    seed: int = 0
    now: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one run. Crossing one ends it with `Failed` of the matching kind.

    Attributes:
        seconds: Computing time; time spent waiting for tools or in `sleep` does not count.
        memory_bytes: The program's heap.
        output_bytes: The program's output, in UTF-8.
        calls: Tool calls in all.
        calls_in_flight: Tool calls that the host makes at one time; the others wait with the host. No run fails for it: a
            program may have as many calls open as it may make.
        value_bytes: The program's value and each call's arguments, as UTF-8 JSON, with at most one list or dict for every
            32 bytes, or 10,000 of them. The arguments of all open calls together may take four times as much; beyond
            that the run fails with kind "output".
    """

    seconds: float = 30.0
    memory_bytes: int = 256 * 1024 * 1024
    output_bytes: int = 256 * 1024
    calls: int = 1000
    calls_in_flight: int = 256
    value_bytes: int = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that a program made.

    Attributes:
        id: The call's number in the execution, counted from 1.
        tool: One of `Program.tools`.
        args: Positional arguments, JSON values.
        kwargs: Keyword arguments, JSON values.
        line: The program's line of the call, counted from 1, where it is known.
    """

    id: int
    tool: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Returned:
    """The call's answer: a JSON value."""

    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    """The call raised, inside the program, an exception of this built-in type with this message.

    A type that is not one of the built-in `Exception` subclasses arrives as `RuntimeError`.
    """

    type: str
    message: str


Outcome: TypeAlias = Returned | Raised
"""The outcome of a call, which the host returns to the program."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """The program waits for calls or for a timer.

    Attributes:
        calls: The calls since the last event, in order.
        cancelled: Ids of open calls whose answer the program no longer wants.
        wake_after: Seconds on the program's clock until its next timer; None where it waits for calls alone.
        stdout: The output since the last event.
    """

    calls: tuple[Call, ...] = ()
    cancelled: tuple[int, ...] = ()
    wake_after: float | None = None
    stdout: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """The program ended with a value, which is a JSON value. `stdout` is its output since the last event."""

    value: Any
    stdout: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The program ended without a value.

    Attributes:
        kind: Why it failed.
        type: The name of the exception's type, such as "KeyError"; for kinds other than "program" the nearest built-in.
        message: One line, fit for a model, without paths of the host and without secrets.
        line: The program's line, counted from 1, where it is known.
        traceback: The program's own frames, in Python's format.
        stdout: The output since the last event.
        lacks: What the program came to that this backend does, or may do, otherwise than CPython; another backend gives
            its value. Empty where the failure is surely the program's own.
    """

    kind: FailureKind
    type: str
    message: str
    line: int | None = None
    traceback: str = ""
    stdout: str = ""
    lacks: str = ""

    @classmethod
    def out_of_time(cls, limits: Limits, stdout: str = "") -> Self:
        """Return the end of a program that computed for longer than its limit."""
        message = f"the program computed for longer than {limits.seconds:g} seconds"
        return cls(kind="timeout", type="TimeoutError", message=message, stdout=stdout)


Event: TypeAlias = Blocked | Finished | Failed
"""The next stop of an execution: it waits for calls, or it is at its end."""


@runtime_checkable
class Execution(Protocol):
    """One run of one program. One task at a time uses it."""

    async def advance(self, outcomes: Mapping[int, Outcome] | None = None, *, elapsed: float | None = None) -> Event:
        """Run the program until it blocks or ends.

        Args:
            outcomes: Answers to open calls, by id, in the order in which they reach the program. An answer to a call that
                is not open is ignored.
            elapsed: Seconds on the program's clock since it started; timers due by then fire. None leaves the clock.

        Returns:
            The next event. `Finished` and `Failed` are the last. What the run held is freed then or a moment later;
            `aclose`, of the execution or of the sandbox, waits for that.

        Raises:
            SandboxClosed: The execution was closed, or has ended.
        """
        ...

    async def aclose(self) -> None:
        """End the run in whatever state it is, and free what it holds. May be called again; safe when cancelled."""
        ...


@runtime_checkable
class Sandbox(Protocol):
    """A place where programs run, many at once, from one event loop or from several."""

    name: str

    @property
    def capabilities(self) -> Capabilities:
        """The syntax, modules and bounds of this backend. To find them out may take seconds, once."""
        ...

    async def start(self, program: Program, limits: Limits = ...) -> Execution:
        """Prepare a run. Nothing of the program has run until the first `advance`.

        Raises:
            SandboxUnavailable: The backend cannot run here.
        """
        ...

    async def aclose(self) -> None:
        """End the runs of the calling event loop, and free what is held for it. The sandbox can be used again after that."""
        ...
