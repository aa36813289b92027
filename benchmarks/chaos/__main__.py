"""Plays random programs in a simulated world, and counts what is broken.

Run it from the repository's root, where codemode-graph and its `test` extra are installed:
`python -m benchmarks.chaos --runs 1000 --sandbox monty --journal sqlite --seed 0`. README.md beside it says what is counted.
"""

import argparse
import asyncio
import os
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from codemode_sandboxes import SANDBOXES, resolve_sandbox
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from benchmarks.chaos.cases import KINDS, SHAPES, Case, Scene, random_scene
from benchmarks.chaos.drive import live, play
from benchmarks.chaos.judge import Outcome, judge
from benchmarks.chaos.mortal import MortalJournal, MortalSaver
from benchmarks.chaos.programs import size, smaller
from benchmarks.chaos.serve import RemoteWorlds, serving
from benchmarks.chaos.tools import Life
from codemode_graph.calls.journal import Journal, MemoryJournal
from codemode_graph.calls.postgres import PostgresJournal
from codemode_graph.calls.sqlite import SQLiteJournal
from tests.durable.postgres import Server, binaries, server

__all__ = ["ALLOWED", "Places", "main", "play_here", "play_in_processes"]

ALLOWED = ("marked", "forked")
"""Kinds that docs/journal.md says may be; all others are broken promises."""
_SECONDS = 120.0
"""For one process. A scene that waits for nobody is over long before."""
_CHOICES = 200
"""Smaller programs that are tried at most, for one that goes wrong."""


class Places:
    """The places where cases are kept: each in a journal of its own.

    Args:
        kind: "memory", "sqlite" or "postgres".
        folder: For files.
        postgres: Where databases are made.
    """

    def __init__(self, kind: str, folder: Path, postgres: Server | None = None) -> None:
        self.kind, self.folder, self._postgres = kind, folder, postgres
        self._made = 0

    def place(self) -> Path:
        """Return a new folder."""
        self._made += 1
        path = self.folder / str(self._made)
        path.mkdir()
        # Two processes that turn on its log at one time are refused by SQLite at once, and LangGraph does not try again.
        with closing(sqlite3.connect(path / "checkpoints.db")) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
        if self._postgres is not None:
            (path / "address").write_text(self._postgres.create())
        return path

    @asynccontextmanager
    async def journal(self, place: Path) -> AsyncIterator[Journal]:
        """Open the journal of a case."""
        opened: Any = MemoryJournal()
        if self.kind == "sqlite":
            opened = SQLiteJournal(place / "journal.db")
        elif self.kind == "postgres":
            opened = PostgresJournal((place / "address").read_text())
        try:
            yield opened
        finally:
            await opened.aclose()


async def play_here(scene: Scene, places: Places, sandbox: Any) -> Outcome:
    """Play a scene in this process."""
    async with places.journal(places.place()) as journal:
        try:
            async with asyncio.timeout(_SECONDS):
                return await play(scene, sandbox=sandbox, journal=journal, saver=InMemorySaver())
        except TimeoutError:
            return Outcome(violations=[f"hangs: for more than {_SECONDS:g} seconds"])


def play_in_processes(scene: Scene, places: Places, sandbox: str, worlds: Path) -> Outcome:
    """Play a scene in processes that are killed by SIGKILL, up to four at one time; the worlds are another process's."""
    place, kills, found = places.place(), 0, list[str]()
    remote = RemoteWorlds(worlds, place.name)
    # Those that work at one time die at moments of their own; the last process is alone, and lives on.
    generations: list[list[int | None]] = [
        [left + 7 * executor for executor in range(scene.executors)] for left in scene.kills
    ]
    generations += [[None] * scene.executors, [None]]
    for lives in generations:
        children = [_fork(scene, places, place, sandbox, remote, executor, left) for executor, left in enumerate(lives)]
        kills += sum(os.WIFSIGNALED(os.waitpid(child, 0)[1]) for child in children)
    if (place / "error").exists():
        found.append((place / "error").read_text())
    if found:
        return Outcome(violations=found, kills=kills)
    return replace(asyncio.run(_judge(scene, places, place, remote)), kills=kills)


def _fork(
    scene: Scene, places: Places, place: Path, sandbox: str, worlds: RemoteWorlds, executor: int, left: int | None
) -> int:
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(_in_process(scene, places, place, sandbox, worlds, executor, left))
        except BaseException as error:
            (place / "error").write_text(f"error: {type(error).__name__}: {error}")
        finally:
            os._exit(0)
    return child


async def _in_process(
    scene: Scene, places: Places, place: Path, sandbox: str, worlds: RemoteWorlds, executor: int, left: int | None
) -> None:
    async with AsyncExitStack() as stack:
        journal = await stack.enter_async_context(places.journal(place))
        saver = await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(str(place / "checkpoints.db")))
        box = resolve_sandbox(sandbox)
        stack.push_async_callback(box.aclose)
        life = Life(left, real=True)
        async with asyncio.timeout(_SECONDS):
            await live(
                scene, life, worlds, MortalJournal(journal, life, {}), MortalSaver(saver, life), box, executor=executor
            )


async def _judge(scene: Scene, places: Places, place: Path, worlds: RemoteWorlds) -> Outcome:
    async with places.journal(place) as journal:
        snapshots = [await worlds.call(f"thread {number}", "snapshot") for number in range(len(scene.threads))]
        return await judge(scene, snapshots, journal)


def shrink(scene: Scene, kind: str, outcome_of: Any) -> Scene:
    """Return the smallest scene that is found to go wrong in the same way."""
    tries = 0
    found = True
    while found and tries < _CHOICES:
        found = False
        for candidate in _smaller_scenes(scene):
            tries += 1
            if any(each.startswith(kind) for each in outcome_of(candidate).violations):
                scene, found = candidate, True
                break
            if tries >= _CHOICES:
                break
    return scene


def _smaller_scenes(scene: Scene) -> Iterator[Scene]:
    for at, turns in enumerate(scene.threads):
        if len(scene.threads) > 1:
            yield replace(scene, threads=scene.threads[:at] + scene.threads[at + 1 :])
        for turn, case in enumerate(turns):
            rest = [*([] if len(turns) == 1 else [turns[:turn] + turns[turn + 1 :]])]
            rest += [(*turns[:turn], less, *turns[turn + 1 :]) for less in _smaller(case)]
            for fewer in rest:
                yield replace(scene, threads=(*scene.threads[:at], fewer, *scene.threads[at + 1 :]))
    for at in range(len(scene.kills)):
        yield replace(scene, kills=scene.kills[:at] + scene.kills[at + 1 :])
    if scene.executors > 1:
        yield replace(scene, executors=scene.executors - 1)


def _smaller(case: Case) -> Iterator[Case]:
    if case.fork is not None:
        yield replace(case, fork=None)
    if case.answers != "at once":
        yield replace(case, answers="at once")
    for body in smaller(case.body):
        # Operations have other numbers now, and the bugs are to stay within the program.
        bugs: dict[int, list[int]] = {}
        for number, attempts in case.bugs.items():
            bugs.setdefault(min(number, max(0, size(body) - 1)), []).extend(attempts)
        yield replace(case, body=body, bugs=bugs)
    if case.repair is not None:
        for repair in smaller(case.repair):
            yield replace(case, repair=repair)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description="Play random programs, and count.")
    parser.add_argument("--runs", type=int, default=1000, help="programs (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the first; each further one has the next (default: 0)")
    parser.add_argument("--sandbox", default="monty", choices=sorted(SANDBOXES))
    parser.add_argument("--journal", default="memory", choices=["memory", "sqlite", "postgres"])
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, help="misfortunes (default: all)")
    parser.add_argument("--shapes", nargs="+", default=SHAPES, choices=SHAPES, help="of graphs (default: all)")
    parser.add_argument("--processes", action="store_true", help="real processes, killed by SIGKILL; not for memory")
    parsed = parser.parse_args(arguments)
    if parsed.processes and parsed.journal == "memory":
        parser.error("a journal in memory does not outlive a process: use --journal sqlite or postgres")
    return parsed


def main(arguments: list[str] | None = None) -> int:
    """Play the cases that the command line names, and print what was counted. Return 1 where something is broken."""
    options = _parse(arguments)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="chaos-")))
        postgres = None
        if options.journal == "postgres":
            programs = binaries()
            if programs is None:
                raise SystemExit("PostgreSQL is not installed here")
            postgres = stack.enter_context(server(programs))
        places = Places(options.journal, folder, postgres)
        if options.processes:
            worlds = stack.enter_context(serving(folder))
            return _report(options, lambda scene: play_in_processes(scene, places, options.sandbox, worlds))
        loop = stack.enter_context(asyncio.Runner())
        sandbox = resolve_sandbox(options.sandbox)
        stack.callback(lambda: loop.run(sandbox.aclose()))
        return _report(options, lambda scene: loop.run(play_here(scene, places, sandbox)))


def _report(options: argparse.Namespace, outcome_of: Any) -> int:
    began = time.monotonic()
    counts: Counter[str] = Counter()
    broken: list[tuple[Scene, str]] = []
    for seed in range(options.seed, options.seed + options.runs):
        scene = random_scene(
            seed,
            slots=options.sandbox != "monty",
            kinds=tuple(options.kinds),
            shapes=tuple(options.shapes),
            processes=options.processes,
        )
        outcome = outcome_of(scene)
        counts += Counter(kills=outcome.kills, asked=outcome.asked, turns=outcome.turns)
        for violation in outcome.violations[:1]:
            kind = violation.partition(":")[0]
            counts[kind] += 1
            print(f"seed {seed}, {scene.shape}: {violation}", flush=True)
            if kind not in ALLOWED:
                broken.append((scene, kind))
    seconds = time.monotonic() - began
    print(f"{options.runs} scenes of {options.sandbox} with {options.journal}, seed {options.seed}, {seconds:.0f} s")
    print(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())) or "nothing happened")
    if broken:
        scene, kind = min(broken, key=lambda each: sum(size(case.body) for case in each[0].cases))
        scene = shrink(scene, kind, outcome_of)
        print(f"\nThe smallest that is {kind}: {replace(scene, threads=())}")
        for case in scene.cases:
            print(f"\n{replace(case, body=(), repair=None)}\n")
            print("\n".join(case.programs()))
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
