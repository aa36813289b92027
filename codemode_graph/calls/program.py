"""Between a running program and its tools: the loop that answers what the program asks for."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
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

from codemode_graph.calls.decide import Admission, Admitted
from codemode_graph.calls.make import Calls
from codemode_graph.events import CallPendingEvent, StdoutEvent, emit
from codemode_graph.state import Decision, PendingCall, Turn

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
    run = _Run(admission=Admission(calls, decisions or {}), replay=list(turns))
    started = time.monotonic()
    event: RunEvent
    try:
        async with asyncio.timeout(timeout) as deadline:
            execution = await sandbox.start(program, limits)
            try:
                event = await run.drive(execution)
            finally:
                if run.ended is None:  # one that has ended frees itself, and nobody need wait for that
                    await execution.aclose()
    except TimeoutError:
        if not deadline.expired():
            raise
        waiting = sorted({call.spec.name for call in run.open.values()})
        detail = f" while it waited for {', '.join(waiting)}" if waiting else ""
        message = f"the program did not end within {timeout:g} seconds{detail}"
        failed = Failed(kind="timeout", type="TimeoutError", message=message)
        event = failed if run.ended is None else run.end(run.ended)
    finally:
        await run.stop()
    return ProgramRun(event=event, stdout="".join(run.stdout), seconds=time.monotonic() - started, turns=run.turns)


@dataclass(slots=True)
class _Run:
    admission: Admission
    replay: list[Turn]
    stdout: list[str] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    ready: dict[int, Outcome] = field(default_factory=dict)
    open: dict[int, Admitted] = field(default_factory=dict)
    tasks: dict[int, asyncio.Task[Outcome | None]] = field(default_factory=dict)
    pending: dict[int, PendingCall] = field(default_factory=dict)
    ended: Finished | Failed | None = None
    decided: set[int] = field(default_factory=set)
    ended_calls: list[int] = field(default_factory=list)
    ending: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def calls(self) -> Calls:
        return self.admission.calls

    async def drive(self, execution: Execution) -> RunEvent:
        event = await execution.advance()
        # While a stopped program is brought back, its clock says what it said then.
        clock = time.monotonic() - sum(turn["elapsed"] for turn in self.replay[-1:])
        while isinstance(event, Blocked):
            self.print(event.stdout)
            await self.cancel(event.cancelled)
            for id in event.cancelled:
                self.calls.journal.told(id, error=True)
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
            outcomes = {id: self.ready.pop(id) for id in turn["answered"]}
            for id, outcome in outcomes.items():
                self.calls.journal.told(id, error=isinstance(outcome, Raised))
            event = await execution.advance(outcomes, elapsed=turn["elapsed"])
        self.print(event.stdout)
        self.ended = event
        await self.settle()
        return self.end(event)

    def end(self, event: Finished | Failed) -> RunEvent:
        """What a run comes to whose program has ended."""
        self.collect()
        # A tool that the program left behind may ask as well: the program ends anew when it has been answered.
        return Paused(list(self.pending.values())) if self.pending and isinstance(event, Finished) else event

    def print(self, text: str) -> None:
        if text:
            self.stdout.append(text)
            if not self.replay:
                emit(StdoutEvent(type="stdout", text=text))

    async def begin(self, call: Call) -> None:
        """Answer a call at once, start its tool, or let it wait for a person."""
        admitted = await self.admission.admit(call, again=bool(self.replay))
        if isinstance(admitted, Admitted):
            self.open[call.id] = admitted
            if admitted.decided:
                self.decided.add(call.id)
            self.tasks[call.id] = task = asyncio.create_task(
                self.calls.make(admitted.spec, admitted.record, admitted.arguments),
                name=f"{admitted.spec.name} {admitted.record['id']}",
            )
            task.add_done_callback(partial(self.note_end, call.id))
        elif isinstance(admitted, Returned | Raised):
            self.ready[call.id] = admitted
        else:
            self.ask(call.id, admitted)

    def note_end(self, id: int, _task: object) -> None:
        self.ended_calls.append(id)
        self.ending.set()

    def ask(self, id: int, pending: PendingCall) -> None:
        """Let a call wait for a person."""
        self.pending[id] = pending
        emit(CallPendingEvent(type="call_pending", **pending))

    async def wait(self, wake_after: float | None) -> bool:
        """Wait until there is something to tell the program, or people to ask.

        Where calls wait for people, the others end first, and nothing is told before the people have answered: the program
        then gets the answers together, as if nobody had had to be asked. Calls that people have approved are never
        overtaken either, so none is lost to a program that goes another way meanwhile.

        Returns:
            Whether to ask.
        """
        while True:
            self.collect()
            if self.tasks and (self.pending or self.decided):
                await self.one_ended()
            elif self.pending or self.ready:
                return bool(self.pending)
            elif self.tasks:
                await self.one_ended(wake_after)
                self.collect()
                if not self.pending:
                    return False
            else:
                await asyncio.sleep(wake_after or 0)
                return False

    async def one_ended(self, timeout: float | None = None) -> None:
        """Wait until a tool has ended, or the time is up."""
        self.ending.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self.ending.wait()

    def collect(self) -> None:
        """Take what the tools that have ended gave; a tool that asks something makes its call wait."""
        ended, self.ended_calls = self.ended_calls, []
        for id in ended:
            if id not in self.tasks:
                continue
            call, outcome = self.open.pop(id), self.tasks.pop(id).result()
            self.decided.discard(id)
            if outcome is None:
                self.ask(id, self.admission.question(call.record, call.record["line"]))
            else:
                self.ready[id] = outcome

    async def settle(self) -> None:
        """Let the calls with an effect end that the program left behind, and give up the others."""
        await self.cancel([id for id, call in self.open.items() if call.record["effect"] == "read"])
        if self.tasks:
            await asyncio.wait(self.tasks.values())

    async def cancel(self, ids: Iterable[int]) -> None:
        """Cancel the tools of calls that the program gave up."""
        tasks = []
        for id in ids:
            self.ready.pop(id, None)
            self.pending.pop(id, None)
            self.open.pop(id, None)
            self.decided.discard(id)
            if id in self.tasks:
                tasks.append(self.tasks.pop(id))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Leave no tool running."""
        await self.cancel(list(self.tasks))
