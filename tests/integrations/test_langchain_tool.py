"""Code mode as a tool of LangChain agents."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import BaseTool, ToolException
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt

from codemode_graph import ToolPolicy, create_codemode_tool
from codemode_graph import tool as marked
from codemode_graph.errors import ConfigurationError
from tests.integrations.agents import USER, Runs, Shop, agent_model, answers, calling
from tests.support import ScriptedModel, scripted

THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}
PAY_BOTH = """
import asyncio
names = ['ann', 'bob']
sums = await asyncio.gather(*[tools.owed(name) for name in names])
await asyncio.gather(*[tools.pay(name, amount) for name, amount in zip(names, sums)])
"""
GATED = {"pay": ToolPolicy(approval=True)}
APPROVED: Command[Any] = Command(resume={"decisions": [{"type": "approve"}, {"type": "approve"}]})


def shop_tool(shop: Shop, *programs: str, **options: Any) -> BaseTool:
    return create_codemode_tool(shop.tools, code_model=scripted(*programs), **options)


def agent_with(tool: BaseTool, *tasks: str, **options: Any) -> Any:
    model = agent_model(calling("codemode", *[{"task": task} for task in tasks]), "done")
    return create_agent(model, tools=[tool], **options)


async def test_an_agent_has_a_task_done_and_gets_the_value_and_the_whole_run() -> None:
    shop = Shop()
    state = await agent_with(shop_tool(shop, PAY_BOTH), "pay what is owed").ainvoke(USER)
    (message,) = answers(state)
    assert (message.content, message.status) == ('["paid ann 5", "paid bob 7"]', "success")
    assert message.artifact["output"] == ["paid ann 5", "paid bob 7"]
    assert message.artifact["metrics"]["total_tool_calls"] == 4
    assert sorted(shop.paid) == [("ann", 5), ("bob", 7)]


def test_the_tool_says_what_it_takes_what_it_can_use_and_when_a_direct_call_is_better() -> None:
    tool = shop_tool(Shop(), PAY_BOTH, policies={"pay": ToolPolicy(callers="model")})
    schema: Any = tool.tool_call_schema
    assert set(schema.model_json_schema()["properties"]) == {"task"}
    assert "call that directly" in tool.description
    assert tool.description.endswith("It can use: owed.")
    named = create_codemode_tool(Shop().tools, name="desk", description="Ask the desk.", code_model=scripted("1"))
    assert (named.name, named.description) == ("desk", "Ask the desk.")


async def test_it_works_by_itself_sync_and_async_and_raises_what_failed() -> None:
    shop = Shop()
    tool = shop_tool(shop, "await tools.owed('ann')")
    assert await tool.ainvoke({"task": "look"}) == "5"
    assert await asyncio.to_thread(tool.invoke, {"task": "look"}) == "5"
    failing = shop_tool(shop, "await tools.pay('ann', 5)\n1 / 0", max_retries=1)
    with pytest.raises(ToolException, match="ZeroDivisionError") as caught:
        await failing.ainvoke({"task": "fail"})
    assert 'took effect and stand: pay({"who": "ann", "amount": 5})' in str(caught.value)


async def test_a_failed_run_is_an_error_message_that_tells_what_took_effect() -> None:
    shop = Shop()
    tool = shop_tool(shop, "await tools.pay('ann', 5)\nawait tools.owed('eve')", max_retries=1)
    (message,) = answers(await agent_with(tool, "pay").ainvoke(USER))
    assert message.status == "error"
    assert message.text.startswith("It failed: line 2: KeyError: eve\nThese calls took effect and stand: pay(")
    assert message.artifact["success"] is False


def test_a_synchronous_agent_uses_it_too() -> None:
    shop = Shop()
    agent = agent_with(shop_tool(shop, PAY_BOTH, policies=GATED), "pay", checkpointer=InMemorySaver())
    agent.invoke(USER, THREAD)
    assert shop.paid == []
    state = agent.invoke(APPROVED, THREAD)
    assert answers(state)[0].content == '["paid ann 5", "paid bob 7"]'
    assert (sorted(shop.paid), sorted(shop.seen)) == ([("ann", 5), ("bob", 7)], ["ann", "bob"])


async def test_an_approval_is_the_agents_interrupt_and_nothing_is_done_twice(tmp_path: Path) -> None:
    """Begun and answered by agents that have nothing in common but the checkpoints."""
    shop = Shop()

    async def step(given: Any) -> Any:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
            tool = shop_tool(shop, PAY_BOTH, policies=GATED)
            reply = calling("codemode", {"task": "pay"}) if given is USER else "done"
            agent = create_agent(agent_model(reply), tools=[tool], checkpointer=saver)
            await agent.ainvoke(given, THREAD)
            return await agent.aget_state(THREAD)

    (waiting,) = (await step(USER)).interrupts
    assert [action["args"]["who"] for action in waiting.value["action_requests"]] == ["ann", "bob"]
    assert (shop.paid, sorted(shop.seen)) == ([], ["ann", "bob"])
    decisions = [
        {"type": "approve"},
        {"type": "edit", "edited_action": {"name": "pay", "args": {"who": "bob", "amount": 1}}},
    ]
    state = await step(Command(resume={"decisions": decisions}))
    assert state.interrupts == ()
    assert answers(state.values)[0].content == '["paid ann 5", "paid bob 1"]'
    assert (sorted(shop.paid), sorted(shop.seen)) == ([("ann", 5), ("bob", 1)], ["ann", "bob"])


async def test_calls_at_the_same_time_wait_apart_and_each_gets_its_own_answer() -> None:
    shop = Shop()
    # Which of the two asks the model first is open, so both write the same program.
    tool = shop_tool(shop, "await tools.pay('ann', 5)", policies=GATED, max_retries=1)
    agent = agent_with(tool, "one", "two", checkpointer=InMemorySaver())
    await agent.ainvoke(USER, THREAD)
    first, second = (await agent.aget_state(THREAD)).interrupts
    decided = {
        first.id: {"decisions": [{"type": "approve"}]},
        second.id: {"decisions": [{"type": "reject", "message": "once is enough"}]},
    }
    state = await agent.ainvoke(Command(resume=decided), THREAD)
    assert shop.paid == [("ann", 5)]
    texts = [message.text for message in answers(state)]
    assert [("once is enough" in text, "paid ann 5" in text) for text in sorted(texts)] == [
        (False, True),
        (True, False),
    ]


async def test_a_tool_that_asks_interrupts_the_agent() -> None:
    def invite(who: str) -> str:
        """Invite somebody."""
        return f"{who} comes at {interrupt('when?')}"

    tool = create_codemode_tool([invite], code_model=scripted("await tools.invite('ann')"))
    agent = agent_with(tool, "invite", checkpointer=InMemorySaver())
    state = await agent.ainvoke(USER, THREAD)
    assert [waiting.value for waiting in state["__interrupt__"]] == ["when?"]
    assert answers(await agent.ainvoke(Command(resume="noon"), THREAD))[0].content == '"ann comes at noon"'


async def test_an_approve_function_answers_instead_of_the_agents_people() -> None:
    shop = Shop()
    tool = shop_tool(
        shop,
        PAY_BOTH,
        policies=GATED,
        approve=lambda asked: {"decisions": [{"type": "approve"}] * len(asked["action_requests"])},
    )
    await agent_with(tool, "pay").ainvoke(USER)
    assert len(shop.paid) == 2


@pytest.mark.parametrize("durable", [True, False])
async def test_a_call_that_an_approve_function_decided_on_is_not_made_again_after_a_cancellation(
    durable: bool, tmp_path: Path
) -> None:
    shop, hangs = Shop(), asyncio.Event()

    @marked(effect="read")
    async def look() -> str:
        """Look."""
        if not hangs.is_set():
            hangs.set()
            await asyncio.Event().wait()
        return "seen"

    tool = create_codemode_tool(
        [*shop.tools, look],
        code_model=scripted("[await tools.pay('ann', 5), await tools.look()]"),
        policies=GATED,
        approve=lambda _: {"decisions": [{"type": "approve"}]},
        durable=tmp_path / "runs.sqlite" if durable else None,
    )
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "agent")) as saver:
        agent = agent_with(tool, "pay", checkpointer=saver)
        stopped = asyncio.create_task(agent.ainvoke(USER, THREAD))
        await hangs.wait()
        stopped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopped
        assert answers(await agent.ainvoke(None, THREAD))[0].content == '["paid ann 5", "seen"]'
    assert shop.paid == [("ann", 5)]


@pytest.mark.parametrize("inside", [True, False], ids=["in an agent", "alone"])
async def test_an_approve_function_answers_each_question_about_a_destructive_tool_without_ids(inside: bool) -> None:
    closed: list[str] = []

    @marked(effect="destructive")
    async def close(account: str) -> str:
        """Close an account."""
        closed.append(account)
        return f"closed {account}"

    tool = create_codemode_tool(
        [close],
        code_model=scripted("[await tools.close(name) for name in ('a', 'b', 'c')]"),
        policies={"close": ToolPolicy(approval=True)},
        approve=lambda request: {"decisions": [{"type": "approve"} for _ in request["action_requests"]]},
    )
    if inside:
        await agent_with(tool, "close").ainvoke(USER)
    else:
        await tool.ainvoke({"task": "close"})
    assert closed == ["a", "b", "c"]


@pytest.mark.parametrize("inside", [True, False], ids=["in an agent", "alone"])
async def test_an_approve_function_that_does_not_answer_is_not_asked_for_ever(inside: bool) -> None:
    shop = Shop()
    tool = shop_tool(shop, "await tools.pay('ann', 5)", policies=GATED, approve=lambda _: {"decisions": []})
    with pytest.raises(ConfigurationError, match="1 call waits, and 0 decisions came"):
        await (agent_with(tool, "pay").ainvoke(USER) if inside else tool.ainvoke({"task": "pay"}))
    assert shop.paid == []


@pytest.mark.parametrize("inside", [True, False], ids=["in an agent", "alone"])
async def test_the_calls_of_a_program_are_traced_below_the_tool(inside: bool) -> None:
    runs = Runs()
    tool = shop_tool(Shop(), "await tools.owed('ann')")
    if inside:
        await agent_with(tool, "look").ainvoke(USER, {"callbacks": [runs]})
    else:
        await tool.ainvoke({"task": "look"}, {"callbacks": [runs]})
    first, nested = runs.tools
    assert first.endswith("codemode")
    assert nested.startswith(f"{first}/")
    assert "/execute/" in nested
    assert nested.endswith("/owed")


async def test_what_happens_in_a_run_is_on_the_agents_custom_stream() -> None:
    agent = agent_with(shop_tool(Shop(), PAY_BOTH), "pay")
    events = [event async for _, event in agent.astream(USER, stream_mode="custom", subgraphs=True)]
    assert [event["tool"] for event in events if event["type"] == "call_started"].count("pay") == 2


async def test_a_tool_node_in_a_graph_of_ones_own_runs_it() -> None:
    shop = Shop()
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode([shop_tool(shop, PAY_BOTH, policies=GATED)]))
    app = graph.add_edge(START, "tools").compile(checkpointer=InMemorySaver())
    message: AIMessage = calling("codemode", {"task": "pay"})
    assert "__interrupt__" in await app.ainvoke({"messages": [message]}, THREAD)
    assert answers(await app.ainvoke(APPROVED, THREAD))[0].status == "success"
    assert len(shop.paid) == 2


@pytest.mark.parametrize("way", ["async", "sync"])
async def test_calls_of_one_node_are_kept_apart_and_none_is_done_twice(way: str) -> None:
    """LangGraph starts the node again for each answer; here its calls come in another order from then on."""
    shop = Shop()

    async def slow(who: str) -> str:
        """Take a while, bob longer than ann."""
        shop.seen.append(who)
        await asyncio.sleep(0.02 if who == "ann" else 0.1)
        return who

    def write(messages: Sequence[BaseMessage]) -> str:
        who = messages[-1].text.rpartition("# Task")[2].strip()
        return f"```python\nwho = await tools.slow('{who}')\n[who, await tools.pay('{who}', 1)]\n```"

    tool = create_codemode_tool([slow, *shop.tools], code_model=ScriptedModel(replies=[write]), policies=GATED)
    tool_node, calls = ToolNode([tool]), calling("codemode", {"task": "ann"}, {"task": "bob"}).tool_calls
    orders = iter([calls, calls[::-1], calls[::-1]])

    def turned(state: MessagesState) -> MessagesState:
        return {"messages": [AIMessage("", tool_calls=next(orders))]}

    class Turning(RunnableLambda[Any, Any]):
        def __init__(self) -> None:
            super().__init__(lambda state: tool_node.invoke(turned(state)), afunc=self.go)

        async def go(self, state: MessagesState) -> Any:
            return await tool_node.ainvoke(turned(state))

    graph = StateGraph(MessagesState).add_node("tools", Turning())
    app = graph.add_edge(START, "tools").compile(checkpointer=InMemorySaver())

    async def say(given: Any) -> Any:
        await (app.ainvoke(given, THREAD) if way == "async" else asyncio.to_thread(app.invoke, given, THREAD))
        return (await app.aget_state(THREAD)).interrupts

    waiting = await say({"messages": []})
    while waiting:
        waiting = await say(Command(resume={waiting[0].id: {"decisions": [{"type": "approve"}]}}))
    told = answers((await app.aget_state(THREAD)).values)
    assert {message.tool_call_id: message.text for message in told} == {
        call["id"]: f'["{call["args"]["task"]}", "paid {call["args"]["task"]} 1"]' for call in calls
    }
    assert (sorted(shop.paid), sorted(shop.seen)) == ([("ann", 1), ("bob", 1)], ["ann", "bob"])


async def test_calls_of_an_agent_run_at_the_same_time() -> None:
    met = asyncio.Barrier(2)

    async def meet() -> str:
        """Wait for the other."""
        async with asyncio.timeout(60), met:
            return "met"

    tool = create_codemode_tool([meet], code_model=scripted("await tools.meet()"), max_retries=1)
    assert [message.text for message in answers(await agent_with(tool, "a", "b").ainvoke(USER))] == ['"met"', '"met"']


async def test_a_big_value_is_told_by_its_shape_and_is_whole_in_the_artifact() -> None:
    def rows() -> list[dict[str, int]]:
        """All rows."""
        return [{"n": n} for n in range(5000)]

    tool = create_codemode_tool([marked(effect="read")(rows)], code_model=scripted("await tools.rows()"))
    (message,) = answers(await agent_with(tool, "rows").ainvoke(USER))
    assert len(message.text) < 21_000
    assert "list of 5000 {n: int}" in message.text
    assert "more items" in message.text
    assert len(message.artifact["output"]) == 5000
    assert message.artifact["tool_calls"][0]["value"] == {"omitted": "list of 5000 {n: int}"}
