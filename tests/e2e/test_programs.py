"""Programs of every ordinary form, run as they are: `run_code` gives their value, and asks no model."""

import re
from typing import Any

import pytest
from codemode_sandboxes import Limits

from codemode_graph import codemode
from tests.e2e.office import Office
from tests.support import scripted

TITLES = ["Standup", "Review", "Lunch"]
PROGRAMS: dict[str, tuple[str, Any]] = {
    "async main": ("async def main():\n    return [e['title'] for e in await tools['list_events']('work')]", TITLES),
    "sync main": ("def main():\n    return 1 + 1", 2),
    "asyncio.run": ("import asyncio\nasync def main():\n    return 3\nasyncio.run(main())", 3),
    "name is main": (
        "import asyncio\nasync def main():\n    return 3\nif __name__ == '__main__':\n    asyncio.run(main())",
        3,
    ),
    "printed run": ("import asyncio\nasync def main():\n    return 3\nprint(asyncio.run(main()))", 3),
    "top-level await": ("events = await tools['list_events']('work')\nlen(events)", 3),
    "last expression": ("x = 20\nx * 2 + 2", 42),
    "bare main()": ("async def main():\n    return 'a'\nmain()", "a"),
    "await main()": ("async def main():\n    return 'a'\nawait main()", "a"),
    "top-level return": ("x = await tools.price('apple')\nreturn x", 1.2),
    "last assignment": ("result = await tools.price('pear')", 0.8),
    "keyword arguments": ("len(await tools['list_events'](calendar_id='work', limit=1))", 1),
    "positional arguments": ("[e['title'] for e in await tools.list_events('work', 2)]", ["Standup", "Review"]),
    "one dict": ("[e['title'] for e in await tools.list_events({'calendar_id': 'work', 'limit': 1})]", ["Standup"]),
    "forgotten await": ("async def main():\n    return tools['price'](item='apple') * 2", 2.4),
    "forgotten await in a loop": (
        "def main():\n    total = 0\n    for i in ['apple', 'pear']:\n        total += tools.price(i)\n    return total",
        2.0,
    ),
    "gather": (
        "import asyncio\nasync def main():\n"
        "    return sum(await asyncio.gather(*[tools.price(i) for i in ['apple', 'pear']]))",
        2.0,
    ),
    "gather in order": (
        "import asyncio\nasync def main():\n"
        "    return await asyncio.gather(tools['slow-report'](0.05), tools.price('pear'), tools.stock_of('apple'))",
        ["report", 0.8, 3],
    ),
    "sleep": ("import asyncio\nawait asyncio.sleep(0.01)\n'awake'", "awake"),
    "comprehension with await": ("[await tools.price(i) for i in ('apple', 'pear')]", [1.2, 0.8]),
    "caught tool error": (
        "async def main():\n    try:\n        await tools.price('plum')\n    except LookupError as e:\n        return str(e)",
        "no such item: plum",
    ),
    "name with a hyphen": ("await tools['slow-report'](seconds=0)", "report"),
    "attribute for a hyphen": ("await tools.slow_report(0)", "report"),
    "undeclared result": (
        "r = await tools.search('tea')\n[h['headline'] for h in r['results']]",
        ["tea 0", "tea 1", "tea 2"],
    ),
    "json and re": ("import json, re\njson.loads(json.dumps({'n': re.findall(r'\\d', 'a1b2')}))", {"n": ["1", "2"]}),
    "datetime": (
        "from datetime import datetime, timedelta\nstr(datetime(2026, 1, 31) + timedelta(days=1))[:10]",
        "2026-02-01",
    ),
    "collections": ("from collections import Counter\ndict(Counter('aab'))", {"a": 2, "b": 1}),
    "sorted with a key": ("sorted([{'n': 2}, {'n': 1}], key=lambda d: d['n'])", [{"n": 1}, {"n": 2}]),
    "helper functions": (
        "async def total(items):\n    return sum([await tools.price(i) for i in items])\n"
        "async def main():\n    return await total(['apple', 'apple'])",
        2.4,
    ),
    "a class": ("class Box:\n    def __init__(self, n):\n        self.n = n\nBox(4).n", 4),
    "set and tuple": ("{'s': {1}, 't': (1, 2)}", {"s": [1], "t": [1, 2]}),
    "an effect": ("(await tools.send_mail('ann@x.org', 'hi'))['id']", "m1"),
    "nothing": ("x = None\nx", None),
    "fenced": ("Here it is:\n```python\nawait tools.stock_of('pear')\n```\nThat is all.", 0),
}


@pytest.mark.parametrize(("program", "value"), PROGRAMS.values(), ids=PROGRAMS)
async def test_a_program_gives_its_value(program: str, value: Any) -> None:
    async with codemode(tools=Office().tools) as cm:
        result = await cm.run_code(program)
    assert result["error"] is None
    assert result["output"] == value
    assert result["metrics"]["llm_calls"] == []


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("await tools.prize('apple')", "price"),
        ("await tools.price()", "item"),
        ("1 / 0", "ZeroDivisionError"),
        ("await tools.price('plum')", "LookupError: no such item: plum"),
        ("def (", "syntax"),
        ("while True:\n    pass", "TimeoutError"),
        ("", "no program"),
    ],
)
async def test_a_program_that_fails_is_told_in_the_result(program: str, error: str) -> None:
    async with codemode(tools=Office().tools, limits=Limits(seconds=0.3)) as cm:
        result = await cm.run_code(program)
    assert not result["success"]
    assert result["error"] is not None
    assert error in result["error"]
    assert len(result["attempts"]) == 1


async def test_tasks_of_a_batch_do_not_mix() -> None:
    def program_for(conversation: Any) -> str:
        number = re.findall(r"task (\d)", conversation[-1].text)[0]
        if number == "3":
            return "```python\nraise ValueError('three')\n```"
        return f"```python\nawait tools.send_mail('t{number}@x.org', 'hi')\n'{number}'\n```"

    office = Office()
    async with codemode(tools=office.tools, code_model=scripted(program_for), max_retries=2) as cm:
        results = await cm.batch_run([f"task {number}" for number in range(10)])
    assert [result["success"] for result in results] == [number != 3 for number in range(10)]
    for number, result in enumerate(results):
        if number != 3:
            assert result["output"] == str(number)
            assert [call["arguments"]["to"] for call in result["tool_calls"]] == [f"t{number}@x.org"]
            assert result["metrics"]["total_tokens"] == 120
    assert len(office.ledger) == 9
