"""The served conversation: code mode as a node of a conversation."""

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from codemode_graph import ToolPolicy, create_codemode
from codemode_graph.server.conversation import compose
from tests.wire.server import Service

SENT: list[str] = []


async def send(to: str) -> str:
    """Send a letter."""
    SENT.append(to)
    return f"sent to {to}"


def conversation(service: Service, policies: dict[str, ToolPolicy] | None = None) -> Any:
    SENT.clear()
    model = ChatOpenAI(model="gpt-4.1", api_key=service.key, base_url=service.url)  # type: ignore[arg-type]
    inner = create_codemode(model=model, tools=[send], policies=policies, structured=False)
    return compose(inner.compile(), model, ["send"]).compile(checkpointer=InMemorySaver())


ROUTE, PROGRAM = '{"task": "Write to Ann."}', "```python\nawait tools.send('ann')\n```"


async def test_what_needs_tools_goes_to_code_mode_and_comes_back_as_an_answer() -> None:
    with Service(ROUTE, PROGRAM, "Ann has her letter.") as service:
        state = await conversation(service).ainvoke({"messages": [HumanMessage("write to ann")]}, thread())
        assert [message.text for message in state["messages"]] == ["write to ann", "Ann has her letter."]
        assert (state["output"], SENT) == ("sent to ann", ["ann"])
        assert "sent to ann" in str(service.requests[2].body)
        assert set(state) == {"messages", "task", "output", "error"}


async def test_what_needs_none_is_answered_at_once() -> None:
    with Service('{"task": ""}', "Hello!") as service:
        state = await conversation(service).ainvoke({"messages": [HumanMessage("hi")]}, thread())
        assert (state["messages"][-1].text, state["output"], SENT) == ("Hello!", None, [])


async def test_a_failure_is_told() -> None:
    with Service(
        ROUTE, "```python\n1 / 0\n```", "```python\n2 / 0\n```", "```python\n3 / 0\n```", "It failed."
    ) as service:
        state = await conversation(service).ainvoke({"messages": [HumanMessage("write to ann")]}, thread())
        assert state["messages"][-1].text == "It failed."
        assert "It failed: division by zero" in str(service.requests[-1].body)


async def test_an_approval_interrupts_the_conversation_and_each_turn_is_new() -> None:
    with Service(ROUTE, PROGRAM, "Done.") as service:
        graph, config = conversation(service, {"send": ToolPolicy(approval=True)}), thread()
        await graph.ainvoke({"messages": [HumanMessage("write to ann")]}, config)
        assert SENT == []
        state = await graph.ainvoke(Command(resume={"decisions": [{"type": "approve"}]}), config)
        assert (state["messages"][-1].text, SENT) == ("Done.", ["ann"])
        service.script(ROUTE, PROGRAM, "Again.")
        await graph.ainvoke({"messages": [HumanMessage("and again")]}, config)
        state = await graph.ainvoke(Command(resume={"decisions": [{"type": "reject"}]}), config)
        assert len(state["messages"]) == 4
        assert SENT == ["ann"]


async def test_nested_steps_are_streamed_and_a_step_can_be_changed_and_gone_on_from() -> None:
    with Service(ROUTE, PROGRAM, "Done.") as service:
        graph, config = conversation(service), thread()
        steps, tokens = [], []
        async for path, mode, chunk in graph.astream(
            {"messages": [HumanMessage("write to ann")]},
            config,
            stream_mode=["updates", "custom", "messages"],
            subgraphs=True,
        ):
            if mode == "updates":
                steps.append((len(path), *chunk))
            elif mode == "messages":
                tokens.append(chunk[1]["langgraph_node"])
            else:
                assert chunk["type"]
        assert [name for depth, name in steps if depth == 0] == ["route", "codemode", "answer"]
        assert [name for depth, name in steps if depth == 1] == ["generate", "check", "execute", "inspect_output"]
        assert {"generate", "answer"} <= set(tokens)
        history = [snapshot async for snapshot in graph.aget_state_history(config)]
        routed = next(snapshot for snapshot in history if snapshot.next == ("codemode",))
        fork = await graph.aupdate_state(routed.config, {"task": ""}, as_node="route")
        service.script("No letter then.")
        state = await graph.ainvoke(None, fork)
        assert (state["messages"][-1].text, SENT) == ("No letter then.", ["ann"])


def thread() -> RunnableConfig:
    return {"configurable": {"thread_id": "t"}}


@pytest.fixture(autouse=True)
def _no_letters() -> None:
    SENT.clear()
