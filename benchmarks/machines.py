"""Runs one graph in several processes on one PostgreSQL, kills one of them at random, and counts what is lost or doubled.

Run it from the repository's root: `python -m benchmarks.machines --threads 200`. It starts a PostgreSQL of its own. Every
thread pays, asks a person, pays again; whichever process meets its question answers it.
"""

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.types import Command

from benchmarks import store
from benchmarks.figures import table
from benchmarks.machine import ROOT, load
from codemode_graph import ToolPolicy, create_codemode, tool

__all__ = ["Shared", "main", "markdown", "run_processes"]

_AT_ONCE = 4
PROGRAM = """
import asyncio
first = await tools.pay({0}, 0)
second, third = await asyncio.gather(tools.pay_gated({0}, 1), tools.pay({0}, 2))
[first, second, third]
"""


@dataclass
class Shared:
    """The results of threads that processes share.

    Attributes:
        threads: The threads, of three payments each.
        finished: Those that ended with their answer.
        lost: Payments that were not made.
        doubled: Payments that were made more than once.
        killed: The process that was killed, or None.
        seconds: From the start of the processes to the end of the last.
    """

    threads: int
    finished: int
    lost: int
    doubled: int
    killed: str | None
    seconds: float


def payments(folder: Path) -> Iterator[tuple[int, int]]:
    """Yield the payments that were made, in any process: the thread of each and its number."""
    for ledger in folder.glob("*.ledger"):
        for line in ledger.read_text().splitlines():
            thread, number = line.split()
            yield int(thread), int(number)


async def work(url: str, folder: Path, name: str, threads: int) -> None:
    """Do what one process does: take threads in an order of its own, and bring each to its end."""
    ledger = folder / f"{name}.ledger"

    def note(thread: int, number: int) -> int:
        with ledger.open("a") as file:
            file.write(f"{thread} {number}\n")
        return number

    @tool(effect="write")
    async def pay(thread: int, number: int) -> int:
        """Pay."""
        await asyncio.sleep(0.01)
        return note(thread, number)

    @tool(effect="write")
    async def pay_gated(thread: int, number: int) -> int:
        """Pay what a person has approved."""
        await asyncio.sleep(0.01)
        return note(thread, number)

    def decide(action: Any) -> dict[str, Any]:
        arguments = action["args"]
        # A payment that was cut off may have been made: a person looks, and so does this.
        if action["reason"] == "unknown" and (arguments["thread"], arguments["number"]) in set(payments(folder)):
            return {"type": "respond", "message": arguments["number"]}
        return {"type": "approve"}

    policies = {"pay_gated": ToolPolicy(approval=True)}
    async with AsyncPostgresSaver.from_conn_string(url) as saver:
        graph = create_codemode(model=None, tools=[pay, pay_gated], policies=policies, sandbox="monty")
        app: Any = graph.compile(checkpointer=saver)

        async def bring_to_end(thread: int) -> None:
            config: RunnableConfig = {"configurable": {"thread_id": str(thread)}}
            while True:
                state = await app.aget_state(config)
                if state.interrupts:
                    request: Any = {
                        each.id: {"decisions": [decide(action) for action in each.value["action_requests"]]}
                        for each in state.interrupts
                    }
                    await app.ainvoke(Command(resume=request), config)
                elif (
                    state.tasks
                ):  # not `next`: that leaves out a node whose writes are kept, and whose checkpoint is not
                    await app.ainvoke(None, config)
                elif state.values:
                    return
                else:
                    await app.ainvoke({"task": "pay", "code": PROGRAM.format(thread)}, config)

        order = list(range(threads))
        random.Random(name).shuffle(order)

        async def takes() -> None:
            while order:
                await bring_to_end(order.pop())

        await asyncio.gather(*[takes() for _ in range(_AT_ONCE)])


async def outputs(url: str, threads: int) -> list[Any]:
    """Return the answer of each thread."""
    async with AsyncPostgresSaver.from_conn_string(url) as saver:
        app: Any = create_codemode(model=None, tools=[], sandbox="monty").compile(checkpointer=saver)
        states = [await app.aget_state({"configurable": {"thread_id": str(thread)}}) for thread in range(threads)]
        return [state.values.get("output") for state in states]


async def prepare(url: str) -> None:
    """Make the checkpointer's tables. Two processes that make them at one time get in each other's way."""
    async with AsyncPostgresSaver.from_conn_string(url) as saver:
        await saver.setup()


def run_processes(url: str, folder: Path, *, threads: int, kill_after: float | None, seed: int = 1) -> Shared:
    """Run two processes to their end, of which one is killed on the way.

    Args:
        url: An empty PostgreSQL database.
        folder: Where the processes note their payments.
        threads: How many.
        kill_after: The share of all payments after which one process is killed; None kills none.
        seed: Chooses the process.

    Raises:
        RuntimeError: A process that was not killed failed.
    """
    asyncio.run(prepare(url))
    started = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.machines", "--work", url, str(folder)]
    running = {
        name: subprocess.Popen([*command, name, str(threads)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for name in ("left", "right")
    }
    killed = None
    if kill_after is not None:
        while len(list(payments(folder))) < kill_after * threads * 3 and running["left"].poll() is None:
            time.sleep(0.02)
        killed = random.Random(seed).choice(list(running))
        os.kill(running[killed].pid, signal.SIGKILL)
    for name, process in running.items():
        _, errors = process.communicate()
        if process.returncode and name != killed:
            raise RuntimeError(errors)
    seconds = time.monotonic() - started
    made = Counter(payments(folder))
    wanted = [(thread, number) for thread in range(threads) for number in range(3)]
    return Shared(
        threads=threads,
        finished=asyncio.run(outputs(url, threads)).count([0, 1, 2]),
        lost=sum(each not in made for each in wanted),
        doubled=sum(times > 1 for times in made.values()),
        killed=killed,
        seconds=round(seconds, 1),
    )


def markdown(results: Mapping[str, Any]) -> str:
    """Return what came of the rounds as a table in Markdown."""
    rounds = {
        f"one of them killed, round {number}" if each["killed"] else "none killed": each
        for number, each in enumerate(results["rounds"])
    }
    columns = {name: name for name in ("finished", "lost", "doubled", "seconds", "runs per second")}

    def cell(row: str, column: str) -> str:
        return (
            f"{rounds[row][column]} of {rounds[row]['threads']}" if column == "finished" else str(rounds[row][column])
        )

    return table("two processes", rounds, columns, cell)


def main() -> None:
    """Run the benchmark, print what came of it, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3, help="in which a process is killed (%(default)s)")
    parser.add_argument("--results", type=Path, default=store.RESULTS, help="where to write")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        url, folder, name, threads = options.work
        asyncio.run(work(url, Path(folder), name, int(threads)))
        return
    from tests.durable.postgres import binaries, server

    if (programs := binaries()) is None:
        raise SystemExit("there is no PostgreSQL server: apt-get install -y postgresql")
    results: dict[str, Any] = {**store.facts(), "rounds": []}
    with server(programs) as postgres:
        for number in range(options.rounds + 1):
            with tempfile.TemporaryDirectory() as folder:
                share = random.Random(number).random() if number else None
                found = run_processes(
                    postgres.create(), Path(folder), threads=options.threads, kill_after=share, seed=number
                )
            rate = round(found.threads / found.seconds, 1)
            results["rounds"].append({**asdict(found), "killed after": share, "runs per second": rate, "load": load()})
            print(results["rounds"][-1], flush=True)
    store.write("machines", results, f"# Threads that processes share\n\n{markdown(results)}\n", folder=options.results)


if __name__ == "__main__":
    main()
