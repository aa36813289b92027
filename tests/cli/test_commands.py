"""The output of the commands: the answer on stdout, all else on stderr."""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import codemode_sandboxes.registry
import pytest
from typer.testing import CliRunner, Result

from codemode_graph.api import DEFAULT_MODEL
from codemode_graph.cli.app import app
from tests.wire.server import Service

TOOLS = ["--tools", "tests.cli.mytools:TOOLS"]
WRONG = "```python\nawait tools.fail(reason='[red]wrong \\x1b[2J')\n```"
RIGHT = "```python\nprint('adding')\n{'sum': await tools.add(a=2, b=3), 'text': 'é😀'}\n```"


def call(*args: str, replies: tuple[str, ...] = ("never asked",)) -> Result:
    with Service(*replies) as service:
        env = {"OPENAI_API_KEY": service.key, "OPENAI_BASE_URL": service.url, "COLUMNS": "80"}
        return CliRunner().invoke(app, args, env=env)


def test_an_answer_goes_to_stdout_and_what_happens_to_stderr() -> None:
    result = call("run", "Add [them]", *TOOLS, replies=(WRONG, RIGHT))
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"sum": 5, "text": "é😀"}
    for line in [
        "Task Add [them]",
        "Attempt 1",
        r"   1 await tools.fail(reason='[red]wrong \x1b[2J')",
        "Attempt 2: repair",
        "  | adding",
        "a tool may print",
        "  ✗ line 1: this error ended the program",
        "  ✓ done",
    ]:
        assert result.stderr.count(f"{line}\n") == 1
    assert re.search(r"^  → add\(a=2, b=3\) [\d.]+ m?s$", result.stderr, re.MULTILINE)
    assert result.stderr.count(r"s ValueError: [red]wrong \x1b[2J") == 1
    assert "\x1b" not in result.stderr


def test_json_alone_is_on_stdout() -> None:
    result = call("run", "Add", *TOOLS, "--json", "--quiet", replies=(RIGHT,))
    found = json.loads(result.stdout)
    assert found["success"]
    assert found["output"]["sum"] == 5
    assert [each["tool"] for each in found["tool_calls"]] == ["add"]
    assert result.stderr == "a tool may print\n"


def test_a_run_may_declare_its_answer(tmp_path: Path) -> None:
    schema = tmp_path / "answer.json"
    schema.write_text('{"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]}')
    wrong = "```python\nawait tools.add(a=2, b=3)\n```"
    result = call("run", "Add", *TOOLS, "--returns", str(schema), replies=(wrong, RIGHT))
    assert json.loads(result.stdout)["sum"] == 5
    assert "the answer is" in result.stderr
    for text, words in (('{"type": 3}', "no JSON Schema"), ("[1]", "which is an object"), ("{", "it is no JSON")):
        schema.write_text(text)
        result = call("run", "Add", *TOOLS, "--returns", str(schema))
        assert (result.exit_code, words in result.stderr, "Attempt" in result.stderr) == (2, True, False)
    assert call("run", "Add", *TOOLS, "--returns", "/no/such").exit_code == 2


def test_a_run_can_be_written_as_a_page(tmp_path: Path) -> None:
    page = tmp_path / "run.html"
    result = call("run", "Add [them]", *TOOLS, "--html", str(page), replies=(WRONG, RIGHT))
    assert json.loads(result.stdout)["sum"] == 5
    assert f"The run is in {page}\n" in result.stderr
    text = page.read_text()
    assert "Add [them]" in text
    assert "Attempt 2" in text


@pytest.mark.parametrize("place", ["no/such/run.html", "."])
def test_a_page_that_cannot_be_written_is_told_before_anything_runs(place: str) -> None:
    result = call("run", "Add", *TOOLS, "--html", place)
    assert result.exit_code == 2
    assert "folder" in result.stderr


def test_a_text_is_printed_as_it_is() -> None:
    result = call("run", "Say", *TOOLS, "--quiet", replies=("```python\n'two\\n' + \"'lines'\"\n```",))
    assert result.stdout == "two\n'lines'\n"


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=str)
def test_a_run_without_an_answer_is_status_1(as_json: list[str]) -> None:
    result = call("run", "Fail", *TOOLS, "--max-attempts", "2", *as_json, replies=(WRONG, WRONG + "\n"))
    assert result.exit_code == 1
    assert result.stderr.endswith("No answer after 2 attempts\n")
    assert (json.loads(result.stdout)["success"] is False) if as_json else result.stdout == ""


def test_a_quiet_run_without_an_answer_says_why() -> None:
    result = call("run", "Fail", *TOOLS, "--max-attempts", "1", "--quiet", replies=(WRONG,))
    assert result.stderr == "No answer after 1 attempt: line 1: ValueError: [red]wrong \\x1b[2J\n"


def test_a_dict_names_its_tools() -> None:
    result = call("tools", "--tools", "tests.cli.mytools:NAMED", "--cards")
    assert re.search(r"^ ?plus +function +read +\d+ *$", result.stdout, re.MULTILINE)
    assert "tools['plus']" in result.stdout


def test_what_a_silent_tool_is_taken_for_is_told() -> None:
    result = call("tools", "--tools", "tests.cli.mytools:TOOLS")
    assert re.search(r"^ ?fail +function +write \(not declared\) +\d+ *$", result.stdout, re.MULTILINE)


def test_the_sandboxes_are_tried_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    places = codemode_sandboxes.registry.SANDBOXES
    for name in set(places) - {"monty"}:
        monkeypatch.delitem(places, name)
    for name in ("absent", "broken"):
        monkeypatch.setitem(places, name, f"tests.cli.sandboxes:{name}")
    found = {each["name"]: each for each in json.loads(call("sandboxes", "--json").stdout)}
    monty, absent = found["monty"], found["absent"]
    assert monty["available"]
    assert monty["boundary"] == "interpreter"
    assert {"time", "network"} <= set(monty["enforces"])
    assert monty["ready"] > 0
    assert monty["cold"] > 0
    assert (absent["available"], absent["remedy"]) == (False, "Install it with `make it-so`")
    assert "the guest died" in found["broken"]["reason"]
    table = call("sandboxes").stdout
    assert re.search(r"^ ?monty +Python .* interpreter +none +\d+\.\d +\d+\.\d *$", table, re.MULTILINE)
    assert "Each program runs in the cheapest that offers what it uses: auto" in table
    assert "absent is not available: there is no such thing here. Install it with `make it-so`" in table


def test_a_sandbox_that_starts_a_cluster_is_tried_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("CODEMODE_RAY_INNER", "monty")
    places = codemode_sandboxes.registry.SANDBOXES
    for name in set(places) - {"monty", "ray"}:
        monkeypatch.delitem(places, name)
    found = {each["name"]: each["available"] for each in json.loads(call("sandboxes", "--json").stdout)}
    assert found == {"monty": True, "ray": None}
    table = " ".join(call("sandboxes").stdout.split())
    assert "ray was not tried: it starts a cluster. `codemode-graph sandboxes ray` runs a program in it" in table
    assert [each["name"] for each in json.loads(call("sandboxes", "monty", "--json").stdout)] == ["monty"]
    monkeypatch.setenv("CODEMODE_RAY_HOSTS", "many")
    assert "CODEMODE_RAY_HOSTS is malformed" in json.loads(call("sandboxes", "ray", "--json").stdout)[0]["reason"]
    monkeypatch.setitem(places, "ray", "tests.cli.sandboxes:broken")  # asked for, it is tried
    found = {each["name"]: each["reason"] for each in json.loads(call("sandboxes", "ray", "--json").stdout)}
    assert list(found) == ["ray"]
    assert "the guest died" in found["ray"]
    unknown = call("sandboxes", "rai")
    assert (unknown.exit_code, "did you mean 'ray'" in unknown.stderr) == (2, True)


def test_the_versions_are_told() -> None:
    assert re.match(r"codemode-graph .+, codemode-sandboxes .+, Python 3\.\d+\.\d+\n", call("--version").stdout)


@pytest.mark.parametrize("command", [[], ["run"], ["tools"], ["sandboxes"], ["demo"]], ids=str)
def test_help_helps(command: list[str]) -> None:
    result = call(*command, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.stdout


@pytest.mark.parametrize("command", ["run", "resume", "show", "save", "eval", "serve", "build-image", "demo"])
def test_a_paragraph_of_a_help_text_fills_the_lines_of_the_terminal(command: str) -> None:
    lines = call(command, "--help").stdout.partition("╭")[0].splitlines()
    for line, following in itertools.pairwise(line.strip() for line in lines):
        if line and following:
            assert len(f" {line} {following.split()[0]} ") > 80, line


def test_the_model_in_the_help_is_the_one_that_is_used() -> None:
    assert f"[default: {DEFAULT_MODEL}]" in " ".join(call("run", "--help").stdout.replace("│", " ").split())


def test_help_does_not_wait_for_what_it_does_not_need() -> None:
    script = (
        "import sys, codemode_graph, codemode_graph.cli.app\n"
        "print(sorted({'langchain_core', 'langgraph', 'mcp', 'openai', 'pydantic', 'httpx'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_the_files_of_an_answer_are_written_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEMODE_JOURNAL", str(tmp_path / "runs.sqlite"))
    program = tmp_path / "draw.py"
    program.write_text(
        "[await tools.draw(name='../../a/plot.png?x=1'), await tools.draw(name='..'), await tools.draw(name='..')]"
    )
    run = ("run", "--tools", "tests.cli.mytools:DRAW", "--program", str(program))
    told = call(*run)
    (hint,) = re.findall(
        r"^The data of 2 files in the answer: codemode-graph (show .*) FOLDER$", told.stderr, re.MULTILINE
    )
    folder = tmp_path / "files"
    shown = call(*hint.split(), str(folder))
    assert shown.exit_code == 0, shown.output
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "plot.png": b"../../a/plot.png?x=1",
        "artifact.png": b"..",
    }
    (folder / "plot.png").write_text("mine")
    assert call(*run, "--artifacts", str(folder), "--quiet").exit_code == 0
    assert {path.name for path in folder.iterdir()} == {"plot.png", "plot-2.png", "artifact.png"}
    assert (folder / "plot.png").read_text() == "mine"
    assert "it is no folder" in call(*run, "--artifacts", str(program)).stderr
