"""Plays random programs in a simulated world, and counts what is broken.

Run it from the repository's root, where codemode-graph and its `test` extra are installed:
`python -m benchmarks.chaos --runs 1000 --sandbox monty --journal sqlite --seed 0`. README.md beside it says what is counted.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from codemode_sandboxes import SANDBOXES, resolve_sandbox
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from benchmarks.chaos.drive import KINDS, Case, Outcome, judge, live, play, random_case
from benchmarks.chaos.mortal import MortalJournal, MortalSaver
from benchmarks.chaos.programs import size, smaller
from benchmarks.chaos.world import Life, World
from codemode_graph.calls.journal import Journal, MemoryJournal
from codemode_graph.calls.postgres import PostgresJournal
from codemode_graph.calls.sqlite import SQLiteJournal
from tests.durable.postgres import Server, binaries, server

__all__ = ["Places", "main", "play_in_processes"]

_SECONDS = 30.0
"""For one case. A run that waits for nobody is over long before."""
_CHOICES = 200
"""Smaller programs that are tried at most, for one that goes wrong."""


class Places:
    """Where cases are kept: each in a journal of its own.

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


async def play_here(case: Case, places: Places, sandbox: Any) -> Outcome:
    """Play a case in this process."""
    async with places.journal(places.place()) as journal:
        try:
            async with asyncio.timeout(_SECONDS):
                return await play(case, sandbox=sandbox, journal=journal, saver=InMemorySaver())
        except TimeoutError:
            return Outcome(violations=[f"hangs: for more than {_SECONDS:g} seconds"])


def play_in_processes(case: Case, places: Places, sandbox: str) -> Outcome:
    """Play a case in processes that are killed by SIGKILL, one after the other; the world is a file."""
    place, outcome = places.place(), Outcome()
    for left in (*case.kills, None):
        child = os.fork()
        if child == 0:
            try:
                ended = asyncio.run(_in_process(case, places, place, sandbox, left))
                (place / "outcome.json").write_text(json.dumps(asdict(ended)))
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        if (place / "outcome.json").exists():
            return Outcome(**{**json.loads((place / "outcome.json").read_text()), "kills": outcome.kills})
        outcome.kills += os.WIFSIGNALED(status)
    outcome.violations = ["error: the last process wrote no outcome"]
    return outcome


async def _in_process(case: Case, places: Places, place: Path, sandbox: str, left: int | None) -> Outcome:
    world = World(case.fails, path=place / "world.json")
    async with AsyncExitStack() as stack:
        journal = await stack.enter_async_context(places.journal(place))
        saver = await stack.enter_async_context(AsyncSqliteSaver.from_conn_string(str(place / "checkpoints.db")))
        box = resolve_sandbox(sandbox)
        stack.push_async_callback(box.aclose)
        life = Life(left, real=True)
        try:
            async with asyncio.timeout(_SECONDS):
                state = await live(case, life, world, MortalJournal(journal, life, {}), MortalSaver(saver, life), box)
        except TimeoutError:
            return Outcome(violations=[f"hangs: for more than {_SECONDS:g} seconds"])
        except Exception as error:
            return Outcome(violations=[f"error: {type(error).__name__}: {error}"])
        return await judge(case, world, journal, state)


def shrink(case: Case, kind: str, outcome_of: Any) -> Case:
    """Return the smallest case that is found to go wrong in the same way."""
    tries = 0
    found = True
    while found and tries < _CHOICES:
        found = False
        for candidate in _smaller(case):
            tries += 1
            if any(each.startswith(kind) for each in outcome_of(candidate).violations):
                case, found = candidate, True
                break
            if tries >= _CHOICES:
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    for at in range(len(case.kills)):
        yield replace(case, kills=case.kills[:at] + case.kills[at + 1 :])
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
            return _report(options, lambda case: play_in_processes(case, places, options.sandbox))
        loop = stack.enter_context(asyncio.Runner())
        sandbox = resolve_sandbox(options.sandbox)
        stack.callback(lambda: loop.run(sandbox.aclose()))
        return _report(options, lambda case: loop.run(play_here(case, places, sandbox)))


def _report(options: argparse.Namespace, outcome_of: Any) -> int:
    began = time.monotonic()
    counts: Counter[str] = Counter()
    broken: list[tuple[Case, str]] = []
    for seed in range(options.seed, options.seed + options.runs):
        case = random_case(seed, slots=options.sandbox != "monty", kinds=tuple(options.kinds))
        outcome = outcome_of(case)
        counts["kills"] += outcome.kills
        counts["asked"] += outcome.asked
        for violation in outcome.violations[:1]:
            kind = violation.partition(":")[0]
            counts[kind] += 1
            print(f"seed {seed}, {case.kind}: {violation}", flush=True)
            if kind != "marked":
                broken.append((case, kind))
    seconds = time.monotonic() - began
    print(f"{options.runs} runs of {options.sandbox} with {options.journal}, seed {options.seed}, {seconds:.0f} s")
    print(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())) or "nothing happened")
    if broken:
        case, kind = min(broken, key=lambda each: size(each[0].body))
        case = shrink(case, kind, outcome_of)
        print(f"\nThe smallest that is {kind}: seed {case.seed}, {replace(case, body=(), repair=None)}\n")
        print("\n".join(case.programs()))
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
