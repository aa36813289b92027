"""Measures what a run costs beside its tools: in codemode-graph, in its peers, and in plain calls.

Run it from the repository's root: `python -m benchmarks.overhead`. README.md beside it explains the figures.
"""

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from benchmarks import store
from benchmarks.figures import Figure, duration, figure, ratio, table
from benchmarks.machine import ROOT, load
from benchmarks.peers.tools import EXPECTED, GATHERED, LISTED, LOOPED_FAR
from benchmarks.systems import OURS, SYSTEMS, System, Worker, environment

__all__ = ["main"]

PLAIN = {
    "direct": "direct calls",
    "codemode-graph": "codemode-graph",
    "fastmcp": "FastMCP CodeMode",
    "pydantic-ai-harness": "pydantic-ai-harness",
    "microsoft": "Microsoft's Monty provider",
    "smolagents": "smolagents executor ¹",
}
KEPT = {
    "codemode-graph": "journal in memory",
    "codemode-graph, journal in SQLite": "journal in SQLite",
    "codemode-graph, checkpointer": "a graph with a checkpointer",
}
WITH_MODEL = {
    "codemode-graph task": "codemode-graph",
    "pydantic-ai-harness agent": "pydantic-ai-harness",
    "smolagents agent": "smolagents CodeAgent ¹",
}
PEERS = ("fastmcp", "pydantic-ai-harness", "microsoft")
"""The peers that run programs in an interpreter which is a boundary."""
ONE_CALL = {"a loop": "one call in a loop", "a gather": f"one of {GATHERED} calls in a gather"}

NOTES = f"""\
¹ smolagents runs synchronous programs only: it calls the same functions one after another where the others gather \
("{GATHERED} calls in a gather", "list {LISTED}, get each, ..."). Its executor interprets the program inside the host's \
own process, and its documentation says that it is no security boundary. Microsoft's provider has Monty in the host's \
process; the others run it in a process of its own.

FastMCP has no model of its own: a client's model calls `execute`. Neither has Microsoft's provider, which gives an agent \
a tool. An agent of pydantic-ai-harness asks its model twice: for the program, and for an answer in words."""

Rounds: TypeAlias = list[list[float]]
"""Samples, in seconds, by round."""

Session: TypeAlias = dict[str, dict[str, dict[str, Rounds]]]
"""The samples of one session: "seconds" by the clock and "processor" seconds, by way and program."""


async def session(
    systems: Sequence[System], pythons: Mapping[str, Path], *, rounds: int, samples: int
) -> tuple[Session, list[Worker]]:
    """Measure all systems once, each in a new process, and return the samples and the processes.

    In each round every system runs every program. They take turns, so that what disturbs the machine disturbs all.
    """
    measured: Session = {}
    async with AsyncExitStack() as stack:
        workers = []
        for system in systems:
            worker = await Worker.start(system, pythons[system.environment])
            stack.push_async_callback(worker.stop)
            workers.append(worker)
        for number in range(rounds):
            first = number % len(workers)  # another system in each round: being first may matter
            for program in EXPECTED:
                for worker in workers[first:] + workers[:first]:
                    for way in worker.ready["ways"]:
                        answer = await worker.ask({"way": way, "program": program, "samples": samples})
                        for kind in ("seconds", "processor"):
                            measured.setdefault(kind, {}).setdefault(way, {}).setdefault(program, []).append(
                                answer[kind]
                            )
    return measured, workers


CALLS = {
    "a loop": (f"{LOOPED_FAR} calls in a loop", "1 call", LOOPED_FAR - 1),
    "a gather": (f"{GATHERED} calls in a gather", "no call", GATHERED),
}
"""The programs whose difference is the time of calls: one, another with fewer calls, and how many fewer."""


def call_figure(kind: str, sessions: Sequence[Mapping[str, Rounds]], programs: Mapping[str, Figure]) -> Figure:
    """Return the seconds of one call, from the medians of two programs in each round.

    Args:
        kind: A key of `CALLS`.
        sessions: The samples of one way, by session and program.
        programs: The figures of the same programs.
    """
    more, fewer, calls = CALLS[kind]
    # Round by round: what disturbed the machine in a round disturbed both programs, and cancels out.
    differences = [
        [(median(many) - median(few)) / calls for many, few in zip(each[more], each[fewer], strict=True)]
        for each in sessions
    ]
    return figure(differences, best=(programs[more].best - programs[fewer].best) / calls)


async def measure(options: argparse.Namespace) -> None:
    """Run the benchmark, and write its results."""
    systems = [system for system in SYSTEMS if system.name in options.only]
    pythons = {each.environment: environment(each.environment, each.requirements) for each in systems}
    facts: dict[str, Any] = {
        **store.facts(),
        "settings": {"sessions": options.sessions, "rounds": options.rounds, "samples": options.samples},
    }
    sessions = []
    start: dict[str, dict[str, list[float]]] = {}
    for number in range(options.sessions):
        print(f"session {number + 1} of {options.sessions}", file=sys.stderr)
        measured, workers = await session(systems, pythons, rounds=options.rounds, samples=options.samples)
        sessions.append(measured)
        for worker in workers:
            stages = worker.ready["seconds"]
            for way, first in stages["first run"].items():
                for stage, seconds in {**stages, "first run": first}.items():
                    start.setdefault(way, {}).setdefault(stage, []).append(seconds)
    installed = {worker.system.name: worker.ready["packages"] for worker in workers}
    programs, calls = _figures_of([each["seconds"] for each in sessions])
    used, used_by_calls = _figures_of([each["processor"] for each in sessions])
    facts |= {
        "load after": load(),
        "packages": {each.name: {n: installed[each.name].get(n, "?") for n in each.packages} for each in systems},
        "start": {way: {stage: median(each) for stage, each in stages.items()} for way, stages in start.items()},
    }
    facts["packages"].pop("direct", None)  # it is Python alone
    report = markdown(facts, programs, calls, used, used_by_calls)
    facts["packages"] = installed
    results = {**facts, "programs": _json(programs), "calls": _json(calls)}
    results |= {"processor": _json(used), "processor of calls": _json(used_by_calls)}
    store.write("overhead", results, report, folder=options.results)
    print(report)


_Figures: TypeAlias = Mapping[str, Mapping[str, Figure]]


def _figures_of(sessions: Sequence[Mapping[str, Mapping[str, Rounds]]]) -> tuple[_Figures, _Figures]:
    """Return the figures of whole runs, and of one call, by way and name."""
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
    return programs, calls


def _json(figures: Mapping[str, Mapping[str, Figure]]) -> dict[str, Any]:
    return {way: {name: each.to_json() for name, each in found.items()} for way, found in figures.items()}


def markdown(
    facts: Mapping[str, Any], programs: _Figures, calls: _Figures, used: _Figures, used_by_calls: _Figures
) -> str:
    """Return the report.

    Args:
        facts: `date`, `revision`, `machine`, `settings`, `packages`, `start`.
        programs: The figures of whole runs, by way and program.
        calls: The figures of one call, by way and key of `CALLS`.
        used: Of the processor, those of whole runs.
        used_by_calls: Of the processor, those of one call.
    """
    plain = {way: title for way, title in PLAIN.items() if way in programs}
    modelled = {way: title for way, title in WITH_MODEL.items() if way in programs}
    parts = ["# Overhead of a run and of a call", _conditions(facts)]
    if plain:
        parts += ["## A program, to its value", _figures("program", list(EXPECTED), plain, programs)]
    if "codemode-graph" in plain:
        columns = {way: title for way, title in plain.items() if way not in ("direct", "smolagents")}
        titles = [f"ours / {title}" for way, title in columns.items() if way in PEERS]
        ways = dict(zip(titles, PEERS, strict=False))
        rows = [*EXPECTED, *ONE_CALL.values()]

        def cell(row: str, title: str) -> str:
            of_call = next((kind for kind, name in ONE_CALL.items() if name == row), None)
            figures, name = (used, row) if of_call is None else (used_by_calls, of_call)
            if title in ways:
                return ratio(figures["codemode-graph"][name], figures[ways[title]][name])
            return str(figures[title][name])

        parts += [
            "## Processor time",
            "Of the process and of the processes below it. The last columns: our time as a multiple of the peer's, by the "
            "medians, and in brackets by the shortest runs.",
            table("", rows, columns | {title: title for title in titles}, cell),
            "The same programs by where runs are kept:",
            _figures("program", list(EXPECTED), KEPT, used),
        ]
    if modelled:
        parts += [
            "## A task, to its value, with a scripted model that answers at once",
            _figures("program that the model writes", list(EXPECTED), modelled, programs),
        ]
    if plain:
        parts += [
            "## One tool call",
            f"In a loop: what each of the {LOOPED_FAR - 1} calls after the first adds to a run. In a gather: what a run "
            f"takes longer with {GATHERED} calls than with none, for each.",
            _figures("", list(ONE_CALL), plain, calls, titles=ONE_CALL),
        ]
    for base, title in (("direct", "direct calls"), ("codemode-graph", "codemode-graph")):
        others = {way: name for way, name in plain.items() if way not in (base, "direct")}
        if base in plain and others:
            parts += [
                f"## Times as long as {title}",
                "By the medians, and in brackets by the shortest runs, which other work on the machine disturbs least.",
                _ratios(base, others, programs, calls),
            ]
    parts += ["## Start", _start(facts["start"]), NOTES, "## Versions", _versions(facts["packages"])]
    return "\n\n".join(parts) + "\n"


def _conditions(facts: Mapping[str, Any]) -> str:
    here, how = facts["machine"], facts["settings"]
    return (
        f"{facts['date']}, codemode-graph at {facts['revision'] or 'an unknown commit'}. {here['cpu']}, "
        f"{here['cores']} cores, {here['system']}, {here['python']}; load before {here['load']}, after "
        f"{facts['load after']}.\n\n"
        f"Median, and the range from the first to the third quartile, of {how['sessions']} sessions (new processes "
        f"each) × {how['rounds']} rounds (the systems take turns) × {how['samples']} runs, after runs that warm up."
    )


def _figures(
    corner: str,
    rows: list[str],
    columns: Mapping[str, str],
    figures: Mapping[str, Mapping[str, Figure]],
    *,
    titles: Mapping[str, str] | None = None,
) -> str:
    names = {titles[row] if titles else row: row for row in rows}
    lines = table(corner, names, columns, lambda row, way: str(figures[way][names[row]]))
    return f"{lines}\n{_spread(columns, rows, figures)}"


def _spread(columns: Mapping[str, str], rows: list[str], figures: Mapping[str, Mapping[str, Figure]]) -> str:
    """Return the last row: how far the medians of sessions are apart at most."""

    def widest(way: str) -> str:
        sessions = [figures[way][row].sessions for row in rows]
        if any(min(each) <= 0 for each in sessions):
            return "too noisy"
        return f"{max(max(each) / min(each) - 1 for each in sessions):.0%}"

    return "| *sessions' medians apart by up to* | " + " | ".join(f"*{widest(way)}*" for way in columns) + " |"


def _ratios(
    base: str,
    columns: Mapping[str, str],
    programs: Mapping[str, Mapping[str, Figure]],
    calls: Mapping[str, Mapping[str, Figure]],
) -> str:
    rows = [*EXPECTED, *ONE_CALL.values()]
    of_call = {title: name for name, title in ONE_CALL.items()}

    def cell(row: str, way: str) -> str:
        figures = calls if row in of_call else programs
        name = of_call.get(row, row)
        return ratio(figures[way][name], figures[base][name])

    return table("", rows, columns, cell)


def _start(start: Mapping[str, Mapping[str, float]]) -> str:
    stages = {"import": "import", "open": "open", "first run": "first run, 1 call"}
    rows = [way for way in start if way != "direct"]
    return table("", rows, stages, lambda way, stage: duration(start[way][stage]))


def _versions(packages: Mapping[str, Mapping[str, str]]) -> str:
    return "\n".join(
        f"* {system}: " + ", ".join(f"{name} {version}" for name, version in named.items())
        for system, named in packages.items()
    )


def main() -> None:
    """Read the command line, and run the benchmark."""
    names = [system.name for system in SYSTEMS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__)
    parser.add_argument("--sessions", type=int, default=3, help="times that everything starts anew (%(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="turns that each system takes (%(default)s)")
    parser.add_argument("--samples", type=int, default=5, help="runs that are timed in a turn (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="leave the other systems out")
    parser.add_argument("--results", type=Path, default=store.RESULTS, help="where to write")
    parser.add_argument("--profile", action="store_true", help="tell where our own time goes, and nothing else")
    options = parser.parse_args()
    if options.profile:
        python = environment("codemode-graph", OURS)
        sys.exit(subprocess.run([python, "-m", "benchmarks.parts"], cwd=ROOT, check=False).returncode)
    asyncio.run(measure(options))


if __name__ == "__main__":
    main()
