"""`codemode-graph serve`."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path

import anyio
import uvicorn
from mcp.server.stdio import stdio_server
from rich.console import Console

from codemode_graph.api import CodeMode, codemode
from codemode_graph.cli.loading import load, load_sandbox
from codemode_graph.cli.running import run_async
from codemode_graph.cli.versions import version_of
from codemode_graph.errors import ConfigurationError
from codemode_graph.integrations.mcp_server import create_http_app, create_mcp_server
from codemode_graph.model.ask import load_model
from codemode_graph.tools.spec import ToolPolicy
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
    sandbox: str,
    auto: Sequence[str],
    fallback: Sequence[str],
    packages: Sequence[str],
    approve: Sequence[str],
    max_attempts: int,
    timeout: float,
    http: str | None,
) -> None:
    """Serve code mode to MCP clients until they leave (stdio), or until Ctrl-C (HTTP)."""
    # The SDK warns at length of each request of a newer protocol, which clients make to find out what is understood.
    logging.getLogger().setLevel(logging.ERROR)
    # The protocol's own stdout; what tools print goes to stderr.
    out = TextIOWrapper(sys.stdout.buffer, encoding="utf-8") if http is None else None

    async def work() -> None:
        # First what fails at once, before any server is started.
        address = None if http is None else _address(http)
        chat_model = None if model is None else load_model(model)
        backend = load_sandbox(sandbox, auto=auto, fallback=fallback, packages=packages)
        async with AsyncExitStack() as stack:
            specs = await load(stack, mcp, tools)
            cm = codemode(
                tools=specs,
                backend=backend,
                code_model=chat_model,
                max_retries=max_attempts,
                timeout=timeout,
                policies={pattern: ToolPolicy(approval=True) for pattern in approve},
            )
            await stack.enter_async_context(cm)
            if address is None:
                assert out is not None
                await _stdio(cm, out, tasks=model is not None)
            else:
                await _http(cm, address, tasks=model is not None)

    run_async(work())


async def _stdio(cm: CodeMode, out: TextIOWrapper, *, tasks: bool) -> None:
    server = create_mcp_server(cm, tasks=tasks, version=version_of("codemode-graph"))
    async with stdio_server(stdout=anyio.wrap_file(out)) as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


async def _http(cm: CodeMode, address: tuple[str, int], *, tasks: bool) -> None:
    host, port = address
    mcp = create_mcp_server(cm, tasks=tasks, version=version_of("codemode-graph"))
    hosts = [f"{name}:*" for name in _LOOPBACK] if host in _LOOPBACK else None
    app = create_http_app(mcp, token=os.environ.get(TOKEN) or None, hosts=hosts)
    config = uvicorn.Config(app, host=host.strip("[]"), port=port, log_level="warning", timeout_graceful_shutdown=3)
    server = _Server(config)
    await server.serve()


class _Server(uvicorn.Server):
    """Says where it is, once it is there; a signal ends it, not the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # Windows: Ctrl-C ends the process
                loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def startup(self, sockets: object = None) -> None:
        await super().startup(None)
        for listening in (server for group in self.servers for server in group.sockets):
            host, port = listening.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            say(Console(stderr=True), f"serving code mode at http://{shown}:{port}/mcp", style="bold")


def _address(given: str) -> tuple[str, int]:
    """Read HOST:PORT.

    Raises:
        ConfigurationError: It is none, or one for others than this machine, and there is no token.
    """
    host, _, port = given.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigurationError(f"--http takes HOST:PORT, such as 127.0.0.1:8123, not {given!r}")
    host = host or _LOOPBACK[0]
    if host not in _LOOPBACK and not os.environ.get(TOKEN):
        raise ConfigurationError(
            f"{host} can be reached from elsewhere: set {TOKEN} to a secret that clients send as their bearer token"
        )
    return host, int(port)
