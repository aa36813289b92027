"""The loader of MCP servers' tools."""

import asyncio
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from langchain_core.runnables import RunnableConfig
from mcp.types import Tool

from codemode_graph.errors import ConfigurationError, ToolLoadError
from codemode_graph.mcp.config import (
    DEFAULT_STARTUP_TIMEOUT,
    DEFAULT_TIMEOUT,
    RemoteConnection,
    ServerConfig,
    StdioConnection,
    read_config,
)
from codemode_graph.mcp.connection import finish
from codemode_graph.mcp.content import effect_of, output_schema_of, value_of
from codemode_graph.mcp.pool import MCPPool
from codemode_graph.mcp.server import MCPServer
from codemode_graph.mcp_sdk import field
from codemode_graph.tools.callbacks import traced
from codemode_graph.tools.effects import infer_effect
from codemode_graph.tools.spec import ToolSpec

__all__ = ["MCPToolLoader"]


class MCPToolLoader:
    """Connects MCP servers, holds their sessions, and loads their tools.

    `load()` connects all servers at once. The sessions are held until `aclose()` or the end of `async with`, which may be
    in another task, so a server keeps its state from one call to the next. A server that dies is connected again by the
    next call. A call that it was working on is made again only where its tool is read-only; else it raises an error that
    is a `ToolOutcomeUnknown`.

    A tool raises `ToolCallError` with the server's text when it fails, `ConnectionError` when its server is gone and
    `TimeoutError` when it takes too long. Its value is plain: see `codemode_graph.mcp.content`. Log messages and
    standard error of the servers go to the logger "codemode". Sampling, roots and elicitation are not supported.

    Where tools of several servers have the same name, each is called `server.name`, which a program may also write
    `tools.server_name`; all other tools keep their name.

    Use a loader in one event loop at a time, the one that called `load()`.

    Args:
        servers: The first servers; more are added by the methods below.
        pool: Keeps the sessions for other loaders beyond the end of this one. Without it they end with the loader.

    Examples:
        ```python
        async with MCPToolLoader() as loader:
            loader.add_stdio_server("files", "npx", ["-y", "@modelcontextprotocol/server-filesystem", "."])
            loader.add_http_server("crm", "https://crm.example/mcp", headers={"Authorization": f"Bearer {token}"})
            tools = await loader.load()
            graph = create_codemode(model=model, tools=tools).compile()
            await graph.ainvoke({"task": "Which files have a name that is longer than their text?"})
        ```
    """

    def __init__(self, servers: Iterable[ServerConfig] = (), *, pool: MCPPool | None = None) -> None:
        self._pool = pool
        self._configs: dict[str, ServerConfig] = {}
        self._servers: dict[str, MCPServer] = {}
        self._tools: list[ToolSpec] | None = None
        for server in servers:
            self._add(server)

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any] | str | os.PathLike[str],
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        startup_timeout: float = DEFAULT_STARTUP_TIMEOUT,
        pool: MCPPool | None = None,
    ) -> Self:
        """Return a loader of the servers in an `mcpServers` configuration, the JSON form that MCP clients share.

        Args:
            config: The form, or the path of a file with it; see `codemode_graph.mcp.config.read_config`.
            timeout: Seconds that one call may take; None sets no bound.
            startup_timeout: Seconds until a server's first answer is due.
            pool: Keeps the sessions beyond the end of the loader, for others.

        Raises:
            ConfigurationError: It cannot be read; the message says where and what to change.

        Examples:
            >>> loader = MCPToolLoader.from_config({"mcpServers": {"time": {"command": "mcp-server-time"}}})
            >>> loader.servers
            ('time',)
        """
        return cls(read_config(config, timeout=timeout, startup_timeout=startup_timeout), pool=pool)

    def add_stdio_server(
        self,
        name: str,
        command: str,
        args: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        startup_timeout: float = DEFAULT_STARTUP_TIMEOUT,
    ) -> None:
        """Add a server that is a program on this machine.

        Args:
            name: For messages, and to tell apart tools of the same name; unique within the loader.
            command: The program.
            args: Its arguments.
            env: Its environment variables beside HOME, PATH and a few more; it inherits no others.
            cwd: Its working directory.
            timeout: Seconds that one call may take; None sets no bound.
            startup_timeout: Seconds until its first answer is due.

        Raises:
            ConfigurationError: The name is taken, or `args` is a string.
        """
        if isinstance(args, str):
            raise ConfigurationError(f"MCP server {name!r}: args is a list of strings, such as [{args!r}]")
        connection = StdioConnection(
            transport="stdio",
            command=command,
            args=list(args),
            env=None if env is None else dict(env),
            cwd=None if cwd is None else os.fspath(cwd),
        )
        self._add(ServerConfig(name=name, connection=connection, timeout=timeout, startup_timeout=startup_timeout))

    def add_sse_server(
        self,
        name: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        startup_timeout: float = DEFAULT_STARTUP_TIMEOUT,
    ) -> None:
        """Add a server that speaks HTTP with server-sent events, MCP's older transport.

        Args:
            name: For messages, and to tell apart tools of the same name; unique within the loader.
            url: Its stream of events.
            headers: Sent with every request.
            timeout: Seconds that one call may take; None sets no bound.
            startup_timeout: Seconds until its first answer is due.

        Raises:
            ConfigurationError: The name is taken, or the URL is not one of HTTP.
        """
        connection = _remote("sse", name, url, headers)
        self._add(ServerConfig(name=name, connection=connection, timeout=timeout, startup_timeout=startup_timeout))

    def add_http_server(
        self,
        name: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        startup_timeout: float = DEFAULT_STARTUP_TIMEOUT,
    ) -> None:
        """Add a server that speaks streamable HTTP.

        Args:
            name: For messages, and to tell apart tools of the same name; unique within the loader.
            url: Its endpoint.
            headers: Sent with every request.
            timeout: Seconds that one call may take; None sets no bound.
            startup_timeout: Seconds until its first answer is due.

        Raises:
            ConfigurationError: The name is taken, or the URL is not one of HTTP.
        """
        connection = _remote("streamable_http", name, url, headers)
        self._add(ServerConfig(name=name, connection=connection, timeout=timeout, startup_timeout=startup_timeout))

    @property
    def servers(self) -> tuple[str, ...]:
        """The names of the servers, in the order in which they were added."""
        return tuple(self._configs)

    @property
    def tools(self) -> list[ToolSpec]:
        """The tools that the last `load()` returned.

        Raises:
            ConfigurationError: Nothing was loaded, or the loader was closed.
        """
        if self._tools is None:
            raise ConfigurationError("no MCP tools are loaded: `await loader.load()` first")
        return list(self._tools)

    async def load(self) -> list[ToolSpec]:
        """Connect the servers that are not connected yet, and return the tools of all.

        A second call asks only servers that are new, that were lost, or that announced other tools.

        Raises:
            ToolLoadError: A server cannot be reached; those that this call connected are closed again.
        """
        # Kept in `_servers` before they are asked, so that an `aclose` meanwhile ends them too.
        new = {name: self._open(config) for name, config in self._configs.items() if name not in self._servers}
        self._servers |= new
        servers = [self._servers[name] for name in self._configs]
        try:
            listed = await asyncio.gather(*(server.tools() for server in servers), return_exceptions=True)
            tools = _specs(zip(servers, _raise_failures(listed), strict=True))
        except BaseException as error:
            # Close only what this call connected: tools of an earlier load may be in use.
            self._servers = {name: server for name, server in self._servers.items() if new.get(name) is not server}
            ending = [task for server in new.values() for task in self._close(server)]
            # A caller that was cancelled must not wait for servers to end in their own time.
            await finish(ending, at_once=isinstance(error, asyncio.CancelledError))
            raise
        self._tools = tools
        return self.tools

    async def aclose(self) -> None:
        """End all sessions and the processes behind them, within seconds; those of a pool are given back to it.

        May be called again, in any task of the loop. A call of a tool after that raises ConnectionError; `load()` connects
        the servers again.
        """
        ending = [task for server in self._servers.values() for task in self._close(server)]
        self._servers, self._tools = {}, None
        await finish(ending)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _open(self, config: ServerConfig) -> MCPServer:
        return MCPServer(config) if self._pool is None else self._pool.acquire(config)

    def _close(self, server: MCPServer) -> "list[asyncio.Task[Any]]":
        return server.end() if self._pool is None else self._pool.release(server)

    def _add(self, server: ServerConfig) -> None:
        if server.name in self._configs:
            raise ConfigurationError(f"there is an MCP server {server.name!r} already: give each a name of its own")
        self._configs[server.name] = server


def _remote(
    transport: Literal["sse", "streamable_http"], name: str, url: str, headers: Mapping[str, str] | None
) -> RemoteConnection:
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"MCP server {name!r}: its URL must start with http:// or https://")
    return RemoteConnection(transport=transport, url=url, headers=dict(headers or {}))


def _raise_failures(listed: Iterable[list[Tool] | BaseException]) -> list[list[Tool]]:
    lists = [each for each in listed if not isinstance(each, BaseException)]
    failures = [each for each in listed if isinstance(each, BaseException)]
    # A cancellation, or a fault of our own, is not folded into a message about servers.
    for failure in failures:
        if len(failures) == 1 or not isinstance(failure, ToolLoadError):
            raise failure
    if failures:
        raise ToolLoadError(f"{len(failures)} MCP servers cannot be loaded: " + "; ".join(map(str, failures)))
    return lists


def _specs(listed: Iterable[tuple[MCPServer, list[Tool]]]) -> list[ToolSpec]:
    found = [(server, tool) for server, tools in listed for tool in tools]
    # All tools of one name are renamed, not just the later ones: their order depends on the servers' configuration.
    counts = Counter(tool.name for _, tool in found)
    specs: dict[str, ToolSpec] = {}
    for server, tool in found:
        name = tool.name if counts[tool.name] == 1 else f"{server.config.name}.{tool.name}"
        if name in specs:
            msg = f"two MCP tools would be called {name!r}: give server {server.config.name!r} another name"
            raise ToolLoadError(msg)
        specs[name] = _spec(name, server, tool)
    return list(specs.values())


def _spec(name: str, server: MCPServer, tool: Tool) -> ToolSpec:
    declared = effect_of(tool)
    input_schema = field(tool, "inputSchema")
    effect = declared or infer_effect(tool.name, input_schema)
    description = tool.description or ""

    async def call(arguments: dict[str, Any], config: RunnableConfig) -> Any:
        return value_of(await server.call(tool.name, arguments, repeatable=effect == "read"), tool=tool)

    return ToolSpec(
        name=name,
        call=traced(name, call, description=description),
        description=description,
        input_schema=input_schema,
        output_schema=output_schema_of(tool),
        effect=effect,
        declared=declared is not None,
        source=f"mcp:{server.config.name}",
        own_name="" if name == tool.name else tool.name,
    )
