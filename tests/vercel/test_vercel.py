"""An agent of Vercel's AI SDK, the real `ai` package in node, with code mode as its tool."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from codemode_graph import codemode
from tests.serve.test_serve import COMMAND, ROOT, TOKEN, Letters, over_http
from tests.servers import installed
from tests.support import scripted

TURNS: list[Any] = [
    {"code": "r = await tools.send('ann')\n{}['x']"},
    {"code": "[(await tools.send(p['name']))['sent'] for p in await tools.people()]", "after": "RUN_ID"},
    "all written to",
]


async def agent(connection: dict[str, Any], turns: list[Any]) -> dict[str, Any]:
    """Run the agent; what it saw."""
    modules = installed("node")
    node = shutil.which("node")
    assert node is not None
    process = await asyncio.create_subprocess_exec(
        *(node, str(Path(__file__).with_name("agent.mjs")), str(modules), json.dumps(connection)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(json.dumps(turns).encode())
    assert process.returncode == 0, err.decode()
    seen: dict[str, Any] = json.loads(out)
    return seen


def check(seen: dict[str, Any], letters: Letters) -> None:
    assert (seen["text"], seen["tools"]) == ("all written to", ["run_code"])
    failed, done = [result["output"] for result in seen["results"] if result["type"] == "tool-result"]
    assert (failed["isError"], done["isError"]) == (True, False)
    assert "KeyError" in failed["content"][0]["text"]
    assert done["structuredContent"]["output"] == ["ann", "bob"]
    assert letters.sent == ["ann", "bob"], "the second program repeats no letter of the first"
    assert [message.split(" with ")[1] for message in seen["asked"]] == ['{"to": "ann"}.', '{"to": "bob"}.']


@pytest.mark.slow
async def test_an_agent_repairs_its_program_over_stdio(tmp_path: Path) -> None:
    letters = Letters(tmp_path / "letters")
    args = [*COMMAND, "--approve", "send"]
    env = {"LETTERS": str(letters.path), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    check(await agent({"command": sys.executable, "args": args, "env": env, "cwd": str(ROOT)}, TURNS), letters)


@pytest.mark.slow
async def test_an_agent_repairs_its_program_over_http(tmp_path: Path) -> None:
    letters = Letters(tmp_path / "letters")
    async with over_http(letters, "--approve", "send") as url:
        check(await agent({"url": url, "headers": {"Authorization": f"Bearer {TOKEN}"}}, TURNS), letters)


async def test_the_tool_as_the_sdk_has_it() -> None:
    async def people() -> list[str]:
        """List the people."""
        return ["ann", "bob"]

    async with codemode(
        tools=[people], code_model=scripted("print('looked')\nawait tools.people()", "1 / 0", "2 / 0", "3 / 0")
    ) as cm:
        tool = cm.as_vercel_tool()
        assert tool["inputSchema"] == tool["parameters"]
        assert tool["inputSchema"]["required"] == ["task"]
        assert "people" in tool["description"]
        assert await tool["execute"]({"task": "who is there?"}) == {
            "success": True,
            "output": ["ann", "bob"],
            "error": None,
            "warning": None,
            "stdout": "looked\n",
        }
        failed = await tool["execute"]({"task": "who is there?"})
        assert (failed["success"], failed["output"]) == (False, None)
        assert "ZeroDivisionError" in (failed["error"] or "")
        assert "task" in (await tool["execute"]({"tasks": 1}))["error"]
