import sys
from typing import Any

import pytest
from codemode_sandboxes.source import to_script
from langchain_core.runnables import RunnableConfig

from codemode_graph.check.modules import add_missing_imports, drop_idle_imports
from codemode_graph.check.spelling import correct_spelling
from codemode_graph.tools.signatures import Signatures
from codemode_graph.tools.spec import ToolSpec
from tests.check.harness import run
from tests.check.office import SPECS, Office

MODULES = frozenset({"asyncio", "collections", "datetime", "functools", "json", "math", "re", "typing"})
SIGNATURES = Signatures.of(SPECS)

# Programs and what they become; each runs then.
CORRECTED = {
    "import tools": ("import tools\nawait tools.now()", "\nawait tools.now()"),
    "import in a list": ("import json, tools\nawait tools.now()", "import json\nawait tools.now()"),
    "import as": ("import tools as t\nawait t.now()", "t = tools\nawait t.now()"),
    "import in a function": (
        "async def main():\n    import tools\n    return await tools.now()\nawait main()",
        "async def main():\n    pass\n    return await tools.now()\nawait main()",
    ),
    "from tools import": (
        "from tools import now, list_events as le\nawait le(calendar_id=await now())",
        "now = tools.now; le = tools.list_events\nawait le(calendar_id=await now())",
    ),
    "from tools import over lines": (
        "from tools import (\n    now,\n    add,\n)\nawait add(a=1, b=2)",
        "now = tools.now; add = tools.add\n\n\n\nawait add(a=1, b=2)",
    ),
    "from tools import *": ("from tools import *\nawait now()", "now = tools.now\nawait now()"),
    "from elsewhere import tools": ("from sandbox import tools\nawait tools.now()", "\nawait tools.now()"),
    "a bare name": ("await list_events(calendar_id='a')", "await tools.list_events(calendar_id='a')"),
    "a bare name, handed on": ("f = now\nawait f()", "f = tools.now\nawait f()"),
    "underscores in an item": ("await tools['list_events'](calendar_id='a')", "await tools['list-events'](calendar_id='a')"),
    "camel case": ("await tools.listEvents(calendar_id='a')", "await tools.list_events(calendar_id='a')"),
    "camel case in an item": ("await tools['getIssue'](id=1)", "await tools['get_issue'](id=1)"),
    "camel case through get": ("await tools.get('getIssue')(id=1)", "await tools.get('get_issue')(id=1)"),
    "a dash": ("await tools.list-events(calendar_id='a')", "await tools.list_events(calendar_id='a')"),
    "an argument in camel case": (
        "await tools.list_events(calendarId='a', limit=3)",
        "await tools.list_events(calendar_id='a', limit=3)",
    ),
    "a text for a number": ("await tools.get_issue(id='12')", "await tools.get_issue(id=12)"),
    "a text for a number, by position": ("await tools.add('1', 2)", "await tools.add(1, 2)"),
    "a number for a text": ("await tools.list_events(calendar_id=3)", "await tools.list_events(calendar_id='3')"),
    "a dict of arguments": ("await tools.add({'a': 1, 'b': 2})", "await tools.add(**{'a': 1, 'b': 2})"),
}  # fmt: skip


@pytest.mark.parametrize("case", CORRECTED)
async def test_what_can_only_mean_one_thing_is_corrected(case: str) -> None:
    program, expected = CORRECTED[case]
    code, fixes = correct_spelling(program, SIGNATURES, MODULES)
    assert code == expected
    assert fixes
    assert correct_spelling(code, SIGNATURES, MODULES) == (code, [])
    await run(code, tools=Office().tools)


@pytest.mark.parametrize(
    "program",
    [
        "await tools.list_event(calendar_id='a')",
        "now = 3\nnow",
        "def add(a, b):\n    return a + b\nadd(1, 2)",
        "await tools.save({'data': 1})",
        "await tools.add({'c': 1})",
        "await tools.add(a='one', b='012')",
        "await tools.list_events(calendar_id=True)",
        "await tools.raw(x='1')",
        "arguments = {'a': 1, 'b': 2}\nawait tools.add(arguments)",
        "await tools.add(**{'a': 1, 'b': 2})",
        "class tools:\n    nowIs = 1\ntools.nowIs",
        "await tools.list_events(calendarId='a', calendar_id='b')",
    ],
)
def test_what_is_not_certain_is_left_alone(program: str) -> None:
    assert correct_spelling(program, SIGNATURES, MODULES) == (program, [])


async def never(arguments: dict[str, Any], config: RunnableConfig) -> None:
    raise AssertionError("no program runs here")


METHODS = Signatures.of(
    [ToolSpec(name=name, call=never, input_schema={"type": "object"}) for name in ("get", "items", "find")]
)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("await tools.get(url='a')", "await tools['get'](url='a')"),
        ("await tools.get('a')", "await tools['get']('a')"),
        ("x = [tools.get(url=u) for u in 'ab']", "x = [tools['get'](url=u) for u in 'ab']"),
        (
            "x = await asyncio.gather(*[tools.get(u) for u in us])",
            "x = await asyncio.gather(*[tools['get'](u) for u in us])",
        ),
        (
            "ts = [tools.get(u) for u in us]\nawait asyncio.gather(*ts)",
            "ts = [tools['get'](u) for u in us]\nawait asyncio.gather(*ts)",
        ),
        ("t = tools\nawait t . items(1)", "t = tools\nawait t['items'](1)"),
        ("x = tools.items(order=1)", "x = tools['items'](order=1)"),
        ("await tools.get(url=tools.get('find'))", "await tools['get'](url=tools.get('find'))"),
    ],
)
def test_a_tool_that_is_called_like_a_method_of_tools_is_called(program: str, expected: str) -> None:
    code, fixes = correct_spelling(program, METHODS, MODULES)
    assert code == expected
    assert len(fixes) == 1
    assert correct_spelling(code, METHODS, MODULES) == (code, [])


@pytest.mark.parametrize(
    "program",
    [
        "await tools.get('find')()",
        "await tools.get('find')",
        "x = tools.get('find', None)",
        "x = tools.get(key='find')",
        "x = tools.get(name)\nawait x(1)",
        "for name, each in tools.items(): await each()",
        "await tools.values()",
        "x = {}\nawait x.get(url=1)",
    ],
)
def test_methods_of_tools_stay_what_they_are(program: str) -> None:
    assert correct_spelling(program, METHODS, MODULES) == (program, [])


@pytest.mark.parametrize(
    ("program", "fixes"),
    [
        (CORRECTED["import tools"][0], ["line 1: dropped `import tools`: tools is there already"]),
        (
            "from tools import list_events\nawait list_events()",
            ["line 1: replaced `from tools import ...` by `list_events = tools.list_events`"],
        ),
        (CORRECTED["camel case"][0], ["line 1: wrote 'list-events', which is the tool's name, for listEvents"]),
        (CORRECTED["a bare name"][0], ["line 1: wrote tools.list_events for list_events"]),
        (
            CORRECTED["an argument in camel case"][0],
            ["line 1: wrote calendar_id, which is the argument's name, for calendarId"],
        ),
        (CORRECTED["a dict of arguments"][0], ["line 1: passed the dict as keyword arguments"]),
    ],
)
def test_corrections_are_told(program: str, fixes: list[str]) -> None:
    assert correct_spelling(program, SIGNATURES, MODULES)[1] == fixes


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("x = json.dumps(1)\nx", "import json; x = json.dumps(1)\nx"),
        ("# go\nasyncio.sleep", "import asyncio  # go\nasyncio.sleep"),
        ("def f():\n    return math.pi\n\nf()", "def f():\n    return math.pi\nimport math\nf()"),
        ("d = defaultdict(list)\nCounter(d)", "from collections import defaultdict; from collections import Counter; d = defaultdict(list)\nCounter(d)"),
        ("datetime.now()", "from datetime import datetime; datetime.now()"),
        ("datetime.datetime.now()", "import datetime; datetime.datetime.now()"),
        ("datetime.now() - timedelta(1)", "from datetime import datetime; from datetime import timedelta; datetime.now() - timedelta(1)"),
    ],
)  # fmt: skip
async def test_a_forgotten_import_is_added(program: str, expected: str) -> None:
    code, fixes = add_missing_imports(program, MODULES)
    assert code == expected
    assert fixes
    await run(code)


@pytest.mark.parametrize(
    "program",
    ["os.environ", "json = {}\njson.get('a')", "foo.bar", "for i in 'ab':\n    json.dumps(i)", "json", "x = Counter\ndef Counter():\n    pass"],
)  # fmt: skip
def test_no_other_import_is_added(program: str) -> None:
    assert add_missing_imports(program, MODULES) == (program, [])


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("import os\n1", "\n1"),
        ("import os, json, sys\njson", "import json\njson"),
        ("from pathlib import Path, PurePath\n1", "\n1"),
        ("import os; import json; json", "pass; import json; json"),
        ("import os\nos.environ", None),
        ("import json\n1", None),
        ("from os import path, sep\nsep", None),
        ("from os import *", None),
    ],
)
def test_an_import_that_nothing_uses_is_dropped_where_the_module_is_missing(program: str, expected: str | None) -> None:
    code, fixes = drop_idle_imports(program, MODULES)
    assert code == (program if expected is None else expected)
    assert bool(fixes) is (expected is not None)


def test_scripts_survive_the_corrections() -> None:
    """Corrections leave a script a script."""
    for program, _ in CORRECTED.values():
        code = correct_spelling(to_script(program).code, SIGNATURES, sys.stdlib_module_names)[0]
        assert to_script(code).code == code
