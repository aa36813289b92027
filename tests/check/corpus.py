"""The tools that the corpus of ordinary programs calls, as specs."""

from typing import Any

from langchain_core.runnables import RunnableConfig

from codemode_graph.tools.spec import ToolSpec

S, I, N = {"type": "string"}, {"type": "integer"}, {"type": "number"}  # noqa: E741
OPTIONAL_TEXT = {"anyOf": [S, {"type": "null"}], "default": None}


def record(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {**required, **optional}, "required": list(required)}


def array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


EVENT = record({**dict.fromkeys(("id", "calendar_id", "title", "start", "end", "status"), S), "attendees": array(S)})
ISSUE = record(
    {
        **dict.fromkeys(("repo", "title", "state", "author", "created_at"), S),
        **dict.fromkeys(("number", "comments"), I),
        "labels": array(S),
    }
)
HIT = record(dict.fromkeys(("url", "title", "snippet"), S))
NEXT = {"anyOf": [S, {"type": "null"}]}

SCHEMAS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "list-events": (record({"calendar_id": S}, start=OPTIONAL_TEXT, end=OPTIONAL_TEXT, limit={**I, "default": 50}), array(EVENT)),
    "create-event": (record({"calendar_id": S, "title": S, "start": S, "end": S}, attendees={"anyOf": [array(S), {"type": "null"}]}), EVENT),
    "web_search": (
        record({"query": S}, page={**I, "default": 1}, per_page={**I, "default": 2}),
        record({"results": array(HIT), "total": I, "next_page": {"anyOf": [I, {"type": "null"}]}}),
    ),
    "fetch_page": (record({"url": S}), S),
    "github-list-issues": (
        record({"repo": S}, state={"enum": ["open", "closed", "all"], "default": "open"}, label=OPTIONAL_TEXT, cursor=OPTIONAL_TEXT, limit=I),
        record({"items": array(ISSUE), "next_cursor": NEXT}),
    ),
    "github-get-issue": (record({"repo": S, "number": I}), record({**ISSUE["properties"], "body": S})),
    "github-add-label": (record({"repo": S, "number": I, "label": S}), record({"number": I, "labels": array(S)})),
    "get_weather": (record({"city": S}), record({"city": S, "temp_c": N, "condition": S, "humidity": I})),
    "get_forecast": (record({"city": S}, days={**I, "default": 3}), array(record({"date": S, "high": N, "low": N}))),
    "sql_query": (record({"query": S}, params={"anyOf": [array({}), {"type": "null"}]}), array({"type": "object"})),
    "files_list": (record({}, prefix={**S, "default": "/"}), array(S)),
    "files_read": (record({"path": S}), S),
    "files_write": (record({"path": S, "content": S}), record({"path": S, "bytes": I})),
    "send_email": (record({"to": S, "subject": S, "body": S}), record({"id": S, "to": S})),
    "flaky": (record({"key": S}, fail_times={**I, "default": 2}), record({"ok": {"type": "boolean"}, "attempts": I})),
    "slow": (record({"ms": N}, value={}), None),
}  # fmt: skip


async def _never(arguments: dict[str, Any], config: RunnableConfig) -> Any:
    raise AssertionError("a check calls no tool")


SPECS = [
    ToolSpec(name=name, call=_never, input_schema=given, output_schema=returned)
    for name, (given, returned) in SCHEMAS.items()
]
