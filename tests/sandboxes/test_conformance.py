"""The same program does the same in every sandbox, or is refused beforehand by the name of what cannot run there."""

import ast
import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from codemode_sandboxes import Capabilities, Failed, Finished, Limits
from codemode_sandboxes.source import to_script
from codemode_sandboxes.source.tree import Tree

from tests.sandboxes.driving import Run, Tool, broken, double, echo, run
from tests.sandboxes.processes import every_sandbox, make
from tests.sandboxes.programs import PROGRAMS, Case

LIMITS = Limits(seconds=20, calls=1000)
AT_ONCE = 3
PARTLY = {"docker": 4, "ray": 4}
"""Where starting a guest takes long, and the guest is the same as elsewhere, every so many programs are enough."""

USERS = [
    {"name": "Ann", "team": "eng", "age": 31},
    {"name": "Bob", "team": "eng", "age": 45},
    {"name": "Cat", "team": "ops", "age": 50},
]
EVENTS = ["Standup", "Review", "Demo"]


def tools() -> dict[str, Tool | None]:
    """The tools of the programs, in their first state."""
    kept: dict[str, Any] = {}
    attempts = 0

    async def flaky() -> str:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise RuntimeError("try again")
        return "done"

    async def page(cursor: int | None = None) -> dict[str, Any]:
        start = cursor or 0
        return {"items": list("abcde")[start : start + 2], "next": start + 2 if start + 2 < 5 else None}

    async def put(key: str, value: Any) -> None:
        kept[key] = value

    async def fetch(key: str) -> Any:
        return kept.get(key)

    async def nothing() -> None:
        return None

    async def negate(n: int) -> int:
        return -n

    async def users() -> Any:
        return USERS

    async def events(limit: int = 10) -> Any:
        return EVENTS[:limit]

    found: dict[str, Tool] = {
        "double": double, "echo": echo, "broken": broken, "flaky": flaky, "page": page, "put": put, "fetch": fetch,
        "nothing": nothing, "negate": negate, "users": users, "list-events": events,
    }  # fmt: skip
    return {**found, "slow": None}


def refusals(capabilities: Capabilities, code: str) -> list[str]:
    """Return why it is known not to run: the names of the gaps that a program runs into, and of missing modules."""
    try:
        tree = Tree(ast.parse(code))
    except SyntaxError:
        return []
    imported = {name.partition(".")[0] for name, _ in tree.references}
    missing = sorted((imported & sys.stdlib_module_names) - capabilities.modules)
    return [gap.name for gap in capabilities.gaps if list(gap.find(tree))] + missing


def told(run: Run) -> list[str]:
    """The calls of a run as text, and those that were given up."""
    lines = []
    for event in run.blocked:
        for call in event.calls:
            arguments = [*map(repr, call.args), *(f"{name}={value!r}" for name, value in call.kwargs.items())]
            lines.append(f"{call.tool}({', '.join(arguments)})")
        lines += [f"given up: {id}" for id in event.cancelled]
    return lines


@dataclass
class Runs:
    """The runs of all programs in one sandbox, begun before they are asked for: starting a guest takes long."""

    sandbox: Any
    started: dict[str, asyncio.Task[Run]]


@pytest.fixture(scope="module", params=every_sandbox())
async def runs(request: pytest.FixtureRequest) -> AsyncIterator[Runs]:
    sandbox = make(request.param)
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> Run:
        async with slots:
            return await run(sandbox, script(case), tools(), limits=LIMITS)

    wanted = selected(request)[request.param][:: PARTLY.get(request.param, 1)]
    able = sandbox.capabilities
    yield Runs(
        sandbox, {case.name: asyncio.create_task(one(case)) for case in wanted if not refusals(able, script(case))}
    )
    await sandbox.aclose()


def script(case: Case) -> str:
    return case.code if case.kind == "syntax" else to_script(case.code).code


def selected(request: pytest.FixtureRequest) -> dict[str, list[Case]]:
    """The programs that this session runs, by sandbox."""
    found: dict[str, list[Case]] = defaultdict(list)
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.originalname == "test_a_program_does_the_same_everywhere":
            params: dict[str, Any] = item.callspec.params
            found[params["runs"]].append(params["case"])
    return found


@pytest.mark.parametrize("case", PROGRAMS, ids=lambda case: case.name)
async def test_a_program_does_the_same_everywhere(runs: Runs, case: Case) -> None:
    if case.name not in runs.started:
        return  # refused, see below; or left out
    result = await runs.started[case.name]
    event = result.event
    if case.error is None:
        assert isinstance(event, Finished), event
        assert event.value == case.value
        assert repr(event.value) == repr(case.value)  # 1 is not 1.0, nor True
    else:
        assert isinstance(event, Failed), event
        assert (event.kind, event.type, event.line) == (case.kind, *case.error)
    assert result.stdout == case.stdout
    assert told(result) == list(case.calls)


async def test_only_what_is_named_is_refused(runs: Runs) -> None:
    refused = {case.name: refusals(runs.sandbox.capabilities, script(case)) for case in PROGRAMS}
    if runs.sandbox.capabilities.boundary != "interpreter":
        assert not [name for name, why in refused.items() if why]
    assert len([name for name, why in refused.items() if not why]) >= 120


async def test_calls_that_wait_their_turn_with_the_host_are_all_reported(runs: Runs) -> None:
    code = "import asyncio\nsum(await asyncio.gather(*[tools.double(n) for n in range(20)]))"
    result = await run(runs.sandbox, code, tools(), limits=Limits(calls_in_flight=2))
    assert result.value == 380
    assert [len(event.calls) for event in result.blocked] == [20]


async def test_the_arguments_of_open_calls_are_bounded_together(runs: Runs) -> None:
    limits = Limits(value_bytes=100_000)
    many = "import asyncio\ntext = 'x' * 90_000\nawait asyncio.gather(*[tools.echo(text) for _ in range(N)])\n1"
    failed = (await run(runs.sandbox, many.replace("N", "10"), tools(), limits=limits)).failed
    assert (failed.kind, failed.message) == ("output", "the arguments of the open calls take more than 400,000 bytes")
    assert (await run(runs.sandbox, many.replace("N", "4"), tools(), limits=limits)).value == 1
    in_turn = "for _ in range(10):\n    await tools.echo('x' * 90_000)\n2"
    assert (await run(runs.sandbox, in_turn, tools(), limits=limits)).value == 2


async def test_a_call_too_many_is_a_failure_of_its_own_kind(runs: Runs) -> None:
    failed = (await run(runs.sandbox, "while True:\n    await tools.double(1)", tools(), limits=Limits(calls=5))).failed
    assert (failed.kind, failed.type, failed.line) == ("calls", "RuntimeError", 2)
    assert failed.message == "the program made more than 5 tool calls"
