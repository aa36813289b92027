"""`run --compare`: one program everywhere, and no tool called twice."""

import json
from pathlib import Path
from typing import Any

import codemode_sandboxes.registry
import pytest

from tests.cli.test_commands import TOOLS, call

PLACES = ("absent", "monty", "restricted")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    places = codemode_sandboxes.registry.SANDBOXES
    for name in set(places) - set(PLACES):
        monkeypatch.delitem(places, name)
    monkeypatch.setitem(places, "absent", "tests.cli.sandboxes:absent")


def compare(folder: Path, program: str, *args: str) -> tuple[int, dict[str, Any], dict[str, Any], str]:
    """The exit status, the comparison, its sides by name, and what was written to stderr."""
    (folder / "program.py").write_text(program)
    result = call("run", "--program", str(folder / "program.py"), *TOOLS, "--compare", "--json", *args)
    found = json.loads(result.stdout)
    return result.exit_code, found, {side["name"]: side for side in found["sandboxes"]}, result.stderr


def test_the_tools_are_called_once_and_all_give_the_same(tmp_path: Path) -> None:
    status, found, sides, stderr = compare(
        tmp_path,
        "values = [await tools.add(a=2, b=n) for n in range(2)]\ntry:\n    await tools.fail(reason='no')\n"
        "except ValueError as e:\n    values.append(str(e))\nvalues",
    )
    assert (status, found["agrees"]) == (0, True)
    assert [side["name"] for side in found["sandboxes"]] == ["monty", "restricted", "absent"]
    assert (sides["monty"]["calls"], sides["monty"]["output"]) == ("tools", [2, 3, "no"])
    assert (sides["restricted"]["calls"], sides["restricted"]["same"]) == ("journal", True)
    assert sides["restricted"]["seconds"] > 0
    assert stderr.count("a tool may print") == 2
    assert (sides["absent"]["available"], sides["absent"]["error"]) == (
        False,
        "there is no such thing here. Install it with `make it-so`",
    )


def test_another_value_is_told(tmp_path: Path) -> None:
    status, found, sides, _ = compare(tmp_path, "import sys\n[sys.version_info[:2]]")
    assert (status, found["agrees"], sides["restricted"]["same"]) == (1, False, False)
    assert sides["restricted"]["success"]


def test_a_call_that_the_first_did_not_make_reaches_no_tool(tmp_path: Path) -> None:
    status, _, sides, stderr = compare(tmp_path, "import sys\nawait tools.add(a=0, b=sys.version_info[1])")
    assert (status, sides["monty"]["success"]) == (1, True)
    assert "no tool is called twice" in sides["restricted"]["error"]
    assert stderr.count("a tool may print") == 1


def test_where_the_first_cannot_run_the_program_the_next_calls_the_tools(tmp_path: Path) -> None:
    status, _, sides, _ = compare(tmp_path, "def g():\n    yield 1\nlist(g()) + [await tools.add(a=1, b=1)]")
    assert "generator functions: not available" in sides["monty"]["error"]
    assert (sides["restricted"]["calls"], sides["restricted"]["output"]) == ("tools", [1, 2])
    assert status == 1


def test_a_tasks_program_is_compared_and_shown() -> None:
    result = call("run", "Add", *TOOLS, "--compare", "--quiet", replies=("```python\nawait tools.add(a=1, b=1)\n```",))
    assert result.exit_code == 0
    lines = [" ".join(line.split()[:4]) for line in result.stdout.splitlines()]
    assert any(line.startswith("monty tools value") for line in lines)
    assert any(line.startswith("restricted journal the same") for line in lines)
    assert "Value: 2" in result.stdout
    assert "absent is not available: there is no such thing here. Install it with `make it-so`" in result.stdout


def test_a_program_of_ones_own_needs_no_model(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text("await tools.add(a=1, b=2)")
    result = call("run", "--program", str(tmp_path / "p.py"), *TOOLS, "--auto", "monty", "--auto", "restricted")
    assert (result.exit_code, result.stdout) == (0, "3\n")
    assert "runs in monty" in result.stderr


def test_a_fallback_is_said_aloud(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text("1 + 1")
    args = ("run", "--program", str(tmp_path / "p.py"), *TOOLS, "--sandbox", "absent")
    result = call(*args, "--fallback", "monty")
    assert (result.exit_code, result.stdout) == (0, "2\n")
    assert "! absent cannot be used: there is no such thing here. Install it with `make it-so`" in result.stderr
    assert call(*args).exit_code == 2


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "there is nothing to do"),
        (["--program", "nowhere.py"], "--program nowhere.py: No such file or directory"),
        (["task", "--compare", "--html", "x.html"], "--html shows one run"),
        (["task", "--sandbox", "auto", "--fallback", "monty"], "leave fallback out"),
        (["task", "--fallback", "mony"], "did you mean 'monty'?"),
        (["task", "--sandbox", "restricted", "--auto", "monty"], "leave the other sandbox out"),
        (["task", "--package", "attrs"], "--package is for the sandboxes docker, pyodide and auto"),
        (["task", "--package", "attrs", "--auto", "monty", "--auto", "restricted"], "--package is for"),
    ],
)
def test_what_cannot_be_meant_is_refused(args: list[str], words: str) -> None:
    result = call("run", *args, *TOOLS)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
