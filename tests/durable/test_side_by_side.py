"""Many runs at one time, in threads and in tasks, and runs within other graphs: each has its own records."""

import asyncio
import operator
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import pytest
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, Interrupt
from typing_extensions import TypedDict

from codemode_graph import ToolPolicy, codemode, create_codemode
from codemode_graph.tools import tool
from tests.support import scripted

MANY = 10


class Office:
    """Tools whose effects are counted by the run that made them. All runs of a round are in a call at one time."""

    def __init__(self) -> None:
        self.paid: list[tuple[str, int]] = []
        self.lock = threading.Lock()

    @property
    def tools(self) -> list[Any]:
        @tool(effect="read")
        async def look(who: str, n: int) -> str:
            """Look."""
            await asyncio.sleep(0.001 * n)
            return f"{who} {n}"

        async def pay(who: str, n: int) -> str:
            """Pay."""
            await asyncio.sleep(0.001)
            with self.lock:
                self.paid.append((who, n))
            return f"{who} paid {n}"

        return [look, pay]


def program(who: str, calls: int) -> str:
    """Look and pay `calls` times, side by side, with the same numbers as every other run."""
    return (
        "import asyncio\n"
        f"async def one(n):\n    seen = await tools.look('{who}', n)\n    return [seen, await tools.pay('{who}', n)]\n"
        f"await asyncio.gather(*[one(n) for n in range({calls})])"
    )


def output(who: str, calls: int) -> list[list[str]]:
    return [[f"{who} {n}", f"{who} paid {n}"] for n in range(calls)]


def approval(interrupt: Interrupt) -> Command[Any]:
    return Command(resume={"decisions": [{"type": "approve"}] * len(interrupt.value["action_requests"])})


def owners(tool_calls: list[Any]) -> set[str]:
    return {call["arguments"]["who"] for call in tool_calls}


def test_ten_threads_on_one_graph_keep_their_records_apart() -> None:
    office = Office()
    graph = create_codemode(
        model=None, tools=office.tools, policies={"pay": ToolPolicy(approval=lambda given: given["n"] % 2 == 1)}
    )
    app = graph.compile(checkpointer=InMemorySaver(), store=InMemoryStore())
    together = threading.Barrier(MANY)

    def run(number: int) -> Any:
        who, calls = f"run {number}", 2 + number % 3
        config: RunnableConfig = {"configurable": {"thread_id": who}}
        together.wait()
        given: Any = {"task": who, "code": program(who, calls)}
        while given is not None:
            state = app.invoke(given, config)
            asked = app.get_state(config).interrupts
            assert {action["args"]["who"] for each in asked for action in each.value["action_requests"]} <= {who}
            given = approval(asked[0]) if asked else None
        return state

    with ThreadPoolExecutor(MANY) as pool:
        states = list(pool.map(run, range(MANY)))
    for number, state in enumerate(states):
        who, calls = f"run {number}", 2 + number % 3
        assert state["output"] == output(who, calls)
        assert owners(state["tool_calls"]) == {who}
        assert len(state["tool_calls"]) == 2 * calls
    assert sorted(office.paid) == sorted((f"run {i}", n) for i in range(MANY) for n in range(2 + i % 3))


async def test_ten_tasks_of_a_batch_keep_their_records_apart() -> None:
    office = Office()

    def write(messages: list[BaseMessage] | Any) -> str:
        who = messages[-1].text.strip().splitlines()[-1]
        return f"```python\n{program(who, 3)}\n```"

    async with codemode(tools=office.tools, code_model=scripted(write)) as runner:
        results = await runner.batch_run([f"run {number}" for number in range(MANY)])
    for number, result in enumerate(results):
        assert result["error"] is None
        assert result["output"] == output(f"run {number}", 3)
        assert owners(result["tool_calls"]) == {f"run {number}"}
    assert len(office.paid) == len(set(office.paid)) == 3 * MANY


class Outer(TypedDict, total=False):
    task: str
    code: str
    output: Any
    tool_calls: list[Any]
    log: Annotated[list[str], operator.add]


class Alone(TypedDict, total=False):
    names: list[str]
    outputs: Annotated[list[Any], operator.add]


def outer(office: Office, **how: Any) -> Any:
    async def before(state: Outer) -> Outer:
        return {"log": ["before"]}

    async def after(state: Outer) -> Outer:
        return {"log": ["after"]}

    inner = create_codemode(model=None, tools=office.tools, policies={"pay": ToolPolicy(approval=True)}).compile(**how)
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(Outer)
    graph.add_node(before).add_node("codemode", inner).add_node(after)
    graph.add_edge(START, "before").add_edge("before", "codemode").add_edge("codemode", "after")
    return graph.compile(checkpointer=InMemorySaver())


@pytest.mark.parametrize("how", [{}, {"checkpointer": True}], ids=["fresh", "its own"])
async def test_a_run_within_a_graph_is_interrupted_and_resumed_through_it(how: dict[str, Any]) -> None:
    office = Office()
    app = outer(office, **how)
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    for number, who in enumerate(("first", "second"), 1):
        state = await app.ainvoke({"task": who, "code": program(who, 2)}, config)
        for _ in range(2):
            snapshot = await app.aget_state(config, subgraphs=True)
            (interrupt,) = snapshot.interrupts
            (waiting,) = snapshot.tasks
            assert [call["tool"] for call in waiting.state.values["pending"]] == ["pay"]
            state = await app.ainvoke(approval(interrupt), config)
        assert state["output"] == output(who, 2)
        assert owners(state["tool_calls"]) == {who}
        assert state["log"] == ["before", "after"] * number
    assert sorted(office.paid) == [("first", 0), ("first", 1), ("second", 0), ("second", 1)]


async def test_a_node_that_calls_code_mode_is_resumed_into_its_run() -> None:
    """LangGraph starts the calling node again; the run within goes on where it waits."""
    office = Office()
    app = create_codemode(model=None, tools=office.tools, policies={"pay": ToolPolicy(approval=True)}).compile()

    async def node(state: Alone) -> Alone:
        results = [await app.ainvoke({"task": who, "code": program(who, 1)}) for who in state["names"]]
        return {"outputs": [result["output"] for result in results]}

    graph: Any = StateGraph(Alone).add_node(node).add_edge(START, "node").compile(checkpointer=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    state = await graph.ainvoke({"names": ["ann"], "outputs": []}, config)
    assert len(state["__interrupt__"]) == 1
    state = await graph.ainvoke(Command(resume={"decisions": [{"type": "approve"}]}), config)
    assert state["outputs"] == [output("ann", 1)]
    assert office.paid == [("ann", 0)]


@pytest.mark.parametrize("durability", ["sync", "exit"])
async def test_the_second_of_two_answers_gets_the_end_that_the_first_got(durability: Any) -> None:
    """The program undoes what it did before it fails: an executor that began it anew would do all of it again."""
    done: list[str] = []

    async def reserve(seat: str) -> str:
        """Reserve."""
        done.append("reserve")
        return seat

    @tool(undoes="reserve")
    async def cancel(seat: str) -> str:
        """Cancel."""
        done.append("cancel")
        return seat

    async def pay(seat: str) -> str:
        """Pay."""
        done.append("pay")
        raise ValueError("the card is refused")

    code = (
        "await tools.reserve('7a')\ntry:\n    await tools.pay('7a')\nexcept ValueError:\n"
        "    await tools.cancel('7a')\n    raise"
    )
    graph = create_codemode(model=None, tools=[reserve, cancel, pay], policies={"pay": ToolPolicy(approval=True)})
    app = graph.compile(checkpointer=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": "one"}}
    state = await app.ainvoke({"task": "", "code": code}, config, durability=durability)
    answer = approval(state["__interrupt__"][0])
    states = await asyncio.gather(*(app.ainvoke(answer, config, durability=durability) for _ in range(3)))
    assert {str(state["error"]["message"]) for state in states} == {"the card is refused"}
    assert done == ["reserve", "pay", "cancel"]


FORK = """
import os, sys
from codemode_graph import codemode
from codemode_graph.sync import wait_for

def pay(name: str) -> str:
    "Pay a person."
    return name

cm = codemode(tools=[pay])

def run(name: str) -> None:
    try:
        print(wait_for(cm.run_code(f"await tools.pay(name='{name}')"))["output"], flush=True)
    except Exception as error:
        print(error, flush=True)

if "used" in sys.argv:
    run("Ann")
if "asked" in sys.argv:
    cm.sandbox.capabilities  # finding out what Monty offers uses it, too
if not os.fork():
    run("Bob")
    os._exit(0)
os.wait()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("fresh", "Bob\n"),
        ("used", "this process is a fork of one that has used it"),
        ("asked", "this process is a fork of one that has used it"),
    ],
)
def test_a_fork_runs_programs_or_says_why_not(way: str, said: str) -> None:
    shown = subprocess.run([sys.executable, "-c", FORK, way], capture_output=True, text=True, timeout=60, check=True)

    assert said in shown.stdout
