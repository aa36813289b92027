"""The memory of an agent for programs that failed: within a turn, over turns, and whatever becomes of its messages."""

import re
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, SummarizationMiddleware
from langchain_core.messages import HumanMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import Command

from codemode_graph import CodeModeMiddleware, ToolPolicy, tool
from codemode_graph.integrations.turns import merge_programs
from tests.integrations.agents import USER, Agent, Shop, agent_model, answers, calling
from tests.support import scripted

THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}
FAILS = "await tools.pay('ann', 5)\nawait tools.owed('eve')"
PAYS = "await tools.pay('ann', 5)"
AGAIN = "await again(tools.pay('ann', 5))"


def program(*codes: str) -> Any:
    return calling("run_program", *[{"code": code} for code in codes])


def agent_of(tools: list[Any], *replies: Any, others: Any = (), **options: Any) -> Any:
    code = CodeModeMiddleware(**options)
    return create_agent(agent_model(*replies), tools=tools, middleware=[*others, code], checkpointer=InMemorySaver())


class KeepsLast(AgentMiddleware[Any, Any, Any]):
    """Trims the history to the first message and the last two."""

    def before_model(self, state: Any, runtime: Any) -> Any:
        first, *rest = state["messages"]
        return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), first, *rest[-2:]]}


class Forgets(AgentMiddleware[Any, Any, Any]):
    """Leaves a summary of its own kind."""

    def before_model(self, state: Any, runtime: Any) -> Any:
        return {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), *state["messages"][-1:]]}


def summarises() -> Any:
    summary = scripted(*["Ann was to be paid."] * 9)
    return SummarizationMiddleware(summary, trigger=("messages", 2), keep=("messages", 1))


@pytest.mark.parametrize("sandbox", ["monty", "restricted"])
@pytest.mark.parametrize("trim", [summarises, KeepsLast, Forgets])
async def test_a_program_repairs_the_failed_one_whatever_becomes_of_the_messages(sandbox: str, trim: Any) -> None:
    shop = Shop()
    repaired = "[await tools.pay('ann', 5), await tools.pay('bob', 7)]"
    agent = agent_of(shop.tools, program(FAILS), program(repaired), "done", others=[trim()], sandbox=sandbox)
    state = await agent.ainvoke(USER, THREAD)
    assert shop.paid == [("ann", 5), ("bob", 7)]
    assert "codemode_turn_calls" not in state
    # What the repair has taken up is over: the next turn may pay Ann.
    assert not (await agent.aget_state(THREAD)).values["codemode_turn_calls"]


@pytest.mark.parametrize("sandbox", ["monty", "restricted"])
@pytest.mark.parametrize("trim", [summarises, KeepsLast, Forgets, None])
async def test_in_a_later_turn_a_call_is_held_until_it_is_meant_anew(sandbox: str, trim: Any) -> None:
    shop = Shop()
    others = [trim()] if trim else []
    agent = agent_of(
        shop.tools,
        program(FAILS),
        "It failed.",
        program(PAYS),
        program("await tools.pay(amount=5, who='ann')"),
        program("[await tools.owed('ann'), await tools.pay('bob', 5)]"),
        program(AGAIN),
        "done",
        program(PAYS),
        "done",
        others=others,
        sandbox=sandbox,
    )
    await agent.ainvoke(USER, THREAD)
    state = await agent.ainvoke(USER, THREAD)
    if trim is None:
        _, held, spelled, others_made, anew = answers(state)
        said = r"line 1: RuntimeError: .*'pay' was made by an earlier program, which failed, at 20\d\d-.* and took effect: leave"
        assert re.search(said, held.text)
        assert "write await again(tools['pay'](...))" in held.text
        assert spelled.status == "error"
        assert (others_made.text, anew.text) == ('[5, "paid bob 5"]', '"paid ann 5"')
    assert shop.paid == [("ann", 5), ("bob", 5), ("ann", 5)]
    await agent.ainvoke(USER, THREAD)
    # It has been made anew, by a program that did not fail.
    assert shop.paid[3:] == [("ann", 5)]


async def test_what_is_made_anew_by_a_program_that_fails_is_answered_to_its_repair() -> None:
    shop = Shop()
    agent = agent_of(
        shop.tools,
        program(FAILS),
        "It failed.",
        program(f"{AGAIN}\n{{}}['x']"),
        program(f"a = {AGAIN}\n[a, await tools.owed('bob')]"),
        "done",
    )
    await agent.ainvoke(USER, THREAD)
    state = await agent.ainvoke(USER, THREAD)
    assert answers(state)[-1].text == '["paid ann 5", 7]'
    assert shop.paid == [("ann", 5), ("ann", 5)]


async def test_a_program_that_repairs_nothing_leaves_the_calls_to_the_next() -> None:
    shop = Shop()
    agent = agent_of(
        shop.tools, program(FAILS), program("await tools.owed('ann')"), program(PAYS), "done", program(PAYS), "done"
    )
    state = await agent.ainvoke(USER, THREAD)
    assert (answers(state)[-1].text, shop.paid) == ('"paid ann 5"', [("ann", 5)])
    await agent.ainvoke(USER, THREAD)
    assert shop.paid == [("ann", 5), ("ann", 5)]


async def test_reads_and_idempotent_calls_are_not_held() -> None:
    done: list[str] = []

    @tool(effect="idempotent")
    async def mark(name: str) -> str:
        """Mark."""
        done.append(name)
        return name

    @tool(effect="read")
    async def look() -> str:
        """Look."""
        done.append("look")
        return "there"

    both = "[await tools.mark('ann'), await tools.look()]"
    agent = agent_of([mark, look], program(f"{both}\n{{}}['x']"), "It failed.", program(both), "done")
    await agent.ainvoke(USER, THREAD)
    state = await agent.ainvoke(USER, THREAD)
    assert (answers(state)[-1].text, done) == ('["ann", "there"]', ["ann", "look"] * 2)


async def test_a_person_is_asked_about_a_call_that_is_meant_anew() -> None:
    shop = Shop()
    agent = agent_of(
        shop.tools,
        program(FAILS),
        "It failed.",
        program(PAYS),
        program(AGAIN),
        "done",
        policies={"pay": ToolPolicy(approval=True)},
    )
    await agent.ainvoke(USER, THREAD)
    await agent.ainvoke(Command(resume={"decisions": [{"type": "approve"}]}), THREAD)
    await agent.ainvoke(USER, THREAD)
    (waiting,) = (await agent.aget_state(THREAD)).interrupts
    assert "Note: an equal call was made at 20" in waiting.value["action_requests"][0]["description"]
    assert shop.paid == [("ann", 5)]
    await agent.ainvoke(Command(resume={"decisions": [{"type": "approve"}]}), THREAD)
    assert shop.paid == [("ann", 5), ("ann", 5)]


async def test_a_fork_knows_what_programs_did_before_it() -> None:
    shop = Shop()
    agent = agent_of(shop.tools, program(FAILS), "It failed.", program(PAYS), "held", program(PAYS), "held")
    await agent.ainvoke(USER, THREAD)
    ended = await agent.aget_state(THREAD)
    # Messages are rewritten in the fork; what programs did is not in them.
    removed = {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES), HumanMessage("pay Ann")]}
    fork = await agent.aupdate_state(ended.config, removed)
    state = await agent.ainvoke(USER, fork)
    assert answers(state)[-1].status == "error"
    state = await agent.ainvoke(USER, ended.config)
    assert answers(state)[-1].status == "error"
    assert shop.paid == [("ann", 5)]


async def test_programs_side_by_side_each_leave_and_take_up_their_own() -> None:
    shop = Shop()
    other = "await tools.pay('bob', 7)\nawait tools.owed('eve')"
    agent = agent_of(
        shop.tools,
        program(FAILS, other),
        program(PAYS, "await tools.pay('bob', 7)\n{}['x']"),
        "It failed.",
        program(PAYS),
        program("await tools.pay('bob', 7)"),
        "done",
    )
    await agent.ainvoke(USER, THREAD)
    assert sorted(shop.paid) == [("ann", 5), ("bob", 7)]
    state = await agent.ainvoke(USER, THREAD)
    paid, held = answers(state)[-2:]
    assert (paid.text, held.status) == ('"paid ann 5"', "error")
    assert sorted(shop.paid) == [("ann", 5), ("ann", 5), ("bob", 7)]


async def test_a_writer_of_programs_does_not_leave_what_its_last_program_took_up() -> None:
    shop = Shop()
    writer = scripted(FAILS, f"{PAYS}\n7", FAILS, "8", PAYS, AGAIN)
    replies = [x for n in range(3) for x in (calling("run_program", {"task": f"pay {n}"}), "done")]
    agent = create_agent(
        Agent(replies=replies),
        tools=shop.tools,
        middleware=[CodeModeMiddleware(model=writer)],
        checkpointer=InMemorySaver(),
    )
    await agent.ainvoke(USER, THREAD)
    assert shop.paid == [("ann", 5)]
    await agent.ainvoke(USER, THREAD)
    assert shop.paid == [("ann", 5)] * 2
    # The first program of that turn paid, and the second did not ask for it.
    await agent.ainvoke(USER, THREAD)
    assert shop.paid == [("ann", 5)] * 3
    assert "was made by an earlier program" in writer.asked[-1][-1].text


def test_programs_that_end_together_may_be_merged_in_any_order() -> None:
    def left(*calls: str, gone: tuple[str, ...] = ()) -> Any:
        return {"people": [], "calls": {**{key: {"id": "1"} for key in calls}, **dict.fromkeys(gone)}}

    known = merge_programs({}, {"a": left("x", "y")})
    one, two = {"a": left(gone=("x",)), "b": left("z")}, {"a": left(gone=("y",)), "c": left("z")}
    expected = {"b": left("z"), "c": left("z")}
    assert merge_programs(merge_programs(known, one), two) == expected
    assert merge_programs(merge_programs(known, two), one) == expected


COUNTS = "n = await tools.get()\nawait tools.put(n + 1)\nraise KeyError('bug')"
COUNTED = "n = await tools.get()\nawait tools.put(n + 1)\nawait tools.get()"


class Counter:
    """A number that programs read and write."""

    def __init__(self) -> None:
        self.value, self.written = 0, list[int]()

    @property
    def tools(self) -> list[Any]:
        @tool(effect="read")
        async def get() -> int:
            """Read the number."""
            return self.value

        async def put(value: int) -> int:
            """Write the number."""
            self.value = value
            self.written.append(value)
            return value

        return [get, put]


@pytest.mark.parametrize("trim", [None, KeepsLast, Forgets])
async def test_a_repaired_read_and_write_sees_what_the_failed_program_saw(trim: Any) -> None:
    """It takes the same way, so it reads what was there before the write; after it, it reads anew."""
    counter = Counter()
    replies = program(COUNTS), program(COUNTS), program(COUNTED), "done"
    agent = agent_of(counter.tools, *replies, others=[trim()] if trim else [])
    state = await agent.ainvoke(USER, THREAD)
    assert counter.written == [1]
    assert any("1" in str(message.text) for message in answers(state))
    assert not (await agent.aget_state(THREAD)).values["codemode_turn_calls"]


TRIES = """
found = []
for _ in range(2):
    try:
        found.append(await tools.pay('ann', 5))
    except RuntimeError:
        found.append('busy')
"""


async def test_a_repair_is_told_again_that_a_call_failed_before_it_succeeded() -> None:
    """The program makes the call twice, and is to have it once: the first time failed."""
    paid: list[str] = []
    failures = [RuntimeError("busy")]

    async def pay(who: str, amount: int) -> str:
        """Pay somebody."""
        if failures:
            raise failures.pop()
        paid.append(who)
        return f"paid {who} {amount}"

    broken, repaired = f"{TRIES}\n1 / 0", f"{TRIES}\nfound"
    agent = agent_of([pay], program(broken), program(broken), program(repaired), "done")
    state = await agent.ainvoke(USER, THREAD)
    assert (answers(state)[-1].text, paid) == ('["busy", "paid ann 5"]', ["ann"])
    assert not (await agent.aget_state(THREAD)).values["codemode_turn_calls"]


async def test_what_was_read_in_an_earlier_turn_is_forgotten() -> None:
    counter = Counter()
    agent = agent_of(counter.tools, program(COUNTS), "I give up.", program("await tools.get()"), "done")
    await agent.ainvoke(USER, THREAD)
    counter.value = 7
    state = await agent.ainvoke({"messages": [HumanMessage("And now?")]}, THREAD)
    assert "7" in answers(state)[-1].text
    kept = (await agent.aget_state(THREAD)).values["codemode_turn_calls"]
    assert {call["tool"] for each in kept.values() for call in each["calls"].values()} == {"put"}
