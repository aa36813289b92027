"""Put a run's questions to the person at an MCP client, and read the answers in whatever form a client sends them."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from mcp import types
from mcp.server.session import ServerSession
from pydantic import ValidationError

from codemode_graph.errors import Undecided
from codemode_graph.mcp_sdk import McpError, RequestContext

# A form is shown again where its answer cannot be read; a client that answers by itself must not loop for ever.
_TRIES = 3
_WORDS = {
    "approve": "approve approved accept accepted allow allowed confirm confirmed ok okay proceed true y yes",
    "reject": "reject rejected decline declined deny denied disallow refuse refused cancel false n no",
    "edit": "edit edited change changed modify modified",
    "respond": "respond responded",
}
_KINDS = {word: kind for kind, words in _WORDS.items() for word in words.split()}
# The decisions on a call that was cut off. "Yes" could mean that it took effect as well as that it is to be made.
_OUTCOMES = {
    "approve": "It did not take effect: call it now",
    "edit": "It did not take effect: call it with other arguments",
    "reject": "It did not take effect: do not call it",
    "respond": "It took effect: the program gets the message as its result",
}


class Elicitation:
    """Asks the person at the client that made a request; it is an `approve` function for `CodeMode`.

    Args:
        context: The request.
        pause: Entered while a person is asked.
    """

    def __init__(
        self,
        context: RequestContext,
        pause: Callable[[], AbstractAsyncContextManager[Any]] = nullcontext,
    ) -> None:
        self._session, self._request = context.session, context.request_id
        self._pause = pause

    @staticmethod
    def can_ask(session: ServerSession) -> bool:
        """Return True where the client shows forms: it offers elicitation, and not of addresses alone."""
        able = session.client_params.capabilities.elicitation if session.client_params else None
        return able is not None and (able.form is not None or able.url is None)

    async def __call__(self, request: Any) -> Any:
        """Return the decisions on the calls of a request, or the answer to a tool's question.

        Raises:
            Undecided: The client cannot ask after all, or nobody decided on a call that may not be rejected.
        """
        async with self._pause():
            if not (isinstance(request, dict) and "action_requests" in request):
                return await self._answer(request)
            allowed = {config["action_name"]: config["allowed_decisions"] for config in request["review_configs"]}
            problem = request.get("problem")
            decisions = [
                {**await self._decide(action, allowed[action["name"]], problem), "id": action["id"]}
                for action in request["action_requests"]
            ]
            return {"decisions": decisions}

    async def _decide(self, action: Mapping[str, Any], allowed: Sequence[str], problem: str | None) -> dict[str, Any]:
        for _ in range(_TRIES):
            message = action["description"] if problem is None else f"{problem}. {action['description']}"
            answer = await self._elicit(message, _form(action, allowed))
            if answer.action != "accept":
                break
            try:
                return read_form(action, answer.content, allowed)
            except ValueError as error:
                problem = str(error)
        # Nobody may be taken to have approved a call, and the policy may leave no other way to say no. To reject a call that
        # may have taken effect is to say that it did not, which a person who closes the form has not said.
        if "reject" not in allowed or _in_doubt(action, allowed):
            why = "may have taken effect" if "reject" in allowed else "may not be rejected"
            raise Undecided(f"nobody decided on the call of {action['name']!r}, which {why}")
        return {"type": "reject", "message": "nobody decided"}

    async def _answer(self, question: Any) -> Any:
        text = question if isinstance(question, str) else json.dumps(question, ensure_ascii=False, default=str)
        schema = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
        answer = await self._elicit(text, schema)
        content = answer.content if answer.action == "accept" and answer.content else {}
        return content.get("answer", _only(content))

    async def _elicit(self, message: str, schema: dict[str, Any]) -> types.ElicitResult:
        try:
            return await self._session.elicit_form(message, schema, self._request)
        except (McpError, ValidationError) as error:
            raise Undecided(f"the client did not ask anybody: {error}") from error


def _form(action: Mapping[str, Any], allowed: Sequence[str]) -> dict[str, Any]:
    """Return the form for a decision. MCP's forms are flat, so that changed arguments are JSON text."""
    decision: dict[str, Any] = {"type": "string", "enum": [*allowed], "title": f"Call {action['name']}?"}
    if _in_doubt(action, allowed):
        decision |= {"title": f"Did {action['name']} take effect?", "enumNames": [_OUTCOMES[kind] for kind in allowed]}
    fields: dict[str, Any] = {"decision": decision}
    if "reject" in allowed or "respond" in allowed:
        fields["message"] = {
            "type": "string",
            "title": "Reason, or response",
            "description": "To reject: why. To respond: what the program is given in place of the tool's result.",
        }
    if "edit" in allowed:
        fields["arguments"] = {
            "type": "string",
            "title": "Arguments, to edit",
            "description": "As JSON.",
            "default": json.dumps(action["args"], ensure_ascii=False),
        }
    return {"type": "object", "properties": fields, "required": ["decision"]}


def read_form(
    action: Mapping[str, Any], content: Mapping[str, Any] | None, allowed: Sequence[str] = tuple(_WORDS)
) -> dict[str, Any]:
    """Return the decision that an accepted form holds.

    Clients send forms unchecked, and some show a form of their own: one button, a switch, a choice or a text field. By the
    protocol, to accept without content is to confirm the action; of a call that was cut off, the form has to name the decision.

    Args:
        action: The call that the form is about.
        content: The form.
        allowed: The decisions that may be taken.

    Raises:
        ValueError: It holds no decision that may be taken, or arguments that are no JSON object.
    """
    kind = "approve" if not content else _kind(content)
    if _in_doubt(action, allowed):
        word = (content or {}).get("decision")
        kind = word.strip().lower() if isinstance(word, str) else None
        if kind not in allowed:
            raise ValueError("; ".join(f"answer {name}: {_OUTCOMES[name]}" for name in allowed))
    if kind not in allowed:
        raise ValueError(f"the decision has to be one of {', '.join(allowed)}")
    content = content or {}
    if kind != "edit":
        message = content.get("message") or ""
        return {"type": kind, "message": message if isinstance(message, str) else json.dumps(message)}
    try:
        arguments = json.loads(str(content.get("arguments")))
    except json.JSONDecodeError as error:
        raise ValueError(f"the arguments are not JSON ({error})") from None
    if not isinstance(arguments, dict):
        raise ValueError("the arguments are not a JSON object")
    return {"type": "edit", "edited_action": {"name": action["name"], "args": arguments}}


def _in_doubt(action: Mapping[str, Any], allowed: Sequence[str]) -> bool:
    """Return True for a call that was cut off, and may have taken effect. Of one that did, only the value may be missing."""
    return action.get("reason") == "unknown" and "approve" in allowed


def _kind(content: Mapping[str, Any]) -> str | None:
    """Return the one decision that a form's values amount to; None where there is none, or where they contradict."""
    own = {name: value for name, value in content.items() if name not in ("message", "arguments")}
    # The field that the form asks for decides alone; others may be the client's own, such as a box to remember it.
    if "decision" in own:
        return _kind_of(own["decision"])
    found = set()
    for name, value in own.items():
        kind, field = _kind_of(value), _KINDS.get(name.lower().strip())
        # To deny is what a yes to `deny` means; a no to it says nothing. Any other field is about the call itself.
        if field == "reject" and kind in ("approve", "reject"):
            kind = "reject" if kind == "approve" else None
        found.add(kind)
    return found.pop() if len(found) == 1 else None


def _kind_of(value: Any) -> str | None:
    if isinstance(value, list) and len(value) == 1:  # a choice among several, of which one was chosen
        (value,) = value
    if isinstance(value, bool):
        return "approve" if value else "reject"
    return _KINDS.get(value.strip().strip(".!\"'").lower()) if isinstance(value, str) else None


def _only(content: Mapping[str, Any]) -> Any:
    """Return the value of a form with one field; None where it has none or more."""
    return next(iter(content.values())) if len(content) == 1 else None
