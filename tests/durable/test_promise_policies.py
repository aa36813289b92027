"""The promises of policies: who is asked, what is hidden, and how much is made, over repairs, answers and gone processes."""

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from codemode_graph import ToolPolicy, create_codemode
from codemode_graph.calls import values as kept_values
from codemode_graph.calls.journal import Journal, MemoryJournal
from codemode_graph.calls.log import dump_events
from codemode_graph.tools import tool
from tests.durable.ledger import Ledger, functions
from tests.durable.ledger_graph import CONFIG


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


def approved(*decisions: Any) -> Command[Any]:
    return Command(resume={"decisions": list(decisions) or [{"type": "approve"}]})


# 11. Approval by a function.


@dataclass
class Order:
    total: int


def priced(ledger: Ledger) -> dict[str, Any]:
    async def pay(to: str, amount: float = 50.0, order: Order | None = None, on: datetime | None = None) -> str:
        """Pay."""
        ledger.write(f"pay {amount:g}")
        return "paid"

    return {"function": pay, "langchain": StructuredTool.from_function(coroutine=pay)}


@pytest.mark.parametrize("kind", ["function", "langchain", "mcp"])
@pytest.mark.parametrize(
    ("rule", "call", "asks"),
    [
        (lambda given: given["amount"] > 10, "tools.pay('a')", True),
        (lambda given: given["amount"] > 10, "tools.pay('a', amount='11')", True),
        (lambda given: given["amount"] > 10, "tools.pay('a', amount=9)", False),
        (lambda given: given["amount"] > 99, "tools.pay('a')", False),
        (lambda given: given["no such argument"] > 10, "tools.pay('a', 1)", True),
        (lambda given: 1 / 0 > 1, "tools.pay('a', 1)", True),
        (lambda given: given["order"]["total"] > 10, "tools.pay('a', 1, order={'total': 11})", True),
        (lambda given: given["order"]["total"] > 10, "tools.pay('a', 1, order={'total': 9})", False),
    ],
)
async def test_an_approval_sees_what_the_tool_will_see(
    kind: str, rule: Any, call: str, asks: bool, ledger: Ledger
) -> None:
    if kind == "mcp":
        # What a server declares is all that is known of its tools.
        schema = {
            "type": "object",
            "properties": {
                "to": {"type": "string"},
                "amount": {"type": "number", "default": 50},
                "order": {"type": "object"},
            },
            "required": ["to"],
        }
        from codemode_graph.tools.spec import ToolSpec

        async def pay(arguments: Any, config: RunnableConfig) -> str:
            ledger.write("pay")
            return "paid"

        tools: list[Any] = [ToolSpec(name="pay", call=pay, input_schema=schema)]
    else:
        tools = [priced(ledger)[kind]]
    graph = create_codemode(model=None, tools=tools, policies={"pay": ToolPolicy(approval=rule)})
    app = graph.compile(checkpointer=InMemorySaver())
    state = await app.ainvoke({"task": "", "code": f"await {call}"}, CONFIG)
    assert ("__interrupt__" in state) == asks
    assert len(ledger.effects) == (not asks)


# 16. Secrets.

CARD, TOKEN, EDITED = "4111-1111-2222", "tok-9f8e7d6c", "5500-9999-8888"


def card_tools(ledger: Ledger) -> list[Any]:
    @tool(effect="read")
    async def login(user: str) -> dict[str, str]:
        """Log in."""
        ledger.write(f"read login {user}")
        return {"user": user, "token": TOKEN}

    async def pay(card: str, amount: int, token: str = "") -> dict[str, Any]:
        """Pay."""
        ledger.write(f"pay {card} {amount}")
        if amount > 1000:
            raise ValueError(f"the card {card} is over its limit under {token}")
        return {"card": card, "token": TOKEN, "number": 7}

    return [login, pay]


HIDE = frozenset({"card", "token"})


async def kept(app: Any, journal: Journal, config: RunnableConfig = CONFIG) -> str:
    """All that is kept of a run: its states and its events."""
    states = [repr(snapshot.values) async for snapshot in app.aget_state_history(config)]
    events = [dump_events(await journal.read(run.run)) for run in await journal.runs()]
    return "\n".join([*states, *events])


def paying(ledger: Ledger, journal: Journal, **policy: Any) -> Any:
    policies = {"*": ToolPolicy(redact=HIDE), "pay": ToolPolicy(**policy)}
    graph = create_codemode(model=None, tools=card_tools(ledger), policies=policies, journal=journal)
    return graph.compile(checkpointer=InMemorySaver())


SECRET = "t = await tools.login('ann')\nprint('got', t['token'])\nr = await tools.pay('{}'[::-1], {}, t['token'])\nr['number']"


@pytest.mark.parametrize(
    ("decision", "paid"),
    [
        ({"type": "edit", "edited_action": {"name": "pay", "args": {"card": EDITED, "amount": 3}}}, f"pay {EDITED} 3"),
        (
            {"type": "edit", "edited_action": {"name": "pay", "args": {"card": "[redacted]", "amount": 4}}},
            f"pay {CARD} 4",
        ),
        ({"type": "respond", "message": {"card": EDITED, "number": 7}}, None),
        ({"type": "approve"}, f"pay {CARD} 5"),
    ],
    ids=["edit", "edit but the secret", "respond", "approve"],
)
async def test_no_secret_is_in_what_is_kept_or_streamed(decision: Any, paid: str | None, ledger: Ledger) -> None:
    journal = MemoryJournal()
    app = paying(ledger, journal, approval=True)
    chunks = []
    start = {"task": "", "code": SECRET.format(CARD[::-1], 5)}
    for given in (start, approved(decision)):
        async for chunk in app.astream(given, CONFIG, stream_mode=["custom", "updates", "values"]):
            chunks.append(repr(chunk))
    state = (await app.aget_state(CONFIG)).values
    assert (state["output"], ledger.effects) == (7, [] if paid is None else [paid])
    everything = "\n".join([await kept(app, journal), *chunks])
    for secret in (CARD, TOKEN, EDITED):
        assert secret not in everything
    assert "got [redacted]" in state["stdout"]


async def test_an_error_that_quotes_a_secret_is_masked(ledger: Ledger) -> None:
    journal = MemoryJournal()
    app = paying(ledger, journal)
    state = await app.ainvoke({"task": "", "code": SECRET.format(CARD[::-1], 5000)}, CONFIG)
    assert "the card [redacted] is over its limit under [redacted]" in state["error"]["message"]
    everything = await kept(app, journal)
    assert CARD not in everything
    assert TOKEN not in everything


async def gone(ledger: Ledger, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """A run that waits for its last approval in a process that never saw the secrets of the first."""
    monkeypatch.delenv("LANGGRAPH_AES_KEY", raising=False)
    known = functions(ledger)
    policies = {"*": ToolPolicy(redact=HIDE), "note": ToolPolicy(approval=True)}
    graph = create_codemode(
        model=None, tools=[*card_tools(ledger), known["note"][1]], policies=policies, journal=journal
    )
    app = graph.compile(checkpointer=InMemorySaver())
    program = (
        "t = await tools.login('ann')\nr = await tools.pay('1234', 5, t['token'])\n"
        "await tools.note('x')\n[len(t['token']), r['number']]"
    )
    await app.ainvoke({"task": "", "code": program}, CONFIG)
    kept_values._SECRETS.clear()
    return app, await app.ainvoke(approved(), CONFIG)


async def test_a_secret_that_is_gone_is_read_again_and_asked_for_where_it_was_a_write(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, state = await gone(ledger, MemoryJournal(), monkeypatch)
    assert ledger.count("read login") == 2
    (action,) = state["__interrupt__"][0].value["action_requests"]
    assert (action["name"], ledger.effects) == ("pay", ["pay 1234 5"])
    assert "Respond with the value" in action["description"]
    review = state["__interrupt__"][0].value["review_configs"][0]
    assert review["allowed_decisions"] == ["respond", "reject"]
    state = await app.ainvoke(approved({"type": "respond", "message": {"number": 9, "token": TOKEN}}), CONFIG)
    assert "__interrupt__" not in state
    assert (state["output"], ledger.effects) == ([len(TOKEN), 9], ["pay 1234 5", "note x"])


async def test_a_value_that_nobody_knows_any_more_is_an_error_and_no_second_call(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, _ = await gone(ledger, MemoryJournal(), monkeypatch)
    state = await app.ainvoke(approved({"type": "reject", "message": "lost"}), CONFIG)
    assert (state["error"]["type"], ledger.effects) == ("PermissionError", ["pay 1234 5"])


async def test_an_edit_whose_secret_is_gone_is_asked_for_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LANGGRAPH_AES_KEY", raising=False)
    app = paying(ledger, MemoryJournal(), approval=True)
    await app.ainvoke({"task": "", "code": "(await tools.pay('1234', 5))['number']"}, CONFIG)
    edit = {"type": "edit", "edited_action": {"name": "pay", "args": {"card": EDITED, "amount": 3}}}
    # The process ends between the answer and the call.
    state = await app.ainvoke(approved(edit), CONFIG, interrupt_before=["execute"])
    kept_values._SECRETS.clear()
    state = await app.ainvoke(None, CONFIG)
    assert ledger.effects == []
    assert state["__interrupt__"][0].value["action_requests"][0]["name"] == "pay"
    state = await app.ainvoke(approved(edit), CONFIG)
    assert (state["output"], ledger.effects) == (7, [f"pay {EDITED} 3"])


async def test_an_encrypted_secret_is_there_for_another_process(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("Crypto")
    monkeypatch.setenv("LANGGRAPH_AES_KEY", "0123456789abcdef")
    journal = MemoryJournal()
    app = paying(ledger, journal, approval=True)
    await app.ainvoke({"task": "", "code": "(await tools.pay('1234', 5))['number']"}, CONFIG)
    edit = {"type": "edit", "edited_action": {"name": "pay", "args": {"card": EDITED, "amount": 3}}}
    await app.ainvoke(approved(edit), CONFIG, interrupt_before=["execute"])
    state = await app.ainvoke(None, CONFIG)
    assert (state["output"], ledger.effects) == (7, [f"pay {EDITED} 3"])
    assert EDITED not in await kept(app, journal)
    assert EDITED not in json.dumps(list(journal._values.values()))


# 17. Budgets.


@pytest.mark.parametrize("bound", ["max_calls", "max_tool_calls"])
async def test_people_approve_no_more_than_may_be_made(bound: str, ledger: Ledger) -> None:
    pay = functions(ledger)["pay"][1]
    own = bound == "max_calls"
    graph = create_codemode(
        model=None,
        tools=[pay],
        policies={"pay": ToolPolicy(approval=True, max_calls=2 if own else None)},
        max_tool_calls=None if own else 2,
    )
    app = graph.compile(checkpointer=InMemorySaver())
    program = (
        "import asyncio\nout = await asyncio.gather(*[tools.pay(a) for a in 'abcd'], return_exceptions=True)\n"
        "[str(each) for each in out]"
    )
    state = await app.ainvoke({"task": "", "code": program}, CONFIG)
    shown = state["__interrupt__"][0].value["action_requests"]
    assert len(shown) == 2
    state = await app.ainvoke(approved(*[{"type": "approve"}] * 2), CONFIG)
    assert "__interrupt__" not in state
    assert ledger.effects == ["pay a 1", "pay b 1"]


async def test_equal_reads_of_a_gather_are_made_once_where_the_policy_keeps_them(ledger: Ledger) -> None:
    look = tool(effect="read")(functions(ledger)["look"][1])
    graph = create_codemode(model=None, tools=[look], policies={"look": ToolPolicy(cache=True)})
    program = "import asyncio\nawait asyncio.gather(*[tools.look('a') for _ in range(5)])"
    state = await graph.compile().ainvoke({"task": "", "code": program})
    assert (state["output"], ledger.lines) == ([1] * 5, ["read look a"])


async def test_a_read_that_waits_for_an_equal_one_gets_its_value_or_is_made_itself(ledger: Ledger) -> None:
    released = asyncio.Event()

    @tool(effect="read")
    async def look(at: str) -> int:
        """Look."""
        ledger.write(f"read look {at}")
        if (count := ledger.count("read look")) < 3:
            await released.wait()
        return count

    @tool(effect="read")
    async def release() -> None:
        """Let it end."""
        released.set()

    graph = create_codemode(
        model=None, tools=[look, release], policies={"look": ToolPolicy(cache=True)}, sandbox="restricted"
    )
    program = """
import asyncio
first = asyncio.ensure_future(tools.look('a'))
await asyncio.sleep(0.02)
second = asyncio.ensure_future(tools.look('a'))
await asyncio.sleep(0.02)
{}
[await second, await tools.look('a')]
"""
    state = await graph.compile().ainvoke({"task": "", "code": program.format("await tools.release()\nawait first")})
    assert (state["error"], state["output"]) == (None, [1, 1])
    released.clear()
    state = await graph.compile().ainvoke({"task": "", "code": program.format("first.cancel()")})
    assert (state["error"], state["output"]) == (None, [3, 3])


async def test_a_program_has_one_time_however_often_it_is_resumed() -> None:
    @tool(effect="read")
    async def think() -> str:
        """Take 0.25 s."""
        await asyncio.sleep(0.25)
        return "thought"

    async def pay(n: int) -> int:
        """Pay."""
        return n

    graph = create_codemode(
        model=None, tools=[think, pay], policies={"pay": ToolPolicy(approval=True)}, timeout=0.6, sandbox="restricted"
    )
    app = graph.compile(checkpointer=InMemorySaver())
    program = "for n in range(4):\n    await tools.think()\n    await tools.pay(n)\n'end'"
    state = await app.ainvoke({"task": "", "code": program}, CONFIG)
    for _ in range(4):
        if "__interrupt__" in state:
            state = await app.ainvoke(approved(), CONFIG)
    assert state["error"]["kind"] == "timeout"
