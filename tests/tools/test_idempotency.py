"""A tool that takes a key gets the same one whenever the same call is made."""

import asyncio
import uuid
from typing import Annotated, Any

import pytest
from langchain_core.tools import InjectedToolArg, StructuredTool
from langchain_core.tools import tool as langchain_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from codemode_graph import IdempotencyKey, ToolPolicy, codemode, create_codemode
from codemode_graph.tools import tool
from codemode_graph.tools.load import load_tools


class Killed(BaseException):
    """The process ends here."""


class Bank:
    """Pays once for a key. The next word says what goes wrong."""

    def __init__(self, *words: str) -> None:
        self.words = list(words)
        self.keys: list[str] = []
        self.paid: dict[str, int] = {}

    async def take(self, amount: int, key: str) -> str:
        word = self.words.pop(0) if self.words else ""
        self.keys.append(key)
        if word == "busy":
            raise RuntimeError("busy")
        if word != "lost":
            assert self.paid.setdefault(key, amount) == amount
        if word == "killed":
            raise Killed
        if word in ("late", "lost"):
            await asyncio.sleep(5)
        return "paid"


def as_function(bank: Bank) -> Any:
    @tool(timeout=0.3)
    async def pay(amount: int, key: IdempotencyKey) -> str:
        """Pay."""
        return await bank.take(amount, key)

    return pay


def as_plain_function(bank: Bank) -> Any:
    loop = asyncio.get_running_loop()

    @tool(timeout=0.3)
    def pay(amount: int, *, key: IdempotencyKey) -> str:
        """Pay."""
        return asyncio.run_coroutine_threadsafe(bank.take(amount, key), loop).result()

    return pay


def as_langchain(bank: Bank) -> Any:
    @langchain_tool
    async def pay(amount: int, key: IdempotencyKey) -> str:
        """Pay."""
        return await bank.take(amount, key)

    return pay


@pytest.fixture(params=[as_function, as_langchain])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


AGAIN = """
for _ in range(3):
    try:
        done = await tools.pay(5)
        break
    except Exception as error:
        print(type(error).__name__)
"""


async def run(bank: Bank, make: Any, *programs: str, **policy: Any) -> Any:
    policies = {"pay": ToolPolicy(**{"timeout": 0.1, **policy})}
    async with codemode(tools=[make(bank)], policies=policies) as cm:
        result = await cm.run_code(programs[0])
        for program in programs[1:]:
            result = await cm.run_code(program, after=result["run_id"])
    return result


@pytest.mark.parametrize("make", [as_function, as_plain_function, as_langchain])
async def test_no_program_and_no_model_knows_of_the_key(make: Any) -> None:
    (spec,) = load_tools([make(Bank())])
    assert list(spec.input_schema["properties"]) == ["amount"]
    assert spec.takes_key
    bank = Bank()
    result = await run(bank, make, "await tools.pay(5, key='own')")
    assert "no argument 'key'" in result["error"]
    assert bank.keys == []


@pytest.mark.parametrize("make", [as_function, as_plain_function, as_langchain])
@pytest.mark.parametrize("word", ["busy", "late", "lost"])
async def test_a_call_that_is_tried_again_keeps_its_key_and_nobody_is_asked(make: Any, word: str) -> None:
    bank = Bank(word, word)
    result = await run(bank, make, AGAIN + "{}['x']", AGAIN + "done")
    assert result["output"] == "paid"
    (key,) = set(bank.keys)
    assert str(uuid.UUID(key)) == key
    assert (len(bank.keys), bank.paid) == (3, {key: 5})
    assert {call["idempotency_key"] for call in result["tool_calls"]} == {key}


async def test_so_does_one_of_a_repaired_program(make: Any) -> None:
    bank = Bank("late", "late", "busy")
    result = await run(bank, make, "await tools.pay(5)\n{}['x']", "await tools.pay(5)")
    assert (len(bank.keys), len(set(bank.keys)), len(bank.paid)) == (3, 1, 1)
    assert "waits for a person" in str(result["error"])  # "busy" says nothing of the two before it


async def test_other_calls_and_other_runs_have_other_keys(make: Any) -> None:
    bank = Bank()
    for _ in range(2):
        await run(bank, make, "await tools.pay(5)\nawait tools.pay(5)\nawait tools.pay(6)")
    assert len(bank.paid) == 6


async def test_a_call_that_a_kill_cut_off_is_made_again_under_its_key_and_its_approval(make: Any) -> None:
    bank = Bank("killed")
    graph = create_codemode(model=None, tools=[make(bank)], policies={"pay": ToolPolicy(approval=True)})
    app = graph.compile(checkpointer=InMemorySaver(), store=InMemoryStore())
    config: Any = {"configurable": {"thread_id": "t"}}
    await app.ainvoke({"task": "", "code": "await tools.pay(5)"}, config)
    edit = {"type": "edit", "edited_action": {"name": "pay", "args": {"amount": 4}}}
    with pytest.raises(Killed):
        await app.ainvoke(Command(resume={"decisions": [edit]}), config)
    state = await app.ainvoke(None, config)
    assert (state["output"], list(bank.paid.values()), len(bank.keys)) == ("paid", [4], 2)
    assert "__interrupt__" not in state


async def test_without_a_store_it_has_the_same_key(make: Any) -> None:
    bank = Bank("killed")
    app = create_codemode(model=None, tools=[make(bank)]).compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    with pytest.raises(Killed):
        await app.ainvoke({"task": "", "code": "await tools.pay(5)"}, config)
    state = await app.ainvoke(None, config)
    assert (state["output"], len(bank.keys), len(bank.paid)) == ("paid", 2, 1)


async def test_what_a_person_changed_has_a_key_of_its_own() -> None:
    bank = Bank("busy")
    decisions = iter([{"type": "approve"}, {"type": "edit", "edited_action": {"name": "pay", "args": {"amount": 4}}}])
    policies = {"pay": ToolPolicy(approval=True)}
    async with codemode(
        tools=[as_function(bank)], policies=policies, approve=lambda _: {"decisions": [next(decisions)]}
    ) as cm:
        result = await cm.run_code(AGAIN + "done")
    assert result["output"] == "paid"
    assert len(set(bank.keys)) == 2


async def test_what_a_person_changed_and_nobody_may_see_has_one_as_well() -> None:
    keys: list[tuple[str, str]] = []

    async def pay(card: str, key: IdempotencyKey) -> str:
        """Pay."""
        keys.append((card, key))
        raise RuntimeError("refused")

    edits = iter([{"type": "edit", "edited_action": {"name": "pay", "args": {"card": card}}} for card in ("41", "52")])
    policies = {"pay": ToolPolicy(approval=True, redact=frozenset({"card"}))}
    async with codemode(tools=[pay], policies=policies, approve=lambda _: {"decisions": [next(edits)]}) as cm:
        await cm.run_code(
            "for _ in range(2):\n    try:\n        await tools.pay('30')\n    except RuntimeError:\n        pass"
        )
    assert [card for card, _ in keys] == ["41", "52"]
    assert len({key for _, key in keys}) == 2


async def test_what_a_person_changed_stays_changed_under_its_key() -> None:
    bank = Bank("late", "busy")
    edit = {"type": "edit", "edited_action": {"name": "pay", "args": {"amount": 4}}}
    policies = {"pay": ToolPolicy(approval=True)}
    async with codemode(tools=[as_function(bank)], policies=policies, approve=lambda _: {"decisions": [edit]}) as cm:
        result = await cm.run_code(AGAIN + "done")
    assert (result["output"], list(bank.paid.values()), len(bank.keys)) == ("paid", [4], 3)


async def test_calls_that_are_made_again_are_counted(make: Any) -> None:
    bank = Bank("late", "late", "late")
    result = await run(bank, make, AGAIN + "done", max_calls=2)
    assert (len(bank.keys), len(bank.paid)) == (2, 1)
    assert "waits for a person" in result["error"]


async def test_a_tool_that_is_called_by_hand_gets_a_new_key(make: Any) -> None:
    bank = Bank()
    (spec,) = load_tools([make(bank)])
    for _ in range(2):
        await spec.call({"amount": 1}, {})
    assert len(set(bank.keys)) == 2


async def test_what_else_an_author_injects_is_still_refused() -> None:
    async def pay(amount: int, secret: Annotated[str, InjectedToolArg]) -> str:
        """Pay."""
        return secret

    with pytest.raises(Exception, match="only its author can do"):
        load_tools([StructuredTool.from_function(coroutine=pay)])
