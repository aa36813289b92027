"""Random programs in a simulated world, in short: `python -m benchmarks.chaos` plays as many as one likes."""

import subprocess
import sys
from pathlib import Path

import pytest
from codemode_sandboxes import resolve_sandbox

from benchmarks.chaos.__main__ import Places, play_here
from benchmarks.chaos.drive import random_case

ROOT = Path(__file__).parents[2]
WINDOWS = [6, 266, 385, 420]
"""Seeds whose process dies between the end of its run and the checkpoint that has the result."""


def broken(violations: list[str]) -> list[str]:
    """What is marked differs, and says so: docs/journal.md lists when."""
    return [each for each in violations if not each.startswith("marked")]


@pytest.mark.parametrize(
    ("sandbox", "journal", "seeds"),
    [
        ("monty", "memory", [*range(22), *WINDOWS]),
        ("restricted", "memory", range(100, 114)),
        ("monty", "sqlite", range(200, 212)),
        ("monty", "postgres", range(300, 306)),
    ],
    ids=["monty", "restricted", "sqlite", "postgres"],
)
async def test_nothing_happens_twice_and_nothing_is_lost(
    sandbox: str, journal: str, seeds: list[int], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    places = Places(journal, tmp_path, request.getfixturevalue("postgres") if journal == "postgres" else None)
    box = resolve_sandbox(sandbox)
    found = {}
    for seed in seeds:
        case = random_case(seed, slots=sandbox != "monty")
        found[seed] = broken((await play_here(case, places, box)).violations)
    await box.aclose()
    assert {seed: violations for seed, violations in found.items() if violations} == {}


@pytest.mark.slow
def test_the_same_where_processes_are_killed() -> None:
    # In a process of its own, because it forks: this one has threads.
    options = ["--runs", "12", "--journal", "sqlite", "--processes", "--kinds", "kills", "both"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
