"""The `mcpServers` form that MCP clients share."""

import json
from pathlib import Path
from typing import Any

import pytest

from codemode_graph.errors import ConfigurationError
from codemode_graph.mcp import MCPToolLoader
from codemode_graph.mcp.config import read_config
from tests.mcp.conftest import Tools
from tests.servers import own_server


def connection(entry: dict[str, Any]) -> Any:
    (server,) = read_config({"mcpServers": {"x": entry}})
    return server.connection


def test_commands_and_addresses_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "t0ken")
    assert connection({"command": "npx", "args": ["-y", 1, "${HOME_DIR:-/srv}/x"], "env": {"T": "${TOKEN}"}}) == {
        "transport": "stdio",
        "command": "npx",
        "args": ["-y", "1", "/srv/x"],
        "env": {"T": "t0ken"},
        "cwd": None,
    }
    assert connection({"url": "https://x/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}}) == {
        "transport": "streamable_http",
        "url": "https://x/mcp",
        "headers": {"Authorization": "Bearer t0ken"},
    }


@pytest.mark.parametrize("key", ["type", "transport"])
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sse", "sse"),
        ("http", "streamable_http"),
        ("streamable-http", "streamable_http"),
        ("streamable_http", "streamable_http"),
        ("streamableHttp", "streamable_http"),
    ],
)
def test_every_spelling_of_a_transport_is_known(key: str, written: str, meant: str) -> None:
    assert connection({"url": "http://x", key: written})["transport"] == meant


def test_a_server_that_is_disabled_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MISSING", raising=False)
    off = {"command": "${MISSING}", "disabled": True, "autoApprove": []}
    assert [server.name for server in read_config({"mcpServers": {"off": off, "on": {"command": "x"}}})] == ["on"]


def test_timeouts_hold_for_every_server() -> None:
    (server,) = read_config({"mcpServers": {"x": {"command": "x"}}}, timeout=None, startup_timeout=3)
    assert (server.timeout, server.startup_timeout) == (None, 3)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, 'mcpServers.x: give either "command" or "url"'),
        ({"command": "a", "url": "http://b"}, 'mcpServers.x: give either "command" or "url"'),
        ({"command": "a", "type": "sse"}, 'mcpServers.x: the transport "sse" needs "url"'),
        ({"url": "http://a", "type": "stdio"}, 'mcpServers.x: the transport "stdio" needs "command"'),
        (
            {"url": "http://a", "type": "smoke"},
            """mcpServers.x.type: expected "stdio", "http", "streamable-http" or "sse", not 'smoke'""",
        ),
        ({"url": "a.example/mcp"}, "mcpServers.x.url: String should match pattern '^https?://'"),
        ({"command": "a", "args": "--flag"}, "mcpServers.x.args: Input should be a valid list"),
        ({"command": "a", "args": [["--flag"]]}, "mcpServers.x.args[0]: Input should be a valid string"),
        (["a"], "mcpServers.x: Input should be a valid dictionary or instance of _Entry"),
        (
            {"command": "a", "env": {"T": "${NOT_SET}"}},
            "mcpServers.x.env.T: the environment variable NOT_SET is not set",
        ),
    ],
)
def test_an_error_says_where_and_what(entry: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(ConfigurationError) as error:
        read_config({"mcpServers": {"x": entry}})
    assert str(error.value) == f"the configuration: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"mcpServers": {\n  "a" {"command": "x"}}}', ":2:7: not JSON: Expecting ':' delimiter"),
        ("", ":1:1: not JSON: Expecting value"),
        ("[]", """: expected {"mcpServers": {"name": {"command": ...}}}, with "mcpServers" at the top"""),
        ('{"servers": {}}', """: expected {"mcpServers": {"name": {"command": ...}}}, with "mcpServers" at the top"""),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        MCPToolLoader.from_config(path)
    assert str(error.value).startswith(f"{path}{message}")
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_text_or_not_there_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    with pytest.raises(ConfigurationError, match=r"mcp\.json: cannot be read: No such file or directory"):
        MCPToolLoader.from_config(str(path))
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(ConfigurationError, match=r"mcp\.json: not a text in UTF-8"):
        MCPToolLoader.from_config(path)


async def test_servers_of_a_file_are_loaded(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps({"mcpServers": {"memory": own_server("memory")}}), encoding="utf-8-sig")
    async with MCPToolLoader.from_config(path) as loader:
        await loader.load()
        assert await Tools(loader)("count", by=3) == 3
