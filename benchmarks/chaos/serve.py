"""Worlds in a process of their own, which no kill of a run's process reaches: `python -m benchmarks.chaos.serve SOCKET`."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.chaos.world import Worlds

__all__ = ["RemoteWorlds", "serving"]

_MOST = 2**24
"""Bytes of a message: a world has all effects of its thread."""


class RemoteWorlds:
    """The worlds that another process keeps.

    Args:
        socket: Where it listens.
        scene: Begins the names of the worlds, so that scenes share none.
    """

    def __init__(self, socket: Path, scene: str) -> None:
        self._socket, self._scene = socket, scene

    async def call(self, thread: str, method: str, *arguments: Any) -> Any:
        """Call a method of the world of a thread."""
        reader, writer = await asyncio.open_unix_connection(self._socket, limit=_MOST)
        try:
            writer.write(json.dumps([f"{self._scene}/{thread}", method, *arguments]).encode() + b"\n")
            await writer.drain()
            return json.loads(await reader.readline())
        finally:
            writer.close()


@contextmanager
def serving(folder: Path) -> Iterator[Path]:
    """Start the process that keeps worlds, and end it after. Return where it listens."""
    socket = folder / "worlds"
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.chaos.serve", str(socket)])
    try:
        while not socket.exists() and process.poll() is None:
            time.sleep(0.01)
        yield socket
    finally:
        process.terminate()
        process.wait()


async def _serve(socket: str) -> None:
    worlds = Worlds()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if line := await reader.readline():
            # What was asked for is done, also where the process that asked is killed before it hears of it.
            writer.write(json.dumps(worlds.do(*json.loads(line))).encode() + b"\n")
        writer.close()

    async with await asyncio.start_unix_server(answer, socket, limit=_MOST) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
