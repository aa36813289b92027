"""The graph that LangGraph Server serves as `codemode`. Without a model it runs only the `code` of its input.

`parts` lists the environment variables that it reads.
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
    """Make the graph for one run. The server adds checkpointer and store."""
    async with open_tools() as tools:
        graph = create_codemode(model=model_name(), tools=tools, policies=policies(), sandbox=sandbox())
        yield graph.compile(name="codemode")
