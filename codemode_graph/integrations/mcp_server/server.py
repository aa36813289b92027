"""The server: the tools `run_code` and `run_task`."""

import asyncio
from collections.abc import Mapping
from typing import Any

from mcp import types
from mcp.server.lowlevel import Server
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from codemode_graph.api import CodeMode
from codemode_graph.integrations.answer import answer_text
from codemode_graph.integrations.langchain import task_description, task_schema
from codemode_graph.integrations.mcp_server.elicitation import asker
from codemode_graph.integrations.mcp_server.notifications import Notifications
from codemode_graph.model import program_tool_description
from codemode_graph.result import RunResult

__all__ = ["RunReport", "create_mcp_server"]

_ADVICE = "To repair it, call `run_code` with a better program and after={!r}: what took effect is then not done again."


class ReportedCall(TypedDict):
    """A tool call that was made."""

    tool: str
    arguments: dict[str, Any]
    status: str


class RunReport(TypedDict):
    """What a client is told of a run, as `structuredContent`."""

    success: bool
    output: Any
    error: str | None
    program: str
    stdout: str
    tool_calls: list[ReportedCall]
    run_id: str | None


def create_mcp_server(
    cm: CodeMode, *, tasks: bool, name: str = "codemode", version: str | None = None
) -> Server[Any, Any]:
    """Make a server that runs programs that its clients' models write, and does tasks.

    Calls that wait for a person are put to the client as elicitations. What a run does is told as progress.

    Args:
        cm: Runs them. It stays open as long as the server runs.
        tasks: Offer `run_task`, too: needs the model of `cm`.
        name: What the server calls itself.
        version: Its version; None gives the MCP SDK's.

    Returns:
        The server, not running.
    """
    server: Server[Any, Any] = Server(name, version)

    @server.list_tools()  # type: ignore[no-untyped-call,untyped-decorator]
    async def list_tools() -> list[types.Tool]:
        capabilities = await asyncio.to_thread(lambda: cm.sandbox.capabilities)
        described = {"run_code": program_tool_description(cm.tools, capabilities)}
        if tasks:
            described["run_task"] = task_description(cm.tools)
        return [_tool(cm, tool, text) for tool, text in described.items()]

    @server.call_tool()  # type: ignore[untyped-decorator]
    async def call_tool(tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
        approve = asker(server.request_context)
        async with Notifications(server.request_context) as watcher:
            if tool == "run_code":
                code, after = arguments["code"], arguments.get("after")
                return _told(await cm.run_code(code, watcher, after=after, approve=approve))
            if tool == "run_task" and tasks:
                return _told(await cm.run(arguments["task"], watcher, approve=approve))
        raise ValueError(f"unknown tool {tool!r}")

    return server


_INPUTS: Mapping[str, dict[str, Any]] = {
    "run_code": {
        "type": "object",
        "properties": {
            "code": {"type": "string", "description": "The whole program."},
            "after": {"type": "string", "description": "The `run_id` of the failed run that this program repairs."},
        },
        "required": ["code"],
        "additionalProperties": False,
    },
    "run_task": task_schema(),
}


def _tool(cm: CodeMode, name: str, description: str) -> types.Tool:
    effects = {spec.effect_in_force for spec in cm.tools}
    return types.Tool(
        name=name,
        description=description,
        inputSchema=_INPUTS[name],
        outputSchema=TypeAdapter(RunReport).json_schema(),
        annotations=types.ToolAnnotations(
            readOnlyHint=effects <= {"read"},
            destructiveHint="destructive" in effects,
            idempotentHint=effects <= {"read", "idempotent"},
        ),
    )


def _told(result: RunResult) -> types.CallToolResult:
    """The result as a client takes it: text for its model, and the whole as structured content."""
    report = RunReport(
        success=result["success"],
        output=result["output"],
        error=result["error"],
        program=result["program"],
        stdout=result["stdout"],
        tool_calls=[
            ReportedCall(tool=call["tool"], arguments=call["arguments"], status=call["status"])
            for call in result["tool_calls"]
        ],
        run_id=result["run_id"],
    )
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=answer_text(result, advice=_ADVICE.format(result["run_id"])))],
        structuredContent={**report},
        isError=not report["success"],
    )
