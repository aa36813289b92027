"""Runs many programs in each sandbox, and compares what this process holds before and after.

    python -m benchmarks.soak [--runs 2000] [--heavy-runs 200] [--at-once 8] [SANDBOX ...]

One run in five fails: it raises, runs out of memory or time, or is cancelled.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codemode_sandboxes import (
    SANDBOXES,
    Blocked,
    Failed,
    Finished,
    Limits,
    Program,
    Returned,
    SandboxUnavailable,
    create_sandbox,
)

from benchmarks import store
from benchmarks.boxes.processes import descendants
from benchmarks.figures import table

__all__ = ["HEAVY", "Soak", "soak"]

HEAVY = ("bubblewrap", "docker", "nsjail", "pyodide", "ray")
"""The sandboxes whose runs start slowly."""

_LIMITS = Limits(seconds=10, memory_bytes=64 << 20, calls=50)
_WARM_UP = 16
_GOOD = "import asyncio\nsum(await asyncio.gather(*[tools.double(n) for n in range(10)]))"
_BAD = {
    "program": "await tools.double(1)\n1 / 0",
    "memory": "x = []\nwhile True: x.append('a' * 100000 + str(len(x)))",
    "calls": "while True: await tools.double(1)",
    "cancelled": "while True: pass",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Soak:
    """The result of many runs. Memory is this process's resident set in bytes; processes are those that it started.

    Attributes:
        wrong: A line for each run that ended otherwise than expected.
        seconds: The time of all runs together.
    """

    runs: int
    seconds: float
    wrong: tuple[str, ...]
    memory_before: int
    memory_after: int
    descriptors_before: int
    descriptors_after: int
    processes_before: int
    processes_after: int


async def soak(sandbox: Any, *, runs: int, at_once: int) -> Soak:
    """Run programs, and measure before and after.

    Args:
        sandbox: The sandbox.
        runs: The number of programs.
        at_once: The number of programs at one time.
    """
    await _fill(sandbox, at_once)
    await _many(sandbox, _WARM_UP, at_once)
    before = await _settled()
    start = time.monotonic()
    wrong = await _many(sandbox, runs, at_once)
    seconds = time.monotonic() - start
    # Guests end, and spares start, after the runs that caused it.
    after = await _settled(most=before)
    return Soak(
        runs=runs,
        seconds=seconds,
        wrong=tuple(wrong),
        memory_before=before[0],
        memory_after=after[0],
        descriptors_before=before[1],
        descriptors_after=after[1],
        processes_before=before[2],
        processes_after=after[2],
    )


async def _fill(sandbox: Any, at_once: int) -> None:
    """Run as many programs at one time as later: a pool may keep their guests."""
    executions = [await sandbox.start(Program(code=_GOOD, tools=("double",)), _LIMITS) for _ in range(at_once)]
    for execution in executions:
        await execution.advance()
        await execution.aclose()


async def _many(sandbox: Any, runs: int, at_once: int) -> list[str]:
    slots = asyncio.Semaphore(at_once)

    async def one(number: int) -> str | None:
        async with slots:
            kind = list(_BAD)[number // 5 % len(_BAD)] if number % 5 == 0 else ""
            return await _run(sandbox, kind)

    return [found for found in await asyncio.gather(*map(one, range(runs))) if found]


async def _run(sandbox: Any, kind: str) -> str | None:
    execution = await sandbox.start(Program(code=_BAD[kind] if kind else _GOOD, tools=("double",)), _LIMITS)
    try:
        if kind == "cancelled":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(execution.advance(), 0.05)  # long enough for the program to run
            return None
        event = await execution.advance()
        while isinstance(event, Blocked):
            event = await execution.advance({call.id: Returned(call.args[0] * 2) for call in event.calls})
    finally:
        await execution.aclose()
    if kind:
        return None if isinstance(event, Failed) and event.kind == kind else f"{kind}: {event}"
    return None if event == Finished(90) else str(event)


async def _settled(most: tuple[int, int, int] | None = None) -> tuple[int, int, int]:
    """Return memory, descriptors and processes, once they are no more than before or no longer change."""
    seen: list[tuple[int, int]] = []
    for _ in range(200):  # twenty seconds: then the counts are what they are
        gc.collect()
        seen.append((_descriptors(), len(descendants(os.getpid()))))
        if most is not None and seen[-1][0] <= most[1] and seen[-1][1] <= most[2]:
            break
        if len(seen) > (enough := 15 if most is None else 40) and len(set(seen[-enough:])) == 1:
            break
        await asyncio.sleep(0.1)
    return (_memory(), *seen[-1])


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def measure(options: argparse.Namespace) -> None:
    """Run the benchmark and write its results."""
    results: dict[str, Any] = {**store.facts(), "settings": {"at once": options.at_once}, "sandboxes": {}}
    for name in options.sandbox:
        try:
            sandbox: Any = create_sandbox(name)
            runs = options.heavy_runs if name in HEAVY else options.runs
            results["sandboxes"][name] = asdict(await soak(sandbox, runs=runs, at_once=options.at_once))
        except SandboxUnavailable:
            continue
        await sandbox.aclose()
        print(name, file=sys.stderr)
    report = markdown(results)
    store.write("soak", results, report, folder=options.results)
    print(report)


def markdown(results: Mapping[str, Any]) -> str:
    """Return the report."""
    here, found = results["machine"], results["sandboxes"]
    columns = {
        "runs": "runs",
        "seconds": "seconds",
        "rate": "runs/s",
        "memory": "memory before → after (MB)",
        "descriptors": "descriptors",
        "processes": "processes",
        "wrong": "wrong",
    }

    def cell(name: str, column: str) -> str:
        of = found[name]
        if column in ("descriptors", "processes"):
            return f"{of[f'{column}_before']} → {of[f'{column}_after']}"
        return {
            "runs": f"{of['runs']:,}",
            "seconds": f"{of['seconds']:.1f}",
            "rate": f"{of['runs'] / of['seconds']:.1f}",
            "memory": f"{of['memory_before'] / 2**20:.1f} → {of['memory_after'] / 2**20:.1f}",
            "wrong": str(len(of["wrong"])),
        }[column]

    conditions = (
        f"{results['date']}, {here['cores']} cores, {here['system'].split('-')[0]}, load {here['load']:.1f} at the start.\n"
        f"{results['settings']['at once']} runs at one time; one in five fails, is stopped by a limit, or is cancelled."
    )
    return "\n\n".join(["# Soak", conditions, table("sandbox", found, columns, cell)]) + "\n"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sandbox", nargs="*", default=sorted(SANDBOXES))
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--heavy-runs", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--results", type=Path, default=store.RESULTS, help="where to write")
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
