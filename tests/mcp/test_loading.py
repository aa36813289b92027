"""`MCPToolLoader`: what it accepts, the names of its tools, its errors when a server cannot be reached."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from codemode_sandboxes import attribute_names

from codemode_graph.errors import ConfigurationError, ToolLoadError
from codemode_graph.mcp import MCPToolLoader
from tests.mcp.conftest import Tools, loaded
from tests.servers import children, listening, own_server


async def test_tools_are_described_as_their_server_describes_them(answers: Tools) -> None:
    spec = answers["prose"]
    assert (spec.name, spec.description, spec.source) == ("prose", "Gives prose.", "mcp:answers")
    assert spec.input_schema == {"type": "object", "additionalProperties": True}


async def test_names_that_several_servers_share_bear_the_server() -> None:
    memory = own_server("memory")
    async with loaded(memory, memory, own_server("raw", "half_a_pair")) as tools:
        names = [tool.name for tool in tools.loader.tools]
        assert len(names) == len(set(names))
        assert {"server1.count", "server2.count", "cut"} <= set(names)
        assert attribute_names(names)["server1.count"] == "server1_count"
        assert await tools("server1.count") == 1
        assert await tools("server2.count", by=5) == 5
        assert await tools("server1.count") == 2


async def test_a_list_on_several_pages_is_read_to_its_end() -> None:
    async with loaded(own_server("raw", "pages")) as tools:
        assert [tool.name for tool in tools.loader.tools] == [f"tool-{number}" for number in range(12)]


async def load(name: str, command: str, *args: str, **options: Any) -> None:
    async with MCPToolLoader() as loader:
        loader.add_stdio_server(name, command, args, **options)
        await loader.load()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("fails", "MCP server 'x' ended with exit status 1: no database at /srv/db"),
        ("bad_list", "MCP server 'x' gave a list of tools that breaks the protocol at tools.1.name"),
        ("endless", "MCP server 'x' lists its tools on more than 1000 pages"),
    ],
)
async def test_a_server_that_cannot_be_loaded_says_why(kind: str, message: str) -> None:
    before = children()
    params = own_server("raw", kind)
    with pytest.raises(ToolLoadError) as error:
        await load("x", params["command"], *params["args"], env=params["env"])
    assert str(error.value) == message
    assert children() <= before


async def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolLoadError, match="'x' cannot be started: there is no command 'no-such-server'; install it"):
        await load("x", "no-such-server")
    with pytest.raises(ToolLoadError, match=r"'x' cannot be started: .* is not a program that may be run"):
        await load("x", str(tmp_path))
    with pytest.raises(ToolLoadError, match=r"'x' cannot be started: No such file or directory: .*missing"):
        await load("x", sys.executable, cwd=tmp_path / "missing")


async def test_a_server_that_does_not_answer_is_an_error() -> None:
    before = children()
    params = own_server("raw", "silent")
    with pytest.raises(ToolLoadError, match=r"MCP server 'x' did not answer within 0\.5 seconds"):
        await load("x", params["command"], *params["args"], env=params["env"], startup_timeout=0.5)
    assert children() <= before


@pytest.mark.parametrize("kind", ["sse", "http"])
async def test_a_server_that_nobody_serves_is_named(kind: str) -> None:
    async with MCPToolLoader() as loader:
        add = loader.add_sse_server if kind == "sse" else loader.add_http_server
        add("far", "http://127.0.0.1:9/mcp?key=secret")
        with pytest.raises(ToolLoadError) as error:
            await loader.load()
    assert str(error.value) == "MCP server 'far' cannot be reached: is it running at http://127.0.0.1:9?"


@pytest.mark.parametrize("kind", ["sse", "http"])
async def test_a_wrong_address_is_reported_by_its_status(kind: str) -> None:
    async with listening(own_server("memory", kind), "/nowhere") as server, MCPToolLoader() as loader:
        add = loader.add_sse_server if kind == "sse" else loader.add_http_server
        add("far", server.url)
        with pytest.raises(ToolLoadError) as error:
            await loader.load()
    assert str(error.value) == "MCP server 'far' answered HTTP 404 Not Found"


async def test_one_server_that_fails_closes_the_others_and_all_failures_are_reported() -> None:
    before = children()
    loader = MCPToolLoader()
    loader.add_stdio_server("good", **own_server("memory"))
    loader.add_stdio_server("one", "no-such-server")
    loader.add_stdio_server("two", **own_server("raw", "fails"))
    with pytest.raises(
        ToolLoadError, match=r"2 MCP servers cannot be loaded: .*'one' cannot be started.*; .*'two' ended"
    ):
        await loader.load()
    assert children() <= before


async def test_a_failed_load_leaves_what_was_loaded_before() -> None:
    async with loaded(own_server("memory")) as tools:
        assert await tools("count") == 1
        tools.loader.add_stdio_server("bad", "no-such-server")
        with pytest.raises(ToolLoadError):
            await tools.loader.load()
        assert await tools("count") == 2


async def test_a_stdio_server_sees_only_the_environment_of_its_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_SECRET", "s3cret")
    params = own_server("memory")
    params["env"]["MODE"] = "test"
    async with loaded(params, cwd=tmp_path) as tools:
        environment = await tools("environment")
    assert environment["MODE"] == "test"
    assert environment["PATH"] == os.environ["PATH"]
    assert environment["CWD"] == str(tmp_path)
    assert "API_SECRET" not in environment


async def test_headers_are_sent_with_every_request() -> None:
    seen: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        writer.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server, MCPToolLoader() as loader:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
        loader.add_http_server("crm", url, headers={"Authorization": "Bearer s3cret"})
        with pytest.raises(ToolLoadError) as error:
            await loader.load()
    assert str(error.value) == "MCP server 'crm' answered HTTP 401 Unauthorized"
    assert "authorization: bearer s3cret" in seen[0]
    assert "s3cret" not in repr(vars(loader))


async def test_arguments_that_cannot_be_meant_are_refused() -> None:
    loader = MCPToolLoader()
    loader.add_stdio_server("a", "b")
    with pytest.raises(ConfigurationError, match="there is an MCP server 'a' already"):
        loader.add_http_server("a", "http://localhost")
    with pytest.raises(ConfigurationError, match="must start with http"):
        loader.add_sse_server("c", "localhost:80")
    with pytest.raises(ConfigurationError, match="args is a list of strings"):
        loader.add_stdio_server("c", "d", "--flag")
    with pytest.raises(ConfigurationError, match="load"):
        _ = loader.tools
    assert loader.servers == ("a",)
