"""Random cases: programs with their misfortunes, and scenes of several threads, turns and processes."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Literal, TypeAlias

from benchmarks.chaos.programs import Body, changed, random_body, size, source, without_keys

__all__ = ["FAILS", "KINDS", "SHAPES", "Case", "Durability", "Scene", "Shape", "random_case", "random_scene"]

Kind: TypeAlias = Literal["kills", "bugs", "both", "changed"]
KINDS: tuple[Kind, ...] = ("kills", "bugs", "both", "changed")
"""Kills alone; bugs, repaired with the same program; both; repairs that add, remove and reorder."""
Shape: TypeAlias = Literal["graph", "shared", "unshared", "agent"]
SHAPES: tuple[Shape, ...] = ("graph", "shared", "unshared", "agent")
"""The graph alone; a node of a larger graph that shares its keys; called in a node of one that does not; an agent's tool."""
Durability: TypeAlias = Literal["sync", "async", "exit"]

FAILS = [{"x": x, "y": y} for x, y in itertools.product(range(3), repeat=2)]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One turn of a thread: a program and what happens to it.

    Attributes:
        seed: From which the case was made.
        kind: Which misfortunes it has.
        body: The program.
        repair: The program of the last attempt; the same where it is None.
        bugs: The attempts that raise before an operation, by its number.
        attempts: Programs that are tried.
        fails: How often flaky tools fail.
        kills: Events that each process of the run survives; the last process lives on.
        durability: Of LangGraph's checkpoints.
        answers: How people answer: at once; one call at a time; two at the same time; again when all is over; after an
            answer of before, which comes again; after one that fits nothing.
        again: After a kill the input is given again, also where a checkpoint could be gone on from.
        reads_for: Seconds for which reads answer equal ones.
        fork: Where, among the checkpoints of the run that could go on, the thread goes back to in the end; None for nowhere.
    """

    seed: int
    kind: Kind
    body: Body
    repair: Body | None = None
    bugs: Mapping[int, list[int]] = field(default_factory=dict)
    attempts: int = 1
    fails: Mapping[str, int] = field(default_factory=dict)
    kills: tuple[int, ...] = ()
    durability: Durability = "sync"
    answers: Literal["at once", "one by one", "twice", "late", "stale", "wrong"] = "at once"
    again: bool = False
    reads_for: float = 300.0
    fork: float | None = None

    def programs(self) -> list[str]:
        """Return the texts of the attempts' programs."""
        bugs = dict(self.bugs)
        texts = [source(self.body, attempt=n, bugs=bugs) for n in range(1, self.attempts + 1)]
        if self.repair is not None:
            texts[-1] = source(self.repair, attempt=self.attempts, bugs={})
        return texts

    @property
    def fails_in_the_end(self) -> bool:
        """True where the last program has a bug as well, so that its turn ends without a value."""
        return any(self.attempts in attempts for attempts in self.bugs.values())


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Threads that run at one time, each with its turns one after the other.

    Attributes:
        shape: What codemode-graph is a part of.
        threads: The turns of each thread.
        kills: Events that each process survives; the last process lives on.
        durability: Of LangGraph's checkpoints.
        executors: How many processes work at one time, where they are real ones.
        equal: All turns of a thread have the same input.
    """

    shape: Shape
    threads: tuple[tuple[Case, ...], ...]
    kills: tuple[int, ...] = ()
    durability: Durability = "sync"
    executors: int = 1
    equal: bool = False

    @property
    def cases(self) -> list[Case]:
        """Every turn of every thread."""
        return [case for turns in self.threads for case in turns]

    def task(self, thread: int, turn: int) -> str:
        """Return the words of an input, by which the author of programs knows what to write."""
        return f"do case {thread}.{0 if self.equal else turn}."


def random_case(seed: int, *, slots: bool, kinds: tuple[Kind, ...] = KINDS) -> Case:
    """Return the case of a seed.

    Args:
        seed: Any number.
        slots: The sandbox has `asyncio.Semaphore`.
        kinds: Which misfortunes there may be.
    """
    random = Random(seed)
    kind = random.choice(kinds)
    body = random_body(random, slots=slots)
    count = size(body)
    case = Case(
        seed=seed,
        kind=kind,
        body=body,
        fails=random.choice(FAILS),
        durability=random.choice(["sync", "async", "exit"]),
        answers=random.choice(["at once", "one by one", "twice", "late"]),
        again=random.random() < 0.15,
        reads_for=random.choice([300.0, 300.0, 0.0]),
    )
    if kind in ("kills", "both"):
        case = replace(case, kills=tuple(random.randint(0, 40) for _ in range(random.randint(1, 3))))
    if kind in ("bugs", "both"):
        bugs = [random.randrange(count) for _ in range(random.randint(1, 2))]
        by_number: dict[int, list[int]] = {}
        for attempt, bug in enumerate(bugs, 1):
            by_number.setdefault(bug, []).append(attempt)
        case = replace(case, bugs=by_number, attempts=len(bugs) + 1)
    if kind == "changed":
        case = replace(case, bugs={random.randrange(count): [1]}, attempts=2, repair=changed(random, body))
    return case


def random_scene(
    seed: int,
    *,
    slots: bool,
    kinds: tuple[Kind, ...] = KINDS,
    shapes: tuple[Shape, ...] = SHAPES,
    processes: bool = False,
) -> Scene:
    """Return the scene of a seed. Its first turn is the case of the seed.

    Args:
        seed: Any number.
        slots: The sandbox has `asyncio.Semaphore`.
        kinds: Which misfortunes there may be.
        shapes: What codemode-graph may be a part of.
        processes: Processes are real ones, so that several may work at one time.
    """
    first, random = random_case(seed, slots=slots, kinds=kinds), Random(f"scene {seed}")
    shape = random.choice([*shapes, *(each for each in shapes if each == "graph")])
    threads = random.choice([1, 1, 1, 1, 2, 3, 4])
    scene = Scene(
        shape=shape,
        threads=tuple(
            tuple(
                _turn(first if thread == turn == 0 else random_case(random.randrange(10**9), slots=slots, kinds=kinds),
                      shape, random)
                for turn in range(random.choice([1, 1, 2, 2, 3]))
            )
            for thread in range(threads)
        ),
        kills=first.kills,
        durability=first.durability,
        # Two executors of an agent ask its model twice, which may write two programs: docs/journal.md says so.
        executors=random.randint(1, 4) if processes and shape != "agent" else 1,
        equal=not processes and random.random() < 0.1,
    )  # fmt: skip
    if scene.equal:
        scene = replace(scene, threads=tuple((turns[0],) * len(turns) for turns in scene.threads))
    return scene


def _turn(case: Case, shape: Shape, random: Random) -> Case:
    chance = random.random()
    changes: dict[str, Any] = {"answers": random.choice(["stale", "wrong"])} if chance < 0.25 else {}
    if shape == "graph" and chance > 0.6:
        changes["fork"] = random.random()
    if shape == "agent":
        if case.answers == "twice":
            # Two answers at one time make two executors, as above: the second one comes late.
            changes = {"answers": "late"} | changes
        # LangChain gives no key to an agent's tools, and what a turn leaves behind is for the next one.
        changes |= {"body": without_keys(case.body), "repair": case.repair and without_keys(case.repair)}
        if chance > 0.6 and case.bugs and case.repair is None:
            changes["bugs"] = {next(iter(case.bugs)): [1]}
            changes["attempts"] = 1
    return replace(case, **changes)
