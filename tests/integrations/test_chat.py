"""Code mode as a participant of a conversation: alone, under a supervisor, in a swarm."""

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from langgraph_supervisor import create_supervisor
from langgraph_swarm import create_handoff_tool, create_swarm

from codemode_graph import CodeModeMiddleware, ConfigurationError, ToolPolicy, create_codemode_chat
from codemode_graph.integrations.chat import task_of
from tests.integrations.agents import Shop, agent_model, calling
from tests.support import scripted


def thread(name: str = "1") -> Any:
    return {"configurable": {"thread_id": name}}


def chat(shop: Shop, *programs: str, **options: Any) -> Any:
    graph = create_codemode_chat(model=scripted(*programs), tools=shop.tools, name="books", **options)
    return graph.compile(name="books", checkpointer=InMemorySaver())


async def test_messages_go_in_and_a_message_comes_out() -> None:
    model = scripted("f\"Ann is owed {await tools.owed('ann')}.\"", "[await tools.owed('ann')]")
    app: Any = create_codemode_chat(model=model, tools=Shop().tools, name="books").compile(checkpointer=InMemorySaver())
    state = await app.ainvoke({"messages": [("user", "What is Ann owed?")]}, thread())
    assert set(state) == {"messages"}
    reply = state["messages"][-1]
    assert (reply.type, reply.name, reply.text) == ("ai", "books", "Ann is owed 5.")
    assert reply.usage_metadata["total_tokens"] > 0
    state = await app.ainvoke({"messages": [("user", "As a list.")]}, thread())
    assert [message.text for message in state["messages"]][2:] == ["As a list.", "[5]"]
    for schema in (app.get_input_jsonschema(), app.get_output_jsonschema()):
        assert list(schema["properties"]) == ["messages"]
    asked = str(model.asked[-1])
    assert "As a list." in asked
    assert "Ann is owed 5." in asked


def test_it_works_synchronously() -> None:
    app: Any = chat(Shop(), "str(await tools.owed('bob'))")
    assert app.invoke({"messages": [("user", "Bob?")]}, thread())["messages"][-1].text == "7"


def test_the_task_is_what_a_person_said_last() -> None:
    call = AIMessage("", tool_calls=[{"name": "transfer_to_books", "args": {}, "id": "1"}])
    moved = [HumanMessage("Pay Ann."), call, ToolMessage("transferred", tool_call_id="1")]
    assert task_of(moved) == "Pay Ann."
    blocks = HumanMessage([{"type": "text", "text": "Pay Bob."}])
    task = task_of([*moved, AIMessage("She has it.", name="clerk"), blocks])
    assert task == "Pay Bob.\n\nWhat else was said in the conversation:\nuser: Pay Ann.\nclerk: She has it."
    assert (
        task_of([*moved, blocks, blocks, blocks])
        == "Pay Bob.\n\nWhat else was said in the conversation:\nuser: Pay Ann."
    )
    with pytest.raises(ConfigurationError, match="no message to answer"):
        task_of([])


@pytest.mark.parametrize(
    ("answer", "paid", "text"),
    [
        ("approve", [("ann", 5)], "paid ann 5"),
        ("Yes.", [("ann", 5)], "paid ann 5"),
        ('{"decisions": [{"type": "approve"}]}', [("ann", 5)], "paid ann 5"),
        ("reject: she has it", [], "she has it"),
        ("no", [], "was refused"),
    ],
)
async def test_an_approval_is_given_in_words(answer: str, paid: list[Any], text: str) -> None:
    shop = Shop()
    app = chat(shop, "await tools.pay('ann', 5)", policies={"pay": ToolPolicy(approval=True)}, max_attempts=1)
    waiting = await app.ainvoke({"messages": [("user", "Pay Ann.")]}, thread())
    assert waiting["__interrupt__"][0].value["action_requests"][0]["name"] == "pay"
    unclear = await app.ainvoke(Command(resume="perhaps"), thread())
    assert "answer approve, or reject" in unclear["__interrupt__"][0].value["problem"]
    state = await app.ainvoke(Command(resume=answer), thread())
    assert text in state["messages"][-1].text
    assert shop.paid == paid


async def test_what_a_failed_program_did_is_not_done_again_in_a_later_turn() -> None:
    shop = Shop()
    programs = ["await tools.pay('ann', 5)\n1 / 0", "await tools.pay('ann', 5)\n'paid'"]
    app = chat(shop, *programs, max_attempts=1)
    state = await app.ainvoke({"messages": [("user", "Pay Ann.")]}, thread())
    assert 'took effect and stand: pay({"who": "ann", "amount": 5})' in state["messages"][-1].text
    state = await app.ainvoke({"messages": [("user", "Try again.")]}, thread())
    assert shop.paid == [("ann", 5)]
    assert state["messages"][-1].text.startswith("It failed")


async def test_a_message_that_got_no_answer_may_be_sent_again_and_nothing_is_done_twice() -> None:
    shop, arrived = Shop(), asyncio.Event()

    async def wait_for_news() -> str:
        """Wait, the first time without end."""
        if arrived.is_set():
            return "news"
        arrived.set()
        await asyncio.sleep(3600)
        return "never"

    app: Any = create_codemode_chat(
        model=scripted("paid = await tools.pay('ann', 5)\nawait tools.wait_for_news()\npaid"),
        tools=[*shop.tools, wait_for_news],
        policies={"wait_for_news": ToolPolicy(effect="read")},
    ).compile(checkpointer=InMemorySaver())
    said = {"messages": [("user", "Pay Ann.")]}
    first = asyncio.ensure_future(app.ainvoke(said, thread()))
    await arrived.wait()
    first.cancel()
    await asyncio.wait([first])
    state = await app.ainvoke(said, thread())
    assert [message.type for message in state["messages"]] == ["human", "human", "ai"]
    assert shop.paid == [("ann", 5)]
    await app.ainvoke(said, thread())  # the last one was answered, so this is meant anew
    assert shop.paid == [("ann", 5), ("ann", 5)]


@pytest.mark.filterwarnings("ignore:create_react_agent has been moved")
async def test_it_is_an_agent_of_a_supervisor() -> None:
    shop = Shop()
    books = create_codemode_chat(
        model=scripted("await tools.pay('ann', 5)"),
        tools=shop.tools,
        name="books",
        policies={"pay": ToolPolicy(approval=True)},
    ).compile(name="books")
    model = agent_model(calling("transfer_to_books", {}), "Ann has her money.")
    app = create_supervisor([books], model=model).compile(checkpointer=InMemorySaver())
    waiting = await app.ainvoke({"messages": [("user", "Pay Ann.")]}, thread())
    assert waiting["__interrupt__"][0].value["task"].startswith("Pay Ann.")
    state = await app.ainvoke(Command(resume="approve"), thread())
    texts = [message.text for message in state["messages"]]
    assert "paid ann 5" in texts
    assert (texts[-1], shop.paid) == ("Ann has her money.", [("ann", 5)])


async def test_it_is_an_agent_of_a_swarm() -> None:
    books = create_codemode_chat(
        model=scripted("str(await tools.owed('ann'))", "str(await tools.owed('bob'))"), tools=Shop().tools, name="books"
    ).compile(name="books")
    desk = create_agent(
        agent_model(calling("transfer_to_books", {})), tools=[create_handoff_tool(agent_name="books")], name="desk"
    )
    app = create_swarm([desk, books], default_active_agent="desk").compile(checkpointer=InMemorySaver())
    state = await app.ainvoke({"messages": [("user", "What is Ann owed?")]}, thread())
    assert (state["messages"][-1].text, state["active_agent"]) == ("5", "books")
    state = await app.ainvoke({"messages": [("user", "And Bob?")]}, thread())
    assert state["messages"][-1].text == "7"


@pytest.mark.parametrize("is_sync", [False, True])
async def test_a_program_hands_the_conversation_to_another_agent(is_sync: bool) -> None:
    shop = Shop()
    code = "await tools.pay('ann', 5)\nawait tools.transfer_to_clerk()"
    desk = create_agent(
        agent_model(calling("run_program", {"code": code}), "Not asked."),
        tools=[*shop.tools, create_handoff_tool(agent_name="clerk")],
        middleware=[CodeModeMiddleware()],
        name="desk",
    )
    clerk = create_agent(agent_model("I am the clerk."), tools=[], name="clerk")
    app = create_swarm([desk, clerk], default_active_agent="desk").compile(checkpointer=InMemorySaver())
    said: Any = {"messages": [("user", "Pay Ann, then the clerk.")]}
    state = await (asyncio.to_thread(app.invoke, said, thread()) if is_sync else app.ainvoke(said, thread()))
    assert (state["active_agent"], shop.paid) == ("clerk", [("ann", 5)])
    assert [message.type for message in state["messages"]] == ["human", "ai", "tool", "ai"]
    assert state["messages"][1].tool_calls[0]["id"] == state["messages"][2].tool_call_id
    assert state["messages"][-1].text == "I am the clerk."


async def test_a_program_that_fails_hands_nothing_over() -> None:
    code = "await tools.transfer_to_clerk()\n1 / 0"
    desk = create_agent(
        agent_model(calling("run_program", {"code": code}), "It failed."),
        tools=[create_handoff_tool(agent_name="clerk")],
        middleware=[CodeModeMiddleware()],
        name="desk",
    )
    clerk = create_agent(agent_model("I am the clerk."), tools=[], name="clerk")
    app = create_swarm([desk, clerk], default_active_agent="desk").compile(checkpointer=InMemorySaver())
    said: Any = {"messages": [("user", "To the clerk.")]}
    state = await app.ainvoke(said, thread())
    assert state["messages"][-1].text == "It failed."
