"""Measures programs on Ray beside the same programs here, and kills hosts at random while they pay.

Run it from the repository's root: `python -m benchmarks.ray_cluster`, with `--kills 300` for the second part. It starts a Ray
of its own with three hosts on this machine. README.md beside it says what the figures are.
"""

import argparse
import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from codemode_sandboxes import (
    Blocked,
    Finished,
    Limits,
    Program,
    Returned,
    Sandbox,
    SandboxUnavailable,
    create_sandbox,
)

from benchmarks import store
from benchmarks.figures import table
from benchmarks.machine import load
from codemode_graph import codemode, tool

__all__ = ["Kills", "kill_hosts", "kills_table", "main", "measure", "times_table"]

_HOSTS = 3
_LOOP, _GATHER, _AT_ONCE = 20, 64, 100
_PAYMENTS = 6
LOOP = f"s = 0\nfor i in range({_LOOP}):\n    s += await tools.fetch(i)\ns"
GATHER = f"import asyncio\nsum(await asyncio.gather(*[tools.fetch(i) for i in range({_GATHER})]))"


async def drive(sandbox: Sandbox, code: str) -> Any:
    """Run a program whose tool returns its argument, and return its value."""
    execution = await sandbox.start(Program(code=code, tools=("fetch",)), Limits())
    event = await execution.advance()
    while isinstance(event, Blocked):
        event = await execution.advance({call.id: Returned(call.args[0]) for call in event.calls})
    assert isinstance(event, Finished), event
    return event.value


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    """Return the seconds that some work takes."""
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


async def measure(sandboxes: dict[str, Sandbox], *, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Measure sandboxes in turn, so that what else the machine does falls on all of them.

    Returns:
        By sandbox and measure, a sample of each round: milliseconds, and runs per second with many at once.
    """
    found: dict[str, dict[str, list[float]]] = {name: {} for name in sandboxes}

    async def many(sandbox: Sandbox) -> None:
        await asyncio.gather(*[drive(sandbox, "1") for _ in range(_AT_ONCE)])

    for number in range(rounds + 2):
        for name, sandbox in sandboxes.items():
            one = [await timed(lambda sandbox=sandbox: drive(sandbox, "1")) for _ in range(10)]  # type: ignore[misc]
            start = median(one)
            loop = (await timed(lambda sandbox=sandbox: drive(sandbox, LOOP)) - start) / _LOOP  # type: ignore[misc]
            gather = (await timed(lambda sandbox=sandbox: drive(sandbox, GATHER)) - start) / _GATHER  # type: ignore[misc]
            rate = _AT_ONCE / await timed(lambda sandbox=sandbox: many(sandbox))  # type: ignore[misc]
            if number < 2:  # guests are being started for so many at once
                continue
            sample = {"start ms": start * 1e3, "loop ms": loop * 1e3, "gather ms": gather * 1e3, "runs/s": rate}
            for measure_name, value in sample.items():
                found[name].setdefault(measure_name, []).append(value)
    return found


@dataclass
class Kills:
    """The results of killing hosts.

    Attributes:
        kills: The hosts that were killed.
        runs: The runs that ended with an answer.
        repaired: Those of them that a kill ended, and that were gone on from.
        unstated: Runs that ended otherwise than by an answer, or by the words for a host that was lost.
        lost: Payments that a run says were made and were not.
        doubled: Payments that were made twice.
        endings: How the runs that did not end with an answer ended, and how many.
        seconds: How long it took.
    """

    kills: int = 0
    runs: int = 0
    repaired: int = 0
    unstated: int = 0
    lost: int = 0
    doubled: int = 0
    endings: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


async def kill_hosts(sandbox: Any, *, hosts: int, kills: int, at_once: int = 6, seed: int = 1) -> Kills:
    """Kill one of the hosts at random, again and again, while programs pay; each run that it ends is gone on from.

    Args:
        sandbox: A `RaySandbox` whose hosts are on this machine.
        hosts: The number of its hosts.
        kills: How often.
        at_once: The runs at one time.
        seed: Chooses the hosts.
    """
    found, choose, started = Kills(), random.Random(seed), time.monotonic()
    made: Counter[tuple[int, int]] = Counter()
    over = asyncio.Event()

    @tool(effect="write")
    async def pay(run: int, number: int) -> int:
        """Pay once."""
        made[run, number] += 1
        await asyncio.sleep(choose.random() * 0.02)
        return number

    async def run(program: str, **options: Any) -> Any:
        while True:
            try:
                return await cm.run_code(program, **options)
            except SandboxUnavailable as problem:  # the host was killed as the program began there: it made no call
                ending = f"not started: {problem.reason.partition('.')[0]}"
                found.endings[ending] = found.endings.get(ending, 0) + 1

    async def runs(first: int) -> None:
        for number in range(first, sys.maxsize, at_once):
            if over.is_set():
                return
            program = f"[await tools.pay({number}, n) for n in range({_PAYMENTS})]"
            result = await run(program)
            repairs = 0
            while not result["success"] and "the program's host was lost" in str(result["error"]):
                ending = ":".join(str(result["error"]).split(":")[:2])
                found.endings[ending] = found.endings.get(ending, 0) + 1
                repairs += 1
                result = await run(program, after=result["run_id"])
            if not result["success"] or result["output"] != list(range(_PAYMENTS)):
                found.unstated += 1
                found.endings[str(result["error"])] = found.endings.get(str(result["error"]), 0) + 1
                continue
            found.runs += 1
            found.repaired += repairs > 0
            times = [made[number, n] for n in range(_PAYMENTS)]
            found.lost += times.count(0)
            found.doubled += sum(each > 1 for each in times)

    async def killer() -> None:
        while found.kills < kills:
            await asyncio.sleep(0.05 + choose.random() * 0.2)
            ready = sandbox.hosts
            busy = [host for host in ready if host.runs]
            # Every other kill comes while hosts that were killed before are being replaced.
            if busy and (found.kills % 2 or len(ready) == hosts):
                with contextlib.suppress(ProcessLookupError):  # it was killed before, and that is not known yet
                    os.kill(choose.choice(busy).pid, signal.SIGKILL)
                    found.kills += 1
        over.set()

    cm = codemode(tools=[pay], backend=sandbox)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(killer())
            for first in range(at_once):
                group.create_task(runs(first))
    finally:
        await cm.aclose()
    found.seconds = round(time.monotonic() - started, 1)
    return found


def times_table(results: Mapping[str, Any]) -> str:
    """Return the times here and on Ray as Markdown: medians, and the range of the rounds."""
    figures = results["figures"]

    def cell(row: str, place: str) -> str:
        samples = figures[place][row]
        form = "{:,.0f}" if row == "runs/s" else "{:.2f} ms"
        return f"{form} ({form} to {form})".format(median(samples), min(samples), max(samples))

    rows = {
        "start ms": "a run of `1`",
        "loop ms": "a call in a loop",
        "gather ms": f"a call in a gather of {_GATHER}",
        "runs/s": f"runs per second, {_AT_ONCE} at once",
    }
    lines = table("", rows, {"here": "local", "ray": f"Ray, {_HOSTS} hosts"}, cell).splitlines()
    for number, name in enumerate(rows.values(), start=2):
        lines[number] = f"| {name} |" + lines[number].split("|", 2)[2]
    return "\n".join(lines)


def kills_table(results: Mapping[str, Any]) -> str:
    """Return what came of killing hosts as Markdown."""
    kills = results["kills"]
    rows = {
        "hosts killed": kills["kills"],
        "runs with six payments each": kills["runs"],
        "runs that a kill ended, and that were repaired": kills["repaired"],
        "runs that ended in no stated way": kills["unstated"],
        "payments lost": kills["lost"],
        "payments made twice": kills["doubled"],
    }
    return table("", rows, {"count": "count"}, lambda row, _: f"{rows[row]:,}")


async def work(options: argparse.Namespace) -> None:
    """Measure, and kill, as the options want it; print the figures of each, and write them."""
    spread: Any = create_sandbox("ray", inner=options.inner, hosts=_HOSTS, least_hosts=_HOSTS, resources={"CPU": 0.1})
    here = create_sandbox(options.inner)
    try:
        await drive(spread, "1")
        while len(spread.hosts) < _HOSTS:  # noqa: ASYNC110 - nobody tells when a host has opened
            await asyncio.sleep(0.1)
        if options.rounds:
            results: dict[str, Any] = {**store.facts(), "inner": options.inner, "rounds": options.rounds}
            results["figures"] = await measure({"here": here, "ray": spread}, rounds=options.rounds)
            _write("ray", results, times_table(results), options.results)
        if options.kills:
            results = {**store.facts(), "inner": options.inner}
            results["kills"] = asdict(await kill_hosts(spread, hosts=_HOSTS, kills=options.kills))
            _write("ray-kills", results, kills_table(results), options.results)
    finally:
        await spread.aclose()
        await here.aclose()


def priority() -> str:
    """Return how this process stands to others where they want the processor too: its nice, and its autogroup's."""
    autogroup = Path("/proc/self/autogroup")
    group = autogroup.read_text().split()[-1] if autogroup.exists() else "0"
    return f"nice {os.nice(0)}, autogroup {group}"


def _write(name: str, results: dict[str, Any], report: str, folder: Path) -> None:
    print(report)
    store.write(
        name,
        {**results, "load after": load(), "priority": priority()},
        f"# Programs on Ray\n\n{report}\n",
        folder=folder,
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inner", default="monty")
    parser.add_argument("--rounds", type=int, default=10, help="of measurements (%(default)s)")
    parser.add_argument("--kills", type=int, default=0, help="hosts to kill after them (%(default)s)")
    parser.add_argument("--results", type=Path, default=store.RESULTS, help="where to write")
    asyncio.run(work(parser.parse_args()))


if __name__ == "__main__":
    main()
