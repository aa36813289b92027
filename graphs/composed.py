"""The graph that LangGraph Server serves as `composed`: a conversation in which code mode is one node."""

from contextlib import AbstractAsyncContextManager
from typing import Any

from langgraph.graph.state import CompiledStateGraph
from langgraph_sdk.runtime import ServerRuntime

from codemode_graph.server import composed

__all__ = ["make_graph"]


def make_graph(
    runtime: ServerRuntime[Any] | None = None,
) -> AbstractAsyncContextManager[CompiledStateGraph[Any, Any, Any, Any]]:
    """Make the graph for one run, or for reading. The server adds checkpointer and store."""
    return composed(runtime)
