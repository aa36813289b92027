"""Whether a call that a program makes is made: what the journal, the tool's policy and people say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from codemode_sandboxes import Call, Outcome, Raised, Returned

from codemode_graph.calls import Calls, refused
from codemode_graph.events import CallAnsweredEvent, emit
from codemode_graph.journal import Journal, is_unknown
from codemode_graph.redact import mask
from codemode_graph.state import Decision, PendingCall, ToolCall
from codemode_graph.tools.schema import bind
from codemode_graph.tools.spec import AfterCalls, Review, ToolSpec

__all__ = ["Admission", "Admitted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A call that is to be made.

    Attributes:
        spec: Its tool.
        record: Its record, begun.
        arguments: What the tool is called with.
    """

    spec: ToolSpec
    record: ToolCall
    arguments: Mapping[str, Any]

    @property
    def decided(self) -> bool:
        """Whether a person had a say in it."""
        return "decision" in self.record


@dataclass(frozen=True, slots=True)
class Admission:
    """Decides about the calls of one program, in the order in which it makes them.

    Attributes:
        calls: Makes the calls that are admitted.
        decisions: What people decided, by `PendingCall.key`.
    """

    calls: Calls
    decisions: Mapping[str, Decision]

    @property
    def journal(self) -> Journal:
        """Where calls are recorded."""
        return self.calls.journal

    async def admit(self, call: Call, *, again: bool) -> Outcome | PendingCall | Admitted:
        """Say what becomes of a call.

        Args:
            call: As the program made it.
            again: The program has been started again, and has made this call before.

        Returns:
            An outcome where the tool need not, or must not, be called; what a person is to be asked; or the call.
        """
        spec = self.calls.tools.get(call.tool)
        if spec is None:
            return Raised("KeyError", f"unknown tool {call.tool!r}")
        try:
            arguments = bind(spec.name, spec.input_schema, call.args, call.kwargs)
        except TypeError as error:
            return Raised("TypeError", str(error))
        key = self.journal.key(spec.name, arguments)
        answered = self.journal.answer(key, cached=spec.policy.cache)
        if answered is not None:
            record, outcome = answered
            if not again:
                emit(CallAnsweredEvent(type="call_answered", id=record["id"], tool=spec.name, line=call.line))
            return await self.calls.recorded(record, outcome)
        before = self.journal.latest(key)
        if is_unknown(before) and (found := await self.calls.verify(spec, arguments, key)) is not None:
            return found
        if before is not None and before["status"] == "interrupted":
            return self._asked(call, spec, before, arguments)
        return self._gated(call, spec, key, arguments)

    def question(self, record: ToolCall, line: int | None) -> PendingCall:
        """What a person is to be asked for a tool that was interrupted."""
        return PendingCall(
            id=record["id"],
            key=_begun(record),
            tool=record["tool"],
            arguments=record["arguments"],
            line=line,
            reason="tool",
            question=record["asks"],
        )

    def _gated(
        self, call: Call, spec: ToolSpec, key: str, arguments: dict[str, Any]
    ) -> Outcome | PendingCall | Admitted:
        before = self.journal.latest(key)
        same = before is not None and before["id"] == self.journal.id(call.id)
        if not same and (refusal := self.calls.refuse(spec)) is not None:
            return refusal
        # What was decided about a call says nothing of what has become of it since: that is asked anew.
        unknown = before if is_unknown(before) else None
        asked = key if unknown is None else _begun(unknown)
        decision = self.decisions.get(asked)
        if decision is None and (
            unknown is not None or _needs_approval(spec, arguments, self.journal.count(spec.name))
        ):
            pending = PendingCall(
                id=self.journal.id(call.id),
                key=asked,
                tool=spec.name,
                arguments=mask(arguments, spec.policy.redact),
                line=call.line,
                reason="approval" if unknown is None else "unknown",
            )
            return pending if unknown is not None else _reviewed(pending, spec, arguments)
        answers = [] if unknown is None else unknown.get("answers", [])
        if decision is None:
            return self._begin(call, spec, key, arguments)
        if decision["type"] in ("reject", "respond"):
            return self._decided(self._begin(call, spec, key, arguments, decision=asked).record, decision)
        return self._begin(call, spec, key, decision.get("arguments", arguments), decision=asked, answers=answers)

    def _asked(self, call: Call, spec: ToolSpec, before: ToolCall, arguments: dict[str, Any]) -> PendingCall | Admitted:
        """A tool that asks waits for its answer, and is then called as it was before."""
        answer = self.decisions.get(_begun(before))
        if answer is None:
            question = self.question(before, call.line)
            return {**question, "id": self.journal.id(call.id)}
        under = self.decisions.get(before.get("decision", ""))
        return self._begin(
            call,
            spec,
            before["key"],
            arguments if under is None else under.get("arguments", arguments),
            decision=before.get("decision", _begun(before)),
            answers=[*before.get("answers", ()), answer.get("message")],
            asks=before["asks"],
        )

    def _begin(self, call: Call, spec: ToolSpec, key: str, arguments: dict[str, Any], **how: Any) -> Admitted:
        record = self.journal.start(
            call.id,
            spec.name,
            mask(arguments, spec.policy.redact),
            key=key,
            effect=spec.effect_in_force,
            line=call.line,
            **how,
        )
        return Admitted(spec=spec, record=record, arguments=arguments)

    def _decided(self, record: ToolCall, decision: Decision) -> Outcome:
        """Record what a person answered in place of the tool."""
        message = decision.get("message")
        if decision["type"] == "respond":
            self.journal.finish(record, "done", value=message)
            return Returned(message)
        error = refused(record["tool"], message)
        self.journal.finish(record, "denied", error=error)
        return Raised(error["type"], error["message"])


def _begun(record: ToolCall) -> str:
    """What a decision on a call that was begun before is kept under: it is not for another time that it is begun."""
    return f"{record['key']}@{record['started']}"


def _needs_approval(spec: ToolSpec, arguments: Mapping[str, object], made: int) -> bool:
    approval = spec.policy.approval
    if isinstance(approval, AfterCalls):
        return made >= approval.calls
    if isinstance(approval, Review):
        return approval.when is None or bool(approval.when(arguments))
    return bool(approval(arguments) if callable(approval) else approval)


def _reviewed(pending: PendingCall, spec: ToolSpec, arguments: Mapping[str, object]) -> PendingCall:
    """Say how the person is asked, where the tool's policy says that."""
    review = spec.policy.approval
    if isinstance(review, Review):
        pending["allowed"] = list(review.decisions)
        if review.description is not None:
            text = review.description
            pending["description"] = text(pending["arguments"]) if callable(text) else text
    return pending
