"""`codemode-graph serve`: offer code mode as an MCP server, over stdio or HTTP."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from rich.console import Console
from typing_extensions import Unpack

from codemode_graph.api import codemode
from codemode_graph.cli.invocation import load_sandbox, load_specs
from codemode_graph.cli.run import run_async
from codemode_graph.errors import ConfigurationError
from codemode_graph.integrations.mcp_server import create_http_app, create_mcp_server
from codemode_graph.model.ask import load_model
from codemode_graph.options import RunOptions
from codemode_graph.trace.console import say

__all__ = ["TOKEN", "serve"]

TOKEN = "CODEMODE_TOKEN"
"""The environment variable with the bearer token."""
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def serve(
    *,
    mcp: Sequence[Path],
    tools: Sequence[str],
    model: str | None,
    packages: Sequence[str],
    http: str | None,
    version: str,
    **options: Unpack[RunOptions],
) -> None:
    """Serve code mode to MCP clients until they leave (stdio), or until Ctrl-C (HTTP)."""
    # Clients probe for newer versions of the protocol, and the SDK logs a long warning for each such request.
    logging.getLogger().setLevel(logging.ERROR)
    # Take stdout for the protocol before `run_async` redirects it: tools that print would break the stream of messages.
    out = TextIOWrapper(sys.stdout.buffer, encoding="utf-8") if http is None else None

    async def work() -> None:
        # A wrong address, model or sandbox name fails at once: check all three before any server is started.
        address = None if http is None else _parse_address(http)
        chat_model = None if model is None else load_model(model)
        load_sandbox(options, packages=packages)
        async with AsyncExitStack() as stack:
            specs = await load_specs(stack, mcp, tools)
            cm = await stack.enter_async_context(codemode(tools=specs, code_model=chat_model, **options))
            server = create_mcp_server(cm, tasks=model is not None, version=version)
            if address is None:
                assert out is not None
                async with stdio_server(stdout=anyio.wrap_file(out)) as (messages, replies):
                    await server.run(messages, replies, server.create_initialization_options())
            else:
                await _serve_http(server, *address)

    run_async(work())


async def _serve_http(server: Server[Any, Any], host: str, port: int) -> None:
    # A page in a browser can reach loopback under a name of its own; the Host header tells it apart (DNS rebinding).
    hosts = [f"{name}:*" for name in _LOOPBACK] if host in _LOOPBACK else None
    app = create_http_app(server, token=os.environ.get(TOKEN) or None, hosts=hosts)
    # Clients hold a stream open for notifications, so a shutdown that waited for their connections would never end.
    config = uvicorn.Config(app, host=host.strip("[]"), port=port, log_level="warning", timeout_graceful_shutdown=3)
    await _HttpServer(config).serve()


class _HttpServer(uvicorn.Server):
    """Prints its address once it listens; a signal ends the server, so that tools and sandboxes are closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again after its shutdown, which would skip the cleanup of the event loop.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # Windows: Ctrl-C ends the process
                loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def startup(self, sockets: object = None) -> None:
        await super().startup(None)
        # The port may be 0: only the socket knows which one it has.
        for listening in (server for group in self.servers for server in group.sockets):
            host, port = listening.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            say(Console(stderr=True), f"serving code mode at http://{shown}:{port}/mcp", style="bold")


def _parse_address(text: str) -> tuple[str, int]:
    """Parse HOST:PORT.

    Raises:
        ConfigurationError: The text is no address, or others can reach the address and there is no token.
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(f"--http takes HOST:PORT, such as 127.0.0.1:8123, not {text!r}")
    host = host or _LOOPBACK[0]
    if host not in _LOOPBACK and not os.environ.get(TOKEN):
        raise ConfigurationError(
            f"{host} can be reached from elsewhere: set {TOKEN} to a secret that clients send as their bearer token"
        )
    return host, int(port)
