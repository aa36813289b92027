"""Measures what it costs to append to each journal, from the event loop to the commit.

Run it from the repository's root, where codemode-graph and its `test` extra are installed:
`python -m benchmarks.journal_append`. It takes one to five minutes, as the disk has it, and needs no network. PostgreSQL is
measured where its server is installed. README.md beside it says what is measured.
"""

import argparse
import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from langgraph.store.memory import InMemoryStore
from langgraph.store.sqlite.aio import AsyncSqliteStore

from benchmarks.figures import duration, figure, table
from benchmarks.machine import load
from codemode_graph.calls.journal import Journal, MemoryJournal
from codemode_graph.calls.log import Delivered, Done, Event, Opened, Started
from codemode_graph.calls.postgres import PostgresJournal
from codemode_graph.calls.sqlite import SQLiteJournal
from codemode_graph.calls.store import StoreJournal
from tests.durable.postgres import binaries, server

__all__ = ["main"]

ROUNDS = 3
WRITES = 100
"""Writes in a round. Each is two appends, as a program makes them that writes in a loop."""
TOGETHER = 16
"""Runs that append at one time."""


def batches(number: int) -> tuple[list[Event], list[Event]]:
    """Return what is appended before a call of a write, and after it."""
    arguments = {"account": "a-17", "amount": number, "memo": "for the benchmark"}
    started = Started(
        session=1,
        attempt=1,
        number=number,
        tool="pay",
        digest="0123456789abcdef",
        occurrence=1,
        effect="write",
        arguments=arguments,
        known_effects="0123456789abcdef",
        time=time.time(),
        line=3,
    )
    done = Done(call=number, time=time.time(), value={"paid": number, "receipt": "r" * 40})
    return [started], [done, Delivered(session=1, clock=time.time(), numbers=[number])]


async def in_a_loop(journal: Journal, run: str) -> list[float]:
    """Append as a run does that writes in a loop, and return the seconds of each append."""
    seconds = []
    known = await journal.append(run, 0, [Opened(thread=run, now=time.time())])
    for number in range(WRITES):
        for batch in batches(number):
            started = time.perf_counter()
            known = await journal.append(run, known, batch)
            seconds.append(time.perf_counter() - started)
    return seconds


async def together(journal: Journal, run: str) -> list[float]:
    """Append to several runs at one time, and return the seconds for each append."""
    started = time.perf_counter()
    done = await asyncio.gather(*(in_a_loop(journal, f"{run} {number}") for number in range(TOGETHER)))
    appended = sum(len(each) for each in done)
    return [(time.perf_counter() - started) / appended]


async def disk(folder: Path) -> list[float]:
    """Write a page over and over, and return the seconds that each takes to be on the disk: the floor."""
    seconds = []
    handle = os.open(folder / "floor", os.O_CREAT | os.O_WRONLY)
    try:
        for number in range(2 * WRITES):
            started = time.perf_counter()
            os.pwrite(handle, bytes(8192), (number % 50) * 8192)
            os.fdatasync(handle)
            seconds.append(time.perf_counter() - started)
    finally:
        os.close(handle)
    return seconds


@asynccontextmanager
async def journals(folder: Path) -> AsyncIterator[dict[str, Journal]]:
    """Open one journal of each kind."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(AsyncSqliteStore.from_conn_string(str(folder / "store.db")))
        await store.setup()
        opened: dict[str, Journal] = {
            "memory": MemoryJournal(),
            "store in memory": StoreJournal(InMemoryStore()),
            "SQLite": SQLiteJournal(folder / "journal.db"),
            "store in SQLite": StoreJournal(store),
        }
        if (programs := binaries()) is not None:
            url = stack.enter_context(server(programs, fsync=True)).create()
            opened["PostgreSQL"] = PostgresJournal(url)
        for journal in opened.values():
            stack.push_async_callback(journal.aclose)
        yield opened


async def measure() -> dict[str, dict[str, list[float]]]:
    """Return the seconds of appends by journal: in a loop, and with several runs together."""
    with TemporaryDirectory(prefix="codemode-journal-", dir=".") as name:
        folder = Path(name)
        async with journals(folder) as opened:
            figures: dict[str, dict[str, list[float]]] = {kind: {"loop": [], "together": []} for kind in opened}
            floor: list[float] = []
            for round_ in range(ROUNDS):
                floor += await disk(folder)
                for kind, journal in opened.items():
                    figures[kind]["loop"] += await in_a_loop(journal, f"loop {round_}")
                    figures[kind]["together"] += await together(journal, f"together {round_}")
    return {"a page of 8 KB to the disk": {"loop": floor, "together": []}, **figures}


def main() -> None:
    """Measure and print a table."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    figures = asyncio.run(measure())

    def cell(kind: str, column: str) -> str:
        seconds = figures[kind][column]
        if not seconds:
            return ""
        result = figure([seconds])
        return f"{result}, least {duration(result.best)}"

    columns = {"loop": "an append in a loop", "together": f"an append, {TOGETHER} runs at once"}
    print(table("journal", figures, columns, cell))
    print(f"\nMedian, and first to third quartile, of {ROUNDS} rounds. Load {load()}.")


if __name__ == "__main__":
    main()
