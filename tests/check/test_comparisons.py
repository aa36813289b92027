"""Comparisons that are never true are told before anything runs; nothing raises there."""

from collections.abc import AsyncIterator
from typing import Literal, NotRequired

import pytest
import pytest_asyncio
from typing_extensions import TypedDict

from codemode_graph import CodeMode, codemode


class Ticket(TypedDict):
    """A ticket."""

    id: int
    title: str
    state: Literal["open", "closed"]
    done: bool
    owner: str | None
    place: NotRequired[Literal["home"]]


class Order(TypedDict):
    """An order: its id is a text."""

    id: str
    ticket: int
    items: list[str]


async def tickets() -> list[Ticket]:
    """Return two."""
    return [
        {"id": 1, "title": "a", "state": "open", "done": False, "owner": None},
        {"id": 2, "title": "b", "state": "closed", "done": True, "owner": "ann", "place": "home"},
    ]


async def orders() -> list[Order]:
    """Return one."""
    return [{"id": "1", "ticket": 2, "items": ["x"]}]


async def mode() -> Literal["fast", "slow"]:
    """Return it."""
    return "fast"


async def amount() -> int | str:
    """Return one of both."""
    return "5"


@pytest_asyncio.fixture
async def cm() -> AsyncIterator[CodeMode]:
    """Yield a `CodeMode` with the tools."""
    async with codemode(tools=[tickets, orders, mode, amount]) as session:
        yield session


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (
            "[t for t in await tools.tickets() if t['state'] == 'Open']",
            "never 'Open': it is one of 'open', 'closed'; did you mean 'open'?",
        ),
        ("[t for t in await tools.tickets() if t['state'] != 'CLOSED']", "did you mean 'closed'?"),
        ("[t for t in await tools.tickets() if t['state'] in ('new', 'waiting')]", "t['state'] is never 'new'"),
        ("w = 'done'\n[t for t in await tools.tickets() if t.get('state') == w]", "t.get('state') is never 'done'"),
        ("[t for t in await tools.tickets() if t.get('place', '-') == 'office']", "is never 'office'"),
        ("await tools.mode() == 'quick'", "never 'quick': it is one of 'fast', 'slow'"),
        (
            "m = await tools.mode()\nmatch m:\n    case 'quick' | 'lazy':\n        r = 1\n    case _:\n        r = 2\nr",
            "m is never 'quick'",
        ),
        (
            "next((t for t in await tools.tickets() if t['id'] == '1'), None)",
            "a number, and never equals '1'; make a number of the text",
        ),
        ("next((o for o in await tools.orders() if 1 == o['id']), None)", "o['id'] is a str, and never equals 1"),
        ("[o for o in await tools.orders() if o['id'] in [1, 2]]", "is a str"),
        ("[t for t in await tools.tickets() if t['done'] == 'true']", "t['done'] is True or False"),
        (
            "ts, os = await tools.tickets(), await tools.orders()\n[t for t in ts for o in os if t['id'] == o['id']]",
            "t['id'] is a number, and never equals o['id'], which is a str",
        ),
        ("[o for o in await tools.orders() if o['items'] == 'x']", "is a list, and never equals 'x'"),
        # What looks like caution drops all, or is misspelt.
        (
            "out = []\nfor t in await tools.tickets():\n    if t['state'] != 'new':\n        continue\n    out.append(t)\nout",
            "'new'",
        ),
        (
            "out = []\nfor t in await tools.tickets():\n    if t['state'] == 'Closed':\n        continue\n    out.append(t)\nout",
            "'closed'?",
        ),
        (
            "for t in await tools.tickets():\n    if t['id'] == '1':\n        raise ValueError('x')\n1",
            "never equals '1'",
        ),
        (
            "async def f():\n    for t in await tools.tickets():\n        if t['state'] == 'new':\n            return t\nawait f()",
            "'new'",
        ),
    ],
)
async def test_a_comparison_that_is_never_true_is_told(cm: CodeMode, program: str, words: str) -> None:
    result = await cm.run_code(program)

    assert words in (result["error"] or "")
    assert result["tool_calls"] == []


@pytest.mark.parametrize(
    "program",
    [
        # Ready for both.
        "[t['id'] for t in await tools.tickets() if t['state'] in ('open', 'OPEN')]",
        "[t['id'] for t in await tools.tickets() if t['state'] == 'open' or t['state'] == 'OPEN']",
        "[t['id'] for t in await tools.tickets() if t['id'] in (1, '1')]",
        "[o['id'] for o in await tools.orders() if o['id'] == '1' or o['id'] == 1]",
        "t = (await tools.tickets())[0]\nif t['state'] == 'open':\n    r = 1\nelif t['state'] == 'new':\n    r = 2\nelse:\n    r = 3\nr",
        "a = await tools.amount()\na == 5 or a == '5'",
        "a = await tools.amount()\na == '5'",
        "a = await tools.amount()\na == 6 if isinstance(a, int) else a == '5'",
        # Ready for what the tool does not declare.
        "t = (await tools.tickets())[0]\nif t['state'] == 'error':\n    raise RuntimeError('failed')\nt['id']",
        "out = []\nfor t in await tools.tickets():\n    if t['done'] or t['state'] in ('lost', 'gone'):\n        continue\n    out.append(t['id'])\nout",
        "async def f():\n    if await tools.mode() == 'off':\n        return {'error': 'it is off'}\n    return 1\nawait f()",
        "[t['id'] for t in await tools.tickets() if t['state'] != 'deleted' and not t['state'] == 'lost']",
        "t = (await tools.tickets())[0]\nassert t['state'] != 'error'\nNone if t['state'] == 'error' else t['id']",
        "m = await tools.mode()\nmatch m:\n    case 'off':\n        raise ValueError('off')\nm",
        "[t['id'] for t in await tools.tickets() if t['owner'] != '' and t['id'] != '']",
        # Another value by now.
        "ts = await tools.tickets()\nfor t in ts:\n    t['id'] = str(t['id'])\n[t for t in ts if t['id'] == '1']",
        "i = (await tools.tickets())[0]['id']\ni = str(i)\ni == '1'",
        "[t['id'] for t in await tools.tickets() if t['state'].upper() == 'OPEN' and str(t['id']) == '1']",
        # Nothing is known, or it may be so.
        "[t['id'] for t in await tools.tickets() if t['owner'] == None or t['done'] == 1 or t['id'] == 1.0]",
        "rows = [{'id': '1'}]\nts = await tools.tickets()\n[r for r in rows if r['id'] == '1']",
        "def find(rows, id):\n    return [r for r in rows if r['id'] == id]\nfind(await tools.orders(), '1') + find(await tools.tickets(), 1)",
        "a = 'x'\nb = await tools.mode()\na == 'y'",
        "import json\nd = json.loads('{\"state\": \"Open\"}')\nd['state'] == 'Open'",
    ],
)
async def test_a_comparison_that_may_be_true_is_left_alone(cm: CodeMode, program: str) -> None:
    assert (await cm.run_code(program))["error"] is None
