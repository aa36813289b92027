"""The command as a process of its own: on a terminal, and stopped by Ctrl-C."""

import asyncio
import contextlib
import json
import os
import pty
import re
import signal
import sys
import termios
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("sandbox", ["monty", "restricted"])
async def test_ctrl_c_during_an_mcp_tool_leaves_nothing_behind(sandbox: str, tmp_path: Path) -> None:
    config = tmp_path / "servers.json"
    config.write_text(json.dumps({"mcpServers": {"memory": own_server("memory")}}))
    program = "await tools.count()\nprint('waiting')\nawait tools.wait(name='x')"
    others = children()
    args = ("run", "Wait", "--mcp", str(config), "--sandbox", sandbox)
    async with command(*args, program=program) as process:
        printed = await read_until(process, "| waiting")
        left = children() - others - {process.pid}
        assert len(left) >= 2
        os.killpg(process.pid, signal.SIGINT)
        async with asyncio.timeout(60):
            stdout, stderr = await process.communicate()

    async def all_gone() -> bool:
        return not left & processes()

    await eventually(all_gone)
    printed += stderr.decode()
    assert process.returncode == 130
    assert printed.endswith("interrupted\n")
    assert "Traceback" not in printed
    assert stdout == b""


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
