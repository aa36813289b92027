"""Between a running program and its tools: the loop that answers what the program asks for."""

import asyncio
import builtins
import time
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from codemode_sandboxes import Blocked, Call, Execution, Failed, Finished, Limits, Outcome, Program, Raised, Returned, Sandbox
from codemode_sandboxes.values import to_json
from langchain_core.runnables import RunnableConfig

from codemode_graph.events import emit
from codemode_graph.journal import Journal
from codemode_graph.redact import redact
from codemode_graph.state import ToolCall, ToolError
from codemode_graph.tools.schema import bind
from codemode_graph.tools.spec import ToolSpec

__all__ = ["ProgramRun", "run_program"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramRun:
    """How a program ended: `event` says with what; `stdout` is all that it printed; `seconds` is its wall time."""

    event: Finished | Failed
    stdout: str
    seconds: float


async def run_program(
    sandbox: Sandbox,
    program: Program,
    *,
    tools: Mapping[str, ToolSpec],
    journal: Journal,
    limits: Limits,
    timeout: float,
    config: RunnableConfig,
) -> ProgramRun:
    """Run a program to its end, answering its calls from the journal or from the tools.

    Args:
        sandbox: Where it runs.
        program: What runs.
        tools: The tools it may call, by name.
        journal: Answers repeated calls, and records the others.
        limits: Bounds on the program.
        timeout: Seconds that the whole run may take, tools included.
        config: Callbacks and tags for the tool calls.

    Returns:
        The last event, also where the time ran out. On return no tool call is left running.
    """
    run = _Run(tools=tools, journal=journal, limits=limits, config=config)
    started = time.monotonic()
    event: Finished | Failed
    try:
        async with asyncio.timeout(timeout) as deadline:
            execution = await sandbox.start(program, limits)
            async with aclosing(execution):
                event = await run.drive(execution)
    except TimeoutError:
        if not deadline.expired():
            raise
        waiting = sorted({record["tool"] for record in run.open.values()})
        detail = f" while it waited for {', '.join(waiting)}" if waiting else ""
        message = f"the program did not end within {timeout:g} seconds{detail}"
        event = Failed(kind="timeout", type="TimeoutError", message=message)
    finally:
        await run.stop()
    return ProgramRun(event=event, stdout="".join(run.stdout), seconds=time.monotonic() - started)


@dataclass(slots=True)
class _Run:
    tools: Mapping[str, ToolSpec]
    journal: Journal
    limits: Limits
    config: RunnableConfig
    stdout: list[str] = field(default_factory=list)
    open: dict[int, ToolCall] = field(default_factory=dict)
    tasks: dict[int, asyncio.Task[Outcome]] = field(default_factory=dict)
    slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.slots = asyncio.Semaphore(self.limits.calls_in_flight)

    async def drive(self, execution: Execution) -> Finished | Failed:
        clock = time.monotonic()
        event = await execution.advance()
        while isinstance(event, Blocked):
            self.print(event.stdout)
            await self.cancel(event.cancelled)
            outcomes = {call.id: outcome for call in event.calls if (outcome := self.begin(call)) is not None}
            if not outcomes:
                outcomes = await self.wait(event.wake_after)
            event = await execution.advance(outcomes, elapsed=time.monotonic() - clock)
        self.print(event.stdout)
        return event

    def print(self, text: str) -> None:
        if text:
            self.stdout.append(text)
            emit("stdout", text=text)

    def begin(self, call: Call) -> Outcome | None:
        """Answer a call at once, or start its tool."""
        spec = self.tools.get(call.tool)
        if spec is None:
            return Raised("KeyError", f"unknown tool {call.tool!r}")
        try:
            arguments = bind(spec.name, spec.input_schema, call.args, call.kwargs)
        except TypeError as error:
            return Raised("TypeError", str(error))
        key = self.journal.key(spec.name, arguments)
        recorded = self.journal.answer(key)
        if recorded is not None:
            record, outcome = recorded
            emit("call_answered", id=record["id"], tool=spec.name, line=call.line)
            return outcome
        effect = spec.policy.effect or spec.effect
        record = self.journal.start(call.id, spec.name, arguments, key=key, effect=effect, line=call.line)
        self.open[call.id] = record
        self.tasks[call.id] = asyncio.create_task(self.call(spec, record), name=f"{spec.name} {record['id']}")
        return None

    async def call(self, spec: ToolSpec, record: ToolCall) -> Outcome:
        emit("call_started", id=record["id"], tool=spec.name, arguments=record["arguments"], line=record["line"])
        outcome: Outcome
        reached = False
        try:
            async with self.slots, asyncio.timeout(spec.policy.timeout) as deadline:
                reached = True
                value = to_json(
                    await spec.call(dict(record["arguments"]), self.config), max_bytes=self.limits.value_bytes
                )
            self.journal.finish(record, "done", value=value)
            outcome = Returned(value)
        except asyncio.CancelledError:
            self.journal.finish(record, _interrupted(record) if reached else "not_started")
            raise
        except Exception as error:
            timed_out = isinstance(error, TimeoutError) and deadline.expired()
            shown = _show(error) if not timed_out else _timeout(spec)
            self.journal.finish(record, _interrupted(record) if timed_out else "failed", error=shown)
            outcome = Raised(shown["type"], shown["message"])
        emit(
            "call_finished",
            id=record["id"],
            tool=spec.name,
            arguments=record["arguments"],
            status=record["status"],
            seconds=record["seconds"],
            error=record["error"],
        )
        return outcome

    async def wait(self, wake_after: float | None) -> dict[int, Outcome]:
        """Wait for the first calls to end, or for the program's next timer."""
        if not self.tasks:
            await asyncio.sleep(wake_after or 0)
            return {}
        done, _ = await asyncio.wait(self.tasks.values(), timeout=wake_after, return_when=asyncio.FIRST_COMPLETED)
        ids = [id for id, task in self.tasks.items() if task in done]
        for id in ids:
            del self.open[id]
        return {id: self.tasks.pop(id).result() for id in ids}

    async def cancel(self, ids: Iterable[int]) -> None:
        """Cancel the tools of calls that the program gave up."""
        tasks = [self.tasks.pop(id) for id in ids if id in self.tasks and self.open.pop(id, None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Leave no tool running."""
        await self.cancel(list(self.tasks))


def _interrupted(record: ToolCall) -> Any:
    return "failed" if record["effect"] == "read" else "unknown"


def _timeout(spec: ToolSpec) -> ToolError:
    return ToolError(type="TimeoutError", message=f"{spec.name} did not answer within {spec.policy.timeout:g} seconds")


def _show(error: Exception) -> ToolError:
    """An exception as a program and a model may see it: the nearest built-in type, and its message without secrets."""
    name = next(c.__name__ for c in type(error).__mro__ if getattr(builtins, c.__name__, None) is c)
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return ToolError(type=name if name != "Exception" else "RuntimeError", message=redact(message or type(error).__name__))
