"""Finding out what came of a call whose outcome is unknown, and what a call has undone."""

import time
from typing import Any

from codemode_sandboxes import Outcome, Returned

from codemode_graph.calls import log as events
from codemode_graph.calls.decide import is_untouched
from codemode_graph.calls.gate import Gate, OpenCall, Start
from codemode_graph.calls.make import verify
from codemode_graph.calls.values import is_reference
from codemode_graph.calls.view import Record
from codemode_graph.tools.spec import Undo

# How often a call that may be repeated is made before a person is asked: a service that never answers may be down.
_TRIES_UNASKED = 3


async def settle(gate: Gate, open: OpenCall, record: Record) -> None:
    """Find out what came of a call whose outcome is unknown: a person, its key or its tool says it."""
    if record.status == "interrupted":
        await _settle_question(gate, open, record)
        return
    gate.meet(open, record)
    arguments = await _arguments_of(gate, open, record)
    question, decision = await gate.answer("unknown", record.identity, record.event.arguments, record.index)
    log = gate.session.log
    if decision is not None and decision["type"] in ("respond", "reject"):
        open.record, open.approved = record, True
        await gate.answer_for_tool(open, record, decision)
        # A person who has looked says what `verify` might have said: it took effect, and so undid what it undoes.
        await undo(gate, open, record, open.outcome)
        return
    # The try before may have taken effect, so a failure of this one will settle nothing: `doubt`.
    how = Start(
        arguments=open.arguments if arguments is None else arguments,
        question=record.event.question,
        edited=None if arguments is None else record.event.edited,
        asks=record.event.asks,
        answers=record.event.answers,
        resumes=record.index,
        doubt=True,
    )
    if decision is not None:
        gate.follow(open, question, decision, how)
        return
    # Safe to make again without a question: under its key, or as an idempotent call that nothing has followed.
    if arguments is not None and _is_repeatable(gate, open, record):
        how.key = record.event.key
        gate.start_with(open, how)
        return
    if open.tool.policy.verify is not None and arguments is not None:
        # `verify` can look the outcome up, so it is asked before a person is.
        found = await verify(open.tool, record, arguments, gate.view)
        if isinstance(found, Returned):
            open.record = record
            done, open.outcome = await gate.maker.take(open.tool, record, found.value)
            log.add(done)
            await undo(gate, open, record, open.outcome)
            return
        # Of what it was called with before a person changed it, `verify` has said nothing.
        if found is False and not (record.event.doubt and record.event.edited is not None):
            log.add(events.Absent(call=record.index))
            await gate.gate(open)
            return
    # A repeated try would exceed the budget, so there is nothing for a person to approve.
    if (refusal := gate.budget(open)) is not None and record.session != gate.session.number:
        open.outcome = refusal
        gate.refuse(open)
        return
    gate.ask(open, question, how.arguments, "unknown", record.error)


async def _settle_question(gate: Gate, open: OpenCall, record: Record) -> None:
    """Start a tool that asked a person again with the answer, or go on waiting for it."""
    question = record.pending
    assert question is not None
    decision = gate.decision(question["key"])
    if decision is None:
        open.pending = {**question, "id": open.id, "line": open.call.line}
        gate.meet(open, record)
        return
    arguments = await _arguments_of(gate, open, record)
    open.approved = True
    gate.start_with(
        open,
        Start(
            arguments=open.arguments if arguments is None else arguments,
            question=record.event.question or question["key"],
            edited=record.event.edited,
            key=record.event.key,
            asks=question["question"],
            answers=[*record.answers, decision.get("message")],
            resumes=record.index,
            doubt=record.event.doubt,
        ),
    )


def _is_repeatable(gate: Gate, open: OpenCall, record: Record) -> bool:
    """Tell whether making a call again does no harm: under its key, or where it sets what nothing has changed since."""
    if _tries(gate, record) >= _TRIES_UNASKED or gate.budget(open) is not None:
        return False
    if record.event.key is not None:
        return True
    if record.event.effect != "idempotent" or record.event.edited is not None:
        return False
    return is_untouched(gate.view, record, time.time(), open.query.reads_for)


def _tries(gate: Gate, record: Record) -> int:
    """Return how often a call has been made without an outcome, in a row."""
    tries = 1
    while record.event.resumes is not None:
        tries, record = tries + 1, gate.view.records[record.event.resumes]
    return tries


async def _arguments_of(gate: Gate, open: OpenCall, record: Record) -> dict[str, Any] | None:
    """Return what a call was made with, where a person has changed its arguments; None where that is not known."""
    if record.event.edited is None:
        return open.arguments
    decision = gate.view.decisions.get(record.event.question or "")
    edited = decision.get("arguments") if decision is not None else None
    if edited is None:
        return None if open.tool.policy.redact else dict(record.event.arguments)
    try:
        return {name: await gate.maker.values.load(value) for name, value in edited.items()}
    except KeyError:
        return None


async def undo(gate: Gate, open: OpenCall, record: Record, outcome: Outcome | None) -> None:
    """Record what a call has undone: the one standing call that its tool's declaration matches."""
    undo = open.tool.undo
    if undo is None or not isinstance(outcome, Returned):
        return
    found = []
    for other in gate.view.of_tool(undo.tool):
        if other.status == "done" and other.stands and await _matches(gate, undo, open, other):
            found.append(other)
    # Several matches could mean any of them. To undo none is safe: a standing call is answered, not repeated.
    if len(found) == 1:
        gate.session.log.add(events.Undone(call=found[0].index, by=record.index))


async def _matches(gate: Gate, undo: Undo, open: OpenCall, other: Record) -> bool:
    arguments = open.start.arguments if open.start is not None else open.arguments
    known = {"arguments": other.event.arguments, "value": other.value}
    if is_reference(other.value):
        try:
            # The place to match may lie in a value that is too large for the state.
            known["value"] = await gate.maker.values.load(other.value)
        except KeyError:
            return False
    return undo.matches(arguments, known)
