"""Making a tool call: its policy, its record, its errors."""

import asyncio
import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from codemode_sandboxes import Limits, Outcome, Raised, Returned
from codemode_sandboxes.values import to_json
from langchain_core.runnables import RunnableConfig

from codemode_graph.events import emit
from codemode_graph.journal import Journal
from codemode_graph.redact import redact
from codemode_graph.state import ToolCall, ToolError
from codemode_graph.tools.spec import ToolSpec

__all__ = ["Calls", "refused"]


@dataclass(slots=True, kw_only=True)
class Calls:
    """Makes the calls of one program and records them.

    Attributes:
        tools: What may be called, by name.
        journal: Where calls are recorded.
        limits: Bounds calls in flight and the size of a value.
        config: Callbacks and tags for the tools.
    """

    tools: Mapping[str, ToolSpec]
    journal: Journal
    limits: Limits
    config: RunnableConfig
    slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self.slots = asyncio.Semaphore(self.limits.calls_in_flight)

    async def make(self, spec: ToolSpec, record: ToolCall) -> Outcome:
        """Call the tool. Whatever it does, `record` says in the end how far it got."""
        outcome: Outcome
        reached = False
        deadline = asyncio.timeout(spec.policy.timeout)
        try:
            async with self.slots:
                reached = True
                await self.journal.write(record)
                emit(
                    "call_started", id=record["id"], tool=spec.name, arguments=record["arguments"], line=record["line"]
                )
                async with deadline:
                    given = await spec.call(dict(record["arguments"]), self.config)
            outcome = self._take(record, given)
        except asyncio.CancelledError:
            error = ToolError(type="RuntimeError", message="the call was given up before it ended")
            self.journal.finish(record, _cut_off(record) if reached else "not_started", error=error)
            raise
        except Exception as problem:
            late = isinstance(problem, TimeoutError) and deadline.expired()
            error = _show(problem) if not late else _too_late(spec)
            self.journal.finish(record, _cut_off(record) if late else "failed", error=error)
            outcome = Raised(error["type"], error["message"])
        await self.journal.write(record)
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

    async def verify(self, spec: ToolSpec, arguments: Mapping[str, Any], key: str) -> Outcome | None:
        """Ask a tool's own `verify` about a call that was cut off.

        Returns:
            The call's outcome where it did take effect; None where it did not, or where only a person can tell.
            Where it did not, the journal no longer holds it for unknown.
        """
        if spec.policy.verify is None:
            return None
        found = await spec.policy.verify(arguments)
        record = self.journal.latest(key)
        if found is None:
            self.journal.finish(record, "not_started")
            return None
        return self._take(record, found.value)

    def _take(self, record: ToolCall, given: object) -> Outcome:
        """Record the value that a tool gave. One that is no data is an error in the program; the call is done all the same."""
        try:
            value = to_json(given, max_bytes=self.limits.value_bytes)
        except (TypeError, ValueError) as problem:
            error = ToolError(type="TypeError", message=f"{record['tool']} returned what is no plain data: {problem}")
            self.journal.finish(record, "done", error=error)
            return Raised(error["type"], error["message"])
        self.journal.finish(record, "done", value=value)
        return Returned(value)


def refused(tool: str, reason: object) -> ToolError:
    """What a program sees of a call that a person refused."""
    detail = f": {reason}" if reason else ""
    return ToolError(type="PermissionError", message=f"the call of {tool!r} was refused{detail}")


def _cut_off(record: ToolCall) -> Any:
    return "failed" if record["effect"] == "read" else "unknown"


def _too_late(spec: ToolSpec) -> ToolError:
    return ToolError(type="TimeoutError", message=f"{spec.name} did not answer within {spec.policy.timeout:g} seconds")


def _show(error: Exception) -> ToolError:
    """An exception as a program and a model may see it: the nearest built-in type, and its message without secrets."""
    name = next(c.__name__ for c in type(error).__mro__ if getattr(builtins, c.__name__, None) is c)
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return ToolError(
        type=name if name != "Exception" else "RuntimeError", message=redact(message or type(error).__name__)
    )
