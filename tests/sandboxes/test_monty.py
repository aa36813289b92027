"""Monty: it keeps the contract, its limits hold, and it survives what programs and hosts do to it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from codemode_sandboxes import (
    Blocked,
    Execution,
    Failed,
    Finished,
    Limits,
    Program,
    Raised,
    Returned,
    Sandbox,
    SandboxClosed,
)
from codemode_sandboxes.monty import MontySandbox
from codemode_sandboxes.monty.session import MontyExecution

from tests.sandboxes.cases import fake_tools, load, needs_cases
from tests.sandboxes.driving import NOW, double, echo, run

# What programs of the cases need and Monty lacks.
UNSUPPORTED = {"async-gen", "generator", "next-genexpr", "queue", "textwrap", "urllib"}


@pytest.fixture(scope="session")
async def sandbox() -> AsyncIterator[MontySandbox]:
    sandbox = MontySandbox(max_workers=8)
    yield sandbox
    await sandbox.aclose()


async def start(
    sandbox: MontySandbox, code: str, *tools: str, limits: Limits | None = None, seed: int = 1
) -> MontyExecution:
    return await sandbox.start(Program(code=code, tools=tools, seed=seed, now=NOW), limits or Limits(seconds=10))


def blocked(event: Any) -> Blocked:
    assert isinstance(event, Blocked), event
    return event


def ids(event: Any) -> list[tuple[int, str]]:
    return [(call.id, call.tool) for call in blocked(event).calls]


@needs_cases
@pytest.mark.parametrize(
    "case", [case for case in load("benign") if not UNSUPPORTED & set(case["features"])], ids=lambda case: case["id"]
)
async def test_ordinary_programs(sandbox: MontySandbox, case: dict[str, Any]) -> None:
    result = await run(sandbox, case["code"] + "\nawait main()", fake_tools())
    assert (result.value, result.stdout) == (case["expected"], case["expected_stdout"])


async def test_it_keeps_the_contract(sandbox: MontySandbox) -> None:
    any_sandbox: Sandbox = sandbox
    execution: Execution = await any_sandbox.start(Program(code="1"))
    assert isinstance(any_sandbox, Sandbox)
    assert isinstance(execution, Execution)
    await execution.aclose()


# Calls


async def test_a_program_without_calls_just_ends(sandbox: MontySandbox) -> None:
    result = await run(sandbox, "print('hello')\nx = 20\nx + 1")
    assert result.event == Finished(21, "hello\n")


@pytest.mark.parametrize("code", ["", "# nothing", "x = 5", "if True:\n    7"])
async def test_without_a_last_expression_the_value_is_none(sandbox: MontySandbox, code: str) -> None:
    assert (await run(sandbox, code)).event == Finished(None)


async def test_calls_in_sequence_are_reported_one_by_one(sandbox: MontySandbox) -> None:
    code = "a = await tools.double(1)\nprint('between')\nb = await tools['double'](value=a)\nb"
    result = await run(sandbox, code, {"double": double})
    assert result.value == 4
    assert [(call.id, call.args, call.kwargs) for event in result.blocked for call in event.calls] == [
        (1, (1,), {}),
        (2, (), {"value": 2}),
    ]
    assert [event.stdout for event in result.blocked] == ["", "between\n"]


async def test_gathered_calls_are_reported_together_with_their_lines(sandbox: MontySandbox) -> None:
    code = (
        "import asyncio\n\n'é'\nawait asyncio.gather(\n    tools.double(1),\n    *[tools.double(n) for n in (2, 3)],\n)"
    )
    result = await run(sandbox, code, {"double": double})
    assert result.value == [2, 4, 6]
    [event] = result.blocked
    assert [(call.id, call.args, call.line) for call in event.calls] == [(1, (1,), 5), (2, (2,), 6), (3, (3,), 6)]


async def test_a_line_is_the_users_whatever_ends_its_lines(sandbox: MontySandbox) -> None:
    execution = await start(sandbox, "x = 1\r\n\r\nasync def f():\r\n    await tools.a()\r\nawait f()", "a")
    assert [call.line for call in blocked(await execution.advance()).calls] == [4]
    await execution.aclose()


ORDER = """\
import asyncio
seen = []
async def f(name):
    seen.append(await tools.echo(name))
    await tools.echo(name + '2')
    seen.append(name + '2')
await asyncio.gather(f('a'), f('b'), f('c'))
seen
"""


async def test_any_subset_of_the_open_calls_may_be_answered_in_any_order(sandbox: MontySandbox) -> None:
    execution = await start(sandbox, ORDER, "echo")
    assert ids(await execution.advance()) == [(1, "echo"), (2, "echo"), (3, "echo")]
    assert ids(await execution.advance()) == []
    assert ids(await execution.advance({3: Returned("c"), 1: Returned("a")})) == [(4, "echo"), (5, "echo")]
    assert ids(await execution.advance({5: Returned(None)})) == []
    assert ids(await execution.advance({2: Returned("b"), 4: Returned(None)})) == [(6, "echo")]
    assert await execution.advance({6: Returned(None)}) == Finished(["c", "a", "a2", "b", "c2", "b2"])


async def test_answers_reach_the_program_in_the_order_given(sandbox: MontySandbox) -> None:
    for order in ((1, 2, 3), (3, 2, 1), (2, 3, 1)):
        execution = await start(sandbox, ORDER, "echo")
        await execution.advance()
        event = blocked(await execution.advance({number: Returned("abc"[number - 1]) for number in order}))
        assert [call.args[0] for call in event.calls] == ["abc"[number - 1] + "2" for number in order]
        await execution.aclose()


async def test_answers_to_calls_that_are_not_open_are_ignored(sandbox: MontySandbox) -> None:
    execution = await start(sandbox, "a = await tools.a()\nb = await tools.a()\n[a, b]", "a")
    await execution.advance({1: Returned("too early"), 77: Returned(0)})
    await execution.advance({1: Returned("a"), 2: Returned("not made yet")})
    assert ids(await execution.advance({1: Returned("again")})) == []
    assert await execution.advance({2: Returned("b")}) == Finished(["a", "b"])


async def test_after_the_end_there_is_no_other_event(sandbox: MontySandbox) -> None:
    execution = await start(sandbox, "1")
    assert isinstance(await execution.advance(), Finished)
    with pytest.raises(SandboxClosed):
        await execution.advance()


async def test_a_call_that_is_never_awaited_is_not_reported_at_the_end(sandbox: MontySandbox) -> None:
    assert (await run(sandbox, "t = tools.echo(1)\n5", {"echo": echo})).blocked == []


async def test_an_awaited_gather_survives_one_failure_and_the_others_go_on(sandbox: MontySandbox) -> None:
    code = (
        "import asyncio\nasync def f():\n    await tools.a()\n    print('went on')\n"
        "try:\n    await asyncio.gather(f(), tools.b())\nexcept ValueError as e:\n    print('caught', e)\n"
        "await tools.c()"
    )
    execution = await start(sandbox, code, "a", "b", "c")
    calls = {call.tool: call.id for call in blocked(await execution.advance()).calls}
    event = blocked(await execution.advance({calls["b"]: Raised("ValueError", "bad")}))
    assert (event.stdout, ids(event)) == ("caught bad\n", [(3, "c")])
    assert await execution.advance({calls["a"]: Returned(0), 3: Returned("end")}) == Finished("end", "went on\n")


# Tools and their names


async def test_tools_are_found_by_name_and_by_attribute(sandbox: MontySandbox) -> None:
    code = (
        "t = tools['list-events']\nawait t(1)\nawait tools.list_events(2)\n"
        "['list-events' in tools, 'x' in tools, list(tools), sorted(tools.keys()), tools.get('x'), str(tools)]"
    )
    names = ["list-events", "echo"]
    result = await run(sandbox, code, dict.fromkeys(names, echo))
    assert result.value == [True, False, names, sorted(names), None, "<tools: list-events, echo>"]


@pytest.mark.parametrize(
    "code",
    [
        "await tools.echo(5)",
        "await tools . echo(5)",
        "f = tools.echo\nawait f(5)",
        "f'{await tools.echo(5)}'",
        "[await each(5) for each in tools.values()][0]",
        "t = tools\nawait t.echo(5)",
        "await getattr(tools, 'echo')(5)",
        "await [tools][0]['echo'](5)",
        "def tool(name='echo'):\n    return tools[name]\nawait tool()(5)",
        "await (lambda tools: tools.echo(5))(tools)",
        "(await tools.echo(5)) if 'echo' in tools else None",
        "await tools.get('echo')(5)",
        "await next(iter(tools.items()))[1](5)",
    ],
)
async def test_whatever_way_a_program_takes_to_a_tool_it_is_there(sandbox: MontySandbox, code: str) -> None:
    result = await run(sandbox, code, {"echo": echo})
    assert result.value in ([[5], {}], "[[5], {}]"), result.event


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("round(2.675, 2)", 2.67),
        ("f = round\nf(2.675, 2)", 2.67),
        ("list(map(round, [2.675], [2]))", [2.67]),
        ("[f(0.5) for f in (round, abs)]", [0, 0.5]),
        ("sum([0.1] * 10)", sum([0.1] * 10)),
        ("def total(numbers, add=sum):\n    return add(numbers)\ntotal([0.1] * 10)", sum([0.1] * 10)),
        ("max([[0.1] * 10, [0.3]], key=sum)", [0.1] * 10),
    ],
)
async def test_what_comes_before_a_program_is_what_it_needs(sandbox: MontySandbox, code: str, value: Any) -> None:
    assert (await run(sandbox, code)).value == value


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("tools['list-event']", "KeyError", "no tool named 'list-event'; did you mean 'list-events'?"),
        ("tools['zzz']", "KeyError", "no tool named 'zzz'"),
        ("tools.list_event", "AttributeError", "no tool tools.list_event; did you mean list_events?"),
        ("tools.zzz()", "AttributeError", "no tool tools.zzz"),
    ],
)
async def test_an_unknown_tool_is_an_error_that_names_what_is_near(
    sandbox: MontySandbox, code: str, error: str, message: str
) -> None:
    failed = (await run(sandbox, "x = 1\n" + code, {"list-events": echo})).failed
    assert (failed.kind, failed.type, failed.message, failed.line) == ("program", error, message, 2)
    caught = await run(sandbox, f"try:\n    {code}\nexcept {error}:\n    r = 'caught'\nr", {"list-events": echo})
    assert caught.value == "caught"


@pytest.mark.parametrize(
    "code",
    [
        "await secret()",
        "await _tool_1()",
        "await _tool_0_()",
        "tools.secret()",
        "tools['secret']()",
        "tools._functions['secret']()",
        "tools.echo.__globals__",
        "tools.echo.secret()",
        "_parts[1]()",
        "__import__('os').system('id')",
        "exec('secret()')",
        "eval('secret()')",
        "input()",
        "breakpoint()",
        "open('/etc/passwd').read()",
        "from pathlib import Path\nPath('/etc/passwd').read_text()",
        "import os\nos.environ['PATH']",
        "import os\nos.urandom(3)",
        "import os\nos.listdir('/')",
        "import subprocess",
        "import socket",
    ],
)
async def test_nothing_but_the_granted_tools_can_be_reached(sandbox: MontySandbox, code: str) -> None:
    result = await run(sandbox, code, {"echo": echo})
    assert result.failed.kind == "program"
    assert result.blocked == []


async def test_a_forged_function_name_reaches_a_granted_tool_at_most(sandbox: MontySandbox) -> None:
    assert (await run(sandbox, "await _tool_0(1)", {"echo": echo})).value == [[1], {}]


async def test_a_tool_may_have_the_name_of_a_builtin(sandbox: MontySandbox) -> None:
    assert (await run(sandbox, "print('still print')\nawait tools.print(1)", {"print": echo})).value == [[1], {}]


# Values


async def test_arguments_and_values_become_json(sandbox: MontySandbox) -> None:
    code = (
        "import datetime\nfrom dataclasses import dataclass\nfrom decimal import Decimal\n"
        "@dataclass\nclass P:\n    x: int\n"
        "await tools.echo((1, {2}), when=datetime.date(2026, 1, 2), p=P(1), n=2**70, k={1: Decimal('1.5')})\n"
        "['a\\x00b', (1, 2), {'p': P(3)}]"
    )
    result = await run(sandbox, code, {"echo": echo})
    [call] = result.blocked[0].calls
    assert call.args == ([1, [2]],)
    assert call.kwargs == {"when": "2026-01-02", "p": {"x": 1}, "n": 2**70, "k": {"1": "1.5"}}
    assert result.value == ["a\x00b", [1, 2], {"p": {"x": 3}}]


NOT_JSON = [
    ("b'x'", "TypeError", "base64"),
    ("{(1, 2): 3}", "TypeError", "cannot be a key"),
    ("tools.echo", "TypeError", "call it"),
    ("tools.echo()", "TypeError", "await"),
    ("[{'a': tools.echo()}]", "TypeError", "await"),
    ("f()", "TypeError", "await"),
    ("f", "TypeError", "call it"),
    ("A()", "TypeError", "class 'A'"),
    ("A().m", "TypeError", "call it"),
    ("{'a': 1}.keys()", "TypeError", "list"),
    ("{'a': 1}.items()", "TypeError", "list"),
    ("range(3)", "TypeError", "list"),
    ("iter([1])", "TypeError", "list"),
    ("len", "TypeError", "'len'"),
    ("int", "TypeError", "'type'"),
    ("ValueError('x')", "TypeError", "'ValueError'"),
    ("re.compile('a')", "TypeError", "re.compile"),
    ("{'patterns': [re.compile('a', re.I)]}", "TypeError", "re.compile"),
    ("slice(1, 2)", "TypeError", "slice"),
    ("A", "TypeError", "<class 'A'>"),
    ("collections.namedtuple('pair', 'a b')", "TypeError", "<class 'pair'>"),
    ("asyncio.gather", "TypeError", "<function gather"),
    ("functools.reduce", "TypeError", "<function reduce"),
    ("functools.partial(len, 'a')", "TypeError", "functools.partial"),
    ("typing.Any", "TypeError", "typing.Any"),
    ("...", "TypeError", "'ellipsis'"),
    ("10**5000", "ValueError", "digits"),
    ("'x' * 2000", "ValueError", "1,000 bytes"),
    ("doubled", "ValueError", "1,000 bytes"),
    ("nested", "ValueError", "60 deep"),
]
DEFINITIONS = (
    "import asyncio, collections, functools, re, typing\n"
    "async def f():\n    pass\n"
    "class A:\n    def m(self):\n        pass\n"
    "doubled = [1]\nfor i in range(40):\n    doubled = [doubled, doubled]\n"
    "nested = []\nfor i in range(100000):\n    nested = [nested]\n"
)


@pytest.mark.parametrize(("expression", "error", "words"), NOT_JSON)
async def test_what_json_has_nothing_for_is_an_error_and_reaches_no_tool(
    sandbox: MontySandbox, expression: str, error: str, words: str
) -> None:
    limits = Limits(seconds=10, value_bytes=1000)
    failed = (await run(sandbox, DEFINITIONS + expression, {"echo": echo}, limits=limits)).failed
    assert (failed.kind, failed.type) == ("program", error)
    assert words in failed.message
    code = f"{DEFINITIONS}try:\n    await tools.echo({expression})\nexcept {error} as e:\n    r = str(e)\nr"
    caught = await run(sandbox, code, {"echo": echo}, limits=limits)
    assert words in caught.value
    assert [call for event in caught.blocked for call in event.calls if call.args] == []


async def test_ordinary_text_that_looks_a_little_like_a_repr_passes(sandbox: MontySandbox) -> None:
    texts = ["<b>object</b>", "range", "dict_keys", "<coroutine", "_tool", "<html><object data='x'></object></html>"]
    texts += ["<class 'int'>", "re.compile is slow", "typing.", "slice(a)", "functools.partial(f)", "<function 'f'>"]
    assert (await run(sandbox, f"{texts!r}")).value == texts
    assert (await run(sandbox, "[str(type(x)) for x in (1, None, 'a')]")).value[1] == "<class 'NoneType'>"


async def test_large_values_pass_whole(sandbox: MontySandbox) -> None:
    assert (await run(sandbox, "['x' * 1000] * 2000")).value == ["x" * 1000] * 2000


async def test_an_answer_that_is_not_json_is_the_hosts_error(sandbox: MontySandbox) -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    for value in (object(), {"a": [object()]}, cycle):
        execution = await start(sandbox, "await tools.a()", "a")
        await execution.advance()
        with pytest.raises(TypeError, match="not a JSON value"):
            await execution.advance({1: Returned(value)})
        with pytest.raises(SandboxClosed):
            await execution.advance()


@pytest.mark.parametrize("value", ["a\ud800", [{"\udfff": 1}]])
async def test_a_result_that_monty_has_no_text_for_ends_the_run(sandbox: MontySandbox, value: Any) -> None:
    async def read() -> Any:
        return value

    code = "try:\n    x = await tools.read()\nexcept Exception:\n    x = 0\nx"
    failed = (await run(sandbox, code, {"read": read})).failed
    assert failed.type == "ValueError"
    assert "lone surrogate" in failed.lacks


# Errors


@pytest.mark.parametrize(
    ("type_name", "arrives_as"),
    [
        ("ValueError", "ValueError"),
        ("KeyError", "KeyError"),
        ("PermissionError", "PermissionError"),
        ("TimeoutError", "TimeoutError"),
        ("ConnectionResetError", "OSError"),
        ("MemoryError", "MemoryError"),
        ("ToolError", "RuntimeError"),
        ("SystemExit", "RuntimeError"),
        ("KeyboardInterrupt", "RuntimeError"),
        ("print", "RuntimeError"),
    ],
)
async def test_what_a_tool_raises_arrives_as_the_nearest_builtin(
    sandbox: MontySandbox, type_name: str, arrives_as: str
) -> None:
    code = "try:\n    await tools.a()\nexcept Exception as e:\n    r = [type(e).__name__, e.args[0]]\nr"
    execution = await start(sandbox, code, "a")
    await execution.advance()
    assert await execution.advance({1: Raised(type_name, "was ist los? ✓")}) == Finished([arrives_as, "was ist los? ✓"])

    execution = await start(sandbox, "\nawait tools.a()", "a")
    await execution.advance()
    failed = await execution.advance({1: Raised(type_name, "uncaught")})
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.type, failed.message, failed.line) == ("program", arrives_as, "uncaught", 2)


async def test_a_failure_has_the_programs_own_frames_alone(sandbox: MontySandbox) -> None:
    code = "def outer(d):\n    return inner(d)\n\ndef inner(d):\n    return d['missing']\n\nouter({})"
    failed = (await run(sandbox, code)).failed
    assert (failed.kind, failed.type, failed.message, failed.line) == ("program", "KeyError", "missing", 5)
    assert failed.traceback == (
        "Traceback (most recent call last):\n"
        '  File "<program>", line 7, in <module>\n    outer({})\n'
        '  File "<program>", line 2, in outer\n    return inner(d)\n'
        "  File \"<program>\", line 5, in inner\n    return d['missing']\n"
        "KeyError: missing"
    )


async def test_a_recursion_error_has_a_short_traceback(sandbox: MontySandbox) -> None:
    failed = (await run(sandbox, "def f(n):\n    return g(n)\ndef g(n):\n    return f(n)\nf(0)")).failed
    assert (failed.kind, failed.type) == ("program", "RecursionError")
    assert len(failed.traceback) < 4000


async def test_a_message_is_one_line_of_bounded_length(sandbox: MontySandbox) -> None:
    failed = (await run(sandbox, "raise ValueError('a\\nb\\x00' + 'c' * 100000)")).failed
    assert failed.message.startswith("a b\ufffdccc")
    assert len(failed.message) < 3000
    assert len(failed.traceback) < 4000


@pytest.mark.parametrize(
    ("code", "error", "line"),
    [
        ("x = 1\ndef f(:", "SyntaxError", 2),
        ("x = 1\n  y = 2", "IndentationError", 2),
        ("print('x')\ndef f():\n    yield 1", "NotImplementedError", 3),
        ("class A(Exception):\n    pass", "NotImplementedError", 1),
        ("[" * 5000 + "]" * 5000, "SyntaxError", 1),
        ("x = '\ud800'", "SyntaxError", None),
    ],
    ids=range(6),
)
async def test_what_does_not_parse_is_a_failure_of_syntax(
    sandbox: MontySandbox, code: str, error: str, line: int | None
) -> None:
    failed = (await run(sandbox, code)).failed
    assert (failed.kind, failed.type, failed.line, failed.stdout) == ("syntax", error, line, "")
    assert "monty" not in failed.message.lower()


async def test_syntax_errors_of_code_made_at_run_time_are_the_programs(sandbox: MontySandbox) -> None:
    for inner in ("def f(:", "def f():\n    yield 1"):
        failed = (await run(sandbox, f"print('ran')\nexec({inner!r})")).failed
        assert (failed.kind, failed.line, failed.stdout) == ("program", 2, "ran\n")


async def test_limits_cannot_be_mistaken_for_errors_of_the_same_type(sandbox: MontySandbox) -> None:
    for error in ("TimeoutError('slow')", "MemoryError('full')", "RuntimeError('suspension')", "RecursionError('x')"):
        assert (await run(sandbox, f"raise {error}")).failed.kind == "program"


# The clock and chance


async def test_sleep_waits_on_the_hosts_clock_alone(sandbox: MontySandbox) -> None:
    code = (
        "import asyncio, time\nfrom datetime import datetime, timezone\n"
        "times = [time.time()]\n"
        "await asyncio.sleep(3600)\n"
        "times.append(time.time())\n"
        "await asyncio.gather(asyncio.sleep(5), asyncio.sleep(10))\n"
        "time.sleep(1.5)\n"
        "[*times, time.time(), time.monotonic(), datetime.now(timezone.utc).isoformat(), datetime.now().hour]"
    )
    result = await run(sandbox, code)
    assert result.value == [NOW, NOW + 3600, NOW + 3611.5, 3611.5, "2026-01-01T01:00:11.500000+00:00", 1]
    assert [event.wake_after for event in result.blocked] == [3600, 5, 5, 1.5]


async def test_only_timers_that_are_due_fire_and_earlier_ones_first(sandbox: MontySandbox) -> None:
    code = (
        "import asyncio\nseen = []\nasync def f(n):\n    await asyncio.sleep(n)\n    seen.append(n)\n"
        "await asyncio.gather(f(3), f(1), f(2), f(9))\nseen"
    )
    execution = await start(sandbox, code)
    assert blocked(await execution.advance()).wake_after == 1
    assert blocked(await execution.advance(elapsed=0.5)).wake_after == 0.5
    assert blocked(await execution.advance()).wake_after == 0.5
    assert blocked(await execution.advance(elapsed=4)).wake_after == 5
    assert blocked(await execution.advance(elapsed=1)).wake_after == 5  # a clock does not go back
    assert await execution.advance(elapsed=100) == Finished([1, 2, 3, 9])


async def test_calls_and_timers_go_side_by_side(sandbox: MontySandbox) -> None:
    code = "import asyncio\n(await asyncio.gather(tools.a(), asyncio.sleep(2, 'slept')))"
    execution = await start(sandbox, code, "a")
    event = blocked(await execution.advance())
    assert (ids(event), event.wake_after) == ([(1, "a")], 2)
    assert blocked(await execution.advance(elapsed=2)).wake_after is None
    assert await execution.advance({1: Returned("called")}) == Finished(["called", "slept"])


async def test_a_synchronous_sleep_holds_up_answers(sandbox: MontySandbox) -> None:
    execution = await start(sandbox, "import time\nt = tools.a()\ntime.sleep(2)\nprint('slept')\nawait t", "a")
    event = blocked(await execution.advance())
    assert (ids(event), event.wake_after) == ([(1, "a")], 2)
    event = blocked(await execution.advance({1: Returned("early")}, elapsed=1))
    assert (event.wake_after, event.stdout) == (1, "")
    assert await execution.advance(elapsed=2) == Finished("early", "slept\n")


async def test_a_program_that_polls_leaves_the_host_its_turn(sandbox: MontySandbox) -> None:
    code = (
        "import asyncio\ndone = []\nasync def f():\n    done.append(await tools.a())\n"
        "async def poll():\n    while not done:\n        await asyncio.sleep(0)\n    return done\n"
        "(await asyncio.gather(f(), poll()))[1]"
    )
    execution = await start(sandbox, code, "a")
    assert ids(await execution.advance()) == [(1, "a")]
    for _ in range(5):
        assert blocked(await execution.advance()).wake_after == 0
    assert await execution.advance({1: Returned("yes")}) == Finished(["yes"])


async def test_sleeping_for_no_time_does_not_block(sandbox: MontySandbox) -> None:
    code = "import asyncio, time\nfor i in range(20):\n    await asyncio.sleep(0)\n    time.sleep(0)\ni"
    assert (await run(sandbox, code)).blocked == []


async def test_a_clock_beyond_all_dates_is_an_error_in_the_program(sandbox: MontySandbox) -> None:
    code = "import asyncio\nfrom datetime import datetime\nawait asyncio.sleep(10**400)\ndatetime.now()"
    execution = await start(sandbox, code)
    await execution.advance()
    failed = await execution.advance(elapsed=1e18)
    assert isinstance(failed, Failed)
    assert (failed.kind, failed.type) == ("program", "OverflowError")


async def test_the_same_seed_and_time_give_the_same_run(sandbox: MontySandbox) -> None:
    code = (
        "import random, time\nfrom datetime import datetime\n"
        "[random.random(), random.Random().random(), random.sample(range(100), 5), time.time(), "
        "datetime.now().isoformat(), list({'a', 'b', 'c', 'd', 'e'}), hash('x')]"
    )
    first, again, other = [(await run(sandbox, code, seed=seed)).value for seed in (7, 7, 8)]
    assert first == again
    assert first[:3] != other[:3]
    assert first[3:] == other[3:]
