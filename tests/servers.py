"""MCP servers to test with: how to start them, over standard input and output or over HTTP.

Real servers, which are not ours, are installed by `scripts/install-mcp-servers`.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typing_extensions import TypedDict

from benchmarks.boxes.processes import descendants
from tests.sandboxes.ray_cluster import cluster_processes

ROOT = Path(__file__).parent.parent
PEER = os.environ.get("CODEMODE_PEER_PYTHON", sys.executable)
"""The Python of the process at the other end: one with another major of the SDK where scripts/test-newest sets it."""

_NODE = "node_modules/@modelcontextprotocol/server-{}/dist/index.js"


class StdioParams(TypedDict):
    """The parameters that start a server: `loader.add_stdio_server("name", **params)`."""

    command: str
    args: list[str]
    env: dict[str, str]


def own_server(name: str, *args: str) -> StdioParams:
    """One of the servers in tests/mcp/servers; its first argument is the transport, "stdio" unless given."""
    module = f"tests.mcp.servers.{name}"
    return StdioParams(command=PEER, args=["-m", module, *args], env={"PYTHONPATH": str(ROOT)})


def real_server(name: str, *args: str) -> StdioParams:
    """A server that is not ours: "everything", "filesystem", "memory", "time", "git" or "sqlite". Skips without it."""
    if name in ("everything", "filesystem", "memory"):
        script = installed("node") / _NODE.format(name)
        params = StdioParams(command="node", args=[str(script), *args], env={})
    else:
        script = installed("venvs") / name / "bin" / f"mcp-server-{name}"
        params = StdioParams(command=str(script), args=list(args), env={})
    return params


def installed(name: str) -> Path:
    """A folder of what scripts/install-mcp-servers installs. Skips without it."""
    folder = Path(os.environ.get("CODEMODE_MCP_SERVERS") or ROOT / ".cache" / "mcp-servers") / name
    if not folder.exists():
        pytest.skip("real MCP servers and clients are not installed: run scripts/install-mcp-servers")
    return folder


class HttpServer:
    """A server that listens on a port of its own on the loopback interface."""

    def __init__(self, params: StdioParams, path: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}{path}"
        self._params, self._port = params, port
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        env = {**os.environ, **self._params["env"], "PORT": str(self._port)}
        command = [self._params["command"], *self._params["args"]]
        self._process = await asyncio.to_thread(
            subprocess.Popen, command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        async with asyncio.timeout(60):
            while True:
                assert self._process.poll() is None, f"{command} ended with {self._process.returncode}"
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    await writer.wait_closed()
                    return

    async def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        self._process.kill()
        await asyncio.to_thread(self._process.wait)


@asynccontextmanager
async def listening(params: StdioParams, path: str) -> AsyncIterator[HttpServer]:
    """Run a server on a free port, which it finds in the environment variable PORT."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = HttpServer(params, path, free.getsockname()[1])
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds, a minute at most."""
    async with asyncio.timeout(60):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)


def children() -> set[int]:
    """The processes that descend from this one, without those of the session's Ray cluster, which come and go."""
    return set(descendants(os.getpid())) - cluster_processes()


def open_files() -> int:
    """Return how many file descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
