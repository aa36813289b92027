"""The converter of benchmarks/oracle: programs from lists of right calls, on a small world of its own."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from codemode_sandboxes import create_sandbox

from benchmarks.oracle import account
from benchmarks.oracle.convert import Converted, convert
from benchmarks.oracle.derive import Sources, Step
from benchmarks.oracle.play import play, play_killed
from benchmarks.oracle.report import account_table, break_even, programs_table, sets_table
from benchmarks.oracle.suites import Case, ToolFacts, World

PEOPLE = [
    {"id": "u7", "name": "Ann Lee", "mail": "ann@example.org", "age": 31, "active": True},
    {"id": "u8", "name": "Bob Ray", "mail": "bob@example.org", "age": 64, "active": False},
    {"id": "u9", "name": "Cy Lee", "mail": "cy@example.org", "age": 12, "active": True},
]
STOCK = {
    "k1": {"colour": "red", "size": "S", "price": 1.5},
    "k2": {"colour": "blue", "size": "L", "price": 2.5},
    "k3": {"colour": "blue", "size": "S", "price": 3.5},
}


def sources(text: str, *values: Any) -> Sources:
    return Sources(text, [Step(f"r{number}", value) for number, value in enumerate(values, 1)])


@pytest.mark.parametrize(
    ("text", "values", "wanted", "expression", "origin"),
    [
        (
            "write to Bob",
            [PEOPLE],
            "bob@example.org",
            "[item for item in r1 if 'Bob' in item['name']][0]['mail']",
            "result",
        ),
        ("of u8", [PEOPLE], "u8", "'u8'", "task"),
        (
            "the oldest, who has the highest age",
            [PEOPLE],
            "u8",
            "sorted(r1, key=lambda item: -item['age'])[0]['id']",
            "result",
        ),
        ("anybody", [PEOPLE[:1]], "u7", "r1[0]['id']", "result"),
        ("all", [PEOPLE], ["u7", "u8", "u9"], "[item['id'] for item in r1]", "result"),
        ("the active ones", [PEOPLE], ["u7", "u9"], "[item['id'] for item in r1 if item['active']]", "result"),
        ("a blue one, size S", [STOCK], 3.5, None, "result"),
        ("the mail", ["Write to us: help@example.org, or call."], "help@example.org", None, "result"),
        ("how many", [PEOPLE], 3, "len(r1)", "result"),
        ("how much", ["Total due: 98.70"], 98.70, None, "result"),
        ("write a poem", [PEOPLE], "Roses are red", "'Roses are red'", "literal"),
        ("on 2026-11-29 at 12:00", [], "2026-11-29 12:00", "'2026-11-29 12:00'", "task"),
        ("the last", [PEOPLE, "u9"], "u9", "r2", "result"),
    ],
)
def test_a_value_is_found_where_it_comes_from(
    text: str, values: list[Any], wanted: Any, expression: str | None, origin: str
) -> None:
    known = sources(text, *values)
    found, where = known.find(wanted)
    assert where == origin, found
    assert known.evaluate(found) == wanted
    assert expression in (None, found)


class Club:
    """A small world: members, and the letters that they got."""

    tools: Sequence[ToolFacts] = [
        ToolFacts(name="list_people", description="", input_schema={"type": "object", "properties": {}}, effect="read"),
        ToolFacts(
            name="get_name",
            description="",
            input_schema={"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
            effect="read",
        ),
        ToolFacts(
            name="write_letter",
            description="",
            input_schema={"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]},
            effect="write",
        ),
    ]

    def __init__(self) -> None:
        self.letters: list[str] = []

    def call(self, name: str, arguments: dict[str, Any]) -> Any:
        if name == "list_people":
            return PEOPLE
        if name == "get_name":
            return {"name": next(each["name"] for each in PEOPLE if each["id"] == arguments["id"])}
        self.letters.append(arguments["to"])
        return {"letters": len(self.letters)}

    def is_solved(self, answer: str, calls: Sequence[tuple[str, dict[str, Any]]]) -> bool:
        return self.letters == ["Ann Lee", "Cy Lee"]


def case() -> tuple[Case, Converted]:
    actions: list[tuple[str, dict[str, Any]]] = [
        ("list_people", {}),
        ("get_name", {"id": "u7"}),
        ("get_name", {"id": "u9"}),
        ("write_letter", {"to": "Ann Lee"}),
        ("write_letter", {"to": "Cy Lee"}),
    ]

    def club() -> World:
        return Club()

    task = Case(suite="club", name="letters", text="Write to the active people.", actions=actions, answer="", open=club)
    return task, convert(task)


async def test_a_program_has_loops_and_values_of_calls() -> None:
    task, right = case()
    assert right.program.splitlines() == [
        "import asyncio",
        "r1 = await tools.list_people()",
        "r2 = await asyncio.gather(*[tools.get_name(id=item) for item in [item['id'] for item in r1 if item['active']]])",
        "for item in [item['name'] for item in r2]:",
        "    await tools.write_letter(to=item)",
        "'done'",
    ]
    assert (right.flows, right.loops, right.rounds) == (True, 2, [1, 2, 2, 3, 3])
    sandbox = create_sandbox("auto")
    found = await play(task, right, sandbox)
    await sandbox.aclose()
    assert found == {"error": None, "solved": True, "effects once": True, "sandbox": "monty"}


@pytest.mark.slow
def test_a_kill_at_any_call_repeats_no_effect(tmp_path: Path) -> None:
    task, right = case()
    for seed in range(6):
        folder = tmp_path / str(seed)
        folder.mkdir()
        found = play_killed(task, right, folder, random.Random(seed))
        assert found["killed"], found
        assert found["solved"], found
        assert found["effects once"], found


def test_the_tables_count() -> None:
    def spent(tokens: int) -> dict[str, int]:
        return {"tokens": tokens, "cost": 2 * tokens, "warm": tokens}

    good = {"solved": True, "effects once": True, "error": None}

    def task(calls: int, program: int) -> dict[str, Any]:
        return {
            "suite": "agentdojo slack",
            "name": str(calls),
            "calls": calls,
            "flows": calls > 1,
            "native": True,
            "origins": {"result": calls},
            "monty": good,
            "killed": {**good, "effects once": calls == 1},
            "tokens": {
                "sequential": spent(1000 * calls),
                "parallel": spent(500 * calls),
                "program": spent(program),
                "answered": spent(program),
                "repaired": spent(2 * program),
            },
        }

    results: dict[str, Any] = {
        "settings": {"sandboxes": ["monty"]},
        "tasks": [task(1, 1200), task(2, 900), task(6, 900)],
    }
    assert "| **agentdojo** | 3 | 3 | 2 | 3 | 1 of 3 | 0 | 9 | 9 · 0 · 0 |" in programs_table(results)
    assert "| 5 to 7 | 1 | 6,000 | 3,000 | 900 | 900 | 1,800 | 85% · 70% | 70% · 40% |" in account_table(results)
    assert "| 1 | 1 | 1,000 | 500 | 1,200 | 1,200 | 2,400 | −20% · −140% | −140% · −380% |" in account_table(results)
    lines = break_even(results).splitlines()
    assert lines[2] == "| One program against one call a turn | from 2 on | from 2 on | from 2 on |"
    assert lines[7] == "| A program and a repair against calls together | from 6 on | from 6 on | from 6 on |"
    assert "| agentdojo slack, tokens | 3 | 3.0 | 67% · 33% | 67% · 33% | 33% · −33% |" in sets_table(results)
    # A conversation of several turns is no task of so many calls.
    results["tasks"].append({**task(6, 90_000), "suite": "bfcl multi-turn", "turns": 3})
    assert "| 5 to 7 | 1 | 6,000 |" in account_table(results)
    assert "| bfcl multi-turn, tokens | 1 | 6.0 | −1400% · −2900% |" in sets_table(results)


async def test_the_account_counts_the_conversations_as_they_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "_tokenizer", lambda: len)  # the tokenizer is in the benchmark's environment
    task, right = case()
    sandbox = create_sandbox("auto")
    whole = await account.account(task, right, sandbox)
    said = [("Who is active?", 3), ("Thank you.", 0), ("Write to them.", 2)]
    turns = await account.account(replace(task, turns=said), right, sandbox)
    await sandbox.aclose()
    # Five calls and an answer, and an answer more for a further turn with calls.
    assert [each["sequential"]["requests"] for each in (whole, turns)] == [6, 7]
    assert [each["parallel"]["requests"] for each in (whole, turns)] == [4, 5]
    assert [each["program"]["requests"] for each in (whole, turns)] == [1, 2]
    assert [each["repaired"]["requests"] for each in (whole, turns)] == [2, 4]
    for each in (whole, turns):
        assert each["answered"]["requests"] == 2 * each["program"]["requests"]
        for way in ("sequential", "parallel", "program", "answered", "repaired"):
            found = each[way]
            assert 0 < found["shared"] < found["read"] - found["cached"]
            assert found["cost"] - found["warm"] == pytest.approx(0.9 * found["shared"])
    assert whole["program"]["cached"] == 0
    # The rules, the examples and the tools are the same in the next program's request, and so are the words before.
    assert turns["program"]["cached"] >= turns["program"]["shared"] + len("Who is active?")
    assert whole["repaired"]["cached"] > 0.5 * whole["repaired"]["shared"]
