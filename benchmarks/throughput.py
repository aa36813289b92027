"""Measures how many runs one process makes, what runs that wait hold, and what a call costs in a long run.

python -m benchmarks.throughput [--seconds 3] [--waiting 1000] [--calls 10000]
"""

import argparse
import asyncio
import gc
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from codemode_sandboxes import Limits
from langgraph.checkpoint.memory import InMemorySaver

from benchmarks import store
from benchmarks.boxes.processes import descendants
from benchmarks.figures import duration, table
from benchmarks.machine import load
from codemode_graph import codemode, create_codemode
from codemode_graph.tools.spec import ToolPolicy

__all__ = ["markdown", "measure"]

AT_ONCE = (1, 8, 64)
TIMES = 3
PROGRAMS = {
    "no call": "1",
    "10 calls": "out = []\nfor n in range(10):\n    out.append(await tools.get_item(id=n))\nlen(out)",
}
POLICIES = {"get_item": ToolPolicy(effect="read")}


async def get_item(id: int) -> dict[str, int]:
    """Get one item.

    Args:
        id: The item's id.
    """
    return {"id": id}


async def rate(program: str, at_once: int, seconds: float) -> dict[str, float]:
    """Run a program over and over for a while, so many at once.

    Returns:
        Runs per second, and the processor seconds of a run in this process and in the workers.
    """
    async with codemode(tools=[get_item], policies=POLICIES, sandbox="monty") as cm:
        await asyncio.gather(*(cm.run_code(program) for _ in range(at_once)))
        runs, end = 0, time.monotonic() + seconds

        async def repeat() -> None:
            nonlocal runs
            while time.monotonic() < end:
                assert (await cm.run_code(program))["success"]
                runs += 1

        spent: dict[str, float] = {}
        with _processor(spent):
            start = time.monotonic()
            await asyncio.gather(*(repeat() for _ in range(at_once)))
            taken = time.monotonic() - start
    return {"runs per second": runs / taken} | {f"{name} seconds a run": value / runs for name, value in spent.items()}


@contextmanager
def _processor(spent: dict[str, float]) -> Iterator[None]:
    before = _workers_seconds()
    own = time.process_time()
    yield
    spent["processor"] = time.process_time() - own
    after = _workers_seconds()
    # A worker is replaced now and then: what one that ended had used is not known.
    spent["workers' processor"] = sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


def _workers_seconds() -> dict[int, float]:
    """Return the processor seconds of each process below this one; none where the system has no /proc."""
    ticks, found = os.sysconf("SC_CLK_TCK"), {}
    for pid in descendants(os.getpid()):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[pid] = (int(fields[11]) + int(fields[12])) / ticks
    return found


async def waiting(runs: int) -> dict[str, float]:
    """Start runs that wait for an approval; return what each holds, and how many processes there are."""
    graph = create_codemode(
        model=None, tools=[get_item], policies={"get_item": ToolPolicy(approval=True)}, sandbox="monty"
    ).compile(checkpointer=InMemorySaver())

    async def start(number: int) -> None:
        state = await graph.ainvoke(
            {"task": "", "code": f"await tools.get_item(id={number})"}, {"configurable": {"thread_id": str(number)}}
        )
        assert state["__interrupt__"]

    for number in range(20):  # what the first runs bring along is not theirs
        await start(-number - 1)
    gc.collect()
    before = _memory()
    for first in range(0, runs, 50):
        await asyncio.gather(*(start(number) for number in range(first, min(runs, first + 50))))
    gc.collect()
    return {"bytes a run": (_memory() - before) / runs, "guests": float(await _guests())}


async def _guests() -> int:
    """Return how many of this process's workers have a program in them: those that are not given back."""
    found = [each for each in gc.get_objects() if type(each).__name__ == "MontyExecution" and not each._closed]
    return len(found)


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def long_run(calls: int) -> float:
    """Return the processor seconds that one call adds to a run with so many."""
    program = f"total = 0\nfor n in range({calls}):\n    total += (await tools.get_item(id=n))['id']\ntotal"
    limits = Limits(calls=calls, seconds=60)
    async with codemode(tools=[get_item], policies=POLICIES, sandbox="monty", timeout=600, limits=limits) as cm:
        await cm.run_code(PROGRAMS["10 calls"])
        own = time.process_time()
        assert (await cm.run_code(program))["output"] == calls * (calls - 1) // 2
        return (time.process_time() - own) / calls


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run all, and return the results."""
    results = store.facts()
    results["settings"] = {name: getattr(options, name) for name in ("seconds", "waiting", "calls")}
    results["rates"] = {}
    for name, program in PROGRAMS.items():
        for at_once in AT_ONCE:
            found = [asyncio.run(rate(program, at_once, options.seconds)) for _ in range(TIMES)]
            results["rates"].setdefault(name, {})[str(at_once)] = {
                key: median(each[key] for each in found) for key in found[0]
            }
    results["waiting"] = asyncio.run(waiting(options.waiting))
    steps = sorted({100, options.calls // 10, options.calls})
    results["processor seconds a call"] = {
        str(calls): min(asyncio.run(long_run(calls)) for _ in range(2)) for calls in steps
    }
    return {**results, "load after": load()}


def markdown(results: Mapping[str, Any]) -> str:
    """Return the tables of a result."""
    rates = results["rates"]
    rows = {f"{name}, {at_once} at once": (name, at_once) for name in rates for at_once in rates[name]}
    columns = {"runs per second": "runs per second", "processor seconds a run": "processor time of a run"} | {
        "workers' processor seconds a run": "of that run in the workers"
    }

    def cell(row: str, column: str) -> str:
        value = rates[rows[row][0]][rows[row][1]][column]
        return f"{value:,.0f}" if column == "runs per second" else duration(value)

    calls = ", ".join(f"{duration(v)} of {int(n):,}" for n, v in results["processor seconds a call"].items())
    waits = results["waiting"]
    return (
        f"{table('program', rows, columns, cell)}\n\n"
        f"{results['settings']['waiting']:,} runs that wait for an approval hold {waits['guests']:.0f} guests and "
        f"{waits['bytes a run'] / 1000:.1f} kB each. A call of a long run takes {calls}."
    )


def main() -> None:
    """Read the command line, and run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (%(default)s)")
    parser.add_argument("--waiting", type=int, default=1000, help="runs that wait (%(default)s)")
    parser.add_argument("--calls", type=int, default=10_000, help="of the longest run (%(default)s)")
    parser.add_argument("--results", type=Path, default=store.RESULTS, help="where to write")
    options = parser.parse_args()
    results = measure(options)
    report = markdown(results)
    store.write("throughput", results, f"# Runs of one process\n\n{report}\n", folder=options.results)
    print(report)


if __name__ == "__main__":
    main()
