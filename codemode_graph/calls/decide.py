"""Whether a call that a program makes is made: what the journal, the tool's policy and people say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from codemode_sandboxes import Call, Outcome, Raised, Returned

from codemode_graph.calls.journal import Journal
from codemode_graph.calls.make import Calls, refused
from codemode_graph.events import CallAnsweredEvent, emit, logger
from codemode_graph.redact import mask, redact
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
        before = self.journal.before(call.id, key)
        if before is not None and before["status"] == "interrupted":
            return self._asked(call, spec, before, arguments)
        if before is not None and not self.journal.may_repeat(before):
            return await self._cut_off(call, spec, before, arguments)
        return self._gated(call, spec, key, before, arguments)

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
        self, call: Call, spec: ToolSpec, key: str, before: ToolCall | None, arguments: dict[str, Any]
    ) -> Outcome | PendingCall | Admitted:
        if (refusal := self._refused(call, spec, before)) is not None:
            return refusal
        # What was decided about a call with an effect is not for another time that it is made.
        asked = key if before is None or before["effect"] == "read" else _begun(before)
        decision = self.decisions.get(asked)
        if decision is not None:
            return self._decided(call, spec, key, arguments, decision, asked=asked)
        if _needs_approval(spec, arguments, self.journal.count(spec.name)):
            return _reviewed(self._pending(call, spec, asked, arguments, "approval"), spec, arguments)
        return self._begin(call, spec, key, arguments)

    async def _cut_off(
        self, call: Call, spec: ToolSpec, before: ToolCall, arguments: dict[str, Any]
    ) -> Outcome | PendingCall | Admitted:
        """A call that may have taken effect: its tool knows it, or can tell, or a person says what is to become of it."""
        key, made_with = before["key"], self._made_with(spec, before, arguments)
        asked, how = _begun(before), _as_before(before)
        decision = self.decisions.get(asked)
        if decision is None and made_with is not None and spec.policy.verify is not None and not spec.takes_key:
            try:
                found = await spec.policy.verify(made_with)
            except Exception as error:
                logger.warning("verify of %s failed, so a person is asked: %s", spec.name, redact(str(error)))
            else:
                if found is not None:
                    same = self.journal.take_over(call.id, before)
                    record = before if same else self._begin(call, spec, key, made_with, **how).record
                    return await self.calls.verified(spec, record, found.value)
                # What was made before it was changed is in doubt still.
                if not (before.get("doubtful") and "edited" in before):
                    self.journal.disprove(before)
                    return self._gated(call, spec, key, before, arguments)
        if (refusal := self._refused(call, spec, before)) is not None:
            return refusal
        if spec.takes_key and made_with is not None:
            return self._begin(call, spec, key, made_with, decision=before.get("decision"), doubtful=True, **how)
        if made_with is None:
            made_with, how["edited"] = arguments, None
        if decision is None:
            return _limited(self._pending(call, spec, asked, made_with, "unknown"), spec)
        return self._decided(call, spec, key, made_with, decision, asked=asked, doubtful=True, **how)

    def _refused(self, call: Call, spec: ToolSpec, before: ToolCall | None) -> Outcome | None:
        """Why a call may not be made, unless it has been begun before by this program."""
        same = before is not None and before["id"] == self.journal.id(call.id)
        return None if same else self.calls.refuse(spec)

    def _asked(self, call: Call, spec: ToolSpec, before: ToolCall, arguments: dict[str, Any]) -> PendingCall | Admitted:
        """A tool that asks waits for its answer, and is then called as it was before."""
        answer = self.decisions.get(_begun(before))
        if answer is None:
            question = self.question(before, call.line)
            return {**question, "id": self.journal.id(call.id)}
        made_with = self._made_with(spec, before, arguments)
        how = _as_before(before)
        how["answers"] = [*before.get("answers", ()), answer.get("message")]
        return self._begin(
            call,
            spec,
            before["key"],
            arguments if made_with is None else made_with,
            decision=before.get("decision", _begun(before)),
            doubtful=before.get("doubtful", False),
            **how,
        )

    def _made_with(self, spec: ToolSpec, record: ToolCall, arguments: dict[str, Any]) -> dict[str, Any] | None:
        """What a call was really made with, where a person has changed its arguments; None where that is not known."""
        if "edited" not in record:
            return arguments
        decision = self.decisions.get(record["edited"])
        if decision is not None:
            return decision.get("arguments", arguments)
        return None if spec.policy.redact else dict(record["arguments"])  # it was changed in another run

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
            if "arguments" in decision:
                arguments, told["edited"] = decision["arguments"], asked
            return self._begin(call, spec, key, arguments, decision=asked, **told)
        record = self._begin(call, spec, key, arguments, decision=asked).record
        if decision["type"] == "respond":
            self.journal.finish(record, "done", value=message)
            return Returned(message)
        error = refused(record["tool"], message)
        self.journal.finish(record, "denied", error=error)
        return Raised(error["type"], error["message"])

    def _begin(self, call: Call, spec: ToolSpec, key: str, arguments: dict[str, Any], **how: Any) -> Admitted:
        if spec.takes_key:
            how["idempotency_key"] = self._idempotency_key(spec, key, arguments, how.get("edited"))
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

    def _idempotency_key(self, spec: ToolSpec, key: str, arguments: dict[str, Any], edited: str | None) -> str:
        """What the tool is to know a call by: what it knew it by before, unless a person has changed it since."""
        before = self.journal.latest(key)
        if before is not None and "idempotency_key" in before and before.get("edited") == edited:
            return before["idempotency_key"]
        return self.journal.idempotency_key(key, without_defaults(spec.input_schema, arguments))


def _begun(record: ToolCall) -> str:
    """What a decision on a call that was begun before is kept under: it is not for another time that it is begun."""
    return f"{record['key']}@{record['started']}"


def _as_before(record: ToolCall) -> dict[str, Any]:
    """How a call was made, and what its tool had asked and been told."""
    return {name: record.get(name) for name in ("edited", "answers", "asks")}


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


def _limited(pending: PendingCall, spec: ToolSpec) -> PendingCall:
    """Where a policy does not let people change a call, they cannot do so when it was cut off."""
    review = spec.policy.approval
    if isinstance(review, Review) and "edit" not in review.decisions:
        pending["allowed"] = ["approve", "reject", "respond"]
    return pending
