"""Measures what running a program costs beside its tools: ours, FastMCP's CodeMode, smolagents, and plain calls.

Run it from the repository's root: `python -m benchmarks.overhead`. README.md beside it says what is measured.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from benchmarks.environments import ROOT, environment
from benchmarks.figures import Figure, figure
from benchmarks.machine import load, machine, revision
from benchmarks.peers.shop import EXPECTED, GATHERED, LOOPED_FAR
from benchmarks.report import markdown
from benchmarks.systems import OURS, SYSTEMS, System, Worker

__all__ = ["main"]

Rounds: TypeAlias = list[list[float]]
"""Samples, in seconds, by round."""

Session: TypeAlias = dict[str, dict[str, Rounds]]
"""What one session measured, by way and program."""


async def session(
    systems: Sequence[System], pythons: Mapping[str, Path], *, rounds: int, samples: int
) -> tuple[Session, list[Worker]]:
    """Measure everything in processes of its own: in each round, every system runs every program in turn."""
    measured: Session = {}
    async with AsyncExitStack() as stack:
        workers = []
        for system in systems:
            worker = await Worker.start(system, pythons[system.environment])
            stack.push_async_callback(worker.stop)
            workers.append(worker)
        for number in range(rounds):
            first = number % len(workers)
            for program in EXPECTED:
                for worker in workers[first:] + workers[:first]:
                    for way in worker.ready["ways"]:
                        taken = await worker.sample(way, program, samples)
                        measured.setdefault(way, {}).setdefault(program, []).append(taken)
    return measured, workers


CALLS = {
    "a loop": (f"{LOOPED_FAR} calls in a loop", "1 call", LOOPED_FAR - 1),
    "a gather": (f"{GATHERED} calls in a gather", "no call", GATHERED),
}
"""What tells the time of one call: a program, another that makes fewer calls, and how many fewer."""


def call_figure(kind: str, sessions: Sequence[Mapping[str, Rounds]], programs: Mapping[str, Figure]) -> Figure:
    """Give the seconds of one call, from two programs' medians of each round.

    Args:
        kind: One of `CALLS`.
        sessions: The samples of a way's programs.
        programs: Their figures.
    """
    more, fewer, calls = CALLS[kind]
    apart = [
        [(median(many) - median(few)) / calls for many, few in zip(each[more], each[fewer], strict=True)]
        for each in sessions
    ]
    return figure(apart, best=(programs[more].best - programs[fewer].best) / calls)


async def measure(options: argparse.Namespace) -> None:
    """Run the benchmark and write its results."""
    systems = [system for system in SYSTEMS if system.name in options.only]
    pythons = {each.environment: environment(each.environment, each.requirements) for each in systems}
    facts: dict[str, Any] = {
        "date": date.today().isoformat(),
        "revision": revision(),
        "machine": machine(),
        "settings": {"sessions": options.sessions, "rounds": options.rounds, "samples": options.samples},
    }
    sessions = []
    started: dict[str, dict[str, list[float]]] = {}
    for number in range(options.sessions):
        print(f"session {number + 1} of {options.sessions}", file=sys.stderr)
        measured, workers = await session(systems, pythons, rounds=options.rounds, samples=options.samples)
        sessions.append(measured)
        for worker in workers:
            took = worker.ready["seconds"]
            for way, first in took["first run"].items():
                for stage, seconds in {**took, "first run": first}.items():
                    started.setdefault(way, {}).setdefault(stage, []).append(seconds)
    installed = {worker.system.name: worker.ready["packages"] for worker in workers}
    programs = {
        way: {
            program: figure([[sample for taken in each[way][program] for sample in taken] for each in sessions])
            for program in EXPECTED
        }
        for way in sessions[0]
    }
    calls = {
        way: {kind: call_figure(kind, [each[way] for each in sessions], programs[way]) for kind in CALLS}
        for way in programs
    }
    facts |= {
        "load after": load(),
        "packages": {each.name: {n: installed[each.name].get(n, "?") for n in each.packages} for each in systems},
        "start": {way: {stage: median(each) for stage, each in stages.items()} for way, stages in started.items()},
    }
    facts["packages"].pop("direct", None)
    report = markdown(facts, programs, calls)
    facts["packages"] = installed
    _write(options.results, report, {**facts, "programs": _json(programs), "calls": _json(calls)})
    print(report)


def _json(figures: Mapping[str, Mapping[str, Figure]]) -> dict[str, Any]:
    return {way: {name: each.to_json() for name, each in found.items()} for way, found in figures.items()}


def _write(folder: Path, report: str, results: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "overhead.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "overhead.md").write_text(report)


def main() -> None:
    """Read the command line and run."""
    names = [system.name for system in SYSTEMS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--sessions", type=int, default=3, help="times that everything starts anew (%(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="turns that each system takes (%(default)s)")
    parser.add_argument("--samples", type=int, default=5, help="runs that are timed in a turn (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="leave the other systems out")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="where to write")
    parser.add_argument("--profile", action="store_true", help="tell where our own time goes, and nothing else")
    options = parser.parse_args()
    if options.profile:
        python = environment("codemode-graph", OURS)
        sys.exit(subprocess.run([python, "-m", "benchmarks.parts"], cwd=ROOT, check=False).returncode)
    asyncio.run(measure(options))


if __name__ == "__main__":
    main()
