"""Code mode as a node of a larger graph, with a state and a checkpointer of its own: needs no key.

The outer graph asks a person, through code mode's approval; the second half of this file is their answer.
"""

import asyncio
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command
from typing_extensions import TypedDict

from codemode_graph import ToolPolicy, create_codemode


class Order(TypedDict, total=False):
    """The outer graph's state; it shares `task`, `code` and `output` with code mode."""

    items: list[str]
    task: str
    code: str
    output: Any
    receipt: str


async def order(item: str) -> str:
    """Order an item."""
    return f"{item} ordered"


async def plan(state: Order) -> Order:
    calls = ", ".join(f"tools.order({item!r})" for item in state["items"])
    return {"task": "order it", "code": f"import asyncio\nawait asyncio.gather({calls})"}


async def receipt(state: Order) -> Order:
    return {"receipt": "; ".join(state["output"])}


async def main() -> None:
    codemode = create_codemode(model=None, tools=[order], policies={"order": ToolPolicy(approval=True)})
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(Order)
    graph.add_node(plan).add_node("codemode", codemode.compile()).add_node(receipt)
    graph.add_edge(START, "plan").add_edge("plan", "codemode").add_edge("codemode", "receipt")
    app = graph.compile(checkpointer=InMemorySaver())

    config: Any = {"configurable": {"thread_id": "breakfast"}}
    state = await app.ainvoke({"items": ["tea", "toast"]}, config)
    (waiting,) = state["__interrupt__"]
    for action in waiting.value["action_requests"]:
        print("asked:", action["name"], action["args"])

    decisions = [{"type": "approve"}, {"type": "respond", "message": "toast is there already"}]
    state = await app.ainvoke(Command(resume={"decisions": decisions}), config)
    print(state["receipt"])


asyncio.run(main())
