"""Servers that are not ours, each in an environment of its own: `scripts/install-mcp-servers` installs them."""

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from codemode_graph.errors import ToolCallError
from codemode_graph.mcp import MCPToolLoader
from codemode_graph.tools.artifacts import Artifact
from tests.mcp.conftest import Tools, loaded
from tests.servers import HttpServer, children, listening, real_server

pytestmark = pytest.mark.slow

PATHS = {"sse": "/sse", "streamableHttp": "/mcp"}


@asynccontextmanager
async def everything(transport: str) -> AsyncIterator[tuple[Tools, HttpServer | None]]:
    params = real_server("everything", transport)
    async with AsyncExitStack() as stack:
        server = None
        loader = await stack.enter_async_context(MCPToolLoader())
        if transport == "stdio":
            loader.add_stdio_server("everything", **params)
        else:
            server = await stack.enter_async_context(listening(params, PATHS[transport]))
            add = loader.add_sse_server if transport == "sse" else loader.add_http_server
            add("everything", server.url)
        await loader.load()
        yield Tools(loader), server
        await loader.aclose()


@pytest.mark.parametrize("transport", ["stdio", "sse", "streamableHttp"])
async def test_everything(transport: str) -> None:
    async with everything(transport) as (tools, _):
        assert await tools("echo", message="hello") == "Echo: hello"
        assert await tools("get-sum", a=1, b=2) == "The sum of 1 and 2 is 3."
        weather = await tools("get-structured-content", location="Chicago")
        assert weather == {"temperature": 36, "conditions": "Light rain / drizzle", "humidity": 82}
        words, image, *_ = await tools("get-tiny-image")
        assert words == "Here's the image you requested:"
        assert isinstance(image, Artifact)
        assert (image.type, image.data[:4]) == ("image/png", b"\x89PNG")
        _, *links = await tools("get-resource-links", count=2)
        assert [link["type"] for link in links] == ["resource_link", "resource_link"]
        _, resource, _ = await tools("get-resource-reference", resourceType="Text", resourceId=1)
        assert resource["resource"]["uri"] == "demo://resource/dynamic/text/1"
        with pytest.raises(ToolCallError, match="expected string, received undefined at message"):
            await tools("echo")
        many = await asyncio.gather(*(tools("echo", message=str(n)) for n in range(100)))
        assert many == [f"Echo: {n}" for n in range(100)]


@pytest.mark.parametrize("transport", ["sse", "streamableHttp"])
async def test_everything_is_killed_and_started_again(transport: str) -> None:
    async with everything(transport) as (tools, server):
        assert server is not None
        call = asyncio.create_task(tools("trigger-long-running-operation", duration=60, steps=1))
        assert await tools("echo", message="before") == "Echo: before"
        await server.kill()
        # Read-only, so it is made again, in vain.
        with pytest.raises(ConnectionError, match=r"MCP server 'everything' (cannot be reached|broke the connection)"):
            async with asyncio.timeout(60):
                await call
        await server.start()
        assert await tools("echo", message="after") == "Echo: after"
        await server.kill()
        await server.start()
        assert await tools("get-sum", a=1, b=1) == "The sum of 1 and 1 is 2."


async def test_everything_over_stdio_is_killed_and_connected_again() -> None:
    others = children()
    async with everything("stdio") as (tools, _):
        (process,) = children() - others
        call = asyncio.create_task(tools("trigger-long-running-operation", duration=60, steps=1))
        assert await tools("echo", message="before") == "Echo: before"
        os.kill(process, signal.SIGKILL)
        # The long operation is read-only, so it is made again; the first one died with its server.
        assert await tools("echo", message="after") == "Echo: after"
        assert process not in children()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert children() <= others


async def test_filesystem(tmp_path: Path) -> None:
    async with loaded(real_server("filesystem", str(tmp_path))) as tools:
        assert [tools[name].effect for name in ("read_text_file", "write_file", "create_directory")] == [
            "read",
            "destructive",
            "idempotent",
        ]
        path = str(tmp_path / "note.txt")
        await tools("write_file", path=path, content='{"a": 1}')
        assert (tmp_path / "note.txt").read_text() == '{"a": 1}'
        assert await tools("read_text_file", path=path) == {"content": '{"a": 1}'}
        assert await tools("read_text_file", path=path, head=1) == {"content": '{"a": 1}'}
        assert await tools("list_directory", path=str(tmp_path)) == {"content": "[FILE] note.txt"}
        with pytest.raises(ToolCallError, match="Access denied - path outside allowed directories"):
            await tools("read_text_file", path="/etc/hostname")
        # JavaScript cuts a pair of surrogates in two, and JSON carries the half.
        (tmp_path / "note.txt").write_text("😀" * 10)
        assert await tools("read_text_file", path=path) == {"content": "😀" * 10}


async def test_memory(tmp_path: Path) -> None:
    params = real_server("memory")
    params["env"]["MEMORY_FILE_PATH"] = str(tmp_path / "memory.jsonl")
    async with loaded(params) as tools:
        entities = [
            {"name": "Ada", "entityType": "person", "observations": ["wrote a program"]},
            {"name": "Engine", "entityType": "machine", "observations": []},
        ]
        relations = [{"from": "Ada", "to": "Engine", "relationType": "programs"}]
        assert await tools("create_entities", entities=entities) == {"entities": entities}
        assert await tools("create_relations", relations=relations) == {"relations": relations}
        assert await tools("read_graph") == {"entities": entities, "relations": relations}
        assert await tools("search_nodes", query="machine") == {"entities": entities[1:], "relations": relations}


async def test_time() -> None:
    async with loaded(real_server("time", "--local-timezone", "UTC")) as tools:
        tokyo = await tools("convert_time", source_timezone="UTC", time="12:00", target_timezone="Asia/Tokyo")
        assert tokyo["time_difference"] == "+9.0h"
        assert tokyo["target"]["datetime"].endswith("T21:00:00+09:00")
        assert tools["convert_time"].output_schema is not None
        with pytest.raises(ToolCallError, match="Invalid timezone"):
            await tools("get_current_time", timezone="Nowhere/Land")


async def test_git(tmp_path: Path) -> None:
    def git(*args: str) -> None:
        command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *args]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    git("init", "--initial-branch=main")
    (tmp_path / "a.txt").write_text("one\n")
    git("add", "a.txt")
    git("commit", "--message=First")
    async with loaded(real_server("git", "--repository", str(tmp_path))) as tools:
        repository: dict[str, Any] = {"repo_path": str(tmp_path)}
        assert "nothing to commit" in await tools("git_status", **repository)
        (tmp_path / "a.txt").write_text("two\n")
        assert "+two" in await tools("git_diff_unstaged", **repository)
        assert await tools("git_add", **repository, files=["a.txt"]) == "Files staged successfully"
        # An optional argument may be left out, or be null.
        for arguments in ({}, {"start_timestamp": None}):
            assert "First" in str(await tools("git_log", **repository, **arguments))
        with pytest.raises(ToolCallError):
            await tools("git_show", **repository, revision="no-such-revision")


async def test_sqlite(tmp_path: Path) -> None:
    async with loaded(real_server("sqlite", "--db-path", str(tmp_path / "x.db"))) as tools:
        await tools("create_table", query="CREATE TABLE t (id INTEGER, name TEXT)")
        await tools("write_query", query="INSERT INTO t VALUES (1, 'x')")
        # This server answers with Python's repr, which is text.
        assert await tools("read_query", query="SELECT * FROM t") == "[{'id': 1, 'name': 'x'}]"
        assert await tools("read_query", query="SELECT * FROM missing") == "Database error: no such table: missing"


async def test_all_at_once_leave_nothing_behind(tmp_path: Path) -> None:
    before = children()
    everything = real_server("everything", "stdio")
    async with loaded(
        everything,
        everything,
        real_server("filesystem", str(tmp_path)),
        real_server("time", "--local-timezone", "UTC"),
        real_server("git"),
        real_server("sqlite", "--db-path", str(tmp_path / "x.db")),
    ) as tools:
        assert len(children() - before) >= 6
        assert await tools("server1.echo", message="a") == await tools("server2.echo", message="a") == "Echo: a"
    assert children() <= before
