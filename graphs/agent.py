"""The graph that LangGraph Server serves as `agent`: an agent that calls its tools itself, or by a program."""

from contextlib import AbstractAsyncContextManager
from typing import Any

from langgraph.graph.state import CompiledStateGraph
from langgraph_sdk.runtime import ServerRuntime

from codemode_graph.server import agent

__all__ = ["make_graph"]


def make_graph(
    runtime: ServerRuntime[Any] | None = None,
) -> AbstractAsyncContextManager[CompiledStateGraph[Any, Any, Any, Any]]:
    """Make the graph for one run, or for reading. The server adds checkpointer and store."""
    return agent(runtime)
