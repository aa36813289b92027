"""Connections to MCP servers that several runs share: each leases those it needs, and the last one leaves them warm."""

import asyncio
import hashlib
import json
from contextvars import Context
from dataclasses import asdict, dataclass
from typing import Any

from codemode_graph.mcp.config import ServerConfig
from codemode_graph.mcp.connection import finish
from codemode_graph.mcp.server import MCPServer

__all__ = ["DEFAULT_IDLE_SECONDS", "MCPPool"]

DEFAULT_IDLE_SECONDS = 300.0


@dataclass(slots=True, eq=False)
class _Entry:
    """A server of the pool, the number of its leases, and the timer that ends it where there are none."""

    key: str
    server: MCPServer
    leases: int = 0
    timer: asyncio.TimerHandle | None = None


class MCPPool:
    """Keeps one session with each MCP server, for all loaders that are made with this pool.

    A server that no loader uses is ended after `idle_seconds`. One that was lost meanwhile is connected again for the next
    loader. Servers are equal where all of their configuration is; one with `"shared": false` is never shared, for servers
    that keep something for each session. Calls of several runs go over one session at the same time.

    Each event loop has sessions of its own, since a session can be used in no other.

    Args:
        idle_seconds: How long a session is kept that nobody uses; 0 ends it at once.

    Examples:
        ```python
        pool = MCPPool()
        async with MCPToolLoader.from_config("servers.json", pool=pool) as loader:
            tools = await loader.load()
        ```
    """

    def __init__(self, *, idle_seconds: float = DEFAULT_IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        # By loop, and there by configuration.
        self._entries: dict[asyncio.AbstractEventLoop, dict[str, _Entry]] = {}
        # asyncio keeps no strong reference to a task.
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def size(self) -> int:
        """The number of servers whose sessions are kept in this event loop, those in use included."""
        return len(self._here())

    def acquire(self, config: ServerConfig) -> MCPServer:
        """Lease a server, which is connected when it is first asked. End the lease with `release`."""
        if not config.shared:
            return MCPServer(config)
        # A digest, since headers and variables of a configuration hold credentials.
        key = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()
        entry = self._here().setdefault(key, _Entry(key, MCPServer(config)))
        entry.leases += 1
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None
        return entry.server

    def release(self, server: MCPServer) -> list["asyncio.Task[Any]"]:
        """End a lease of a server.

        Returns:
            Tasks for `finish`, where the server is ended at once: it is not shared, it is not connected, or no session is
            kept that nobody uses.
        """
        entry = next((each for each in self._here().values() if each.server is server), None)
        if entry is None:
            return server.end()
        entry.leases -= 1
        if entry.leases:
            return []
        if not self._idle_seconds or not server.connected:
            return self._remove(entry)
        # A context of its own: that of the caller holds the run that gives the lease back.
        loop = asyncio.get_running_loop()
        entry.timer = loop.call_later(self._idle_seconds, self._expire, entry, context=Context())
        return []

    async def aclose(self) -> None:
        """End all sessions of this event loop, those in use too, within seconds."""
        await finish([task for entry in list(self._here().values()) for task in self._remove(entry)])

    def _here(self) -> dict[str, _Entry]:
        # A loop that is closed has ended its sessions with its tasks.
        for loop in [each for each in self._entries if each.is_closed()]:
            del self._entries[loop]
        return self._entries.setdefault(asyncio.get_running_loop(), {})

    def _remove(self, entry: _Entry) -> list["asyncio.Task[Any]"]:
        if entry.timer is not None:
            entry.timer.cancel()
        self._here().pop(entry.key, None)
        return entry.server.end()

    def _expire(self, entry: _Entry) -> None:
        # anyio, on which connections are built, works in tasks alone.
        task = asyncio.get_running_loop().create_task(self._end(entry))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, entry: _Entry) -> None:
        # A loader may have leased it between the timer and this task.
        if not entry.leases:
            await finish(self._remove(entry))
