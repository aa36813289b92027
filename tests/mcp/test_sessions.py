"""Sessions are held, shared, cancelled, lost, opened again and closed."""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import pytest

from codemode_graph.errors import ConfigurationError, ToolOutcomeUnknown
from codemode_graph.mcp import MCPToolLoader
from tests.mcp.conftest import TRANSPORTS, Tools, loaded, over
from tests.servers import children, eventually, listening, open_files, own_server


async def test_a_server_remembers_from_one_call_to_the_next(memory: Tools) -> None:
    before = await memory("count", by=0)
    assert [await memory("count"), await memory("count")] == [before + 1, before + 2]


async def test_many_calls_share_one_session(memory: Tools) -> None:
    before = await memory("count", by=0)
    values = await asyncio.gather(*(memory("count") for _ in range(150)))
    assert sorted(values) == list(range(before + 1, before + 151))


async def test_a_call_that_is_cancelled_is_cancelled_on_the_server(memory: Tools) -> None:
    call = asyncio.create_task(memory("wait", name="given up"))
    await memory("waited", name="given up")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await memory("waited", name="given up", cancelled_too=True)


@pytest.mark.slow
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_call_that_takes_too_long_is_cancelled_and_the_session_stands(transport: str) -> None:
    async with over(transport, "memory", timeout=2.5) as tools:
        process = await tools("process")
        with pytest.raises(TimeoutError, match=r"MCP server 'memory' did not answer wait within 2\.5 seconds") as error:
            await tools("wait", name="slow")
        assert isinstance(error.value, ToolOutcomeUnknown)
        await tools("waited", name="slow", cancelled_too=True)
        assert await tools("process") == process


@pytest.mark.parametrize("transport", ["stdio", "sse", "http", "http-json"])
async def test_a_call_that_a_dying_server_works_on_fails_and_is_not_made_again(transport: str) -> None:
    async with over(transport, "memory") as tools:
        other = asyncio.create_task(tools("wait", name="other"))
        await tools("waited", name="other")
        with pytest.raises(ConnectionError, match="whether the call had its effect is not known") as error:
            await tools("die", status=7)
        assert isinstance(error.value, ToolOutcomeUnknown)
        if transport == "stdio":
            assert str(error.value).startswith("MCP server 'memory' ended with exit status 7 before it answered die;")
        with pytest.raises(ConnectionError, match="before it answered wait"):
            await other


async def test_the_next_call_connects_again() -> None:
    before = children()
    async with loaded(own_server("memory")) as tools:
        assert await tools("count", by=5) == 5
        first = await tools("process")
        call = asyncio.create_task(tools("wait", name="x"))
        await tools("waited", name="x")
        os.kill(first, signal.SIGKILL)
        with pytest.raises(ConnectionError, match="was ended by SIGKILL before it answered wait"):
            await call
        values = await asyncio.gather(*(tools("count") for _ in range(10)))
        assert sorted(values) == list(range(1, 11))
        assert await tools("process") != first
        assert len(children() - before) == 1


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["sse", "http"])
async def test_a_server_that_was_started_again_is_connected_again(transport: str) -> None:
    path = "/sse" if transport == "sse" else "/mcp/"
    async with listening(own_server("memory", transport), path) as server, MCPToolLoader() as loader:
        add = loader.add_sse_server if transport == "sse" else loader.add_http_server
        add("memory", server.url)
        await loader.load()
        tools = Tools(loader)
        assert await tools("count", by=5) == 5
        await server.kill()
        # Over SSE the end of the stream may be seen only after the call was handed over.
        with pytest.raises(ConnectionError, match=r"cannot be reached|closed the connection before it answered count"):
            await tools("count")
        await server.start()
        assert await tools("count") == 1
        await server.kill()
        await server.start()
        assert await tools("count") == 1


async def test_a_read_only_call_is_made_again_when_its_server_died(tmp_path: Path) -> None:
    async with loaded(own_server("memory")) as tools:
        flag = tmp_path / "died"
        assert await tools("read_or_die", flag=str(flag)) == "read"
        assert flag.exists()


async def test_a_read_only_call_is_made_again_only_once(tmp_path: Path) -> None:
    async with loaded(own_server("memory")) as tools:
        missing = tmp_path / "no folder" / "flag"
        with pytest.raises(RuntimeError):
            await tools("read_or_die", flag=str(missing))


async def test_what_a_server_says_goes_to_the_logger(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, logger="codemode")
    async with loaded(own_server("memory")) as tools:
        await tools("say", text="two\nlines", level="warning")
        await tools("say", text="fine", level="info")
    logged = {(record.levelname, record.getMessage()) for record in caplog.records if record.name == "codemode"}
    assert ("WARNING", r"MCP server 'server1': two\nlines") in logged
    assert ("INFO", "MCP server 'server1': fine") in logged
    assert ("DEBUG", "MCP server 'server1': stderr says fine") in logged
    assert ("DEBUG", "MCP server 'server1' wrote what is not a message: this is no JSON") in logged
    assert "stderr says" not in "".join(capfd.readouterr())


async def test_a_changed_list_of_tools_is_read_by_the_next_load(memory: Tools) -> None:
    before = {tool.name for tool in memory.loader.tools}
    name = f"learned-{len(before)}"
    await memory("learn", name=name)

    async def changed() -> bool:
        return {tool.name for tool in await memory.loader.load()} - before == {name}

    await eventually(changed)
    assert isinstance(await memory(name), int)


async def test_loading_again_asks_nobody_twice() -> None:
    async with loaded(own_server("memory")) as tools:
        process = await tools("process")
        assert [tool.name for tool in await tools.loader.load()] == [tool.name for tool in tools.loader.tools]
        assert await tools("process") == process


async def test_a_loader_may_be_closed_in_another_task_and_twice() -> None:
    before = children()
    loader = MCPToolLoader()
    loader.add_stdio_server("memory", **own_server("memory"))
    await asyncio.create_task(loader.load())
    tools = Tools(loader)
    call = asyncio.create_task(tools("wait", name="x"))
    await tools("waited", name="x")
    wait = tools["wait"]
    await asyncio.gather(asyncio.create_task(loader.aclose()), asyncio.create_task(loader.aclose()))
    assert children() <= before
    with pytest.raises(ConnectionError, match="MCP server 'memory' was closed before it answered wait"):
        await call
    with pytest.raises(ConnectionError, match="MCP server 'memory' was closed"):
        await wait.call({"name": "x"}, {})
    with pytest.raises(ConfigurationError, match="load"):
        _ = loader.tools
    await loader.aclose()
    assert len(await loader.load()) > 5
    await loader.aclose()
    assert children() <= before


@pytest.mark.parametrize("moment", ["connecting", "connected", "closing"])
async def test_nothing_is_left_after_a_cancellation(moment: str) -> None:
    before = children()
    connected = asyncio.Event()
    closing = asyncio.Event()
    # One that never answers, and one that does not go when it is asked to.
    stubborn = ["-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(1000)"]

    async def use() -> None:
        async with MCPToolLoader() as loader:
            loader.add_stdio_server("memory", **own_server("memory"))
            if moment == "connecting":
                loader.add_stdio_server("silent", sys.executable, stubborn)
            await loader.load()
            connected.set()
            try:
                await Tools(loader)("wait", name="x")
            finally:
                closing.set()

    async def both_started() -> bool:
        return len(children() - before) == 2

    task = asyncio.create_task(use())
    async with asyncio.timeout(60):
        if moment == "connecting":
            await eventually(both_started)
        else:
            await connected.wait()
        task.cancel()
        if moment == "closing":
            await closing.wait()
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert children() <= before


def test_nothing_is_left_when_the_loop_ends() -> None:
    before = children()
    loader = MCPToolLoader()
    loader.add_stdio_server("memory", **own_server("memory"))
    tools = asyncio.run(loader.load())
    assert children() <= before
    count = next(tool for tool in tools if tool.name == "count")

    async def use_again() -> int:
        value: int = await count.call({}, {})
        await loader.aclose()
        return value

    assert asyncio.run(use_again()) == 1
    assert children() <= before


async def test_a_session_of_another_loop_is_refused() -> None:
    async with loaded(own_server("memory")) as tools:
        with pytest.raises(RuntimeError, match="MCP server 'server1' lives in another event loop"):
            await asyncio.to_thread(lambda: asyncio.run(tools("count")))
        with pytest.raises(RuntimeError, match="must be closed in the event loop in which it was connected"):
            await asyncio.to_thread(lambda: asyncio.run(tools.loader.aclose()))
        assert await tools("count") == 1


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["stdio", "http", "sse"])
async def test_nothing_piles_up_over_many_openings(transport: str) -> None:
    path = {"sse": "/sse", "http": "/mcp/", "stdio": ""}[transport]
    async with listening(own_server("memory", "sse" if transport == "sse" else "http"), path) as server:

        async def open_and_close() -> None:
            async with MCPToolLoader() as loader:
                if transport == "stdio":
                    loader.add_stdio_server("memory", **own_server("memory"))
                elif transport == "sse":
                    loader.add_sse_server("memory", server.url)
                else:
                    loader.add_http_server("memory", server.url)
                await loader.load()
                await Tools(loader)("count")

        await open_and_close()
        processes, files, tasks = children(), open_files(), asyncio.all_tasks()
        for _ in range(10):
            await open_and_close()
        assert children() <= processes
        assert asyncio.all_tasks() == tasks
        assert open_files() == files
