"""Private names of other libraries: they still mean what they did, and nothing public has taken their place.

A test that fails on "public" says that the name in `codemode_graph.compat` can go.
"""

import ast
import asyncio
import dataclasses
import inspect
import sqlite3
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import aiosqlite
import anyio
import langchain.chat_models
import langgraph.constants
import pytest
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime, get_runtime
from langgraph.types import RetryPolicy, Send
from mcp import ClientSession
from mcp.shared.message import SessionMessage
from mcp.types import ErrorData, Tool
from pydantic import ValidationError
from typing_extensions import TypedDict

from codemode_graph.compat import (
    ERROR,
    Attempt,
    attempts_of,
    channels_of,
    chat_providers,
    functions_of,
    has_steps_left,
    is_saved_at_exit,
    module_of_thread,
    number_of_attempt,
    run_on_aiosqlite,
    state_of,
    step_of,
    with_narrow_read,
    with_state_of,
    with_subgraph_number,
)
from codemode_graph.mcp_sdk import (
    MAJOR,
    McpError,
    create_session,
    field,
    is_lost,
    next_request_id,
    parse_message,
)

PACKAGE = Path(__file__).parents[1] / "codemode_graph"


async def test_a_session_keeps_the_id_of_its_next_request() -> None:
    to_session, from_server = anyio.create_memory_object_stream[SessionMessage | Exception](1)
    to_server, from_session = anyio.create_memory_object_stream[SessionMessage](1)
    ids: list[Any] = []
    async with to_session, from_session, create_session(from_server, to_server) as session:
        for _ in range(2):
            expected = next_request_id(session)
            request = asyncio.ensure_future(session.send_ping())
            message: Any = (await from_session.receive()).message
            message = getattr(message, "root", message)  # mcp 2 has no wrapper around messages
            request.cancel()
            assert message.id == expected
            ids.append(message.id)
    assert ids[0] != ids[1]
    public = {name for name in dir(ClientSession) if not name.startswith("_")}
    assert not public & {"request_id", "next_request_id", "cancel", "cancel_request"}, "mcp has a public name"


def test_messages_are_read_by_the_names_of_the_protocol() -> None:
    tool = Tool.model_validate({"name": "a", "inputSchema": {"type": "object"}, "outputSchema": {"type": "array"}})
    assert field(tool, "inputSchema") == {"type": "object"}
    assert field(tool, "outputSchema") == {"type": "array"}
    message = parse_message('{"jsonrpc": "2.0", "id": 1, "result": {"a": null}}')
    assert getattr(message, "root", message).result == {"a": None}
    with pytest.raises(ValidationError):
        parse_message(b"[]")


@pytest.mark.parametrize(
    ("code", "text", "majors"),
    [
        (-32000, "Connection closed", {1, 2}),
        (-32700, "Failed to parse SSE message: no JSON", {2}),
        (-32000, "SSE stream ended without a response", {2}),
        (-32600, "Unexpected content type: text/html", {2}),
        (-32000, "Out of stock", set()),
        (-32602, "SSE is no parameter", set()),
    ],
)
def test_an_error_that_the_sdk_makes_is_no_answer_of_the_server(code: int, text: str, majors: set[int]) -> None:
    # Taken for an answer, it would say that the call had no effect.
    class Error(McpError):
        def __init__(self) -> None:
            self.error = ErrorData(code=code, message=text)

    assert is_lost(Error()) is (MAJOR in majors)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_one_module_knows_the_major_version_of_mcp(path: Path) -> None:
    names = {name for node in ast.walk(ast.parse(path.read_text())) for name in _names_of(node)}
    differ = {
        "mcp_types",
        "httpx",
        "httpx2",
        "MAJOR",
        "mcp.server.fastmcp",
        "mcp.server.mcpserver",
        "langchain_mcp_adapters",
    }
    assert path.name == "mcp_sdk.py" or not names & differ - ({"httpx"} if "codemode_graph.mcp_sdk" in names else set())


def _names_of(node: ast.AST) -> list[str]:
    """Return the modules and names that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "", (node.module or "").split(".")[0], *(alias.name for alias in node.names)]
    return []


async def test_a_node_finds_the_channels_of_its_graph_in_its_config() -> None:
    found: dict[str, Any] = {}

    def node(state: MessagesState, config: RunnableConfig) -> None:
        found.update(channels_of(config))

    await StateGraph(MessagesState).add_node("node", node).add_edge(START, "node").compile().ainvoke({"messages": []})
    assert "messages" in found
    assert channels_of({}) == {}
    assert not {"channels", "graph"} & set(dir(Runtime)), "LangGraph's Runtime has a public name"


async def test_a_node_knows_whether_its_graph_is_saved_at_its_end_alone() -> None:
    found: list[bool] = []

    async def look(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        found.append(is_saved_at_exit(config))
        return {}

    app = StateGraph(MessagesState).add_node(look).add_edge(START, "look").compile(checkpointer=InMemorySaver())
    for durability in ("sync", "async", "exit"):
        await app.ainvoke({"messages": []}, {"configurable": {"thread_id": durability}}, durability=durability)
    assert found == [False, False, True]
    assert not [name for name in dir(Runtime) if "durab" in name.lower()], "langgraph has a public name"


async def test_the_id_of_a_checkpoint_has_the_number_of_its_step() -> None:
    app = StateGraph(MessagesState).add_node("a", lambda state: {}).add_node("b", lambda state: {})
    app.add_edge(START, "a").add_edge("a", "b")
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    graph = app.compile(checkpointer=InMemorySaver())
    await graph.ainvoke({"messages": []}, config)
    found = [each async for each in graph.aget_state_history(config)]
    steps = {(each.metadata or {})["step"]: step_of(each.config["configurable"]["checkpoint_id"]) for each in found}
    assert steps == {-1: -1, 0: 0, 1: 1, 2: 2}


@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("edge", ["plain", "send", "join"])
async def test_a_checkpoint_tells_whether_its_graph_has_steps_left(edge: str, deferred: bool) -> None:
    class State(TypedDict, total=False):
        names: list[str]

    def scatter(state: State) -> list[Send]:
        return [Send("last", state)]

    graph = StateGraph(State).add_node("last", lambda state: {"names": ["a"]}, defer=deferred)
    # Two ways of different lengths: the join has one of its nodes alone for a step, and a plus sign is in a name.
    for name in ("first", "a+b", "c"):
        graph.add_node(name, lambda state: {})
    graph.add_edge(START, "first").add_edge(START, "a+b").add_edge("a+b", "c")
    if edge == "join":
        graph.add_edge(["first", "c"], "last")
    elif edge == "send":
        graph.add_conditional_edges("first", scatter, ["last"])
    else:
        graph.add_edge("first", "last")
    saver = InMemorySaver()
    app = graph.compile(checkpointer=saver)
    config: RunnableConfig = {"configurable": {"thread_id": "1"}}
    await app.ainvoke({"names": []}, config)
    saved = {each.config["configurable"]["checkpoint_id"]: each.checkpoint for each in saver.list(config)}
    async for each in app.aget_state_history(config):
        assert has_steps_left(saved[each.config["configurable"]["checkpoint_id"]]) is bool(each.tasks)


async def test_a_node_reads_the_state_of_another_graph_with_what_was_written_to_it() -> None:
    class State(MessagesState):
        name: str

    sent: list[tuple[str, Any]] = []
    found: list[Any] = []

    def node(state: State, config: RunnableConfig) -> None:
        own = with_state_of({"configurable": {"other": 1}}, config, [("name", "a"), ("name", "b")], sent.extend)
        found.append(state_of(own, "name"))
        own["configurable"]["__pregel_send"]([("name", "c")])
        found.extend([state_of(own, "name"), state_of(config, "name"), own["configurable"]["other"]])

    graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile()
    await graph.ainvoke({"messages": [], "name": "of the graph"})
    assert found == ["b", "c", "of the graph", 1]
    assert sent == [("name", "c")]
    assert state_of({}, "name") is None
    assert with_state_of({}, {}, [], sent.extend) == {}
    assert not {"state", "read"} & set(dir(Runtime)), "LangGraph's Runtime has a public name"


async def test_a_route_reads_what_its_node_wrote_and_else_what_the_state_has() -> None:
    class State(MessagesState):
        name: str
        other: str

    seen: list[dict[str, Any]] = []

    def route(state: dict[str, Any]) -> str:
        seen.append(state)
        return "__end__"

    graph = StateGraph(State).add_node("first", lambda _: {"name": "new"}).add_edge(START, "first")
    graph.add_conditional_edges("first", route, ["first", "__end__"])
    branch = graph.branches["first"]["route"]
    graph.branches["first"]["route"] = with_narrow_read(branch, ["name", "messages"])
    compiled = graph.compile(InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": "1"}}
    await compiled.ainvoke({"messages": [], "name": "old", "other": "x"}, config)
    await compiled.aupdate_state(config, {"name": "of a person"}, as_node="first")
    assert [each["name"] for each in seen] == ["new", "of a person"]
    assert all(each["messages"] == [] and "other" not in each for each in seen)
    narrow = set(inspect.signature(StateGraph.add_conditional_edges).parameters) & {"reads", "input_schema", "keys"}
    assert not narrow, "LangGraph lets a route say what it reads"


async def _namespaces(order: list[str], *, numbered: bool) -> dict[str, str]:
    """Start a subgraph for each name in this order within one node; return the namespace of each one's checkpoints."""
    found: dict[str, str] = {}

    def inner(state: MessagesState, config: RunnableConfig) -> None:
        found[config["metadata"]["name"]] = config["configurable"]["checkpoint_ns"]

    subgraph = StateGraph(MessagesState).add_node("inner", inner).add_edge(START, "inner").compile()

    async def outer(state: MessagesState, config: RunnableConfig) -> None:
        for name in order:
            own = with_subgraph_number(config, ord(name)) if numbered else config
            await subgraph.ainvoke({"messages": []}, {**own, "metadata": {"name": name}})

    graph = StateGraph(MessagesState).add_node("outer", outer).add_edge(START, "outer")
    await graph.compile(InMemorySaver()).ainvoke({"messages": []}, {"configurable": {"thread_id": "1"}})
    return {name: "|".join(space.split("|")[1:-1]) for name, space in found.items()}


async def test_a_subgraph_keeps_its_number_in_any_order() -> None:
    assert await _namespaces(["a", "b"], numbered=True) == {"a": "97", "b": "98"}
    assert await _namespaces(["b", "a"], numbered=True) == {"a": "97", "b": "98"}
    assert await _namespaces(["a", "b"], numbered=False) == {"a": "", "b": "1"}, "LangGraph does not count by order"
    assert await _namespaces(["b", "a"], numbered=False) == {"b": "", "a": "1"}, "LangGraph does not count by order"
    assert with_subgraph_number({"tags": ["x"]}, 5) == {"tags": ["x"]}


@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize("passes", [False, True])
async def test_a_graph_has_its_number_in_the_next_attempt_of_its_node(passes: bool, counts: bool) -> None:
    found: list[tuple[str, str]] = []

    async def inner(state: MessagesState, config: RunnableConfig) -> None:
        space = config["configurable"]["checkpoint_ns"].split("|")
        found.append((config["metadata"]["name"], "|".join(space[1:-1])))

    subgraph = StateGraph(MessagesState).add_node("inner", inner).add_edge(START, "inner").compile()
    attempts = [["a", "other", "b"], ["b", "b", "a"]]

    async def outer(state: MessagesState, config: RunnableConfig) -> None:
        for name in (names := attempts.pop(0)):
            own: Any = config if passes else None
            with number_of_attempt(own, name) if counts and name != "other" else nullcontext(own) as numbered:
                named: Any = {**(numbered or {}), "metadata": {"name": name}}
                await subgraph.ainvoke({"messages": []}, named)
        if "other" in names:
            raise RuntimeError("again")

    retries = RetryPolicy(initial_interval=0.01, retry_on=RuntimeError)
    graph = StateGraph(MessagesState).add_node("outer", outer, retry_policy=retries).add_edge(START, "outer")
    await graph.compile(InMemorySaver()).ainvoke({"messages": []}, {"configurable": {"thread_id": "1"}})
    first = [("a", ""), ("other", "1"), ("b", "2")]
    # Those that have ended are found by their numbers, and do not run again. A second equal call is another one.
    again = [("b", "3")] if counts else [("b", "3"), ("b", "4"), ("a", "5")]
    assert found == first + again, "LangGraph counts graphs anew in each attempt"
    # A graph with a thread of its own is no part of the node's, and outside of a node there is none.
    apart: RunnableConfig = {"configurable": {"thread_id": "2"}}
    with number_of_attempt(apart, "a") as same, number_of_attempt(None, "a") as none:
        assert (same, none) == (apart, None)


async def test_a_graph_in_a_graph_knows_the_attempt_of_the_node_that_calls_it() -> None:
    found: list[dict[str, Attempt]] = []

    async def innermost(state: MessagesState, config: RunnableConfig) -> None:
        found.append(attempts_of(config))
        info = get_runtime().execution_info
        public = {field.name for field in dataclasses.fields(info)} if info is not None else set()
        assert public == {
            *("checkpoint_id", "checkpoint_ns", "task_id", "thread_id", "run_id"),
            *("node_attempt", "node_first_attempt_time"),
        }, "public"

    async def fails(state: MessagesState, config: RunnableConfig) -> None:
        if len(found) < 3:
            raise RuntimeError("again")

    retries = RetryPolicy(initial_interval=0.01, retry_on=RuntimeError)
    graph: Any = StateGraph(MessagesState).add_node("innermost", innermost).add_edge(START, "innermost").compile()
    middle = StateGraph(MessagesState).add_node("inner", graph).add_node("fails", fails)
    graph = middle.add_edge(START, "inner").add_edge("inner", "fails").compile()
    graph = (
        StateGraph(MessagesState).add_node("middle", graph, retry_policy=retries).add_edge(START, "middle").compile()
    )
    await graph.ainvoke({"messages": []})
    # By the namespace: "middle:ID" and "middle:ID|inner:ID", and in later attempts "middle:ID|1".
    outer = [next(attempt for space, attempt in each.items() if "inner" not in space) for each in found]
    assert [attempt.number for attempt in outer] == [1, 2, 3]
    assert len({id(attempt.task) for attempt in outer}) == 1
    assert len({id(attempt.mark) for attempt in outer}) == 3
    assert [len(each) for each in found] == [2, 2, 2]
    assert attempts_of({}) == {}


async def test_a_checkpoint_tells_a_graph_that_has_failed() -> None:
    async def fails(state: MessagesState) -> None:
        raise RuntimeError("it failed")

    saver, config = InMemorySaver(), RunnableConfig(configurable={"thread_id": "1"})
    graph = StateGraph(MessagesState).add_node("fails", fails).add_edge(START, "fails").compile(saver)
    with pytest.raises(RuntimeError, match="it failed"):
        await graph.ainvoke({"messages": []}, config)
    found = await saver.aget_tuple(config)
    assert found is not None
    assert [channel for _, channel, _ in found.pending_writes or ()] == [ERROR]
    assert "ERROR" not in langgraph.constants.__all__, "public"


def test_a_tool_is_run_by_methods_that_a_subclass_overrides() -> None:
    class Double(BaseTool):
        name: str = "double"
        description: str = "Twice a number."

        def _run(self, number: int) -> int:
            return number * 2

    run, _ = functions_of(Double())
    assert run(4) == 8
    assert not {"run_function", "implementation"} & set(dir(BaseTool)), "LangChain has a public name"


def test_a_thread_knows_the_module_of_its_function() -> None:
    release = threading.Event()

    def wait() -> None:
        release.wait()

    thread = threading.Thread(target=wait)
    thread.start()
    assert module_of_thread(thread) == __name__
    release.set()
    thread.join()
    assert module_of_thread(thread) == ""
    assert "target" not in dir(threading.Thread), "Python has a public name"


async def test_a_function_runs_on_the_connection_of_aiosqlite() -> None:
    async with aiosqlite.connect(":memory:") as connection:
        assert run_on_aiosqlite(connection, lambda inner: inner.execute("SELECT 1").fetchone()) == (1,)
        with pytest.raises(sqlite3.Error, match="nowhere"):
            run_on_aiosqlite(connection, lambda inner: inner.execute("SELECT 1 FROM nowhere"))
    with pytest.raises(ValueError, match="it is not open"):
        run_on_aiosqlite(connection, str)
    public = {name for name, _ in inspect.getmembers(aiosqlite.Connection) if not name.startswith("_")}
    assert not public & {"database", "path", "filename", "connection", "run_sync"}, "aiosqlite has a public name"


def _private_names(path: Path) -> list[str]:
    """Return the private modules, names and attributes of other libraries that a file uses."""
    found = []
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith(("codemode", "_", "__")):
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
            found += [f"{node.module}: {name}" for name in names if name.startswith("_") and name != "__future__"]
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if "._" in alias.name]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("__pregel"):
            found.append(node.value)
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_compat_uses_private_names_of_libraries(path: Path) -> None:
    assert path.name == "compat.py" or not _private_names(path)


def test_langchain_lists_its_providers_in_a_private_name_alone() -> None:
    providers = chat_providers()
    assert providers["openai"] == ("langchain_openai", "langchain-openai")
    assert providers["anthropic"] == ("langchain_anthropic", "langchain-anthropic")
    public = [name for name in vars(langchain.chat_models) if not name.startswith("_") and name != "base"]
    assert sorted(public) == ["BaseChatModel", "init_chat_model"]
