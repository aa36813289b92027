"""The gate before a call: budgets, the tool's policy and people let it be made, or not."""

import hashlib
import json
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as daytime
from decimal import Decimal
from itertools import count
from typing import Any, Literal

from codemode_sandboxes import Call, Outcome, Raised

from codemode_graph.calls import log as events
from codemode_graph.calls.decide import ProgramCall, needs_approval, other_arguments, refused_by_person
from codemode_graph.calls.equal_calls import EqualCalls, digest_of
from codemode_graph.calls.make import ToolCalls
from codemode_graph.calls.session import Session
from codemode_graph.calls.values import is_reference
from codemode_graph.calls.view import Identity, Record, View
from codemode_graph.preview import sample
from codemode_graph.redact import mask, unmask
from codemode_graph.state import Decision, PendingCall, Question, Refusals, ToolCall, ToolError
from codemode_graph.tools.hints import to_plain
from codemode_graph.tools.schema import with_defaults
from codemode_graph.tools.spec import DecisionType, Review, ToolSpec

# Of the UUIDs that are idempotency keys. It must never change: the keys of runs that go on depend on it.
_NAMESPACE = uuid.UUID("5c1a8f2e-6f0b-4a53-9f0e-0f3f4ad2b7c6")


@dataclass(slots=True, kw_only=True)
class Start:
    """The way in which a call is to be started: its arguments, and the decision, key and answers that it has."""

    arguments: dict[str, Any]
    question: str | None = None
    edited: str | None = None
    key: str | None = None
    asks: Question | None = None
    answers: list[Any] | None = None
    mark: str | None = None
    resumes: int | None = None
    doubt: bool = False
    decision: Decision | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class OpenCall:
    """A call that the program has made and has not been told the outcome of.

    Attributes:
        call: As the program made it.
        id: As people and models see it: the attempt, and the call's number.
        tool: Its tool.
        arguments: Validated.
        query: The question to the journal: what becomes of it.
        record: What has been recorded of it, or what answers it.
        outcome: What the program will be told; None until that is known.
        pending: What a person is asked.
        start: How its tool is to be called.
        approved: A person has had a say in it.
        again: The program says that it is meant anew, though it was made before.
    """

    call: Call
    id: str
    tool: ToolSpec
    arguments: dict[str, Any]
    query: ProgramCall
    record: Record | None = None
    outcome: Outcome | None = None
    pending: PendingCall | None = None
    start: Start | None = None
    approved: bool = False
    again: bool = False


@dataclass(slots=True, kw_only=True)
class Gate:
    """Lets the calls of one program be made, in one session.

    Attributes:
        session: The journal, and the view of it.
        attempt: The attempt whose program this is.
        tools: What may be called, by name.
        maker: Calls the tools.
        decisions: What people decided, by the question's id, as far as the journal does not know.
        max_calls: Calls of tools in the whole run; None for no limit.
        past: Calls of an agent's earlier turns, by tool and digest, whose equals are made only where they are meant anew.
        superseded: Effects of a run of the same input that was cut off long ago: made again, they are marked.
        calls: Ids of the calls, in order; of those that were answered, of the record that answers. A dict for its keys.
    """

    session: Session
    attempt: int
    tools: Mapping[str, ToolSpec]
    maker: ToolCalls
    decisions: Mapping[str, Decision]
    max_calls: int | None = None
    past: Mapping[tuple[str, str], ToolCall] = field(default_factory=dict)
    superseded: Mapping[tuple[str, str], ToolCall] = field(default_factory=dict)
    calls: dict[str, None] = field(default_factory=dict)
    _met: dict[Identity, int] = field(default_factory=dict)
    _used: set[int] = field(default_factory=set)
    equal_calls: EqualCalls = field(init=False)
    _queue: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        others = [*self.past.values(), *self.superseded.values()]
        self.equal_calls = EqualCalls(self.view, self.session.number, others)

    @property
    def view(self) -> View:
        """The journal of the run, folded."""
        return self.session.view

    def meet(self, open: OpenCall, record: Record) -> None:
        """Note that the program has come to a recorded call."""
        self._used.add(record.index)
        if open.tool.has_effect:
            for name in (record.identity, record.alias):
                if name is not None:
                    self._met.setdefault(name, open.call.id)
        self.calls.setdefault(record.id)

    def refuse(self, open: OpenCall) -> None:
        """Record that a call is an error before any tool is asked, so that it is one again after a restart."""
        assert isinstance(open.outcome, Raised)
        error = ToolError(type=open.outcome.type, message=open.outcome.message)
        self.session.log.add(
            events.Refused(session=self.session.number, number=open.call.id, tool=open.call.tool, error=error)
        )

    def refusals(self) -> Refusals | None:
        """Return how many calls of this program no tool was asked for, and why; None where there are none."""
        number = self.session.number
        known = self.view.numbers.items()
        errors = [error for (session, _), error in known if session == number and not isinstance(error, Record)]
        return Refusals(number=len(errors), error=errors[-1]) if errors else None

    async def gate(self, open: OpenCall) -> None:
        """Let a call be made, unless it is held, or a budget or a person has to say something."""
        refusal = self.hold(open) or self.budget(open)
        if refusal is not None:
            open.outcome = refusal
            self.refuse(open)
            return
        # The name has the arguments in it, so an approval of other arguments, or of an earlier time, approves nothing
        # here.
        shown = mask(open.arguments, open.tool.policy.redact)
        place = ("approval", open.query.identity, shown, len(self.view.times(open.query.identity)))
        question, decision = "", None
        if self.view.decisions or self.decisions:  # without any, the question is not spelled out for each call
            question, decision = await self.answer(*place)
        mark = None
        other = other_arguments(self.view, open.query)
        if other is not None:
            mark = f"made though {other.id}, with other arguments, took effect and is not in this program"
        elif (before := self.superseded.get(open.query.identity[:2])) is not None and open.tool.has_effect:
            mark = f"made though a run of the same input, which was cut off, made it at {_when(before)}"
        if decision is not None:
            self.follow(open, question, decision, Start(arguments=open.arguments, mark=mark))
            return
        # A repair that changed the arguments may destroy a second thing: a person is asked whatever the policy says.
        destroys = mark is not None and open.tool.effect_in_force == "destructive"
        if destroys or needs_approval(
            open.tool, lambda: seen_by_policy(open.tool, open.arguments), self.view.count(open.tool.name)
        ):
            self.ask(open, question or self.question(*place), open.arguments, "approval")
            return
        self.start_with(open, Start(arguments=open.arguments, mark=mark))

    def hold(self, open: OpenCall) -> Raised | None:
        """Return why a call is held: a failed program has made it before, and this one does not say that it means it anew."""
        past = self.past.get(open.query.identity[:2])
        if past is None or open.again or open.tool.effect_in_force not in ("write", "destructive"):
            return None
        what = "took effect" if past["status"] == "done" else "may have taken effect"
        return Raised(
            "RuntimeError",
            f"this call of {open.tool.name!r} was made by an earlier program, which failed, at {_when(past)}, and {what}: "
            f"leave it out, or, if it is to be made once more, write await again(tools[{open.tool.name!r}](...))",
        )

    def budget(self, open: OpenCall) -> Raised | None:
        """Return why no further call may be made. Calls that wait for a person or a slot count: they will be made."""
        most, name = open.tool.policy.max_calls, open.tool.name
        if most is None and self.max_calls is None:
            # To count for each call of a large gather what else is coming would cost the square of the calls.
            return None
        queue = [tool for number, tool in self._queue.items() if number != open.call.id]
        if self.max_calls is not None and self.view.total() + len(queue) >= self.max_calls:
            return Raised("RuntimeError", f"the run has made its {self.max_calls} tool calls; no more are made")
        if most is not None and self.view.count(name) + queue.count(name) >= most:
            return Raised("RuntimeError", f"{name!r} may be called {most} times in a run, and has been")
        return None

    def question(self, reason: str, identity: Identity, shown: Any, *times: int) -> str:
        """Return the name of a question: it is bound to the run, the call, the arguments shown and the time of asking."""
        parts = [self.session.log.run, reason, list(identity), shown, times]
        text = json.dumps(parts, sort_keys=True, ensure_ascii=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def decision(self, question: str) -> Decision | None:
        """Return what a person has answered to a question; what comes with the state is recorded first."""
        known = self.view.decisions.get(question)
        if known is None and (known := self.decisions.get(question)) is not None:
            # Recorded before anything is done with it: after a kill the state may come without the decision.
            self.session.log.add(events.Decided(question=question, decision=known))
        return known

    async def answer(self, reason: str, identity: Identity, shown: Any, *times: int) -> tuple[str, Decision | None]:
        """Return the name of a question, and what a person has answered to it, with its secrets."""
        for again in count():
            # An answer whose secrets have gone with the process that kept them is asked for under another name.
            question = self.question(reason, identity, shown, *times, *[-again] * (again > 0))
            decision = self.decision(question)
            if decision is None or (plain := await self._plain(decision)) is not None:
                return question, None if decision is None else plain
        raise AssertionError("unreachable")

    async def _plain(self, decision: Decision) -> Decision | None:
        """Return a decision with the values that its references stand for; None where one is gone."""
        found: Decision = {**decision}
        try:
            if "arguments" in decision:
                arguments = decision["arguments"]
                found["arguments"] = {name: await self.maker.values.load(value) for name, value in arguments.items()}
            if is_reference(message := decision.get("message")):
                found["message"] = await self.maker.values.load(message)
        except KeyError:
            return None
        return found

    def ask(
        self,
        open: OpenCall,
        question: str,
        arguments: dict[str, Any],
        reason: Literal["approval", "unknown"],
        cause: ToolError | None = None,
        *,
        value: bool = False,
    ) -> None:
        """Let a call wait for a person, who sees these arguments; with `value`, for the lost value of a call that is done."""
        pending = PendingCall(
            id=open.id,
            key=question,
            tool=open.tool.name,
            arguments=mask(arguments, open.tool.policy.redact),
            line=open.call.line,
            reason=reason,
        )
        if open.tool.effect_in_force == "destructive":
            # An answer without ids may be one that comes twice: once a run has asked before, it does not count for these tools.
            pending["destroys"] = True
        review = open.tool.policy.approval
        if isinstance(review, Review) and reason == "approval":
            pending["allowed"] = list(review.decisions)
            if review.description is not None:
                text = review.description
                pending["description"] = text(pending["arguments"]) if callable(text) else text
        elif isinstance(review, Review) and "edit" not in review.decisions:
            # A call of unknown outcome may be answered in any way but by an edit that the policy forbids.
            limited: list[DecisionType] = ["approve", "reject", "respond"]
            pending["allowed"] = limited
        if open.again and (past := self.past.get(open.query.identity[:2])) is not None:
            pending["cause"] = f"an equal call was made at {_when(past)}, by a program that failed"
        elif reason == "approval" and (before := self.superseded.get(open.query.identity[:2])) is not None:
            pending["cause"] = f"an equal call was made at {_when(before)}, by a run of the same input that was cut off"
        if value:
            options: list[DecisionType] = ["respond", "reject"]
            pending["allowed"] = options
            pending["description"] = (
                f"{open.tool.name} has been called with {sample(pending['arguments'])} and took effect, but the value that it "
                "returned was kept by a process that is gone. Respond with the value, or reject."
            )
        if cause is not None:
            pending["cause"] = f"{cause['type']}: {cause['message']}"
        self._queue[open.call.id] = open.tool.name
        # A restart asks again what was asked before: the question is in the journal already.
        if question not in self.view.questions:
            self.session.log.add(events.Asked(pending=pending))
        open.pending = pending

    def follow(self, open: OpenCall, question: str, decision: Decision, start: Start) -> None:
        """Do what a person decided: make the call, or answer it in place of the tool."""
        open.approved = True
        start.question = question
        if "arguments" in decision:
            # The person saw masked arguments: what is masked in the edit as well is to stay as it is.
            start.arguments = unmask(decision["arguments"], open.tool.policy.redact, open.arguments)
            # The call is known by both spellings from now on, so a repaired program finds it under either.
            start.edited = digest_of(open.tool, start.arguments)
        if decision["type"] in ("reject", "respond"):
            start.decision = decision
        self.start_with(open, start)

    async def answer_for_tool(self, open: OpenCall, record: Record, decision: Decision) -> None:
        """Record what a person answered in the tool's place, or that the call was refused."""
        message = decision.get("message")
        if decision["type"] == "respond":
            done, open.outcome = await self.maker.take(open.tool, record, message)
            self.session.log.add(done)
        else:
            error = refused_by_person(open.tool.name, message)
            self.session.log.add(events.Denied(call=record.index, time=time.time(), error=error))
            open.outcome = Raised(**error)

    def start_with(self, open: OpenCall, start: Start) -> None:
        """Have a call made in this way, once there is a slot."""
        self._queue[open.call.id] = open.tool.name
        open.start, open.pending = start, None
        if open.tool.takes_key and start.key is None:
            start.key = self._key(open, start)

    def _key(self, open: OpenCall, start: Start) -> str:
        """Return what a tool may know a call by: the same whenever this call is made, anew once it has been undone."""
        known = self.view.times(open.query.identity)
        # A service that knows the key would answer with the call that was undone: after an undo the key is another.
        undone = sum(record.undone_by is not None for record in known)
        spelled = json.dumps(start.arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
        name = f"{self.session.log.run}\0{open.query.identity}\0{undone}\0{spelled if start.edited else ''}"
        return str(uuid.uuid5(_NAMESPACE, name))


def _when(call: ToolCall) -> str:
    return datetime.fromtimestamp(call["started"], UTC).isoformat(" ", "seconds")


def by_digest(calls: Iterable[ToolCall]) -> dict[tuple[str, str], ToolCall]:
    """Return calls by tool and digest; one that a person edited stands there by both spellings."""
    return {
        (call["tool"], key.rpartition(":")[2]): call
        for call in calls
        for key in (call["key"], call.get("edited"))
        if key is not None
    }


def seen_by_policy(tool: ToolSpec, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that an approval's function judges: as the tool takes them, with defaults, objects as data."""
    try:
        values = arguments if tool.validate is None else tool.validate(arguments)
    except Exception:  # the tool will refuse them itself
        values = arguments
    # Numbers and times stay what they are, so that they can be compared.
    plain = {
        name: value if isinstance(value, Decimal | date | daytime | timedelta) else to_plain(value)
        for name, value in dict(values).items()
    }
    return with_defaults(tool.input_schema, plain)
