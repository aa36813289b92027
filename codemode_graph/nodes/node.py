"""A node that runs in sync and async graphs alike."""

from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config

from codemode_graph.settings import Parts
from codemode_graph.state import CodeModeState
from codemode_graph.sync import wait_for

__all__ = ["Node", "NodeFunction", "Route", "Update"]

Update = dict[str, Any]
"""The state's keys that a node writes."""

NodeFunction = Callable[[CodeModeState, Parts, RunnableConfig], Awaitable[Update]]


class Node(Runnable[CodeModeState, Update]):
    """Runs `function` with the graph's parts.

    Args:
        function: What the node does.
        parts: What it works with.
    """

    def __init__(self, function: NodeFunction, parts: Parts) -> None:
        self.name = getattr(function, "__name__", None)
        self._function, self._parts = function, parts

    async def ainvoke(self, input: CodeModeState, config: RunnableConfig | None = None, **kwargs: Any) -> Update:
        """Run the node."""
        return await self._function(input, self._parts, ensure_config(config))

    def invoke(self, input: CodeModeState, config: RunnableConfig | None = None, **kwargs: Any) -> Update:
        """Run the node and wait for it."""
        return wait_for(self.ainvoke(input, config))


class Route(Runnable[CodeModeState, Any]):
    """Tells where a graph goes on. It has no run of its own in traces, where it would only repeat the state.

    Args:
        function: Gives the names of the nodes.
    """

    def __init__(self, function: Callable[[CodeModeState], Any]) -> None:
        self.name = function.__name__
        self._function = function

    async def ainvoke(self, input: CodeModeState, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Tell it."""
        return self._function(input)

    def invoke(self, input: CodeModeState, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Tell it."""
        return self._function(input)
