"""Updates by tools of the state of the graph around code mode.

A tool that returns a LangGraph `Command` updates a state that is not this package's own. A run's output has these updates
under `updates`, each once; `ApplyUpdates` is the node that writes them to the state of the graph around.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.channels import LastValue
from langgraph.graph import StateGraph
from langgraph.types import Command

from codemode_graph.state import StateUpdate
from codemode_graph.tools.results import update_from_json

__all__ = ["ApplyUpdates", "writes"]


class ApplyUpdates:
    """The node that follows code mode in a graph, and writes the tools' updates to that graph's state.

    A node that runs code mode itself can call this with the result, and return the returned `Command`.

    Args:
        schema: The state of the graph around. Where this is a node, the state has a key `updates`, which code mode fills.

    Examples:
        ```python
        class State(MessagesState):
            task: str
            updates: list[StateUpdate]

        graph = StateGraph(State)
        graph.add_node("codemode", create_codemode(model=model, tools=tools).compile())
        graph.add_node("update", ApplyUpdates(State))
        graph.add_edge(START, "codemode").add_edge("codemode", "update")
        ```
    """

    def __init__(self, schema: type) -> None:
        self._channels = StateGraph(schema).channels

    def __call__(self, state: Any) -> Command[Any]:
        """Return the update of the graph's state.

        Keys that the graph does not have are left out. Reducers get the values in order; of several values for a key
        without a reducer the last stands.

        Args:
            state: The state after code mode, or code mode's result: a dict with `updates`.
        """
        return Command(update=writes(state["updates"], self._channels))


def writes(updates: Sequence[StateUpdate], channels: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the writes of updates to the channels of a graph, in order; see `ApplyUpdates`.

    Args:
        updates: From a run's output.
        channels: The channels of the graph, by key.
    """
    pairs = [(key, value) for each in updates for key, value in each["update"].items() if key in channels]
    # LangGraph refuses two writes to a `LastValue` channel in one step.
    last = {key: place for place, (key, _) in enumerate(pairs)}
    return [
        (key, update_from_json(value))
        for place, (key, value) in enumerate(pairs)
        if last[key] == place or not isinstance(channels[key], LastValue)
    ]
