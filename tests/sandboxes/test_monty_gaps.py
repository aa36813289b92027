"""The gaps of Monty are what it does not run, and ordinary programs that it runs raise no alarm."""

import ast
import asyncio
from collections.abc import AsyncIterator

import pydantic_monty
import pytest
from codemode_sandboxes import Capabilities, Finished, Gap
from codemode_sandboxes.monty import MontySandbox
from codemode_sandboxes.monty.dialect.calls import CALLS
from codemode_sandboxes.monty.dialect.change import RewrittenGap
from codemode_sandboxes.monty.dialect.probe import probe
from codemode_sandboxes.monty.dialect.statements import STATEMENTS
from codemode_sandboxes.source.tree import Tree

from tests.sandboxes.cases import fake_tools, load, needs_cases
from tests.sandboxes.driving import echo, run

# Monty 1.4.0. When this fails after an upgrade: read which gaps closed or opened, correct the list, and where a gap
# closed in every version that pyproject.toml allows, delete it from the package.
GAPS = {
    "fractions of durations, and rare errors of dates, within try",
    "searches in ranges and bytes",
    "slices of dicts and ranges",
    "strftime that is not called on a date",
    *("generator functions", "async for", "async comprehensions", "async with", "class inheritance"),
    *("method decorators", "statements in class bodies", "except*", "type statements", "template strings"),
    *("import *", "asyncio.gather(return_exceptions=...) computed", "tool calls from map(), filter() and sort keys"),
    "del of names, attributes and slices",
    "generator expressions that are kept, or taken in part",
    "map, filter, zip, enumerate and reversed that are kept, or taken in part",
    *("methods of built-in types as values", "augmented assignment to lists and sets", "the order of a set"),
    *(
        "coroutines of tools kept for later",
        "the order in which asyncio.gather begins functions",
        "formats of unknown values",
    ),
    *("rare directives of dates", "encodings other than UTF-8 and ASCII", "rare regular expressions"),
    *(
        "comparisons of an exception's type",
        "attributes of built-in values by name",
        "classes as text",
    ),
    *(
        "assert with a message that is no text",
        "named arguments behind **",
        "os.environ as a value",
        "keys that equal a key of another type",
        "keys that may equal a key of another type",
        "NaN among others",
        "NaN in JSON",
        "dates and durations in rare forms",
        "places of a match's groups by name",
        "re.finditer and Counter.elements that are kept, or taken in part",
        "StopIteration out of async functions",
        "orders of a dict's keys and items",
        "searches for an empty text beyond the end",
        "numbers in the digits of other scripts",
        "rare letters in patterns",
        "the texts of built-in errors",
    ),
    *("rare arguments of built-in functions and methods", "lone surrogates"),
    *("methods called on a built-in type", "exceptions with other arguments than one string"),
    *("exception internals", "function attributes", "re.sub with a function", "json.dumps(default=)"),
    *("json.loads with hooks", "dataclass options", "field options", "set.union of several", "object()"),
    *(
        "asyncio tasks",
        "asyncio locks and semaphores",
        "asyncio timeouts and waiting",
        "asyncio queues",
    ),
    *("asyncio loops and threads", "asyncio exceptions", "dataclasses.asdict", "dataclasses.replace"),
    *("functools.wraps", "functools.cmp_to_key", "functools.cached_property", "collections.OrderedDict"),
    *("collections.ChainMap", "collections.abc", "re.VERBOSE", "re.subn", "json encoder classes"),
    *("datetime.fromtimestamp", "datetime.utcnow", "datetime.UTC", "datetime calendars", "typing.TypedDict"),
    *("sys.exit", "pathlib.PurePath", "rare standard library names"),
    *("built-ins such as callable, issubclass, super, dir, vars, globals", "rare methods of built-in types"),
    "special methods such as __len__, __lt__",
}
MODULES = {
    *("__future__", "asyncio", "base64", "binascii", "bisect", "collections", "copy", "csv", "dataclasses"),
    *("datetime", "decimal", "functools", "hashlib", "itertools", "json", "math", "os", "pathlib", "posixpath"),
    *("random", "re", "sys", "time", "tomllib", "typing", "unicodedata"),
}


@pytest.fixture(scope="module")
async def sandbox() -> AsyncIterator[MontySandbox]:
    sandbox = MontySandbox(max_workers=2)
    yield sandbox
    await sandbox.aclose()


@pytest.fixture(scope="module")
def capabilities(sandbox: MontySandbox) -> Capabilities:
    return sandbox.capabilities


def found(capabilities: Capabilities, code: str) -> list[str]:
    """Name the gaps that a program runs into, and the modules that are not there."""
    tree = Tree(ast.parse(code))
    modules = {name.partition(".")[0] for name, _ in tree.references} - capabilities.modules
    return [gap.name for gap in capabilities.gaps if list(gap.find(tree))] + sorted(modules)


def test_the_installed_version_has_the_known_gaps(capabilities: Capabilities) -> None:
    names = [gap.name for gap in capabilities.gaps]
    assert len(names) == len(set(names))
    closed, opened = GAPS - set(names), set(names) - GAPS
    assert not closed | opened, f"Monty {pydantic_monty.__version__}: gaps closed {closed}, new {opened}"


def test_the_installed_version_has_the_known_modules(capabilities: Capabilities) -> None:
    gone, new = MODULES - capabilities.modules, capabilities.modules - MODULES
    assert not gone | new, f"Monty {pydantic_monty.__version__}: modules gone {gone}, new {new}"


def test_the_installed_version_has_the_options_that_are_used() -> None:
    limits = {"max_feed_duration_secs", "max_memory", "max_suspensions"}
    assert limits <= set(pydantic_monty.ResourceLimits.__annotations__)
    assert {"sleep", "datetime", "random_start"} <= set(pydantic_monty.OSPolicy.__annotations__)


def test_capabilities_say_what_it_is(capabilities: Capabilities) -> None:
    assert capabilities.language == f"Python 3.14 subset (Monty {pydantic_monty.__version__})"
    assert capabilities.boundary == "interpreter"
    assert capabilities.enforces == {"time", "memory", "output", "processes", "files", "network"}
    assert not capabilities.snapshots


async def test_probing_happens_once_and_does_not_hold_up_the_event_loop(sandbox: MontySandbox) -> None:
    cached = probe.__globals__["_probe"]
    cached.cache_clear()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.create_task(tick())
    first = await sandbox.aprobe()
    ticking.cancel()
    assert ticks > 5
    assert sandbox.capabilities.gaps == first.gaps
    assert cached.cache_info().misses == 1


@pytest.mark.parametrize("gap", STATEMENTS + CALLS, ids=lambda gap: gap.name)
def test_a_gap_is_found_in_its_own_probe(gap: Gap | RewrittenGap) -> None:
    try:
        tree = Tree(ast.parse(gap.probe.replace("host_function", "tools.x")))
    except SyntaxError:
        pytest.skip("this Python does not have that syntax")
    assert list(gap.places(tree) if isinstance(gap, RewrittenGap) else gap.find(tree))


# Programs that fail in Monty, each with the first gap or module that is found in it.
FAILING = [
    ("async def g():\n    yield 1\n[x async for x in g()]", "generator functions"),
    ("f = lambda: (yield)\n1", "generator functions"),
    ("import contextlib\nasync with tools.x() as y:\n    pass", "async with"),
    ("class E(Exception):\n    pass\n1", "class inheritance"),
    ("class A(metaclass=type):\n    pass\n1", "class inheritance"),
    ("class A:\n    @staticmethod\n    def f():\n        pass\n1", "method decorators"),
    ("class A:\n    a = b = 1\n1", "statements in class bodies"),
    ("x = 1\ndel x\nx", "del of names, attributes and slices"),
    ("def f(a):\n    return tools.x(a)\nm = map(f, [1])\nlist(m)", "tool calls from map(), filter() and sort keys"),
    ("import time\nsorted([1], key=lambda a: time.time())", "tool calls from map(), filter() and sort keys"),
    ("g = (x for x in [1])\nnext(g)", "generator expressions that are kept, or taken in part"),
    ("next(zip([1], [2]))", "map, filter, zip, enumerate and reversed that are kept, or taken in part"),
    ("seen = []\nadd = seen.append\nadd(1)", "methods of built-in types as values"),
    ("str.join(',', ['a'])", "methods called on a built-in type"),
    ("raise KeyError(1)", "exceptions with other arguments than one string"),
    ("e = RuntimeError({'a': 1})", "exceptions with other arguments than one string"),
    ("raise OSError(2, 'x')", "exceptions with other arguments than one string"),
    ("try:\n    1 / 0\nexcept Exception as e:\n    e.__cause__", "exception internals"),
    ("def f():\n    pass\nf.calls = 1", "function attributes"),
    ("def d(f):\n    f.__name__\n    return f\n@d\ndef g():\n    pass\n1", "function attributes"),
    ("import json\njson.dumps({}, cls=None)", "json.dumps(default=)"),
    ("import json\njson.loads('{}', object_pairs_hook=dict)", "json.loads with hooks"),
    ("from dataclasses import dataclass\n@dataclass(kw_only=True)\nclass P:\n    x: int\n1", "dataclass options"),
    (
        "from dataclasses import dataclass, field\n@dataclass\nclass P:\n    x: int = field(init=False)\n1",
        "field options",
    ),
    ("missing = object()\n1", "object()"),
    ("import asyncio\nasyncio.create_task(tools.x())", "asyncio tasks"),
    ("from asyncio import TaskGroup\n1", "asyncio tasks"),
    ("import asyncio\nasyncio.Semaphore(2)", "asyncio locks and semaphores"),
    ("import asyncio\nawait asyncio.wait_for(tools.x(), timeout=3)", "asyncio timeouts and waiting"),
    ("import asyncio\nasyncio.Queue()", "asyncio queues"),
    ("import asyncio\nasyncio.get_running_loop().time()", "asyncio loops and threads"),
    ("from dataclasses import asdict\n1", "dataclasses.asdict"),
    ("import dataclasses as d\nd.replace", "dataclasses.replace"),
    ("from functools import wraps\n1", "functools.wraps"),
    ("import functools\nfunctools.cmp_to_key(print)", "functools.cmp_to_key"),
    ("from functools import cached_property\n1", "functools.cached_property"),
    ("from collections import OrderedDict\nOrderedDict(a=1)", "collections.OrderedDict"),
    ("from collections import ChainMap\n1", "collections.ChainMap"),
    ("from collections.abc import Iterable\n1", "collections.abc"),
    ("import collections\ncollections.abc.Iterable", "collections.abc"),
    ("import re\nre.match('a', 'a', re.VERBOSE)", "re.VERBOSE"),
    ("import re\nre.subn('a', 'b', 'a')", "re.subn"),
    ("import json\njson.JSONEncoder", "json encoder classes"),
    ("from datetime import date\ndate.fromordinal(1)", "datetime calendars"),
    ("from typing import TypedDict\n1", "typing.TypedDict"),
    ("import sys\nsys.exit(0)", "sys.exit"),
    ("from pathlib import PurePosixPath\n1", "pathlib.PurePath"),
    ("from typing import Awaitable\n1", "rare standard library names"),
    ("import os\nos.getpid()", "rare standard library names"),
    ("callable(len)", "built-ins such as callable, issubclass, super, dir, vars, globals"),
    ("raise ConnectionError('x')", "built-ins such as callable, issubclass, super, dir, vars, globals"),
    ("'abc'.translate({97: 'x'})", "rare methods of built-in types"),
    ("from datetime import date\ndate(2026, 1, 1).isocalendar()", "rare methods of built-in types"),
    ("class A:\n    def __len__(self):\n        return 3\nlen(A())", "special methods such as __len__, __lt__"),
    ("import statistics\nstatistics.mean([1])", "statistics"),
    ("from zoneinfo import ZoneInfo\n1", "zoneinfo"),
    ("import urllib.parse\n1", "urllib"),
]


@pytest.mark.parametrize(("code", "gap"), FAILING)
async def test_what_is_found_in_a_program_fails_there(
    sandbox: MontySandbox, capabilities: Capabilities, code: str, gap: str
) -> None:
    assert gap in found(capabilities, code)
    assert (await run(sandbox, code, {"x": echo})).failed.kind in ("program", "syntax")


# Programs that Monty runs, close to what it does not run.
RUNNING = [
    "import asyncio\nawait asyncio.gather(*[tools.x(i) for i in range(2)])",
    "import asyncio\nasync def f(i):\n    return await tools.x(i)\nawait asyncio.gather(*map(f, [1, 2]))",
    "from functools import partial\nawait partial(tools.x, 1)()",
    "asyncio = {'create_task': 1}\nasyncio['create_task']",
    "class Box:\n    def __init__(self):\n        self.items = []\n    def get(self):\n        return 1\n"
    "box = Box()\nget = box.get\nitems = box.items\n[get(), items]",
    "class P:\n    '''A point.'''\n    x: int = 1\n    y = 2\n    def m(self):\n        return self.x\n"
    "[P().m(), P.y, P.__name__, type(P()).__name__]",
    "from collections import namedtuple\nRow = namedtuple('Row', 'count index')\nr = Row(1, 2)\nc = r.count\nc",
    "from dataclasses import dataclass, field\n@dataclass(frozen=True)\nclass P:\n    title: str\n"
    "    tags: list = field(default_factory=list)\np = P('a')\ntitle = p.title\ntitle",
    "it = iter([1, 2])\n[next(it), next(it), next(it, None)]",
    "g = [x for x in map(str, [1])]\nlist(g)",
    "try:\n    raise ValueError(f'a {1}')\nexcept ValueError as e:\n    r = [str(e), type(e).__name__, e.args]\nr",
    "raise_it = False\nif raise_it:\n    raise ValueError('a' + 'b')\n1",
    "import re\nre.sub('a', 'b', 'a') + re.compile('a').sub('b', 'a')",
    "import re\n[m.start() for m in re.finditer('a', 'aa', re.IGNORECASE)]",
    "import json\njson.dumps({'a': [1]}, indent=2, sort_keys=True, ensure_ascii=False, separators=(',', ':'))",
    "import json\njson.loads('[1.5]', parse_float=str)",
    "from dataclasses import dataclass\n@dataclass(eq=True, order=False)\nclass P:\n    x: int\nP(1) == P(1)",
    "{1}.union({2}) | {3}",
    "class U:\n    def union(self, *others):\n        return 1\nU().union(1, 2)",
    "d = {}\nd.update(a=1)\nd.update({}, b=2)\nd.update({})\nd",
    "dict.fromkeys('ab', 0)",
    "bytes.fromhex('61').decode()",
    "sorted({'b': 1, 'a': 2}.items(), key=lambda kv: (-kv[1], kv[0]))",
    "sorted(['b', 'A'], key=str)",
    "import math\nlist(map(math.sqrt, [4]))",
    "import os\nlist(map(os.path.basename, ['/a/b']))",
    "import copy\nlist(map(copy.copy, [[1]]))",
    "import datetime as dt\n[dt.datetime.now().year, dt.date.today().day, dt.datetime.fromisoformat('2026-01-01').month]",
    "from datetime import datetime, timedelta, timezone\nd = datetime(2026, 1, 1, tzinfo=timezone.utc)\n"
    "[d.isoformat(), d.strftime('%Y'), (d + timedelta(days=1)).timestamp(), d.date().weekday()]",
    "from __future__ import annotations\nfrom typing import Any, Optional, Literal, TYPE_CHECKING\n"
    "def f(x: Optional[int] = None) -> list[Any]:\n    return [x]\nf()",
    "import os.path\nos.path.join('a', 'b')",
    "def translate(x):\n    return x\ntranslate(1)",
    "class A:\n    def translate(self):\n        return 1\nA().translate()",
    "def input():\n    return 1\ninput()",
    "def deco(f):\n    def inner(*args):\n        return f(*args)\n    return inner\n@deco\ndef g(x):\n    return x\ng(1)",
    "def event(x):\n    return x\n[event for event in [1]]",
    "class A:\n    def __eq__(self, other):\n        return True\n    def __iter__(self):\n        return iter([1])\n"
    "    def __add__(self, other):\n        return 3\n    def __repr__(self):\n        return 'A'\n"
    "[A() == 1, list(A()), A() + 1, repr(A())]",
    "class C:\n    def __enter__(self):\n        return self\n    def __exit__(self, *a):\n        return False\n"
    "with C() as c:\n    r = 1\nr",
    "import sys\nprint('x', file=sys.stderr)\nsys.maxsize > 1",
    "match {'a': [1, 2]}:\n    case {'a': [x, *rest]}:\n        r = rest\nr",
    "(n := 3) + sum(i for i in range(n))",
]


@pytest.mark.parametrize("code", RUNNING)
async def test_what_runs_raises_no_alarm(sandbox: MontySandbox, capabilities: Capabilities, code: str) -> None:
    assert isinstance((await run(sandbox, code, {"x": echo})).event, Finished)
    assert found(capabilities, code) == []


@needs_cases
@pytest.mark.parametrize("case", load("benign"), ids=lambda case: case["id"])
async def test_a_program_is_found_to_have_gaps_exactly_if_it_does_not_run(
    sandbox: MontySandbox, capabilities: Capabilities, case: dict[str, str]
) -> None:
    result = await run(sandbox, case["code"] + "\nawait main()", fake_tools())
    assert isinstance(result.event, Finished) == (found(capabilities, case["code"]) == [])
