"""Tool calls are child tool runs of the call's config."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from codemode_graph.errors import ToolCallError
from codemode_graph.tools.callbacks import traced
from tests.mcp.conftest import Tools


class Recorder(AsyncCallbackHandler):
    """Keeps what happened, and whose child each run is."""

    run_inline = True

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.parents: dict[str, UUID | None] = {}
        self.runs: dict[str, UUID] = {}
        self.tags: list[str] | None = None

    async def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        self.runs[kwargs["name"]], self.parents[kwargs["name"]] = run_id, parent_run_id

    async def on_tool_start(
        self, serialized: Any, input_str: str, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        self.runs[serialized["name"]], self.parents[serialized["name"]] = run_id, parent_run_id
        self.tags = kwargs["tags"]
        self.events.append(("start", (serialized["name"], kwargs["inputs"])))

    async def on_tool_end(self, output: Any, **kwargs: Any) -> None:
        self.events.append(("end", output))

    async def on_tool_error(self, error: BaseException, **kwargs: Any) -> None:
        self.events.append(("error", repr(error)))


def config(*handlers: BaseCallbackHandler) -> RunnableConfig:
    return {"callbacks": list(handlers), "tags": ["run-7"]}


async def double(arguments: dict[str, Any], config: RunnableConfig) -> int:
    value: int = (
        await RunnableLambda(lambda x: x * 2).with_config({"run_name": "inner"}).ainvoke(arguments["x"], config)
    )
    return value


async def fail(arguments: dict[str, Any], config: RunnableConfig) -> None:
    raise ToolCallError("no")


async def wait(arguments: dict[str, Any], config: RunnableConfig) -> None:
    arguments["began"].set()
    await asyncio.Event().wait()


async def test_arguments_and_value_are_seen_and_the_parent_is_right() -> None:
    seen = Recorder()
    call = traced("double", double)

    async def node(x: int, config: RunnableConfig) -> Any:
        return await call({"x": x}, config)

    node_run = RunnableLambda(node).with_config({"run_name": "node"})
    assert await node_run.ainvoke(21, config(seen)) == 42
    assert seen.events == [("start", ("double", {"x": 21})), ("end", 42)]
    assert seen.parents["double"] == seen.runs["node"]
    assert seen.parents["inner"] == seen.runs["double"]
    assert seen.tags == ["run-7"]


async def test_errors_and_cancellations_are_seen() -> None:
    seen = Recorder()
    with pytest.raises(ToolCallError):
        await traced("fail", fail)({}, config(seen))
    began = asyncio.Event()
    waiting: Callable[..., Awaitable[Any]] = traced("wait", wait)
    task = asyncio.ensure_future(waiting({"began": began}, config(seen)))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [event for event in seen.events if event[0] == "error"] == [
        ("error", "ToolCallError('no')"),
        ("error", "CancelledError()"),
    ]


async def test_langgraph_streams_mcp_calls(answers: Tools) -> None:
    class State(TypedDict):
        value: Any

    async def node(state: State, config: RunnableConfig) -> State:
        return {"value": await answers["json_array"].call({"n": 1}, config)}

    graph = StateGraph(State).add_node(node).add_edge(START, "node").compile()
    # langgraph's own annotations leave the mode "tools" out.
    stream = graph.astream({"value": None}, stream_mode="tools")  # type: ignore[call-overload]
    events = [event async for event in stream]
    assert [(event["event"], event.get("tool_name")) for event in events] == [
        ("tool-started", "json_array"),
        ("tool-finished", None),
    ]
    assert (events[0]["input"], events[1]["output"]) == ({"n": 1}, [1, 2])


async def test_mcp_calls_are_tool_runs(answers: Tools) -> None:
    seen = Recorder()
    await answers["wrapped"].call({"id": 4}, config(seen))
    assert seen.events == [("start", ("wrapped", {"id": 4})), ("end", [1, 2])]
