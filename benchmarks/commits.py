"""Measures two commits of codemode-graph side by side: the processor time of a program, to its value.

`python -m benchmarks.commits OLD NEW` gives both what the newer one requires.
"""

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks import store
from benchmarks.figures import duration, figure, table
from benchmarks.machine import ROOT, load
from benchmarks.overhead import Session, session
from benchmarks.peers.tools import EXPECTED
from benchmarks.systems import CACHE, OURS, System, environment

__all__ = ["docs", "main"]


def tree_of(commit: str) -> tuple[str, Path]:
    """Write the files of a commit into the cache; return its short name and their folder.

    Raises:
        subprocess.CalledProcessError: There is no such commit.
    """
    name = subprocess.run(
        ["git", "rev-parse", "--short=10", f"{commit}^{{commit}}"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()
    folder = CACHE / "commits" / name
    folder.mkdir(parents=True, exist_ok=True)
    files = subprocess.run(
        ["git", "archive", name, "codemode_graph", "sandboxes"], cwd=ROOT, check=True, capture_output=True
    ).stdout
    subprocess.run(["tar", "x", "-C", folder], input=files, check=True)
    return name, folder


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run both in turns, and return the results."""
    python = environment("codemode-graph", OURS)
    trees = dict(map(tree_of, (options.old, options.new)))
    systems = [
        System(name=name, module="benchmarks.peers.commit", environment="codemode-graph", requirements=(), tree=tree)
        for name, tree in trees.items()
    ]
    sessions: list[Session] = []
    for number in range(options.sessions):
        print(f"session {number + 1} of {options.sessions}", file=sys.stderr)
        how = {"rounds": options.rounds, "samples": options.samples}
        measured, _ = await session(systems, {"codemode-graph": python}, **how)
        sessions.append(measured)
    settings = {name: getattr(options, name) for name in ("sessions", "rounds", "samples")}
    figures = {
        name: {
            program: figure(
                [list(chain.from_iterable(each["processor"][name][program])) for each in sessions]
            ).to_json()
            for program in EXPECTED
        }
        for name in trees
    }
    return {**store.facts(), "settings": settings, "commits": list(trees), "processor": figures, "load after": load()}


def docs(results: Mapping[str, Any]) -> str:
    """Return the table of a result, for the documentation."""
    old, new = results["commits"]
    figures = results["processor"]
    columns = {"old": f"before ({old})", "new": f"now ({new})", "ratio": "now / before"}

    def cell(program: str, column: str) -> str:
        before, now = figures[old][program]["median"], figures[new][program]["median"]
        return f"{now / before:.2f}×" if column == "ratio" else duration(before if column == "old" else now)

    return table("program", EXPECTED, columns, cell)


def main() -> None:
    """Read the command line, and run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.commits", description=__doc__.partition("\n")[0])
    parser.add_argument("old", help="a commit")
    parser.add_argument("new", nargs="?", default="HEAD", help="another one (%(default)s)")
    parser.add_argument("--sessions", type=int, default=4, help="times that each starts anew (%(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help="turns of each program (%(default)s)")
    parser.add_argument("--samples", type=int, default=5, help="runs that are timed in a turn (%(default)s)")
    parser.add_argument("--results", type=Path, default=store.RESULTS, help="where to write")
    options = parser.parse_args()
    results = asyncio.run(measure(options))
    store.write("commits", results, folder=options.results)
    print(docs(results))


if __name__ == "__main__":
    main()
