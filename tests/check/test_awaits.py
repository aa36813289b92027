import pytest
from codemode_sandboxes.source import to_script

from codemode_graph.check.awaits import add_awaits
from tests.check.harness import run
from tests.check.office import SCHEMAS, Office

# Programs without an await, and their values with it.
FIXED = {
    "a bare call": ("tools.add(a=1, b=2)", 3),
    "a call by item": ("x = tools['add'](a=1, b=2)\nx + 1", 4),
    "called, then indexed": ("tools.get_issue(id=1)['author']['name']", "ann"),
    "called, then asked": ("tools.get_issue(id=1).get('title')", "Issue 1"),
    "iterated": ("[e['title'] for e in tools['list-events'](calendar_id='a')]", ["Standup", "Review"]),
    "iterated by for": ("n = 0\nfor e in tools['list-events'](calendar_id='a'):\n    n += e['minutes']\nn", 75),
    "compared": ("tools.add(a=1, b=2) == 3", True),
    "in a condition": ("if tools.add(a=1, b=2) > 2:\n    x = 'big'\nelse:\n    x = 'small'\n", "big"),
    "an operand": ("1 + tools.add(a=1, b=2) * 2", 7),
    "in an f-string": ("f'{tools.add(a=1, b=2)} of {tools.now()[:4]}'", "3 of 2026"),
    "given to len": ("len(tools['list-events'](calendar_id='a'))", 2),
    "given to sorted": ("sorted(tools['list-events'](calendar_id='a'), key=lambda e: e['title'])[0]['id']", "e2"),
    "given to json": ("import json\njson.dumps(tools.add(a=1, b=2))", "3"),
    "given to another tool": ("await tools.add(a=tools.add(a=1, b=2), b=tools.get_issue(id=4)['id'])", 7),
    "given to a method of a string": ("', '.join(tools.get_issue(id=1)['author'].values())", "ann, ann@example.com"),
    "unpacked": ("a, b = tools.add(a=1, b=2), tools.add(a=2, b=2)\n[a * b]", [12]),
    "with a default": ("x = tools.raw() or 5\nx", 5),
    "in a list": ("rows = [tools.add(a=i, b=1) for i in range(3)]\nrows", [1, 2, 3]),
    "in a list that is used": ("rows = [tools.get_issue(id=i) for i in range(2)]\n[r['id'] for r in rows]", [0, 1]),
    "in a dict": ("rows = {i: tools.add(a=i, b=1) for i in range(2)}\n[v for k, v in rows.items()]", [1, 2]),
    "appended": ("rows = []\nfor i in range(2):\n    rows.append(tools.add(a=i, b=1))\nrows", [1, 2]),
    "stored under a key": ("rows = {}\nrows['a'] = tools.add(a=1, b=1)\nrows", {"a": 2}),
    "summed in a generator": ("sum(tools.get_issue(id=i)['id'] for i in range(4))", 6),
    "in an async function": ("async def main():\n    x = tools.add(a=1, b=2)\n    return x * 2\n", 6),
    "returned": ("async def main():\n    return tools.add(a=1, b=2)\n", 3),
    "returned by name": ("async def main():\n    x = tools.add(a=1, b=2)\n    return x\n", 3),
    "returned in a dict": ("async def main():\n    return {'x': tools.add(a=1, b=2)}\n", {"x": 3}),
    "in a plain main": ("def main():\n    x = tools.add(a=1, b=2)\n    return x\n", 3),
    "in a plain main that is called": ("def main():\n    return tools.add(a=1, b=2)\n\nresult = main()\nprint(result)", 3),
    "in a plain main that is run": ("import asyncio\ndef main():\n    return tools.add(a=1, b=2) + 1\n\nasyncio.run(main())", 4),
    "in helpers of helpers": (
        "def one(i):\n    return tools.add(a=i, b=1)\n\ndef two():\n    return [one(i) + 1 for i in range(2)]\n\n"
        "def main():\n    return two()\n",
        [2, 3],
    ),
    "in a helper inside": ("def main():\n    def one(i):\n        return tools.add(a=i, b=1)\n    return one(1) + one(2)\n", 5),
    "in a helper that is gathered": (
        "import asyncio\nasync def one(i):\n    return tools.get_issue(id=i)\n\n"
        "rows = await asyncio.gather(*[one(i) for i in range(2)])\n[r['id'] for r in rows]",
        [0, 1],
    ),
    "in a plain function with await": ("def main():\n    x = await tools.add(a=1, b=2)\n    return x\n", 3),
    "await in front of the item": ("(await tools.get_issue(id=3)['author'])['name']", "ann"),
    "await in front of a method": ("x = await tools.get_issue(id=3).get('id')\nx", 3),
    "an alias": ("add = tools['add']\nx = add(a=1, b=2)\nx + 1", 4),
    "an alias with a type": ("add: object = tools['add']\nx = add(a=1, b=2)\nx + 1", 4),
    "an alias of tools": ("t = tools\nx = t.add(a=1, b=2)\nx + 1", 4),
    "tools as a parameter": ("async def main(tools):\n    x = tools.add(a=1, b=2)\n    return x + 1\n", 4),
    "a computed name": ("name = 'add'\nx = tools[name](a=1, b=2)\nx + 1", 4),
    "an own function": ("async def f():\n    return 2\n\nasync def main():\n    x = f()\n    return x + 1\n", 3),
    "given to an own function": ("def f(rows):\n    return rows['id']\n\nf(tools.get_issue(id=8))", 8),
    "over several lines": ("x = tools.add(\n    a=1,\n    b=2,\n)\nx + 1", 4),
    "non-ASCII": ("é = 'ü'; x = tools.get_issue(id=1)['title']; é + x", "üIssue 1"),
    "a list that is gathered": ("import asyncio\nawait asyncio.gather([tools.add(a=1, b=i) for i in (1, 2)])", [2, 3]),
    "a named list that is gathered": (
        "import asyncio\ncalls = [tools.add(a=1, b=1)]\ncalls.append(tools.now())\nawait asyncio.gather(calls)",
        [2, "2026-03-02T08:00:00"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FIXED)
async def test_a_forgotten_await_is_put_in(case: str) -> None:
    program, value = FIXED[case]
    script = to_script(program).code
    code, fixes, findings = add_awaits(script, list(SCHEMAS))
    assert fixes
    assert not findings
    assert code.count("\n") == script.count("\n")
    assert await run(code, tools=Office().tools) == value, code
    assert add_awaits(code, list(SCHEMAS)) == (code, [], [])


# Nothing is missing, or it cannot be told.
LEFT = {
    "awaited": "x = await tools.add(a=1, b=2)\nx",
    "awaited later": "t = tools.add(a=1, b=2)\nx = await t\nx",
    "awaited in a loop": "ts = [tools.add(a=i, b=2) for i in range(2)]\n[await t for t in ts]",
    "awaited by its key": "ts = {'a': tools.add(a=1, b=2)}\nawait ts['a']",
    "gathered": "import asyncio\nawait asyncio.gather(tools.add(a=1, b=2), tools.now())",
    "gathered from a list": "import asyncio\nts = []\nfor i in range(2):\n    ts.append(tools.add(a=i, b=1))\nawait asyncio.gather(*ts)",
    "gathered from a dict": "import asyncio\nts = {i: tools.add(a=i, b=1) for i in range(2)}\ndict(zip(ts, await asyncio.gather(*ts.values())))",
    "gathered through a helper": "import asyncio\ndef one(i):\n    return tools.add(a=i, b=1)\nawait asyncio.gather(*[one(i) for i in range(2)])",
    "gathered through map": "import asyncio\nawait asyncio.gather(*map(lambda i: tools.add(a=i, b=1), range(2)))",
    "a task": "import asyncio\nt = asyncio.create_task(tools.add(a=1, b=2))\nawait t",
    "a task group": "import asyncio\nasync with asyncio.TaskGroup() as group:\n    t = group.create_task(tools.add(a=1, b=2))\nt.result()",
    "with a time limit": "import asyncio\nawait asyncio.wait_for(tools.add(a=1, b=2), timeout=1)",
    "as completed": "import asyncio\nrows = []\nfor t in asyncio.as_completed([tools.add(a=1, b=2)]):\n    rows.append(await t)\nrows",
    "under a semaphore": "import asyncio\ns = asyncio.Semaphore(2)\nasync def one(i):\n    async with s:\n        return await tools.add(a=i, b=1)\nawait asyncio.gather(*(one(i) for i in range(2)))",
    "yielded": "def each():\n    for i in range(2):\n        yield tools.add(a=i, b=1)\n[await t for t in each()]",
    "kept in an object": "class Box:\n    pass\nbox = Box()\nbox.t = tools.add(a=1, b=2)\nawait box.t",
    "given to a function that awaits it": "async def safe(t):\n    try:\n        return await t\n    except ValueError:\n        return None\nawait safe(tools.add(a=1, b=2))",
    "run by a plain main": "import asyncio\ndef main():\n    return tools.add(a=1, b=2)\n\nasyncio.run(main())",
    "given by its lambda": "async def retry(f):\n    return await f()\nawait retry(lambda: tools.add(a=1, b=2))",
    "in pairs": "import asyncio\nts = [(i, tools.add(a=i, b=1)) for i in range(2)]\n[await t for i, t in ts]",
    "enumerated": "ts = [tools.add(a=i, b=1) for i in range(2)]\n[(i, await t) for i, t in enumerate(ts)]",
    "one of two": "t = tools.add(a=1, b=2) if True else tools.now()\nawait t",
    "awaited twice": "async def f():\n    return tools.add(a=1, b=2)\nawait (await f())",
    "a shadowed name": "class T:\n    def add(self, a, b):\n        return a + b\ntools = T()\nx = tools.add(a=1, b=2)\nx + 1",
}  # fmt: skip


@pytest.mark.parametrize("case", LEFT)
async def test_what_needs_no_await_is_left_alone(case: str) -> None:
    script = to_script(LEFT[case]).code
    assert add_awaits(script, list(SCHEMAS)) == (script, [], [])
    await run(script, tools=Office().tools)


@pytest.mark.parametrize(
    ("program", "line", "where"),
    [
        ("sorted([1], key=lambda i: tools.get_issue(id=i)['id'])", 1, "in a lambda"),
        ("sorted(\n[1], key=lambda i: tools.now())", 2, "in a lambda"),
        ("any(tools.add(a=i, b=1) > 1 for i in [1, 2])", 1, "write a list: [await ... for ...]"),
        ("class A:\n    def f(self):\n        return tools.now()[0]\nA().f()", 3, "write `async def f`"),
        ("def f(i):\n    return tools.get_issue(id=i)['id']\nsorted([1], key=f)", 2, "write `async def f`"),
        ("class A:\n    x = tools.now()[0]", 2, "here"),
    ],
)
def test_where_await_cannot_stand_that_is_told(program: str, line: int, where: str) -> None:
    code, fixes, findings = add_awaits(program, list(SCHEMAS))
    assert (code, fixes) == (program, [])
    assert [(finding["rule"], finding["line"]) for finding in findings] == [("unawaited-call", line)]
    assert where in findings[0]["message"]


@pytest.mark.parametrize(
    ("program", "fixes"),
    [
        ("x = 1\ny = tools['add'](a=1, b=x)\ny + 1", ["line 2: added the missing await on tools['add']"]),
        (
            "def main():\n    return tools.now()[0]\nmain()",
            ["line 1: made main async, and awaited its calls", "line 2: added the missing await on tools.now"],
        ),
        ("await tools.now()[0]", ["line 1: moved the await to tools.now, whose value it waits for"]),
        (FIXED["a list that is gathered"][0], ["line 2: unpacked the list that asyncio.gather was given"]),
    ],
)
def test_fixes_are_told(program: str, fixes: list[str]) -> None:
    assert add_awaits(program, list(SCHEMAS))[1] == fixes
