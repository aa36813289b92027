"""People decide on what programs of an agent do: approvals, questions, kills."""

from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, interrupt

from codemode_graph import CodeModeMiddleware, ConfigurationError, ToolPolicy
from codemode_graph import create_agent as codemode_agent
from tests.integrations.agents import USER, Shop, agent_model, answers, calling
from tests.integrations.test_middleware import program, sync

THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}
PAY_BOTH = """
import asyncio
sums = await asyncio.gather(*[tools.owed(name) for name in ('ann', 'bob')])
async def pay(name, amount):
    try:
        return await tools.pay(name, amount)
    except PermissionError as refusal:
        return str(refusal)
await asyncio.gather(pay('ann', sums[0]), pay('bob', sums[1]))
"""


def decide(*decisions: dict[str, Any]) -> Command[Any]:
    return Command(resume={"decisions": list(decisions)})


APPROVE = {"type": "approve"}


@pytest.mark.parametrize("way", ["async", "sync"])
async def test_the_agents_own_human_in_the_loop_decides_on_the_calls_of_programs(way: str) -> None:
    """In the same shape, and for the model's own calls as ever."""
    shop = Shop()
    human = HumanInTheLoopMiddleware(
        {"pay": {"allowed_decisions": ["approve", "reject"], "description": "Money leaves."}}
    )
    model = agent_model(program(PAY_BOTH), calling("pay", {"who": "eve", "amount": 1}), "done")
    code = CodeModeMiddleware(interrupt_on=human)
    agent = create_agent(model, tools=shop.tools, middleware=[code, human], checkpointer=InMemorySaver())

    async def say(given: Any) -> Any:
        return await agent.ainvoke(given, THREAD) if way == "async" else sync(agent, given, THREAD)

    (waiting,) = (await say(USER))["__interrupt__"]
    requests = waiting.value["action_requests"]
    assert [(each["name"], each["args"], each["description"]) for each in requests] == [
        ("pay", {"who": "ann", "amount": 5}, "Money leaves."),
        ("pay", {"who": "bob", "amount": 7}, "Money leaves."),
    ]
    assert waiting.value["review_configs"] == [{"action_name": "pay", "allowed_decisions": ["approve", "reject"]}]
    (again,) = (await say(decide(APPROVE, {"type": "respond", "message": "paid"})))["__interrupt__"]
    assert "approve, reject" in again.value["problem"]
    (direct,) = (await say(decide(APPROVE, {"type": "reject", "message": "not bob"})))["__interrupt__"]
    assert [each["args"] for each in direct.value["action_requests"]] == [{"who": "eve", "amount": 1}]
    assert direct.value["review_configs"] == waiting.value["review_configs"]
    state = await say(decide({"type": "reject"}))
    assert answers(state)[0].text == '["paid ann 5", "the call of \'pay\' was refused: not bob"]'
    assert (shop.paid, sorted(shop.seen)) == ([("ann", 5)], ["ann", "bob"])


async def test_conditions_and_descriptions_are_given_what_langchain_gives_them() -> None:
    shop = Shop()
    asked: list[Any] = []

    def when(request: Any) -> bool:
        asked.append((request.tool_call["name"], len(request.state["messages"]), request.runtime.context))
        return bool(request.tool_call["args"]["amount"] > 5)

    def describe(call: Any, state: Any, runtime: Any) -> str:
        return f"{call['name']} {call['args']['amount']} after {state['messages'][0].text} {runtime.context['user']}"

    interrupt_on: Any = {"pay": {"allowed_decisions": ["approve"], "when": when, "description": describe}}
    agent = create_agent(
        agent_model(program(PAY_BOTH), "done"),
        tools=shop.tools,
        middleware=[CodeModeMiddleware(interrupt_on=interrupt_on)],
        checkpointer=InMemorySaver(),
        context_schema=dict,
    )
    state = await agent.ainvoke(USER, THREAD, context={"user": "cem"})
    (request,) = state["__interrupt__"][0].value["action_requests"]
    assert (request["args"]["who"], request["description"]) == ("bob", "pay 7 after go cem")
    assert asked[0] == ("pay", 2, {"user": "cem"})
    await agent.ainvoke(decide(APPROVE), THREAD, context={"user": "cem"})
    assert sorted(shop.paid) == [("ann", 5), ("bob", 7)]


async def test_an_agent_whose_people_would_be_passed_by_is_refused() -> None:
    shop = Shop()
    human = HumanInTheLoopMiddleware({"pay": True})
    agent = create_agent(
        agent_model(program(PAY_BOTH), "done"), tools=shop.tools, middleware=[CodeModeMiddleware(), human]
    )
    with pytest.raises(ConfigurationError, match="does not see the calls that programs make"):
        await agent.ainvoke(USER)
    assert shop.seen == []


@pytest.mark.parametrize("way", ["async", "sync"])
async def test_per_call_human_in_the_loop_that_follows_asks_by_itself(way: str) -> None:
    shop = Shop()
    human = HumanInTheLoopMiddleware({"pay": True}, interrupt_mode="per_call")
    with pytest.raises(ConfigurationError, match=r"list it after CodeModeMiddleware, and give that interrupt_on=\{\}"):
        CodeModeMiddleware(interrupt_on=human)
    code = CodeModeMiddleware(interrupt_on={})
    agent = create_agent(
        agent_model(program(PAY_BOTH), "done"), tools=shop.tools, middleware=[code, human], checkpointer=InMemorySaver()
    )

    async def say(given: Any) -> Any:
        return await agent.ainvoke(given, THREAD) if way == "async" else sync(agent, given, THREAD)

    asked = sorted((await say(USER))["__interrupt__"], key=lambda each: str(each.value["args"]["who"]))
    assert [(each.value["type"], each.value["args"]["who"]) for each in asked] == [
        ("tool_approval", "ann"),
        ("tool_approval", "bob"),
    ]
    edited = {"type": "edit", "edited_action": {"name": "pay", "args": {"who": "bob", "amount": 1}}}
    state = await say(Command(resume={asked[0].id: {"type": "reject", "message": "no"}, asked[1].id: edited}))
    assert shop.paid == [("bob", 1)]
    assert sorted(shop.seen) == ["ann", "bob"]
    assert "__interrupt__" not in state


async def step(folder: Path, shop: Shop, given: Any, reply: Any, **how: Any) -> Any:
    """A step of an agent that has nothing in common with the one before but the checkpoints."""
    async with AsyncSqliteSaver.from_conn_string(str(folder / "db")) as saver:
        code = CodeModeMiddleware(policies={"pay": ToolPolicy(approval=True)})
        agent = create_agent(agent_model(reply), tools=shop.tools, middleware=[code], checkpointer=saver, **how)
        await agent.ainvoke(given, THREAD)
        return await agent.aget_state(THREAD)


async def test_a_program_goes_on_in_another_process_and_nothing_is_done_twice(tmp_path: Path) -> None:
    shop = Shop()
    one = "a = await tools.pay('ann', await tools.owed('ann'))\nb = await tools.pay('bob', await tools.owed('bob'))\n[a, b]"
    (waiting,) = (await step(tmp_path, shop, USER, program(one))).interrupts
    assert waiting.value["action_requests"][0]["args"] == {"who": "ann", "amount": 5}
    (waiting,) = (await step(tmp_path, shop, decide(APPROVE), "never")).interrupts
    assert waiting.value["action_requests"][0]["args"] == {"who": "bob", "amount": 7}
    assert shop.paid == [("ann", 5)]
    edited = {"type": "edit", "edited_action": {"name": "pay", "args": {"who": "bob", "amount": 1}}}
    state = await step(tmp_path, shop, decide(edited), "done")
    assert answers(state.values)[0].text == '["paid ann 5", "paid bob 1"]'
    assert (shop.paid, shop.seen) == ([("ann", 5), ("bob", 1)], ["ann", "bob"])


async def test_programs_at_the_same_time_wait_apart() -> None:
    shop = Shop()
    code = CodeModeMiddleware(policies={"pay": ToolPolicy(approval=True)})
    agent = create_agent(
        agent_model(
            program("await tools.pay('ann', 5)", "await tools.pay('bob', 7)", "await tools.owed('ann')"), "done"
        ),
        tools=shop.tools,
        middleware=[code],
        checkpointer=InMemorySaver(),
    )
    waiting = (await agent.ainvoke(USER, THREAD))["__interrupt__"]
    by_name = {each.value["action_requests"][0]["args"]["who"]: each.id for each in waiting}
    left = await agent.ainvoke(Command(resume={by_name["bob"]: {"decisions": [APPROVE]}}), THREAD)
    assert [each.id for each in left["__interrupt__"]] == [by_name["ann"]]
    assert shop.paid == [("bob", 7)]
    state = await agent.ainvoke(Command(resume={by_name["ann"]: {"decisions": [{"type": "reject"}]}}), THREAD)
    assert [message.status for message in answers(state)] == ["error", "success", "success"]
    assert (shop.paid, shop.seen) == ([("bob", 7)], ["ann"])


async def test_a_tool_that_asks_within_a_program_interrupts_the_agent() -> None:
    shop = Shop()

    async def invite(who: str) -> str:
        """Invite somebody."""
        return f"{who} comes at {interrupt({'when': who})}"

    agent = create_agent(
        agent_model(program("paid = await tools.pay('ann', 5)\n[paid, await tools.invite('ann')]"), "done"),
        tools=[invite, *shop.tools],
        middleware=[CodeModeMiddleware()],
        checkpointer=InMemorySaver(),
    )
    state = await agent.ainvoke(USER, THREAD)
    assert [each.value for each in state["__interrupt__"]] == [{"when": "ann"}]
    assert answers(await agent.ainvoke(Command(resume="noon"), THREAD))[0].text == '["paid ann 5", "ann comes at noon"]'
    assert shop.paid == [("ann", 5)]


class Killed(BaseException):
    """The process ends here."""


async def test_a_call_that_was_cut_off_by_a_kill_is_asked_about() -> None:
    paid: list[str] = []

    async def pay(who: str) -> str:
        """Pay somebody; the process dies with bob's payment, once."""
        paid.append(who)
        if paid == ["ann", "bob"]:
            raise Killed
        return f"paid {who}"

    agent = create_agent(
        agent_model(program("[await tools.pay('ann'), await tools.pay('bob')]"), "done"),
        tools=[pay],
        middleware=[CodeModeMiddleware()],
        checkpointer=InMemorySaver(),
        store=InMemoryStore(),
    )
    with pytest.raises(Killed):
        await agent.ainvoke(USER, THREAD)
    (waiting,) = (await agent.ainvoke(None, THREAD))["__interrupt__"]
    (request,) = waiting.value["action_requests"]
    assert (request["args"], request["reason"]) == ({"who": "bob"}, "unknown")
    state = await agent.ainvoke(decide({"type": "respond", "message": "paid bob"}), THREAD)
    assert answers(state)[0].text == '["paid ann", "paid bob"]'
    assert paid == ["ann", "bob"]


@pytest.mark.parametrize(
    "options",
    [
        {"middleware": [HumanInTheLoopMiddleware({"pay": True})]},
        {"policies": {"pay": ToolPolicy(approval=True)}},
        {"policies": {"effect:write": ToolPolicy(approval=True)}, "checkpointer": False},
    ],
)
def test_an_agent_that_asks_people_is_not_made_without_a_checkpointer(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="calls of 'pay' wait for people, and the agent has no checkpointer"):
        codemode_agent(Shop().tools, agent_model("Hi."), **options)
    codemode_agent(Shop().tools, agent_model("Hi."), **{**options, "checkpointer": InMemorySaver()})
    codemode_agent(Shop().tools, agent_model("Hi."), **{**options, "checkpointer": True})


async def test_langchains_agent_says_so_before_its_model_is_asked() -> None:
    model = agent_model("Hi.")
    human = HumanInTheLoopMiddleware({"pay": True})
    agent = create_agent(model, tools=Shop().tools, middleware=[CodeModeMiddleware(interrupt_on=human), human])
    with pytest.raises(ConfigurationError, match="calls of 'pay' wait for people"):
        await agent.ainvoke(USER)
    assert model.asked == []
