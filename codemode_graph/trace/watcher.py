"""Run a graph, and let a watcher see what happens meanwhile."""

from typing import Any, Protocol

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Durability

from codemode_graph.events import Event, read_event
from codemode_graph.metrics import Metrics

__all__ = ["Watcher", "follow"]


class Watcher(Protocol):
    """Receives the events of a run, while it runs."""

    def show(self, event: Event) -> None:
        """Receive the next event."""

    def stop(self) -> None:
        """Pause: the run has ended, or it waits for a person."""

    def end(self, used: Metrics) -> None:
        """Receive the metrics of the run, which has ended."""


async def follow(
    graph: CompiledStateGraph[Any, Any, Any, Any],
    values: Any,
    config: RunnableConfig,
    watcher: Watcher | None,
    *,
    durability: Durability | None = None,
    context: Any = None,
) -> dict[str, Any]:
    """Run a graph, and show its events to a watcher; values that tools stream on their own are ignored.

    Returns:
        The whole state, as it was when the graph ended or was interrupted.
    """
    options: dict[str, Any] = {"durability": durability, "context": context, "output_keys": graph.stream_channels_list}
    # Without a stream a tool call takes a tenth less time: no consumer has to wake for its events.
    state: dict[str, Any] = {}
    if watcher is None:
        # `ainvoke` would ask for the updates of each step as well, which nobody reads here.
        async for item in graph.astream(values, config, stream_mode="values", **options):
            state = item
        return dict(state)
    async for kind, item in graph.astream(values, config, stream_mode=["custom", "values"], **options):
        if kind == "values":
            state = item
        elif (event := read_event(item)) is not None:
            watcher.show(event)
    return state
