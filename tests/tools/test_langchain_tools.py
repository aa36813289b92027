import datetime as dt
from typing import Annotated, Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import (
    BaseTool,
    InjectedToolArg,
    InjectedToolCallId,
    StructuredTool,
    Tool,
    ToolException,
    tool,
)
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import InjectedState, InjectedStore, ToolRuntime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command
from pydantic import BaseModel, Field
from pydantic.v1 import BaseModel as BaseModelV1
from typing_extensions import TypedDict

from codemode_graph.errors import ToolCallError, ToolLoadError
from codemode_graph.tools.artifacts import Artifact
from codemode_graph.tools.from_langchain import from_langchain


class State(TypedDict, total=False):
    task: str
    answer: Any


async def in_graph(lc_tool: BaseTool, arguments: dict[str, Any], store: BaseStore | None = None) -> Any:
    """Call a tool from a node of a graph whose state has the task "greet"."""
    spec = from_langchain(lc_tool)

    async def node(state: State, config: RunnableConfig) -> State:
        return {"answer": await spec.call(arguments, config)}

    graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile(store=store)
    return (await graph.ainvoke({"task": "greet"}))["answer"]


class Handler(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.events: list[Any] = []

    async def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
        self.events.append((serialized["name"], kwargs["inputs"], kwargs["parent_run_id"] is not None))

    async def on_tool_end(self, output: Any, **kwargs: Any) -> None:
        self.events.append(output)

    async def on_tool_error(self, error: BaseException, **kwargs: Any) -> None:
        self.events.append(type(error))


@tool
def add(a: int, b: int = 1) -> int:
    """Adds.

    Args:
        a: The one.
    """
    return a + b


@tool
async def later(when: str) -> dict[str, str]:
    """Says when."""
    return {"when": when}


class Greeter(BaseTool):
    name: str = "greet"
    description: str = "Greets."

    def _run(self, who: str, config: RunnableConfig, run_manager: Any = None) -> str:
        return f"hello {who}, {config['metadata'].get('mood', 'fine')}"


class Query(BaseModel):
    text: str = Field(description="What for.")
    page: int = 1


class QueryV1(BaseModelV1):
    text: str
    page: int = 1


def search(text: str, page: int = 1) -> list[str]:
    return [text] * page


JSON_SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}, "page": {}}, "required": ["text"]}


@pytest.mark.parametrize(
    ("lc_tool", "arguments", "value", "names"),
    [
        (add, {"a": "1"}, 2, ["a", "b"]),
        (later, {"when": "now"}, {"when": "now"}, ["when"]),
        (Greeter(), {"who": "Ann"}, "hello Ann, fine", ["who"]),
        (
            StructuredTool.from_function(search, description="s", args_schema=Query),
            {"text": "x"},
            ["x"],
            ["text", "page"],
        ),
        (
            StructuredTool.from_function(search, description="s", args_schema=QueryV1),
            {"text": "x"},
            ["x"],
            ["text", "page"],
        ),
        (
            StructuredTool.from_function(search, description="s", args_schema=JSON_SCHEMA),
            {"text": "x", "page": 2},
            ["x", "x"],
            ["text", "page"],
        ),
        (Tool("shout", str.upper, "Shouts."), {"tool_input": "x"}, "X", ["tool_input"]),
    ],
)
async def test_a_tool_is_called_with_validation_and_returns_its_raw_value(
    lc_tool: BaseTool, arguments: dict[str, Any], value: Any, names: list[str]
) -> None:
    spec = from_langchain(lc_tool)
    assert (spec.name, spec.source) == (lc_tool.name, "langchain")
    assert list(spec.input_schema["properties"]) == names
    assert await spec.call(arguments, {}) == value


def test_schemas_and_descriptions_come_from_the_tool() -> None:
    spec = from_langchain(add)
    assert spec.description.startswith("Adds.")
    assert spec.output_schema == {"type": "integer"}
    assert spec.input_schema["required"] == ["a"]
    assert spec.input_schema["properties"]["a"]["description"] == "The one."
    assert from_langchain(later).output_schema == {"type": "object", "additionalProperties": {"type": "string"}}


async def test_arguments_that_do_not_fit_are_a_short_error() -> None:
    with pytest.raises(ValueError, match=r"add\(\) got invalid arguments: a: .* \(got 'x'\)$") as caught:
        await from_langchain(add).call({"a": "x"}, {})
    assert "pydantic" not in str(caught.value)
    v1 = from_langchain(StructuredTool.from_function(search, description="s", args_schema=QueryV1))
    with pytest.raises(ValueError, match="page: value is not a valid integer"):
        await v1.call({"text": "x", "page": "y"}, {})


async def test_callbacks_see_a_child_run_with_the_arguments() -> None:
    handler = Handler()
    spec = from_langchain(add)

    async def parent(_: Any, config: RunnableConfig) -> Any:
        return await spec.call({"a": 1}, config)

    assert await RunnableLambda(parent).ainvoke({}, {"callbacks": [handler]}) == 2
    assert handler.events == [("add", {"a": 1}, True), 2]
    assert await from_langchain(Greeter()).call({"who": "Bo"}, {"metadata": {"mood": "glad"}}) == "hello Bo, glad"


@tool
async def all_injected(
    greeting: str,
    state: Annotated[dict[str, Any], InjectedState],
    task: Annotated[str, InjectedState("task")],
    store: Annotated[BaseStore, InjectedStore()],
    runtime: ToolRuntime,
    call_id: Annotated[str, InjectedToolCallId],
    config: RunnableConfig,
    secret: Annotated[str, InjectedToolArg] = "mine",
) -> dict[str, Any]:
    """Says what was injected."""
    item = await store.aget(("a",), "b")
    same = runtime.tool_call_id == call_id and runtime.state == state and runtime.store is store
    node = config["metadata"]["langgraph_node"]
    return {
        "greeting": greeting,
        "task": [state["task"], task],
        "item": item and item.value,
        "same": same,
        "at": [node, secret],
    }


async def test_what_langgraph_injects_is_hidden_and_arrives() -> None:
    store = InMemoryStore()
    await store.aput(("a",), "b", {"n": 1})
    assert list(from_langchain(all_injected).input_schema["properties"]) == ["greeting"]
    assert await in_graph(all_injected, {"greeting": "hi"}, store) == {
        "greeting": "hi",
        "task": ["greet", "greet"],
        "item": {"n": 1},
        "same": True,
        "at": ["node", "mine"],
    }


@pytest.mark.parametrize("name", ["state", "task", "store", "runtime", "call_id", "config", "secret"])
async def test_a_program_cannot_forge_what_is_injected(name: str) -> None:
    with pytest.raises(TypeError, match=f"unexpected argument '{name}'"):
        await from_langchain(all_injected).call({"greeting": "hi", name: "forged"}, {})


async def test_arguments_that_look_like_a_tool_call_are_arguments() -> None:
    async def run(secret: Annotated[str, InjectedToolArg] = "mine", **arguments: Any) -> list[Any]:
        return [secret, sorted(arguments)]

    schema = {"type": "object", "properties": {"type": {}, "id": {}, "args": {}}}
    odd = StructuredTool(name="odd", description="", args_schema=schema, coroutine=run)
    forged = {"type": "tool_call", "id": "1", "args": {"secret": "forged"}}
    assert await from_langchain(odd).call(forged, {}) == ["mine", ["args", "id", "type"]]


async def test_what_the_graph_does_not_have_is_an_error_that_says_so() -> None:
    with pytest.raises(ToolCallError, match="all_injected needs a store of the running graph"):
        await in_graph(all_injected, {"greeting": "hi"})

    @tool
    def of_state(user: Annotated[str, InjectedState("user")]) -> str:
        """Of the state."""
        return user

    with pytest.raises(ToolCallError, match="of_state needs 'user' in the state of the running graph"):
        await in_graph(of_state, {})
    with pytest.raises(ToolCallError, match="of the running graph, and there is none"):
        await from_langchain(of_state).call({}, {})


async def test_a_runtime_arrives_outside_of_a_graph_too() -> None:
    @tool
    def where(runtime: ToolRuntime) -> list[Any]:
        """Where."""
        runtime.stream_writer("note")
        return [runtime.state, runtime.store, runtime.context]

    assert await from_langchain(where).call({}, {}) == [{}, None, None]


async def test_an_injected_argument_that_only_its_author_knows_needs_a_default() -> None:
    @tool
    def of_user(user: Annotated[str, InjectedToolArg]) -> str:
        """Of a user."""
        return user

    with pytest.raises(ToolLoadError, match="of_user wants 'user' injected"):
        from_langchain(of_user)


def failing(**handlers: Any) -> StructuredTool:
    def fail(n: int) -> int:
        if n == 0:
            raise ToolException("nothing there")
        return n

    return StructuredTool.from_function(fail, name="fail", description="Fails.", **handlers)


@pytest.mark.parametrize(
    ("handlers", "n", "error", "message"),
    [
        ({}, 0, ToolException, "nothing there"),
        ({"handle_tool_error": True}, 0, ToolCallError, "nothing there"),
        ({"handle_tool_error": "Sorry."}, 0, ToolCallError, "Sorry."),
        (
            {"handle_tool_error": lambda e: [{"type": "text", "text": f"No: {e}"}]},
            0,
            ToolCallError,
            "No: nothing there",
        ),
        ({"handle_validation_error": True}, "x", ToolCallError, "Tool input validation error"),
    ],
)
async def test_a_failure_is_raised_however_the_tool_handles_it(
    handlers: dict[str, Any], n: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await from_langchain(failing(**handlers)).call({"n": n}, {})


async def test_a_tool_that_handles_its_errors_still_returns_its_raw_value() -> None:
    assert await from_langchain(failing(handle_tool_error=True)).call({"n": 3}, {}) == 3


TYPE_NAME = type(len).__name__


def structured(content: Any, artifact: Any) -> StructuredTool:
    async def run(**arguments: Any) -> tuple[Any, Any]:
        return content, artifact

    return StructuredTool(
        name="s", description="", args_schema=JSON_SCHEMA, coroutine=run, response_format="content_and_artifact"
    )


def text(value: str) -> dict[str, str]:
    return {"type": "text", "text": value, "id": "lc_1"}


@pytest.mark.parametrize(
    ("content", "artifact", "value"),
    [
        ([text("prose")], {"structured_content": {"a": 1}}, {"a": 1, "_content": ["prose"]}),
        ([text('{"a": 1}')], {"structured_content": {"a": 1}}, {"a": 1}),
        (
            [text("5"), {"type": "image", "base64": "aGk=", "mime_type": "image/png"}],
            {"structured_content": {"result": 5}},
            {"result": 5, "_content": [Artifact(b"hi", "image/png")]},
        ),
        ([text("5")], {"structured_content": {"result": 5}}, 5),
        (
            [text('{"a": 1}'), text('{"a": 2}')],
            {"structured_content": {"result": [{"a": 1}, {"a": 2}]}},
            [{"a": 1}, {"a": 2}],
        ),
        ([text('{"result": 5}')], {"structured_content": {"result": 5}}, {"result": 5}),
        ([text("prose")], None, "prose"),
        ([text("123")], None, "123"),
        ([text('{"a": 1}')], None, {"a": 1}),
        ([text("one"), text("two")], None, ["one", "two"]),
        ([text('{"a": 1}'), text('["b"]')], None, [{"a": 1}, ["b"]]),
        ([text("one"), {"type": "image", "id": "lc_2", "url": "x"}], None, ["one", {"type": "image", "url": "x"}]),
        ("[1, 2]", {"other": b"hi"}, {"content": [1, 2], "artifact": {"other": Artifact(b"hi")}}),
        ("see there", [dt.date(2026, 1, 2)], {"content": "see there", "artifact": ["2026-01-02"]}),
        ("see there", len, {"content": "see there", "artifact": Artifact(str(len).encode(), "text/plain", TYPE_NAME)}),
        (
            [{"type": "image_url", "image_url": {"url": "data:image/gif;base64,aGk="}}],
            None,
            Artifact(b"hi", "image/gif"),
        ),
        ("[broken", None, "[broken"),
        ([], None, None),
    ],
)
async def test_content_and_artifact_become_plain_values(content: Any, artifact: Any, value: Any) -> None:
    assert await from_langchain(structured(content, artifact)).call({"text": "x"}, {}) == value


async def test_a_message_that_a_tool_returns_is_read() -> None:
    @tool
    def message(kind: str, call_id: Annotated[str, InjectedToolCallId]) -> Any:
        """Answers with a message."""
        if kind == "artifact":
            return ToolMessage("see artifact", artifact=[1, 2], tool_call_id=call_id)
        if kind == "error":
            return ToolMessage("went wrong", status="error", tool_call_id=call_id)
        return {"kind": kind}

    spec = from_langchain(message)
    assert await spec.call({"kind": "artifact"}, {}) == [1, 2]
    assert await spec.call({"kind": "plain"}, {}) == {"kind": "plain"}
    with pytest.raises(ToolCallError, match="went wrong"):
        await spec.call({"kind": "error"}, {})


async def test_a_command_is_refused_in_words() -> None:
    @tool
    def move() -> Any:
        """Moves."""
        return Command(goto="there")

    with pytest.raises(ToolCallError, match="move returns a Command that goes to another node"):
        await from_langchain(move).call({}, {})


async def test_models_come_back_as_plain_data() -> None:
    @tool
    def query() -> Query:
        """Return one."""
        return Query(text="x")

    assert await from_langchain(query).call({}, {}) == {"text": "x", "page": 1}


async def test_arguments_called_like_langchains_own_reach_the_tool_or_are_refused() -> None:
    @tool
    def runs(runtime: str) -> str:
        """Runs."""
        return runtime

    class Configured(BaseTool):
        name: str = "configured"
        description: str = ""

        def _run(self, config: dict[str, Any]) -> dict[str, Any]:
            return config

    assert await from_langchain(runs).call({"runtime": "python"}, {}) == "python"
    assert await from_langchain(Configured()).call({"config": {"a": 1}}, {}) == {"a": 1}

    @tool
    def lost(config: dict[str, Any]) -> None:
        """LangChain overwrites it."""

    with pytest.raises(ToolLoadError, match="LangChain keeps the argument name 'config' for itself"):
        from_langchain(lost)

    @tool
    def partly(a: int, config: dict[str, Any] | None = None) -> int:
        """LangChain overwrites it."""
        return a

    assert list(from_langchain(partly).input_schema["properties"]) == ["a"]


async def test_an_mcp_adapters_hidden_runtime_argument_collides_in_words() -> None:
    async def run(runtime: Annotated[object | None, InjectedToolArg()] = None, **arguments: Any) -> Any:
        return arguments, None

    schema = {"type": "object", "properties": {"runtime": {"type": "string"}, "x": {}}}
    mcp = StructuredTool(
        name="m", description="", args_schema=schema, coroutine=run, response_format="content_and_artifact"
    )
    spec = from_langchain(mcp)
    assert list(spec.input_schema["properties"]) == ["x"]
    assert await spec.call({"x": 1}, {}) == {"x": 1}


@pytest.mark.parametrize(
    ("metadata", "effect"),
    [
        (None, "write"),
        ({"readOnlyHint": True}, "read"),
        ({"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True}, "destructive"),
        ({"idempotentHint": True, "destructiveHint": False}, "idempotent"),
        ({"readOnlyHint": "yes"}, "write"),
        ({"mcp": {"tool": {"annotations": {"read_only_hint": True}}}}, "read"),
        ({"mcp": "odd"}, "write"),
    ],
)
def test_mcp_annotations_give_the_effect(metadata: dict[str, Any] | None, effect: str) -> None:
    assert from_langchain(Greeter(metadata=metadata)).effect == effect
