"""Tools that return a `Command`: the program gets a value, the graph around gets the update, once."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import InjectedToolCallId
from langchain_core.tools import tool as langchain_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from codemode_graph import ToolPolicy, create_codemode
from codemode_graph.updates import ApplyUpdates
from tests.support import scripted

CONFIG: RunnableConfig = {"configurable": {"thread_id": "t"}}
made: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    made.clear()


@dataclass
class Note:
    text: str


@langchain_tool
async def remember(fact: str, id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
    """Remember a fact."""
    made.append(fact)
    messages = [HumanMessage(fact, id=fact), ToolMessage('{"kept": true}', tool_call_id=id)]
    return Command(update={"messages": messages, "facts": [fact], "latest": fact})


def plain(fact: str) -> Command[Any]:
    """Remember a fact, as a plain function, and say nothing."""
    made.append(fact)
    return Command(update={"facts": [Note(fact)]})


@langchain_tool
def several(fact: str) -> Any:
    """Return a list of Commands."""
    return [
        Command(update={"facts": [fact]}, graph=Command.PARENT),
        Command(update=[("facts", ["again"]), ("messages", [RemoveMessage(id="x")])]),
        ToolMessage("two", tool_call_id="1"),
    ]


def gone(fact: str) -> Any:
    """Go elsewhere."""
    made.append(fact)
    return Command(update={"facts": [fact]}, goto="there")


def failed(fact: str) -> Any:
    """Report an error."""
    made.append(fact)
    return Command(update={"messages": [ToolMessage("no luck", tool_call_id="", status="error")], "facts": [fact]})


def unfit(fact: str) -> Any:
    """Update with what is no data."""
    made.append(fact)
    return Command(update={"facts": [object()]})


TOOLS = [remember, plain, several, gone, failed, unfit]


class Parent(MessagesState):
    task: str
    code: str
    output: Any
    facts: Annotated[list[Any], operator.add]
    latest: str
    updates: list[Any]


def parent(policies: dict[str, ToolPolicy] | None = None, **how: Any) -> Any:
    graph = StateGraph(Parent)
    graph.add_node("codemode", create_codemode(model=None, tools=TOOLS, policies=policies).compile())
    graph.add_node("update", ApplyUpdates(Parent))
    graph.add_edge(START, "codemode").add_edge("codemode", "update")
    return graph.compile(**how)


async def run(program: str, *more: str) -> Any:
    return await create_codemode(model=scripted(program, *more), tools=TOOLS).compile().ainvoke({"task": ""})


@pytest.mark.parametrize(
    ("call", "value", "updates"),
    [
        (
            "remember('a')",
            {"kept": True},
            [{"messages": [HumanMessage("a", id="a")], "facts": ["a"], "latest": "a"}],
        ),
        ("plain('a')", None, [{"facts": [{"text": "a"}]}]),
        ("several('a')", "two", [{"facts": ["a"]}, {"facts": ["again"], "messages": [RemoveMessage(id="x")]}]),
    ],
)
async def test_the_program_gets_the_message_and_the_rest_is_kept(call: str, value: Any, updates: list[Any]) -> None:
    state = (
        await create_codemode(model=None, tools=TOOLS).compile().ainvoke({"task": "", "code": f"await tools.{call}"})
    )
    assert (state["error"], state["output"]) == (None, value)
    command = ApplyUpdates(Parent)(state)
    assert command.update == [(key, item) for update in updates for key, item in update.items()]
    assert {(each["call"], each["tool"]) for each in state["updates"]} == {("1.1", call.partition("(")[0])}


async def test_a_graph_around_gets_every_update_once() -> None:
    app = parent({"remember": ToolPolicy(approval=True)}, checkpointer=InMemorySaver(), store=InMemoryStore())
    program = "await tools.plain('p')\nfor fact in 'ab':\n    await tools.remember(fact)\nawait tools.plain('q')"
    begun = {"task": "", "code": program, "facts": ["old"], "messages": [AIMessage("hi", id="0")]}
    await app.ainvoke(begun, CONFIG)
    for _ in range(2):
        state = await app.ainvoke(Command(resume={"decisions": [{"type": "approve"}]}), CONFIG)
    assert state["facts"] == ["old", {"text": "p"}, "a", "b", {"text": "q"}]
    assert state["latest"] == "b"
    assert state["messages"] == [AIMessage("hi", id="0"), HumanMessage("a", id="a"), HumanMessage("b", id="b")]
    assert made == ["p", "a", "b", "q"]
    # The next run of the thread updates with what its own tools said.
    state = await app.ainvoke({"task": "", "code": "await tools.plain('r')"}, CONFIG)
    assert [fact for fact in state["facts"] if fact == {"text": "p"}] == [{"text": "p"}]
    assert state["facts"][-1] == {"text": "r"}


async def test_a_node_that_calls_code_mode_itself_can_return_the_updates() -> None:
    app = create_codemode(model=None, tools=TOOLS).compile()

    async def node(state: Parent) -> Any:
        return ApplyUpdates(Parent)(await app.ainvoke({"task": "", "code": "await tools.remember('a')"}))

    outer: Any = StateGraph(Parent).add_node(node).add_edge(START, "node").compile()
    state = await outer.ainvoke({"facts": [], "messages": []})
    assert (state["facts"], state["latest"], len(state["messages"])) == (["a"], "a", 1)


async def test_a_repaired_program_does_not_update_again() -> None:
    state = await run("await tools.remember('a')\n{}['x']", "x = await tools.remember('a')\nx")
    assert state["output"] == {"kept": True}
    assert [each["update"]["facts"] for each in state["updates"]] == [["a"]]
    assert made == ["a"]


async def test_a_run_that_fails_gives_the_updates_that_were_made() -> None:
    app = create_codemode(model=None, tools=TOOLS).compile()
    state = await app.ainvoke({"task": "", "code": "await tools.remember('a')\n1 / 0"})
    assert state["error"]["type"] == "ZeroDivisionError"
    assert [each["update"]["facts"] for each in state["updates"]] == [["a"]]


@pytest.mark.parametrize(
    ("tool", "told", "status"),
    [
        ("gone", "a Command that goes to another node: a program can use only its update", "done"),
        ("unfit", "returned no usable value: an object of type 'object' is not JSON", "done"),
        ("failed", "no luck", "failed"),
    ],
)
async def test_what_a_program_cannot_follow_is_an_error_and_updates_nothing(tool: str, told: str, status: str) -> None:
    app = create_codemode(model=None, tools=TOOLS).compile()
    state = await app.ainvoke({"task": "", "code": f"await tools.{tool}('a')"})
    assert told in state["error"]["message"]
    assert (state["tool_calls"][0]["status"], state["updates"]) == (status, [])


async def test_a_tool_that_did_its_work_is_not_called_again_for_a_command_that_is_of_no_use() -> None:
    state = await run(
        "await tools.gone('a')", "try:\n    await tools.gone('a')\nexcept RuntimeError as e:\n    x = str(e)\nx"
    )
    assert "goes to another node" in state["output"]
    assert made == ["a"]


def test_what_the_graph_around_has_no_key_for_is_left_out() -> None:
    class Small(MessagesState):
        updates: list[Any]

    updates = [{"call": "1.1", "tool": "x", "update": {"facts": [1], "messages": []}}]
    given: Mapping[str, Any] = {"updates": updates}
    assert ApplyUpdates(Small)(given).update == [("messages", [])]
