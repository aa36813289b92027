"""Making a tool call: its policy, its record, its errors."""

import asyncio
import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from codemode_sandboxes import Limits, Outcome, Raised, Returned
from codemode_sandboxes.guest.json_values import to_json
from langchain_core.runnables import RunnableConfig
from langgraph.types import Interrupt

from codemode_graph.calls.interrupts import InvalidAnswer, ToolAsks, call_tool
from codemode_graph.calls.journal import Journal
from codemode_graph.calls.values import Values
from codemode_graph.errors import ToolOutcomeUnknown
from codemode_graph.events import CallFields, CallFinishedEvent, CallStartedEvent, emit
from codemode_graph.redact import mask, redact
from codemode_graph.state import CodeModeState, Question, ToolCall, ToolCallStatus, ToolError
from codemode_graph.tools.callbacks import masked, tagged
from codemode_graph.tools.hints import to_plain
from codemode_graph.tools.results import CommandRefused, Updated, to_json_update
from codemode_graph.tools.spec import ToolSpec

__all__ = ["Calls", "refused"]

_FINAL = (TypeError, ValueError, LookupError, PermissionError, ToolAsks, InvalidAnswer, CommandRefused)
"""What the same call would meet again."""
_NO_ANSWER = (ToolOutcomeUnknown, TimeoutError)
"""After which a call may have taken effect."""
_FIRST_PAUSE = 0.1


@dataclass(slots=True, kw_only=True)
class Calls:
    """Makes the calls of one program and records them.

    Attributes:
        tools: What may be called, by name.
        journal: Where calls are recorded.
        values: Where values are kept that the record only refers to.
        limits: Bounds calls in flight and the size of a value.
        config: Callbacks and tags for the tools.
        state: What a tool finds as the state of the graph.
        max_calls: Calls in the whole run; None for no limit.
    """

    tools: Mapping[str, ToolSpec]
    journal: Journal
    values: Values
    limits: Limits
    config: RunnableConfig
    state: CodeModeState
    max_calls: int | None = None
    _slots: asyncio.Semaphore = field(init=False)
    _tool_slots: dict[str, asyncio.Semaphore] = field(init=False)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.limits.calls_in_flight)
        self._tool_slots = {
            spec.name: asyncio.Semaphore(spec.policy.concurrency or self.limits.calls_in_flight)
            for spec in self.tools.values()
        }

    def refuse(self, spec: ToolSpec) -> Raised | None:
        """Why no further call may be made, or None where one may."""
        if self.max_calls is not None and len(self.journal.records) >= self.max_calls:
            return Raised("RuntimeError", f"the run has made its {self.max_calls} tool calls; no more are made")
        most = spec.policy.max_calls
        if most is not None and self.journal.count(spec.name) >= most:
            return Raised("RuntimeError", f"{spec.name!r} may be called {most} times in a run, and has been")
        return None

    async def make(self, spec: ToolSpec, record: ToolCall, arguments: Mapping[str, Any]) -> Outcome | None:
        """Call the tool. Whatever it does, `record` says in the end how far it got.

        Returns:
            What the program is told; None where the tool asks something first.
        """
        outcome: Outcome | None
        reached = False
        try:
            async with self._slots, self._tool_slots[spec.name]:
                reached = True
                await self.journal.write(record)
                emit(CallStartedEvent(type="call_started", **_told(record), line=record["line"]))
                given = await self._call(spec, record, arguments)
            outcome = await self._take(spec, record, given)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            own = task is not None and not task.cancelling()
            message = f"{spec.name} was cancelled from within" if own else "the call was given up before it ended"
            error = ToolError(type="RuntimeError", message=message)
            begun = reached or record.get("doubtful", False)
            self.journal.finish(record, _cut_off(record) if begun else "not_started", error=error)
            if not own:
                # Not stored: after a kill the program has to wait for it anew, and may give it up again.
                raise
            outcome = Raised(**error)
        except _TooLate:
            message = f"{spec.name} did not answer within {spec.policy.timeout:g} seconds"
            error = ToolError(type="TimeoutError", message=message)
            self.journal.finish(record, _cut_off(record), error=error)
            outcome = Raised(**error)
        except ToolAsks as stop:
            outcome = self._ask(spec, record, stop.interrupt)
        except InvalidAnswer:
            self.journal.interrupt(record, record["asks"], record["answers"][:-1])
            outcome = None
        except CommandRefused as problem:
            error = _show(problem)
            self.journal.finish(record, "done", error=error)
            outcome = Raised(**error)
        except _NO_ANSWER as problem:
            error = _show(problem)
            self.journal.finish(record, _cut_off(record), error=error)
            outcome = Raised(**error)
        except Exception as problem:
            error = _show(problem)
            self.journal.finish(record, "unknown" if record.get("doubtful") else "failed", error=error)
            outcome = Raised(**error)
        await self.journal.write(record)
        emit(
            CallFinishedEvent(
                type="call_finished",
                **_told(record),
                status=record["status"],
                seconds=record["seconds"],
                error=record["error"],
            )
        )
        return outcome

    async def recorded(self, record: ToolCall, outcome: Outcome) -> Outcome:
        """An answer from the journal, with the value itself where the record only refers to it."""
        try:
            return outcome if isinstance(outcome, Raised) else Returned(await self.values.load(outcome.value))
        except KeyError as problem:
            return Raised("RuntimeError", f"the recorded value of {record['tool']!r} is gone: {problem.args[0]}")

    async def verified(self, spec: ToolSpec, record: ToolCall, value: object) -> Outcome:
        """Record the value of a call that was cut off, and of which the tool's own `verify` says that it took effect."""
        outcome = await self._take(spec, record, value)
        await self.journal.write(record)
        return outcome

    async def _call(self, spec: ToolSpec, record: ToolCall, arguments: Mapping[str, Any]) -> Any:
        names, answers = spec.policy.redact, record.get("answers", [])
        call = masked(spec.name, spec.call, names, description=spec.description) if names else spec.call
        told = ("id", "attempt", "line", "effect", *(("idempotency_key",) if spec.takes_key else ()))
        config = tagged(self.config, **{key: record[key] for key in told})  # type: ignore[literal-required]
        tries = 1 if spec.has_effect else 1 + spec.policy.retries
        for number in range(1, tries + 1):
            deadline = asyncio.timeout(spec.policy.timeout)
            try:
                async with deadline:
                    return await call_tool(call, dict(arguments), config, state=self.state, answers=answers)
            except _FINAL:
                raise
            except Exception as problem:
                late = isinstance(problem, TimeoutError) and deadline.expired()
                if number == tries:
                    raise (_TooLate() if late else problem) from None
            await asyncio.sleep(_FIRST_PAUSE * 2 ** (number - 1))
        raise AssertionError("unreachable")

    async def _take(self, spec: ToolSpec, record: ToolCall, given: object) -> Outcome:
        """Record the value that a tool gave. One that is no data is an error in the program, though the call is done."""
        most = spec.policy.max_result_bytes or self.limits.value_bytes
        updates: list[dict[str, Any]] = []
        try:
            if isinstance(given, Updated):
                updates = [to_json_update(update, max_bytes=most) for update in given.updates]
                given = given.value
            value = to_json(given, max_bytes=most)
        except (TypeError, ValueError) as problem:
            message = f"{spec.name} returned no usable value: {problem}"
            error = ToolError(type=_builtin(problem), message=message)
            self.journal.finish(record, "done", error=error)
            return Raised(**error)
        shown = mask(value, spec.policy.redact)
        try:
            kept = await self.values.keep(value, shown=shown, always=shown != value)
        except Exception as problem:  # a disk that is full, a store that is gone: the call was made all the same
            error = _show(problem)
            error["message"] = f"what {spec.name} returned could not be kept: {error['message']}"
            self.journal.finish(record, "done", error=error)
            return Raised(**error)
        self.journal.finish(record, "done", value=kept)
        if updates:
            record["updates"] = updates
        return Returned(value)

    def _ask(self, spec: ToolSpec, record: ToolCall, asked: Interrupt) -> Outcome | None:
        """Record what a tool asks. What is no data cannot be asked, and is an error in the program."""
        try:
            value = to_json(to_plain(asked.value), max_bytes=self.limits.value_bytes)
        except (TypeError, ValueError) as problem:
            error = ToolError(type=_builtin(problem), message=f"{spec.name} asks what is no data: {problem}")
            self.journal.finish(record, _cut_off(record), error=error)
            return Raised(**error)
        schema = asked.response_schema if isinstance(asked.response_schema, dict) else None
        self.journal.interrupt(record, Question(value=value, schema=schema), record.get("answers", []))
        return None


class _TooLate(Exception):
    """The tool's own time ran out."""


def refused(tool: str, reason: object) -> ToolError:
    """What a program sees of a call that a person refused."""
    detail = f": {reason}" if reason else ""
    return ToolError(type="PermissionError", message=f"the call of {tool!r} was refused{detail}")


def _told(record: ToolCall) -> CallFields:
    return CallFields(id=record["id"], tool=record["tool"], arguments=record["arguments"])


def _cut_off(record: ToolCall) -> ToolCallStatus:
    return "failed" if record["effect"] == "read" else "unknown"


def _show(error: Exception) -> ToolError:
    """An exception as a program and a model may see it: the nearest built-in type, and its message without secrets."""
    message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return ToolError(type=_builtin(error), message=redact(message or type(error).__name__))


def _builtin(error: Exception) -> str:
    name = next(c.__name__ for c in type(error).__mro__ if getattr(builtins, c.__name__, None) is c)
    return name if name != "Exception" else "RuntimeError"
