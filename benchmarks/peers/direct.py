"""The same programs as Python functions that call the tools: the least that a run can take."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.peers.tools import EXPECTED, GATHERED, LISTED, LOOPED, LOOPED_FAR, get_item, list_items
from benchmarks.peers.worker import Run, Ways

__all__ = ["open_ways"]


async def _none(_comment: str) -> Any:
    return {"sum": 1 + 1}


async def _one(_comment: str) -> Any:
    return {"price": (await get_item(id=1))["price"]}


def _loop(calls: int) -> Run:
    async def loop(_comment: str) -> Any:
        total = 0
        for number in range(calls):
            total += (await get_item(id=number))["price"]
        return {"total": total}

    return loop


async def _gather(_comment: str) -> Any:
    items = await asyncio.gather(*[get_item(id=number) for number in range(GATHERED)])
    return {"total": sum(item["price"] for item in items)}


async def _realistic(_comment: str) -> Any:
    listing = await list_items(limit=LISTED)
    items = await asyncio.gather(*[get_item(id=number) for number in listing["ids"]])
    wanted = [item for item in items if item["in_stock"] and item["price"] < 150]
    return {"count": len(wanted), "total": sum(item["price"] for item in wanted)}


@asynccontextmanager
async def open_ways() -> AsyncIterator[Ways]:
    """Yield the functions."""
    runs = (_none, _one, _loop(LOOPED), _loop(LOOPED_FAR), _gather, _realistic)
    yield {"direct": dict(zip(EXPECTED, runs, strict=True))}
