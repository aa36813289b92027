"""Type-checking finds what is wrong at its place, and runs nothing."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator

import pytest
from codemode_sandboxes import Diagnostic, SandboxError
from codemode_sandboxes.monty import MontySandbox, typecheck
from codemode_sandboxes.monty.typecheck import CHECKERS, TypeCheckers

from tests.sandboxes.processes import children, gone

STUBS = """
from typing import Literal, NotRequired, Protocol, TypedDict, overload

class Event(TypedDict):
    id: str
    title: str
    attendees: NotRequired[list[str]]

class _ListEvents(Protocol):
    async def __call__(self, *, calendar_id: str, limit: int = 50) -> list[Event]: ...

class _Add(Protocol):
    async def __call__(self, *, a: int, b: int) -> int: ...

class _Tools(Protocol):
    @overload
    def __getitem__(self, name: Literal["list-events"]) -> _ListEvents: ...
    @overload
    def __getitem__(self, name: Literal["add"]) -> _Add: ...
    list_events: _ListEvents
    add: _Add

tools: _Tools
"""

GOOD = """\
import asyncio

async def main():
    events = await tools['list-events'](calendar_id='work', limit=3)
    a, b = await asyncio.gather(tools['add'](a=1, b=2), tools.add(a=3, b=4))
    return {'sum': a + b, 'titles': [event['title'].upper() for event in events]}

await main()
"""


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[MontySandbox]:
    sandbox = MontySandbox(max_workers=2)
    yield sandbox
    await sandbox.aclose()


async def check(sandbox: MontySandbox, code: str) -> list[tuple[str, int, int]]:
    return [(found.rule, found.line, found.column) for found in await sandbox.type_check(code, STUBS)]


async def test_a_good_program_has_no_findings(sandbox: MontySandbox) -> None:
    assert await sandbox.type_check(GOOD, STUBS) == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("\nawait tools['list-events'](calendar_id=3)", [("invalid-argument-type", 2, 28)]),
        ("await tools['list-events']()", [("missing-argument", 1, 7)]),
        ("await tools.add(a=1, b=2, c=3)", [("unknown-argument", 1, 27)]),
        ("x = await tools.list_events(calendar_id='a')\nx[0]['titel']", [("invalid-key", 2, 6)]),
        ("tools.nope", [("unresolved-attribute", 1, 1)]),
        ("x = tools.add(a=1, b=2)\nx + 1", [("unsupported-operator", 2, 1)]),
        ("import statistics", [("unresolved-import", 1, 8)]),
        ("from __future__ import annotations\nx: Missing = 1", [("unresolved-reference", 2, 4)]),
        ("é = 1\né + ''", [("unsupported-operator", 2, 1)]),
        ("# type: ignore\n1 + ''", [("unused-type-ignore-comment", 1, 1), ("unsupported-operator", 2, 1)]),
        ("1 + ''  # type: ignore", []),
        ("def f(:", [("invalid-syntax", 1, 7), ("invalid-syntax", 1, 8)]),
        ("", []),
    ],
)
async def test_each_finding_has_its_rule_and_place(
    sandbox: MontySandbox, code: str, expected: list[tuple[str, int, int]]
) -> None:
    assert await check(sandbox, code) == expected


async def test_a_finding_says_what_is_wrong(sandbox: MontySandbox) -> None:
    [found] = await sandbox.type_check("x = await tools.list_events(calendar_id='a')\nx[0]['titel']", STUBS)
    assert found == Diagnostic(
        "invalid-key", 'Unknown key "titel" for TypedDict `Event` - did you mean "title"?', line=2, column=6
    )


async def test_text_that_cannot_be_encoded_or_is_nested_too_deep_is_a_finding(sandbox: MontySandbox) -> None:
    assert await check(sandbox, "x = '\ud800'") == []
    [found] = await sandbox.type_check("[" * 5000 + "]" * 5000, STUBS)
    assert (found.rule, found.line) == ("invalid-syntax", 1)


async def test_nothing_of_a_program_runs(sandbox: MontySandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[str] = []
    monkeypatch.setattr(typecheck, "_ignore", lambda stream, text: printed.append(text))
    for code in (
        "print('ran')",
        "# type: ignore\nprint('ran')",
        "raise SystemExit",
        "while True:\n    print('ran')",
        "import time\ntime.sleep(1000)",
        "await tools.add(a=1, b=2)",
    ):
        assert all(found.rule != "internal" for found in await sandbox.type_check(code, STUBS))
    assert printed == []


async def test_a_version_that_would_run_it_is_an_error_and_still_reaches_nothing(
    sandbox: MontySandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typecheck, "_REFUSED", "__accepted: int = 0")
    monkeypatch.setattr(typecheck, "_SECONDS", 0.3)
    for code in ("await tools.add(a=1, b=2)", "1 + 1", "while True:\n    pass"):
        with pytest.raises(SandboxError, match=r"should have refused|took longer"):
            await sandbox.type_check(code, STUBS)


async def test_a_check_that_takes_too_long_is_an_error(sandbox: MontySandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typecheck, "_SECONDS", 0.0)
    with pytest.raises(SandboxError, match="took longer"):
        await sandbox.type_check(GOOD, STUBS)


async def test_checks_side_by_side_do_not_disturb_each_other(sandbox: MontySandbox) -> None:
    codes = [f"x = {n}\nx + ''" if n % 2 else f"x = {n}" for n in range(8)]
    results = await asyncio.gather(*(check(sandbox, code) for code in codes))
    assert [len(found) for found in results] == [0, 1] * 4


def kept(sandbox: MontySandbox) -> TypeCheckers:
    return sandbox._pool().checkers


def process(sandbox: MontySandbox) -> int:
    """The process of the one session that is kept."""
    (checker,) = kept(sandbox)._idle
    pid = checker.worker.pid
    assert pid is not None
    return pid


@pytest.fixture
async def own() -> AsyncIterator[MontySandbox]:
    sandbox = MontySandbox()
    yield sandbox
    await sandbox.aclose()


PROGRAMS = [
    GOOD,
    "secret = 'of the first'\nsecret.nope",
    "secret",
    "def f(:",
    "class Event:\n    id: int\nEvent().id + ''",
    "Event",
    "type Event = int\nx: Event = ''",
    "tools = {'add': 1}\ntools['add'] + ''",
    "await tools.add(a=1, b='')",
    "del tools\ntools",
    "import json\njson = 3\njson.loads",
    "import json\njson.loads('').x; json.nope",
    "import statistics\nstatistics.mean",
    "from typing import *\nprint(reveal_type(tools))",
    "import builtins\nbuiltins.int = str\nint() + ''",
    "class int: pass\nint() + 1",
    "x = '\ud800'",
    "[" * 5000 + "]" * 5000,
    "global secret\nsecret = 1",
    "# type: ignore\nsecret",
]


async def test_what_is_found_in_a_program_depends_on_no_program_before(own: MontySandbox) -> None:
    fresh = []
    for program in PROGRAMS:
        fresh.append(await own.type_check(program, STUBS))
        await own.aclose()
    assert any(fresh)
    order = list(range(len(PROGRAMS))) * 5
    random.Random(5).shuffle(order)
    for number in order:
        assert await own.type_check(PROGRAMS[number], STUBS) == fresh[number]
    assert kept(own)._idle[0].checks == len(order)


async def test_what_is_found_depends_on_no_stubs_before(own: MontySandbox) -> None:
    declared = [STUBS, STUBS.replace("title", "topic"), STUBS.replace("title: str", "title: int"), "tools: int", ""]
    codes = [GOOD, "x = await tools.list_events(calendar_id='a')\nx[0]['title'] + ''", "tools + ''", "__declared_0"]
    pairs = [(code, stubs) for code in codes for stubs in declared]
    fresh = []
    for pair in pairs:
        fresh.append(await own.type_check(*pair))
        await own.aclose()
    assert len({str(found) for found in fresh[5:10]}) == len(declared)
    order = list(range(len(pairs))) * 3
    random.Random(7).shuffle(order)
    for number in order:
        assert await own.type_check(*pairs[number]) == fresh[number]
    # One session knows all of these stubs.
    assert [checker.checks for checker in kept(own)._idle] == [len(order)]


async def test_a_session_knows_so_many_stubs(own: MontySandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typecheck, "_MODULES", 3)
    found = []
    for number in (0, 0, 1, 1, 2, 0):
        assert [each.rule for each in await own.type_check("other.x", f"other: int = {number}")] == [
            "unresolved-attribute"
        ]
        found.append([len(checker.names) for checker in kept(own)._idle])
    assert found == [[1], [1], [2], [2], [], [1]]


async def test_a_session_checks_so_many_programs(own: MontySandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typecheck, "_CHECKS", 3)
    found = []
    for _ in range(7):
        assert await check(own, "1 + ''") == [("unsupported-operator", 1, 1)]
        found.append([checker.checks for checker in kept(own)._idle])
    assert found == [[1], [2], [], [1], [2], [], [1]]


async def test_a_session_that_died_while_it_was_kept_is_replaced(own: MontySandbox) -> None:
    assert await check(own, GOOD) == []
    os.kill(process(own), signal.SIGKILL)
    assert await check(own, "1 + ''") == [("unsupported-operator", 1, 1)]


async def test_a_check_that_is_given_up_leaves_no_session(own: MontySandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await check(own, GOOD) == []
    monkeypatch.setattr(typecheck, "_SECONDS", 0.0)
    with pytest.raises(SandboxError):
        await check(own, GOOD)
    assert kept(own)._idle == []
    monkeypatch.undo()
    checking = asyncio.create_task(check(own, GOOD * 50))
    await asyncio.sleep(0)
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking
    assert await check(own, "1 + ''") == [("unsupported-operator", 1, 1)]


async def test_sessions_are_bounded_however_many_stubs_there_are_and_end_with_the_sandbox(own: MontySandbox) -> None:
    before = set(children(os.getpid()))
    many = [f"{STUBS}\nother_{number}: int\n" for number in range(3 * CHECKERS)]
    found = await asyncio.gather(*(own.type_check("other_0 + ''", stubs) for stubs in [*many, *many]))
    assert [each[0].rule for each in found] == ["unsupported-operator", *["unresolved-reference"] * (len(many) - 1)] * 2
    assert len(kept(own)._idle) <= CHECKERS
    begun = set(children(os.getpid())) - before
    assert 0 < len(begun) <= CHECKERS
    await own.aclose()
    assert await gone(*begun)
