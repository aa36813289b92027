"""Driving a program: what it asks for is decided, made and recorded, and it is told the outcomes frame by frame."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from codemode_sandboxes import (
    Blocked,
    Execution,
    Failed,
    Finished,
    Limits,
    Outcome,
    Program,
    Sandbox,
)

from codemode_graph.calls import log as events
from codemode_graph.calls.gate import OpenCall
from codemode_graph.calls.make import Ending
from codemode_graph.calls.resolve import Resolver
from codemode_graph.calls.session import Session
from codemode_graph.calls.view import Frame
from codemode_graph.events import CallPendingEvent, StdoutEvent, emit
from codemode_graph.state import PendingCall


@dataclass(frozen=True, slots=True)
class Paused:
    """The program waits for nothing but people."""

    pending: list[PendingCall]


RunEvent: TypeAlias = Finished | Failed | Paused


class ProgramRun(NamedTuple):
    """The end of a program, or why it stopped.

    Attributes:
        event: With what.
        stdout: All that it printed.
        seconds: Wall time.
        calls: Ids of the calls that it made, in order; of one that was answered, the id of the call that the answer is from.
    """

    event: RunEvent
    stdout: str
    seconds: float
    calls: list[str]


async def run_program(
    sandbox: Sandbox, program: Program, *, session: Session, resolver: Resolver, limits: Limits, timeout: float
) -> ProgramRun:
    """Run a program until it ends or waits for people.

    Args:
        sandbox: Where it runs.
        program: What runs.
        session: Its journal, which this is the one executor of.
        resolver: Decides on its calls and makes them.
        limits: Bounds on the program.
        timeout: Seconds that it may take from now on, tools included.

    Returns:
        The last event, also where the time ran out. On return no tool call is left running.

    Raises:
        SessionLost: Another executor drives the run now.
        JournalError: What happened cannot be recorded.
    """
    run = _Run(session, resolver, limits)
    started = time.monotonic()
    event: RunEvent
    # A tool may work for longer than a lease lasts. Where a renewal fails, the next append or `hold` says so.
    renewal = asyncio.create_task(session.renew(), name=f"lease of {session.log.run}")
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
        waiting = sorted({open.call.tool for open in run.flight.values()})
        detail = f" while it waited for {', '.join(waiting)}" if waiting else ""
        message = f"the program did not end within {timeout:.3g} seconds{detail}"
        # A program that has ended keeps its value: the time ran out for calls that it left behind.
        failed = Failed(kind="timeout", type="TimeoutError", message=message)
        event = failed if run.ended is None else run.end(run.ended)
    finally:
        renewal.cancel()
        await run.stop()
    return ProgramRun(
        event=event, stdout="".join(run.stdout), seconds=time.monotonic() - started, calls=list(resolver.calls)
    )


@dataclass(slots=True)
class _Run:
    """The calls of one program that have not been answered, by where they are.

    A call is in exactly one of: `queue`, before it is decided on; `waiting`, for a slot; `flight`, its tool works;
    `ready`, its outcome can be told; `pending`, a person is asked.
    """

    session: Session
    resolver: Resolver
    limits: Limits
    stdout: list[str] = field(default_factory=list)
    queue: list[OpenCall] = field(default_factory=list)
    waiting: list[OpenCall] = field(default_factory=list)
    flight: dict[int, OpenCall] = field(default_factory=dict)
    ready: dict[int, OpenCall] = field(default_factory=dict)
    pending: dict[int, OpenCall] = field(default_factory=dict)
    tasks: dict[int, asyncio.Task[tuple[Ending, Outcome | None]]] = field(default_factory=dict)
    ended: Finished | Failed | None = None
    ending: asyncio.Event = field(default_factory=asyncio.Event)
    replay: list[Frame] = field(init=False)
    clock: float = 0.0
    base: float = 0.0

    def __post_init__(self) -> None:
        known = self.session.view.sessions[self.session.number]
        self.replay = list(known.frames) if self.session.restart else []
        self.base = time.monotonic()

    async def drive(self, execution: Execution) -> RunEvent:
        """Run the program to its end or its next pause."""
        event = await execution.advance()
        while isinstance(event, Blocked):
            self.print(event.stdout)
            await self.cancel(event.cancelled)
            self.queue += [self.resolver.open(call) for call in event.calls]
            frame = await self.next_frame(event.wake_after)
            if frame is None:
                return Paused([open.pending for open in self.pending.values() if open.pending is not None])
            outcomes = {open.call.id: open.outcome for open in frame if open.outcome is not None}
            event = await execution.advance(outcomes, elapsed=self.clock)
        self.print(event.stdout)
        self.ended = event
        await self.settle_rest()
        return self.end(event)

    def end(self, event: Finished | Failed) -> RunEvent:
        """Return what a run comes to whose program has ended."""
        # A tool that the program left behind may ask as well: the program ends anew when it has been answered.
        pending = [open.pending for open in self.pending.values() if open.pending is not None]
        return Paused(pending) if pending and isinstance(event, Finished) else event

    def print(self, text: str) -> None:
        """Note what the program printed. What it prints again when it is started again has been sent before."""
        if text:
            text = self.resolver.maker.hide(text)
            self.stdout.append(text)
            if not self.replay:
                emit(StdoutEvent(type="stdout", text=text))

    async def next_frame(self, wake_after: float | None) -> list[OpenCall] | None:
        """Wait until there is something to tell the program.

        Returns:
            The calls that it is told of, none for its timer alone; None where it has to wait for people.
        """
        if (replayed := await self.replayed()) is not None:
            return replayed
        await self.begin()
        while True:
            await self.collect()
            await self.launch()
            # Where calls wait for people, the others end first, and nothing is told before: the program then gets the
            # answers together, as if nobody had had to be asked. Nor is what people approved overtaken, so that none of
            # it is lost to a program that goes another way meanwhile.
            if self.tasks and (self.pending or any(open.approved for open in self.flight.values())):
                await self.one_ended()
            elif self.pending:
                return None
            elif self.ready:
                if frame := await self.tell_ready():
                    return frame
            elif self.tasks:
                if not await self.one_ended(wake_after):
                    return await self.tell([], self.live())
            else:
                # The program waits for nothing but its own timer.
                await asyncio.sleep(wake_after or 0)
                return await self.tell([], self.live())

    async def replayed(self) -> list[OpenCall] | None:
        """Return the next recorded frame of a program that is started again, as long as it goes the recorded way."""
        if not self.replay:
            return None
        frame, by_number = self.replay[0], {open.call.id: open for open in self.queue}
        if not all(n in by_number and self.resolver.is_recorded(by_number[n]) for n in frame.numbers):
            self.replay = []
            return None
        del self.replay[0]
        # Calls made in one block may be answered in several frames: the others stay in the queue.
        opens = [by_number[number] for number in frame.numbers]
        self.queue = [open for open in self.queue if open not in opens]
        for open in opens:
            await self.resolver.recall(open)
        lost = [open for open in opens if open.outcome is None]  # the value is gone: it is read again, or asked for
        for open in lost:
            self.place(open)
        while self.waiting or self.tasks:
            await self.launch()
            if self.tasks:
                await self.one_ended()
            await self.collect()
        if any(open.outcome is None for open in lost):
            for open in opens:
                if open not in lost:
                    self.place(open)
            self.replay = []
            return None
        for open in lost:
            self.ready.pop(open.call.id, None)
        return await self.tell(opens, frame.clock, record=False)

    async def begin(self) -> None:
        """Decide on the calls that the program has made, all of them before any is started."""
        queue, self.queue = self.queue, []
        # None of a block may see what another of the same block starts.
        verdicts = [(open, self.resolver.decide(open)) for open in queue]
        for open, verdict in verdicts:
            await self.resolver.apply(open, verdict)
            self.place(open)

    def place(self, open: OpenCall) -> None:
        """Put a call where it belongs after it was decided on."""
        number = open.call.id
        if open.pending is not None:
            self.pending[number] = open
            emit(CallPendingEvent(type="call_pending", **open.pending))
        elif open.start is not None:
            self.waiting.append(open)
        elif open.outcome is not None or not self.resolver.waits_for_equal(open):
            self.ready[number] = open

    async def launch(self) -> None:
        """Start the tools of the calls that wait, as far as there are slots. They begin with one append."""
        started: list[OpenCall] = []
        waiting, self.waiting = self.waiting, []
        busy: dict[str, int] = {}
        for open in self.flight.values():
            busy[open.call.tool] = busy.get(open.call.tool, 0) + 1
        count = len(self.flight)
        for open in waiting:
            most = open.tool.policy.concurrency or self.limits.calls_in_flight
            if count >= self.limits.calls_in_flight or busy.get(open.call.tool, 0) >= most:
                self.waiting.append(open)
                continue
            if await self.resolver.join(open):
                self.place(open)
                continue
            await self.resolver.start(open)
            started.append(open)
            count += 1
            busy[open.call.tool] = busy.get(open.call.tool, 0) + 1
        try:
            if any(self.resolver.must_last(open) for open in started):
                await self.session.log.flush()
            for open in started:
                number = open.call.id
                if open.outcome is not None:  # a person answered in the tool's place
                    self.ready[number] = open
                    continue
                # The last look before the tool is called: another executor may have taken over a process that was frozen.
                self.session.hold()
                self.flight[number] = open
                self.tasks[number] = asyncio.create_task(self.make(open), name=f"{open.call.tool} {open.id}")
        except BaseException:
            # The append may take place after all, or with the session's end. Nobody is to be asked about what was never made.
            for open in started:
                if open.outcome is None and open.call.id not in self.tasks:
                    self.resolver.withdraw(open)
            raise

    async def make(self, open: OpenCall) -> tuple[Ending, Outcome | None]:
        """Call a tool, and say that one has ended."""
        try:
            return await self.resolver.make(open)
        finally:
            # Whoever waits for it looks in a later turn of the loop, in which this task is done. A callback of the task
            # would take one turn more, for each call.
            self.ending.set()

    async def one_ended(self, timeout: float | None = None) -> bool:
        """Wait until a tool has ended; False where the time is up first."""
        if timeout is None:
            await self.ending.wait()
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self.ending.wait()
        return self.ending.is_set()

    async def collect(self) -> None:
        """Take what the tools that have ended returned. What ends together is appended together, before it is told."""
        # Cleared before the look at the tasks: one that ends in between sets the event again.
        self.ending.clear()
        ended = [number for number, task in self.tasks.items() if task.done()]
        if not ended:
            return
        opens = []
        for number in ended:
            open, task = self.flight.pop(number), self.tasks.pop(number)
            # `cancel` takes a task away before it cancels it, so one that is here was cancelled from within.
            await self.resolver.finish(open, *(self.resolver.cancelled(open) if task.cancelled() else task.result()))
            opens.append(open)
        if any(self.resolver.must_last(open) for open in opens):
            await self.session.log.flush()
        for open in opens:
            await self.resolver.resolve(open)
            self.place(open)
            for other in self.resolver.joined(open):
                self.place(other)

    async def tell_ready(self) -> list[OpenCall]:
        """Tell outcomes that are there: of those that were recorded, the lowest recorded frame alone."""

        def received_at(open: OpenCall) -> float:
            at = open.record.received_at if open.record is not None else None
            return float("inf") if at is None else at

        lowest = min(map(received_at, self.ready.values()))
        opens = [open for open in self.ready.values() if received_at(open) == lowest]
        for open in opens:
            del self.ready[open.call.id]
            await self.resolver.load(open)
        lost = [open for open in opens if open.outcome is None]  # its value is gone, so it is made again or asked about
        for open in lost:
            self.place(open)
        opens = [open for open in opens if open.outcome is not None]
        if not opens:
            return []
        clocks = [open.record.clock for open in opens if open.record is not None and open.record.clock is not None]
        return await self.tell(opens, max(clocks) if clocks else self.resolver.clock_of(opens) or self.live())

    async def tell(self, opens: list[OpenCall], clock: float, *, record: bool = True) -> list[OpenCall]:
        """Note what the program is told, in order, and what its clock says."""
        # The program's clock never goes back, also where an older frame is told after a newer one.
        self.clock = max(self.clock, clock)
        self.base = time.monotonic() - self.clock
        if record:
            numbers = [open.call.id for open in opens]
            self.session.log.add(events.Delivered(session=self.session.number, clock=self.clock, numbers=numbers))
        for open in opens:
            self.resolver.tell(open)
        return opens

    def live(self) -> float:
        """Return what the program's clock says now, in seconds."""
        return time.monotonic() - self.base

    async def settle_rest(self) -> None:
        """Let the calls with an effect end that the program left behind, and give up the others."""
        await self.begin()  # of a program that was started again, calls may come here that were made before
        await self.launch()
        # Calls that found no slot were never started, and nobody waits for their values.
        self.waiting.clear()
        await self.cancel([number for number, open in self.flight.items() if not open.tool.has_effect])
        while self.tasks:
            await self.one_ended()
            await self.collect()

    async def cancel(self, numbers: Iterable[int]) -> None:
        """Cancel the tools of calls that the program gave up."""
        numbers = set(numbers)
        if not numbers:
            return
        self.queue, cancelled = _without(self.queue, numbers)
        self.waiting, more = _without(self.waiting, numbers)
        cancelled += more
        tasks = {}
        for number in numbers:
            for place in (self.ready, self.pending, self.flight):
                if (open := place.pop(number, None)) is not None:
                    cancelled.append(open)
            if (task := self.tasks.pop(number, None)) is not None:
                tasks[number] = task
        for task in tasks.values():
            task.cancel()
        # Tools clean up before it is recorded how they ended.
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        for open in cancelled:
            await self.resolver.give_up(open, tasks.get(open.call.id))
            self.queue += self.resolver.joined(open, cancelled=True)  # they are decided on anew

    async def stop(self) -> None:
        """Leave no tool running."""
        await self.cancel(list(self.tasks))


def _without(opens: list[OpenCall], numbers: set[int]) -> tuple[list[OpenCall], list[OpenCall]]:
    rest = [open for open in opens if open.call.id not in numbers]
    return rest, [open for open in opens if open.call.id in numbers]
