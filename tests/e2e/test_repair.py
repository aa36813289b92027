"""Fifteen tasks whose first program is wrong, each in its own way. Every one is repaired; no effect happens twice."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from codemode_graph.api import CodeMode, codemode
from codemode_sandboxes import Limits
from tests.e2e.office import Office
from tests.support import ScriptedModel, scripted

MAIL = "await tools['send_mail'](to='ann@x.org', subject='hi')"


@dataclass
class Case:
    id: str
    programs: list[str]
    output: Any
    told: str
    """What the model has to be told, in part."""
    ledger: list[tuple[str, Any]] = field(default_factory=list)
    timeout: float = 10.0
    limits: Limits = field(default_factory=Limits)


SENT = ("send_mail", ("ann@x.org", "hi"))
GOOD_TITLES = "async def main():\n    return [e['title'] for e in await tools['list_events'](calendar_id='work')]"

CASES = [
    Case(
        "unknown tool",
        ["async def main():\n    return await tools['list_event'](calendar_id='work')", GOOD_TITLES],
        ["Standup", "Review", "Lunch"],
        "list_events",
    ),
    Case(
        "unknown argument",
        ["async def main():\n    return await tools['list_events'](calendar='work')", GOOD_TITLES],
        ["Standup", "Review", "Lunch"],
        "calendar_id",
    ),
    Case(
        "missing argument",
        ["async def main():\n    return await tools['list_events']()", GOOD_TITLES],
        ["Standup", "Review", "Lunch"],
        "calendar_id",
    ),
    Case(
        "wrong literal",
        ["async def main():\n    return await tools['list_events'](calendar_id='office')", GOOD_TITLES],
        ["Standup", "Review", "Lunch"],
        "calendar_id",
    ),
    Case(
        "wrong key of a declared type",
        [
            f"async def main():\n    {MAIL}\n    r = await tools['list_events'](calendar_id='work')\n    return [e['name'] for e in r]"
        ]
        + [
            f"async def main():\n    {MAIL}\n    r = await tools['list_events'](calendar_id='work')\n    return [e['title'] for e in r]"
        ],
        ["Standup", "Review", "Lunch"],
        "name",
        ledger=[SENT],
    ),
    Case(
        "wrong key at run time, after an effect",
        [
            f"async def main():\n    {MAIL}\n    r = await tools['search'](query='tea')\n    return [x['title'] for x in r['results']]"
        ]
        + [
            f"async def main():\n    {MAIL}\n    r = await tools['search'](query='tea')\n    return [x['headline'] for x in r['results']]"
        ],
        ["tea 0", "tea 1", "tea 2"],
        "headline",
        ledger=[SENT],
    ),
    Case(
        "empty output through a wrong key",
        [f"async def main():\n    {MAIL}\n    r = await tools['search'](query='tea')\n    return r.get('items', [])"]
        + [f"async def main():\n    {MAIL}\n    r = await tools['search'](query='tea')\n    return len(r['results'])"],
        3,
        "returned data",
        ledger=[SENT],
    ),
    Case(
        "forgotten return",
        [f"async def main():\n    done = {MAIL}\n    print(done['id'])"]
        + [f"async def main():\n    done = {MAIL}\n    return done['id']"],
        "m1",
        "It printed",
        ledger=[SENT],
    ),
    Case(
        "tool error",
        [f"async def main():\n    {MAIL}\n    return await tools['send_mail'](to='bob', subject='yo')"]
        + [f"async def main():\n    {MAIL}\n    return await tools['send_mail'](to='bob@x.org', subject='yo')"],
        {"id": "m2", "to": "bob@x.org"},
        "not an address: bob",
        ledger=[SENT, ("send_mail", ("bob@x.org", "yo"))],
    ),
    Case(
        "failed effect tried again",
        [
            f"async def main():\n    {MAIL}\n    return await tools['unreliable'](key='k')",
            f"async def main():\n    {MAIL}\n    r = await tools['unreliable'](key='k')\n    return r",
        ],
        "booked k",
        "the booking server is busy",
        ledger=[SENT, ("unreliable", "k")],
    ),
    Case(
        "timeout after an effect",
        [f"async def main():\n    {MAIL}\n    return await tools['slow-report'](seconds=30)"]
        + [f"async def main():\n    {MAIL}\n    return await tools['slow-report'](seconds=0.01)"],
        "report",
        "did not end within",
        ledger=[SENT],
        timeout=0.8,
    ),
    Case(
        "endless loop after an effect",
        [
            f"async def main():\n    {MAIL}\n    n = 0\n    while True:\n        n += 1",
            f"async def main():\n    return ({MAIL})['to']",
        ],
        "ann@x.org",
        "TimeoutError",
        ledger=[SENT],
        limits=Limits(seconds=0.5),
    ),
    Case(
        "memory bomb after an effect",
        [
            f"async def main():\n    {MAIL}\n    return len('x' * 10**9)",
            f"async def main():\n    return ({MAIL})['to']",
        ],
        "ann@x.org",
        "MemoryError",
        ledger=[SENT],
    ),
    Case(
        "syntax error",
        ["async def main(:\n    return 1", GOOD_TITLES],
        ["Standup", "Review", "Lunch"],
        "syntax",
    ),
    Case(
        "a module that is not there",
        [f"import requests\nasync def main():\n    {MAIL}\n    return requests.get('https://x.org').json()"]
        + [f"async def main():\n    {MAIL}\n    return (await tools['search'](query='tea'))['page']"],
        1,
        "requests",
        ledger=[SENT],
    ),
    Case(
        "read, write, read again sees the write",
        [
            "async def main():\n    a = await tools['stock_of'](item='apple')\n    await tools['take'](item='apple', count=2)\n"
            "    b = await tools['stock_of'](item='apple')\n    return {'was': a, 'is': b, 'x': {}['x']}",
            "async def main():\n    await tools['take'](item='apple', count=2)\n"
            "    return await tools['stock_of'](item='apple')",
        ],
        1,
        "KeyError",
        ledger=[("take", ("apple", 2))],
    ),
    Case(
        "two genuine identical effects",
        [
            f"async def main():\n    {MAIL}\n    {MAIL}\n    return 1 / 0",
            f"async def main():\n    a = {MAIL}\n    b = {MAIL}\n    return [a['id'], b['id']]",
        ],
        ["m1", "m2"],
        "ZeroDivisionError",
        ledger=[SENT, SENT],
    ),
    Case(
        "no program in the answer",
        ["I am sorry, I can not do that.", GOOD_TITLES],
        ["Standup", "Review", "Lunch"],
        "program",
    ),
]


def make(case: Case, office: Office) -> tuple[CodeMode, ScriptedModel]:
    model = scripted(*case.programs)
    return codemode(tools=office.tools, code_model=model, timeout=case.timeout, limits=case.limits), model


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
async def test_a_wrong_program_is_repaired_and_no_effect_happens_twice(case: Case) -> None:
    office = Office()
    cm, model = make(case, office)
    async with cm:
        result = await cm.run(case.id)
    assert result["error"] is None
    assert result["success"]
    assert result["output"] == case.output
    assert office.ledger == case.ledger
    assert len(result["attempts"]) == 2
    assert case.told in model.prompts[1]
    assert result["metrics"]["retries"] == 1
    assert [call["attempt"] for call in result["metrics"]["llm_calls"]] == [1, 2]
