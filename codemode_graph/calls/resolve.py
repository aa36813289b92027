"""Resolving the calls of a program: each is decided on, made or answered, recorded, and settled if its outcome is unknown."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from codemode_sandboxes import Call, Outcome, Raised, Returned

from codemode_graph.calls import log as events
from codemode_graph.calls.decide import (
    ProgramCall,
    Verdict,
    decide,
    refused_by_person,
)
from codemode_graph.calls.gate import Gate, OpenCall
from codemode_graph.calls.make import Asks, Ending
from codemode_graph.calls.settle import settle, undo
from codemode_graph.calls.view import Identity, Record
from codemode_graph.events import CallAnsweredEvent, emit
from codemode_graph.redact import mask
from codemode_graph.state import PendingCall, Question
from codemode_graph.tools.schema import AGAIN, bind
from codemode_graph.tools.spec import ToolSpec

_UNKNOWN_TOOL = ToolSpec(name="", call=None, effect="read")  # type: ignore[arg-type]  # never called


@dataclass(slots=True, kw_only=True)
class Resolver(Gate):
    """Resolves the calls of one program, in one session."""

    _joins: dict[int, list[OpenCall]] = field(default_factory=dict)

    # A call comes.

    def open(self, call: Call) -> OpenCall:
        """Take a call of the program in: bind its arguments, and find out which call it is."""
        tool = self.tools.get(call.tool, _UNKNOWN_TOOL)
        arguments: dict[str, Any] = {}
        keywords = dict(call.kwargs)
        again = keywords.pop(AGAIN, False) is True
        refusal: Raised | None = None
        if tool is _UNKNOWN_TOOL:
            refusal = Raised("KeyError", f"unknown tool {call.tool!r}")
        else:
            try:
                arguments = bind(tool.name, tool.input_schema, call.args, keywords)
            except TypeError as error:
                refusal = Raised("TypeError", str(error))
        self.maker.note(arguments, tool.policy.redact)
        digest = self.equal_calls.digest(tool, arguments)
        # A refused call has no record, so it takes no occurrence from an equal call.
        identity = Identity(
            call.tool, digest, self.equal_calls.occurrence(call.id, tool, digest) if refusal is None else 0
        )
        query = ProgramCall(
            number=call.id,
            identity=identity,
            effect=tool.effect_in_force,
            known_effects=self.equal_calls.known_effects,
            session=self.session.number,
            met=self._met,
            used=self._used,
            cache=tool.policy.cache,
            reads_for=tool.policy.answer_reads_for,
        )
        if tool.has_effect and refusal is None:
            # Rule B asks only which effects the program has come to; reads do not matter there.
            self._met.setdefault(identity, call.id)
        id = f"{self.attempt}.{call.id}"
        return OpenCall(call=call, id=id, tool=tool, arguments=arguments, query=query, outcome=refusal, again=again)

    # It is decided on.

    def decide(self, open: OpenCall) -> Verdict | None:
        """Say what becomes of a call; None for one that is refused for what it is."""
        return None if open.outcome is not None else decide(self.view, open.query, time.time())

    async def apply(self, open: OpenCall, verdict: Verdict | None) -> None:
        """Do what was decided, short of calling the tool: afterwards the call is ready, pending or to be started."""
        known = self.view.numbers.get((self.session.number, open.call.id))
        if known is not None and not isinstance(known, Record):
            open.outcome = Raised(**known)
        elif verdict is None:
            self.refuse(open)
        elif verdict.action == "answer":
            assert verdict.record is not None
            self._answer(open, verdict.record, marked=verdict.marked)
        elif verdict.action == "settle":
            assert verdict.record is not None
            await settle(self, open, verdict.record)
        else:
            await self.gate(open)

    def _answer(self, open: OpenCall, record: Record, *, marked: bool = False) -> None:
        """Answer a call from a record."""
        open.record = record
        # In a restart the record may already stand under this number; a second `answered` would say the same.
        if self.view.numbers.get((self.session.number, open.call.id)) is not record:
            mark = "answered from before later changes" if marked else None
            self.session.log.add(
                events.Answered(
                    session=self.session.number,
                    attempt=self.attempt,
                    number=open.call.id,
                    call=record.index,
                    known_effects=open.query.known_effects,
                    mark=mark,
                )
            )
            emit(CallAnsweredEvent(type="call_answered", id=record.id, tool=open.tool.name, line=open.call.line))
        # An equal read is on its way: this call gets the same value when it ends.
        if record.status == "started":
            self._joins.setdefault(record.index, []).append(open)
        self.meet(open, record)

    def waits_for_equal(self, open: OpenCall) -> bool:
        """Tell whether a call gets the value of an equal read that is at work."""
        return open.record is not None and open in self._joins.get(open.record.index, ())

    # Its tool is called.

    async def join(self, open: OpenCall) -> bool:
        """Have a read wait for an equal one that began since it was decided on, where the policy keeps values."""
        if not open.query.cache or open.tool.has_effect or open.approved:
            return False
        verdict = self.decide(open)
        if verdict is None or verdict.why != "cache":
            return False
        open.start = None
        self._queue.pop(open.call.id, None)
        await self.apply(open, verdict)
        return True

    async def start(self, open: OpenCall) -> None:
        """Record that a call is made from now on, or what a person answered in the tool's place."""
        start = open.start
        assert start is not None
        self._queue.pop(open.call.id, None)
        identity = open.query.identity
        known = self.view.times(identity)
        # To make again what was undone undoes the undoing: the call that undid it must not stand or answer any more.
        undone = [record for record in known if record.undone_by is not None or record.void]
        redo = None
        if undone and open.tool.has_effect:
            redo = undone[-1].index if undone[-1].undone_by is None else undone[-1].undone_by
        event = events.Started(
            session=self.session.number,
            attempt=self.attempt,
            number=open.call.id,
            tool=open.tool.name,
            digest=identity.digest,
            occurrence=identity.occurrence,
            effect=open.tool.effect_in_force,
            # What the policy redacts is masked before it is recorded.
            arguments=mask(start.arguments, open.tool.policy.redact),
            known_effects=open.query.known_effects,
            time=time.time(),
            line=open.call.line,
            question=start.question,
            edited=start.edited,
            key=start.key,
            redo=redo,
            resumes=start.resumes,
            doubt=start.doubt,
            mark=start.mark,
            asks=start.asks,
            answers=start.answers,
        )
        self.session.log.add(event)
        open.record = record = self.view.records[-1]
        if record.alias is not None:
            # By what a person gave, this session's next equal call is another one.
            self.equal_calls.take(record.alias)
        self.meet(open, record)
        if start.decision is not None:
            await self.answer_for_tool(open, record, start.decision)

    def withdraw(self, open: OpenCall) -> None:
        """Record that a call's tool was not called, although it was to be."""
        assert open.record is not None
        self.session.log.add(events.Absent(call=open.record.index))

    async def make(self, open: OpenCall) -> tuple[Ending, Outcome | None]:
        """Call the tool of a call that was started."""
        assert open.start is not None
        assert open.record is not None
        return await self.maker.make(open.tool, open.record, open.start.arguments)

    def cancelled(self, open: OpenCall) -> tuple[Ending, Outcome | None]:
        """Say how a call ended whose tool cancelled itself."""
        assert open.record is not None
        return self.maker.cancelled(open.tool, open.record)

    def must_last(self, open: OpenCall) -> bool:
        """Tell whether what happens to a call has to be durable before anything else happens.

        Effects have to, and calls that a budget counts: a process that dies must not give the budget back.
        """
        return open.tool.has_effect or open.tool.policy.max_calls is not None or self.max_calls is not None

    # It ends.

    async def finish(self, open: OpenCall, ending: Ending, outcome: Outcome | None) -> None:
        """Record how a call ended."""
        record = open.record
        assert record is not None
        if isinstance(ending, Asks):
            answers = list(record.event.answers or ())
            if ending.again:
                # The tool's schema refused the newest answer: forget it, and ask again.
                answers = answers[:-1]
            self._asks(open, record, ending.question, answers)
            return
        if isinstance(ending, events.Failed) and record.event.doubt:
            # That this try failed says nothing of the one before, whose outcome is unknown.
            ending = events.Unknown(call=ending.call, time=ending.time, error=ending.error)
        self.session.log.add(ending)
        open.outcome = outcome
        if isinstance(ending, events.Done):
            await undo(self, open, record, outcome)

    def _asks(self, open: OpenCall, record: Record, question: Question, answers: list[Any]) -> None:
        open.start = None
        name = self.question("tool", record.identity, question["value"], record.index, len(answers))
        open.pending = PendingCall(
            id=open.id,
            key=name,
            tool=open.tool.name,
            arguments=record.event.arguments,
            line=open.call.line,
            reason="tool",
            question=question,
        )
        self.session.log.add(events.Asked(pending=open.pending, call=record.index, answers=answers))

    async def resolve(self, open: OpenCall) -> None:
        """Settle a call that has just ended with an unknown outcome, before the program is told anything of it."""
        open.start = None
        if open.record is not None and open.record.status == "unknown":
            open.outcome = None
            await settle(self, open, open.record)

    def joined(self, open: OpenCall, *, cancelled: bool = False) -> list[OpenCall]:
        """Return the equal reads that waited for this one's value; where it was given up, to be decided on anew."""
        if open.record is None or (not cancelled and (open.pending is not None or open.start is not None)):
            return []
        others = self._joins.pop(open.record.index, [])
        for other in others if cancelled else ():
            other.record = None
        return others

    async def give_up(self, open: OpenCall, task: asyncio.Task[tuple[Ending, Outcome | None]] | None) -> None:
        """Record that the program, or the run, gave a call up."""
        for others in self._joins.values():
            if open in others:
                others.remove(open)
        self._queue.pop(open.call.id, None)
        self.equal_calls.retry(open.query.identity)
        if task is None or open.record is None:
            return
        # A tool may end in the very moment in which it is cancelled: then its outcome counts.
        if task.cancelled() or task.exception() is not None:
            self.session.log.add(self.maker.give_up(open.tool, open.record))
        else:
            await self.finish(open, *task.result())

    # It is told.

    def is_recorded(self, open: OpenCall) -> bool:
        """Tell whether a call is the one that had its number when this program ran before."""
        known = self.view.numbers.get((self.session.number, open.call.id))
        if not isinstance(known, Record):
            return known is not None
        return known.status in ("done", "failed", "denied") and open.query.identity[:2] in (
            known.identity[:2],
            known.alias[:2] if known.alias is not None else None,
        )

    async def recall(self, open: OpenCall) -> None:
        """Set the outcome of a call to the recorded one, which the program was told before."""
        known = self.view.numbers[self.session.number, open.call.id]
        if not isinstance(known, Record):
            open.outcome = Raised(**known)
            return
        open.record = known
        await self.load(open)
        if open.outcome is not None:
            self.meet(open, known)

    async def load(self, open: OpenCall) -> None:
        """Find the outcome of a call that is answered from a record. Where its value is gone, the call is decided on anew."""
        record = open.record
        if open.outcome is not None or record is None:
            return
        if record.error is not None:
            open.outcome = Raised(**record.error)
            return
        try:
            value = await self.maker.values.load(record.value)
        except KeyError:
            await self._replace(open, record)
            return
        self.maker.note(value, open.tool.policy.redact)
        open.outcome = Returned(value)

    async def _replace(self, open: OpenCall, record: Record) -> None:
        """Get another value for a call whose own is gone: a read is made again, of a call with an effect a person tells it."""
        if not open.tool.has_effect:
            open.record = None
            await self.gate(open)
            return
        question, decision = await self.answer("value", record.identity, record.event.arguments, record.index)
        if decision is None:
            open.record = None
            self.ask(open, question, record.event.arguments, "unknown", value=True)
        elif decision["type"] == "respond":
            done, open.outcome = await self.maker.take(open.tool, record, decision.get("message"))
            self.session.log.add(done)
        else:
            open.outcome = Raised(**refused_by_person(open.tool.name, decision.get("message")))

    def tell(self, open: OpenCall) -> None:
        """Note that the program goes on with a call's outcome. After an error, an equal call is that call again."""
        record = open.record
        if isinstance(open.outcome, Raised):
            self.equal_calls.retry(open.query.identity)
        if record is not None and record.status == "done" and open.tool.has_effect:
            self.equal_calls.tell(open.query.identity)

    def clock_of(self, opens: list[OpenCall]) -> float | None:
        """Return the clock at which calls that are made again after they were undone were told first; None for others."""
        clocks = []
        for open in opens:
            if open.record is None or open.record.event.redo is None:
                return None
            # With the clock of the first time, arguments that the program computes from it stay equal.
            known = self.view.times(open.query.identity)
            clocks.append(max((record.clock or 0.0 for record in known if record is not open.record), default=0.0))
        return max(clocks, default=None)

    def left_over(self) -> list[str]:
        """Return the effects of earlier attempts that stand, and that this program has neither met nor undone."""
        return [
            record.id
            for record in self.view.standing()
            if record.event.attempt < self.attempt
            and record.identity not in self._met
            and (record.alias is None or record.alias not in self._met)
        ]
