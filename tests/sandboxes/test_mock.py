"""The mock plays a script and remembers what the host did."""

from collections.abc import Generator, Mapping

import pytest
from codemode_sandboxes import (
    Blocked,
    Call,
    Capabilities,
    Event,
    Failed,
    Finished,
    Limits,
    MockSandbox,
    Outcome,
    Program,
    Raised,
    Returned,
    Sandbox,
    SandboxClosed,
)

PROGRAM = Program(code="await tools.weather(city='Oslo')", tools=("weather",))
CALL = Call(1, "weather", (), {"city": "Oslo"})


def script(program: Program) -> Generator[Blocked, Mapping[int, Outcome], Finished | Failed]:
    outcomes = yield Blocked(calls=(CALL,), stdout="asking\n")
    outcome = outcomes[1]
    if isinstance(outcome, Raised):
        return Failed(kind="program", type=outcome.type, message=outcome.message)
    return Finished({"tools": program.tools, "answer": outcome.value})


async def test_a_generator_receives_the_answers_and_returns_the_ending() -> None:
    sandbox = MockSandbox(script)
    assert isinstance(sandbox, Sandbox)
    execution = await sandbox.start(PROGRAM, Limits(seconds=3))
    assert await execution.advance() == Blocked(calls=(CALL,), stdout="asking\n")
    assert await execution.advance({1: Returned(7)}, elapsed=2.5) == Finished({"tools": ("weather",), "answer": 7})

    [seen] = sandbox.executions
    assert (seen.program, seen.limits) == (PROGRAM, Limits(seconds=3))
    assert (seen.outcomes, seen.elapsed) == ([{}, {1: Returned(7)}], [None, 2.5])
    with pytest.raises(SandboxClosed):
        await execution.advance()


async def test_every_run_plays_the_script_from_its_start() -> None:
    events: list[Event] = [Blocked(calls=(CALL,)), Finished(1)]
    sandbox = MockSandbox(iter(events))
    for _ in range(2):
        execution = await sandbox.start(PROGRAM)
        assert isinstance(await execution.advance(), Blocked)
        assert await execution.advance({1: Returned(None)}) == Finished(1)


async def test_runs_do_not_mix() -> None:
    sandbox = MockSandbox(script)
    first, second = await sandbox.start(PROGRAM), await sandbox.start(PROGRAM)
    await first.advance()
    await second.advance()
    assert await second.advance({1: Raised("KeyError", "x")}) == Failed(kind="program", type="KeyError", message="x")
    finished = await first.advance({1: Returned(1)})
    assert isinstance(finished, Finished)
    assert finished.value["answer"] == 1


@pytest.mark.parametrize(
    "simple", [Finished(5), [Finished(5)], lambda program: Finished(5), lambda program: [Finished(5)]]
)
async def test_simpler_scripts(simple: object) -> None:
    execution = await MockSandbox(simple).start(PROGRAM)  # type: ignore[arg-type]
    assert await execution.advance() == Finished(5)


async def test_a_script_without_an_ending_fails_the_test_that_uses_it() -> None:
    execution = await MockSandbox([Blocked(calls=(CALL,))]).start(PROGRAM)
    await execution.advance()
    with pytest.raises(AssertionError, match="ran out of events"):
        await execution.advance()


async def test_closing_runs_the_scripts_cleanup() -> None:
    closed = []

    def cleaning(program: Program) -> Generator[Blocked, Mapping[int, Outcome], Finished]:
        try:
            yield Blocked(calls=(CALL,))
            return Finished(None)
        finally:
            closed.append(program)

    sandbox = MockSandbox(cleaning)
    execution = await sandbox.start(PROGRAM)
    await execution.advance()
    await sandbox.aclose()
    await sandbox.aclose()
    assert (closed, execution.closed) == ([PROGRAM], True)


def test_it_claims_nothing_unless_told() -> None:
    assert MockSandbox(Finished(1)).capabilities.boundary == "none"
    assert MockSandbox(Finished(1)).capabilities.enforces == frozenset()
    pretended = Capabilities(language="Python 3.13", boundary="os", modules=frozenset({"json"}))
    assert MockSandbox(Finished(1), capabilities=pretended).capabilities == pretended


async def test_calls_that_wait_their_turn_with_the_host_are_all_reported() -> None:
    calls = tuple(Call(number, "double", (number,)) for number in range(1, 6))
    sandbox = MockSandbox([Blocked(calls=calls), Finished(1)])
    execution = await sandbox.start(Program(code="", tools=("double",)), Limits(calls_in_flight=2))
    assert await execution.advance() == Blocked(calls=calls)
