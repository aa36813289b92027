"""Graphs over the tools of a ledger, and a step of a run of theirs, for a process of its own.

FOLDER/setup.json says how the graph is made, see `Setup`.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.errors import EmptyInputError
from langgraph.graph import START, StateGraph
from langgraph.types import Command
from typing_extensions import TypedDict

from codemode_graph import ToolPolicy, create_codemode
from codemode_graph.mcp import MCPToolLoader
from codemode_graph.tools import tool
from codemode_graph.tools.spec import Undo
from tests.durable.ledger import Ledger, functions
from tests.support import scripted

ROOT = Path(__file__).parents[2]
CONFIG: RunnableConfig = {"configurable": {"thread_id": "one"}}


@dataclass
class Setup:
    """The way in which a graph is made.

    Attributes:
        kind: Its tools are functions, LangChain tools or those of an MCP server.
        saver: Where checkpoints are kept: "sqlite", "slow", which is SQLite with a pause before each write, or an address
            of a PostgreSQL database.
        nested: It is a node of another graph.
        replies: What a model says; without it the first program is the input's.
        gated: Tools that need approval.
        policies: What else of them is not the default.
    """

    kind: str = "function"
    saver: str = "sqlite"
    durability: str = "async"
    nested: bool = False
    sandbox: str = "monty"
    replies: list[str] = field(default_factory=list)
    gated: list[str] = field(default_factory=list)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)


async def _tools(setup: Setup, folder: Path, stack: AsyncExitStack) -> tuple[list[Any], dict[str, ToolPolicy]]:
    known = functions(Ledger(folder))
    given: dict[str, dict[str, Any]] = {name: dict(policy) for name, policy in setup.policies.items()}
    given.setdefault("cancel", {})["undoes"] = Undo("reserve", match={"reservation_id": "value.id"})
    for name in setup.gated:
        given.setdefault(name, {})["approval"] = True
    tools: list[Any]
    if setup.kind == "mcp":
        loader = await stack.enter_async_context(MCPToolLoader())
        arguments = ["-m", "tests.durable.ledger", str(folder)]
        loader.add_stdio_server("ledger", sys.executable, arguments, env={"PYTHONPATH": str(ROOT)})
        tools = list(await loader.load())
    elif setup.kind == "langchain":
        tools = [
            StructuredTool.from_function(coroutine=function, name=name, description=function.__doc__)
            for name, (_, function) in known.items()
        ]
        for name, (effect, _) in known.items():
            given.setdefault(name, {}).setdefault("effect", effect)
    else:
        tools = [tool(effect=effect)(function) for effect, function in known.values()]
    return tools, {name: ToolPolicy(**policy) for name, policy in given.items()}


class Outer(TypedDict, total=False):
    task: str
    code: str
    output: Any
    error: Any
    verdict: str
    tool_calls: list[Any]
    left_over: list[str]


class SlowSaver(AsyncSqliteSaver):
    """Writes checkpoints late."""

    async def aput(self, *args: Any, **how: Any) -> RunnableConfig:
        await asyncio.sleep(0.2)
        return await super().aput(*args, **how)


@asynccontextmanager
async def _saver(setup: Setup, folder: Path) -> AsyncIterator[Any]:
    if setup.saver == "memory":
        yield InMemorySaver()
    elif setup.saver.startswith("postgres"):
        async with AsyncPostgresSaver.from_conn_string(setup.saver) as saver:
            await saver.setup()
            yield saver
    else:
        kind = SlowSaver if setup.saver == "slow" else AsyncSqliteSaver
        async with kind.from_conn_string(str(folder / "checkpoints.sqlite")) as sqlite_saver:
            yield sqlite_saver


@asynccontextmanager
async def app_of(setup: Setup, folder: Path) -> AsyncIterator[Any]:
    """The compiled graph, with its checkpointer."""
    async with AsyncExitStack() as stack:
        tools, policies = await _tools(setup, folder, stack)
        graph: StateGraph[Any, Any, Any, Any] = create_codemode(
            model=scripted(*setup.replies) if setup.replies else None,
            tools=tools,
            policies=policies,
            sandbox=setup.sandbox,
        )
        if setup.nested:
            outer: StateGraph[Any, Any, Any, Any] = StateGraph(Outer)
            graph = outer.add_node("codemode", graph.compile()).add_edge(START, "codemode")
        yield graph.compile(checkpointer=await stack.enter_async_context(_saver(setup, folder)))


async def step(app: Any, setup: Setup, given: Any, config: RunnableConfig = CONFIG) -> dict[str, Any]:
    """Take a run one step on. An input that no checkpoint has is given again, as a caller would."""
    how: dict[str, Any] = {"durability": setup.durability, "context": setup.context or None}
    if isinstance(given, dict) and "resume" in given:
        await app.ainvoke(Command(resume=given["resume"]), config, **how)
    elif isinstance(given, dict) and "again" in given:
        try:
            await app.ainvoke(None, config, **how)
        except EmptyInputError:
            await app.ainvoke(given["again"], config, **how)
    else:
        await app.ainvoke(given, config, **how)
    state = await app.aget_state(config)
    return {
        **{key: state.values.get(key) for key in ("output", "error", "verdict", "tool_calls", "left_over")},
        "waiting": [interrupt.value for interrupt in state.interrupts],
    }


def prepare(folder: Path, setup: Setup, *deaths: str) -> Ledger:
    """Say how the processes of a folder make their graph, and where they die."""
    (folder / "setup.json").write_text(json.dumps(asdict(setup)))
    (folder / "deaths").write_text("\n".join(deaths))
    return Ledger(folder)


def take_step(folder: Path, given: Any) -> None:
    """Take a run one step on, as the folder's setup says, and print how it stands."""

    async def main() -> None:
        (folder / "pid").write_text(str(os.getpid()))
        setup = Setup(**json.loads((folder / "setup.json").read_text()))
        async with app_of(setup, folder) as app:
            print(json.dumps(await step(app, setup, given)))

    asyncio.run(main())
