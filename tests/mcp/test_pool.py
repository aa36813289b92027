"""Loaders that share sessions: leases, idle ends, lost servers."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from codemode_graph.errors import ConfigurationError, ToolLoadError
from codemode_graph.mcp import MCPPool, MCPToolLoader
from tests.mcp.conftest import Tools
from tests.servers import children, eventually, own_server


def servers(**entry: Any) -> dict[str, Any]:
    return {"mcpServers": {"memory": {**own_server("memory"), **entry}}}


@asynccontextmanager
async def run(pool: MCPPool, config: dict[str, Any] | None = None) -> AsyncIterator[Tools]:
    async with MCPToolLoader.from_config(config or servers(), pool=pool) as loader:
        await loader.load()
        yield Tools(loader)


@pytest.fixture
async def pool() -> AsyncIterator[MCPPool]:
    before = children()
    pool = MCPPool()
    yield pool
    await pool.aclose()
    assert children() <= before


async def test_runs_one_after_another_and_side_by_side_have_one_session(pool: MCPPool) -> None:
    async def one() -> Any:
        async with run(pool) as tools:
            await tools("count")
            return await tools("process")

    processes = [await one(), *await asyncio.gather(*[one() for _ in range(20)])]
    assert len(set(processes)) == 1
    async with run(pool) as tools:
        assert await tools("count", by=0) == 21


async def test_a_session_that_nobody_uses_is_ended_and_one_in_use_is_not() -> None:
    before = children()
    pool = MCPPool(idle_seconds=0.05)
    async with run(pool) as first:
        async with run(pool):
            pass
        await asyncio.sleep(0.2)
        assert await first("count") == 1

    async def ended() -> bool:
        return children() <= before

    await eventually(ended)
    assert pool.size == 0
    async with run(pool) as tools:
        assert await tools("count") == 1
    await pool.aclose()
    none = MCPPool(idle_seconds=0)
    async with run(none):
        assert none.size == 1
    assert none.size == 0
    assert children() <= before


async def test_a_server_that_died_in_the_pool_is_replaced(pool: MCPPool) -> None:
    async with run(pool) as tools:
        first = await tools("process")
    os.kill(first, signal.SIGKILL)
    async with run(pool) as tools, run(pool) as other:
        assert await tools("process") == await other("process") != first


async def test_a_server_that_cannot_start_is_not_kept_and_spares_the_others(pool: MCPPool) -> None:
    async with run(pool) as tools:
        process = await tools("process")
    both = {"mcpServers": {**servers()["mcpServers"], "broken": {"command": "/nowhere"}}}
    for _ in range(2):
        with pytest.raises(ToolLoadError, match="'broken'"):
            async with run(pool, both):
                pass
    assert pool.size == 1
    async with run(pool) as tools:
        assert await tools("process") == process


async def test_a_run_that_is_cancelled_gives_its_session_back(pool: MCPPool) -> None:
    async def wait() -> None:
        async with run(pool) as tools:
            await tools("wait", name="x")

    async with run(pool) as tools:
        task = asyncio.create_task(wait())
        await tools("waited", name="x")
        task.cancel()
        await asyncio.wait({task})
        assert await tools("count") == 1
    assert pool.size == 1


async def test_other_configurations_have_other_sessions_and_some_are_never_shared(pool: MCPPool) -> None:
    async with run(pool) as first, run(pool, servers(env={"X": "1"})) as second:
        assert await first("process") != await second("process")
    alone = servers(shared=False)
    async with run(pool, alone) as first, run(pool, alone) as second:
        assert await first("process") != await second("process")
    assert pool.size == 2
    assert "X" not in repr(pool.__dict__)
    with pytest.raises(ConfigurationError, match=r"memory\.shared"):
        MCPToolLoader.from_config(servers(shared="no"))


def test_each_event_loop_has_sessions_of_its_own() -> None:
    before = children()
    pool = MCPPool()

    async def one() -> int:
        async with run(pool) as tools:
            return int(await tools("process"))

    assert asyncio.run(one()) != asyncio.run(one())
    assert children() <= before
