"""Random programs in a simulated world, in short: `python -m benchmarks.chaos` plays as many as one likes."""

import subprocess
import sys
from pathlib import Path

import pytest
from codemode_sandboxes import resolve_sandbox

from benchmarks.chaos.__main__ import ALLOWED, Places, play_here
from benchmarks.chaos.cases import SHAPES, Scene, Shape, random_case, random_scene

ROOT = Path(__file__).parents[2]
WINDOWS = [6, 266, 385, 420]
"""Seeds whose process dies between the end of its run and the checkpoint that has the result."""
SEEDS: dict[Shape, list[int]] = {each: [0, 1, 2, 55] for each in SHAPES}
"""In 55 the process of a larger graph dies after its program has ended, and before any checkpoint of the turn."""


def broken(violations: list[str]) -> list[str]:
    """Mark what differs and says so: docs/journal.md lists when."""
    return [each for each in violations if not each.startswith(ALLOWED)]


def alone(seed: int, *, slots: bool) -> Scene:
    """The case of a seed in a thread of its own."""
    case = random_case(seed, slots=slots)
    return Scene(shape="graph", threads=((case,),), kills=case.kills, durability=case.durability)


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
        found[seed] = broken((await play_here(alone(seed, slots=sandbox != "monty"), places, box)).violations)
    await box.aclose()
    assert {seed: violations for seed, violations in found.items() if violations} == {}


@pytest.mark.parametrize("shape", SHAPES)
async def test_the_same_in_larger_graphs_with_turns_forks_and_threads(shape: Shape, tmp_path: Path) -> None:
    places, box = Places("memory", tmp_path), resolve_sandbox("monty")
    found = {}
    for seed in SEEDS[shape]:
        found[seed] = broken(
            (await play_here(random_scene(seed, slots=False, shapes=(shape,)), places, box)).violations
        )
    await box.aclose()
    assert {seed: violations for seed, violations in found.items() if violations} == {}


@pytest.mark.slow
def test_an_agent_has_one_executor() -> None:
    scenes = [random_scene(seed, slots=False, shapes=("agent",), processes=seed % 2 == 0) for seed in range(200)]
    assert {scene.executors for scene in scenes} == {1}
    assert {case.answers for scene in scenes for case in scene.cases} >= {"late", "stale", "wrong"}
    assert "twice" not in {case.answers for scene in scenes for case in scene.cases}


def test_the_same_where_processes_are_killed() -> None:
    # In a process of its own, because it forks: this one has threads.
    options = ["--runs", "12", "--journal", "sqlite", "--processes", "--kinds", "kills", "both"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
