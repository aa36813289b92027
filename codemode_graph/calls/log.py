"""The events of a run: what happened to its calls, in order. They are appended, never changed.

opened     proposed  attached  renewed  ended  judged  closed  the run, its programs and who drives them
asked      decided                                             a question to a person, and the answer
started    done  failed  denied  refused  unknown  absent      a call, and how it ended
undone     answered  told                                      what a call undid, and what the program was told
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeAlias

from codemode_graph.errors import JournalError
from codemode_graph.exact import decode, encode
from codemode_graph.state import Decision, PendingCall, Question, ToolError
from codemode_graph.tools.spec import Effect

VERSION = 2
"""Of the events' form. A journal that a later version wrote is refused. Version 2 has values in the form of
`codemode_graph.exact`, version 1 none that would have to be written so."""

SessionEnd: TypeAlias = Literal["waiting", "finished", "failed", "cancelled"]
"""How a session ended: the program waits for people, has a value, has none, or was given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. Each kind of event has a `type` of its own, by which a journal knows it."""

    type: ClassVar[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened(Event):
    """A run begins.

    `digest` is of its input; `namespace` is the graph's place in a larger one, `place` the same with LangGraph's task ids,
    and `parent` the checkpoint that the larger graph was at; `server_run` is LangGraph Server's own run; `superseded` is a run
    of the same input that was cut off so long before that this one does not go on with it.
    """

    type = "opened"
    thread: str = ""
    namespace: str = ""
    place: str = ""
    parent: str = ""
    digest: str = ""
    task: str = ""
    server_run: str | None = None
    superseded: str = ""
    seed: int = 0
    now: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed(Event):
    """A program is to be run; `usage` is what the model used to write it."""

    type = "proposed"
    attempt: int
    program: str
    thoughts: str = ""
    usage: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached(Event):
    """An executor drives the program of an attempt from now on.

    `session` is its number in the run; a restart has the number of the session that it goes on with. `until` is when the
    lease expires, and `time` is now, in seconds since the epoch.
    """

    type = "attached"
    session: int
    attempt: int
    digest: str
    owner: str
    until: float
    time: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed(Event):
    """The executor is alive, and holds its lease until then."""

    type = "renewed"
    owner: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(Event):
    """The session is over; `spent` is the seconds that it took."""

    type = "ended"
    session: int
    how: SessionEnd
    spent: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Event):
    """A person is asked about a call, or, where `call` is set, by a tool that has been started and had these answers."""

    type = "asked"
    pending: PendingCall
    call: int | None = None
    answers: list[Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(Event):
    """A person has answered a question."""

    type = "decided"
    question: str
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Event):
    """A tool is about to be called. Calls are named by their place among the `started` events of the run, from 0.

    `known_effects` stands for the set of effects that the program had been told of; equal sets have equal texts. `redo`
    names a call that had been undone and is made again; `resumes` one whose outcome was unknown, or which asked a person,
    and which this call is; with `doubt`, that one may have taken effect, so that a failure of this one settles nothing.
    `edited` is the digest of the arguments that a person gave instead.
    """

    type = "started"
    session: int
    attempt: int
    number: int
    tool: str
    digest: str
    occurrence: int
    effect: Effect
    arguments: dict[str, Any]
    known_effects: str
    time: float
    line: int | None = None
    question: str | None = None
    edited: str | None = None
    key: str | None = None
    redo: int | None = None
    resumes: int | None = None
    doubt: bool = False
    mark: str | None = None
    asks: Question | None = None
    answers: list[Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Event):
    """A call took effect; `error` is what the program is told where its value cannot be used."""

    type: ClassVar[Literal["done"]] = "done"
    call: int
    time: float
    value: Any = None
    error: ToolError | None = None
    updates: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """A call had no effect, and its tool says why."""

    type: ClassVar[Literal["failed"]] = "failed"
    call: int
    time: float
    error: ToolError


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied(Event):
    """A person refused a call."""

    type: ClassVar[Literal["denied"]] = "denied"
    call: int
    time: float
    error: ToolError


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Event):
    """A call of the program is an error before any tool is asked: no such tool, wrong arguments, a budget."""

    type = "refused"
    session: int
    number: int
    tool: str
    error: ToolError


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown(Event):
    """A call was made, and whether it took effect cannot be said."""

    type: ClassVar[Literal["unknown"]] = "unknown"
    call: int
    time: float
    error: ToolError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent(Event):
    """A call whose outcome was unknown has not taken effect."""

    type = "absent"
    call: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone(Event):
    """The effect of a call was undone by another call."""

    type = "undone"
    call: int
    by: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Event):
    """A call of the program is answered from a record, under what the program had been told by then."""

    type = "answered"
    session: int
    attempt: int
    number: int
    call: int
    known_effects: str
    mark: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered(Event):
    """One frame: the calls whose outcomes the program was given at one time, in order, and its clock in seconds."""

    type = "told"
    session: int
    clock: float
    numbers: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed(Event):
    """The run has its verdict, or another input of its thread has taken its place."""

    type = "closed"
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged(Event):
    """The run has its verdict, and a larger graph has yet to keep it: until then the same input is this run."""

    type = "judged"
    how: str


# A dataclass with slots is a second class of its name; it comes behind the first.
_TYPES: dict[str, type[Event]] = {each.type: each for each in Event.__subclasses__()}
# Fields that have another name in the journal: there the first name stays, so that every version reads the journals of all.
_STORED_NAMES = {"known_effects": "told"}
_FIELD_NAMES = {stored: name for name, stored in _STORED_NAMES.items()}
_FIELDS = {
    name: tuple((field.name, _STORED_NAMES.get(field.name, field.name), field.default) for field in fields(each))
    for name, each in _TYPES.items()
}  # what is the default is not written: most events have few of their fields


def dump_events(events: Iterable[Event]) -> str:
    """Write events as JSON."""
    listed = []
    for event in events:
        item: dict[str, Any] = {"type": event.type}
        for name, stored, default in _FIELDS[event.type]:
            value = getattr(event, name)
            # By identity: a value that only equals the default, such as 0 for False, is written.
            if value is not default:
                item[stored] = value
        listed.append(item)
    exact = encode(listed)
    # An older package reads what it understands.
    version = 1 if exact is listed else VERSION
    return json.dumps({"version": version, "events": exact}, ensure_ascii=True, separators=(",", ":"))


def load_events(text: str) -> list[Event]:
    """Read events back from JSON.

    Raises:
        JournalError: A later version of this package wrote them.
    """
    batch = json.loads(text)
    # An older package that skipped what it does not know could make a call twice.
    if batch["version"] > VERSION:
        raise JournalError(
            f"this journal has version {batch['version']}, and this package reads up to {VERSION}: update codemode-graph"
        )
    events: list[Event] = []
    for item in batch["events"] if batch["version"] == 1 else decode(batch["events"]):
        kind = _TYPES[item.pop("type")]
        events.append(kind(**{_FIELD_NAMES.get(name, name): value for name, value in item.items()}))
    return events
