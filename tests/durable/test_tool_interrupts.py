"""Tools that ask by themselves: their question is an interrupt of the run, and the answer reaches the very call."""

import asyncio
import datetime
import sys
from typing import Annotated, Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool as langchain_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import InjectedState, InjectedStore
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, Interrupt, interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

from codemode_graph import IdempotencyKey, ToolPolicy, codemode, create_codemode
from codemode_graph.exact import decode
from codemode_graph.tools import tool

CONFIG: RunnableConfig = {"configurable": {"thread_id": "t", "user": "ann"}}


class Desk:
    """Tools that ask; `begun` has a line for each time that one was started, `sent` one for each effect."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.sent: list[str] = []

    @property
    def tools(self) -> list[Any]:
        @langchain_tool
        async def mail(to: str) -> str:
            """Send a mail, once a person has given its text."""
            self.begun.append(f"mail {to}")
            text = interrupt({"question": "which text?", "to": to})
            self.sent.append(f"{to}: {text}")
            return f"sent {text} to {to}"

        def confirm(what: str) -> list[str]:
            """Ask twice. A plain function, run in a thread."""
            self.begun.append(f"confirm {what}")
            sure = interrupt(f"sure about {what}?")
            really = interrupt(f"really, {what}, after {sure}?")
            self.sent.append(what)
            return [sure, really]

        async def pay(n: int) -> int:
            """Pay."""
            self.sent.append(f"pay {n}")
            return n

        @tool(effect="read")
        async def look(n: int) -> int:
            """Look."""
            self.begun.append(f"look {n}")
            return n * 10

        return [mail, confirm, pay, look]


class Talk:
    """A run with a checkpointer, and what it waits for."""

    def __init__(
        self, tools: list[Any], policies: dict[str, ToolPolicy] | None = None, sandbox: str = "monty", **how: Any
    ) -> None:
        graph = create_codemode(model=None, tools=tools, policies=policies, sandbox=sandbox)
        self.app = graph.compile(checkpointer=InMemorySaver(), **how)

    async def say(self, given: Any) -> tuple[Interrupt, ...]:
        await self.app.ainvoke(given, CONFIG)
        return (await self.app.aget_state(CONFIG)).interrupts

    async def begin(self, program: str) -> tuple[Interrupt, ...]:
        return await self.say({"task": "", "code": program})

    async def answer(self, answer: Any) -> tuple[Interrupt, ...]:
        return await self.say(Command(resume=answer))

    @property
    def state(self) -> Any:
        return self.app.get_state(CONFIG).values


async def test_a_tools_question_is_an_interrupt_of_its_own_and_its_answer_comes_back() -> None:
    desk = Desk()
    talk = Talk(desk.tools)
    program = "seen = await tools.look(1)\nx = await tools.mail(to='ann')\n[seen, x, await tools.pay(2)]"
    (asked,) = await talk.begin(program)
    assert asked.value == {"question": "which text?", "to": "ann"}
    (pending,) = talk.state["pending"]
    assert (pending["tool"], pending["reason"], pending["line"]) == ("mail", "tool", 2)
    assert [call["status"] for call in talk.state["tool_calls"]] == ["done", "interrupted"]
    assert await talk.answer("hello") == ()
    assert talk.state["output"] == [10, "sent hello to ann", 2]
    assert desk.sent == ["ann: hello", "pay 2"]
    # LangGraph's own rule: once up to the question, once with the answer.
    assert desk.begun == ["look 1", "mail ann", "mail ann"]
    assert [call["status"] for call in talk.state["tool_calls"]] == ["done", "done", "done"]


async def test_several_questions_of_one_tool_come_in_turn() -> None:
    desk = Desk()
    talk = Talk(desk.tools)
    (first,) = await talk.begin("await tools.confirm('this')")
    assert first.value == "sure about this?"
    (second,) = await talk.answer("yes")
    assert second.value == "really, this, after yes?"
    assert await talk.answer("oh yes") == ()
    assert talk.state["output"] == ["yes", "oh yes"]
    assert (desk.sent, desk.begun) == (["this"], ["confirm this"] * 3)


async def test_questions_of_one_gather_and_gated_calls_are_asked_together_and_answered_apart() -> None:
    desk = Desk()
    # Monty starts the tools of such a gather before the functions in it, and refuses the program.
    talk = Talk(desk.tools, {"pay": ToolPolicy(approval=True)}, "restricted")
    program = (
        "import asyncio\n"
        "async def pay(n):\n"
        "    try:\n        return await tools.pay(n)\n    except PermissionError as e:\n        return str(e)\n"
        "await asyncio.gather(tools.mail('ann'), pay(1), tools.mail('bob'), pay(2), tools.look(3))"
    )
    asked = await talk.begin(program)
    by_person = {each.value.get("to", "gated"): each for each in asked}
    assert set(by_person) == {"ann", "bob", "gated"}
    assert [action["args"]["n"] for action in by_person["gated"].value["action_requests"]] == [1, 2]
    decisions = {"decisions": [{"type": "reject"}, {"type": "approve"}]}
    left = await talk.answer({by_person["bob"].id: "to bob", by_person["gated"].id: decisions})
    assert [each.value for each in left] == [by_person["ann"].value]
    assert desk.sent == []
    assert await talk.answer({left[0].id: "to ann"}) == ()
    ann, denied, bob, paid, seen = talk.state["output"]
    assert (ann, bob, paid, seen) == ("sent to ann to ann", "sent to bob to bob", 2, 30)
    assert "refused" in str(denied)
    assert sorted(desk.sent) == ["ann: to ann", "bob: to bob", "pay 2"]
    assert sorted(desk.begun) == ["look 3", "mail ann", "mail ann", "mail bob", "mail bob"]


async def test_calls_that_nobody_is_asked_about_end_first_and_run_once() -> None:
    desk = Desk()

    async def slow(n: int) -> int:
        """Take longer than it takes others to ask."""
        desk.begun.append(f"slow {n}")
        await asyncio.sleep(0.05)
        return n

    talk = Talk([*desk.tools, slow])
    await talk.begin("import asyncio\nawait asyncio.gather(tools.slow(7), tools.mail('ann'))")
    assert [call["status"] for call in talk.state["tool_calls"]] == ["done", "interrupted"]
    await talk.answer("x")
    assert talk.state["output"] == [7, "sent x to ann"]
    assert desk.begun == ["slow 7", "mail ann", "mail ann"]


async def test_an_approved_and_edited_call_may_ask_as_well() -> None:
    desk = Desk()
    talk = Talk(desk.tools, {"confirm": ToolPolicy(approval=True, max_calls=1)})
    await talk.begin("await tools.confirm('this')")
    assert desk.begun == []
    edit = {"type": "edit", "edited_action": {"name": "confirm", "args": {"what": "that"}}}
    (first,) = await talk.answer({"decisions": [edit]})
    assert first.value == "sure about that?"
    await talk.answer("a")
    await talk.answer("b")
    assert talk.state["output"] == ["a", "b"]
    assert (desk.sent, desk.begun) == (["that"], ["confirm that"] * 3)


async def test_a_program_cannot_catch_a_question() -> None:
    desk = Desk()
    talk = Talk(desk.tools)
    program = "try:\n    x = await tools.mail('ann')\nexcept BaseException as e:\n    x = 'caught'\nx"
    assert len(await talk.begin(program)) == 1
    await talk.answer("t")
    assert talk.state["output"] == "sent t to ann"


@pytest.mark.skipif(sys.platform != "linux", reason="Monty has no tasks, and the restricted sandbox needs Linux")
async def test_a_question_of_a_call_that_the_program_leaves_behind_is_asked() -> None:
    desk = Desk()

    async def later(to: str) -> None:
        """Ask, after a while."""
        await asyncio.sleep(0.05)
        desk.sent.append(f"{to}: {interrupt('text?')}")

    talk = Talk([later], sandbox="restricted")
    program = "import asyncio\nt = asyncio.create_task(tools.later('ann'))\nawait asyncio.sleep(0.001)\n'done'"
    assert [each.value for each in await talk.begin(program)] == ["text?"]
    assert await talk.answer("x") == ()
    assert (talk.state["output"], desk.sent) == ("done", ["ann: x"])


class Amount(BaseModel):
    euros: int


async def test_an_answer_that_does_not_match_the_schema_is_asked_for_again() -> None:
    started = []

    @langchain_tool
    async def refund(order: str) -> str:
        """Refund an order."""
        started.append(order)
        amount = interrupt("how much?", response_schema=Amount)
        return f"{amount.euros} for {order}"

    talk = Talk([refund])
    (asked,) = await talk.begin("await tools.refund('o1')")
    assert isinstance(asked.response_schema, dict)
    assert asked.response_schema["properties"]["euros"]["type"] == "integer"
    (again,) = await talk.answer({"euros": "many"})
    assert (again.value, again.response_schema) == (asked.value, asked.response_schema)
    assert await talk.answer({"euros": 5}) == ()
    assert talk.state["output"] == "5 for o1"
    assert len(started) == 3


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("keyed", [False, True])
async def test_an_answer_that_fits_nothing_is_asked_for_again_also_after_a_kill(keyed: bool) -> None:
    started: list[str | None] = []

    class Amount(BaseModel):
        euros: int

    async def charge(key: str | None) -> int:
        started.append(key)
        if len(started) == 2:
            raise Killed
        amount: Amount = interrupt("how much?", response_schema=Amount)
        return amount.euros

    @tool()
    async def plain() -> int:
        """Charge."""
        return await charge(None)

    @tool(name="plain")
    async def by_key(key: IdempotencyKey) -> int:
        """Charge."""
        return await charge(key)

    talk = Talk([by_key if keyed else plain], store=InMemoryStore())
    await talk.begin("await tools.plain()")
    with pytest.raises(Killed):
        await talk.answer({"euros": "many"})
    (asked,) = await talk.say(None)
    if not keyed:
        assert asked.value["action_requests"][0]["reason"] == "unknown"
        (asked,) = await talk.answer({"decisions": [{"type": "approve"}]})
    assert (asked.value, len(started), len(set(started))) == ("how much?", 3, 1)
    assert await talk.answer({"euros": 5}) == ()
    assert talk.state["output"] == 5


async def test_a_tool_that_is_answered_finds_the_graph_it_is_called_in() -> None:
    found: list[Any] = []

    class Ended(AsyncCallbackHandler):
        async def on_tool_end(self, output: Any, **kwargs: Any) -> None:
            found.append(output)

    @langchain_tool
    async def where(
        state: Annotated[dict[str, Any], InjectedState],
        store: Annotated[BaseStore, InjectedStore()],
        config: RunnableConfig,
    ) -> str:
        """Look around."""
        answer = interrupt("?")
        get_stream_writer()({"type": "mine", "answer": answer})
        item = await store.aget(("a",), "b")
        return f"{state['task']} {item and item.value['c']} {config['configurable']['user']} {answer}"

    store = InMemoryStore()
    await store.aput(("a",), "b", {"c": "stored"})
    talk = Talk([where], store=store)
    await talk.say({"task": "the task", "code": "await tools.where()"})
    events = [
        event
        async for event in talk.app.astream(
            Command(resume="!"), {**CONFIG, "callbacks": [Ended()]}, stream_mode="custom"
        )
    ]
    assert talk.state["output"] == "the task stored ann !"
    assert {"type": "mine", "answer": "!"} in events
    assert found == ["the task stored ann !"]


async def test_a_graph_that_asks_within_a_tool_is_an_error_that_says_what_to_do() -> None:
    class Inner(TypedDict, total=False):
        x: str

    begun = []

    async def ask(state: Inner) -> Inner:
        begun.append(1)
        return {"x": interrupt("inner")}

    inner = StateGraph(Inner).add_node(ask).add_edge(START, "ask").compile()

    async def agent(task: str) -> Any:
        """An agent."""
        return (await inner.ainvoke({"x": task}))["x"]

    talk = Talk([agent])
    (asked,) = await talk.begin("await tools.agent('a')")
    assert "let the tool's policy ask for approval" in asked.value["action_requests"][0]["description"]
    assert talk.state["tool_calls"][0]["status"] == "unknown"
    assert len(begun) == 1


async def test_a_question_that_is_no_data_and_an_answer_that_is_none() -> None:
    async def odd() -> Any:
        """Ask with an object."""
        return interrupt(object())

    talk = Talk([odd, *Desk().tools])
    (asked,) = await talk.begin("await tools.odd()")
    assert "TypeError: odd asks what is no data" in asked.value["action_requests"][0]["description"]
    await talk.begin("await tools.mail('ann')")
    with pytest.raises(TypeError, match="object"):
        await talk.answer(object())
    assert await talk.answer("text") == ()
    assert talk.state["output"] == "sent text to ann"


async def test_a_question_survives_a_kill_and_the_tool_is_not_begun_again_for_it() -> None:
    desk = Desk()

    async def die(n: int) -> int:
        """Die, the first time, once the others have asked."""
        while not desk.begun:  # noqa: ASYNC110 - a list tells nobody
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        if "died" not in desk.sent:
            desk.sent.append("died")
            raise Killed
        return n

    talk = Talk([*desk.tools, tool(effect="read")(die)], store=InMemoryStore())
    with pytest.raises(Killed):
        await talk.begin("import asyncio\nawait asyncio.gather(tools.mail('ann'), tools.die(1))")
    (asked,) = await talk.say(None)
    assert asked.value["to"] == "ann"
    assert desk.begun == ["mail ann"]
    await talk.answer("x")
    assert talk.state["output"] == ["sent x to ann", 1]
    assert desk.begun == ["mail ann"] * 2


async def test_what_a_person_is_shown_as_done_does_not_name_calls_that_wait() -> None:
    desk = Desk()
    talk = Talk(desk.tools, {"mail": ToolPolicy(approval=lambda given: given["to"] == "bob")})
    program = "import asyncio\nawait tools.pay(1)\nawait asyncio.gather(tools.mail('ann'), tools.mail('bob'))"
    asked = await talk.begin(program)
    (gated,) = [each.value for each in asked if "action_requests" in each.value]
    assert [(call["tool"], call["status"]) for call in gated["done"]] == [("pay", "done")]


async def test_codemodes_own_approve_function_answers_tools_too() -> None:
    desk = Desk()

    def approve(request: Any) -> Any:
        return "text" if "question" in request else {"decisions": [{"type": "approve"}]}

    async with codemode(tools=desk.tools, policies={"pay": ToolPolicy(approval=True)}, approve=approve) as cm:
        result = await cm.run_code("import asyncio\nawait asyncio.gather(tools.mail('ann'), tools.pay(1))")
    assert result["output"] == ["sent text to ann", 1]


def test_tools_that_ask_work_in_a_synchronous_graph() -> None:
    desk = Desk()
    app = create_codemode(model=None, tools=desk.tools).compile(checkpointer=InMemorySaver())
    app.invoke({"task": "", "code": "await tools.confirm('x')"}, CONFIG)
    app.invoke(Command(resume="1"), CONFIG)
    assert app.invoke(Command(resume="2"), CONFIG)["output"] == ["1", "2"]
    assert desk.begun == ["confirm x"] * 3


async def test_a_repaired_program_meets_the_same_question_and_does_not_start_the_tool_for_it() -> None:
    """The sandbox died while the run waited; the next attempt makes the same call."""
    desk = Desk()
    talk = Talk(desk.tools)
    await talk.begin("await tools.mail('ann')")
    state = talk.state
    attempts = [*state["attempts"], {**state["attempts"][0], "number": 2}]
    await talk.app.aupdate_state(CONFIG, {"attempts": attempts, "turns": []}, as_node="check")
    (asked,) = await talk.say(None)
    assert asked.value["to"] == "ann"
    assert desk.begun == ["mail ann"]
    await talk.answer("x")
    assert talk.state["output"] == "sent x to ann"


@pytest.mark.parametrize("answer", [2**70, "\ud800", {"a": [float("nan"), -0.0, "\0"]}, datetime.date(2026, 1, 2)])
async def test_answers_and_what_the_run_has_may_be_any_values(answer: Any) -> None:
    asked: list[Any] = []

    @tool(effect="read")
    async def large() -> int:
        """Return a large number."""
        return 2**80

    @tool(effect="write")
    async def ask() -> str:
        """Ask."""
        return repr(interrupt({"number": 2**80, "text": "\ud800"}))

    def approve(question: Any) -> Any:
        asked.append(decode(question))
        return answer

    async with codemode(tools=[large, ask], approve=approve, sandbox="restricted") as cm:
        result = await cm.run_code("n = await tools.large()\n[n, await tools.ask()]")
    arrived = "2026-01-02" if isinstance(answer, datetime.date) else answer
    assert result.value == [2**80, repr(arrived)]
    assert asked == [{"number": 2**80, "text": "\ud800"}]
