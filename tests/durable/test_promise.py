"""No side effect happens twice and none is lost: within one process, where programs are repaired, edited, forked and refused.

`test_promise_kills.py` has the same for real processes that are killed.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import requests
from codemode_sandboxes import Limits
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.postgres.aio import AsyncPostgresStore
from langgraph.store.sqlite.aio import AsyncSqliteStore
from langgraph.types import Command
from pydantic import BaseModel, computed_field

from codemode_graph import ToolPolicy, create_codemode
from codemode_graph.calls.journal import Journal, MemoryJournal
from codemode_graph.calls.postgres import PostgresJournal
from codemode_graph.calls.sqlite import SQLiteJournal
from codemode_graph.calls.store import StoreJournal
from codemode_graph.errors import ToolOutcomeUnknown
from codemode_graph.tools.spec import Undo
from tests.durable.ledger import Ledger, functions
from tests.durable.ledger_graph import CONFIG, Setup, app_of, prepare, step
from tests.support import scripted


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


KINDS = [
    Setup(),
    Setup(kind="langchain", durability="exit", nested=True),
    Setup(kind="mcp", durability="sync", saver="memory"),
]
each_kind = pytest.mark.parametrize("setup", KINDS, ids=[setup.kind for setup in KINDS])


async def repaired(setup: Setup, folder: Path, *programs: str, **more: Any) -> tuple[dict[str, Any], Ledger]:
    """Run the programs of a model, each the repair of the one before."""
    setup = Setup(**{**vars(setup), "replies": list(programs), **more})
    ledger = prepare(folder, setup)
    async with app_of(setup, folder) as app:
        return await step(app, setup, {"task": "do it"}), ledger


def approved(*decisions: Any) -> Command[Any]:
    return Command(resume={"decisions": list(decisions) or [{"type": "approve"}]})


# 3. Long runs.


@pytest.mark.slow
@pytest.mark.parametrize("journal", ["memory", "sqlite", "postgres", "sqlite store", "postgres store"])
async def test_thousands_of_writes_are_answered_to_the_repaired_program(
    journal: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    made: list[int] = []

    async def put(number: int) -> int:
        """Put a number."""
        made.append(number)
        return number

    many = 2600
    program = f"import asyncio\ntotal = 0\nfor n in range(0, {many}, 50):\n" + (
        "    total += sum(await asyncio.gather(*[tools.put(i) for i in range(n, n + 50)]))\n"
    )

    async def run(journal: Journal) -> None:
        graph = create_codemode(
            model=scripted(program + "{}['x']", program + "total"),
            tools=[put],
            journal=journal,
            timeout=600,
            limits=Limits(calls=2 * many),
        )
        state = await graph.compile().ainvoke({"task": "put"})
        assert state["output"] == sum(range(many))

    if journal == "memory":
        await run(MemoryJournal())
    elif journal == "sqlite":
        await run(SQLiteJournal(tmp_path / "journal.sqlite"))
    elif journal == "postgres":
        await run(PostgresJournal(request.getfixturevalue("postgres").create()))
    elif journal == "sqlite store":
        async with AsyncSqliteStore.from_conn_string(str(tmp_path / "store.sqlite")) as sqlite_store:
            await sqlite_store.setup()
            await run(StoreJournal(sqlite_store))
    else:
        url = request.getfixturevalue("postgres").create()
        async with AsyncPostgresStore.from_conn_string(url) as store:
            await store.setup()
            await run(StoreJournal(store))
    assert sorted(made) == list(range(many))


# 4. Read, modify, write, and an ordinary bug.

INVOICE = "n = await tools.count()\nawait tools.create_invoice(n + 1)\n"


@each_kind
@pytest.mark.parametrize("again", [INVOICE, INVOICE + "await tools.note('more')\n", "x = 1\n" + INVOICE])
async def test_a_repaired_program_sees_what_the_failed_one_saw(setup: Setup, again: str, tmp_path: Path) -> None:
    result, ledger = await repaired(setup, tmp_path, INVOICE + "{}['x']", again + "n + 1")
    assert result["output"] == 1
    assert [line for line in ledger.effects if line.startswith("invoice")] == ["invoice 1"]


@each_kind
async def test_two_invoices_are_two_and_stay_two(setup: Setup, tmp_path: Path) -> None:
    result, ledger = await repaired(setup, tmp_path, INVOICE * 2 + "1 / 0", INVOICE * 2 + "[] + 1", INVOICE * 2 + "n")
    assert (result["output"], ledger.effects) == (1, ["invoice 1", "invoice 2"])


# 5. Compensation.

RESERVE = """
try:
    held = await tools.reserve('12a')
    {what}
except ZeroDivisionError:
    await tools.cancel(held['id'])
    raise
held['id']
"""


@each_kind
async def test_what_was_undone_is_made_again(setup: Setup, tmp_path: Path) -> None:
    result, ledger = await repaired(setup, tmp_path, RESERVE.format(what="1 / 0"), RESERVE.format(what="1 + 0"))
    assert result["output"] == "of 12a"
    assert ledger.effects == ["reserve 12a", "cancel of 12a", "reserve 12a"]
    assert not result["left_over"]


@each_kind
async def test_the_same_again_reserves_nothing_for_ever(setup: Setup, tmp_path: Path) -> None:
    result, ledger = await repaired(setup, tmp_path, RESERVE.format(what="1 / 0"), RESERVE.format(what="2 / 0"))
    assert result["error"] is not None
    assert ledger.effects.count("reserve 12a") == ledger.effects.count("cancel of 12a")


async def test_what_a_person_says_took_effect_has_undone_what_it_undoes(tmp_path: Path, ledger: Ledger) -> None:
    reserve, cancel = (functions(ledger)[name][1] for name in ("reserve", "cancel"))

    async def lost(reservation_id: str) -> str:
        """Cancel a reservation, and say nothing."""
        raise ToolOutcomeUnknown(await cancel(reservation_id))

    graph = create_codemode(
        model=scripted(RESERVE.format(what="1 / 0"), RESERVE.format(what="1 + 0")),
        tools={"reserve": reserve, "cancel": lost},
        policies={"cancel": ToolPolicy(undoes=Undo("reserve", match={"reservation_id": "value.id"}))},
    ).compile(checkpointer=InMemorySaver())
    await graph.ainvoke({"task": "reserve"}, CONFIG)
    state = await graph.ainvoke(approved({"type": "respond", "message": "cancelled"}), CONFIG)
    assert (state["output"], state["left_over"]) == ("of 12a", [])
    assert ledger.effects == ["reserve 12a", "cancel of 12a", "reserve 12a"]


async def test_what_nobody_declared_to_undo_anything_is_listed_as_left_over(tmp_path: Path, ledger: Ledger) -> None:
    known = functions(ledger)
    tools = [known[name][1] for name in ("reserve", "note")]
    graph = create_codemode(
        model=scripted("held = await tools.reserve('12a')\n1 / 0", "await tools.note('x')"), tools=tools
    )
    state = await graph.compile().ainvoke({"task": "reserve"})
    assert (ledger.effects, state["left_over"]) == (["reserve 12a", "note x"], ["1.1"])


# 6. Tools that declare no effect.


def tables() -> tuple[list[str], list[Any]]:
    rows: list[str] = []

    async def insert(row: str) -> str:
        """Insert a row."""
        rows.append(row)
        return row

    async def query(sql: str) -> list[str]:
        """Query the rows."""
        return list(rows)

    return rows, [insert, query]


FIRST = "await tools.insert('a')\nfound = await tools.query('all')\n{}['x']"
SECOND = "await tools.insert('a')\nawait tools.insert('b')\nawait tools.query('all')"


@pytest.mark.parametrize("effect", [None, "read", "idempotent"])
async def test_a_query_after_a_new_write_is_fresh_or_marked(effect: Any) -> None:
    rows, tools = tables()
    policies = {} if effect is None else {"query": ToolPolicy(effect=effect)}
    graph = create_codemode(model=scripted(FIRST, SECOND), tools=tools, policies=policies)
    state = await graph.compile().ainvoke({"task": "query"})
    assert rows == ["a", "b"]
    marks = [call.get("mark") for call in state["tool_calls"] if call["tool"] == "query"]
    if effect is None:
        assert marks == ["answered from before later changes"]
    else:
        assert (state["output"], set(marks)) == (["a", "b"], {None})


# 7. What a person edited.


@each_kind
@pytest.mark.parametrize("obeys", [8, 50])
async def test_what_a_person_changed_is_not_done_again_by_either_name(setup: Setup, obeys: int, tmp_path: Path) -> None:
    setup = Setup(**{**vars(setup), "gated": ["pay"]})
    setup.replies = ["x = await tools.pay('a', 50)\n{}['x']", f"await tools.pay('a', {obeys})"]
    ledger = prepare(tmp_path, setup)
    edit = {"type": "edit", "edited_action": {"name": "pay", "args": {"account": "a", "amount": 8}}}
    async with app_of(setup, tmp_path) as app:
        await step(app, setup, {"task": "pay"})
        result = await step(app, setup, {"resume": {"decisions": [edit]}})
    assert (result["waiting"], ledger.effects, result["output"]) == ([], ["pay a 8"], "paid 8 to a")


# 8. It took effect, and its value is of no use.


class Odd(BaseModel):
    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        raise RuntimeError("no total")


def odd_values(ledger: Ledger) -> dict[str, Any]:
    async def computed() -> Odd:
        """Return a field that raises."""
        ledger.write("computed")
        return Odd()

    def lazy() -> Iterator[int]:
        """Return an iterator that raises midway."""
        ledger.write("lazy")
        yield 1
        raise RuntimeError("the cursor is gone")

    async def huge() -> list[int]:
        """Return more than the policy takes."""
        ledger.write("huge")
        return list(range(20_000))

    async def nothing() -> object:
        """Return what is no data."""
        ledger.write("nothing")
        return object()

    async def content() -> Any:
        """Return no tuple."""
        ledger.write("content")
        return "alone"

    wrong = StructuredTool.from_function(
        coroutine=content, name="content", description="Content.", response_format="content_and_artifact"
    )
    return {"computed": computed, "lazy": lazy, "huge": huge, "nothing": nothing, "content": wrong}


@pytest.mark.parametrize("name", ["computed", "lazy", "huge", "nothing", "content"])
async def test_a_call_whose_value_cannot_be_read_is_not_made_again(name: str, ledger: Ledger) -> None:
    program = f"out = 'no value'\ntry:\n    out = await tools.{name}()\nexcept Exception:\n    pass\n"
    graph = create_codemode(
        model=scripted(program + "{}['x']", program + "'end'"),
        tools=[odd_values(ledger)[name]],
        policies={"*": ToolPolicy(max_result_bytes=10_000)},
    )
    app = graph.compile(checkpointer=InMemorySaver())
    state = await app.ainvoke({"task": "go"}, CONFIG)
    for _ in range(3):
        if "__interrupt__" not in state:
            break
        (action,) = state["__interrupt__"][0].value["action_requests"]
        assert action["reason"] == "unknown"
        state = await app.ainvoke(approved({"type": "respond", "message": "it was"}), CONFIG)
    assert (ledger.effects, state["output"]) == ([name], "end")


# 9. Spelling.


class Line(BaseModel):
    sku: str
    count: int = 1


def spelled(ledger: Ledger) -> list[Any]:
    async def order(lines: list[Line], total: Decimal, at: datetime, rate: float = 1.0) -> str:
        """Order."""
        ledger.write("order")
        return "ordered"

    return [order]


SPELLINGS = [
    "lines=[{'sku': 'a'}], total=45, at='2026-01-01T12:00:00Z'",
    "lines=[{'sku': 'a', 'count': 1}], total=45.0, at='2026-01-01T12:00:00+00:00', rate=1",
    "lines=[{'count': 1, 'sku': 'a'}], total='45.00', at='2026-01-01T13:00:00+01:00', rate=1.0",
]


@pytest.mark.parametrize("langchain", [False, True])
@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_two_spellings_of_a_call_are_one_call(spelling: str, langchain: bool, ledger: Ledger) -> None:
    (order,) = spelled(ledger)
    tools = [StructuredTool.from_function(coroutine=order)] if langchain else [order]
    programs = [f"x = await tools.order({SPELLINGS[0]})\n{{}}['x']", f"await tools.order({spelling})"]
    state = await create_codemode(model=scripted(*programs), tools=tools).compile().ainvoke({"task": "order"})
    assert (state["output"], ledger.effects) == ("ordered", ["order"])


@pytest.mark.parametrize("other", ["total=46", "total=45, rate=2"])
async def test_two_calls_are_two(other: str, ledger: Ledger) -> None:
    rest = "lines=[{'sku': 'a'}], at='2026-01-01T12:00:00Z'"
    programs = [f"x = await tools.order({rest}, total=45)\n{{}}['x']", f"await tools.order({rest}, {other})"]
    state = await create_codemode(model=scripted(*programs), tools=spelled(ledger)).compile().ainvoke({"task": "order"})
    assert ledger.effects == ["order", "order"]
    assert "with other arguments" in state["tool_calls"][1]["mark"]


# 10. What a lost answer looks like.

LOST: dict[str, Callable[[], BaseException]] = {
    "httpx": lambda: httpx.ReadTimeout("timed out"),
    "httpx disconnected": lambda: httpx.RemoteProtocolError("Server disconnected without sending a response."),
    "requests": lambda: requests.exceptions.ReadTimeout("timed out"),
    "aiohttp": lambda: aiohttp.ServerDisconnectedError(),
    "group": lambda: ExceptionGroup("several", [ValueError("x"), TimeoutError("y")]),
    "reset": lambda: ConnectionResetError("reset by peer"),
}
NOT_SENT: dict[str, Callable[[], BaseException]] = {
    "httpx": lambda: httpx.ConnectError("refused"),
    "refused": lambda: ConnectionRefusedError("refused"),
    "value": lambda: ValueError("no such account"),
}
TWICE = """
for _ in range(2):
    try:
        out = await tools.pay()
    except Exception as e:
        out = 'failed'
out
"""


def raising(ledger: Ledger, make: Callable[[], BaseException], kind: str) -> list[Any]:
    async def pay() -> str:
        """Pay."""
        ledger.write("pay")
        if ledger.count("pay") == 1:
            raise make()
        return "paid"

    return [StructuredTool.from_function(coroutine=pay)] if kind == "langchain" else [pay]


@pytest.mark.parametrize("kind", ["function", "langchain"])
@pytest.mark.parametrize("name", LOST)
async def test_a_call_whose_answer_was_lost_is_asked_about(name: str, kind: str, ledger: Ledger) -> None:
    app = create_codemode(model=None, tools=raising(ledger, LOST[name], kind)).compile(checkpointer=InMemorySaver())
    state = await app.ainvoke({"task": "", "code": "await tools.pay()"}, CONFIG)
    (action,) = state["__interrupt__"][0].value["action_requests"]
    assert (action["reason"], ledger.effects) == ("unknown", ["pay"])
    state = await app.ainvoke(approved({"type": "respond", "message": "it had"}), CONFIG)
    assert (state["output"], ledger.effects) == ("it had", ["pay"])


@pytest.mark.parametrize("kind", ["function", "langchain"])
@pytest.mark.parametrize("name", NOT_SENT)
async def test_a_call_that_was_not_sent_is_made_again_unasked(name: str, kind: str, ledger: Ledger) -> None:
    app = create_codemode(model=None, tools=raising(ledger, NOT_SENT[name], kind)).compile(checkpointer=InMemorySaver())
    state = await app.ainvoke({"task": "", "code": TWICE}, CONFIG)
    assert "__interrupt__" not in state
    assert state["output"] == "paid"
