"""A program runs as it was written: thoughts, cut replies, words around programs, and texts that hold one."""

import json

import pytest

from benchmarks.fuzz_replies import fuzz
from codemode_graph.check.envelope import parses, unwrap
from codemode_graph.model.reply import program_of, read_reply

GOOD = "async def main():\n    return await tools['list_rows'](n=1)\n"
BAD = "await tools['delete_all'](really=True)\n"
FENCED, DRAFT = f"```python\n{GOOD}```", f"```python\n{BAD}```"

THOUGHTS = {
    "think": ("<think>", "</think>"),
    "thought": ("<thought>", "</thought>"),
    "thinking": ("<thinking>", "</thinking>"),
    "reasoning": ("<reasoning>", "</reasoning>"),
    "scratchpad": ("<scratchpad>", "</scratchpad>"),
    "a namespace": ("<seed:think>", "</seed:think>"),
    "capitals": ("<Thinking>", "</Thinking>"),
    "attributes": ('<think budget="low">', "</think>"),
    "brackets": ("[THINK]", "[/THINK]"),
    "pipes": ("<|begin_of_thought|>", "<|end_of_thought|>"),
    "capital pipes": ("<|START_THINKING|>", "<|END_THINKING|>"),
    "triangles": ("◁think▷", "◁/think▷"),
    "channels": ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    "channels without marks": ("analysisWe could. ", "assistantfinal"),
    "words": ("Here is my thought process:", "Here is my response:"),
    "a working": ("<start_working_out>", "<end_working_out>"),
    "a comment": ("<!--", "-->"),
    "details": ('<details type="reasoning" done="true">', "</details>"),
    "a fence": ("```thinking", "```"),
    "unused tokens": ("<unused94>thought", "<unused95>"),
    "bars": ("[|thought|]", "[|endofthought|]"),
    "a terminal": ("Thinking...", "...done thinking."),
    "one word": ("<|beginofthought|>", "<|endofthought|>"),
    "escaped": ("&lt;think&gt;", "&lt;/think&gt;"),
    "critique": ("<critique>", "</critique>"),
}


@pytest.mark.parametrize("kind", THOUGHTS)
def test_thoughts_are_no_source_of_programs(kind: str) -> None:
    opening, closing = THOUGHTS[kind]
    thoughts = f"{opening}\nI might write:\n{DRAFT}\nbut that is wrong. So I shou"
    assert read_reply(thoughts).lack == "cut-off"
    closed = f"{thoughts}ld not.\n{closing}\n"
    assert read_reply(closed).lack == "no-program"
    assert read_reply(f"{closed}{FENCED}").program == GOOD
    assert read_reply(f"{closed}Now:\n{FENCED}\n").program == GOOD
    assert read_reply(f"{closed}{GOOD}").program == GOOD
    if kind not in ("a fence", "a terminal"):  # a line of its own closes these
        assert read_reply(f"{opening}\n{DRAFT}{closing}\n{FENCED}").program == GOOD
        assert read_reply(f"{opening}{DRAFT}{closing}{FENCED}").program == GOOD
        assert read_reply(f"{DRAFT}{closing}\n{FENCED}").program == GOOD or kind in ("a comment", "details")
    assert read_reply(f"{opening}\n{BAD}{closing}\n").lack == "no-program"
    assert read_reply(f"{opening}\n{BAD}").lack == "cut-off"


@pytest.mark.parametrize("kind", [kind for kind in THOUGHTS if kind not in ("a comment", "details", "a fence")])
def test_thoughts_that_are_closed_and_never_opened_are_thoughts(kind: str) -> None:
    closing = THOUGHTS[kind][1]
    for thoughts in (f"I might write:\n{DRAFT}\nNo.", f"I might write:\n```python\n{BAD}", BAD, f"<code>{BAD}</code>"):
        assert read_reply(f"{thoughts}\n{closing}\n").lack == "no-program"
        assert read_reply(f"{thoughts}\n{closing}\n{FENCED}").program == GOOD


def test_a_mark_in_a_text_of_the_program_is_the_programs() -> None:
    program = "text = '<think>'\nawait tools['mail'](text=text + '</think> <|im_end|>')\n"
    assert read_reply(program).program == program
    assert read_reply(f"```python\n{program}```").program == program


@pytest.mark.parametrize(
    "reply",
    [
        f"```python\n{GOOD}",
        f"I will.\n```python\n{GOOD}Then",
        f"<code>\n{GOOD}",
        f"{FENCED}\nThen:\n```python\nawait tools",
        '{"code": "await tools[\'list',
        f"{FENCED}\n<think>But is that",
    ],
)
def test_what_is_cut_off_has_no_program(reply: str) -> None:
    assert read_reply(reply).lack == "cut-off"


NOT_MEANT = {
    "words within": "amount = 500\namount = amount minus 450\nawait tools.pay('ann', amount)",
    "a guard in words": "if not allowed user: raise SystemExit\nawait tools.pay('ann', 500)",
    "a print statement": "print x\nawait tools.pay('ann', 500)",
    "an old except": "try:\n    a = 1\nexcept error as e:\n    print e\nawait tools.pay('ann', 500)",
    "an unclosed quote": "name = 'ann\nawait tools.pay('ann', 500)",
    "a magic": "%pip install x\nawait tools.pay('ann', 500)",
    "SQL": "SELECT * FROM users;\nawait tools.pay('ann', 500)",
    "JavaScript": "const x = 1;\nawait tools.pay('ann', 500)",
    "a correction between": "amount = 500\nNo, it should be 50.\nawait tools.pay('ann', amount)",
    "a fence in its text": f'doc = """\n{DRAFT}\n"""\nx = = 1',
    "a tag in its text": f"page = '<code>{BAD.strip()}</code>'\nx = = 1",
    "a field in its text": f"x = {json.dumps({'code': BAD})}\nx = = 1",
}


@pytest.mark.parametrize("case", NOT_MEANT)
def test_no_line_is_dropped_to_make_the_rest_parse(case: str) -> None:
    code = NOT_MEANT[case]
    assert program_of(code).strip() == code
    for reply in (code, f"```python\n{code}\n```", f"<code>{code}</code>"):
        assert not parses(read_reply(reply).program or "?")


@pytest.mark.parametrize(
    "reply",
    [
        "Never run `await tools['delete_all']()`!",
        "Never run ```await tools['delete_all']()```!",
        f"Sure:\n\n{GOOD}\nThat is all.",
        f"{GOOD}\nThis lists the rows.",
    ],
)
def test_code_between_sentences_does_not_run(reply: str) -> None:
    program = read_reply(reply).program
    assert program == "" or program.strip() == reply.strip()


WRAPPED = {
    "JSON string": json.dumps(GOOD),
    "JSON of JSON": json.dumps(json.dumps(GOOD)),
    "JSON object": json.dumps({"code": GOOD}),
    "JSON with raw line feeds": '{"code": "' + GOOD + '"}',
    "JSON with other fields": json.dumps({"thoughts": "I list.", "strict": True, "code": GOOD}),
    "a tool call": json.dumps({"name": "run_code", "arguments": {"code": GOOD}}),
    "a tool call with text": json.dumps({"name": "run_code", "arguments": json.dumps({"code": GOOD})}),
    "a list": json.dumps([{"code": GOOD}]),
    "a dict": repr({"program": GOOD}),
    "a variable": f'code = """{GOOD}"""',
    "a variable, read": f'code = """{GOOD}"""\ncode',
    "a text": repr(GOOD),
    "a fence in JSON": json.dumps({"code": FENCED}),
    "JSON in a fence": f"```json\n{json.dumps({'code': GOOD})}\n```",
    "a variable in a fence": f'```python\ncode = """{GOOD}"""\n```',
    "a fence": FENCED,
    "a tag": f"<code>{GOOD}</code>",
}


@pytest.mark.parametrize(
    "reply",
    [
        f"<code><![CDATA[\n{GOOD}]]></code>",
        f"<code>\n<![CDATA[{GOOD}]]>\n</code>",
        f"<function=run_code>\n<parameter=code>\n{GOOD}</parameter>\n</function>",
        f'<invoke name="run_code"><parameter name="code">{GOOD}</parameter></invoke>',
        f'<a:invoke name="python"><a:parameter name="code">{GOOD}</a:parameter></a:invoke>',
        f"```main.py\n{GOOD}```",
        f"```python3.12 title='x'\n{GOOD}```",
        f"```python:src/main.py\n{GOOD}```",
    ],
)
def test_a_field_or_a_fence_of_another_make_holds_the_program(reply: str) -> None:
    assert read_reply(reply).program == GOOD
    assert program_of(reply) == GOOD


def test_a_section_of_text_with_a_tag_in_a_string_is_whole() -> None:
    program = "text = '</code>'\nawait tools['mail'](text=text)\n"
    assert read_reply(f"<code><![CDATA[{program}]]></code>").program == program


def test_two_fences_on_a_line_are_no_fence_of_one_line() -> None:
    opening, closing = THOUGHTS["channels"]
    assert read_reply(f"{opening}{DRAFT}{closing}```").program == ""
    assert read_reply("```python await tools['list_rows'](n=1)```").program == "await tools['list_rows'](n=1)\n"


def test_json_with_an_empty_program_is_not_cut_off() -> None:
    assert read_reply('{"code": ""}').lack == "no-program"
    assert read_reply('{"code": "await tools').lack == "cut-off"


@pytest.mark.parametrize("case", WRAPPED)
def test_a_wrapped_program_is_unwrapped_exactly(case: str) -> None:
    assert program_of(WRAPPED[case]).strip() == GOOD.strip()
    assert read_reply(WRAPPED[case]).program.strip() == GOOD.strip()


@pytest.mark.parametrize(
    "program", ["'done'", "{'code': 'E42', 'message': 'no such row'}", "code = 42", "{'source': 'the list'}", "['a b']"]
)
def test_a_value_that_is_no_program_stays(program: str) -> None:
    assert unwrap(program) == program


EDGES = [
    f"{GOOD}<|im_end|>",
    f"<|im_start|>assistant\n{GOOD}<|im_end|>\n",
    f"{GOOD}</s>",
    f"{GOOD}<end_of_turn>",
    f"{GOOD}```",
    f"{FENCED}<|eot_id|>",
    f"```python\n{GOOD}<|im_end|>\n```",
    f"````python\n{GOOD}```",
    f"<|start_header_id|>assistant<|end_header_id|>\n\n{FENCED}",
    f"{FENCED}<|im_end|>\n<|im_start|>user\nNow delete.<|im_end|>\n<|im_start|>assistant\n{DRAFT}",
    f"{FENCED}\n\nUser: Now delete.\nAssistant:\n{DRAFT}",
    f"{FENCED}\n```",
]


@pytest.mark.parametrize("reply", EDGES)
def test_marks_at_the_edges_are_no_part_of_the_program(reply: str) -> None:
    assert read_reply(reply).program == GOOD


FETCH, USE = "rows = await tools.rows(n=1)", "await tools.pay(rows[0]['id'])"


@pytest.mark.parametrize(
    ("blocks", "program"),
    [
        ([BAD, GOOD], GOOD),
        ([GOOD, "print(result)"], GOOD),
        ([GOOD, "import asyncio\nasyncio.run(main())"], GOOD),
        ([GOOD, "await main()"], GOOD),
        ([GOOD, GOOD], GOOD),
        ([FETCH, USE], ""),
        (["import json", "x = 1", "json.dumps(x)"], ""),
        ([GOOD, "async def other(:\n    pass"], "async def other(:\n    pass\n"),
    ],
)
def test_of_several_fences_the_last_that_needs_no_other_is_the_program(blocks: list[str], program: str) -> None:
    reading = read_reply("\nOr:\n".join(f"```python\n{block.strip()}\n```" for block in blocks))
    assert (reading.program, reading.lack) == (program, None if program else "several-blocks")


FORBIDDING = r"""
Do not run this:
Please don’t run this:
**Do NOT execute the following:**
Here is what NOT to do:
What I would never do:
How not to do it:
This is wrong:
This version would be dangerous:
Bad example:
### Wrong
1. First attempt (wrong):
❌ Incorrect code:
Never do this! It deletes all rows:
An anti-pattern:
This code should not be used:
The following must not be run.
You should avoid:
Instead of this:
It is not meant to be executed:
Thought:
**Thoughts**
> Draft:
Plan:
My reasoning:
If I were to delete all of them:
Nicht ausführen:
不要运行：
"""
LEADING = r"""
Here is the program:
Note that this does not delete:
Here's the program. It does not change anything:
Thought: I list the rows.
Thought: I should not delete.
Code:
I must not run delete_all. Here is the program:
I cannot delete rows, so I only list them:
Sure! This avoids calling pay twice:
The first attempt was wrong; this is fixed:
The plan is to list rows:
Bad rows are skipped:
Don't worry, this is simple:
This program doesn't use the code tool:
Do not run this twice:
It would not work with a list, so I use a dict:
Never fear:
### Final program
这是程序：
"""


@pytest.mark.parametrize("words", FORBIDDING.strip().split("\n"))
def test_a_block_that_the_words_before_it_forbid_is_no_program(words: str) -> None:
    words = words.replace("\\n", "\n")
    for block in (DRAFT, f"<code>\n{BAD}</code>"):
        assert read_reply(f"I list rows.\n\n{words}\n\n{block}\n").lack == "rejected"
    assert read_reply(f"{words}\n{DRAFT}\n\nInstead:\n{FENCED}").program == GOOD
    assert read_reply(f"{FENCED}\n\n{words}\n{DRAFT}").program == GOOD


@pytest.mark.parametrize("words", LEADING.strip().split("\n"))
def test_a_block_that_words_lead_to_is_the_program(words: str) -> None:
    words = words.replace("\\n", "\n")
    for behind in (
        "",
        "\nThis does not delete anything. Do not run it twice.\n",
        "\n\nThat is all; it should not fail.\n",
    ):
        assert read_reply(f"{words}\n\n{FENCED}{behind}").program == GOOD


@pytest.mark.parametrize(
    "words",
    [
        "But that is wrong.",
        "Wait, that would be wrong. I list instead",
        "Do not run this!",
        "No, that's dangerous.",
        "Never mind.",
        "It works. But it is wrong, so I will not.",
        "That would violate the task. So I will not.",
    ],
)
def test_a_block_that_is_taken_back_is_no_program(words: str) -> None:
    assert read_reply(f"I could:\n{DRAFT}\n{words}\n").lack == "rejected"
    assert read_reply(f"I could:\n{DRAFT}\n{words}\n\n{FENCED}").program == GOOD


def test_no_reply_of_any_model_family_runs_what_it_does_not_hold() -> None:
    assert fuzz(400, seed=5).wrong == []
