"""The graph that LangGraph Server serves as `codemode`: code mode itself.

Without a model it runs only the `code` of its input.
"""

from contextlib import AbstractAsyncContextManager
from typing import Any

from langgraph.graph.state import CompiledStateGraph
from langgraph_sdk.runtime import ServerRuntime

from codemode_graph.server import codemode

__all__ = ["make_graph"]


def make_graph(
    runtime: ServerRuntime[Any] | None = None,
) -> AbstractAsyncContextManager[CompiledStateGraph[Any, Any, Any, Any]]:
    """Make the graph for one run, or for reading. The server adds checkpointer and store."""
    return codemode(runtime)
