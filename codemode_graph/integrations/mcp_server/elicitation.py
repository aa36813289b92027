"""Putting calls that wait for a person to the person at the client."""

import json
from collections.abc import Mapping
from typing import Any

from mcp import types
from mcp.server.session import ServerSession
from mcp.shared.context import RequestContext

from codemode_graph.errors import CodeModeError
from codemode_graph.options import Approve

__all__ = ["asker"]

_TRIES = 3
"""How often a form is shown whose answer cannot be read."""


def asker(context: RequestContext[ServerSession, Any, Any]) -> Approve | None:
    """What answers for a person in a run of this request; None where the client cannot ask one."""
    able = types.ClientCapabilities(elicitation=types.ElicitationCapability())
    return _Asker(context) if context.session.check_client_capability(able) else None


class _Asker:
    def __init__(self, context: RequestContext[ServerSession, Any, Any]) -> None:
        self._session, self._request = context.session, context.request_id

    async def __call__(self, request: Any) -> Any:
        if not (isinstance(request, dict) and "action_requests" in request):
            return await self._question(request)
        allowed = {config["action_name"]: config["allowed_decisions"] for config in request["review_configs"]}
        problem = request.get("problem")
        decisions = [
            {**await self._decision(action, allowed[action["name"]], problem), "id": action["id"]}
            for action in request["action_requests"]
        ]
        return {"decisions": decisions}

    async def _decision(self, action: Mapping[str, Any], allowed: list[str], problem: str | None) -> dict[str, Any]:
        for _ in range(_TRIES):
            message = action["description"] if problem is None else f"{problem}. {action['description']}"
            answer = await self._session.elicit_form(message, _form(action, allowed), self._request)
            if answer.action != "accept" or not answer.content:
                break
            try:
                return _read(action, answer.content)
            except ValueError as error:
                problem = str(error)
        if "reject" not in allowed:
            raise CodeModeError(f"nobody decided on the call of {action['name']!r}, which may not be rejected")
        return {"type": "reject", "message": "nobody decided"}

    async def _question(self, question: Any) -> Any:
        text = question if isinstance(question, str) else json.dumps(question, ensure_ascii=False, default=str)
        schema = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
        answer = await self._session.elicit_form(text, schema, self._request)
        return answer.content["answer"] if answer.action == "accept" and answer.content else None


def _form(action: Mapping[str, Any], allowed: list[str]) -> dict[str, Any]:
    """A form for a decision: MCP's forms are flat, so changed arguments are JSON text."""
    fields: dict[str, Any] = {"decision": {"type": "string", "enum": allowed, "title": f"Call {action['name']}?"}}
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


def _read(action: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """What the form says, as a decision.

    Raises:
        ValueError: The arguments are no JSON object.
    """
    decision = {"type": content.get("decision")}
    if decision["type"] != "edit":
        return {**decision, "message": content.get("message") or ""}
    try:
        arguments = json.loads(str(content.get("arguments")))
    except json.JSONDecodeError as error:
        raise ValueError(f"the arguments are not JSON ({error})") from None
    if not isinstance(arguments, dict):
        raise ValueError("the arguments are not a JSON object")
    return {**decision, "edited_action": {"name": action["name"], "args": arguments}}
