"""One answer, sent several times at once: two to four executors, in one to four processes, on SQLite or PostgreSQL.

Run it from the repository's root: `python -m benchmarks.chaos.answers --runs 1000 --journal sqlite`. Each run is a thread whose
program waits for a person between two payments. Its answer, or the input itself where the thread was cut off, is given by all
executors at the same moment. A payment that took effect twice, or not at all, is printed with the run's number.
"""

import argparse
import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import AsyncExitStack, ExitStack
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from codemode_graph import ToolPolicy, create_codemode
from codemode_graph.calls.journal import Journal
from codemode_graph.calls.postgres import PostgresJournal
from codemode_graph.calls.sqlite import SQLiteJournal
from codemode_graph.tools import tool
from tests.durable.postgres import binaries, server

__all__ = ["main"]

CODE = """
import random
await tools.hold({n})
a = await tools.pay('ann', {n}, random.randint(1, 10**9))
b = await tools.pay('bob', {n}, random.randint(1, 10**9))
try:
    await tools.pay('cid', {n}, 0)
except ValueError:
    await tools.release({n})
[a, b]
"""
"""A payment that nobody is asked about, one that waits, and one that fails, after which the program undoes what it did first.

The amounts are of the run's own seed: an executor that begins the run a second time pays others, which no journal answers."""

EFFECTS = ("hold", "ann", "bob", "release")
"""What a run does, each once."""

_loop: asyncio.AbstractEventLoop | None = None
_place: dict[str, Any] = {}


def _append(ledger: str, line: str) -> None:
    descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{line}\n".encode())  # one write: lines of several processes do not mix
    finally:
        os.close(descriptor)


async def _app(address: str, ledger: str) -> Any:
    """Return the graph on a database, made once in each process."""
    if "app" not in _place:
        stack = _place["stack"] = AsyncExitStack()
        saver: Any
        journal: Journal
        if address.startswith("postgresql:"):
            saver = await stack.enter_async_context(AsyncPostgresSaver.from_conn_string(address))
            journal = PostgresJournal(address)
        else:
            saver = await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(f"{address}.checkpoints"))
            journal = SQLiteJournal(Path(address))
        await saver.setup()

        async def pay(who: str, number: int, amount: int) -> str:
            """Pay somebody."""
            await asyncio.sleep(0)
            if not amount:
                raise ValueError("there is nothing to pay")
            _append(ledger, f"{number} {who}")
            return f"paid {who}"

        async def hold(number: int) -> None:
            """Hold."""
            _append(ledger, f"{number} hold")

        @tool(undoes="hold")
        async def release(number: int) -> None:
            """Release."""
            _append(ledger, f"{number} release")

        policies = {"pay": ToolPolicy(approval=lambda arguments: arguments["who"] == "bob")}
        graph = create_codemode(
            model=None, tools=[pay, hold, release], policies=policies, journal=journal, sandbox="monty"
        )
        _place["app"] = graph.compile(checkpointer=saver)
    return _place["app"]


async def _give(address: str, ledger: str, number: int, times: int, at: float, durability: Any, *, anew: bool) -> None:
    """Deliver the answer, or the input, of a run several times at once, from this process."""
    app = await _app(address, ledger)
    config: Any = {"configurable": {"thread_id": f"t{number}"}}
    given: Any = {"task": "", "code": CODE.format(n=number)}
    if not anew:
        given = Command(resume={"decisions": [{"type": "approve"}]})
    await asyncio.sleep(max(0.0, at - time.time()))
    await asyncio.gather(
        *(app.ainvoke(given, config, durability=durability) for _ in range(times)), return_exceptions=True
    )


def prepare(address: str, ledger: str) -> None:
    """Make the tables, which LangGraph's checkpointers cannot do in several processes at one time."""
    _run(_app(address, ledger))


def work(*arguments: Any, anew: bool) -> None:
    """Do a process's share of one run."""
    _run(_give(*arguments, anew=anew))


def _run(coroutine: Coroutine[Any, Any, Any]) -> None:
    global _loop
    if _loop is None:
        _loop = asyncio.new_event_loop()
    _loop.run_until_complete(coroutine)


def play(address: str, ledger: str, runs: int, seed: int) -> Counter[str]:
    """Play runs, and count what went wrong."""
    rng, counts = random.Random(seed), Counter[str]()
    with get_context("spawn").Pool(4) as pool:  # which ends its processes, whatever threads they have
        pool.apply(prepare, (address, ledger))
        for number in range(runs):
            processes = rng.randint(1, 4)
            times = max(1, rng.randint(2, 4) // processes)
            durability = rng.choice(["sync", "async", "exit"])
            for anew in (True, False):
                at = time.time() + 0.002
                shares = [
                    pool.apply_async(work, (address, ledger, number, times, at, durability), {"anew": anew})
                    for _ in range(processes)
                ]
                for share in shares:
                    share.get()
                counts["deliveries"] += processes * times
    paid = Counter(Path(ledger).read_text().splitlines())
    for number in range(runs):
        for who in EFFECTS:
            times = paid[f"{number} {who}"]
            counts["effects"] += times
            if times != 1:
                counts["twice" if times else "lost"] += 1
                print(f"run {number}: {who} took effect {times} times", flush=True)
    return counts


def main() -> None:
    """Play runs as the command line says, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--journal", choices=["sqlite", "postgres"], default="sqlite")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        address = str(folder / "runs.sqlite")
        if options.journal == "postgres":
            programs = binaries()
            assert programs is not None, "PostgreSQL is not installed"
            address = stack.enter_context(server(programs)).create()
        (folder / "ledger").touch()
        counts = play(address, str(folder / "ledger"), options.runs, options.seed)
    print(f"{options.journal}, seeds from {options.seed}: {options.runs} runs,", dict(counts))


if __name__ == "__main__":
    main()
