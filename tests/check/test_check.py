import ast
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from codemode_sandboxes import Capabilities
from codemode_sandboxes.contract import Diagnostic, Gap
from codemode_sandboxes.monty import MontySandbox
from codemode_sandboxes.monty.dialect import lower
from codemode_sandboxes.source import tree_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codemode_graph.check import Checked, check_program
from codemode_graph.tools.signatures import Signatures, render_stubs
from codemode_graph.tools.spec import ToolSpec
from tests.check import corpus
from tests.check.corpus import S, _never, record
from tests.check.harness import run
from tests.check.office import EVENTS, SPECS, Office
from tests.sandboxes import cases
from tests.sandboxes.programs import PROGRAMS

SIGNATURES = Signatures.of(SPECS)
STUBS = render_stubs(SPECS)
PYTHON = Capabilities(language="Python", boundary="os", modules=frozenset(sys.stdlib_module_names))
SMALL = Capabilities(
    language="a small Python",
    boundary="interpreter",
    modules=frozenset({"asyncio", "json", "re", "datetime", "collections"}),
    gaps=(
        Gap(
            "generator functions",
            "append to a list and return it",
            lambda tree: tree.of(ast.Yield),
        ),
    ),
)


@pytest.fixture(scope="module")
async def monty() -> AsyncIterator[MontySandbox]:
    sandbox = MontySandbox()
    yield sandbox
    await sandbox.aclose()


async def check(program: str, monty: MontySandbox, capabilities: Capabilities = PYTHON) -> Checked:
    return await check_program(
        program, signatures=SIGNATURES, capabilities=capabilities, stubs=STUBS, type_checker=monty
    )


LIST = "events = await tools['list-events'](calendar_id='a')\n"
TITLES = [event["title"] for event in EVENTS]

# Good programs, and their values.
GOOD = {
    "a call": ("await tools.add(a=1, b=2)", 3),
    "main": ("async def main():\n    return await tools.now()\n", "2026-03-02T08:00:00"),
    "by position": ("await tools['list-events']('a', 5)", EVENTS),
    "keys": (LIST + "[e['title'] for e in events]", TITLES),
    "keys that may be missing": (LIST + "[e.get('place', '-') for e in events]", ["-", "-"]),
    "a key that is tested first": (LIST + "[e['place'] for e in events if 'place' in e]", []),
    "a key that was never declared, tested": (LIST + "[e['room'] for e in events if 'room' in e]", []),
    "a key that the program adds": (LIST + "for e in events:\n    e['end'] = 1\nsum(e['end'] for e in events)", 2),
    "keys copied": (LIST + "[{**e, 'n': i} for i, e in enumerate(events)][1]['n']", 1),
    "keys by loop": (LIST + "[events[0][k] for k in ('id', 'title')]", ["e1", "Standup"]),
    "items": (LIST + "{k: v for k, v in events[0].items() if k != 'start'}", {"id": "e1", "title": "Standup", "minutes": 15}),
    "nested": ("(await tools.get_issue(id=1))['author']['name']", "ann"),
    "may be None": ("i = await tools.find_issue(text='a')\ni['title'] if i else None", "Issue 0"),
    "may be None, not tested": ("i = await tools.find_issue(text='a')\ni['title']", "Issue 0"),
    "gathered": (
        "import asyncio\na, b = await asyncio.gather(tools.add(a=1, b=2), tools.search(query='x'))\na + b['total']", 4,
    ),
    "gathered in a list": (
        "import asyncio\nrows = await asyncio.gather(*[tools.get_issue(id=i) for i in range(3)])\n[r['id'] for r in rows]",
        [0, 1, 2],
    ),
    "gathered with exceptions": (
        "import asyncio\nrows = await asyncio.gather(tools.now(), tools.add(a=1, b=1), return_exceptions=True)\n"
        "[r for r in rows if not isinstance(r, Exception)]",
        ["2026-03-02T08:00:00", 2],
    ),
    "a task group": (
        "import asyncio\nasync def main():\n    async with asyncio.TaskGroup() as group:\n"
        "        task = group.create_task(tools.add(a=1, b=2))\n    return task.result() + 1\n",
        4,
    ),
    "a time limit": ("import asyncio\nx = await asyncio.wait_for(tools.add(a=1, b=2), 3)\nx + 1", 4),
    "pages": (
        "rows, page, cursor = [], 1, None\nwhile page:\n    found = await tools.search(query='x', page=page, cursor=cursor)\n"
        "    rows += found['results']\n    page = page + 1 if len(rows) < found['total'] else None\nlen(rows)",
        1,
    ),
    "a best one": (
        LIST + "best = None\nfor e in events:\n    if best is None or e['minutes'] > best['minutes']:\n        best = e\nbest['id']",
        "e2",
    ),
    "groups": (
        "from collections import defaultdict\n" + LIST + "groups = defaultdict(list)\nfor e in events:\n"
        "    groups[e['minutes'] > 30].append(e['id'])\n[groups[True], groups[False]]",
        [["e2"], ["e1"]],
    ),
    "dates": (
        "from datetime import datetime, timedelta\n" + LIST
        + "(datetime.fromisoformat(events[1]['start']) - timedelta(hours=1)).hour",
        9,
    ),
    "a match": ("import re\nre.search('[0-9]+', (await tools.get_issue(id=7))['title']).group()", "7"),
    "a class of its own": (
        "class Box:\n    def __init__(self, n):\n        self.n = n\n\n    def twice(self):\n        return self.n * 2\n\n"
        "Box(await tools.add(a=1, b=2)).twice()",
        6,
    ),
    "an error that is caught": ("try:\n    x = [await tools.now()][1]\nexcept IndexError as error:\n    x = f'{error}'[:4]\nx", "list"),
    "a dict that grows": (LIST + "out = {'n': 0}\nout['ids'] = [e['id'] for e in events]\nout['ids'].append('x')\nlen(out['ids'])", 3),
    "a raw value": ("r = await tools.raw(x=[{'a': {'b': 1}}])\nr['x'][0]['a']['b'] + 1", 2),
    "an unknown tool that is caught": ("try:\n    await tools['nope']()\nexcept KeyError:\n    x = 1\nx", 1),
    "a computed tool": ("rows = []\nfor name, given in [('add', {'a': 1, 'b': 2})]:\n    rows.append(await tools[name](**given))\nrows", [3]),
    "arguments in a dict": ("given = {'a': 1, 'b': 2}\nawait tools.add(**given)", 3),
    "arguments as a dict": ("given = {'a': 1, 'b': 2}\nawait tools.add(given)", 3),
    "a list in a variable": ("to = ['x@example.com']\nto.append('y@example.com')\nawait tools.send_email(to=to, subject='s')", {"id": "m1"}),
    "text from a number": ("n = await tools.add(a=1, b=2)\n'n: ' + str(n) + f'{n:.1f}'", "n: 33.0"),
    "an asynchronous generator": ("async for x in (await tools.add(a=i, b=1) for i in [1]):\n    y = x\ny", 2),
    "names made in other ways": ("exec('x = 1')\nx", 1),
    "a variable called tools": ("async def names(tools):\n    return [t for t in tools]\nawait names(['a'])", ["a"]),
    "tools in an object": (
        "class Box:\n    def __init__(self, tools):\n        self.tools = tools\n\n"
        "    async def now(self):\n        return await self.tools.now()\n\nawait Box(tools).now()",
        "2026-03-02T08:00:00",
    ),
    "annotations": (
        "from typing import Any\nasync def rows(calendar: str) -> list[dict[str, Any]]:\n"
        "    return await tools['list-events'](calendar_id=calendar)\n\nasync def main() -> dict:\n"
        "    found: list[dict] = await rows('a')\n    return {'n': len(found)}\n",
        {"n": 2},
    ),
    "sorted by a key": (LIST + "sorted(events, key=lambda e: (-e['minutes'], e['title']))[0]['title']", "Review"),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
async def test_a_good_program_has_no_findings(case: str, monty: MontySandbox) -> None:
    program, value = GOOD[case]
    checked = await check(program, monty)
    assert checked.findings == ()
    assert checked.fixes == ()
    assert await run(checked.program, tools=Office().tools) == value


# Bad programs: the rule, the line, and what the message must say.
BAD = {
    "unknown tool": ("await tools['list-evnts'](calendar_id='a')", "unknown-tool", 1, "there is no tool 'list-evnts'; did you mean tools['list-events'](calendar_id, limit=..., status=...)?"),
    "unknown attribute": ("x = 1\nawait tools.serch(query='a')", "unknown-tool", 2, "did you mean tools['search']("),
    "no such tool at all": ("await tools.qqq()", "unknown-tool", 1, "there is no tool 'qqq'; call one of these as tools['name'](argument=value): 'list-events', 'get_issue',"),
    "a tool's method": ("await tools.search.ainvoke({'query': 'a'})", "unknown-tool", 1, "a tool has no 'ainvoke': call the tool itself, tools['search'](query, page=..., cursor=None)"),
    "a tool that is not called": ("await tools.add", "uncalled-tool", 1, "the tool is not called: write await tools['add'](a=..., b=...)"),
    "tools called": ("await tools('search', query='a')", "unknown-tool", 1, "tools is not a function: call one of these as tools['name'](argument=value)"),
    "unknown argument": ("await tools['list-events'](calendar_id='a', limt=3)", "unknown-argument", 1, "tools['list-events'] has no argument 'limt' (did you mean 'limit'?); its arguments are calendar_id, limit=..., status=..."),
    "unknown argument over lines": ("await tools['list-events'](\n    calendar_id='a',\n    max=3,\n)", "unknown-argument", 3, "has no argument 'max'; its arguments are calendar_id"),
    "too many arguments": ("await tools.add(1, 2, 3)", "unknown-argument", 1, "tools['add'] takes 2 positional arguments, not 3; its arguments are a, b"),
    "an argument twice": ("await tools.add(1, 2, a=3)", "unknown-argument", 1, "tools['add'] is given 'a' twice"),
    "missing argument": ("await tools['list-events']()", "missing-argument", 1, "tools['list-events'] lacks the argument 'calendar_id'; its arguments are calendar_id, limit=..., status=..."),
    "missing arguments": ("await tools.send_email(body='x')", "missing-argument", 1, "tools['send_email'] lacks the arguments 'to', 'subject'"),
    "number for a text": ("x = 3\nawait tools['list-events'](calendar_id=x)", "wrong-type", 2, "the argument 'calendar_id' of tools['list-events'] is 3, but must be a str"),
    "text for a list": ("await tools.send_email(to='a@example.com', subject='s')", "wrong-type", 1, "is 'a@example.com', but must be list[str]"),
    "text for a number": ("x = 'one'\nawait tools.get_issue(id=x)", "wrong-type", 2, "the argument 'id' of tools['get_issue'] is 'one', but must be a number"),
    "a wrong choice": ("await tools['list-events']('a', status='opened')", "wrong-type", 1, "the argument 'status' of tools['list-events'] is 'opened', but must be one of 'open', 'closed'"),
    "a dict for a text": (LIST + "await tools.search(query=events[0])", "wrong-type", 2, "the argument 'query' of tools['search'] is"),
    "wrong key": (LIST + "[e['titel'] for e in events]", "wrong-key", 2, "each item of what tools['list-events'] returns has no key 'titel': its keys are 'id', 'title', 'start', 'minutes', 'place', 'guests'; did you mean 'title'?"),
    "wrong key in a sort": (LIST + "sorted(events, key=lambda e: e['begin'])", "wrong-key", 2, "has no key 'begin': its keys are"),
    "wrong nested key": ("i = await tools.get_issue(id=1)\ni['author']['login']", "wrong-key", 2, ", in what tools['get_issue'] returns, has no key 'login': its keys are 'name', 'email'"),
    "wrong key of what was gathered": ("import asyncio\nrows = await asyncio.gather(*[tools.search(query=q) for q in 'ab'])\n[r['items'] for r in rows]", "wrong-key", 3, "has no key 'items': its keys are 'results', 'total'"),
    "an attribute for a key": (LIST + "[e.title for e in events]", "wrong-key", 2, "each item of what tools['list-events'] returns is a dict: write ['title'], not .title"),
    "a list taken for a dict": (LIST + "events['items']", "wrong-key", 2, "not a dict: loop over it, or index it with a number"),
    "a list asked for a key": (LIST + "events.get('items')", "wrong-key", 2, "it has no 'get'; loop over it, or index it with a number"),
    "a dict taken for a list": ("r = await tools.search(query='a')\nr[0]['url']", "wrong-key", 2, "what tools['search'] returns is a dict, not a list: its keys are 'results', 'total'"),
    "a loop over a dict": ("r = await tools.search(query='a')\n[x['url'] for x in r]", "wrong-key", 2, "this is a str, not a dict (a loop over a dict gives its keys): it has no key 'url'"),
    "a number with keys": ("n = await tools.add(a=1, b=2)\nn['sum']", "wrong-key", 2, "this is a number: it cannot be indexed"),
    "a loop over a number": ("n = await tools.add(a=1, b=2)\nfor x in n:\n    print(x)\nn", "wrong-type", 2, "this is a number: one cannot loop over it"),
    "text and number added": ("n = await tools.add(a=1, b=2)\n'sum: ' + n", "wrong-type", 2, "a str and a number cannot be added: use an f-string, or str(...)"),
    "awaited twice": (LIST + "await events", "wrong-type", 2, "this is a tool's value already, not a call: take away the await"),
    "no await in a lambda": ("sorted([2, 1], key=lambda i: tools.get_issue(id=i)['id'])", "unawaited-call", 1, "and await cannot stand in a lambda"),
    "shadowed tools": ("tools = {'now': 1}\nawait tools['now']()", "shadowed-tools", 1, "give this variable another name"),
    "undefined name": (LIST + "total = 1\ntotl + 1", "undefined-name", 3, "totl is not defined; did you mean total?"),
    "undefined name, none like it": (LIST + "qqq", "undefined-name", 2, "qqq is not defined; what is defined there: events, tools, and Python's own names"),
    "used too early": ("print(x)\nx = await tools.now()\nx", "undefined-name", 1, "x is not defined yet when it is used here"),
    "own function": ("async def f(a, b):\n    return await tools.add(a=a, b=b)\nawait f(1)", "missing-argument", 3, "f() lacks the argument 'b'"),
    "syntax": ("x = 1\ny = = 2\n", "syntax-error", 2, "invalid syntax: `y = = 2`"),
    "cut off": ("async def main():\n    x = await tools.add(a=1,", "syntax-error", 2, "'(' was never closed: `x = await tools.add(a=1,`; the end of the program is missing"),
    "another language": ("const x = await tools.now();\nx", "syntax-error", 1, "; write Python, no other language"),
    "bare except before another": ("try:\n    await tools.now()\nexcept:\n    pass\nexcept ValueError:\n    pass", "syntax-error", 1, "default 'except:' must be last"),
    "loop variable assigned": ("x = await tools.now()\n[[(i := 0) for j in [1]] for i in [1]]", "syntax-error", 2, "assignment expression cannot rebind comprehension iteration variable 'i'"),
    "assigned in what is looped over": ("x = await tools.now()\n[i for i in (y := [x])]", "syntax-error", 2, "assignment expression cannot be used in a comprehension iterable expression"),
    "global parameter": ("async def f(x, *, y):\n    global y\nawait f(1, y=2)", "syntax-error", 2, "name 'y' is parameter and global"),
    "global with a type": ("x = 1\ndef f():\n    global x\n    x: int = 2\nf()", "syntax-error", 3, "annotated name 'x' can't be global"),
    "quotes are shown as written": ("x = await tools.now()\ny = \"\"\"abc", "syntax-error", 2, "`y = \"\"\"abc"),
    "a star by itself": ("x = [1]\n*x", "syntax-error", 2, "can't use starred expression here"),
    "a star assigned": ("x = [1]\ny = *x", "syntax-error", 2, "can't use starred expression here"),
    "an unknown feature": ("from __future__ import annotations, nope\nawait tools.now()", "syntax-error", 1, "future feature nope is not defined"),
    "break outside": ("x = await tools.now()\nbreak", "syntax-error", 2, "'break' outside of a loop"),
    "await in a plain function": ("def f(x):\n    return await tools.now()\nsorted([1, 2], key=f)", "syntax-error", 2, "'await' outside of an async function; write `async def`"),
    "async for in a plain comprehension": ("def f(x):\n    return [i async for i in x]\nsorted([], key=f)", "syntax-error", 2, "'await' outside of an async function"),
    "await in a lambda": ("list(map(lambda i: await tools.now(), [1]))", "syntax-error", 1, "'await' outside of an async function"),
    "await for in a loop's else": ("for i in []:\n    pass\nelse:\n    continue\n", "syntax-error", 4, "'continue' outside of a loop"),
    "yield outside": ("yield 1", "syntax-error", 1, "'yield' outside of a function"),
    "nonlocal for global": ("n = 0\ndef f():\n    nonlocal n\n    n = 1\nf()\nn", "syntax-error", 3, "there is no variable n in a function around this one; use `global`"),
    "nothing": ("# TODO\npass\n", "no-program", None, "there is no program: write one that calls the tools and ends in the answer"),
    "too long": ("x = 1\n" * 40_000, "too-long", None, "the program has 240,000 characters; write a short one"),
    "too many lines": ("x = tools.now\n" * 3_000, "too-long", None, "the program has 3,000 lines; write a short one"),
}  # fmt: skip


async def test_a_global_name_may_be_the_parameter_of_a_lambda(monty: MontySandbox) -> None:
    program = "w = await tools.now()\ndef f(z=lambda w: w):\n    global w\n    w = z(1)\nf()\nw"
    assert (await check(program, monty)).findings == ()


@pytest.mark.parametrize("case", BAD)
async def test_a_bad_program_has_its_finding(case: str, monty: MontySandbox) -> None:
    program, rule, line, words = BAD[case]
    checked = await check(program, monty)
    assert [(finding["rule"], finding["line"]) for finding in checked.findings] == [(rule, line)], checked.findings
    message = checked.findings[0]["message"]
    assert words in message
    assert "\n" not in message
    assert not any(inner in message for inner in ("TypedDict", "__call__", "__getitem__", "_Tools", "tool_"))


@pytest.mark.parametrize(
    ("program", "rule", "line", "words"),
    [
        ("import requests\nrequests.get('x')", "missing-module", 1, "the module requests does not exist here: there is no network; call the tools"),
        ("import statistics\nstatistics.mean([1])", "missing-module", 1, "use sum(xs) / len(xs), sorted(xs), min and max"),
        ("x = 1\nfrom numpy import mean\nmean([x])", "missing-module", 2, "write it in plain Python, with lists and dicts"),
        ("import whatever\nwhatever.x", "missing-module", 1, "do without it"),
        ("os.environ['HOME']", "undefined-name", 1, "os is not defined, and the module os does not exist here: there are no files"),
        ("def f():\n    yield 1\nlist(f())", "unsupported-syntax", 2, "generator functions: not available here; append to a list and return it"),
    ],
)  # fmt: skip
async def test_what_the_sandbox_lacks_is_found(
    program: str, rule: str, line: int, words: str, monty: MontySandbox
) -> None:
    checked = await check(program, monty, SMALL)
    assert [(finding["rule"], finding["line"]) for finding in checked.findings] == [(rule, line)]
    assert words in checked.findings[0]["message"]


async def test_a_module_that_the_program_can_do_without_is_no_finding(monty: MontySandbox) -> None:
    program = "try:\n    import numpy\nexcept ImportError:\n    numpy = None\nnumpy is None"
    assert (await check(program, monty, SMALL)).findings == ()


async def test_what_the_checker_does_not_know_but_the_sandbox_has_is_no_finding(monty: MontySandbox) -> None:
    program = "import statistics, heapq, asyncio\nheapq.nlargest(1, [1])\nasyncio.Semaphore(1)\nstatistics.mean([1])"
    assert (await check(program, monty)).findings == ()


async def test_a_program_for_monty_is_checked_against_what_monty_has(monty: MontySandbox) -> None:
    checked = await check("class E(Exception):\n    pass\nraise E('x')", monty, await monty.aprobe())
    assert [(finding["rule"], finding["line"]) for finding in checked.findings] == [("unsupported-syntax", 1)]


async def test_fixes_come_first_and_findings_are_of_the_fixed_program(monty: MontySandbox) -> None:
    program = "import tools, os\ndef main():\n    e = tools.listEvents(calendarId='a')\n    return json.dumps(e[0]['titel'])\n"
    checked = await check(program, monty, SMALL)
    assert checked.program == (
        "\nasync def main():\n    e = await tools.list_events(calendar_id='a')\n    return json.dumps(e[0]['titel'])\n"
        "import json; await main()\n"
    ) or checked.program.startswith("import json\nasync def main():")
    assert checked.fixes == (
        "line 1: dropped `import tools`: tools is there already",
        "line 3: wrote 'list-events', which is the tool's name, for listEvents",
        "line 3: wrote calendar_id, which is the argument's name, for calendarId",
        "line 1: dropped the import of os, which nothing uses",
        "line 1: added the missing `import json`",
        "line 2: made main async, and awaited its calls",
        "line 3: added the missing await on tools.list_events",
    )
    assert [(f["rule"], f["line"]) for f in checked.findings] == [("wrong-key", 4)]
    again = await check(checked.program, monty, SMALL)
    assert (again.program, again.fixes, again.findings) == (checked.program, (), checked.findings)


async def test_tools_and_imports_are_told(monty: MontySandbox) -> None:
    program = (
        "import json, os.path\nfrom re import sub\nf = tools.now\nawait f()\nawait tools['add'](a=1, b=2)\nawait f()"
    )
    checked = await check(program, monty)
    assert checked.tools == ("now", "add")
    assert checked.imports == {"json", "os", "re"}


async def test_several_findings_come_in_order(monty: MontySandbox) -> None:
    checked = await check("await tools.qqq()\nawait tools.add(a=1)\nfoo\n" + LIST + "events[0]['x']", monty)
    assert [(f["rule"], f["line"]) for f in checked.findings] == [
        ("unknown-tool", 1),
        ("missing-argument", 2),
        ("undefined-name", 3),
        ("wrong-key", 5),
    ]


async def test_without_a_type_checker_the_rest_is_found() -> None:
    program = LIST + "await tools.add(a=1)\nevents[0]['x']\nfoo"
    checked = await check_program(program, signatures=SIGNATURES, capabilities=PYTHON)
    assert [finding["rule"] for finding in checked.findings] == ["missing-argument", "undefined-name"]


class Inventor:
    """A type checker that finds what it likes."""

    async def type_check(self, code: str, stubs: str) -> list[Diagnostic]:
        return [
            Diagnostic("made-up", "x", 1, 1),
            Diagnostic("invalid-key", 'Unknown key "x" for TypedDict `Nope`', 9, 9),
            Diagnostic("invalid-key", "TypedDict", -1, 0),
            Diagnostic("unresolved-attribute", "Object of type `" + "x" * 100_000 + "` has no attribute `y`", 1, 1),
        ]


async def test_unknown_diagnostics_are_no_findings() -> None:
    checked = await check_program(LIST, signatures=SIGNATURES, capabilities=PYTHON, type_checker=Inventor())
    assert checked.findings == ()


CORPUS_SIGNATURES = Signatures.of(corpus.SPECS)
CORPUS = {program["id"]: program for program in cases.load("benign")}


@cases.needs_cases
@pytest.mark.parametrize("name", CORPUS)
async def test_ordinary_programs_have_no_findings(name: str, monty: MontySandbox) -> None:
    program = CORPUS[name]
    checked = await check_program(
        program["code"],
        signatures=CORPUS_SIGNATURES,
        capabilities=PYTHON,
        stubs=render_stubs(corpus.SPECS),
        type_checker=monty,
    )
    unknown = [finding for finding in checked.findings if "no_such_tool" in finding["message"]]
    assert list(checked.findings) == unknown
    value = await run(checked.program, tools=cases.fake_tools())
    assert json.loads(json.dumps(value)) == program["expected"]


async def test_a_check_leaves_the_trees_that_are_kept_as_they_are(monty: MontySandbox) -> None:
    for case in PROGRAMS:
        checked = await check_program(case.code, signatures=SIGNATURES, capabilities=monty.capabilities, stubs=STUBS)
        lower(checked.program)
        with suppress(SyntaxError):
            assert ast.dump(tree_of(checked.program).root) == ast.dump(ast.parse(checked.program))


def test_trees_are_kept_but_for_those_of_long_programs() -> None:
    short, long = "x = 1", "x = 1\n" * 5_000
    assert tree_of(short) is tree_of(short)
    assert tree_of(long) is not tree_of(long)


# Their coroutines go through a generator and a queue, where they cannot be followed.
LOST = {"as-08", "as-09"}


@cases.needs_cases
@pytest.mark.parametrize("name", CORPUS)
async def test_ordinary_programs_get_their_awaits_back(name: str) -> None:
    program = re.sub(r"await (?=tools[\[.])", "", CORPUS[name]["code"])
    checked = await check_program(program, signatures=CORPUS_SIGNATURES, capabilities=PYTHON)
    if name not in LOST:
        value = await run(checked.program, tools=cases.fake_tools())
        assert json.loads(json.dumps(value)) == CORPUS[name]["expected"]


async def test_nested_comprehensions_do_no_harm() -> None:
    """Compiling them crashes Python 3.12 and 3.13."""
    program = "x = " + "[" * 60 + "tools.now()" + " for i in []]" * 60
    assert (await check_program(program, signatures=SIGNATURES, capabilities=PYTHON)).findings == ()


NASTY = st.sampled_from(
    ["(" * 300, "[" * 300, "-" * 300, "\0", "\ud800", "9" * 5000, "tools.", "tools['", "await ", "lambda: ", "\\\n", "def f():\n", "é", "'''", "\t", "if x:\n  ", "*", "**", ":=", "f'{"]
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(program=st.text(max_size=200) | st.lists(NASTY | st.text(max_size=5), max_size=12).map("".join))
async def test_any_text_is_checked(program: str, monty: MontySandbox) -> None:
    checked = await check(program, monty)
    assert isinstance(checked.program, str)
    for finding in checked.findings:
        assert "\n" not in finding["message"]


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("x = tools.get('https://x.org')", True),
        ("x = tools.get(url)\nx['a']", True),
        ("x = tools.get('list-events')", False),
        ("await tools.get('https://x.org')", False),
        ("x = await tools['get']('https://x.org')", False),
    ],
)
async def test_a_tool_that_is_missed_for_a_mapping_s_method_is_told(program: str, found: bool) -> None:
    get = ToolSpec(name="get", call=_never, input_schema=record({"url": S}), output_schema=None)
    signatures = Signatures.of([*SPECS, get])
    checked = await check_program(f"url = 'a'\n{program}", signatures=signatures, capabilities=PYTHON)
    message = "tools.get(...) looks a tool up by its name: write tools['get'](url) to call that tool, or tools[name]"
    assert [finding["message"] for finding in checked.findings] == [message] * found


@pytest.mark.parametrize(
    "program",
    [
        "(" * 100_000,
        "-" * 100_000 + "1",
        "a" + ".b" * 50_000,
        "a" + "()" * 50_000,
        "not " * 40_000 + "a",
        "if a: pass\n" + "elif a: pass\n" * 10_000,
        "x = '\ud800'",
        "a\0b",
        "9" * 100_000,
    ],
)
async def test_hostile_text_is_a_syntax_error(program: str) -> None:
    checked = await check_program(program, signatures=SIGNATURES, capabilities=PYTHON)
    assert [finding["rule"] for finding in checked.findings] == ["syntax-error"]


@pytest.mark.parametrize(
    "line",
    [
        "x = tools.add(a=1, b=2); x.y\n",
        "await tools.nope()\n",
        "tools.list_event; y = [z for z in tools.add()]\n",
        "def f{n}():\n  return f{m}()\n",
        "async def f{n}(x):\n  return f{m}(tools.now())\n",
        "import a{n}\n",
        "q{n}\n",
        "if x: print(1)\n",
        "x = 1; y = lambda: x\n",
    ],
)
@pytest.mark.slow
async def test_a_long_program_takes_seconds_at_most(line: str) -> None:
    nodes = sum(not isinstance(n, ast.expr_context | ast.Constant) for n in ast.walk(ast.parse(line.format(n=1, m=2))))
    program = "".join(line.format(n=n, m=n + 1) for n in range(9_900 // nodes))
    checked = await check_program(program, signatures=SIGNATURES, capabilities=PYTHON)
    assert len(checked.findings) <= 20
    assert "too-long" not in {finding["rule"] for finding in checked.findings}
