"""The output of `Progress` and its terminal."""

import io

import pytest
from langgraph.config import get_stream_writer
from rich.console import Console
from rich.text import Text

from codemode_graph import codemode
from codemode_graph.events import CallFinishedEvent, CallStartedEvent, OutcomeEvent
from codemode_graph.state import Failure, ToolError, Verdict
from codemode_graph.trace.console import print_program, say, visible
from codemode_graph.trace.progress import Progress

STARTED = CallStartedEvent(type="call_started", id="1.1", tool="send", arguments={"to": "ann@x.org"}, line=1)


def ended(verdict: Verdict, *, kind: str, type: str, message: str, line: int | None) -> OutcomeEvent:
    failure = Failure(kind=kind, type=type, message=message, line=line, traceback="")
    return OutcomeEvent(type="outcome", verdict=verdict, error=failure)


def console(*, terminal: bool, width: int = 40) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, no_color=True, legacy_windows=False)


def written(to: Console) -> list[str]:
    assert isinstance(to.file, io.StringIO)
    return Text.from_ansi(to.file.getvalue()).plain.splitlines()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n😀", "plain\ttext\n😀"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("a\rb\x9b31m", r"a\rb\x9b31m"),
        ("\u202eevil\u2069", r"\u202eevil\u2069"),
    ],
)
def test_what_a_terminal_would_act_on_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_terminal_s_lines_are_broken_below_their_text() -> None:
    terminal, file = console(terminal=True), console(terminal=False)
    for to in (terminal, file):
        say(to, "one two three four five six seven eight nine", prefix="  ✓ ")
    assert [line.rstrip() for line in written(terminal)] == [
        "  ✓ one two three four five six seven",
        "    eight nine",
    ]
    assert written(file) == ["  ✓ one two three four five six seven eight nine"]


def test_a_program_keeps_its_shape() -> None:
    program = "def f():\n    return call(first='aaaaaaaa', second='bbbbbbbb')\n\n[x] # [bold]"
    terminal, file = console(terminal=True), console(terminal=False)
    for to in (terminal, file):
        print_program(to, program)
    assert written(file) == [f"{number:>4} {line}" for number, line in enumerate(program.split("\n"), 1)]
    lines = [line.rstrip() for line in written(terminal)]
    assert lines[1:3] == ["   2     return call(first='aaaaaaaa',", "             second='bbbbbbbb')"]
    assert all(len(line) <= 40 for line in lines)


def test_a_call_that_did_not_end_is_told() -> None:
    to = console(terminal=False, width=80)
    progress = Progress(to)
    progress.show(STARTED)
    progress.show(ended("exhausted", kind="timeout", type="TimeoutError", message="too late", line=None))
    assert written(to) == ['  → send(to="ann@x.org") was given up', "  ✗ TimeoutError: too late"]


def test_an_error_that_ends_the_program_is_told_once() -> None:
    to = console(terminal=False, width=80)
    progress = Progress(to)
    error = ToolError(type="ValueError", message="no such address")
    progress.show(
        CallFinishedEvent(
            type="call_finished",
            id="1.1",
            tool="send",
            arguments={"to": "ann@x.org"},
            status="failed",
            seconds=1.25,
            error=error,
        )
    )
    progress.show(ended("error", kind="program", **error, line=3))
    assert written(to) == [
        '  → send(to="ann@x.org") 1.2 s ValueError: no such address',
        "  ✗ line 3: this error ended the program",
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_left_on_a_terminal(terminal: bool) -> None:
    to = console(terminal=terminal, width=80)
    progress = Progress(to)
    progress.show({"type": "attempt", "number": 1})
    progress.show(STARTED)
    progress.stop()
    progress.stop()
    assert isinstance(to.file, io.StringIO)
    raw = to.file.getvalue()
    assert raw.count("\x1b[?25l") == raw.count("\x1b[?25h") == int(terminal)


async def test_what_tools_stream_of_their_own_is_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    async def look() -> int:
        """Look."""
        ours_but_for_what_is_in_it = [
            {"type": type} for type in ("attempt", "model", "check", "call_started", "outcome")
        ]
        for written in ("half way", 50, None, ["a"], {"type": ["line"]}, {"type": "line"}, *ours_but_for_what_is_in_it):
            get_stream_writer()(written)
        return 42

    async with codemode(tools=[look]) as cm:
        result = await cm.run_code("await tools.look()", verbose=True)
    assert result["output"] == 42
    assert "→ look()" in capsys.readouterr().err
