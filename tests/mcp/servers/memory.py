"""A server that remembers, waits, talks and dies."""

import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import anyio
from mcp.server.fastmcp import Context, FastMCP
from mcp.types import ToolAnnotations

from tests.mcp.servers.transport import run

server = FastMCP("memory")
READ = ToolAnnotations(readOnlyHint=True)
counter = 0
began: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)
cancelled: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)


@server.tool()
async def count(by: int = 1) -> int:
    """Add to the counter and give it."""
    global counter
    counter += by
    return counter


@server.tool(annotations=READ)
async def process() -> int:
    """The id of the server's process."""
    return os.getpid()


@server.tool()
async def environment() -> dict[str, str]:
    """The server's environment variables, and where it runs."""
    return {**os.environ, "CWD": str(Path.cwd())}


@server.tool()
async def wait(name: str, flag: str = "") -> str:
    """Wait until cancelled; make the file `flag`, if named, once the call is here."""
    began[name].set()
    if flag:
        await anyio.Path(flag).touch()
    try:
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        cancelled[name].set()
        raise
    return "never"


@server.tool(annotations=READ)
async def waited(name: str, cancelled_too: bool = False) -> None:
    """Answer once that wait has started, or was cancelled."""
    await (cancelled if cancelled_too else began)[name].wait()


@server.tool()
async def die(status: int = 3) -> None:
    """End the process at once."""
    print("about to fail\ndisk is full", file=sys.stderr, flush=True)
    os._exit(status)


@server.tool(annotations=READ)
def read_or_die(flag: str) -> str:
    """Read once the file `flag` is there; else write it and die."""
    if not Path(flag).exists():
        Path(flag).touch()
        os._exit(1)
    return "read"


@server.tool()
async def say(text: str, level: Any, ctx: Context[Any, Any, Any]) -> None:
    """Send a log message, write to standard error, and dirty standard output."""
    await ctx.log(level, text)
    print(f"stderr says {text}", file=sys.stderr, flush=True)
    print("this is no JSON", flush=True)


@server.tool()
async def learn(name: str, ctx: Context[Any, Any, Any]) -> None:
    """Offer one more tool, and tell the client."""
    server.add_tool(process, name=name)
    await ctx.session.send_tool_list_changed()


@server.tool()
async def large(megabytes: int) -> str:
    """A text of that size."""
    return "x" * (megabytes << 20)


if __name__ == "__main__":
    run(server)
