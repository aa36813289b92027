"""The real failure, what a program went on without, the model's last words and the effects: everywhere a run is told."""

from textwrap import indent
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from typer.testing import CliRunner

from codemode_graph import CodeMode, codemode, create_codemode
from codemode_graph.cli.app import app
from codemode_graph.integrations.answer import answer_text
from codemode_graph.result import RunResult
from codemode_graph.tools import tool
from tests.support import scripted

JAMMED = "the bolt is jammed"
OPEN = "await tools.pay(5)\nawait tools.unlock('a')"
HIDDEN = "try:\n    t = await tools.unlock('a')\nexcept Exception:\n    t = None\n"


@tool(effect="write")
def unlock(door: str) -> str:
    """Unlock a door."""
    raise RuntimeError(JAMMED)


@tool(effect="write")
def pay(amount: int) -> int:
    """Pay."""
    return amount


@tool(effect="read")
def look(times: int) -> str:
    """Look, which fails with a long error."""
    raise LookupError("x" * times)


TOOLS = [unlock, pay, look]


def code_mode(*replies: Any, **options: Any) -> CodeMode:
    return codemode(tools=TOOLS, model=scripted(*replies), sandbox="monty", **options)


async def told(result: RunResult, *, effects: bool = True) -> list[str]:
    """Everything that a reader of a run is given."""
    vercel = await _Given(result).as_vercel_tool()["execute"]({"task": "x"})
    texts = [str(result["error"]), str(result.trace.error), answer_text(result), vercel["error"], str(result.trace)]
    assert result["took_effect"] == (["1.1"] if effects else [])
    if effects:
        assert all('pay({"amount": 5})' in text for text in (answer_text(result), vercel["error"]))
        assert [call["tool"] for word, call in result.trace.remarks(effects=True)] == ["pay"]
    return [" ".join(text.split()) for text in texts]


class _Given(CodeMode):
    def __init__(self, result: RunResult) -> None:
        super().__init__(tools=TOOLS)
        self._result = result

    async def run(self, *arguments: Any, **options: Any) -> Any:
        return self._result


@pytest.mark.parametrize(
    ("replies", "words"),
    [
        ([OPEN, "I cannot open this door, sorry."], "I cannot open this door, sorry."),
        ([OPEN, ""], "there is no program"),
        ([OPEN, RuntimeError("no route to host")], "no route to host"),
        ([OPEN, "await tools.nope()"], "there is no tool 'nope'"),
        ([OPEN, "```python\nx = = 3\n```"], "invalid syntax"),
        ([OPEN, OPEN], "unchanged"),
        ([OPEN, AIMessage("```python\nawait tools.", response_metadata={"finish_reason": "length"})], "cut off"),
        (
            [OPEN, AIMessage("", tool_calls=[{"name": "pay", "args": {}, "id": "1", "type": "tool_call"}])],
            "called tools",
        ),
        ([f"await tools.pay(5)\n{HIDDEN}t + 'id'", "Sorry."], "Sorry."),
        ([f"await tools.pay(5)\n{HIDDEN}if t is None:\n    raise ValueError('not open')", "Sorry."], "not open"),
        ([f"await tools.pay(5)\n{HIDDEN}1 / 0"], "division by zero"),
        ([f"await tools.pay(5)\n{HIDDEN}raise ValueError"], "raised without a message"),
        ([f"await tools.pay(5)\n{HIDDEN}print('x' * 300_000)"], "printed more than"),
        ([f"await tools.pay(5)\nwhile True:\n{indent(HIDDEN, '  ')}"], "the run has made its 9 tool calls"),
    ],
)
async def test_a_failure_has_its_cause_and_the_last_words(replies: list[Any], words: str) -> None:
    async with code_mode(*replies, max_attempts=2, max_tool_calls=9) as cm:
        for text in await told(await cm.run("Open the door.")):
            assert JAMMED in text
            assert words in text


CUT_OFF = AIMessage("```python\nawait tools.", response_metadata={"finish_reason": "length"})
CALLS = AIMessage("I pay.", tool_calls=[{"name": "pay", "args": {"amount": 5}, "id": "1", "type": "tool_call"}])


@pytest.mark.parametrize(
    ("replies", "words"),
    [
        ([CUT_OFF, "I cannot do it."], ["cut off at its token limit", "I cannot do it."]),
        ([f"x = '{'y' * 300_000}'\nawait tools.pay(5)", "Sorry."], ["the program has 300,", "Sorry."]),
        ([CALLS], ["called tools itself", "I pay.", 'pay({"amount": 5})']),
    ],
)
async def test_answers_that_were_no_program_have_their_reason(replies: list[Any], words: list[str]) -> None:
    async with code_mode(*replies) as cm:
        error = str((await cm.run("Pay."))["error"])
    assert all(word in error for word in words)
    assert error.count("cut off") <= 1


@pytest.mark.parametrize(
    ("program", "which"),
    [
        (
            "for n in range(5):\n    try:\n        await tools.pay(n)\n    except RuntimeError:\n        pass",
            "3 of its 5 calls",
        ),
        ("more = [1, 2]\ntry:\n    await tools.pay(*more)\nexcept TypeError:\n    more = 0\n1", "its only call"),
    ],
)
async def test_a_success_says_which_calls_were_refused(program: str, which: str) -> None:
    async with codemode(tools=TOOLS, sandbox="restricted", max_tool_calls=2) as cm:
        result = await cm.run_code(program)
    assert result["success"]
    assert f"went on though {which} failed" in str(result["warning"])
    assert "refused" in str(result["warning"])


async def test_an_error_of_several_lines_is_told_once() -> None:
    @tool(effect="read")
    def read() -> None:
        """Read."""
        raise OSError("no disk\n  at /dev/sda")

    async with codemode(tools=[read]) as cm:
        error = str((await cm.run_code("await tools.read()"))["error"])
    assert error.count("at /dev/sda") == 1


async def test_an_empty_value_is_a_cause_too() -> None:
    async with code_mode("await tools.pay(5)\n[]", "I do not know.") as cm:
        for text in await told(await cm.run("Pay.")):
            assert "gave back nothing" in text
            assert "I do not know." in text


async def test_a_value_of_another_type_has_its_cause() -> None:
    async with code_mode(f"{HIDDEN}{{'door': t}}", max_attempts=1) as cm:
        for text in await told(await cm.run("Open.", returns=dict[str, str]), effects=False):
            assert JAMMED in text
            assert "but must be of type string" in text


@pytest.mark.parametrize(
    ("program", "which"),
    [
        (f"{HIDDEN}t", "though its only call failed"),
        (f"{HIDDEN}{{'error': 'no'}}", "though its only call failed"),
        (f"await tools.pay(1)\n{HIDDEN}t", "though 1 of its 2 calls failed"),
        (
            "import asyncio\nr = await asyncio.gather(*[tools.unlock(d) for d in 'abcde'], return_exceptions=True)\nlen(r)",
            "though all its 5 calls failed",
        ),
        (
            "import contextlib\nwith contextlib.suppress(Exception):\n    await tools.unlock('a')\n1",
            "its only call failed",
        ),
    ],
)
async def test_a_success_says_what_it_went_on_without(program: str, which: str) -> None:
    model = scripted(program)
    async with codemode(tools=TOOLS, model=model) as cm:
        result = await cm.run("Open.")
    assert (result["success"], result["error"]) == (True, None)
    warning = result["warning"]
    assert warning is not None
    assert warning.startswith("the program went on")
    assert which in warning
    assert f'unlock({{"door": "a"}}) raised RuntimeError: {JAMMED}' in warning
    assert f"Note: {warning}." in answer_text(result)
    for text in (str(result.trace), result.trace.html()):
        assert "failed, and the program went on: unlock" in text
        assert JAMMED in text
    state = await create_codemode(model=model, tools=TOOLS).compile().ainvoke({"task": "Open."})
    assert state["warning"] == warning


MENTIONED = "try:\n    t = await tools.unlock('a')\nexcept Exception as e:\n    t = str(e)\n[t, await tools.pay(1)]"


@pytest.mark.parametrize(
    "program", ["await tools.pay(5)", "1", MENTIONED, "try:\n    await tools.pay('x')\nexcept ValueError:\n    pass"]
)
async def test_a_success_without_failures_says_nothing(program: str) -> None:
    async with code_mode(program) as cm:
        result = await cm.run("Pay.")
    assert (result["warning"], result.trace.remarks()) == (None, [])
    assert "Note:" not in answer_text(result)


async def test_a_call_that_succeeds_at_last_is_no_failure() -> None:
    tries: list[int] = []

    @tool(effect="idempotent")
    def knock() -> int:
        """Knock."""
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("nobody there")
        return len(tries)

    program = "for n in range(5):\n    try:\n        r = await tools.knock()\n        break\n    except Exception:\n        pass\nr"
    async with codemode(tools=[knock]) as cm:
        result = await cm.run_code(program)
    assert (result["output"], result["warning"]) == (3, None)


async def test_what_is_quoted_is_bounded() -> None:
    hidden = "try:\n    await tools.look(600000)\nexcept Exception:\n    pass\n"
    model = scripted(
        f"{hidden}raise ValueError('y' * 600000)",
        f"{hidden}raise KeyError('z' * 600000)",
        AIMessage("words, " * 20_000),
    )
    async with codemode(tools=TOOLS, model=model, sandbox="restricted") as cm:
        failed = await cm.run("x")
        good = await cm.run_code(f"{hidden}1")
    assert len(answer_text(failed)) < 4_000
    assert max(map(len, model.prompts)) < 8_000
    assert len(str(failed["error"])) < 10_000
    assert len(str(good["warning"])) < 600
    assert "words, words" in answer_text(failed)


def test_the_terminal_says_it(tmp_path: Any) -> None:
    program = tmp_path / "program.py"
    program.write_text("try:\n    t = await tools.fail(reason='jammed')\nexcept Exception:\n    t = None\nt")
    found = CliRunner().invoke(
        app, ["run", "--program", str(program), "--tools", "tests.cli.mytools:TOOLS", "--no-journal"]
    )
    assert (found.exit_code, found.stdout) == (0, "null\n")
    assert "though its only call failed" in found.stderr
    assert "failed, and the program went on: fail" in found.stderr
