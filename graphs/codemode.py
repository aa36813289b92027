"""What LangGraph Server serves as `codemode`.

Its tools are the MCP servers of the file that CODEMODE_MCP names (the common mcpServers form), or the demo's where it
names none. Its model is CODEMODE_MODEL, such as "openai:gpt-5.2"; without one it runs only the `code` that it is given.
CODEMODE_APPROVE names the tools whose calls a person has to approve: patterns with commas between them.
CODEMODE_SANDBOX is where programs run, such as "auto"; CODEMODE_AUTO names the sandboxes that "auto" may choose, and
CODEMODE_FALLBACK those that are used where CODEMODE_SANDBOX is not available: names with commas between them.
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from langgraph.graph.state import CompiledStateGraph

from codemode_graph import MCPToolLoader, ToolPolicy, create_codemode
from codemode_graph.demo.tools import send_letter, send_reminder

__all__ = ["make_graph"]


@asynccontextmanager
async def make_graph() -> AsyncIterator[CompiledStateGraph[Any, Any, Any, Any]]:
    """Open the MCP sessions for a run, and close them when it has ended. The server brings checkpointer and store."""
    path = os.environ.get("CODEMODE_MCP")
    async with MCPToolLoader.from_config(path) if path else MCPToolLoader() as mcp:
        tools: list[Any] = []
        if not path:
            mcp.add_stdio_server("shop", sys.executable, ["-m", "codemode_graph.demo.server"])
            tools = [send_letter, send_reminder]
        graph = create_codemode(
            model=os.environ.get("CODEMODE_MODEL") or None,
            tools=[*await mcp.load(), *tools],
            policies={pattern: ToolPolicy(approval=True) for pattern in _names("CODEMODE_APPROVE")},
            sandbox=os.environ.get("CODEMODE_SANDBOX") or None,
            auto=_names("CODEMODE_AUTO") or None,
            fallback=_names("CODEMODE_FALLBACK"),
        )
        yield graph.compile(name="codemode")


def _names(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]
