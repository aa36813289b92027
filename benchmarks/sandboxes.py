"""Measures how fast each sandbox starts, answers a tool call and takes runs, and the same of other systems.

Run it from the repository's root: `python -m benchmarks.sandboxes`. README.md beside it explains the figures.
"""

import argparse
import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks import store
from benchmarks.boxes.report import docs, markdown
from benchmarks.boxes.subjects import SUBJECTS, Subject
from benchmarks.figures import figure
from benchmarks.machine import load
from benchmarks.systems import Worker, environment

__all__ = ["main"]

Found: TypeAlias = dict[str, dict[str, list[list[float]]]]
"""The samples of each round, by sandbox and measure."""

_PROGRAMS = 3
"""The programs among which timed calls are spread: each may run on another processor, which makes a difference."""

_MODULE = "benchmarks.boxes.measures"


def orders(subject: Subject, options: argparse.Namespace, *, first: bool) -> list[tuple[str, dict[str, Any]]]:
    """Return the measurements of a sandbox in a round: the name of each in the results, and its arguments.

    Args:
        subject: The sandbox.
        options: The options of the command line.
        first: Whether it is the first round.
    """
    found: list[tuple[str, dict[str, Any]]] = [("cold", {})]
    found.append(("ready", {"samples": options.samples if not subject.heavy else min(options.samples, 3)}))
    if subject.tools:
        programs = {"programs": _PROGRAMS}
        found += [("loop", programs), ("gather", {})]
        if subject.ours:
            found.append(("bare", programs))
    if subject.guests and first:
        found.append(("memory", {}))  # before many are started, some of which may be kept
    for at_once in subject.at_once:
        if not subject.heavy or (first and not (options.quick and at_once > 8)):
            found.append((f"rate {at_once}", {"at_once": at_once, "seconds": options.seconds}))
    return found


async def measure(subject: Subject, python: Path, options: argparse.Namespace, *, first: bool) -> dict[str, Any]:
    """Measure one sandbox once, in a process of its own.

    Returns:
        The samples, by measure, and under "packages" the packages that it runs with.

    Raises:
        RuntimeError: The process fails.
    """
    worker = await Worker.start(subject.system, python, module=_MODULE)
    try:
        found: dict[str, Any] = {"packages": worker.ready["packages"]}
        for name, arguments in orders(subject, options, first=first):
            answer = await worker.ask({"measure": name.partition(" ")[0], **arguments})
            if answer["found"]:
                found[name] = answer["found"]
        await worker.ask({"measure": "close"})
    finally:
        await worker.stop()
    return found


async def prepare(subjects: Sequence[Subject]) -> tuple[dict[str, Path], dict[str, str]]:
    """Install what is missing, and run each sandbox once, so that what it keeps on disk is there.

    Returns:
        The Python of each that works, and why each of the others does not, by name.
    """
    pythons: dict[str, Path] = {}
    absent: dict[str, str] = {}
    for subject in subjects:
        print(f"preparing {subject.name}", file=sys.stderr)
        try:
            python = environment(subject.system.environment, subject.system.requirements)
            worker = await Worker.start(subject.system, python, module=_MODULE)
            try:
                unavailable = (await worker.ask({"measure": "prepare"})).get("unavailable")
            finally:
                await worker.stop()
        except subprocess.CalledProcessError:
            unavailable = "pip could not install it"
        except RuntimeError as error:
            unavailable = str(error).splitlines()[-1]
        if unavailable:
            absent[subject.name] = unavailable
        else:
            pythons[subject.name] = python
    return pythons, absent


async def run(options: argparse.Namespace) -> None:
    """Run the benchmark and write its results."""
    chosen = [subject for subject in SUBJECTS if subject.name in options.only]
    pythons, absent = await prepare(chosen)
    subjects = [subject for subject in chosen if subject.name in pythons]
    facts: dict[str, Any] = {
        **store.facts(),
        "settings": {"rounds": options.rounds, "samples": options.samples, "seconds": options.seconds},
    }
    found: Found = {}
    packages: dict[str, dict[str, str]] = {}
    for number in range(options.rounds):
        # Another sandbox is first in each round, so that none always has the machine as the last round left it.
        turn = number % max(1, len(subjects))
        for subject in subjects[turn:] + subjects[:turn]:
            if subject.name in absent or (subject.once and number):
                continue
            print(f"round {number + 1} of {options.rounds}: {subject.name}", file=sys.stderr)
            try:
                round_ = await measure(subject, pythons[subject.name], options, first=number == 0)
            except RuntimeError as error:  # one that fails must not cost the figures of the others
                print(error, file=sys.stderr)
                absent[subject.name] = "it failed: " + str(error).splitlines()[-1]
                continue
            installed = round_.pop("packages")
            packages[subject.name] = {name: installed.get(name, "?") for name in subject.system.packages}
            if "memory" in round_:
                round_ |= {kind: [size] for kind, size in zip(("rss", "pss"), round_.pop("memory"), strict=True)}
            for name, samples in round_.items():
                found.setdefault(subject.name, {}).setdefault(name, []).append(samples)
    facts |= {"load after": load(), "packages": packages, "absent": absent}
    results = {
        **facts,
        "figures": {
            name: {each: figure(rounds).to_json() for each, rounds in measures.items()}
            for name, measures in found.items()
            if name not in absent
        },
    }
    report = markdown(results)
    store.write("sandboxes", results, report, folder=options.results)
    print(report)


def main() -> None:
    """Read the command line and run."""
    names = [subject.name for subject in SUBJECTS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sandboxes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns that each sandbox takes (%(default)s)")
    parser.add_argument("--samples", type=int, default=8, help="ready starts that are timed in a turn (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.7, help="for which runs are counted (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="one round with few samples")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="leave the other sandboxes out")
    parser.add_argument("--results", type=Path, default=store.RESULTS, help="where to write")
    parser.add_argument("--docs", action="store_true", help="print the table for docs/sandboxes.md from the results")
    options = parser.parse_args()
    if options.docs:
        print(docs(store.newest("sandboxes", folder=options.results)))
        return
    if options.quick:
        options.rounds, options.samples, options.seconds = 1, 2, 0.2
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(options))


if __name__ == "__main__":
    main()
