"""The decision about a call that a program makes: a pure function of the view, the call and the policy.

| effect of the tool | no record | done, untouched or on the way | done, neither | undone | failed | denied | unknown |
|---|---|---|---|---|---|---|---|
| read | make | answer | make | | on the way: fail again; else make | deny again | make |
| idempotent | make | answer | make | make | on the way: fail again; else make | deny again | untouched: make; else settle |
| write, destructive | make | answer | answer, marked | make | on the way: fail again; else make | deny again | settle |

*Untouched*: nothing with an effect has been started or ended since, the record is young, and it is no poll. *On the way*:
the program was told of the record, knowing the same effects as now, before it started an effect that stands and that this
program has not met yet; so it is on the recorded way to that effect, and has to see what it saw then.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from codemode_graph.calls.view import Identity, Record, View
from codemode_graph.state import ToolError
from codemode_graph.tools.spec import AfterCalls, Effect, Review, ToolSpec

Action: TypeAlias = Literal["make", "answer", "settle"]


@dataclass(slots=True, kw_only=True, eq=False)
class ProgramCall:
    """A call that a program makes now.

    Attributes:
        number: Its number in the session.
        identity: Which call it is.
        effect: What a call of its tool does.
        known_effects: Stands for the effects that the program has been told of.
        session: The session's number.
        met: The calls with an effect that the program has made in this session, with the number of the first.
        used: Records that have been told in this session.
        cache: Its policy lets equal reads be answered from one.
        reads_for: Seconds for which a read stays fresh.
    """

    number: int
    identity: Identity
    effect: Effect
    known_effects: str
    session: int
    met: Mapping[Identity, int] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)
    cache: bool = False
    reads_for: float = 300.0


class Verdict(NamedTuple):
    """The decision about a call.

    Attributes:
        action: Make it; answer it from `record`, whatever that holds; or settle `record`, whose outcome is unknown, first.
        record: The record in question.
        why: Which rule says so, for the trace.
        marked: The answer is from a time before other things changed.
    """

    action: Action
    record: Record | None = None
    why: str = ""
    marked: bool = False


def decide(view: View, call: ProgramCall, now: float) -> Verdict:
    """Say what becomes of a call.

    Args:
        view: What has happened in the run.
        call: The call.
        now: The time, in seconds since the epoch.
    """
    # A restart comes first: there the journal knows more than that the calls are equal.
    if (own := _by_number(view, call)) is not None:
        return own
    records = _records_of(view, call)
    if call.cache and (cached := _cached(view, call, now)) is not None:
        return Verdict("answer", cached, "cache")
    if not records:
        return Verdict("make", None, "new")
    # A record is told once in a session, so equal calls on the recorded way get its records in the recorded order.
    candidates = sorted(
        (record for record in records if record.index not in call.used),
        key=lambda record: (-max((receipt.session for receipt in record.receipts), default=record.session), record.at),
    )
    ended = [record for record in candidates if record.status in ("done", "failed") and record.undone_by is None]
    first = next((record for record in ended if _on_the_way(view, call, record)), None)
    if first is not None and first.status == "failed":
        return Verdict("answer", first, "on the way")
    # A refusal holds for an equal call until something later is recorded of it.
    denied = next((record for record in reversed(records) if record.status == "denied"), None)
    if denied is not None and not any(record.at > denied.at for record in records):
        return Verdict("answer", denied, "denied")
    standing = next((record for record in reversed(records) if record.stands), None)
    if call.effect in ("write", "destructive"):
        return _repeated_write(view, call, standing, now)
    if call.effect == "idempotent" and standing is not None and standing.status != "done":
        return Verdict("settle", standing, "unknown")
    newest = records[-1]
    if newest in ended and newest.status == "done" and is_untouched(view, newest, now, call.reads_for):
        return Verdict("answer", newest, "untouched")
    if first is not None:
        return Verdict("answer", first, "on the way")
    return Verdict("make", None, "again")


def _by_number(view: View, call: ProgramCall) -> Verdict | None:
    """A program that is started again: number n is answered with what number n was answered, as long as they are equal."""
    own = view.numbers.get((call.session, call.number))
    if not isinstance(own, Record) or own.identity.tool != call.identity.tool:
        return None
    if call.identity not in (own.identity, own.alias) or own.index in call.used:
        return None
    if own.status in ("done", "failed", "denied"):
        return Verdict("answer", own, "number")
    if own.status == "interrupted":
        return Verdict("settle", own, "question")
    return None


def _records_of(view: View, call: ProgramCall) -> list[Record]:
    """The records of a call that may answer it, oldest first."""
    known = view.times(call.identity)
    # By its other arguments, a call that a person edited is not what the same program calls with these.
    return [
        record
        for record in known
        if not record.void
        and record.status != "not_started"
        and (record.identity == call.identity or record.session != call.session)
    ]


def _repeated_write(view: View, call: ProgramCall, standing: Record | None, now: float) -> Verdict:
    if standing is None:
        return Verdict("make", None, "again")
    if standing.status != "done":
        return Verdict("settle", standing, "unknown")
    fits = is_untouched(view, standing, now, call.reads_for) or _on_the_way(view, call, standing)
    return Verdict("answer", standing, "stands", marked=not fits)


def is_untouched(view: View, record: Record, now: float, reads_for: float) -> bool:
    """Rule A: nothing can have changed since."""
    if view.changed_since(record) or now - record.event.time >= reads_for:
        return False
    # Several equal reads in one program are a poll: the program waits for another answer.
    equal = view.sessions[record.session].equal_calls[record.identity.tool, record.identity.digest]
    return record.event.effect != "read" or equal <= 1


def _on_the_way(view: View, call: ProgramCall, record: Record) -> bool:
    """Rule B: the program goes the recorded way to an effect that stands, and has not come to it yet."""
    here = view.sessions.get(call.session)
    if here is not None and here.own_effects:
        return False
    for session, known_effects, at in record.receipts:
        if session == call.session or known_effects != call.known_effects:
            continue
        # The newest first: on the recorded way the last effect is met last, so this ends at once.
        for effect in reversed(view.sessions[session].effects):
            if effect.at < at:
                break
            if effect.stands and not has_met(call, effect):
                return True
    return False


def has_met(call: ProgramCall, record: Record) -> bool:
    """Tell whether the program has come to a recorded effect in this session, before the call."""
    names = (record.identity,) if record.alias is None else (record.identity, record.alias)
    return any(call.met.get(name, call.number) < call.number for name in names)


def _cached(view: View, call: ProgramCall, now: float) -> Record | None:
    """The newest equal read, whatever its occurrence, where nothing has changed since."""
    known = view.calls.get((call.identity.tool, call.identity.digest), {})
    done = [record for records in known.values() for record in records if record.status in ("done", "started")]
    newest = max(done, key=lambda record: record.at, default=None)
    if newest is None or call.effect != "read" or view.changed_since(newest):
        return None
    if now - newest.event.time >= call.reads_for or (newest.status == "started" and newest.session != call.session):
        return None
    return newest


def other_arguments(view: View, call: ProgramCall) -> Record | None:
    """Return a standing call of the tool with other arguments, of an earlier session, that the program has not met.

    A repair that changed an argument makes such a call: what the failed program did stands beside it.
    """
    if call.effect not in ("write", "destructive") or len(view.sessions) < 2:
        return None
    for record in view.of_tool(call.identity.tool):
        same = call.identity.digest in (record.identity.digest, record.alias.digest if record.alias else "")
        if record.session < call.session and not same and record.stands and not has_met(call, record):
            return record
    return None


def needs_approval(spec: ToolSpec, arguments: Callable[[], Mapping[str, Any]], started: int) -> bool:
    """Tell whether a person has to approve a call.

    Args:
        spec: The tool.
        arguments: Returns them validated, with defaults; called where the policy's own function judges them.
        started: The calls of the tool that were started before in the run.

    Returns:
        True also where the policy's own function raises: then a person sees the call.
    """
    approval = spec.policy.approval
    if isinstance(approval, AfterCalls):
        return started >= approval.calls
    when = approval.when if isinstance(approval, Review) else approval
    if not callable(when):
        return when is None if isinstance(approval, Review) else bool(when)
    try:
        return bool(when(arguments()))
    except Exception:  # code of the application: what it cannot judge is for a person
        return True


def refused_by_person(tool: str, reason: object) -> ToolError:
    """Return what a program is told of a call that a person refused."""
    detail = f": {reason}" if reason else ""
    return ToolError(type="PermissionError", message=f"the call of {tool!r} was refused{detail}")
