"""One input that comes twice, and a run that is gone on with late: by when it was given, it is one run."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command
from typing_extensions import TypedDict

from codemode_graph import codemode, create_codemode
from codemode_graph.calls import identity
from codemode_graph.checkpoints import FileCheckpoints
from codemode_graph.errors import JournalError
from codemode_graph.nodes import delivery, generate
from codemode_graph.runs import Runs
from codemode_graph.tools import tool

CONFIG: RunnableConfig = {"configurable": {"thread_id": "one"}}
GIVEN: Any = {"task": "", "code": "[await tools.pay('a'), await tools.pay('b')]"}


class World:
    def __init__(self) -> None:
        self.paid: list[str] = []
        self.hangs: asyncio.Event | None = None

    async def pay(self, to: str) -> str:
        """Pay."""
        if self.hangs is not None and self.paid:
            self.hangs.set()
            await asyncio.Event().wait()
        self.paid.append(to)
        await asyncio.sleep(0)
        return f"paid {to}"


class Outer(TypedDict, total=False):
    task: str
    code: str
    output: Any


@asynccontextmanager
async def opened(world: World, place: Path, *, nested: bool = False) -> AsyncIterator[tuple[Any, AsyncSqliteSaver]]:
    async with AsyncSqliteSaver.from_conn_string(str(place)) as saver:
        graph: Any = create_codemode(model=None, tools=[world.pay])
        if nested:
            graph = StateGraph(Outer).add_node("codemode", graph.compile()).add_edge(START, "codemode")
        yield graph.compile(checkpointer=saver), saver


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("before", [False, True], ids=["first", "later"])
async def test_a_delivery_that_begins_when_the_other_has_ended_is_the_same_run(
    tmp_path: Path, durability: Any, before: bool
) -> None:
    world, loaded, goes_on = World(), asyncio.Event(), asyncio.Event()
    async with opened(world, tmp_path / "db") as (app, _), opened(world, tmp_path / "db") as (late, saver):
        if before:
            await app.ainvoke({"task": "", "code": "await tools.pay('z')"}, CONFIG)
        load = saver.aget_tuple

        async def slow(config: RunnableConfig) -> Any:
            found = await load(config)
            loaded.set()
            await goes_on.wait()
            return found

        saver.aget_tuple = slow  # type: ignore[method-assign]
        second = asyncio.create_task(late.ainvoke(GIVEN, CONFIG, durability=durability))
        await loaded.wait()
        first = await app.ainvoke(GIVEN, CONFIG, durability=durability)
        goes_on.set()
        assert (await second)["output"] == first["output"] == ["paid a", "paid b"]
        assert world.paid == ["z"] * before + ["a", "b"]
        # Who has its result means the same input anew, and so does who deletes the thread.
        await app.ainvoke(GIVEN, CONFIG, durability=durability)
        assert world.paid == ["z"] * before + ["a", "b"] * 2
        if durability == "sync":
            await saver.adelete_thread("one")
            await app.ainvoke(GIVEN, CONFIG, durability=durability)
            assert world.paid == ["z"] * before + ["a", "b"] * 3


@pytest.mark.parametrize("nested", [False, True])
async def test_a_run_that_is_gone_on_with_after_a_day_is_that_run(
    tmp_path: Path, nested: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    world.hangs = asyncio.Event()
    async with opened(world, tmp_path / "db", nested=nested) as (app, saver):
        put = saver.aput

        async def first_alone(config: Any, checkpoint: Any, metadata: Any, versions: Any) -> Any:
            if metadata["source"] != "input":
                await asyncio.Event().wait()
            return await put(config, checkpoint, metadata, versions)

        saver.aput = first_alone  # type: ignore[assignment, method-assign]
        killed = asyncio.create_task(app.ainvoke(GIVEN, CONFIG, durability="async"))
        await world.hangs.wait()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        with suppress(BaseException):
            await killed
    world.hangs = None
    identity._claims.clear()
    # Whatever is older than this moment is older than an hour.
    for module in (identity, generate, delivery):
        monkeypatch.setattr(module, "REJOIN_FOR", 0.0)
    async with opened(world, tmp_path / "db", nested=nested) as (app, _):
        assert (await app.ainvoke(None, CONFIG))["__interrupt__"]  # whether b was paid
        assert world.paid == ["a"]


async def test_an_input_that_comes_again_after_a_day_says_what_its_run_did_and_asks_before_it_destroys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    world.hangs = asyncio.Event()
    removed: list[str] = []

    @tool(effect="destructive")
    async def remove(name: str) -> str:
        """Remove."""
        removed.append(name)
        return f"removed {name}"

    def app(saver: Any) -> Any:
        return create_codemode(model=None, tools=[world.pay, remove]).compile(checkpointer=saver)

    program = "[await tools.remove('x'), await tools.pay('a'), await tools.pay('b')]"
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
        stopped = asyncio.create_task(app(saver).ainvoke({"task": "", "code": program}, CONFIG, durability="exit"))
        await world.hangs.wait()
        stopped.cancel()
        with suppress(asyncio.CancelledError):
            await stopped
        world.hangs = None
        for module in (identity, generate, delivery):
            monkeypatch.setattr(module, "REJOIN_FOR", 0.0)
        state = await app(saver).ainvoke({"task": "", "code": program}, CONFIG)
        (request,) = state["__interrupt__"][0].value["action_requests"]
        assert (request["name"], removed) == ("remove", ["x"])
        assert "by a run of the same input that was cut off" in request["description"]
        approved: Any = Command(resume={"decisions": [{"type": "approve"}]})
        state = await app(saver).ainvoke(approved, CONFIG)
        assert state["output"] == ["removed x", "paid a", "paid b"]
        assert all("which was cut off" in call["mark"] for call in state["tool_calls"])


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("how", ["at one time", "later"])
async def test_a_task_that_is_given_twice_under_one_id_is_done_once(
    tmp_path: Path, durable: bool, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, looked, goes_on = World(), asyncio.Event(), asyncio.Event()
    place = tmp_path / "runs.sqlite" if durable else None
    async with codemode(tools=[world.pay], durable=place) as cm:
        if how == "at one time":
            run: Callable[..., Awaitable[Any]] = Runs._run

            async def slow(*args: Any, **more: Any) -> Any:
                if not looked.is_set():
                    looked.set()
                    await goes_on.wait()
                return await run(*args, **more)

            monkeypatch.setattr(Runs, "_run", slow)
            second = asyncio.create_task(cm.run_code(GIVEN["code"], run_id="r"))
            await looked.wait()
        first = await cm.run_code(GIVEN["code"], run_id="r")
        goes_on.set()
        again = await (second if how == "at one time" else cm.run_code(GIVEN["code"], run_id="r"))
        assert again["output"] == first["output"] == ["paid a", "paid b"]
        assert world.paid == ["a", "b"]


async def test_a_run_that_is_deleted_while_it_is_driven_ends() -> None:
    there, goes_on = asyncio.Event(), asyncio.Event()
    world = World()

    async def wait() -> str:
        """Wait."""
        there.set()
        await goes_on.wait()
        return "waited"

    async with codemode(tools=[world.pay, wait]) as cm:
        run = asyncio.create_task(cm.run_code("await tools.pay('a')\nawait tools.wait()\nawait tools.pay('b')"))
        await there.wait()
        (info,) = await cm._runs._journal.runs()
        await cm._runs._journal.delete(info.run)
        goes_on.set()
        with pytest.raises(JournalError, match="was deleted while it was driven"):
            await run
    assert world.paid == ["a"]


def test_what_a_step_has_written_is_in_the_file_whole_or_not_at_all(tmp_path: Path) -> None:
    """A process that reads half of it takes the step for one that has run, and goes on without the rest of its result."""
    saver = FileCheckpoints(tmp_path / "runs.sqlite")
    place: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "1"}}
    saver.put(place, empty_checkpoint(), {}, {})
    fails = "CREATE TRIGGER full BEFORE INSERT ON writes WHEN new.idx = 2 BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    with saver.cursor() as cursor:
        cursor.execute(fails)
    with pytest.raises(JournalError, match=r"runs.sqlite cannot be used: disk full"):
        saver.put_writes(place, [("a", 1), ("b", 2), ("c", 3)], "task")
    with saver.cursor() as cursor:
        assert cursor.execute("SELECT count(*) FROM writes").fetchone() == (0,)
        cursor.execute("DROP TRIGGER full")
    saver.put_writes(place, [("a", 1), ("b", 2), ("c", 3)], "task")
    with saver.cursor(transaction=False) as cursor:
        assert cursor.execute("SELECT count(*) FROM writes").fetchone() == (3,)
    saver.close()
