"""No side effect happens twice and none is lost, though processes are killed and two answer at once. Real processes; the
ledger of effects is a file that is on the disk before a tool goes on."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.durable.ledger import Ledger
from tests.durable.ledger_graph import Setup, app_of, prepare, step, take_step
from tests.durable.steps import Step

pytestmark = pytest.mark.slow

APPROVE = {"resume": {"decisions": [{"type": "approve"}]}}


def run(folder: Path, given: Any) -> dict[str, Any] | None:
    """Do a step in a process; None where it was killed."""
    return _result(Step(take_step, folder, given))


def _result(step: Step) -> dict[str, Any] | None:
    out = step.wait()
    return None if out is None else json.loads(out.splitlines()[-1])


def finish(folder: Path, given: Any, ledger: Ledger, values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Go on until the run has ended, as a careful person would: of a call in doubt, the ledger is asked.

    Args:
        folder: Where the run is.
        given: The input.
        ledger: What took effect.
        values: What a call returned, by its line of the ledger.

    Returns:
        How it ended, and the lines of the calls that were in doubt.
    """
    asked: list[str] = []
    result = run(folder, given)
    for _ in range(12):
        if result is None:
            result = run(folder, {"again": given})
            continue
        if not result["waiting"]:
            return result, asked
        decisions = []
        for action in result["waiting"][0]["action_requests"]:
            line = " ".join([action["name"], *map(str, action["args"].values())])
            if action["reason"] == "unknown":
                asked.append(line)
                if line in ledger.lines:
                    decisions.append({"id": action["id"], "type": "respond", "message": values[line]})
                    continue
            decisions.append({"id": action["id"], "type": "approve"})
        result = run(folder, {"resume": {"decisions": decisions}})
    raise AssertionError("the run does not end")


CHAIN = """
seen = await tools.look('x')
first = await tools.pay('a', 1)
second = await tools.pay('b', 2)
[seen, first, second, await tools.look('y')]
"""
PAID = {"pay a 1": "paid 1 to a", "pay b 2": "paid 2 to b"}

WHERE = [
    "before pay a 1",
    "after pay a 1",
    "before pay b 2",
    "after pay b 2",
    "before read look y",
    "after read look y",
]


SETUPS = [
    Setup(durability="async"),
    Setup(durability="exit", kind="langchain", nested=True),
    Setup(durability="sync", kind="mcp"),
    Setup(durability="async", saver="slow", kind="mcp", nested=True),
    Setup(durability="exit", saver="slow"),
    Setup(durability="async", saver="postgres", kind="langchain"),
    Setup(durability="exit", saver="postgres", nested=True, sandbox="restricted"),
]
# Each way to run with three of the places, so that every place is met in several ways.
CASES = [(setup, WHERE[(number + step) % 6]) for number, setup in enumerate(SETUPS) for step in (0, 2, 5)]


def named(value: object) -> str:
    if not isinstance(value, Setup):
        return str(value)
    return "-".join([value.kind, value.saver, value.durability, *["nested"] * value.nested])


@pytest.mark.parametrize(("setup", "where"), CASES, ids=named)
def test_a_kill_repeats_nothing_and_loses_nothing(
    setup: Setup, where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if setup.saver == "postgres":
        setup = Setup(**{**vars(setup), "saver": request.getfixturevalue("postgres").create()})
    ledger = prepare(tmp_path, setup, where)
    result, asked = finish(tmp_path, {"task": "pay", "code": CHAIN}, ledger, PAID)
    assert not (tmp_path / "deaths").read_text()
    assert ledger.effects == ["pay a 1", "pay b 2"]
    assert (result["output"][1:3], result["error"]) == (list(PAID.values()), None)
    # A person is asked only about a call that was cut off.
    assert asked == ([where.partition(" ")[2]] if "pay" in where else [])


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_model_that_writes_the_program_is_asked_once_and_its_run_goes_on(durability: str, tmp_path: Path) -> None:
    setup = Setup(durability=durability, replies=[CHAIN, "await tools.pay('other', 9)"])
    ledger = prepare(tmp_path, setup, "after pay a 1", "before pay b 2")
    result, asked = finish(tmp_path, {"task": "pay"}, ledger, PAID)
    assert ledger.effects == ["pay a 1", "pay b 2"]
    assert (result["output"][1:3], asked) == (list(PAID.values()), list(PAID))


GATHER = """
import asyncio
async def one(account):
    seen = await tools.look(account)
    return await tools.pay(account, 1)
await asyncio.gather(*[one(account) for account in 'abcd'])
"""


@pytest.mark.parametrize("where", ["before pay b 1", "after pay c 1"])
@pytest.mark.parametrize("setup", [Setup(), Setup(kind="mcp", durability="exit"), Setup(nested=True, saver="slow")])
def test_a_kill_among_calls_that_are_made_together(setup: Setup, where: str, tmp_path: Path) -> None:
    ledger = prepare(tmp_path, setup, where)
    values = {f"pay {account} 1": f"paid 1 to {account}" for account in "abcd"}
    result, asked = finish(tmp_path, {"task": "pay", "code": GATHER}, ledger, values)
    assert sorted(ledger.effects) == sorted(values)
    assert result["output"] == list(values.values())
    assert set(asked) <= set(values)


@pytest.mark.parametrize("setup", [Setup(gated=["pay"]), Setup(gated=["pay"], durability="exit", nested=True)])
def test_a_kill_after_an_approval_asks_about_that_call_and_no_other(setup: Setup, tmp_path: Path) -> None:
    ledger = prepare(tmp_path, setup, "after pay a 1")
    result, asked = finish(tmp_path, {"task": "pay", "code": CHAIN}, ledger, PAID)
    assert (ledger.effects, asked) == (["pay a 1", "pay b 2"], ["pay a 1"])
    assert result["output"][1:3] == list(PAID.values())


INVOICE = "n = await tools.count()\nawait tools.create_invoice(n + 1)\nx = await tools.look('x')\n{}['x']"


@pytest.mark.parametrize(
    ("setup", "where"),
    [
        (Setup(), "before read look x"),
        (Setup(kind="langchain", durability="exit"), "after read look x"),
        (Setup(kind="mcp", nested=True, saver="slow"), "before invoice 1"),
    ],
)
def test_what_was_read_before_a_write_is_what_it_was_after_a_kill_and_a_repair(
    setup: Setup, where: str, tmp_path: Path
) -> None:
    setup.replies = [INVOICE, INVOICE.replace("{}['x']", "n + 1")]
    ledger = prepare(tmp_path, setup, where)
    result, _ = finish(tmp_path, {"task": "invoice"}, ledger, {})
    assert ledger.effects == ["invoice 1"]
    assert result["output"] == 1


TIMED = """
import datetime
now = datetime.datetime.now().isoformat()
await tools.note(now)
await tools.look('x')
[now, datetime.datetime.now() >= datetime.datetime.fromisoformat(now)]
"""


@pytest.mark.parametrize("sandbox", ["monty", "restricted"])
@pytest.mark.parametrize("nested", [False, True])
def test_the_clock_in_an_argument_is_the_same_moment_after_a_kill(sandbox: str, nested: bool, tmp_path: Path) -> None:
    ledger = prepare(tmp_path, Setup(sandbox=sandbox, nested=nested), "before read look x")
    result, _ = finish(tmp_path, {"task": "note", "code": TIMED}, ledger, {})
    assert ledger.effects == [f"note {result['output'][0]}"]
    assert result["output"][1] is True


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("bound", [{"policies": {"look": {"max_calls": 4}}}, {"context": {"max_tool_calls": 4}}])
def test_a_kill_gives_no_budget_back(bound: dict[str, Any], times: int, tmp_path: Path) -> None:
    program = "out = []\nfor n in 'abcdef':\n    out.append(await tools.look(n))\nout"
    ledger = prepare(tmp_path, Setup(**bound), *[f"after read look {at}" for at in "bcd"[:times]])
    result, _ = finish(tmp_path, {"task": "look", "code": program}, ledger, {})
    assert ledger.count("read look") == 4
    assert "4" in result["error"]["message"]


APPROVED = "first = await tools.pay('a', 1)\nsecond = await tools.look('x')\n[first, second]"


async def in_processes(folder: Path, *steps: Any) -> list[dict[str, Any]]:
    """Do steps in processes at the same time."""
    processes = [Step(take_step, folder, given) for given in steps]
    results = [await asyncio.to_thread(_result, process) for process in processes]
    assert None not in results
    return [result for result in results if result is not None]


@pytest.mark.parametrize(
    "setup",
    [
        Setup(gated=["pay"]),
        Setup(gated=["pay"], durability="exit", kind="langchain", nested=True),
        Setup(gated=["pay"], durability="sync", kind="mcp"),
        Setup(gated=["pay"], saver="postgres"),
        Setup(gated=["pay"], saver="postgres", nested=True, durability="exit"),
    ],
    ids=lambda setup: "-".join([setup.kind, setup.saver, setup.durability, *["nested"] * setup.nested]),
)
async def test_an_answer_from_two_processes_at_once_is_given_once(
    setup: Setup, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if setup.saver == "postgres":
        setup = Setup(**{**vars(setup), "saver": request.getfixturevalue("postgres").create()})
    ledger = prepare(tmp_path, setup)
    (waiting,) = await in_processes(tmp_path, {"task": "pay", "code": APPROVED})
    assert waiting["waiting"][0]["action_requests"][0]["name"] == "pay"
    results = await in_processes(tmp_path, APPROVE, APPROVE, APPROVE)
    assert ledger.effects == ["pay a 1"]
    assert {json.dumps(result["output"]) for result in results} == {json.dumps(["paid 1 to a", 1])}


@pytest.mark.parametrize("apart", [0, 0.01, 0.06])
@pytest.mark.parametrize(
    "setup",
    [
        Setup(gated=["pay"], saver="memory"),
        Setup(gated=["pay"], nested=True),
        Setup(gated=["pay"], kind="mcp", durability="exit"),
        Setup(gated=["pay"], saver="memory", kind="langchain", durability="sync", nested=True),
    ],
)
async def test_an_answer_that_is_given_twice_in_one_process_is_given_once(
    setup: Setup, apart: float, tmp_path: Path
) -> None:
    ledger = prepare(tmp_path, setup)
    async with app_of(setup, tmp_path) as app:
        await step(app, setup, {"task": "pay", "code": APPROVED})

        async def answer(after: float) -> dict[str, Any]:
            await asyncio.sleep(after)
            return await step(app, setup, APPROVE)

        results = await asyncio.gather(*(answer(number * apart) for number in range(3)))
    assert ledger.effects == ["pay a 1"]
    assert [result["output"] for result in results] == [["paid 1 to a", 1]] * 3
