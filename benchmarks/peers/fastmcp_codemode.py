"""FastMCP's CodeMode: a server in this process whose tool `execute` runs a program in Monty."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastmcp import Client, FastMCP  # type: ignore[import-not-found]
from fastmcp.experimental.transforms.code_mode import CodeMode  # type: ignore[import-not-found]

from benchmarks.peers.tools import EXPECTED, GATHERED, LISTED, LOOPED, LOOPED_FAR, TOOLS
from benchmarks.peers.worker import Run, Ways

__all__ = ["open_ways"]

_LOOP = """\
total = 0
for number in range({count}):
    total += (await call_tool("get_item", {{"id": number}}))["price"]
return {{"total": total}}
"""

_PROGRAMS = (
    'return {"sum": 1 + 1}\n',
    'return {"price": (await call_tool("get_item", {"id": 1}))["price"]}\n',
    _LOOP.format(count=LOOPED),
    _LOOP.format(count=LOOPED_FAR),
    f"""\
import asyncio
items = await asyncio.gather(*[call_tool("get_item", {{"id": number}}) for number in range({GATHERED})])
return {{"total": sum(item["price"] for item in items)}}
""",
    f"""\
import asyncio
listing = await call_tool("list_items", {{"limit": {LISTED}}})
items = await asyncio.gather(*[call_tool("get_item", {{"id": number}}) for number in listing["ids"]])
wanted = [item for item in items if item["in_stock"] and item["price"] < 150]
return {{"count": len(wanted), "total": sum(item["price"] for item in wanted)}}
""",
)


@asynccontextmanager
async def open_ways() -> AsyncIterator[Ways]:
    """Open a server with the tools, and a client that stays connected."""
    server = FastMCP("shop", transforms=[CodeMode(max_tool_calls=None)])  # its bound is 50: two programs make more
    for tool in TOOLS:
        server.tool(tool)
    async with Client(server) as client:

        def runner(program: str) -> Run:
            async def run(comment: str) -> Any:
                return (await client.call_tool("execute", {"code": program + comment})).data

            return run

        yield {"fastmcp": dict(zip(EXPECTED, map(runner, _PROGRAMS), strict=True))}
