"""Beside FastMCP 4, which needs mcp 2. The locked tests have mcp 1, so only scripts/test-mcp-2 runs this file."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from codemode_graph.errors import ToolCallError
from codemode_graph.mcp import MCPToolLoader
from codemode_graph.mcp_sdk import MAJOR
from tests.servers import ROOT, StdioParams, listening

fastmcp = pytest.importorskip("fastmcp", minversion="4")

SERVER = '''
import os, sys
from fastmcp import Context, FastMCP
server = FastMCP("books")

@server.tool(annotations={"readOnlyHint": True})
def total(numbers: list[float]) -> float:
    """Add numbers."""
    return sum(numbers)

@server.tool
def row(name: str | None) -> dict[str, object]:
    """Return a row."""
    if name == "none":
        raise ValueError("there is no such row")
    return {"name": name, "size": None}

@server.tool
def large() -> str:
    """Return more than a megabyte."""
    return "x" * (3 << 20)

if len(sys.argv) > 1:
    server.run("http", host="127.0.0.1", port=int(os.environ["PORT"]), show_banner=False)
else:
    server.run("stdio", show_banner=False)
'''


@pytest.fixture(params=["stdio", "http"])
async def loader(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MCPToolLoader]:
    (script := tmp_path / "books.py").write_text(SERVER)
    params = StdioParams(command=sys.executable, args=[str(script)], env={})
    async with MCPToolLoader() as loader:
        if request.param == "stdio":
            loader.add_stdio_server("books", **params)
            await loader.load()
            yield loader
        else:
            params["args"].append("http")
            async with listening(params, "/mcp") as server:
                loader.add_http_server("books", server.url)
                await loader.load()
                yield loader
                await loader.aclose()


async def test_a_server_of_fastmcp_is_loaded_and_called(loader: MCPToolLoader) -> None:
    assert MAJOR == 2
    tools = {tool.name: tool for tool in loader.tools}
    assert tools["total"].effect == "read"
    assert await tools["total"].call({"numbers": [1.5, 2]}, {}) == 3.5
    assert await tools["row"].call({"name": None}, {}) == {"name": None, "size": None}
    assert len(await tools["large"].call({}, {})) == 3 << 20
    with pytest.raises(ToolCallError, match="there is no such row"):
        await tools["row"].call({"name": "none"}, {})


@asynccontextmanager
async def client(transport: str, letters: Path, **options: Any) -> AsyncIterator[Any]:
    """A client of FastMCP at `codemode-graph serve`."""
    env = {**os.environ, "LETTERS": str(letters), "PYTHONPATH": str(ROOT)}
    args = ["-m", "codemode_graph", "serve", "--tools", "tests.serve.letters:TOOLS", "--approve", "send"]
    if transport == "stdio":
        stdio = fastmcp.client.transports.StdioTransport
        async with fastmcp.Client(stdio(sys.executable, args, env=env), **options) as found:
            yield found
    else:
        from tests.serve.test_serve import Letters, over_http

        async with (
            over_http(Letters(letters), "--approve", "send") as url,
            fastmcp.Client(url, auth="a-token-of-the-tests", **options) as found,
        ):
            yield found


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_client_of_fastmcp_runs_programs_and_approves_calls(transport: str, tmp_path: Path) -> None:
    asked: list[str] = []
    progress: list[str | None] = []

    async def decide(message: str, *_: Any) -> Any:
        asked.append(message)
        return {"decision": "approve"}

    async def follow(done: float, total: float | None, message: str | None) -> None:
        progress.append(message)

    letters = tmp_path / "letters"
    async with client(transport, letters, elicitation_handler=decide, progress_handler=follow) as found:
        assert [tool.name for tool in await found.list_tools()] == ["run_code"]
        answer = await found.call_tool("run_code", {"code": "1 + 1"})
        assert answer.structured_content["output"] == 2
        wrong = await found.call_tool("run_code", {"cod": "1"}, raise_on_error=False)
        assert wrong.is_error
        assert "Input validation error" in wrong.content[0].text
        answer = await found.call_tool("run_code", {"code": 'send(to="ann")'}, raise_on_error=False)
        assert not answer.is_error, answer
    assert letters.read_text() == "ann\n"
    assert len(asked) == 1
    assert any("send" in (message or "") for message in progress)
