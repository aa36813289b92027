"""Measures what the journal costs, a call, as a run makes more and more of them, and what a call weighs in the state.

Run it from the repository's root, where codemode-graph and its `test` extra are installed:
`python -m benchmarks.journal`. It takes some minutes and needs no network. README.md beside it says what is measured.
"""

import argparse
import asyncio
import gc
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Literal

from codemode_sandboxes import Limits
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite.aio import AsyncSqliteStore
from langgraph.types import Command

from benchmarks.figures import duration, table
from benchmarks.machine import ROOT, load, machine, revision
from codemode_graph import ToolPolicy, create_codemode, tool

__all__ = ["main"]

SIZES = {10: 5, 100: 5, 1000: 2, 5000: 1}
"""Calls in a run, and how many such runs there are in a round: the shorter, the more the rest of the machine disturbs."""
MOST_ON_DISK = 1000
"""Two commits a call, each of which waits for the disk."""
LIMITS = Limits(seconds=300, calls=10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way to make calls.

    Attributes:
        tool: What is called.
        saver: Checkpoints go to SQLite.
        store: Calls with an effect are written to a store before and after: one in "memory", or in "sqlite".
        gather: The calls are made side by side; else one after the other.
        again: The run has stopped for an approval after the calls; what is timed is that it goes on.
    """

    tool: str
    saver: bool = False
    store: Literal["memory", "sqlite"] | None = None
    gather: bool = False
    again: bool = False


WAYS = {
    "read": Way(tool="look"),
    "write": Way(tool="put"),
    "write, gather": Way(tool="put", gather=True),
    "read, saver": Way(tool="look", saver=True),
    "write, saver": Way(tool="put", saver=True),
    "write, saver, store": Way(tool="put", saver=True, store="memory"),
    "write, saver, SQLite store": Way(tool="put", saver=True, store="sqlite"),
    "answered again": Way(tool="put", saver=True, store="memory", again=True),
}


def tools(size: int = 2) -> list[Any]:
    """Tools that answer at once, with a text of `size` characters."""
    text = "x" * size

    @tool(effect="read")
    async def look(number: int) -> str:
        """Read something."""
        return text

    async def put(number: int) -> str:
        """Write something."""
        return text

    async def ask(number: int) -> int:
        """Do something that needs approval."""
        return number

    return [look, put, ask]


def program(way: Way, calls: int) -> str:
    """Make the calls, and stop for approval where that is measured."""
    call = f"tools.{way.tool}(number)"
    if way.gather:
        made = f"import asyncio\nawait asyncio.gather(*[{call} for number in range({calls})])"
    else:
        made = f"for number in range({calls}):\n    await {call}"
    return f"{made}\nawait tools.ask(0)" if way.again else f"{made}\n0"


@asynccontextmanager
async def graph(way: Way, folder: Path, size: int = 2) -> AsyncIterator[Any]:
    """The compiled graph, with what the way keeps its state in."""
    async with AsyncExitStack() as stack:
        saver: AsyncSqliteSaver | None = None
        store: BaseStore | None = None
        if way.saver:
            saver = await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(str(folder / "checkpoints")))
        if way.store == "memory":
            store = InMemoryStore()
        elif way.store == "sqlite":
            sqlite = await stack.enter_async_context(AsyncSqliteStore.from_conn_string(str(folder / "store")))
            await sqlite.setup()
            store = sqlite
        made = create_codemode(
            model=None, tools=tools(size), policies={"ask": ToolPolicy(approval=True)}, limits=LIMITS, timeout=600
        )
        yield made.compile(checkpointer=saver, store=store)


async def run(app: Any, way: Way, calls: int, thread: str) -> tuple[float, float]:
    """Run a program, and give the seconds that it took on the clock and on this process's processors."""
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    given: Any = {"task": "", "code": program(way, calls)}
    if way.again:
        await app.ainvoke(given, config)
        given = Command(resume={"decisions": [{"type": "approve"}]})
    gc.collect()
    clock, processor = time.perf_counter(), time.process_time()
    state = await app.ainvoke(given, config)
    taken = time.perf_counter() - clock, time.process_time() - processor
    if state["output"] != 0:
        raise RuntimeError(f"{calls} calls failed: {state['error']}")
    return taken


async def cost(way: Way, rounds: int) -> dict[int, dict[str, float]]:
    """Seconds a call, by number of calls: what a run takes longer with them than without, the shortest of each."""
    taken: dict[int, list[tuple[float, float]]] = {}
    with TemporaryDirectory() as folder:
        async with graph(way, Path(folder)) as app:
            for number in range(rounds):
                for calls, runs in {0: 5, **_sizes(way)}.items():
                    for each in range(runs):
                        taken.setdefault(calls, []).append(await run(app, way, calls, f"{number} {calls} {each}"))
    least = {calls: [min(each[i] for each in runs) for i in (0, 1)] for calls, runs in taken.items()}
    return {
        calls: {
            "clock": (least[calls][0] - least[0][0]) / calls,
            "processor": (least[calls][1] - least[0][1]) / calls,
            "median clock": (median(each[0] for each in taken[calls]) - median(each[0] for each in taken[0])) / calls,
        }
        for calls in _sizes(way)
    }


def _sizes(way: Way) -> dict[int, int]:
    return {calls: runs for calls, runs in SIZES.items() if way.store != "sqlite" or calls <= MOST_ON_DISK}


async def weight(size: int, calls: int) -> dict[str, float]:
    """Bytes a call: in the state as JSON, and in the file with the checkpoints. All values differ from nothing."""
    way = Way(tool="put", saver=True)
    with TemporaryDirectory() as name:
        folder = Path(name)

        async def written(calls: int) -> tuple[int, int]:
            file = folder / str(calls)
            file.mkdir()
            async with graph(way, file, size) as app:
                config: RunnableConfig = {"configurable": {"thread_id": "one"}}
                state = await app.ainvoke({"task": "", "code": program(way, calls)}, config)
            return len(json.dumps(state["tool_calls"])), sum(path.stat().st_size for path in file.iterdir())

        none, some = await written(0), await written(calls)
    return {"state": (some[0] - none[0]) / calls, "checkpoints": (some[1] - none[1]) / calls}


async def measure(options: argparse.Namespace) -> None:
    """Run the benchmark and write its results."""
    facts: dict[str, Any] = {
        "date": date.today().isoformat(),
        "revision": revision(),
        "machine": machine(),
        "packages": {name: version(name) for name in ("langgraph", "langgraph-checkpoint-sqlite", "pydantic-monty")},
        "settings": {"rounds": options.rounds},
    }
    costs = {}
    for name, way in WAYS.items():
        print(name, file=sys.stderr)
        costs[name] = await cost(way, options.rounds)
    weights = {size: await weight(size, 200) for size in (20, 2_000, 20_000, 200_000)}
    facts |= {"load after": load(), "seconds a call": costs, "bytes a call": weights}
    report = markdown(facts)
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "journal.json").write_text(json.dumps(facts, indent=1) + "\n")
    (options.results / "journal.md").write_text(report)
    print(report)


def markdown(facts: dict[str, Any]) -> str:
    """Write the report."""
    here, costs, weights = facts["machine"], facts["seconds a call"], facts["bytes a call"]
    titles = {name: name for name in costs}

    def by_calls(figure: str) -> str:
        def cell(row: str, way: str) -> str:
            found = costs[way].get(int(row.replace(",", "")))
            return duration(found[figure]) if found else ""

        return table("calls in the run", [f"{size:,}" for size in SIZES], titles, cell)

    where: dict[str, Callable[[int], str]] = {
        "state": lambda size: f"{weights[size]['state']:,.0f} bytes",
        "checkpoints": lambda size: f"{weights[size]['checkpoints']:,.0f} bytes",
    }
    columns = {"state": "in the state, as JSON", "checkpoints": "in the file with all checkpoints of the run"}
    sizes = {f"{size:,} bytes": size for size in weights}
    parts = [
        "# What the journal costs",
        f"{facts['date']}, codemode-graph at {facts['revision'] or 'an unknown commit'}. {here['cpu']}, {here['cores']} "
        f"cores, {here['system']}, {here['python']}; load before {here['load']}, after {facts['load after']}. "
        + ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
        + ".",
        "## Time of one call, on the clock",
        "What a run takes longer with its calls than without any, for each; the shortest run of each size "
        "counts. The tools answer at once. *Answered again*: the run was stopped and goes on, and the call is answered from "
        "the journal.",
        by_calls("clock"),
        "## Time of one call, on the processors of the host's process",
        "The sandbox is another process, and not in these; nor is waiting for the disk.",
        by_calls("processor"),
        "## Weight of one call",
        "Of 200 calls with values of that size; from 32 kB on a value is kept outside the state, by reference.",
        table("value", sizes, columns, lambda row, column: where[column](sizes[row])),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journal", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="times that everything is measured (%(default)s)")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="where to write")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
