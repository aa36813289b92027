"""Code mode over an agent's own tools: calls of programs are calls of the agent."""

import asyncio
import operator
from collections.abc import Callable, Iterator
from datetime import date
from typing import Annotated, Any, NotRequired

import pytest
from langchain.agents import AgentState, create_agent
from langchain.agents.middleware import AgentMiddleware, ToolRetryMiddleware
from langchain.agents.middleware.types import ToolCallRequest
from langchain.tools import InjectedState, InjectedStore, ToolRuntime
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import InjectedToolCallId
from langchain_core.tools import tool as langchain_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command
from pydantic import BaseModel

from codemode_graph import CodeModeMiddleware, ConfigurationError, IdempotencyKey, ToolPolicy
from tests.integrations.agents import USER, Agent, Runs, Shop, agent_model, answers, calling
from tests.support import scripted

THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}


def program(*codes: str) -> Any:
    return calling("run_program", *[{"code": code} for code in codes])


def system(model: Agent, turn: int = 0) -> str:
    return next((message.text for message in model.asked[turn] if isinstance(message, SystemMessage)), "")


def agent_of(tools: list[Any], *replies: Any, code: CodeModeMiddleware | None = None, **options: Any) -> Any:
    others = options.pop("middleware", [])
    model = options.pop("model", None) or agent_model(*replies)
    return create_agent(model, tools=tools, middleware=[code or CodeModeMiddleware(), *others], **options)


@pytest.mark.parametrize("way", ["async", "sync"])
async def test_an_agent_runs_a_program_on_its_own_tools(way: str) -> None:
    shop = Shop()
    model = agent_model(program("sums = [await tools.owed(n) for n in ('ann', 'bob')]\nsum(sums)"), "They get 12.")
    agent = agent_of(shop.tools, model=model, system_prompt="You are a clerk.")
    state = await agent.ainvoke(USER) if way == "async" else sync(agent, USER)
    (message,) = answers(state)
    assert (message.text, message.status, message.name) == ("12", "success", "run_program")
    assert message.artifact["program"].startswith("sums = ")
    assert state["messages"][-1].text == "They get 12."
    assert model.offered[0] == ["run_program", "owed", "pay"]
    assert system(model).startswith("You are a clerk.\n\n# Programs")
    assert "Call a tool directly where one call does" in system(model)
    assert "await tools['owed'](who: str) -> int" in system(model)
    assert "codemode_offered" not in state


def sync(agent: Any, given: Any, config: Any = None) -> Any:
    """Run an agent as callers without an event loop do."""
    import threading

    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(agent.invoke(given, config)))
    thread.start()
    thread.join()
    return found[0]


async def test_who_may_call_a_tool_holds_for_the_model_and_for_programs() -> None:
    shop = Shop()
    code = CodeModeMiddleware(policies={"owed": ToolPolicy(callers="program"), "pay": ToolPolicy(callers="model")})
    model = agent_model(
        calling("owed", {"who": "ann"}),
        program("await tools.pay('ann', 1)"),
        program("await tools.owed('ann')"),
        calling("pay", {"who": "ann", "amount": 5}),
        "done",
    )
    state = await agent_of(shop.tools, model=model, code=code).ainvoke(USER)
    assert model.offered[0] == ["run_program", "pay"]
    assert "tools['owed']" in system(model)
    assert "tools['pay']" not in system(model)
    forged, reserved, looked, paid = answers(state)
    assert (forged.status, "by programs alone" in forged.text) == ("error", True)
    assert (reserved.status, "tools['pay'] is not for programs" in reserved.text) == ("error", True)
    assert (looked.text, paid.text) == ("5", "paid ann 5")
    assert (shop.seen, shop.paid) == (["ann"], [("ann", 5)])


async def test_a_policy_for_a_tool_that_there_is_not_is_told() -> None:
    code = CodeModeMiddleware(policies={"pai": ToolPolicy(callers="model")})
    with pytest.raises(ConfigurationError, match="did you mean 'pay'"):
        await agent_of(Shop().tools, program("1"), code=code).ainvoke(USER)


class Desk(AgentState[Any]):
    """The state of an agent with a desk."""

    clerk: NotRequired[str]
    notes: NotRequired[Annotated[list[str], operator.add]]
    mood: NotRequired[str]


class Office(BaseModel):
    city: str


def injected_tools(found: list[Any]) -> list[Any]:
    @langchain_tool
    def sign(
        text: str,
        clerk: Annotated[str, InjectedState("clerk")],
        state: Annotated[dict[str, Any], InjectedState],
        store: Annotated[BaseStore, InjectedStore()],
    ) -> dict[str, str]:
        """Sign a text."""
        stamp = store.get(("desk",), "stamp")
        found.append(("sign", len(state["messages"]), stamp and stamp.value))
        return {"text": text, "by": clerk}

    @langchain_tool
    def place(what: str, runtime: ToolRuntime[Office, Any]) -> str:
        """Say where something is."""
        found.append(("place", runtime.context.city, runtime.state["clerk"], bool(runtime.tool_call_id)))
        runtime.stream_writer({"placed": what})
        return f"{what} in {runtime.context.city}"

    return [sign, place]


@pytest.mark.parametrize("way", ["async", "sync"])
async def test_tools_get_the_agents_state_store_and_runtime(way: str) -> None:
    found: list[Any] = []
    store = InMemoryStore()
    store.put(("desk",), "stamp", {"red": True})
    agent = agent_of(
        injected_tools(found),
        program("signed = await tools.sign('dear all')\n[signed['by'], await tools.place('it')]"),
        "done",
        state_schema=Desk,
        context_schema=Office,
        store=store,
    )
    given = {**USER, "clerk": "Cem"}
    if way == "sync":
        chunks = list(agent.stream(given, context=Office(city="Bern"), stream_mode=["custom", "values"]))
    else:
        stream = agent.astream(given, context=Office(city="Bern"), stream_mode=["custom", "values"])
        chunks = [chunk async for chunk in stream]
    assert answers(chunks[-1][1])[0].text == '["Cem", "it in Bern"]'
    assert found == [("sign", 2, {"red": True}), ("place", "Bern", "Cem", True)]
    assert ("custom", {"placed": "it"}) in chunks


async def test_a_program_cannot_give_what_is_injected() -> None:
    found: list[Any] = []
    agent = agent_of(
        injected_tools(found), program("await tools.sign(text='x', **{'clerk': 'Eve'})"), "done", store=InMemoryStore()
    )
    (message,) = answers(await agent.ainvoke({**USER, "clerk": "Cem"}))
    assert message.status == "error"
    assert found == []


@pytest.mark.parametrize("way", ["async", "sync"])
async def test_commands_of_tools_update_the_agents_state(way: str) -> None:
    @langchain_tool
    def note(text: str, id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Note a thing."""
        told = ToolMessage('{"noted": true}', tool_call_id=id)
        return Command(update={"notes": [text], "mood": text, "messages": [told, HumanMessage(f"noted {text}")]})

    agent = agent_of(
        [note], program("[await tools.note(text) for text in ('good', 'better')]"), "done", state_schema=Desk
    )
    state = await agent.ainvoke(USER) if way == "async" else sync(agent, USER)
    assert answers(state)[0].text == '[{"noted": true}, {"noted": true}]'
    assert (state["notes"], state["mood"]) == (["good", "better"], "better")
    kinds = [message.type for message in state["messages"]]
    assert kinds == ["human", "ai", "tool", "human", "human", "ai"]


class Wrapper(AgentMiddleware[Any, Any, Any]):
    """Notes every tool call, and changes amounts and answers."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def changed(self, request: ToolCallRequest) -> ToolCallRequest:
        call = request.tool_call
        self.calls.append(call["name"])
        if "amount" in call["args"]:
            call = {**call, "args": {**call["args"], "amount": 1}}
        return request.override(tool_call=call)

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[Any], Any]) -> Any:
        if request.tool_call["args"].get("who") == "eve":
            return ToolMessage("eve is not to be named", tool_call_id=request.tool_call["id"], status="error")
        return handler(self.changed(request))

    async def awrap_tool_call(self, request: ToolCallRequest, handler: Callable[[Any], Any]) -> Any:
        if request.tool_call["args"].get("who") == "eve":
            return ToolMessage("eve is not to be named", tool_call_id=request.tool_call["id"], status="error")
        return await handler(self.changed(request))


@pytest.mark.parametrize("way", ["async", "sync"])
async def test_middleware_that_follows_applies_to_the_calls_of_programs(way: str) -> None:
    shop, wrapper = Shop(), Wrapper()
    code = "paid = await tools.pay('ann', 5)\ntry:\n    await tools.owed('eve')\nexcept RuntimeError as e:\n    paid += f', {e}'\npaid"
    agent = agent_of(shop.tools, program(code), "done", middleware=[wrapper])
    state = await agent.ainvoke(USER) if way == "async" else sync(agent, USER)
    assert answers(state)[0].text == '"paid ann 1, eve is not to be named"'
    assert wrapper.calls == ["run_program", "pay"]
    assert (shop.paid, shop.seen) == ([("ann", 1)], [])


async def test_a_failed_program_is_not_run_again_by_middleware_that_retries() -> None:
    shop = Shop()
    retry = ToolRetryMiddleware(max_retries=3, initial_delay=0)
    agent = agent_of(shop.tools, program("await tools.pay('ann', 5)\n1 / 0"), "done", middleware=[retry])
    (message,) = answers(await agent.ainvoke(USER))
    assert "ZeroDivisionError" in message.text
    assert shop.paid == [("ann", 5)]


class Insists(AgentMiddleware[Any, Any, Any]):
    """Makes a call again until its answer is another one."""

    async def awrap_tool_call(self, request: ToolCallRequest, handler: Callable[[Any], Any]) -> Any:
        first = await handler(request)
        return await handler(request) if request.tool_call["name"] == "draw" else first


async def test_middleware_that_follows_may_make_a_call_again_and_values_keep_their_types() -> None:
    drawn: Iterator[dict[str, Any]] = iter([{"n": 1}, {"n": 2, "at": date(2026, 11, 22), "tags": {"x"}}])

    @langchain_tool
    def draw() -> dict[str, Any]:
        """Draw a number."""
        return next(drawn)

    agent = agent_of([draw], program("await tools.draw()"), "done", middleware=[Insists()])
    (message,) = answers(await agent.ainvoke(USER))
    assert message.artifact["output"] == {"n": 2, "at": "2026-11-22", "tags": ["x"]}


class Hides(AgentMiddleware[Any, Any, Any]):
    """Hides a tool from the model."""

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        return await handler(request.override(tools=[tool for tool in request.tools if tool.name != "pay"]))


async def test_programs_do_not_have_what_middleware_before_hides_from_the_model() -> None:
    shop = Shop()
    model = agent_model(program("await tools.pay('ann', 5)"), "done")
    agent = create_agent(model, tools=shop.tools, middleware=[Hides(), CodeModeMiddleware()])
    (message,) = answers(await agent.ainvoke(USER))
    assert "there is no tool 'pay'" in message.text
    assert "tools['pay']" not in system(model)
    assert shop.paid == []


FAILS = "await tools.pay('ann', 5)\nawait tools.owed('eve')"
MENDED = "first = await tools.pay('ann', 5)\n[first, await tools.pay('bob', 7)]"


async def test_a_program_that_follows_a_failed_one_does_nothing_twice() -> None:
    shop = Shop()
    agent = agent_of(
        shop.tools,
        program(FAILS),
        program(FAILS + "\n1"),
        calling("run_program", {"program": "what is not asked for"}),
        program("no program ("),
        program(MENDED),
        program("await tools.pay('ann', 5)"),
        "done",
    )
    state = await agent.ainvoke(USER)
    first, second, *_, third, fourth = answers(state)
    assert 'took effect and stand: pay({"who": "ann", "amount": 5})' in first.text
    assert "not made a second time" in first.text
    assert (second.status, third.text) == ("error", '["paid ann 5", "paid bob 7"]')
    # The third did what was to be done: what comes after it is new.
    assert fourth.text == '"paid ann 5"'
    assert shop.paid == [("ann", 5), ("bob", 7), ("ann", 5)]


async def test_programs_that_failed_at_the_same_time_are_repaired_by_one() -> None:
    shop = Shop()
    both = "[await tools.pay('ann', 5), await tools.pay('ann', 5), await tools.pay('ann', 5)]"
    agent = agent_of(shop.tools, program(FAILS, FAILS + "\n2"), program(both), "done")
    assert len(answers(await agent.ainvoke(USER))) == 3
    assert len(shop.paid) == 3


async def test_programs_that_repair_one_side_by_side_inherit_what_it_did_once() -> None:
    shop = Shop()
    twice = "[await tools.pay('ann', 5), await tools.pay('ann', 5)]"
    agent = agent_of(shop.tools, program(FAILS), program("{}['x']", "{}['y']"), program(twice), "done")
    assert answers(await agent.ainvoke(USER))[-1].text == '["paid ann 5", "paid ann 5"]'
    assert len(shop.paid) == 2


async def test_an_edit_is_for_the_call_of_the_program_in_which_it_was_made() -> None:
    paid: list[int] = []

    @langchain_tool
    async def pay(amount: int) -> str:
        """Pay."""
        paid.append(amount)
        await asyncio.sleep(5 if len(paid) == 1 else 0)
        return f"paid {amount}"

    def edit(amount: int) -> dict[str, Any]:
        return {"type": "edit", "edited_action": {"name": "pay", "args": {"amount": amount}}}

    code = CodeModeMiddleware(policies={"pay": ToolPolicy(timeout=0.3, approval=True)})
    both = "import asyncio\nawait asyncio.gather(tools.pay(5), tools.pay(5))"
    agent = agent_of(
        [pay], program("await tools.pay(5)\n{}['x']"), program(both), "done", code=code, checkpointer=InMemorySaver()
    )
    await agent.ainvoke(USER, THREAD)
    await agent.ainvoke(Command(resume={"decisions": [edit(1)]}), THREAD)
    (waiting,) = (await agent.aget_state(THREAD)).interrupts
    asked = [(each["reason"], each["args"]["amount"]) for each in waiting.value["action_requests"]]
    assert asked == [("unknown", 1)]
    await agent.ainvoke(Command(resume={"decisions": [{"type": "approve"}]}), THREAD)
    (waiting,) = (await agent.aget_state(THREAD)).interrupts
    asked = [(each["reason"], each["args"]["amount"]) for each in waiting.value["action_requests"]]
    assert asked == [("approval", 5)]
    state = await agent.ainvoke(Command(resume={"decisions": [edit(300)]}), THREAD)
    assert (answers(state)[-1].text, paid) == ('["paid 1", "paid 300"]', [1, 1, 300])


async def test_what_a_call_updates_is_updated_once() -> None:
    class Facts(AgentState[Any]):
        facts: Annotated[list[str], operator.add]

    @langchain_tool
    def remember(fact: str, id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Remember a fact."""
        return Command(update={"facts": [fact], "messages": [ToolMessage("noted", tool_call_id=id)]})

    note = "await tools.remember('tea')\n"
    agent = agent_of([remember], program(note + "{}['x']"), program(note + "1"), "done", state_schema=Facts)
    state = await agent.ainvoke({**USER, "facts": []})
    assert (state["facts"], answers(state)[-1].text) == (["tea"], "1")


async def test_what_a_person_changed_is_what_the_program_that_follows_makes_again() -> None:
    paid: list[int] = []

    @langchain_tool
    async def pay(amount: int, key: IdempotencyKey) -> str:
        """Pay."""
        paid.append(amount)
        await asyncio.sleep(5 if len(paid) == 1 else 0)
        return f"paid {amount}"

    code = CodeModeMiddleware(policies={"pay": ToolPolicy(timeout=0.3, approval=True)})
    call = "await tools.pay(5)"
    agent = agent_of([pay], program(call), program(call), "done", code=code, checkpointer=InMemorySaver())
    await agent.ainvoke(USER, THREAD)
    edit = {"type": "edit", "edited_action": {"name": "pay", "args": {"amount": 1}}}
    state = await agent.ainvoke(Command(resume={"decisions": [edit]}), THREAD)
    assert (answers(state)[-1].text, paid) == ('"paid 1"', [1, 1])


async def test_a_call_that_is_made_again_by_the_program_that_follows_keeps_its_key() -> None:
    keys: list[str] = []

    @langchain_tool
    async def pay(who: str, key: IdempotencyKey) -> str:
        """Pay."""
        keys.append(key)
        if len(keys) == 1:
            await asyncio.sleep(5)
        return f"paid {who}"

    code = CodeModeMiddleware(policies={"pay": ToolPolicy(timeout=0.3)})
    again = "[await tools.pay('ann'), await tools.pay('bob')]"
    agent = agent_of([pay], program("await tools.pay('ann')\n{}['x']"), program(again), "done", code=code)
    first, second = answers(await agent.ainvoke(USER))
    assert "KeyError" in first.text
    assert second.text == '["paid ann", "paid bob"]'
    assert keys[0] == keys[1] != keys[2]


async def test_a_model_of_its_own_can_write_the_programs() -> None:
    shop = Shop()
    writer = scripted(FAILS, "x = await tools.pay('ann', 5)\nx")
    model = agent_model(calling("run_program", {"task": "pay ann what she is owed"}), "done")
    code = CodeModeMiddleware(model=writer, policies={"*": ToolPolicy(callers="program")})
    state = await agent_of(shop.tools, model=model, code=code).ainvoke(USER)
    assert answers(state)[0].text == '"paid ann 5"'
    assert shop.paid == [("ann", 5)]
    assert model.offered[0] == ["run_program"]
    assert system(model) == ""
    assert writer.prompts[0] == "pay ann what she is owed"


async def test_calls_of_a_program_are_traced_below_it_and_seen_on_the_stream() -> None:
    runs = Runs()
    agent = agent_of(Shop().tools, program("await tools.owed('ann')"), "done")
    stream = agent.astream(USER, {"callbacks": [runs]}, stream_mode=["custom", "messages"], subgraphs=True)
    chunks = [(mode, data) async for _, mode, data in stream]
    first, nested = runs.tools
    assert first.endswith("run_program")
    assert nested.startswith(f"{first}/")
    assert "/execute/" in nested
    assert nested.endswith("/owed")
    assert [data["tool"] for mode, data in chunks if mode == "custom" and data["type"] == "call_started"] == ["owed"]
    assert "5" in [data[0].text for mode, data in chunks if mode == "messages" and data[0].type == "tool"]


async def test_a_tool_whose_result_ends_the_agent_is_the_models_alone() -> None:
    @langchain_tool(return_direct=True)
    def finish(text: str) -> str:
        """Finish."""
        return text

    model = agent_model(program("await tools.finish('x')"), calling("finish", {"text": "bye"}))
    state = await agent_of([finish, *Shop().tools], model=model).ainvoke(USER)
    assert "not for programs" in answers(state)[0].text
    assert state["messages"][-1].text == "bye"


async def test_an_agent_without_tools_for_programs_is_left_as_it_is() -> None:
    model = agent_model("hello")
    code = CodeModeMiddleware(policies={"*": ToolPolicy(callers="model")})
    await agent_of(Shop().tools, model=model, code=code).ainvoke(USER)
    assert (model.offered, system(model)) == ([["owed", "pay"]], "")
