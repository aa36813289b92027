"""Five MCP servers that are not ours, and what they really hold, seen without them."""

import json
import sqlite3
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from codemode_graph import MCPToolLoader, ToolSpec
from tests.servers import real_server

__all__ = ["World", "open_world"]


class World:
    """The servers' tools, and their files, graph, repository and database in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.repo = folder, folder / "repo"
        self.memory, self.database = folder / "memory.jsonl", folder / "data.db"
        self.tools: list[ToolSpec] = []
        self.repo.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "Ann")
        self.git("config", "user.email", "ann@example.org")
        self.git("commit", "--quiet", "--allow-empty", "--message=Begin")

    def program(self, body: str) -> str:
        """A program that knows where things are."""
        return f"root, repo = {str(self.folder)!r}, {str(self.repo)!r}\n{body.strip()}"

    def git(self, *args: str) -> list[str]:
        """The lines that git prints."""
        done = subprocess.run(["git", *args], cwd=self.repo, check=True, capture_output=True, text=True)
        return done.stdout.splitlines()

    def commits(self, message: str) -> int:
        """Return how many commits have this message."""
        return self.git("log", "--all", "--format=%s").count(message)

    def text(self, name: str) -> str | None:
        """Return what is in a file; None where there is none."""
        path = self.folder / name
        return path.read_text() if path.exists() else None

    def entities(self, name: str) -> list[dict[str, Any]]:
        """The nodes of the knowledge graph that have this name, and the edges that begin or end there."""
        lines = map(json.loads, self.memory.read_text().splitlines() if self.memory.exists() else [])
        return [line for line in lines if name in (line.get("name"), line.get("from"), line.get("to"))]

    def rows(self, query: str) -> list[Any]:
        """Return the rows that the database answers."""
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(query).fetchall()


@asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[World]:
    """Start the servers over a new folder."""
    world = World(folder)
    memory = real_server("memory")
    memory["env"]["MEMORY_FILE_PATH"] = str(world.memory)
    async with MCPToolLoader() as loader:
        loader.add_stdio_server("files", **real_server("filesystem", str(folder)))
        loader.add_stdio_server("memory", **memory)
        loader.add_stdio_server("time", **real_server("time", "--local-timezone", "UTC"))
        loader.add_stdio_server("git", **real_server("git", "--repository", str(world.repo)))
        loader.add_stdio_server("sqlite", **real_server("sqlite", "--db-path", str(world.database)))
        world.tools = await loader.load()
        yield world
        await loader.aclose()
