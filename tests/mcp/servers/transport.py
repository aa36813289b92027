"""Runs a server of ours over the transport that its first argument names."""

import os
import sys

import anyio
import uvicorn
from mcp.server.fastmcp import FastMCP
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route


def run(server: Server | FastMCP) -> None:
    """Serve over "stdio", "sse" or "http", the last with answers as JSON where the second argument is "json"."""
    low = server._mcp_server if isinstance(server, FastMCP) else server
    transport = sys.argv[1] if len(sys.argv) > 1 else "stdio"
    if transport == "stdio":
        anyio.run(_stdio, low)
    else:
        app = _sse_app(low) if transport == "sse" else _http_app(low, json="json" in sys.argv)
        uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="error")


async def _stdio(server: Server) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def _sse_app(server: Server) -> Starlette:
    transport = SseServerTransport("/messages/")

    async def events(request: Request) -> Response:
        async with transport.connect_sse(request.scope, request.receive, request._send) as (read, write):
            await server.run(read, write, server.create_initialization_options())
        return Response()

    return Starlette(routes=[Route("/sse", events), Mount("/messages/", transport.handle_post_message)])


def _http_app(server: Server, *, json: bool) -> Starlette:
    manager = StreamableHTTPSessionManager(server, json_response=json)
    return Starlette(routes=[Mount("/mcp", manager.handle_request)], lifespan=lambda app: manager.run())
