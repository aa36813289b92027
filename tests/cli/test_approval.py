"""`run` asks the person at the terminal about calls that destroy; nobody there means that nothing is called."""

import asyncio
import io
import json
import os
import pty
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from codemode_graph import RunResult, Trace
from codemode_graph.cli import approval, run
from codemode_graph.cli.app import app
from codemode_graph.nodes.approve import read_decisions
from tests.cli import mytools
from tests.servers import ROOT

TOOLS = ["--tools", "tests.cli.mytools:BANK"]
PAY = """
results = []
for to in ('ann', 'bob'):
    try:
        results.append(await tools.pay(to=to, amount=5, note='x' * 300 + '\\x1b[2J'))
    except PermissionError as error:
        results.append(str(error))
results
"""


@pytest.fixture(autouse=True)
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "pay.py").write_text(PAY)
    monkeypatch.chdir(tmp_path)
    book: list[str] = []
    monkeypatch.setattr(mytools, "BOOK", book)
    return book


def call(*args: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, args, input=typed, env={"COLUMNS": "80", "CODEMODE_JOURNAL": "runs.sqlite"})


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (approval, run):
        monkeypatch.setattr(module, "can_ask", lambda: True)


@pytest.mark.usefixtures("terminal")
def test_a_person_decides_on_the_whole_call(book: list[str]) -> None:
    arguments = json.dumps({"to": "cem", "amount": 4, "note": ""})
    result = call(
        "run", "--program", "pay.py", *TOOLS, typed=f"what?\nedit {{\nedit {arguments}\nno, not him\nno enough\n"
    )
    assert json.loads(result.stdout) == ["paid cem 4", "the call of 'pay' was refused: enough"]
    assert book == ["cem 4"]
    assert r'"note": "' + "x" * 300 + r"\u001b[2J" in result.stderr.replace("\n", "")
    assert "\x1b" not in result.stderr
    assert "the arguments are not JSON" in result.stderr
    assert result.exit_code == 0


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(("go_on", "typed"), [([], "y\nyes\n"), (["--yes"], "")], ids=str)
def test_who_decides_later_resumes(book: list[str], go_on: list[str], typed: str) -> None:
    result = call("run", "--program", "pay.py", *TOOLS, "--quiet", typed="")
    found = re.search(r"codemode-graph resume (\w+) .*--decisions", result.stderr)
    assert found
    assert (result.exit_code, book) == (1, [])
    result = call("resume", found[1], *go_on, typed=typed)
    assert (json.loads(result.stdout), book) == (["paid ann 5", "paid bob 5"], ["ann 5", "bob 5"])


def test_without_a_terminal_a_call_that_destroys_is_not_made(book: list[str]) -> None:
    result = call("run", "--program", "pay.py", *TOOLS, typed="yes\nyes\n")
    assert (result.exit_code, result.stdout, book) == (1, "", [])
    assert "there is no terminal to ask in. --yes calls tools without asking." in " ".join(result.stderr.split())
    assert 'not called: pay {"to": "ann", "amount": 5' in result.stderr
    found = re.search(r"resume (\w+) .*--decisions '(.*)'\n", result.stderr)
    assert found
    result = call("resume", found[1], "--decisions", found[2])
    assert book == ["ann 5"]
    assert "took effect: pay" in result.stderr


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("typed", "decision"),
    [
        ("yes\ny\napprove\n", {"type": "approve"}),
        ("respond\n", {"type": "respond", "message": None}),
        ('respond {"id": 3}\n', {"type": "respond", "message": {"id": 3}}),
        ("respond it was paid\n", {"type": "respond", "message": "it was paid"}),
        ("no\n", {"type": "reject"}),
    ],
)
async def test_yes_is_no_answer_to_whether_a_call_took_effect(
    typed: str, decision: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    action = {"id": "1.1", "name": "pay", "args": {}, "description": "It was cut off.", "reason": "unknown"}
    review = {"action_name": "pay", "allowed_decisions": ["approve", "edit", "reject", "respond"]}
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    answer = await approval.TerminalApproval(yes=True)({"action_requests": [action], "review_configs": [review]})
    assert answer == {"decisions": [{"id": "1.1", **decision}]}
    asked = capsys.readouterr().err
    assert asked.count("answer with one of approve, edit, reject, respond") == typed.count("y\n") + typed.count("yes\n")
    assert "approve: it did not take effect, and is called now" in asked


@pytest.mark.parametrize(
    ("waits", "kinds"),
    [
        ({"reason": "approval"}, ["approve"]),
        ({"reason": "approval", "allowed": ["edit", "reject"]}, ["reject"]),
        ({"reason": "approval", "allowed": ["edit"]}, ["edit"]),
        ({"reason": "unknown", "allowed": ["respond", "reject"]}, ["respond", "reject"]),
        ({"reason": "unknown"}, ["respond", "approve", "reject"]),
    ],
    ids=str,
)
def test_the_commands_that_go_on_hold_answers_that_may_be_given(
    waits: Any, kinds: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    pending: Any = {"id": "1.1", "key": "k", "tool": "pay", "arguments": {"to": "it's"}, "line": 1, **waits}
    values = {"success": False, "error": "", "attempts": [{"number": 1}]}
    result = RunResult(values, Trace(pending=[pending]))
    with pytest.raises(typer.Exit):
        run.finish(result, run.Output(), resume="codemode-graph resume x --journal 'a b'")
    commands = [line for line in capsys.readouterr().err.splitlines() if "--decisions" in line]
    found = [json.loads(shlex.split(line.partition("codemode-graph ")[2])[-1]) for line in commands]
    assert [decision["type"] for (decision,) in found] == kinds
    for decisions in found:
        assert list(read_decisions([pending], decisions)) == ["k"]


@pytest.mark.parametrize("compare", [[], ["--compare"]], ids=str)
def test_yes_asks_nobody(book: list[str], compare: list[str]) -> None:
    result = call("run", "--program", "pay.py", *TOOLS, "--yes", "--auto", "monty", *compare)
    assert book == ["ann 5", "bob 5"]
    assert "waits for a person" not in result.stderr


def test_a_comparison_asks_too(book: list[str]) -> None:
    result = call("run", "--program", "pay.py", *TOOLS, "--compare", "--auto", "monty", "--json")
    assert "waits for a person" in json.loads(result.stdout)["sandboxes"][0]["error"]
    assert book == []


@pytest.mark.parametrize(
    ("pattern", "asked"),
    [("note", ["note", "note_2"]), ("effect:write", ["note", "note_2"]), ("n*", ["note", "note_2"])],
)
def test_a_policy_covers_tools_that_were_renamed(pattern: str, asked: list[str], tmp_path: Path) -> None:
    (tmp_path / "note.py").write_text("import asyncio\nawait asyncio.gather(tools.note('a'), tools.note_2('b'))")
    args = ("run", "--program", "note.py", "--tools", "tests.cli.mytools:TWICE", "--no-journal", "--approve", pattern)
    assert re.findall(r"not called: (\w+)", call(*args).stderr) == asked


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--yes", "--approve", "pay"], "leave one of them out"),
        (["--approve", "pya"], "did you mean 'pay'?"),
        (["--budget", "tokns=3"], "did you mean 'tokens'?"),
        (["--budget", "tokens=many"], "is no number"),
        (["--budget", "cost=1"], "needs --prices"),
        (["--budget", "calls", "--budget", "seconds=0"], "takes NAME=NUMBER"),
        (["--budget", "seconds=0"], "greater than 0"),
        (["--prices", "3"], "takes INPUT,OUTPUT"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(args: list[str], words: str, book: list[str]) -> None:
    result = call("run", "--program", "pay.py", *TOOLS, *args)
    assert (result.exit_code, len(result.stderr.splitlines()), book) == (2, 1, [])
    assert words in result.stderr


@pytest.mark.parametrize(
    "bound", [["--max-calls", "1"], ["--budget", "tool-calls=1"], ["--budget", "MAX_TOOL_CALLS=1"]]
)
def test_a_run_keeps_to_its_budget(bound: list[str], book: list[str]) -> None:
    result = call("run", "--program", "pay.py", *TOOLS, "--yes", *bound)
    assert (result.exit_code, book) == (1, ["ann 5"])
    assert "took effect: pay" in result.stderr


@pytest.mark.slow
async def test_on_a_real_terminal_it_asks_and_the_answer_is_typed(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "codemode_graph", "run", "--program", str(tmp_path / "pay.py"), *TOOLS, "--no-journal"),
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm"},
        stdin=theirs,
        stderr=theirs,
        stdout=asyncio.subprocess.PIPE,
    )
    os.close(theirs)
    for answer in (b"yes\n", b"no\n"):
        shown = b""
        while b"decides later)" not in shown:
            shown += await asyncio.to_thread(os.read, ours, 4096)
        os.write(ours, answer)
    asyncio.get_running_loop().add_reader(ours, lambda: os.read(ours, 4096))
    stdout, _ = await process.communicate()
    asyncio.get_running_loop().remove_reader(ours)
    os.close(ours)
    assert json.loads(stdout) == ["paid ann 5", "the call of 'pay' was refused"]
