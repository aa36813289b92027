"""Servers of ours, over each transport, and loaders for them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from codemode_graph.mcp import MCPToolLoader
from codemode_graph.tools.spec import ToolSpec
from tests.servers import StdioParams, listening, own_server

TRANSPORTS = ["stdio", "sse", "http", "http-json"]


class Tools:
    """The tools of a loader: `await tools("name", argument=1)`."""

    def __init__(self, loader: MCPToolLoader) -> None:
        self.loader = loader

    def __getitem__(self, name: str) -> ToolSpec:
        return next(tool for tool in self.loader.tools if tool.name == name)

    async def __call__(self, tool: str, **arguments: Any) -> Any:
        return await self[tool].call(arguments, {})


@asynccontextmanager
async def loaded(*servers: StdioParams, **options: Any) -> AsyncIterator[Tools]:
    """Load servers over stdio; the options are those of `add_stdio_server`."""
    async with MCPToolLoader() as loader:
        for number, params in enumerate(servers, 1):
            loader.add_stdio_server(f"server{number}", **params, **options)
        await loader.load()
        yield Tools(loader)


@asynccontextmanager
async def over(transport: str, name: str, **options: Any) -> AsyncIterator[Tools]:
    """Load one of our servers over a transport."""
    async with AsyncExitStack() as stack:
        loader = await stack.enter_async_context(MCPToolLoader())
        if transport == "stdio":
            loader.add_stdio_server(name, **own_server(name), **options)
        elif transport == "sse":
            server = await stack.enter_async_context(listening(own_server(name, "sse"), "/sse"))
            loader.add_sse_server(name, server.url, **options)
        else:
            server = await stack.enter_async_context(listening(own_server(name, *transport.split("-")), "/mcp/"))
            loader.add_http_server(name, server.url, **options)
        await loader.load()
        yield Tools(loader)
        await loader.aclose()


@pytest.fixture(scope="session", params=TRANSPORTS)
async def memory(request: pytest.FixtureRequest) -> AsyncIterator[Tools]:
    async with over(request.param, "memory") as tools:
        yield tools


@pytest.fixture(scope="session", params=TRANSPORTS)
async def answers(request: pytest.FixtureRequest) -> AsyncIterator[Tools]:
    async with over(request.param, "answers") as tools:
        yield tools
