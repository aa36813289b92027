"""The differences between the majors 1 and 2 of the MCP SDK. All other code imports these names from here.

mcp 2 names the fields of messages in snake case, moves names, and sends with httpx2 in place of httpx. It adds a form of the
protocol (2026-07-28) without sessions, in which a server cannot ask the person at its client. Both sides of ours therefore
begin with the handshake of earlier versions, which both majors speak.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version as version_of
from importlib.util import find_spec
from typing import Any, Protocol, TypeVar

from mcp import ClientSession, types
from mcp.client.streamable_http import streamable_http_client
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from pydantic import BaseModel, RootModel
from pydantic.alias_generators import to_snake
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

__all__ = [
    "MAJOR",
    "FastMCP",
    "McpError",
    "McpServer",
    "RequestContext",
    "call_tool",
    "create_server",
    "create_session",
    "field",
    "handle_http",
    "http_streams",
    "httpx",
    "is_lost",
    "next_request_id",
    "parse_message",
    "progress_token",
    "send_notification",
    "send_request",
    "serve_streams",
]

MAJOR = 1 if find_spec("mcp_types") is None else 2
"""The major version of the SDK that is installed."""
_T = TypeVar("_T", bound=BaseModel)

if MAJOR == 1:
    import httpx
    from mcp import McpError
    from mcp.server.fastmcp import FastMCP
    from mcp.server.session import ServerSession
    from mcp.shared import context as _context

    from codemode_graph.compat import next_request_id

    McpServer = Server[Any, Any]
    RequestContext = _context.RequestContext[ServerSession, Any, Any]
else:
    import httpx2 as httpx  # type: ignore[no-redef]
    from mcp import MCPError as McpError  # type: ignore[attr-defined,no-redef]
    from mcp.server.context import (  # type: ignore[import-not-found,no-redef]
        ServerRequestContext as RequestContext,
    )
    from mcp.server.lowlevel import Server as McpServer
    from mcp.server.mcpserver import MCPServer as FastMCP  # type: ignore[import-not-found,no-redef]
    from mcp.server.runner import serve_loop  # type: ignore[import-not-found]
    from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher  # type: ignore[import-not-found]
    from mcp.types import jsonrpc_message_adapter  # type: ignore[attr-defined]
    from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS  # type: ignore[import-not-found]

    class _Dispatcher(JSONRPCDispatcher):  # type: ignore[misc]
        """Numbers requests so that the next id is known, and leaves it to the caller to cancel one."""

        next_id = 1

        async def send_raw_request(self, method: str, params: Any, opts: Any = None, **options: Any) -> Any:
            # The id is taken before the first await, so no other request can take this one.
            opts = {**(opts or {}), "request_id": self.next_id, "cancel_on_abandon": False}
            self.next_id += 1
            result = await super().send_raw_request(method, params, opts, **options)
            # The session would drop an answer that is not of its version, whose call was made: `call_tool` takes it out.
            return {"content": [], "structuredContent": {"result": result}} if method == "tools/call" else result

    class _Session(ClientSession):
        """A session whose dispatcher can be asked for the next id."""

        def __init__(self, read: Any, write: Any, **options: Any) -> None:
            self.dispatcher = _Dispatcher(read, write)
            super().__init__(dispatcher=self.dispatcher, **options)  # type: ignore[call-arg]

    def next_request_id(session: ClientSession) -> types.RequestId:
        """Return the id that a session gives its next request: a cancellation has to name it."""
        assert isinstance(session, _Session)
        return session.dispatcher.next_id


def field(message: Any, name: str) -> Any:
    """Return a field of a message of the protocol, by the name that the protocol has for it."""
    return getattr(message, name if MAJOR == 1 else to_snake(name))


def parse_message(text: str | bytes) -> Any:
    """Return a message of the protocol.

    Raises:
        ValidationError: The text is none.
    """
    if MAJOR == 1:
        return types.JSONRPCMessage.model_validate_json(text)
    return jsonrpc_message_adapter.validate_json(text, by_name=False)


# The client's side


def create_session(read: Any, write: Any, **options: Any) -> ClientSession:
    """Return a session over two streams, to be entered. `next_request_id` can be asked of it."""
    return ClientSession(read, write, **options) if MAJOR == 1 else _Session(read, write, **options)


@asynccontextmanager
async def http_streams(url: str, client: httpx.AsyncClient) -> AsyncIterator[tuple[Any, Any]]:
    """Connect to a server over streamable HTTP; yield the streams for a session."""
    # mcp 2 gives up answers of more than 1 MiB unless told otherwise; `ServerProcess` bounds those over stdio.
    options: dict[str, Any] = {} if MAJOR == 1 else {"max_sse_event_size": None}
    async with client, streamable_http_client(url, http_client=client, **options) as (read, write, *_):
        yield read, write


async def send_request(session: ClientSession, request: Any, result: type[_T]) -> _T:
    """Send a request of a client, and return its result."""
    return await session.send_request(types.ClientRequest(request) if MAJOR == 1 else request, result)


class _Answer(RootModel[dict[str, Any]]):
    """A result as it was sent."""


async def call_tool(session: ClientSession, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Call a tool; return the result as the server sent it.

    Whatever its form is, the server has answered, so the call was made.
    """
    params = types.CallToolRequestParams(name=name, arguments=arguments)
    answer = (await send_request(session, types.CallToolRequest(params=params), _Answer)).root
    found: dict[str, Any] = answer if MAJOR == 1 else answer["structuredContent"]["result"]
    return found


async def send_notification(session: ClientSession, notification: Any) -> None:
    """Send a notification of a client."""
    await session.send_notification(types.ClientNotification(notification) if MAJOR == 1 else notification)


# mcp 2 answers by itself a request whose answer it cannot read, or that gets none.
_LOST = ("Failed to parse ", "SSE stream ", "Unexpected content type")


def is_lost(error: McpError) -> bool:
    """Return True for an error that the SDK made because no answer came; the server may have done what was asked."""
    message = error.error.message
    closed = error.error.code == types.CONNECTION_CLOSED and message == "Connection closed"
    return closed or (MAJOR == 2 and message.startswith(_LOST))


# The server's side


class ListTools(Protocol):
    """Returns the tools that a server offers."""

    async def __call__(self) -> list[types.Tool]: ...


class CallTool(Protocol):
    """Answers a call of a tool: its name, its arguments, and the request."""

    async def __call__(self, name: str, arguments: dict[str, Any], context: RequestContext) -> types.CallToolResult: ...


def create_server(name: str, version: str | None, *, list_tools: ListTools, call_tool: CallTool) -> McpServer:
    """Return a server that offers tools. Errors of `call_tool` are errors of the protocol: it answers its own."""
    version = version or version_of("mcp")
    if MAJOR == 1:
        server = Server[Any, Any](name, version)

        async def list_request(request: types.ListToolsRequest) -> types.ServerResult:
            return types.ServerResult(types.ListToolsResult(tools=await list_tools()))

        async def call_request(request: types.CallToolRequest) -> types.ServerResult:
            params = request.params
            return types.ServerResult(await call_tool(params.name, params.arguments or {}, server.request_context))

        server.request_handlers |= {types.ListToolsRequest: list_request, types.CallToolRequest: call_request}
        return server

    async def on_list(context: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=await list_tools())

    async def on_call(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        return await call_tool(params.name, params.arguments or {}, context)

    return Server(name, version=version, on_list_tools=on_list, on_call_tool=on_call)  # type: ignore[call-arg]


async def serve_streams(server: McpServer, read: Any, write: Any) -> None:
    """Serve one client over two streams until it leaves."""
    options = server.create_initialization_options()
    if MAJOR == 1:
        await server.run(read, write, options)
    else:
        # Not `Server.run`, which also serves the form of the protocol without a handshake.
        async with server.lifespan(server) as state:
            await serve_loop(server, read, write, lifespan_state=state, init_options=options)


async def handle_http(manager: StreamableHTTPSessionManager, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request over streamable HTTP."""
    version = dict(scope["headers"]).get(b"mcp-protocol-version", b"").decode("latin-1")
    if MAJOR == 1 or not version or version in HANDSHAKE_PROTOCOL_VERSIONS:
        await manager.handle_request(scope, receive, send)
        return
    # A client that begins with the form without a handshake goes on with one after this error.
    data = {"supported": [*HANDSHAKE_PROTOCOL_VERSIONS], "requested": version}
    error = {"code": types.UNSUPPORTED_PROTOCOL_VERSION, "message": "Unsupported protocol version", "data": data}  # type: ignore[attr-defined]
    await JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, 400)(scope, receive, send)


def progress_token(context: RequestContext) -> str | int | None:
    """Return the token under which the client of a request wants to hear of its progress; None where it does not."""
    meta: Any = context.meta or {}
    token: str | int | None = getattr(meta, "progressToken", None) if MAJOR == 1 else meta.get("progress_token")
    return token
