"""The packages import and run where the modules and names that only POSIX has do not exist, as on Windows."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from codemode_sandboxes import SANDBOXES

from tests.servers import ROOT
from tests.wire.server import Service

HERE = Path(__file__).parent
COMMAND = ROOT / "codemode_graph" / "__main__.py"


def without_posix(script: Path, *arguments: str | Path, status: int = 0, env: Mapping[str, str] | None = None) -> str:
    """Run a script in a Python without POSIX; return what it prints."""
    done = subprocess.run(
        # Files are read there in an encoding of the system's where none is named: that warns, and warnings are errors.
        [
            sys.executable,
            "-X",
            "warn_default_encoding",
            str(HERE / "without_posix.py"),
            str(script),
            *map(str, arguments),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stderr
    return done.stdout


def test_all_modules_but_those_of_guests_import() -> None:
    names = json.loads(without_posix(HERE / "everywhere.py", "modules"))
    assert {"codemode_graph.cli.app", "codemode_graph.mcp.stdio", "codemode_sandboxes.jail.nsjail"} < set(names)


@pytest.mark.slow
@pytest.mark.parametrize("event_loop", ["run", "notebook"])
def test_a_durable_run_on_monty_calls_a_server_over_stdio(event_loop: str, tmp_path: Path) -> None:
    arguments = (HERE / "everywhere.py", event_loop, tmp_path / "runs.sqlite")
    paid, npx = tmp_path / "paid", tmp_path / "npx.cmd"
    npx.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    npx.chmod(0o755)
    env = {"PAID": str(paid), "PATH": str(tmp_path)}
    if event_loop == "run":  # the process is killed after an effect, and another one goes on
        without_posix(*arguments, status=7, env={**env, "DIES": "yes"})
        assert paid.read_text() == "4\n"
    result = json.loads(without_posix(*arguments, env=env))
    server = result["output"].pop()
    assert result == {"success": True, "output": [1, [2, 3, 4], "paid 4", 100], "sandbox": "monty", "error": None}
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
    assert paid.read_text() == "4\n"


@pytest.mark.slow
def test_the_command_line_runs_and_keeps_its_runs(tmp_path: Path) -> None:
    with Service("```python\nreturn await tools.add(a=40, b=2)\n```") as service:
        env = {"OPENAI_API_KEY": service.key, "OPENAI_BASE_URL": service.url, "XDG_STATE_HOME": str(tmp_path)}
        assert "--help" in without_posix(COMMAND, "--help", env=env)
        page = tmp_path / "page.html"
        tools = ("--tools", "tests.cli.mytools:TOOLS")
        printed = without_posix(COMMAND, "run", "Add 40 and 2", *tools, "--html", page, "--json", env=env)
    assert json.loads(printed)["output"] == 42
    assert "Add 40 and 2" in page.read_text(encoding="utf-8")
    assert "Add 40 and 2" in without_posix(COMMAND, "runs", env=env)


def test_the_command_line_says_in_a_line_which_sandboxes_cannot_run() -> None:
    reports: list[dict[str, Any]] = json.loads(without_posix(COMMAND, "sandboxes", "--json"))
    here = {report["name"] for report in reports if report["available"]}
    assert here == {"monty"}
    reasons = {report["name"]: report["reason"] for report in reports if not report["available"]}
    assert reasons.keys() == SANDBOXES.keys() - here
    # Any platform may be a client of a Ray cluster, whose machines are others: nothing is started to find out.
    assert reasons.pop("ray") == "it starts a cluster"
    assert set(reasons.values()) == {"it needs Linux", "it does not run on Windows"}
    assert all("monty" in report["remedy"] for report in reports if report["name"] in reasons)
