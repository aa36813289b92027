"""A server whose connection is held, and opened again when it was lost."""

import asyncio
import json
import logging
import time
from typing import Any

from mcp import ClientSession
from mcp.types import (
    METHOD_NOT_FOUND,
    ListToolsRequest,
    ListToolsResult,
    PaginatedRequestParams,
    Tool,
)
from pydantic import ValidationError

from codemode_graph.errors import ToolCallError, ToolLoadError
from codemode_graph.mcp.config import ServerConfig
from codemode_graph.mcp.connection import Connection, finish
from codemode_graph.mcp.diagnosis import (
    CallFailure,
    NotDelivered,
    Refused,
    ServerLost,
    ServerLostError,
    ServerTimeoutError,
)
from codemode_graph.mcp_sdk import McpError, call_tool, field, send_request

# Waits before each attempt to connect a lost server again: one that restarts needs a moment.
_BACK_OFF_SECONDS = (0.0, 0.2, 1.0)
# A server that always names a next page would be asked for ever.
_MAX_PAGES = 1000
_logger = logging.getLogger("codemode")


class MCPServer:
    """Lists and calls the tools of one server.

    Args:
        config: The server.
    """

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self._closed = False
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[Connection] | None = None
        self._tools: list[Tool] = []
        self._listed_on: Connection | None = None

    @property
    def connected(self) -> bool:
        """True while there is a connection that is not known to have ended."""
        return self._connection is not None and self._connection.usable

    async def tools(self) -> list[Tool]:
        """List the tools. The server is asked only where the list is unknown or may have changed.

        Raises:
            ToolLoadError: The server cannot be reached, or sends no list.
        """
        try:
            connection = await self._connected()
            # A server that was connected again may be another version with other tools.
            if connection is not self._listed_on or connection.tools_changed:
                connection.tools_changed = False
                self._tools = await self._list(connection)
                self._listed_on = connection
            return self._tools
        except CallFailure as failure:
            problem = f"{failure.reason}: {failure.detail}" if failure.detail else failure.reason
        except TimeoutError:
            problem = f"did not list its tools within {self.config.startup_timeout:g} seconds"
        except McpError as error:
            problem = f"did not list its tools: {error.error.message}"
        except ValidationError as error:
            place = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
            problem = f"gave a list of tools that breaks the protocol at {place}"
        raise ToolLoadError(f"MCP server {self.config.name!r} {problem}")

    async def call(self, tool: str, arguments: dict[str, Any], *, repeatable: bool) -> dict[str, Any]:
        """Call a tool.

        A call that the server never got is made again, once, on a new connection; one that it may have had, only where
        that does no harm.

        Args:
            tool: Its name on the server.
            arguments: Sent as they are; None is sent as null.
            repeatable: Whether the call may run twice.

        Returns:
            The result as the server sent it, in whatever form.

        Raises:
            ToolCallError: The server answered with an error of the protocol, or refused the call.
            ConnectionError: The server cannot be reached.
            ServerLostError: It went away with the call in its hands.
            ServerTimeoutError: It did not answer in time.
            ValueError: The arguments cannot be sent as JSON.
            RuntimeError: The connection lives in another event loop.
        """
        try:
            # pydantic would send null for NaN, and raise in the middle of a session for a lone surrogate.
            json.dumps(arguments, allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError) as error:
            raise ValueError(f"the arguments of {tool} cannot be sent as JSON: {error}") from None

        async def ask(session: ClientSession) -> dict[str, Any]:
            # Not `session.call_tool`: it refuses good values that do not match the server's own schema.
            return await call_tool(session, tool, arguments)

        name = self.config.name
        # What was never delivered had no effect; what was lost with its server may have had one.
        retries: dict[type[CallFailure], int] = {NotDelivered: 1, ServerLost: int(repeatable)}
        try:
            while True:
                connection = await self._connected()
                try:
                    return await connection.request(ask, seconds=self.config.timeout)
                except CallFailure as failure:
                    kind = NotDelivered if isinstance(failure, NotDelivered) else type(failure)
                    if not retries.get(kind):
                        raise
                    retries[kind] -= 1
                    _logger.debug("MCP server %r %s; the call of %s is made again", name, failure.reason, tool)
        except NotDelivered as failure:
            raise ConnectionError(self._describe(failure)) from None
        except Refused as failure:
            raise ToolCallError(self._describe(failure)) from None
        except ServerLost as failure:
            msg = f"{self._describe(failure)} before it answered {tool}"
            if not repeatable:
                msg += "; whether the call had its effect is not known"
            raise ServerLostError(msg) from None
        except TimeoutError:
            msg = f"MCP server {name!r} did not answer {tool} within {self.config.timeout:g} seconds"
            raise ServerTimeoutError(msg) from None
        except McpError as error:
            raise ToolCallError(error.error.message) from None

    def end(self) -> list["asyncio.Task[Any]"]:
        """End the connection for good. May be called again.

        Returns:
            Tasks for `finish`; then all is freed.

        Raises:
            RuntimeError: The connection lives in another event loop that is still running.
        """
        tasks: list[asyncio.Task[Any]] = [] if self._connection is None else [self._connection.end()]
        self._closed = True
        if self._connecting is not None and not self._connecting.done():
            self._connecting.cancel()
            tasks.append(self._connecting)
        return tasks

    async def _connected(self) -> Connection:
        """Return the connection, a new one where it was lost. Callers at the same time share one attempt."""
        connection = self._connection
        if self._closed:
            raise NotDelivered("was closed")
        loop = asyncio.get_running_loop()
        if connection is not None and connection.usable:
            if connection.loop is loop:
                return connection
            if not connection.loop.is_closed():
                msg = f"MCP server {self.config.name!r} lives in another event loop: load it in the one that calls it"
                raise RuntimeError(msg)
        if self._connecting is None or self._connecting.done():
            self._connecting = loop.create_task(self._connect(connection))
        attempt = self._connecting
        await asyncio.wait({attempt})
        if attempt.cancelled():
            raise NotDelivered("was closed")
        return attempt.result()

    async def _connect(self, lost: Connection | None) -> Connection:
        name = self.config.name
        if lost is not None:
            _logger.warning("MCP server %r was lost; it is connected again", name)
            await finish([lost.end()])
        failure = NotDelivered("cannot be reached")
        until = time.monotonic() + self.config.startup_timeout
        for seconds in _BACK_OFF_SECONDS if lost is not None else (0.0,):
            await asyncio.sleep(seconds)
            self._connection = Connection(self.config)
            try:
                await self._connection.opened()
            except CallFailure as error:
                failure = NotDelivered(error.reason, error.detail)
            else:
                return self._connection
            if time.monotonic() > until:
                break
        raise failure

    async def _list(self, connection: Connection) -> list[Tool]:
        tools: dict[str, Tool] = {}
        cursor: str | None = None
        for _ in range(_MAX_PAGES):
            request = ListToolsRequest(params=PaginatedRequestParams(cursor=cursor))

            async def ask(session: ClientSession, request: ListToolsRequest = request) -> ListToolsResult:
                return await send_request(session, request, ListToolsResult)

            try:
                page = await connection.request(ask, seconds=self.config.startup_timeout)
            except McpError as error:
                if error.error.code == METHOD_NOT_FOUND:
                    return []
                raise
            for tool in page.tools:
                if tool.execution is not None and field(tool.execution, "taskSupport") == "required":
                    _logger.info("MCP tool %r of %r is left out: it runs only as a task", tool.name, self.config.name)
                else:
                    tools.setdefault(tool.name, tool)
            cursor = field(page, "nextCursor")
            if not cursor:
                return list(tools.values())
        raise Refused(f"lists its tools on more than {_MAX_PAGES} pages")

    def _describe(self, failure: CallFailure) -> str:
        return f"MCP server {self.config.name!r} {failure.reason}"
