"""The common parts of the tests of agents: a model that makes tool calls, and a shop with an account book."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from pydantic import Field

from codemode_graph.tools import tool
from tests.support import Reply, ScriptedModel

_ids = itertools.count(1)


class Agent(ScriptedModel):
    """Says `replies` in turn, as an agent's model; `offered` has the names of the tools at each turn."""

    offered: list[list[str]] = Field(default_factory=list)

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Runnable[Any, Any]:
        self.offered.append([each.name if isinstance(each, BaseTool) else str(each) for each in tools])
        return self


def agent_model(*replies: Reply) -> Agent:
    return Agent(replies=list(replies))


def calling(name: str, *calls: dict[str, Any]) -> AIMessage:
    """A turn in which the model calls a tool, once for each of these arguments."""
    made = [{"name": name, "args": args, "id": f"c{next(_ids)}", "type": "tool_call"} for args in calls]
    return AIMessage("", tool_calls=made)


def answers(state: dict[str, Any]) -> list[ToolMessage]:
    """Return what the tools said."""
    return [message for message in state["messages"] if isinstance(message, ToolMessage)]


class Shop:
    """Tools that look and tools that pay; `paid` has a line for each payment, `seen` one for each look."""

    def __init__(self) -> None:
        self.paid: list[tuple[str, int]] = []
        self.seen: list[str] = []

    @property
    def tools(self) -> list[Any]:
        @tool(effect="read")
        async def owed(who: str) -> int:
            """Return what somebody is owed."""
            self.seen.append(who)
            await asyncio.sleep(0)
            return {"ann": 5, "bob": 7}[who]

        async def pay(who: str, amount: int) -> str:
            """Pay somebody."""
            self.paid.append((who, amount))
            return f"paid {who} {amount}"

        return [owed, pay]


class Runs(AsyncCallbackHandler):
    """Who ran below whom: the path of names above each tool run."""

    def __init__(self) -> None:
        self.names: dict[Any, tuple[str, Any]] = {}
        self.tools: list[str] = []

    async def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: Any, parent_run_id: Any = None, **kw: Any
    ) -> None:
        self.names[run_id] = (kw.get("name") or "?", parent_run_id)

    async def on_tool_start(
        self, serialized: Any, input_str: str, *, run_id: Any, parent_run_id: Any = None, **kw: Any
    ) -> None:
        self.names[run_id] = (serialized["name"], parent_run_id)
        self.tools.append(self.path(run_id))

    def path(self, run_id: Any) -> str:
        name, parent = self.names[run_id]
        return f"{self.path(parent)}/{name}" if parent in self.names else name


USER: Any = {"messages": [("user", "go")]}
