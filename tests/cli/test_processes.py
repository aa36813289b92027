"""The command as a process of its own: on a terminal, and stopped by Ctrl-C."""

import ast
import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import sys
import termios
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from codemode_graph.cli import _PLAIN
from tests.servers import ROOT, children, eventually, own_server
from tests.wire.server import Service

pytestmark = pytest.mark.slow

TOOLS = ["--tools", "tests.cli.mytools:sleep"]


@asynccontextmanager
async def command(*args: str, program: str, stderr: int = PIPE) -> AsyncIterator[Process]:
    """Run `codemode-graph` in a process group of its own, as a shell does; the model writes `program`."""
    with Service(f"```python\n{program}\n```") as service:
        env = {**os.environ, "OPENAI_API_KEY": service.key, "OPENAI_BASE_URL": service.url, "TERM": "xterm"}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "codemode_graph", *args),
            env=env,
            cwd=ROOT,
            stdout=PIPE,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def processes() -> set[int]:
    """All that run on this machine."""
    return {int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()}


async def read_until(process: Process, text: str) -> str:
    assert process.stderr is not None
    read = ""
    async with asyncio.timeout(60):
        while text not in read:
            chunk = await process.stderr.read(4096)
            assert chunk, read
            read += chunk.decode()
    return read


@pytest.mark.parametrize(
    ("sandbox", "number", "word"),
    [
        ("monty", signal.SIGINT, "interrupted"),
        ("restricted", signal.SIGINT, "interrupted"),
        ("monty", signal.SIGTERM, "terminated"),
        ("restricted", signal.SIGHUP, "terminated"),
    ],
)
async def test_a_signal_during_an_mcp_tool_leaves_nothing_behind(
    sandbox: str, number: int, word: str, tmp_path: Path
) -> None:
    config = tmp_path / "servers.json"
    config.write_text(json.dumps({"mcpServers": {"memory": own_server("memory")}}))
    flag = tmp_path / "called"
    program = f"await tools.count()\nawait tools.wait(name='x', flag={str(flag)!r})"
    others = children()
    args = ("run", "Wait", "--mcp", str(config), "--sandbox", sandbox, "--journal", str(tmp_path / "runs"))
    async with command(*args, program=program) as process:

        async def called() -> bool:
            return flag.exists()

        await eventually(called)  # what the terminal shows may come before the call begins
        left = children() - others - {process.pid}
        assert len(left) >= 2
        # A shell sends Ctrl-C to the whole group; who sends SIGTERM means the one process.
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        async with asyncio.timeout(60):
            stdout, stderr = await process.communicate()

    async def all_gone() -> bool:
        return not left & processes()

    await eventually(all_gone)
    printed = stderr.decode()
    assert process.returncode == 128 + number
    assert printed.endswith(f"{word}\n")
    assert "may have taken effect: wait" in printed
    assert re.search(r"Go on with it: codemode-graph resume \w+ --journal", printed)
    assert "Traceback" not in printed
    assert stdout == b""


async def test_what_took_effect_is_told_without_a_journal_too(tmp_path: Path) -> None:
    program = "await tools.fail_later('x')\nawait tools.sleep(seconds=100)"
    async with command("run", "Wait", "--tools", "tests.cli.mytools:LATER", "--no-journal", program=program) as process:
        await read_until(process, "fail_later has begun")
        os.kill(process.pid, signal.SIGTERM)
        async with asyncio.timeout(60):
            _, stderr = await process.communicate()
    assert process.returncode == 143
    assert "may have taken effect: fail_later" in stderr.decode()


async def test_sigterm_ends_the_servers_of_other_commands(tmp_path: Path) -> None:
    config = tmp_path / "servers.json"
    config.write_text(json.dumps({"mcpServers": {"mute": {"command": "sleep", "args": ["1000"]}}}))
    others = children()
    async with command("tools", "--mcp", str(config), program="") as process:

        def started() -> set[int]:
            return {pid for pid in children() - others if b"1000" in Path(f"/proc/{pid}/cmdline").read_bytes()}

        async def has_started() -> bool:
            return bool(started())

        await eventually(has_started)
        left = started()
        os.kill(process.pid, signal.SIGTERM)
        async with asyncio.timeout(60):
            _, stderr = await process.communicate()
    assert (process.returncode, stderr) == (143, b"terminated\n")
    assert not left & processes()


PRINTS = ["run", "Print", "--tools", "tests.cli.mytools:TOOLS", "--no-journal"]


@pytest.mark.parametrize(
    ("args", "redirect", "said"),
    [
        (["--json", "--quiet"], "> /dev/full", "codemode-graph: stdout cannot be written: No space left on device\n"),
        (["--quiet"], "> /dev/full", "codemode-graph: stdout cannot be written: No space left on device\n"),
        (["--json", "--quiet"], "| true", "codemode-graph: stdout cannot be written: Broken pipe\n"),
        (
            ["--html", "/dev/full", "--quiet"],
            "> /dev/null",
            "codemode-graph: --html /dev/full: No space left on device\n",
        ),
        (["--json", "--quiet"], ">&-", "codemode-graph: stdout cannot be written: it is closed\n"),
        ([], "2>&1 | true", ""),
        ([], "> /dev/full 2>&-", ""),
    ],
)
async def test_what_cannot_be_written_is_one_line(args: list[str], redirect: str, said: str) -> None:
    with Service("```python\nawait tools.add(a=1, b=2)\n'x' * 200_000\n```") as service:
        line = " ".join([sys.executable, "-m", "codemode_graph", *PRINTS, *args, redirect])
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"),
            env={**os.environ, "OPENAI_API_KEY": service.key, "OPENAI_BASE_URL": service.url},
            cwd=ROOT,
            stderr=PIPE,
        )
        _, stderr = await process.communicate()
    assert stderr.decode().replace("a tool may print\n", "") == said
    assert process.returncode == 3


@pytest.mark.parametrize("locale", ["C", "POSIX"])
async def test_a_plain_locale_gets_plain_text(locale: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("await tools.add(a=1, b=2)")
    tools, journal = ("--tools", "tests.cli.mytools:TOOLS"), ("--journal", str(tmp_path / "runs.sqlite"))
    program = ("--program", str(tmp_path / "program.py"))

    async def shown(*args: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "codemode_graph", *args),
            env={**os.environ, "LC_ALL": locale},
            cwd=ROOT,
            stdout=PIPE,
            stderr=STDOUT,
        )
        stdout, _ = await process.communicate()
        text = stdout.decode("ascii")
        assert "\\u" not in text
        return text

    assert "----" in await shown("tools", *tools)
    found = re.match(r"Run (\w+)\n", await shown("run", *program, *tools, *journal))
    assert found
    assert "====" in await shown("show", found[1], *journal)


def test_all_that_the_command_line_draws_with_has_a_plain_form() -> None:
    drawn = set()
    for path in [path for name in ("cli", "trace", "demo") for path in (ROOT / "codemode_graph" / name).glob("*.py")]:
        tree = ast.parse(path.read_text())
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs]
        drawn |= {letter for text in texts if isinstance(text, str) for letter in text if not letter.isascii()}
    # The bidirectional controls stand in a pattern; they are never drawn.
    assert {ord(letter) for letter in drawn if not "\u202a" <= letter <= "\u2069"} <= _PLAIN.keys()


BLOCKED = "await tools.block(seconds=100)"


async def test_ctrl_c_does_not_wait_for_a_function_in_its_thread() -> None:
    async with command("run", "Wait", "--tools", "tests.cli.mytools:block", program=BLOCKED) as process:
        await read_until(process, "block has begun")
        os.killpg(process.pid, signal.SIGINT)
        async with asyncio.timeout(60):
            _, stderr = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in stderr


async def test_a_function_that_goes_on_is_waited_for_until_ctrl_c() -> None:
    args = ("run", "Wait", "--tools", "tests.cli.mytools:block", "--timeout", "1", "--max-attempts", "1")
    async with command(*args, program=BLOCKED) as process:
        printed = await read_until(process, "Ctrl-C leaves without it\n")
        os.killpg(process.pid, signal.SIGINT)
        async with asyncio.timeout(60):
            _, stderr = await process.communicate()
    assert process.returncode == 130
    assert "No answer after 1 attempt" in printed
    assert stderr == b""


@pytest.mark.parametrize("columns", [80, 140])
async def test_a_terminal_shows_what_is_not_done_yet(columns: int) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, columns))
    program = f"long = {'word ' * 40!r}\nawait tools.sleep(seconds=1.2)\n'the answer'"
    async with command("run", "Sleep " * 30, *TOOLS, program=program, stderr=theirs) as process:
        os.close(theirs)
        shown = b""

        def read() -> bytes:
            try:
                return os.read(ours, 4096)
            except OSError:  # Linux's end of file of a terminal
                return b""

        while chunk := await asyncio.to_thread(read):
            shown += chunk
        assert process.stdout is not None
        assert await process.stdout.read() == b"the answer\n"
    os.close(ours)
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).replace("\r", "\n").split("\n")
    assert any(re.fullmatch(r"  … sleep\(seconds=1\.2\) \d+\.\d s", line) for line in lines)
    assert sum(bool(re.search(r"→ sleep\(seconds=1\.2\) \d+\.\d s", line)) for line in lines) == 1
    assert max(map(len, lines)) <= columns
    assert shown.count(b"\x1b[?25l") == shown.count(b"\x1b[?25h")  # the cursor is given back
