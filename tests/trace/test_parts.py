"""Lines, differences, times, marks, values."""

import copy
import io
import json
import pickle
import re
from typing import Any

import pytest
from rich.console import Console

from codemode_graph import Prices, RunResult, Trace, codemode
from codemode_graph.trace.html import ValueRoom, diff_lines, highlight, render
from codemode_graph.trace.timeline import timeline
from codemode_graph.trace.words import describe_call, format_cost, format_seconds
from tests.trace.parsed import Page
from tests.trace.runs import PAYLOADS, eventful, hostile


@pytest.mark.parametrize(
    "program",
    ["a = 1\n\nb = '''x\ny'''\n", "", "\n\nx", "def f(:\n  '", "a\r\nb\rc", "é = '😀'  # ok", "x\x0cy\n"],
    ids=repr,
)
def test_highlighting_keeps_every_line_and_character(program: str) -> None:
    shown = [Page(f"<p>{render('code.html', code=line)}</p>").text for line in highlight(program)]
    whole = program.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").replace("\x0c", "\\x0c")
    assert "\n".join(shown) == whole


def test_a_difference_has_both_programs_in_it() -> None:
    lines = diff_lines("a\nB\nc\nd\n", "a\nb\nc\n")
    assert [(line.kind, line.number, line.code) for line in lines] == [
        ("same", 1, [("", "a")]),
        ("removed", None, [("", "b")]),
        ("added", 2, [("", "B")]),
        ("same", 3, [("", "c")]),
        ("added", 4, [("", "d")]),
    ]


@pytest.mark.parametrize(
    ("spans", "bars", "gaps"),
    [
        ([], [], []),
        ([(5, 0)], [(0, 0)], []),
        ([(10, 1), (10, 2), (11, 1)], [(0, 50), (0, 100), (50, 50)], []),
        ([(0, 1), (3601, 1)], [(0, 46), (54, 46)], [(46, 8, 3600)]),
        ([(3601, 1), (0, 1), (1.5, 0.5)], [(56.8, 43.2), (0, 43.2), (0, 0)], None),
    ],
    ids=str,
)
def test_calls_lie_side_by_side_in_time(spans: Any, bars: Any, gaps: Any) -> None:
    drawn = timeline(spans)
    assert all(0 <= bar.start <= 100 and 0 <= bar.width <= 100.001 for bar in drawn.bars)
    if gaps is not None:
        assert [(round(bar.start, 6), round(bar.width, 6)) for bar in drawn.bars] == bars
        assert [(gap.start, gap.width, gap.seconds) for gap in drawn.gaps] == gaps
    else:
        assert len(drawn.gaps) == 1
        assert drawn.bars[2].start > drawn.bars[1].width


@pytest.mark.parametrize(
    ("changes", "decision", "said"),
    [
        ({}, None, ("good", "done")),
        ({"attempt": 1}, None, ("journal", "journal, attempt 1")),
        ({"decision": "k"}, "approve", ("person", "approved")),
        ({"decision": "k"}, "edit", ("person", "approved with other arguments")),
        ({"decision": "k"}, "respond", ("person", "answered by a person")),
        ({"decision": "k"}, None, ("person", "approved")),
        ({"decision": "k", "status": "failed"}, "approve", ("bad", "approved, failed")),
        ({"decision": "k", "status": "denied"}, "reject", ("bad", "rejected")),
        ({"status": "unknown"}, None, ("bad", "outcome unknown")),
        ({"status": "interrupted"}, None, ("wait", "asks a person")),
        ({"error": {"type": "ValueError", "message": "x"}}, None, ("bad", "done, value not usable")),
    ],
    ids=str,
)
def test_what_became_of_a_call(changes: Any, decision: Any, said: Any) -> None:
    call: Any = {"attempt": 2, "status": "done", "error": None, **changes}
    attempt: Any = {"number": 2}
    assert describe_call(call, attempt, {} if decision is None else {"k": {"type": decision}}) == said


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([["c1", 80.0], ["c3", 120.0]], '[["c1", 80.0], ["c3", 120.0]]\n'),
        ({"a": ["x" * 50, "y" * 50]}, '{\n  "a": [\n    "' + "x" * 50 + '",\n    "' + "y" * 50 + '"\n  ]\n}\n'),
        ("two\nlines", "two\nlines"),
        (None, "null\n"),
        ({"codemode_reference": "h", "bytes": 1_500_000, "shape": "list of 3 int", "sample": "[1, …]"}, "1.5 MB, kept outside the state. list of 3 int[1, …]"),
    ],
    ids=str,
)  # fmt: skip
def test_values_are_laid_out(value: Any, text: str) -> None:
    assert shown(ValueRoom(), value) == text


def test_values_share_the_room_of_a_page() -> None:
    room = ValueRoom(5_000)
    texts = [shown(room, ["x" * 2_000]) for _ in range(4)]
    assert [("here a sample" in text) for text in texts] == [False, False, True, True]


def shown(room: ValueRoom, value: Any) -> str:
    return Page(render("value.html", shown=room.show(value))).text


def test_lengths_and_sums() -> None:
    assert [format_seconds(time) for time in (0.00012, 0.35, 1.26, 185, 7_500)] == [
        "0.1 ms",
        "350 ms",
        "1.3 s",
        "3 min 5 s",
        "2 h 5 min",
    ]
    assert [format_cost(cost) for cost in (12.5, 0.0042, 0.0000123)] == ["12.50", "0.0042", "1.2e-05"]


async def test_a_terminal_shows_it_too() -> None:
    waiting, ended = await eventful()
    text = str(ended)
    assert repr(ended) == text
    for text_part in (
        "ok · 3 attempts · ",
        "360 tokens · cost 0.0009",
        "✗ line 4: LookupError",
        "journal, attempt 2",
        "━",
        "rejected",
        "| orders: 3",
    ):
        assert text_part in text
    assert str(waiting).count("waits for approval") == 3
    assert max(map(len, text.splitlines())) <= 100
    console = Console(record=True, width=80, force_terminal=True, file=io.StringIO())
    console.print(ended)
    assert "Attempt 3" in console.export_text()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_many_calls_hide_nothing_that_matters(width: int) -> None:
    def call(number: int, tool: str, status: str, effect: str = "read") -> Any:
        return {
            "id": f"1.{number}", "attempt": 1, "tool": tool, "arguments": {"customer": f"customer-{number:03}"}, "key": "k",
            "effect": effect, "status": status, "value": None, "error": None, "line": 1, "started": number, "seconds": 1.0,
        }  # fmt: skip

    calls = [call(number, "look", "done") for number in range(300)]
    calls += [call(number, f"look_{number}", "done") for number in range(300, 350)]
    calls += [call(350, "remind", "failed", "write"), call(351, "pay", "unknown", "destructive")]
    attempt: Any = {
        "number": 1, "program": "x", "findings": [], "verdict": "error", "failure": None, "stdout": "", "sandbox": "monty",
        "seconds": 1.0, "calls": [call["id"] for call in calls],
    }  # fmt: skip
    waits: Any = {**calls[-1], "reason": "unknown"}
    console = Console(width=width, file=io.StringIO())
    console.print(Trace(attempts=[attempt], calls=calls, pending=[waits]))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert re.search(r"1\.0 +look × 300 .*\n", text)
    assert re.search(r"1\.350 +remind .* failed +━ +1\.0 s", text)
    assert re.search(r"1\.351 +pay ", text)
    assert "… 13 more calls" in " ".join(text.split())
    assert "(call 1.351) was cut off: a person has to say whether it took effect" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_nothing_moves_a_terminals_cursor(payload: str) -> None:
    assert not set("\x00\x1b\x07\u202e") & set(str(hostile(payload)))


async def test_a_result_is_a_dict_with_a_trace() -> None:
    async with codemode(tools=[], prices=Prices(input=1, output=1)) as cm:
        result = await cm.run_code("print('hello')\n6 * 7")
    assert isinstance(result, RunResult)
    assert isinstance(result, dict)
    keys = {"success", "output", "error", "program", "attempts", "tool_calls", "stdout", "metrics"}
    assert keys <= set(result)
    assert json.loads(json.dumps(result))["output"] == 42
    for copied in (copy.copy(result), copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert copied == result
        assert copied.trace == result.trace
    assert result.trace.output == 42
    assert result.trace.cost == 0
    assert "A program that was given" in result.trace.html()


def test_what_a_graph_gives_is_enough() -> None:
    state: Any = {"verdict": "ok", "output": 1, "error": None, "attempts": [], "tool_calls": [], "usage": []}
    assert "Answer" in Trace.from_state(state).html()
    assert Trace.from_state({}).html()  # type: ignore[typeddict-item]
