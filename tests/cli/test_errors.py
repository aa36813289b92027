"""A mistake of the caller is one line on stderr that says so, and exit status 2: no traceback, no secret."""

import json
import re
import socket
from pathlib import Path

import codemode_sandboxes.registry
import pytest
from typer.testing import CliRunner, Result

from codemode_graph.cli.app import app
from tests.servers import own_server
from tests.wire.server import Service

SECRET = "sk-proj-secretSecret0123456789"
TOOLS = ["--tools", "tests.cli.mytools:TOOLS"]


def call(*args: str, key: str | None = SECRET, url: str = "http://127.0.0.1:9/v1") -> Result:
    return CliRunner().invoke(app, args, env={"OPENAI_API_KEY": key, "OPENAI_BASE_URL": url, "COLUMNS": "80"})


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = own_server("memory")
    files = {
        "missing-command.json": {"mcpServers": {"x": {"command": "no-such-command", "args": ["--token", SECRET]}}},
        "refused.json": {"mcpServers": {"far": {"url": f"http://127.0.0.1:9/mcp?token={SECRET}"}}},
        "dies.json": {
            "mcpServers": {"x": {"command": memory["command"], "args": ["-c", "raise SystemExit('no disk')"]}}
        },
        "empty.json": {"mcpServers": {}},
        "other.json": {"servers": {}},
    }
    for name, form in files.items():
        (tmp_path / name).write_text(json.dumps(form))
    (tmp_path / "undefined.py").write_text("import json\n\nX = nothing\n")
    (tmp_path / "unparsed.py").write_text("X = 1\ndef f(:\n")
    (tmp_path / "above.py").write_text("import undefined\n")
    (tmp_path / "broken.json").write_text('{\n"mcpServers": {')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(codemode_sandboxes.registry.SANDBOXES, "absent", "tests.cli.sandboxes:absent")


ERRORS: dict[str, tuple[list[str], str]] = {
    "no key": (["--model", "openai:gpt-5.2", *TOOLS], "it has no key: set the environment variable OPENAI_API_KEY"),
    "unknown provider": (["--model", "nosuch:model", *TOOLS], "no provider is named 'nosuch'; write it as"),
    "no provider": (["--model", "some-model", *TOOLS], "its provider is missing: write it as 'provider:model'"),
    "provider not installed": (["--model", "mistralai:large", *TOOLS], "pip install langchain-mistralai"),
    "unknown sandbox": (["--sandbox", "monti", *TOOLS], "no sandbox is named 'monti'; did you mean 'monty'?"),
    "sandbox not available": (["--sandbox", "absent", *TOOLS], "Install it with `make it-so`"),
    "no tools": ([], "give --mcp FILE, a JSON file of MCP servers, or --tools MODULE:NAME"),
    "no tools in a list": (["--tools", "tests.cli.mytools:EMPTY"], "there are no tools in tests.cli.mytools:EMPTY"),
    "no tools in a file": (["--mcp", "empty.json"], "there are no tools in empty.json"),
    "no such module": (["--tools", "nosuchmodule:TOOLS"], "No module named 'nosuchmodule'"),
    "no such attribute": (["--tools", "tests.cli.mytools:NOPE"], "has no NOPE; it has add, fail, sleep, block"),
    "no attribute": (["--tools", "tests.cli.mytools"], "--tools takes MODULE:NAME, such as mytools:TOOLS"),
    "a file for a module": (["--tools", "mytools.py:TOOLS"], "--tools takes MODULE:NAME, such as mytools:TOOLS"),
    "a module that raises": (["--tools", "tests.cli.raises:X"], "importing tests.cli.raises failed: RuntimeError"),
    "a name that is not there": (
        ["--tools", "undefined:X"],
        "NameError: name 'nothing' is not defined (undefined.py:3)",
    ),
    "a syntax error": (["--tools", "unparsed:X"], "SyntaxError: invalid syntax (unparsed.py:2)"),
    "an error below": (["--tools", "above:X"], "(undefined.py:3)"),
    "no model": (["--model", "openai:", *TOOLS], "has no name behind its provider: write it as 'openai:gpt-5.2'"),
    "azure": (["--model", "azure_openai:x", *TOOLS], "AZURE_OPENAI_API_KEY"),
    "a module that leaves": (["--tools", "tests.cli.leaves:X"], "failed: SystemExit: wrong arguments"),
    "no tool": (["--tools", "tests.cli.mytools:NUMBER"], "7 is no tool: a tool is a function"),
    "a journal nobody may write": (["--journal", "/proc/x/y", *TOOLS], "Give --journal FILE, or --no-journal to run"),
    "missing file": (["--mcp", "nosuch.json"], "nosuch.json: cannot be read: No such file or directory"),
    "a folder for a file": (["--mcp", "."], "cannot be read: Is a directory"),
    "malformed JSON": (["--mcp", "broken.json"], "broken.json:2:16: not JSON"),
    "JSON of another form": (["--mcp", "other.json"], 'expected {"mcpServers": {"name": {"command": ...}}}'),
    "MCP command not found": (["--mcp", "missing-command.json"], "there is no command 'no-such-command'; install it"),
    "MCP server that dies": (["--mcp", "dies.json"], "MCP server 'x' ended with exit status 1: no disk"),
    "MCP server that is not there": (["--mcp", "refused.json"], "is it running at http://127.0.0.1:9?"),
}


@pytest.mark.parametrize(("args", "message"), ERRORS.values(), ids=ERRORS)
def test_an_error_of_the_caller_is_one_line(args: list[str], message: str) -> None:
    result = call("run", "a task", *args, key=None if "OPENAI_API_KEY" in message else SECRET)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert re.fullmatch(r"codemode-graph: [^\n]+\n", result.stderr)
    assert message in result.stderr
    assert SECRET not in result.stderr


@pytest.mark.parametrize("quiet", [[], ["--quiet"], ["--json"]], ids=str)
@pytest.mark.parametrize(
    ("key", "model", "message"),
    [
        (SECRET, "openai:gpt-5.2", "Incorrect API key provided"),
        (None, "openai:no-such-model", "The model `no-such-model` does not exist"),
    ],
)
def test_what_the_model_s_service_refuses_is_told_once(
    key: str | None, model: str, message: str, quiet: list[str]
) -> None:
    with Service("never") as service:
        result = call("run", "a task", *TOOLS, "--model", model, *quiet, key=key or service.key, url=service.url)
    assert result.exit_code == 2
    assert result.stderr.count(message) == 1
    assert service.key not in result.output
    assert SECRET not in result.output
    assert "Traceback" not in result.output
    if quiet == ["--json"]:
        assert message in json.loads(result.stdout)["error"]
    else:
        assert result.stdout == ""


def test_a_service_that_is_not_there_is_told() -> None:
    result = call("run", "a task", *TOOLS)
    assert result.exit_code == 2
    assert "Connection error. (POST http://127.0.0.1:9/v1" in result.stderr


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"AZURE_OPENAI_API_KEY": "x" * 9}, "`OPENAI_API_VERSION` environment variable"),
        ({"AZURE_OPENAI_API_KEY": "x" * 9, "OPENAI_API_VERSION": "1"}, "`AZURE_OPENAI_ENDPOINT` environment variable"),
    ],
    ids=str,
)
def test_a_client_that_lacks_several_things_says_which(
    known: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_OPENAI_ENDPOINT", "OPENAI_API_VERSION", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in known.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, ["run", "x", *TOOLS, "--model", "azure_openai:x"])
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert said in result.stderr


def test_a_model_that_hangs_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        for bound in (["--model-timeout", "0.3"], ["--budget", "seconds=0.3"]):
            result = call("run", "a task", *TOOLS, *bound, "--quiet", url=url)
            assert (result.exit_code, result.stderr.count("did not answer within 0.3 seconds")) == (2, 1)


def test_the_providers_are_told_and_how_to_install_them() -> None:
    found = {each["provider"]: each for each in json.loads(call("providers", "--json").stdout)}
    assert found["openai"]["installed"]
    assert found["openai"]["version"]
    table = call("providers").stdout
    missing = [each for each in found.values() if not each["installed"]]
    assert all(each["package"] in table for each in missing)
    assert table.count("no: pip install") == len(missing)


@pytest.mark.parametrize(
    "args", [["run"], ["nosuch"], ["run", "x", "--max-attempts", "0"], ["run", "x", "--timeout", "soon"], ["--nosuch"]]
)
def test_wrong_usage_is_status_2(args: list[str]) -> None:
    result = call(*args)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr
    assert "Traceback" not in result.stderr
