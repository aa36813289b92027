"""Agents with code mode, made in one go."""

import sys
from typing import Any

import pytest
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool as langchain_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from codemode_graph import MCPToolLoader, ToolPolicy, create_agent
from tests.integrations.agents import USER, Shop, agent_model, answers, calling
from tests.integrations.test_middleware import program, system
from tests.support import scripted

THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}


async def test_functions_langchain_tools_and_mcp_servers_are_called_by_programs_and_by_the_model() -> None:
    @langchain_tool
    def double(n: float) -> float:
        """Double a number."""
        return 2 * n

    code = "orders = await tools['list-orders'](status='unpaid')\nawait tools.twice(sum(o['total'] for o in orders))"
    model = agent_model(program(code), calling("list-orders", {"status": "paid"}), calling("twice", {"n": 4}), "done")
    async with MCPToolLoader() as mcp:
        mcp.add_stdio_server("shop", sys.executable, ["-m", "codemode_graph.demo.shop_server"])
        agent = create_agent([*await mcp.load(), {"twice": double}, *Shop().tools], model)
        state = await agent.ainvoke(USER)
    program_told, orders, twice = answers(state)
    assert (program_told.text, twice.text) == ("565.0", "8.0")
    assert '"total"' in orders.text
    assert model.offered[0] == ["run_program", "list-orders", "get-customer", "twice", "owed", "pay"]
    card = system(model).split("await tools['list-orders']")[1]
    assert "-> list[" in card
    assert "[write" not in card.partition("\n\n")[0]


async def test_without_codemode_it_is_the_agent_alone() -> None:
    model = agent_model(calling("owed", {"who": "ann"}), "done")
    state = await create_agent(Shop().tools, model, codemode=False, system_prompt="Be brief.").ainvoke(USER)
    assert answers(state)[0].text == "5"
    assert (model.offered[0], system(model)) == (["owed", "pay"], "Be brief.")


async def test_policies_and_the_agents_people_hold_for_programs() -> None:
    shop = Shop()
    model = agent_model(program("await tools.pay('ann', await tools.owed('ann'))"), "done")
    agent = create_agent(
        shop.tools,
        model,
        policies={"owed": ToolPolicy(callers="program")},
        middleware=[HumanInTheLoopMiddleware({"pay": True})],
        checkpointer=InMemorySaver(),
    )
    (waiting,) = (await agent.ainvoke(USER, THREAD))["__interrupt__"]
    assert waiting.value["action_requests"][0]["args"] == {"who": "ann", "amount": 5}
    assert model.offered[0] == ["run_program", "pay"]
    await agent.ainvoke(Command(resume={"decisions": [{"type": "approve"}]}), THREAD)
    assert shop.paid == [("ann", 5)]


async def test_per_call_approval_needs_nothing_else() -> None:
    shop = Shop()
    human = HumanInTheLoopMiddleware({"pay": True}, interrupt_mode="per_call")
    model = agent_model(program("await tools.pay('ann', 5)"), "done")
    agent = create_agent(shop.tools, model, middleware=[human], checkpointer=InMemorySaver())
    (waiting,) = (await agent.ainvoke(USER, THREAD))["__interrupt__"]
    assert waiting.value["type"] == "tool_approval"
    await agent.ainvoke(Command(resume={"type": "approve"}), THREAD)
    assert shop.paid == [("ann", 5)]


async def test_a_code_model_writes_the_programs_for_tasks() -> None:
    writer: Any = scripted("await tools.owed('bob')")
    model = agent_model(calling("run_program", {"task": "what is bob owed?"}), "done")
    state = await create_agent(Shop().tools, model, code_model=writer).ainvoke(USER)
    assert answers(state)[0].text == "7"
    assert "tools['owed']" in writer.asked[0][-1].text


async def test_a_name_that_models_cannot_have_is_changed_for_both() -> None:
    model = agent_model(program("await tools.shop_look('x')"), calling("shop_look", {"key": "y"}), "done")

    def look(key: str) -> str:
        """Look."""
        return key * 2

    state = await create_agent({"shop.look": look}, model).ainvoke(USER)
    assert [message.text for message in answers(state)] == ['"xx"', "yy"]


@pytest.mark.parametrize("name", ["CodeModeMiddleware", "create_agent", "create_codemode_tool"])
def test_what_it_is_called_from_the_package(name: str) -> None:
    import codemode_graph

    assert name in codemode_graph.__all__
    assert callable(getattr(codemode_graph, name))
