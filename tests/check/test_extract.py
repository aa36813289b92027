import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codemode_graph.model.reply import read_reply

PROGRAM = (
    "import asyncio\n\nasync def main():\n    rows = await tools['rows'](n=1)\n    return [r['id'] for r in rows]\n"
)
SHORT = "await tools.rows(n=1)\n"
BROKEN = "async def main(:\n    return await tools.rows(n=1)\n"
INDENTED = "\n".join("   " + line if line else "" for line in PROGRAM.split("\n"))


def fenced(*blocks: str) -> str:
    return "\nThen:\n".join(f"```python\n{block}\n```" for block in blocks)


# What a model may write around PROGRAM.
REPLIES = {
    "python fence": f"Here is it.\n\n```python\n{PROGRAM}```\nThat is all.",
    "py fence": f"```py\n{PROGRAM}```",
    "Python3 fence": f"```Python3\n{PROGRAM}```",
    "plain fence": f"```\n{PROGRAM}```",
    "tildes": f"~~~python\n{PROGRAM}~~~",
    "long fence": f"````python\n{PROGRAM}````",
    "fence with attributes": f"```{{.python}} title=x\n{PROGRAM}```",
    "fence behind words": f"The program: ```python\n{PROGRAM}```",
    "fence closed behind code": f"```python\n{PROGRAM.rstrip()}```",
    "indented fence": f"1. First:\n   ```python\n{INDENTED}   ```",
    "carriage returns": f"Yes.\n```python\n{PROGRAM}```".replace("\n", "\r\n"),
    "byte order mark": "\ufeff" + PROGRAM,
    "bare": PROGRAM,
    "bare, indented": INDENTED,
    "code tag": f"I think so.\n<code>\n{PROGRAM}</code>",
    "execute tag": f'<execute_python lang="x">\n{PROGRAM}\n</execute_python> ok',
    "tag around a fence": f"<code>\n```python\n{PROGRAM}```\n</code>",
    "escaped in a tag": f"<code>{PROGRAM.replace(chr(39), '&#39;')}</code>",
    "JSON": json.dumps({"thoughts": "List them.", "code": PROGRAM}),
    "JSON with raw line feeds": '{"code": "' + PROGRAM + '"}',
    "JSON in words": "My answer is " + json.dumps({"code": PROGRAM}) + " as asked.",
    "JSON in a fence": "```json\n" + json.dumps({"code": PROGRAM}, indent=1) + "\n```",
    "JSON around a fence": json.dumps({"code": f"```python\n{PROGRAM}```"}),
    "JSON call": json.dumps({"name": "run", "arguments": {"code": PROGRAM}}),
    "thoughts before": f"<think>\n```python\nx = 1\n```\n</think>\n```python\n{PROGRAM}```",
    "prompts": "```python\n>>> "
    + PROGRAM.rstrip().replace("\n    ", "\n...     ").replace("\n\n", "\n... \n").replace("\nasync", "\n>>> async")
    + "\n```",
    "other languages before": f"```bash\npip install x\n```\n```python\n{PROGRAM}```\n```json\n[1]\n```\n",
    "output behind": f"```python\n{PROGRAM}```\nIt gives:\n```\n[1, 2]\n```\nor\n```\nTotal: 5\n```",
    "use behind": f"```python\n{PROGRAM}```\nUse it:\n```python\nprint(result)\n```",
    "an earlier version": f"```python\nasync def main():\n    return tools\n```\nBetter:\n```python\n{PROGRAM}```",
    "shell text unmarked": f"```\npip install x\n```\n```\n{PROGRAM}```",
}


@pytest.mark.parametrize("reply", REPLIES)
def test_the_program_is_found(reply: str) -> None:
    assert read_reply(REPLIES[reply]).program.strip("\n") == PROGRAM.strip("\n")


@pytest.mark.parametrize(
    ("reply", "program"),
    [
        ("```python\nawait tools.rows(n=1)\n```", SHORT),
        ("```await tools.rows(n=1)```", SHORT),
        ('x = """\n```\ny = 1\n```\n"""\n', 'x = """\n```\ny = 1\n```\n"""\n'),
        ("```python\n42\n```", "42\n"),
        ("x = 1\ny", "x = 1\ny\n"),
        ('```python\nx = """\n```\n"""\n```', 'x = """\n```\n"""\n'),
        (fenced("x = 1", "y = 2"), "y = 2\n"),
        (fenced("x = 1", "x = 2", "print(x)"), "x = 2\n"),
        (fenced(PROGRAM, "asyncio.run(main())"), PROGRAM),
        (fenced(BROKEN), BROKEN),
        (fenced(BROKEN, "await main()"), BROKEN),
        (f"It is:\n{BROKEN}", f"It is:\n{BROKEN}"),
        ("```python\nconst x = await tools.rows({n: 1});\n```", "const x = await tools.rows({n: 1});\n"),
    ],
)
def test_which_blocks_make_the_program(reply: str, program: str) -> None:
    assert read_reply(reply).program == program


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "   \n",
        "I cannot do that.",
        "Sorry",
        "No tool can do this (there is none).",
        "```\n```",
        "```js\nconst x = 1;\n```",
        '{"answer": 1}',
        "[1, 2]",
        "Total: 5",
        "x" * 1_000_001,
    ],
)
def test_a_reply_without_a_program_is_an_error(reply: str) -> None:
    assert read_reply(reply).lack is not None


PIECES = ["```", "~~~", "python", "\n", "{", '"code":', '"x"', "}", "<code>", "<think>", "x = 1", "a b"]


@given(st.text(max_size=300) | st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_reply_has_a_program_or_is_an_error(reply: str) -> None:
    reading = read_reply(reply)
    assert reading.lack is not None or reading.program.strip()


@pytest.mark.parametrize("piece", ["<think>", "```\n", "{", "a b ", "x = 1\n", "<code>", "- a\n", "`tools.a()` "])
def test_a_hostile_reply_comes_to_an_end(piece: str) -> None:
    reading = read_reply(piece * (150_000 // len(piece)))
    assert reading.lack is not None or reading.program
