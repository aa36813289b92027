"""Between a running program and its tools: the loop that answers what the program asks for."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeAlias

from codemode_sandboxes import (
    Blocked,
    Call,
    Execution,
    Failed,
    Finished,
    Limits,
    Outcome,
    Program,
    Raised,
    Returned,
    Sandbox,
)

from codemode_graph.calls import Calls, refused
from codemode_graph.events import emit
from codemode_graph.journal import Journal
from codemode_graph.redact import mask
from codemode_graph.state import Decision, PendingCall, ToolCall, Turn
from codemode_graph.tools.schema import bind
from codemode_graph.tools.spec import AfterCalls, ToolSpec

__all__ = ["Paused", "ProgramRun", "run_program"]


@dataclass(frozen=True, slots=True)
class Paused:
    """The program waits for nothing but people."""

    pending: list[PendingCall]


RunEvent: TypeAlias = Finished | Failed | Paused


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramRun:
    """How a program ended or why it stopped.

    Attributes:
        event: With what.
        stdout: All that it printed.
        seconds: Wall time.
        turns: What it was given, turn by turn; with it, and the journal, it can be brought back to where it stopped.
    """

    event: RunEvent
    stdout: str
    seconds: float
    turns: list[Turn]


async def run_program(
    sandbox: Sandbox,
    program: Program,
    *,
    calls: Calls,
    limits: Limits,
    timeout: float,
    decisions: Mapping[str, Decision] | None = None,
    turns: Iterable[Turn] = (),
) -> ProgramRun:
    """Run a program until it ends or waits for people, answering its calls from the journal or from the tools.

    Args:
        sandbox: Where it runs.
        program: What runs.
        calls: Makes its calls and records them.
        limits: Bounds on the program.
        timeout: Seconds that the whole run may take, tools included.
        decisions: What people decided, by the call's key.
        turns: How far it got before it was stopped; empty for a program that starts for the first time.

    Returns:
        The last event, also where the time ran out. On return no tool call is left running.
    """
    run = _Run(calls=calls, decisions=decisions or {}, replay=list(turns))
    started = time.monotonic()
    event: RunEvent
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
        event = run.ended or Failed(kind="timeout", type="TimeoutError", message=message)
    finally:
        await run.stop()
    return ProgramRun(event=event, stdout="".join(run.stdout), seconds=time.monotonic() - started, turns=run.turns)


@dataclass(slots=True)
class _Run:
    calls: Calls
    decisions: Mapping[str, Decision]
    replay: list[Turn]
    stdout: list[str] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    ready: dict[int, Outcome] = field(default_factory=dict)
    open: dict[int, ToolCall] = field(default_factory=dict)
    tasks: dict[int, asyncio.Task[Outcome]] = field(default_factory=dict)
    pending: dict[int, PendingCall] = field(default_factory=dict)
    approved: set[int] = field(default_factory=set)
    ended: Finished | Failed | None = None

    @property
    def journal(self) -> Journal:
        return self.calls.journal

    async def drive(self, execution: Execution) -> RunEvent:
        event = await execution.advance()
        # While a stopped program is brought back, its clock says what it said then.
        clock = time.monotonic() - sum(turn["elapsed"] for turn in self.replay[-1:])
        while isinstance(event, Blocked):
            self.print(event.stdout)
            await self.cancel(event.cancelled)
            for call in event.calls:
                await self.begin(call)
            if self.replay:
                recorded = self.replay.pop(0)
                turn = Turn(elapsed=recorded["elapsed"], answered=[i for i in recorded["answered"] if i in self.ready])
            else:
                if await self.wait(event.wake_after):
                    return Paused(list(self.pending.values()))
                turn = Turn(elapsed=time.monotonic() - clock, answered=sorted(self.ready))
            self.turns.append(turn)
            event = await execution.advance(
                {id: self.ready.pop(id) for id in turn["answered"]}, elapsed=turn["elapsed"]
            )
        self.print(event.stdout)
        self.ended = event
        await self.settle()
        return event

    def print(self, text: str) -> None:
        if text:
            self.stdout.append(text)
            if not self.replay:
                emit("stdout", text=text)

    async def begin(self, call: Call) -> None:
        """Answer a call at once, start its tool, or let it wait for a person."""
        spec = self.calls.tools.get(call.tool)
        if spec is None:
            self.ready[call.id] = Raised("KeyError", f"unknown tool {call.tool!r}")
            return
        try:
            arguments = bind(spec.name, spec.input_schema, call.args, call.kwargs)
        except TypeError as error:
            self.ready[call.id] = Raised("TypeError", str(error))
            return
        key = self.journal.key(spec.name, arguments)
        answered = self.journal.answer(key, cached=spec.policy.cache)
        if answered is not None:
            record, outcome = answered
            self.ready[call.id] = await self.calls.recorded(record, outcome)
            if not self.replay:
                emit("call_answered", id=record["id"], tool=spec.name, line=call.line)
            return
        if self.journal.is_unknown(key) and (found := await self.calls.verify(spec, arguments, key)) is not None:
            self.ready[call.id] = found
            return
        if (refusal := self.calls.refuse(spec)) is not None:
            self.ready[call.id] = refusal
            return
        shown = mask(arguments, spec.policy.redact)
        # What was decided about a call says nothing of what has become of it since: that is asked anew.
        unknown = self.journal.is_unknown(key)
        asked = f"{key}@{self.journal.latest(key)['started']}" if unknown else key
        decision = self.decisions.get(asked)
        if decision is None and (unknown or _needs_approval(spec, arguments, self.journal.count(spec.name))):
            self.pending[call.id] = PendingCall(
                id=self.journal.id(call.id),
                key=asked,
                tool=spec.name,
                arguments=shown,
                line=call.line,
                reason="unknown" if unknown else "approval",
            )
            emit("call_pending", **self.pending[call.id])
            return
        record = self.journal.start(
            call.id, spec.name, shown, key=key, effect=spec.policy.effect or spec.effect, line=call.line
        )
        if decision is not None and decision["type"] in ("reject", "respond"):
            self.ready[call.id] = self.decide(record, decision)
            return
        if decision is not None:
            self.approved.add(call.id)
        if decision is not None and decision["type"] == "edit":
            arguments = decision.get("arguments", arguments)
            record["arguments"] = mask(arguments, spec.policy.redact)
        self.open[call.id] = record
        self.tasks[call.id] = asyncio.create_task(
            self.calls.make(spec, record, arguments), name=f"{spec.name} {record['id']}"
        )

    def decide(self, record: ToolCall, decision: Decision) -> Outcome:
        """Record what a person answered in place of the tool."""
        message = decision.get("message")
        if decision["type"] == "respond":
            self.journal.finish(record, "done", value=message)
            return Returned(message)
        error = refused(record["tool"], message)
        self.journal.finish(record, "denied", error=error)
        return Raised(error["type"], error["message"])

    async def wait(self, wake_after: float | None) -> bool:
        """Wait until there is something to tell the program, or people to ask.

        Where calls wait for people, the others end first, and nothing is told before the people have answered: the program
        then gets the answers together, as if nobody had had to be asked. Calls that people have approved are never
        overtaken either, so none is lost to a program that goes another way meanwhile.

        Returns:
            Whether to ask.
        """
        held = list(self.tasks) if self.pending else [id for id in self.tasks if id in self.approved]
        if held:
            await asyncio.wait([self.tasks[id] for id in held])
        elif not self.ready and self.tasks:
            await asyncio.wait(self.tasks.values(), timeout=wake_after, return_when=asyncio.FIRST_COMPLETED)
        elif not self.ready and not self.pending:
            await asyncio.sleep(wake_after or 0)
        for id in [id for id, task in self.tasks.items() if task.done()]:
            del self.open[id]
            self.ready[id] = self.tasks.pop(id).result()
        return bool(self.pending)

    async def settle(self) -> None:
        """Let the calls with an effect end that the program left behind, and give up the others."""
        await self.cancel([id for id, record in self.open.items() if record["effect"] == "read"])
        if self.tasks:
            await asyncio.wait(self.tasks.values())

    async def cancel(self, ids: Iterable[int]) -> None:
        """Cancel the tools of calls that the program gave up."""
        tasks = []
        for id in ids:
            self.ready.pop(id, None)
            self.pending.pop(id, None)
            self.open.pop(id, None)
            if id in self.tasks:
                tasks.append(self.tasks.pop(id))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Leave no tool running."""
        await self.cancel(list(self.tasks))


def _needs_approval(spec: ToolSpec, arguments: Mapping[str, object], made: int) -> bool:
    approval = spec.policy.approval
    if isinstance(approval, AfterCalls):
        return made >= approval.calls
    return approval if isinstance(approval, bool) else bool(approval(arguments))
