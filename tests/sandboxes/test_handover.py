"""A run that moves to another backend on the way: it is answered as before, and the host sees nothing of it."""

import asyncio
import itertools
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from codemode_sandboxes import (
    AutoSandbox,
    Blocked,
    Call,
    Event,
    Failed,
    Finished,
    Limits,
    MockExecution,
    MockSandbox,
    Outcome,
    Program,
    Raised,
    Returned,
    Sandbox,
    SandboxUnavailable,
)
from codemode_sandboxes import handover as handover_module
from codemode_sandboxes.handover import Candidate, HandoverSandbox
from codemode_sandboxes.monty import MontySandbox

from codemode_graph import CodeMode, tool
from tests.sandboxes.driving import run

LACKING = Failed(kind="program", type="ValueError", message="a key is NaN", stdout="c\n", lacks="a key is NaN")
FIRST = Blocked((Call(1, "put", (1,)),), (), None, "a\n")
SECOND = Blocked((Call(2, "put", (2.0,)),), (), 0.5, "b\n")
PROGRAM = Program(code="1", tools=("put",))


class Other(MockSandbox):
    name = "other"


class Absent(MockSandbox):
    async def start(self, program: Program, limits: Limits | None = None) -> MockExecution:
        raise SandboxUnavailable("absent", "it is gone", "")


def moving(first: Sequence[Event], *others: Sandbox, moved: list[str] | None = None) -> HandoverSandbox:
    """Return a sandbox whose run moves to the first of the others that starts, and notes its name once it is there."""
    notes = list[str]() if moved is None else moved

    async def candidates(lacks: str) -> AsyncGenerator[Candidate]:
        assert lacks == "a key is NaN"
        for other in others:
            yield Candidate(other, partial(notes.append, other.name))

    return HandoverSandbox(MockSandbox([*first, LACKING]), candidates)


async def drive(sandbox: Sandbox) -> list[Event]:
    """Answer both calls: the first with a list that the host changes afterwards."""
    execution = await sandbox.start(PROGRAM, Limits())
    value = [float("nan"), "\ud800"]
    events = [await execution.advance(), await execution.advance({1: Returned(value)}, elapsed=1.0)]
    value.clear()
    return [*events, await execution.advance({2: Raised("KeyError", "no")}, elapsed=2.0)]


async def test_a_run_goes_on_elsewhere_and_is_told_what_it_was_told() -> None:
    other, moved = Other([FIRST, SECOND, Finished(3, "c\n")]), list[str]()
    sandbox = moving([FIRST, SECOND], Absent(Finished(1)), other, Other(Finished(2)), moved=moved)
    assert await drive(sandbox) == [FIRST, SECOND, Finished(3, "c\n")]
    assert (sandbox.name, moved) == ("other", ["other"])
    (execution,) = other.executions
    assert repr(execution.outcomes[1]) == repr({1: Returned([float("nan"), "\ud800"])})
    assert execution.outcomes[2] == {2: Raised("KeyError", "no")}
    assert execution.elapsed == [None, 1.0, 2.0]


OTHERWISE: dict[str, Event] = {
    "another call": replace(SECOND, calls=(Call(2, "put", (2,)),)),
    "a call more": replace(SECOND, calls=(*SECOND.calls, Call(3, "put", (3,)))),
    "no call": replace(SECOND, calls=()),
    "a call given up": replace(SECOND, cancelled=(1,)),
    "no timer": replace(SECOND, wake_after=None),
    "another text": replace(SECOND, stdout="b"),
    "an end": Finished(1),
    "a failure": Failed(kind="program", type="KeyError", message="x"),
}


@pytest.mark.parametrize("case", OTHERWISE)
async def test_a_run_that_does_otherwise_there_ends_with_the_failure(case: str) -> None:
    other, moved = Other([FIRST, OTHERWISE[case], Finished(3)]), list[str]()
    sandbox = moving([FIRST, SECOND], other, moved=moved)
    assert await drive(sandbox) == [FIRST, SECOND, LACKING]
    assert other.executions[0].closed
    # The failure is the first one's, and nobody hears that the run had moved.
    assert (sandbox.name, moved) == ("mock", [])


async def test_a_run_stays_where_there_is_no_other_backend_or_too_much_was_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert (await drive(moving([FIRST, SECOND])))[2] == LACKING
    assert (await drive(moving([FIRST, SECOND], Absent(Finished(1)))))[2] == LACKING
    monkeypatch.setattr(handover_module, "_MOST_BYTES", 10)
    assert (await drive(moving([FIRST, SECOND], MockSandbox([FIRST, SECOND, Finished(3)]))))[2] == LACKING


@pytest.fixture(scope="module")
async def auto() -> AsyncIterator[AutoSandbox]:
    sandbox = AutoSandbox([MontySandbox(), "restricted"])
    yield sandbox
    await sandbox.aclose()


async def test_calls_side_by_side_and_sleeps_are_caught_up_with(auto: AutoSandbox) -> None:
    async def put(x: float) -> float:
        return x

    code = (
        "import asyncio\nxs = await asyncio.gather(*[tools.put(x) for x in range(3)])\nawait asyncio.sleep(0.01)\n"
        "async def one(x):\n    await asyncio.sleep(0.01 * x)\n    return await tools.put(x)\n"
        "ys = await asyncio.gather(one(2), one(1))\nd = {}\n"
        "try:\n    d[await tools.put(xs[0] + 0.5) * ys[0]] = d.setdefault(float('n' + 'an'), 1)\nexcept Exception:\n    d = None\nlen(d)"
    )
    ended = await run(auto, code, {"put": put})
    assert ended.value == 2
    assert [call.args for event in ended.blocked for call in event.calls] == [(0,), (1,), (2,), (1,), (2,), (0.5,)]


async def test_the_arguments_of_calls_are_not_kept_for_a_move() -> None:
    class Argument(list[int]):
        """A list that a weak reference can look for."""

    kept: list[weakref.ref[Argument]] = []

    def call(program: Program) -> Generator[Blocked, Mapping[int, Outcome], Failed]:
        for number in range(1, 4):
            argument = Argument([number])
            kept.append(weakref.ref(argument))
            yield Blocked((Call(number, "put", (argument,)),))
            del argument
        return LACKING

    async def candidates(lacks: str) -> AsyncGenerator[Candidate]:
        yield Candidate(MockSandbox(call), lambda: None)

    execution = await HandoverSandbox(MockSandbox(call), candidates).start(PROGRAM, Limits())
    for number in range(4):
        assert all(each() is None for each in kept[:-1])
        event = await execution.advance({number: Returned(None)})
    assert event == LACKING
    assert len(kept) == 6


MOVES = {
    # Monty takes integers of 64 bits here.
    "import random\nx = random.randint(1, 9)\nawait tools.put(x)\nrandom.randrange(2**70) < 2**70": True,
    "import random\nxs = [random.random(), random.sample(range(99), 5), random.choice('abc')]\nawait tools.put(xs[0])\n"
    "d = {float('n' + 'an'): 1}\nlen(d) + len(xs)": 4,
    # Monty calls a sort key within another one no deeper than some 20 times.
    "def depth(n):\n    return n and max([n], key=lambda x: depth(n - 1))\nawait tools.put(1)\ndepth(100)": 100,
}


@pytest.mark.parametrize("code", MOVES)
async def test_random_numbers_and_what_monty_has_too_little_room_for_move(auto: AutoSandbox, code: str) -> None:
    async def put(x: float) -> None: ...

    ended = await run(auto, code, {"put": put})
    assert ended.value == MOVES[code]
    assert len(ended.blocked) == 1


@pytest.mark.parametrize("value", ["a\ud800", {"\udfff": [1]}])
async def test_a_result_that_monty_has_no_text_for_arrives_elsewhere(auto: AutoSandbox, value: Any) -> None:
    async def read() -> Any:
        return value

    ended = await run(auto, "await tools.read()\nx = await tools.read()\n[x]", {"read": read})
    assert ended.value == [value]
    assert len(ended.blocked) == 2


async def test_no_call_of_a_run_that_moves_is_made_twice() -> None:
    paid: list[float] = []

    @tool(effect="write")
    def pay(amount: float) -> float:
        """Pay an amount."""
        paid.append(amount)
        return amount

    @tool(effect="read")
    def rate() -> float:
        """Return the rate."""
        return float("nan")

    program = "print('go')\nawait tools.pay(1)\nrates = {await tools.rate(): await tools.pay(2)}\nawait tools.pay(3)\nreturn len(rates)"
    async with CodeMode(model=None, tools=[pay, rate]) as cm:
        result = await cm.run_code(program)
    assert (result["output"], paid, result["sandbox"], result["stdout"]) == (1, [1, 2, 3], "restricted", "go\n")
    async with CodeMode(model=None, tools=[pay, rate], sandbox="monty") as cm:
        failed = await cm.run_code(program.replace("await tools.pay(1)\n", ""))
    assert "NaN" in str(failed["error"])
    assert failed["sandbox"] == "monty"


class Endless(MockExecution):
    """Computes for ever once it has caught up."""

    async def advance(self, outcomes: Mapping[int, Outcome] | None = None, *, elapsed: float | None = None) -> Event:
        event = await super().advance(outcomes, elapsed=elapsed)
        if isinstance(event, Finished):
            await asyncio.Event().wait()
        return event


class EndlessSandbox(Other):
    async def start(self, program: Program, limits: Limits | None = None) -> MockExecution:
        execution = await super().start(program, limits)
        execution.__class__ = Endless
        return execution


async def test_a_run_that_moves_has_what_is_left_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    other, now = EndlessSandbox([FIRST, SECOND, Finished(3)]), itertools.count(step=100)
    # Each look at the clock is 100 seconds later, so what came before the move took 300.
    monkeypatch.setattr(handover_module, "time", SimpleNamespace(monotonic=lambda: float(next(now))))
    execution = await moving([FIRST, SECOND], other).start(PROGRAM, Limits(seconds=300.01))
    assert await execution.advance() == FIRST
    assert await execution.advance({1: Returned(1)}) == SECOND
    failed = await execution.advance({2: Returned(2)})
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.message) == ("timeout", "the program computed for longer than 300.01 seconds")
    assert failed.stdout == "c\n"  # as far as it is known: this backend says nothing of a program that is closed
    assert other.executions[0].closed


async def test_what_a_run_prints_where_it_has_moved_is_kept_when_its_time_is_up(auto: AutoSandbox) -> None:
    code = "print('a')\nx = int(await tools.three())\nprint('b')\nawait tools.three()\nprint('c', x)\nwhile True:\n    pass"
    execution = await auto.start(Program(code=code, tools=("three",)), Limits(seconds=1))
    first = await execution.advance()
    second = await execution.advance({1: Returned("٣")})
    failed = await execution.advance({2: Returned("3")})
    assert isinstance(first, Blocked)
    assert isinstance(second, Blocked)
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.message) == ("timeout", "the program computed for longer than 1 seconds")
    assert [first.stdout, second.stdout, failed.stdout] == ["a\n", "b\n", "c 3\n"]
