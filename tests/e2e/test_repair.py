"""Fifteen tasks whose first program is wrong, each in its own way. Every one is repaired; no effect happens twice."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from codemode_sandboxes import Limits

from codemode_graph.api import CodeMode, codemode
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


def main(*lines: str) -> str:
    """A program of these lines."""
    return "\n".join(["async def main():", *(f"    {line}" for line in lines)])


SENT = ("send_mail", ("ann@x.org", "hi"))
GOOD_TITLES = main("return [e['title'] for e in await tools['list_events'](calendar_id='work')]")

CASES = [
    Case(
        "unknown tool",
        [main("return await tools['list_event'](calendar_id='work')"), GOOD_TITLES],
        ["Standup", "Review", "Lunch"],
        "list_events",
    ),
    Case(
        "unknown argument",
        [main("return await tools['list_events'](calendar='work')"), GOOD_TITLES],
        ["Standup", "Review", "Lunch"],
        "calendar_id",
    ),
    Case(
        "missing argument",
        [main("return await tools['list_events']()"), GOOD_TITLES],
        ["Standup", "Review", "Lunch"],
        "calendar_id",
    ),
    Case(
        "wrong literal",
        [main("return await tools['list_events'](calendar_id='office')"), GOOD_TITLES],
        ["Standup", "Review", "Lunch"],
        "calendar_id",
    ),
    Case(
        "wrong key of a declared type",
        [
            main(MAIL, "r = await tools['list_events'](calendar_id='work')", "return [e['name'] for e in r]"),
            main(MAIL, "r = await tools['list_events'](calendar_id='work')", "return [e['title'] for e in r]"),
        ],
        ["Standup", "Review", "Lunch"],
        "name",
        ledger=[SENT],
    ),
    Case(
        "wrong key at run time, after an effect",
        [
            main(MAIL, "r = await tools['search'](query='tea')", "return [x['title'] for x in r['results']]"),
            main(MAIL, "r = await tools['search'](query='tea')", "return [x['headline'] for x in r['results']]"),
        ],
        ["tea 0", "tea 1", "tea 2"],
        "headline",
        ledger=[SENT],
    ),
    Case(
        "empty output through a wrong key",
        [
            main(MAIL, "r = await tools['search'](query='tea')", "return r.get('items', [])"),
            main(MAIL, "r = await tools['search'](query='tea')", "return len(r['results'])"),
        ],
        3,
        "returned data",
        ledger=[SENT],
    ),
    Case(
        "forgotten return",
        [main(f"done = {MAIL}", "print(done['id'])"), main(f"done = {MAIL}", "return done['id']")],
        "m1",
        "It printed",
        ledger=[SENT],
    ),
    Case(
        "tool error",
        [
            main(MAIL, "return await tools['send_mail'](to='bob', subject='yo')"),
            main(MAIL, "return await tools['send_mail'](to='bob@x.org', subject='yo')"),
        ],
        {"id": "m2", "to": "bob@x.org"},
        "not an address: bob",
        ledger=[SENT, ("send_mail", ("bob@x.org", "yo"))],
    ),
    Case(
        "failed effect tried again",
        [
            main(MAIL, "return await tools['unreliable'](key='k')"),
            main(MAIL, "r = await tools['unreliable'](key='k')", "return r"),
        ],
        "booked k",
        "the booking server is busy",
        ledger=[SENT, ("unreliable", "k")],
    ),
    Case(
        "timeout after an effect",
        [
            main(MAIL, "return await tools['slow-report'](seconds=30)"),
            main(MAIL, "return await tools['slow-report'](seconds=0.01)"),
        ],
        "report",
        "did not end within",
        ledger=[SENT],
        timeout=2.0,
    ),
    Case(
        "endless loop after an effect",
        [
            main(MAIL, "n = 0", "while True:", "    n += 1"),
            main(f"return ({MAIL})['to']"),
        ],
        "ann@x.org",
        "TimeoutError",
        ledger=[SENT],
        limits=Limits(seconds=0.5),
    ),
    Case(
        "memory bomb after an effect",
        [
            main(MAIL, "return len('x' * 10**9)"),
            main(f"return ({MAIL})['to']"),
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
        [
            "import requests\n" + main(MAIL, "return requests.get('https://x.org').json()"),
            main(MAIL, "return (await tools['search'](query='tea'))['page']"),
        ],
        1,
        "requests",
        ledger=[SENT],
    ),
    Case(
        "read, write, read again sees the write",
        [
            main(
                "a = await tools['stock_of'](item='apple')",
                "await tools['take'](item='apple', count=2)",
                "b = await tools['stock_of'](item='apple')",
                "return {'was': a, 'is': b, 'x': {}['x']}",
            ),
            main("await tools['take'](item='apple', count=2)", "return await tools['stock_of'](item='apple')"),
        ],
        1,
        "KeyError",
        ledger=[("take", ("apple", 2))],
    ),
    Case(
        "two genuine identical effects",
        [
            main(MAIL, MAIL, "return 1 / 0"),
            main(f"a = {MAIL}", f"b = {MAIL}", "return [a['id'], b['id']]"),
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
