"""A file of tasks: what it may hold, what its runs are judged by, and what the command and LangSmith make of them."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from langchain_core.messages import BaseMessage
from langsmith import Client, aevaluate, tracing_context
from typer.testing import CliRunner, Result

from codemode_graph import ToolPolicy, codemode
from codemode_graph.cli.app import app
from codemode_graph.errors import ConfigurationError
from codemode_graph.evaluation import (
    EVALUATORS,
    Effect,
    bounds,
    evaluate,
    examples,
    load_tasks,
    report_page,
    target,
)
from codemode_graph.evaluation.judge import equal, match_effects
from tests.evaluation import shop
from tests.support import scripted
from tests.wire.server import Service

SHOP = "tests.evaluation.shop"
TOTAL = "sum((await tools.list_owed()).values())"
ASKED = {"effect:destructive": ToolPolicy(approval=True)}
REMIND = (
    "for name, owed in (await tools.list_owed()).items():\n    await tools.remind(customer=name, amount=owed)\n'done'"
)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tasks.yaml"
    path.write_text(text)
    return path


def one(fields: str) -> str:
    return f"setup: {SHOP}:reset\ntasks:\n  - name: it\n    task: Do it.\n" + re.sub(
        "^", "    ", fields, flags=re.MULTILINE
    )


async def outcome(tmp_path: Path, fields: str, *replies: str) -> tuple[str, str]:
    tasks = load_tasks(write(tmp_path, one(fields)))
    async with codemode(tools=shop.TOOLS, code_model=scripted(*replies), policies=ASKED) as cm:
        (found,) = (await evaluate(tasks, cm)).outcomes
    return found.judgement.outcome, found.judgement.reason


@pytest.mark.parametrize(
    ("fields", "replies", "word", "reason"),
    [
        ("expected: 137", [TOTAL], "solved", ""),
        ("expected: 137", ["1 / 0", TOTAL], "repaired", ""),
        ("expected: 136.99", [TOTAL], "silently wrong", "the answer is 137.0, not 136.99"),
        ("expected: 136.99\ntolerance: 0.01", [TOTAL], "solved", ""),
        ("expected: 137", ["1 / 0", "2 / 0", "3 / 0"], "failed", "ZeroDivisionError"),
        ("expected: [b, a]", ["await tools.list_owed()\n['a', 'b']"], "silently wrong", "the answer"),
        ("expected: [b, a]\nunordered: true", ["await tools.list_owed()\n['a', 'b']"], "solved", ""),
        (f"check: {SHOP}:is_total", [TOTAL], "solved", ""),
        (f"check: {SHOP}:is_total", ["await tools.list_owed()\n1"], "silently wrong", "is_total says"),
        (f"check: {SHOP}:calls_once", [TOTAL], "solved", ""),
        (f"check: {SHOP}:calls_once", [f"await tools.list_owed()\n{TOTAL}"], "silently wrong", "2 calls"),
        (f"check: {SHOP}:asserts", ["await tools.list_owed()\n1"], "silently wrong", "1 is not the total"),
        (f"check: {SHOP}:forgets", [TOTAL], "not judged", "it returned None"),
        ("effects: []", [TOTAL], "solved", ""),
        ("effects: []", [REMIND], "silently wrong", "unexpected: remind(customer='Ann', amount=125.0), remind("),
        ("effects:\n- remind: {customer: Bob}\n- remind: {amount: 125}", [REMIND], "solved", ""),
        ("effects:\n- remind:\n- remind:\n- remind:", [REMIND], "silently wrong", "missing: remind()"),
        (
            "effects:\n- remind: {customer: Ann}\n- remind: {customer: Bob}",
            [f"{REMIND}\n{REMIND}"],
            "silently wrong",
            "repeated: ",
        ),
        ("expected: 1\neffects: []", [f"{REMIND}\n1"], "silently wrong", "unexpected"),
        (
            "effects: [forget: {customer: Bob}]",
            ["await tools.forget(customer='Bob')\n1"],
            "failed",
            "waits for a person",
        ),
        (f"setup: {SHOP}:broken\nexpected: 1", [TOTAL], "not judged", "setup tests.evaluation.shop:broken: OSError"),
        (f"setup: {{'{SHOP}:reset': {{extra: 3}}}}\nexpected: 140", [TOTAL], "solved", ""),
        (f"setup: ['{SHOP}:reset_later']\nexpected: 137", [TOTAL], "solved", ""),
        (
            "expected: {total: 137}\nreturns: {type: object, required: [total]}",
            [TOTAL, f"{{'total': {TOTAL}}}"],
            "repaired",
            "",
        ),
    ],
)
async def test_a_run_is_judged(tmp_path: Path, fields: str, replies: list[str], word: str, reason: str) -> None:
    found = await outcome(tmp_path, fields, *replies)
    assert found[0] == word, found
    assert reason in found[1]
    assert bool(found[1]) == (word not in ("solved", "repaired"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tasks: []", "at least 1 item"),
        ("tasks: [{name: a, task: b}]", "nothing says what is right"),
        ("tasks: [{name: a, task: b, expect: 1}]", "task 'a': expect: Extra inputs"),
        ("tasks: [{name: a, task: b, expected: 1}, {name: a, task: c, expected: 1}]", "several tasks named 'a'"),
        ("tasks: [{name: a, task: b, expected: 1, expected: 2}]", "'expected' stands there twice"),
        ("tasks: [{name: a, task: b, effects: [{x: {}, y: {}}]}]", "an effect is one tool"),
        ("tasks: [{name: a, task: b, effects: [pay]}]", "effects.0"),
        (f"tasks: [{{name: a, task: b, check: '{SHOP}:no_such'}}]", "no_such cannot be imported"),
        (f"tasks: [{{name: a, task: b, check: '{SHOP}:NO_FUNCTION'}}]", "is not a function"),
        ("tasks: [{name: a, task: b, expected: 1, returns: {type: 3}}]", "no JSON Schema"),
        ("tasks: [{name: a, task: b, expected: !!binary aGk=}]", "expected is no JSON value"),
        ("tasks: [{name: a, task: b, expected: &a [*a]}]", "expected is no JSON value"),
        ("tasks: [{name: a, task: b, effects: [{pay: {to: !!set {x}}}]}]", "effects is no JSON value"),
        ("tasks: {", "it is no YAML"),
        ("- 1", "valid dictionary"),
    ],
)
def test_a_wrong_file_is_refused_before_anything_runs(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        load_tasks(write(tmp_path, text))


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        ("remid: {customer: Ann}", "did you mean 'remind'?"),
        ("remind: {costumer: Ann}", "did you mean 'customer'?"),
        ("list_owed: {}", "a tool that only reads"),
    ],
)
async def test_an_effect_that_no_run_can_have_is_refused_before_any_runs(
    tmp_path: Path, effect: str, words: str
) -> None:
    model = scripted("'never'")
    async with codemode(tools=shop.TOOLS, code_model=model) as cm:
        with pytest.raises(ConfigurationError, match=re.escape(words)):
            await evaluate(load_tasks(write(tmp_path, one(f"effects: [{{{effect}}}]"))), cm)
    assert model.asked == []


async def test_what_a_policy_redacts_is_compared_as_a_mask_and_shown_nowhere(tmp_path: Path) -> None:
    fields = "effects: [{remind: {customer: Ann, note: hunter2}}, {remind: {customer: Bob, note: hunter2}}]"
    model = scripted("note = 'hunter' + '2'\nawait tools.remind(customer='Ann', amount=1, note=note)\n'done'")
    policies = {"remind": ToolPolicy(redact=frozenset({"note"}))}
    async with codemode(tools=shop.TOOLS, code_model=model, policies=policies) as cm:
        found = await evaluate(load_tasks(write(tmp_path, one(fields))), cm)
    [outcome] = found.outcomes
    assert outcome.judgement.missing == (Effect(tool="remind", arguments={"customer": "Bob", "note": "[redacted]"}),)
    assert outcome.judgement.unexpected == ()
    assert "hunter2" not in json.dumps(found.to_json()) + report_page(found, title="tasks.yaml")


@pytest.mark.parametrize("fields", ["setup: {}\nexpected: 137", "check: {}"])
@pytest.mark.parametrize("function", ["leaves", "hangs", "hangs_later"])
async def test_a_function_of_the_file_neither_ends_nor_holds_up_the_evaluation(
    tmp_path: Path, fields: str, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "FUNCTION_SECONDS", 0.2)
    text = one(fields.format(f"{SHOP}:{function}"))
    text += "\n  - {name: next, task: Do it., expected: 137}"
    async with codemode(tools=shop.TOOLS, code_model=scripted(TOTAL)) as cm:
        found = await evaluate(load_tasks(write(tmp_path, text)), cm)
    assert [each.judgement.outcome for each in found.outcomes] == ["not judged", "solved"]
    assert ("SystemExit" if function == "leaves" else "did not end within 0.2") in found.outcomes[0].judgement.reason


def test_plain_words_stay_what_a_program_would_return(tmp_path: Path) -> None:
    values = "[12:30, no, 2026-11-29, 0123, 1e3, 1.5, -2, true, null, ~, , 0x1F, .inf, on, '1', 1_000]"
    (task,) = load_tasks(
        write(tmp_path, f"tasks: [{{name: a, task: b, expected: {values.replace(', ,', ', ~,')}}}]")
    ).tasks
    expected = [
        "12:30",
        "no",
        "2026-11-29",
        123,
        1000.0,
        1.5,
        -2,
        True,
        None,
        None,
        None,
        31,
        float("inf"),
        "on",
        "1",
        "1_000",
    ]
    assert task.expected == expected
    assert [type(each) for each in task.expected] == [type(each) for each in expected]


@pytest.mark.parametrize(
    ("expected", "value", "same"),
    [
        (True, 1, False),
        (1, True, False),
        (45, 45.0, True),
        (0.3, 0.1 + 0.2, True),
        ("1", 1, False),
        ({"a": [1, {"b": 2.0}]}, {"a": [1, {"b": 2}]}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1, 2], [2, 3], False),
        (None, 0, False),
        (None, None, True),
        (float("nan"), float("nan"), True),
        (2**70, 2**70 + 1, False),
    ],
)
def test_values_are_compared(expected: Any, value: Any, same: bool) -> None:
    assert equal(expected, value) is same
    assert equal([expected, "x"], ["x", value], unordered=True) is same


def test_a_long_list_in_another_order_is_the_same() -> None:
    assert equal([1, *range(1500), 1], [*reversed(range(1500)), 1, 1], unordered=True)


def test_an_open_effect_leaves_the_only_one_to_another() -> None:
    made = [Effect(tool="pay", arguments={"to": "Ann"}), Effect(tool="pay", arguments={"to": "Bob"})]
    assert match_effects([{"pay": None}, {"pay": {"to": "Ann"}}], made) == ((), (), ())
    assert match_effects([{"pay": {"to": "Ann"}}], made) == ((), (), (made[1],))
    assert match_effects([{"pay": {"to": "Bob"}}], [made[1], made[1]]) == ((), (made[1],), ())
    assert match_effects(None, made) == ((), (), ())


FILE = f"""
tools: {SHOP}:TOOLS
setup: {SHOP}:reset
tasks:
  - {{name: total <b>, task: 'What is owed?', expected: 137}}
  - name: reminders
    task: Remind all.
    effects: [remind: {{customer: Ann, amount: 125}}, remind: {{customer: Bob}}]
"""


def call(*args: str, replies: tuple[str, ...]) -> Result:
    with Service(*(f"```python\n{reply}\n```" for reply in replies)) as service:
        env = {"OPENAI_API_KEY": service.key, "OPENAI_BASE_URL": service.url, "COLUMNS": "160"}
        return CliRunner().invoke(app, ["eval", *args], env=env)


def test_the_command_counts_and_writes_a_report(tmp_path: Path) -> None:
    path, page = write(tmp_path, FILE), tmp_path / "report.html"
    done = call(str(path), "--html", str(page), replies=("1", REMIND))
    assert done.exit_code == 1, done.output
    assert "1 solved, 0 repaired, 1 silently wrong, 0 failed, 0 not judged" in done.stdout
    assert "✗ total <b>: silently wrong" in done.stderr
    text = page.read_text()
    assert "total &lt;b&gt;" in text
    assert "<b>:" not in text
    for link in re.findall(r'href="([^"]+)"', text):
        assert "What is owed?" in (tmp_path / link).read_text() or "Remind all." in (tmp_path / link).read_text()
    assert len(list((tmp_path / "report-runs").iterdir())) == 2


def test_the_command_prints_json_and_takes_some_tasks(tmp_path: Path) -> None:
    done = call(
        str(write(tmp_path, FILE)), "--only", "reminders", "--repeat", "2", "--json", "--quiet", replies=(REMIND,) * 2
    )
    found = json.loads(done.stdout)
    assert done.exit_code == 0
    assert found["counts"]["solved"] == 2
    assert [(each["name"], each["run"], len(each["effects"])) for each in found["tasks"]] == [
        ("reminders", 1, 2),
        ("reminders", 2, 2),
    ]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--only", "reminder"], "reminders"),
        (["--html", "/no/such/report.html"], "no folder"),
        (["--tools", "no_such:X"], "no_such"),
    ],
)
def test_the_command_refuses_what_cannot_be_done(tmp_path: Path, args: list[str], words: str) -> None:
    done = call(str(write(tmp_path, FILE)), *args, replies=("never asked",))
    assert (done.exit_code, words in done.stderr) == (2, True), done.stderr


def test_the_report_does_not_replace_the_tasks(tmp_path: Path) -> None:
    path = write(tmp_path, FILE)
    done = call(str(path), "--html", str(tmp_path / "." / path.name), replies=("never asked",))
    assert done.exit_code == 2
    assert path.read_text() == FILE


async def test_langsmith_evaluates_the_same_tasks(tmp_path: Path) -> None:
    tasks = load_tasks(write(tmp_path, FILE))

    def reply(messages: Sequence[BaseMessage]) -> str:
        # LangSmith promises no order: what it begins first depends on its threads.
        return f"```python\n{TOTAL if tasks.tasks[0].task in messages[-1].text else REMIND}\n```"

    client = Client(session=MagicMock(), info={}, auto_batch_tracing=False)
    async with codemode(tools=shop.TOOLS, code_model=scripted(reply)) as cm:
        with tracing_context(enabled=False):
            found = await aevaluate(
                target(tasks, cm),
                data=examples(tasks),
                evaluators=EVALUATORS,
                upload_results=False,
                client=client,
                max_concurrency=4,
            )
            rows = [row async for row in found]
    assert len(rows) == 2
    for row in rows:
        scores = {each.key: each.score for each in row["evaluation_results"]["results"]}
        assert scores == {"solved": True, "solved_first": True, "silently_wrong": False, "wrong_effects": 0}
    assert examples(tasks)[0].id == examples(load_tasks(tmp_path / "tasks.yaml"))[0].id
