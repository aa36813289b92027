"""Measures what the journal costs, a call, as a run makes more and more of them, and what a call weighs in the state.

Run it from the repository's root, where codemode-graph and its `test` extra are installed:
`python -m benchmarks.journal`. It takes some minutes and needs no network. PostgreSQL is measured where its server is
installed. README.md beside it says what is measured.
"""

import argparse
import asyncio
import gc
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from codemode_sandboxes import Limits
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from benchmarks import store
from benchmarks.figures import duration, table
from benchmarks.machine import load
from codemode_graph import create_codemode, tool
from codemode_graph.calls.journal import Journal, MemoryJournal
from codemode_graph.calls.log import Event
from codemode_graph.calls.postgres import PostgresJournal
from codemode_graph.calls.sqlite import SQLiteJournal
from tests.durable.postgres import binaries, server

__all__ = ["main"]

SIZES = {10: 12, 100: 6, 1000: 2, 5000: 1}
"""Calls in a run, and how many such runs there are in a round: the shorter, the more the rest of the machine disturbs."""
TOGETHER = 64
"""Calls in a gather."""
LIMITS = Limits(seconds=300, calls=10_000)
PROGRAMS = {
    "read, loop": "for number in range({calls}):\n    await tools.look(number)\n0",
    "write, loop": "for number in range({calls}):\n    await tools.put(number)\n0",
    "write, gather": (
        "import asyncio\nfor first in range(0, {calls}, {together}):\n"
        "    await asyncio.gather(*[tools.put(n) for n in range(first, min(first + {together}, {calls}))])\n0"
    ),
}
"""The ways to make calls: one after the other, and 64 at a time."""
TARGETS = {"write, loop": 1e-3, "write, gather": 0.35e-3}
"""Seconds that a call with a journal in SQLite may take longer than one without a journal."""


class NoJournal(MemoryJournal):
    """Keeps nothing: what a run costs without a journal."""

    async def append(self, run: str, expected: int, events: Sequence[Event]) -> int:
        """Say that events were appended."""
        return expected + len(events)


def tools(size: int = 2) -> list[Any]:
    """Return tools that answer at once, with a text of `size` characters."""
    text = "x" * size

    @tool(effect="read")
    async def look(number: int) -> str:
        """Read something."""
        return text

    @tool(effect="write")
    async def put(number: int) -> str:
        """Write something."""
        return text

    return [look, put]


@asynccontextmanager
async def journals(folder: Path, postgres: str | None) -> AsyncIterator[dict[str, Journal]]:
    """Open one journal of each kind."""
    opened: dict[str, Journal] = {
        "none": NoJournal(),
        "memory": MemoryJournal(),
        "SQLite": SQLiteJournal(folder / "journal.db"),
    }
    if postgres is not None:
        opened["PostgreSQL"] = PostgresJournal(postgres)
    try:
        yield opened
    finally:
        for journal in opened.values():
            await journal.aclose()


async def run(app: Any, way: str, calls: int) -> tuple[float, float]:
    """Run a program, and return the seconds that it took on the clock and on this process's processors."""
    code = PROGRAMS[way].format(calls=calls, together=TOGETHER)
    gc.collect()
    clock, processor = time.perf_counter(), time.process_time()
    state = await app.ainvoke({"task": "", "code": code})
    taken = time.perf_counter() - clock, time.process_time() - processor
    if state["output"] != 0:
        raise RuntimeError(f"{calls} calls failed: {state['error']}")
    return taken


async def costs(way: str, opened: dict[str, Journal], rounds: int) -> dict[str, dict[int, dict[str, float]]]:
    """Return the seconds a call by journal and number of calls: what a run takes longer with them than without any."""
    apps = {
        kind: create_codemode(model=None, tools=tools(), journal=journal, limits=LIMITS, timeout=600).compile()
        for kind, journal in opened.items()
    }
    taken: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for calls, runs in {0: 12, **SIZES}.items():
            for _ in range(runs):
                # In turns, so that other work on the machine disturbs all of them alike.
                for kind, app in apps.items():
                    taken.setdefault((kind, calls), []).append(await run(app, way, calls))
    found: dict[str, dict[int, dict[str, float]]] = {}
    for kind in apps:
        none = taken[kind, 0]
        for calls in SIZES:
            some = taken[kind, calls]
            found.setdefault(kind, {})[calls] = {
                "clock": (min(each[0] for each in some) - min(each[0] for each in none)) / calls,
                "processor": (min(each[1] for each in some) - min(each[1] for each in none)) / calls,
                "median": (median(each[0] for each in some) - median(each[0] for each in none)) / calls,
            }
    return found


async def weight(size: int, calls: int) -> dict[str, float]:
    """Return the bytes of a call: in the state as JSON, in the journal, and in the file with the checkpoints."""

    async def written(calls: int) -> list[int]:
        with TemporaryDirectory(dir=".") as name:
            journal = SQLiteJournal(Path(name) / "journal")
            async with AsyncSqliteSaver.from_conn_string(str(Path(name) / "checkpoints")) as saver:
                graph = create_codemode(model=None, tools=tools(size), journal=journal, limits=LIMITS)
                config: RunnableConfig = {"configurable": {"thread_id": "one"}}
                code = PROGRAMS["write, loop"].format(calls=calls)
                state = await graph.compile(checkpointer=saver).ainvoke({"task": "", "code": code}, config)
            await journal.aclose()
            return [
                len(json.dumps(state["tool_calls"])),
                *(_size(Path(name), file) for file in ("journal", "checkpoints")),
            ]

    none, some = await written(0), await written(calls)
    names = ("state", "journal", "checkpoints")
    return {each: (some[at] - none[at]) / calls for at, each in enumerate(names)}


def _size(folder: Path, name: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(f"{name}*"))


async def measure(options: argparse.Namespace, postgres: str | None) -> None:
    """Run the benchmark and write its results."""
    facts: dict[str, Any] = {
        **store.facts(),
        "packages": {name: version(name) for name in ("langgraph", "pydantic-monty")},
        "settings": {"rounds": options.rounds},
    }
    found = {}
    with TemporaryDirectory(prefix="codemode-journal-", dir=".") as folder:
        async with journals(Path(folder), postgres) as opened:
            for way in PROGRAMS:
                print(way, file=sys.stderr)
                found[way] = await costs(way, opened, options.rounds)
    weights = {size: await weight(size, 200) for size in (20, 2_000, 20_000, 200_000)}
    facts |= {"load after": load(), "seconds a call": found, "bytes a call": weights}
    report = markdown(facts)
    store.write("journal", facts, report, folder=options.results)
    print(report)


def markdown(facts: dict[str, Any]) -> str:
    """Return the report."""
    here, found, weights = facts["machine"], facts["seconds a call"], facts["bytes a call"]
    kinds = list(next(iter(found.values())))
    rows = {f"{way}, {calls:,}": (way, calls) for way in found for calls in SIZES}

    def by_calls(figure: str, *, more: bool = False) -> str:
        def cell(row: str, kind: str) -> str:
            way, calls = rows[row]
            without = found[way]["none"][calls][figure] if more else 0.0
            return duration(found[way][kind][calls][figure] - without)

        shown = {kind: kind for kind in kinds if not more or kind != "none"}
        return table("calls in the run", rows, shown, cell)

    columns = {
        "state": "in the state, as JSON",
        "journal": "in the journal",
        "checkpoints": "in all checkpoints of the run",
    }
    sizes = {f"{size:,} bytes": size for size in weights}
    parts = [
        "# What the journal costs",
        f"{facts['date']}, codemode-graph at {facts['revision'] or 'an unknown commit'}. {here['cpu']}, {here['cores']} "
        f"cores, {here['system']}, {here['python']}; load before {here['load']}, after {facts['load after']}. "
        + ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
        + ".",
        "## Time of one call, on the clock",
        "What a run takes longer with its calls than without any, for each; the shortest run of each size counts. The tools "
        f"answer at once. A gather makes {TOGETHER} calls at a time. *None* keeps nothing. SQLite is on the disk, with WAL and "
        "`synchronous=FULL`; PostgreSQL waits for the disk too.",
        by_calls("clock"),
        "## What a journal adds to that",
        by_calls("clock", more=True),
        "## Time of one call, on the processors of the host's process",
        "The sandbox is another process, and not in these; nor is waiting for the disk.",
        by_calls("processor"),
        "## Weight of one call",
        "Of 200 calls in a loop with values of that size; from 32 kB on a value is in the journal once, by its hash.",
        table("value", sizes, columns, lambda row, column: f"{weights[sizes[row]][column]:,.0f} bytes"),
        "## Targets",
        *(
            f"* {way}, with SQLite at most {duration(most)} more than without: "
            + ", ".join(
                f"{duration(found[way]['SQLite'][calls]['clock'] - found[way]['none'][calls]['clock'])} of {calls:,} calls"
                for calls in SIZES
            )
            for way, most in TARGETS.items()
        ),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journal", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="times that everything is measured (%(default)s)")
    parser.add_argument("--results", type=Path, default=store.RESULTS, help="where to write")
    options = parser.parse_args()
    with ExitStack() as stack:
        programs = binaries()
        postgres = None if programs is None else stack.enter_context(server(programs, fsync=True)).create()
        asyncio.run(measure(options, postgres))


if __name__ == "__main__":
    main()
