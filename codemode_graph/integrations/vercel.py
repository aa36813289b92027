"""Code mode as a tool of Vercel's AI SDK: a dict for a bridge between Python and JavaScript.

Without such a bridge, the SDK's own MCP client can use `codemode-graph serve`.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pydantic import ValidationError
from typing_extensions import TypedDict

from codemode_graph.exact import encode_fields
from codemode_graph.integrations.answer import answer_text
from codemode_graph.integrations.langchain import ADVICE, Task, task_description, task_schema
from codemode_graph.result import TaskRunner
from codemode_graph.tools.hints import complaint


class VercelTool(TypedDict):
    """A tool as `ai` takes it: `inputSchema` since version 5, `parameters` before."""

    description: str
    inputSchema: dict[str, Any]
    parameters: dict[str, Any]
    execute: Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


def as_vercel_tool(cm: TaskRunner, *, description: str | None = None) -> VercelTool:
    """Return the tool. See `CodeMode.as_vercel_tool`."""
    schema = task_schema()

    async def execute(arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            task = Task.model_validate(dict(arguments)).task
        except ValidationError as error:
            reason = f"the arguments are wrong: {complaint(error)}"
            return {"success": False, "output": None, "error": reason, "warning": None, "stdout": ""}
        result = await cm.run(task)
        shown = {key: result[key] for key in ("success", "output", "error", "warning", "stdout")}
        if not result["success"]:
            shown["error"] = answer_text(result, advice=ADVICE)
        # The bridge carries JSON, and JavaScript would make other numbers of some.
        return encode_fields(shown)

    text = description or task_description(cm.tools)
    return VercelTool(description=text, inputSchema=schema, parameters=schema, execute=execute)
