"""A few tools: their specs, and something that answers."""

from collections.abc import Coroutine
from typing import Any

from codemode_sandboxes.guest.link import Tools
from codemode_sandboxes.tool_names import attribute_names

from codemode_graph.tools.schema import bind
from codemode_graph.tools.spec import ToolSpec
from tests.check.corpus import OPTIONAL_TEXT, I, N, S, _never, array, record

EVENT = record({"id": S, "title": S, "start": S, "minutes": I}, place=S, guests=array(S))
ISSUE = record({"id": I, "title": S, "author": record({"name": S, "email": S})})

SCHEMAS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "list-events": (record({"calendar_id": S}, limit=I, status={"enum": ["open", "closed"]}), array(EVENT)),
    "get_issue": (record({"id": I}), ISSUE),
    "find_issue": (record({"text": S}), {"anyOf": [ISSUE, {"type": "null"}]}),
    "search": (
        record({"query": S}, page=I, cursor=OPTIONAL_TEXT),
        record({"results": array(record({"url": S, "score": N})), "total": I}),
    ),
    "send_email": (record({"to": array(S), "subject": S}, body=S), record({"id": S})),
    "add": (record({"a": N, "b": N}), N),
    "now": (record({}), S),
    "raw": (record({}, x={}), None),
    "save": (record({"data": {"type": "object"}}), None),
}
SPECS = [ToolSpec(name=n, call=_never, input_schema=given, output_schema=made) for n, (given, made) in SCHEMAS.items()]

EVENTS = [
    {"id": "e1", "title": "Standup", "start": "2026-03-02T09:00:00", "minutes": 15},
    {"id": "e2", "title": "Review", "start": "2026-03-02T10:00:00", "minutes": 60},
]


class Office:
    """The tools, and the calls that were made of them."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        attributes = attribute_names(SCHEMAS)
        self.tools = Tools([(name, attributes.get(name)) for name in SCHEMAS], self._call)

    def _call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        async def answer() -> Any:
            arguments = bind(name, SCHEMAS[name][0], args, kwargs)
            self.calls.append((name, arguments))
            return self._answer(name, arguments)

        return answer()

    @staticmethod
    def _answer(name: str, arguments: dict[str, Any]) -> Any:
        match name:
            case "list-events":
                return [dict(event) for event in EVENTS]
            case "get_issue" | "find_issue":
                number = arguments.get("id", 0)
                return {"id": number, "title": f"Issue {number}", "author": {"name": "ann", "email": "ann@example.com"}}
            case "search":
                return {"results": [{"url": "https://example.com", "score": 0.5}], "total": 1}
            case "add":
                return arguments["a"] + arguments["b"]
            case "now":
                return "2026-03-02T08:00:00"
            case "send_email":
                return {"id": "m1"}
        return arguments
