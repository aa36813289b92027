"""Whether a call that a program makes is made: what the journal, the tool's policy and people say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from codemode_sandboxes import Call, Outcome, Raised, Returned

from codemode_graph.calls import Calls, refused
from codemode_graph.events import CallAnsweredEvent, emit
from codemode_graph.journal import Journal
from codemode_graph.redact import mask
from codemode_graph.state import Decision, PendingCall, ToolCall
from codemode_graph.tools.schema import bind, without_defaults
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
        key = self.journal.key(call.id, spec.name, without_defaults(spec.input_schema, arguments))
        answered = self.journal.answer(call.id, key, cached=spec.policy.cache)
        if answered is not None:
            record, outcome = answered
            if not again:
                emit(CallAnsweredEvent(type="call_answered", id=record["id"], tool=spec.name, line=call.line))
            return await self.calls.recorded(record, outcome)
        before = self.journal.latest(key)
        if before is not None and before["status"] == "interrupted":
            return self._asked(call, spec, before, arguments)
        if before is not None and not self.journal.may_repeat(before):
            if spec.takes_key:
                made_with = self._made_with(before, arguments)
                return self._begin(call, spec, key, made_with, decision=before.get("decision"), **_told(before))
            if spec.policy.verify is None:
                return self._unknown(call, spec, before, arguments)
            found = await spec.policy.verify(self._made_with(before, arguments))
            if found is not None:
                same = self.journal.take_over(call.id, before)
                record = before if same else self._begin(call, spec, key, arguments).record
                return await self.calls.verified(spec, record, found.value)
            self.journal.disprove(before)
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
        # What was decided about a call with an effect is not for another time that it is made.
        asked = key if before is None or before["effect"] == "read" else _begun(before)
        decision = self.decisions.get(asked)
        if decision is not None:
            return self._decided(call, spec, key, arguments, decision, asked=asked)
        if _needs_approval(spec, arguments, self.journal.count(spec.name)):
            return _reviewed(self._pending(call, spec, asked, arguments, "approval"), spec, arguments)
        return self._begin(call, spec, key, arguments)

    def _unknown(
        self, call: Call, spec: ToolSpec, before: ToolCall, arguments: dict[str, Any]
    ) -> Outcome | PendingCall | Admitted:
        """A call that was cut off waits for a person to say what came of it."""
        asked, made_with = _begun(before), self._made_with(before, arguments)
        decision = self.decisions.get(asked)
        if decision is None:
            return self._pending(call, spec, asked, made_with, "unknown")
        return self._decided(call, spec, before["key"], made_with, decision, asked=asked, **_told(before))

    def _asked(self, call: Call, spec: ToolSpec, before: ToolCall, arguments: dict[str, Any]) -> PendingCall | Admitted:
        """A tool that asks waits for its answer, and is then called as it was before."""
        answer = self.decisions.get(_begun(before))
        if answer is None:
            question = self.question(before, call.line)
            return {**question, "id": self.journal.id(call.id)}
        return self._begin(
            call,
            spec,
            before["key"],
            self._made_with(before, arguments),
            decision=before.get("decision", _begun(before)),
            answers=[*before.get("answers", ()), answer.get("message")],
            asks=before["asks"],
        )

    def _made_with(self, record: ToolCall, arguments: dict[str, Any]) -> dict[str, Any]:
        """What a call was really made with, where a person may have changed its arguments."""
        decision = self.decisions.get(record.get("decision", ""))
        return arguments if decision is None else decision.get("arguments", arguments)

    def _pending(
        self, call: Call, spec: ToolSpec, asked: str, arguments: dict[str, Any], reason: Literal["approval", "unknown"]
    ) -> PendingCall:
        return PendingCall(
            id=self.journal.id(call.id),
            key=asked,
            tool=spec.name,
            arguments=mask(arguments, spec.policy.redact),
            line=call.line,
            reason=reason,
        )

    def _decided(
        self,
        call: Call,
        spec: ToolSpec,
        key: str,
        arguments: dict[str, Any],
        decision: Decision,
        *,
        asked: str,
        **told: Any,
    ) -> Outcome | Admitted:
        """Do what a person decided: make the call, or answer it in place of the tool."""
        message = decision.get("message")
        if decision["type"] not in ("reject", "respond"):
            arguments = decision.get("arguments", arguments)
            return self._begin(call, spec, key, arguments, decision=asked, **told)
        record = self._begin(call, spec, key, arguments, decision=asked).record
        if decision["type"] == "respond":
            self.journal.finish(record, "done", value=message)
            return Returned(message)
        error = refused(record["tool"], message)
        self.journal.finish(record, "denied", error=error)
        return Raised(error["type"], error["message"])

    def _begin(self, call: Call, spec: ToolSpec, key: str, arguments: dict[str, Any], **how: Any) -> Admitted:
        shown = mask(arguments, spec.policy.redact)
        if spec.takes_key:
            how["idempotency_key"] = self._idempotency_key(spec, key, arguments, shown)
        record = self.journal.start(
            call.id,
            spec.name,
            shown,
            key=key,
            effect=spec.effect_in_force,
            line=call.line,
            **how,
        )
        return Admitted(spec=spec, record=record, arguments=arguments)

    def _idempotency_key(self, spec: ToolSpec, key: str, arguments: dict[str, Any], shown: dict[str, Any]) -> str:
        """What the tool is to know a call by: what it knew it by before, unless a person has changed it."""
        before = self.journal.latest(key)
        if before is not None and "idempotency_key" in before:
            earlier = without_defaults(spec.input_schema, before["arguments"])
            if earlier == without_defaults(spec.input_schema, shown):
                return before["idempotency_key"]
        return self.journal.idempotency_key(key, without_defaults(spec.input_schema, arguments))


def _begun(record: ToolCall) -> str:
    """What a decision on a call that was begun before is kept under: it is not for another time that it is begun."""
    return f"{record['key']}@{record['started']}"


def _told(record: ToolCall) -> dict[str, Any]:
    """What a tool that was cut off had been told, and had asked."""
    return {"answers": record.get("answers"), "asks": record.get("asks")}


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
