"""Runs whose programs were not written as asked for: nothing runs that nobody meant, and the result says why."""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from codemode_graph import codemode, tool
from tests.support import ScriptedModel, scripted

GOOD = "await tools.open_door(number=1)"


class Doors:
    """Doors that open but for number 7, and what was opened."""

    def __init__(self) -> None:
        self.opened: list[int] = []

        @tool(effect="write")
        def open_door(number: int) -> str:
            """Open a door."""
            if number == 7:
                raise RuntimeError("the bolt is jammed")
            self.opened.append(number)
            return f"door {number} is open"

        @tool(effect="read", name="list-doors")
        def list_doors(floor: int = 0) -> list[int]:
            """List the doors."""
            return [1, 7]

        self.tools = [open_door, list_doors]


async def run(*replies: Any) -> tuple[Any, Doors, ScriptedModel]:
    doors, model = Doors(), scripted(*replies)
    async with codemode(tools=doors.tools, code_model=model) as cm:
        return await cm.run("Open the doors."), doors, model


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("number = 1\nnumber = number minus 1\nawait tools.open_door(number=number)", "line 2: invalid syntax"),
        ("print x\nawait tools.open_door(number=1)", "line 1: Missing parentheses in call to 'print'"),
        ("name = 'ann\nawait tools.open_door(number=1)", "line 1: unterminated string literal"),
        (json.dumps("await tools.open_door(number=minus 1)"), "invalid syntax"),
        ("text = '''await tools.open_door(number=1)'''\nprint(text)", "the program stands in a text"),
        ("code = f'''await tools.open_door(number={1})'''\ncode", "the program stands in a text"),
        ("async def main():\n    return '''await tools.open_door(number=1)'''", "the program stands in a text"),
    ],
)
async def test_a_program_of_a_caller_that_is_not_whole_does_not_run(code: str, error: str) -> None:
    doors = Doors()
    async with codemode(tools=doors.tools) as cm:
        result = await cm.run_code(code)
    assert (result["success"], doors.opened, result["tool_calls"]) == (False, [], [])
    assert error in str(result["error"])


@pytest.mark.parametrize("wrapped", [json.dumps(GOOD), json.dumps({"code": GOOD}), f"code = '''{GOOD}'''"])
async def test_a_wrapped_program_of_a_caller_runs(wrapped: str) -> None:
    doors = Doors()
    async with codemode(tools=doors.tools) as cm:
        result = await cm.run_code(wrapped)
    assert (result["output"], doors.opened) == ("door 1 is open", [1])


async def test_a_syntax_error_is_told_with_its_line_and_a_caret() -> None:
    result, _, model = await run("```python\nnumber = 5\nnumber = number minus 1\n```", GOOD)
    assert result["success"]
    assert "number = number minus 1\n" + " " * 22 + "^" in model.prompts[1]
    assert "end of the program" not in model.prompts[1]
    failure = result["attempts"][0]["failure"]
    assert (failure["line"], failure["traceback"].count("^") > 0) == (2, True)


@pytest.mark.parametrize("call", ["tools['list-doors']", "tools.list_doors", "tools.get('list-doors')"])
async def test_a_tool_that_is_awaited_and_needs_no_argument_is_called(call: str) -> None:
    doors = Doors()
    async with codemode(tools=doors.tools) as cm:
        result = await cm.run_code(f"import asyncio\na = await {call}\nb, = await asyncio.gather({call})\n[a, b]")
    assert result["output"] == [[1, 7], [1, 7]]


async def test_an_awaited_tool_that_needs_arguments_is_a_finding() -> None:
    doors = Doors()
    async with codemode(tools=doors.tools) as cm:
        result = await cm.run_code("await tools.open_door")
    assert result["error"] == "line 1: the tool is not called: write await tools['open_door'](number=...)"


async def test_a_refusal_is_answered_once_and_ends_the_run_with_the_models_words() -> None:
    result, _, model = await run("I am sorry, I cannot open doors.", "No, really: I cannot.")
    assert len(model.asked) == 2
    assert result["error"] == "the model wrote no program, but: No, really: I cannot."
    assert "I am sorry, I cannot open doors." in model.prompts[1]


@pytest.mark.parametrize(
    "reply",
    [
        AIMessage("", tool_calls=[{"name": "open_door", "args": {"number": 1}, "id": "c1"}]),
        '<tool_call>\n{"name": "open_door", "arguments": {"number": 1}}\n</tool_call>',
        AIMessage('[TOOL_CALLS][{"name": "open_door", "arguments": {"number": 1}}]'),
    ],
)
async def test_native_tool_calls_are_answered_once_and_run_nothing(reply: Any) -> None:
    result, doors, model = await run(reply)
    assert (len(model.asked), doors.opened) == (2, [])
    assert "open_door" in result["error"]
    assert "await tools['name'](argument=value)" in model.prompts[1]


async def test_what_the_token_limit_cut_off_is_asked_for_again() -> None:
    cut = AIMessage("```python\nawait tools.open_door(number=1)\n", response_metadata={"finish_reason": "length"})
    thought = AIMessage("<think>\n```python\nawait tools.open_door(number=1)\n```\nbut that is wrong. So I shou")
    last = "```python\nawait tools.open_door(number=2)\n```"
    result, doors, model = await run(cut, thought, last)
    assert (result["success"], doors.opened) == (True, [2])
    assert "cut off at its token limit" in model.prompts[1]
    assert "its thoughts have no end" in model.prompts[2]


async def test_reasoning_blocks_are_no_source_of_programs() -> None:
    blocks: list[Any] = [
        {"type": "reasoning", "reasoning": f"```python\n{GOOD}\n```"},
        {"type": "thinking", "thinking": GOOD},
        {"type": "text", "text": "Nothing to do."},
    ]
    result, doors, _ = await run(AIMessage(content=blocks))
    assert (result["success"], doors.opened) == (False, [])


@pytest.mark.parametrize(
    "last", ["I give up: it cannot be opened.", "```python\n# I give up.\n```", "```python\n{}\n```"]
)
async def test_a_result_that_failed_has_the_last_real_failure(last: str) -> None:
    jammed = "await tools.open_door(number=7)"
    result, _, model = await run(f"```python\n{jammed}\n```", last.format(jammed), last.format(jammed))
    assert "the bolt is jammed" in result["error"]
    assert (
        result["error"]
        == f"line 1: {result['attempts'][0]['failure']['type']}: the bolt is jammed"
        + (result["error"].partition("jammed")[2])
    )
    if last.startswith("I"):
        assert last in result["error"]
    assert jammed in model.prompts[2] or "{}" in last


async def test_a_repair_message_is_bounded() -> None:
    long = "x = '" + "a" * 600_000 + "'"
    error = "raise ValueError('b' * 600_000)"
    _, _, model = await run(f"```python\n{long}\n```", f"```python\n{error}\n```", GOOD)
    assert all(len(prompt) < 40_000 for prompt in model.prompts)
