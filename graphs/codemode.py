"""What LangGraph Server serves as `codemode`: the graph itself.

`parts` says what the environment decides. Without a model it runs only the `code` that it is given.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from langgraph.graph.state import CompiledStateGraph

from codemode_graph import create_codemode
from graphs.parts import model_name, open_tools, policies, sandbox

__all__ = ["make_graph"]


@asynccontextmanager
async def make_graph() -> AsyncIterator[CompiledStateGraph[Any, Any, Any, Any]]:
    """The graph, for one run. The server brings checkpointer and store."""
    async with open_tools() as tools:
        graph = create_codemode(model=model_name(), tools=tools, policies=policies(), sandbox=sandbox())
        yield graph.compile(name="codemode")
