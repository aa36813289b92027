"""The view: what the events of a run add up to. A pure fold, without clock, input or output."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from codemode_graph.calls import log as events
from codemode_graph.calls.log import Event, SessionEnd, Started
from codemode_graph.state import Decision, PendingCall, StateUpdate, ToolCall, ToolCallStatus, ToolError


class Identity(NamedTuple):
    """The identity of a call: its tool, a digest of its validated arguments, and its number among equal ones, from 1."""

    tool: str
    digest: str
    occurrence: int

    def __str__(self) -> str:
        return f"{self.tool}#{self.occurrence}:{self.digest}"


class Frame(NamedTuple):
    """The calls whose outcomes a program was given at one time, in order, and its clock then, in seconds."""

    clock: float
    numbers: tuple[int, ...]


class Receipt(NamedTuple):
    """The outcome of a record, received by a program: in which session, knowing which effects, at which event."""

    session: int
    known_effects: str
    at: int


@dataclass(slots=True, eq=False)
class Record:
    """The record of one time that a tool was called.

    Attributes:
        index: Its place among the records of the run, by which events name it.
        event: How it was started.
        identity: Which call it is.
        alias: Which call it is by the arguments that a person gave instead, where one did.
        at: The event that started it; `received_at` the first by which the program received its outcome.
        status: How far it got; `not_started` where it has turned out that nothing was made.
        pending: What its tool asks a person, having been given these `answers`.
        undone_by: The record of the call that undid it.
        void: It undid something that was then made again, so it counts no more.
        settled: The question by whose answer a person said what came of it, where its tool could not.
        receipts: The times that a program received its outcome.
        clock: What the program's clock said at the first of them.
        answered: Ids of later calls that were answered from it.
    """

    index: int
    event: Started
    identity: Identity
    at: int
    alias: Identity | None = None
    status: ToolCallStatus = "started"
    value: Any = None
    error: ToolError | None = None
    updates: list[dict[str, Any]] | None = None
    pending: PendingCall | None = None
    answers: list[Any] = field(default_factory=list)
    ended: float | None = None
    received_at: int | None = None
    clock: float | None = None
    undone_by: int | None = None
    void: bool = False
    settled: str | None = None
    receipts: list[Receipt] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)

    @property
    def session(self) -> int:
        """The session that made it."""
        return self.event.session

    @property
    def has_effect(self) -> bool:
        """True where something was attempted that may change the world. What a person refused was not attempted."""
        return self.event.effect != "read" and self.status != "denied"

    @property
    def stands(self) -> bool:
        """True where its effect is there, or may be."""
        return (
            self.has_effect
            and self.status in ("done", "unknown", "started", "interrupted")
            and self.undone_by is None
            and not self.void
        )

    @property
    def id(self) -> str:
        """Return the id under which people and models see it: the attempt, and the call's number in it."""
        return f"{self.event.attempt}.{self.event.number}"


@dataclass(slots=True)
class SessionView:
    """One chain of sessions that drive one program: the first, and its restarts.

    Attributes:
        attempt: The attempt whose program it drives, of this `digest`.
        how: How it ended; None while it goes on, or where its process died.
        frames: What the program was told, in order.
        effects: Records of effects that it started, in order.
        own_effects: How many of them count as its own: making again what was undone does not.
        equal_calls: How often the program made a call with these arguments.
        spent: Seconds that it has taken, until its process began or went on with it at the time `attached`.
        alive: Seconds since, as far as is recorded.
    """

    attempt: int
    digest: str
    how: SessionEnd | None = None
    frames: list[Frame] = field(default_factory=list)
    effects: list[Record] = field(default_factory=list)
    own_effects: int = 0
    equal_calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    spent: float = 0.0
    attached: float = 0.0
    alive: float = 0.0

    def note_time(self, time: float) -> None:
        """Note that its process was alive at this time."""
        if self.how is None and self.attached:
            self.alive = max(self.alive, time - self.attached)


class View:
    """The sum of a run's events.

    Attributes:
        length: The number of events.
        opened: How the run began; None before.
        judged: Its verdict, where the larger graph that it is in may not have kept it.
        closed: How it ended; None while it is open.
        programs: The program of each attempt.
        sessions: By number.
        records: Calls of tools, in the order in which they were started.
        calls: The same by tool and digest, then by occurrence.
        numbers: What answered a call of a session, by its number: a record, or the error that it was refused with.
        questions: What people were asked, by id.
        decisions: What they answered, by the question's id.
        owner: Who drives a program now, holding a lease `until` then.
    """

    def __init__(self) -> None:
        self.length = 0
        self.opened: events.Opened | None = None
        self.judged: str | None = None
        self.closed: str | None = None
        self.programs: dict[int, events.Proposed] = {}
        self.sessions: dict[int, SessionView] = {}
        self.records: list[Record] = []
        self.calls: dict[tuple[str, str], dict[int, list[Record]]] = {}
        self.numbers: dict[tuple[int, int], Record | ToolError] = {}
        self.questions: dict[str, PendingCall] = {}
        self.decisions: dict[str, Decision] = {}
        self.owner: str | None = None
        self.until = 0.0
        self._driven: SessionView | None = None
        self._lease = 0.0
        self.marks: dict[str, str] = {}
        self._known_effects: dict[tuple[int, int], str] = {}
        self._by_tool: dict[str, list[Record]] = {}
        self._counts: Counter[str] = Counter()
        self._changes: list[tuple[int, Record]] = []

    def apply(self, event: Event) -> None:
        """Take one more event in."""
        at = self.length
        self.length += 1
        match event:
            case Started():
                self._start(at, event)
            case events.Done() | events.Failed() | events.Denied() | events.Unknown():
                self._end(at, event)
            case events.Delivered():
                self._tell(at, event)
            case events.Answered():
                record = self.records[event.call]
                self.numbers[event.session, event.number] = record
                self._known_effects[event.session, event.number] = event.known_effects
                record.answered.append(f"{event.attempt}.{event.number}")
                if event.mark is not None:
                    self.marks[record.id] = event.mark
            case events.Refused():
                self.numbers[event.session, event.number] = event.error
            # A call that never happened does not count against a budget.
            case events.Absent():
                self.records[event.call].status = "not_started"
                self._counts[self.records[event.call].event.tool] -= 1
            case events.Undone():
                self.records[event.call].undone_by = event.by
            case events.Asked():
                self.questions[event.pending["key"]] = event.pending
                if event.call is not None:
                    record = self.records[event.call]
                    record.status, record.pending, record.answers = "interrupted", event.pending, event.answers or []
            case events.Decided():
                self.decisions.setdefault(event.question, event.decision)  # the first answer is the answer
            # A restart attaches under the session's old number: it goes on, whatever its end was.
            case events.Attached():
                self.owner, self.until = event.owner, event.until
                known = self.sessions.setdefault(event.session, SessionView(event.attempt, event.digest))
                # Of a session whose process died, the last call that it began or ended tells how long it went.
                known.spent += known.alive
                known.how, known.attached, known.alive = None, event.time, 0.0
                self._driven, self._lease = known, event.until - event.time
            case events.Renewed():
                self.until = event.until
                # The last that is known of a process that was killed within a long call.
                if self._driven is not None:
                    self._driven.note_time(event.until - self._lease)
            case events.Ended():
                session = self.sessions[event.session]
                session.how, self.owner = event.how, None
                session.spent += event.spent
                session.alive = 0.0
            # Two executors may write a program for one attempt: the first one appended is the attempt's.
            case events.Proposed():
                self.programs.setdefault(event.attempt, event)
            case events.Opened():
                self.opened = event
            case events.Judged():
                self.judged = event.how
            case events.Closed():
                self.closed = event.how

    def _start(self, at: int, event: Started) -> None:
        record = Record(len(self.records), event, Identity(event.tool, event.digest, event.occurrence), at)
        self.records.append(record)
        self._put(record, record.identity)
        if event.edited is not None:
            known = self.calls.get((event.tool, event.edited), {})
            # By the edited arguments it is a further call beside those that the program itself makes with them.
            record.alias = Identity(event.tool, event.edited, max(known, default=0) + 1)
            self._put(record, record.alias)
        self.numbers[event.session, event.number] = record
        if event.mark is not None:
            self.marks[record.id] = event.mark
        session = self.sessions[event.session]
        session.note_time(event.time)
        session.equal_calls[event.tool, event.digest] += 1
        self._counts[event.tool] += 1
        self._by_tool.setdefault(event.tool, []).append(record)
        if record.has_effect:
            self._changes.append((at, record))
            session.effects.append(record)
            session.own_effects += event.redo is None and event.resumes is None
        # The undoing was itself undone: it neither answers nor stands from now on.
        if event.redo is not None:
            self.records[event.redo].void = True
        if event.resumes is not None:
            # A tool that asked a person and is started again is one call for the budget.
            self._counts[event.tool] -= self.records[event.resumes].status == "interrupted"
            self.records[event.resumes].status = "not_started"

    def _put(self, record: Record, identity: Identity) -> None:
        self.calls.setdefault((identity.tool, identity.digest), {}).setdefault(identity.occurrence, []).append(record)

    def _end(self, at: int, event: events.Done | events.Failed | events.Denied | events.Unknown) -> None:
        record, session = self.records[event.call], self.sessions[self.records[event.call].session]
        if record.status == "unknown":
            record.settled = self._settlement(record)
        record.status, record.error = event.type, event.error
        # Of a dead session's calls the next one says it, which may come days later: the tool worked until then at most.
        died = isinstance(event, events.Unknown) and event.error is None
        if not died:
            session.note_time(event.time)
        # What a person or `verify` says of a call later took no time of the tool's.
        if record.ended is None:
            record.ended = session.attached + session.alive if died else event.time
        if isinstance(event, events.Done):
            record.value, record.updates = event.value, event.updates
        elif isinstance(event, events.Denied):
            self._counts[record.event.tool] -= 1
            self.sessions[record.session].own_effects -= (
                record.event.effect != "read" and record.event.redo is None and record.event.resumes is None
            )
        if record.has_effect:
            self._changes.append((at, record))

    def _settlement(self, record: Record) -> str | None:
        """Return the question whose answer says what came of a call of unknown outcome; None where its tool says it."""
        keys = (
            key
            for key, pending in self.questions.items()
            if (pending["id"], pending["reason"]) == (record.id, "unknown")
        )
        return next((key for key in reversed([*keys]) if key in self.decisions), None)

    def _tell(self, at: int, event: events.Delivered) -> None:
        self.sessions[event.session].frames.append(Frame(event.clock, tuple(event.numbers)))
        for number in event.numbers:
            record = self.numbers.get((event.session, number))
            if not isinstance(record, Record):
                continue
            known_effects = self._known_effects.get((event.session, number), record.event.known_effects)
            record.receipts.append(Receipt(event.session, known_effects, at))
            # Only the first time counts: it says where on the recorded way the program learned of it.
            if record.received_at is None:
                record.received_at, record.clock = at, event.clock

    def times(self, identity: Identity) -> list[Record]:
        """Return the records of one call, oldest first: each time that it was made."""
        return self.calls.get(identity[:2], {}).get(identity.occurrence, [])

    def changed_since(self, record: Record) -> bool:
        """Tell whether an effect, other than this one, was started or ended after this one was started."""
        # Backwards, so that a call is judged in time that depends on what followed it, not on the length of the run.
        for at, other in reversed(self._changes):
            if at < record.at:
                return False
            if other is not record and other.has_effect:
                return True
        return False

    def count(self, tool: str) -> int:
        """Return how many calls of a tool were started, refusals by people aside."""
        return self._counts[tool]

    def total(self) -> int:
        """Return how many calls were started in all, refusals by people aside."""
        return sum(self._counts.values())

    def of_tool(self, tool: str) -> Iterator[Record]:
        """Return the records of a tool, the newest first."""
        return reversed(self._by_tool.get(tool, []))

    def doubts(self) -> list[Record]:
        """Return the calls that have been started and have no end."""
        return [record for record in self.records if record.status == "started"]

    def standing(self) -> list[Record]:
        """Return the effects that are there, or may be, in the order in which they were started."""
        return [record for record in self.records if record.stands]

    def tool_calls(self) -> list[ToolCall]:
        """Return the calls as the state shows them; of one that was started several times, the last time."""
        shown: dict[tuple[str, Identity], ToolCall] = {}
        for record in self.records:
            # By both: two sessions of one attempt may use a number for different calls.
            shown[record.id, record.identity] = self._tool_call(record)
        return list(shown.values())

    def updates(self) -> list[StateUpdate]:
        """Return what tools updated by `Command`s, in the order of their calls."""
        return [
            StateUpdate(call=record.id, tool=record.event.tool, update=update)
            for record in self.records
            for update in record.updates or ()
        ]

    def _tool_call(self, record: Record) -> ToolCall:
        event = record.event
        call = ToolCall(
            id=record.id,
            attempt=event.attempt,
            tool=event.tool,
            arguments=event.arguments,
            key=str(record.identity),
            effect=event.effect,
            status=record.status,
            value=record.value,
            error=record.error,
            line=event.line,
            started=event.time,
            seconds=0.0 if record.ended is None else max(0.0, record.ended - event.time),
        )
        known = {
            "answered": [*record.answered] or None,
            "idempotency_key": event.key,
            "decision": record.settled or event.question,
            "edited": None if record.alias is None else str(record.alias),
            "undone": None if record.undone_by is None else self.records[record.undone_by].id,
            "mark": self.marks.get(record.id),
            "asks": None if record.pending is None else record.pending["question"],
            "answers": event.answers or None,
            "updates": record.updates or None,
        }
        # Most calls have none of these.
        call.update({name: value for name, value in known.items() if value is not None})  # type: ignore[typeddict-item]
        return call


def newest(calls: Iterable[ToolCall]) -> list[ToolCall]:
    """Return the newest record of each call: how it ended at last."""
    return list({call["key"]: call for call in calls}.values())


def standing_effects(calls: Iterable[ToolCall]) -> list[ToolCall]:
    """Return the calls whose effects stand, or may: those that are cut off are among them."""
    return [
        call
        for call in newest(calls)
        if call["effect"] != "read" and call["status"] in ("done", "unknown", "started") and "undone" not in call
    ]


def fold(log: Iterable[Event]) -> View:
    """Return what events add up to."""
    view = View()
    for event in log:
        view.apply(event)
    return view
