"""Playing one case: a random program with its misfortunes on the real product, and judging what came of it."""

import asyncio
import inspect
import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias

from codemode_sandboxes import Sandbox
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command

from benchmarks.chaos.mortal import Author, MortalJournal, MortalSaver
from benchmarks.chaos.programs import Body, changed, random_body, size, source
from benchmarks.chaos.world import Killed, Life, World
from codemode_graph import create_codemode
from codemode_graph.calls.journal import Journal
from codemode_graph.calls.log import Asked, Event
from codemode_graph.calls.view import Record, View, fold

__all__ = ["KINDS", "Case", "Outcome", "accepted", "judge", "live", "play", "random_case"]

Kind: TypeAlias = Literal["kills", "bugs", "both", "changed"]
KINDS: tuple[Kind, ...] = ("kills", "bugs", "both", "changed")
"""Kills alone; bugs, repaired with the same program; both; repairs that add, remove and reorder."""

_FAILS = [{"x": x, "y": y} for x, y in itertools.product(range(3), repeat=2)]
_MOST_STEPS = 60
THREAD: RunnableConfig = {"configurable": {"thread_id": "thread"}}
INPUT = {"task": "do it"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A program and what happens to it.

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
        answers: How people answer: at once; one call at a time; two at the same time; again when all is over.
        again: After a kill the input is given again, also where a checkpoint could be gone on from.
        reads_for: Seconds for which reads answer equal ones.
    """

    seed: int
    kind: Kind
    body: Body
    repair: Body | None = None
    bugs: Mapping[int, list[int]] = field(default_factory=dict)
    attempts: int = 1
    fails: Mapping[str, int] = field(default_factory=dict)
    kills: tuple[int, ...] = ()
    durability: Literal["sync", "async", "exit"] = "sync"
    answers: Literal["at once", "one by one", "twice", "late"] = "at once"
    again: bool = False
    reads_for: float = 300.0

    def programs(self) -> list[str]:
        """Return the texts of the attempts' programs."""
        bugs = dict(self.bugs)
        texts = [source(self.body, attempt=n, bugs=bugs) for n in range(1, self.attempts + 1)]
        if self.repair is not None:
            texts[-1] = source(self.repair, attempt=self.attempts, bugs={})
        return texts


@dataclass(kw_only=True)
class Outcome:
    """What came of a case.

    Attributes:
        violations: What is broken, in words that begin with its kind.
        kills: Processes that died.
        asked: Questions about calls whose outcome is unknown.
    """

    violations: list[str] = field(default_factory=list)
    kills: int = 0
    asked: int = 0


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
        fails=random.choice(_FAILS),
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


async def live(case: Case, life: Life, world: World, journal: Journal, saver: Any, sandbox: Sandbox) -> dict[str, Any]:
    """Go on with a case in one process, until the run has ended.

    Args:
        case: The case.
        life: Of this process.
        world: Where tools take effect.
        journal: Where the run is recorded.
        saver: Where its checkpoints are.
        sandbox: Where programs run.

    Returns:
        The state at the end.

    Raises:
        Killed: The process died.
    """
    world.life = life

    def compiled() -> Any:
        graph = create_codemode(
            model=Author(programs=case.programs(), life=life),
            tools=world.tools(),
            policies=world.policies(reads_for=case.reads_for),
            sandbox=sandbox,
            journal=journal,
            max_attempts=case.attempts,
        )
        return graph.compile(checkpointer=saver)

    app = compiled()
    given: Any = None
    answer: Any = None
    state = await app.aget_state(THREAD)
    began = bool(state.values or state.tasks) and not (case.again and state.tasks and not state.interrupts)
    for _ in range(_MOST_STEPS):
        if not began:
            given, began = INPUT, True
        elif state.interrupts:
            answer = given = _answer(case, world, state)
        elif state.tasks:  # `next` leaves out those whose result is written, though no checkpoint has it yet
            given = None
        else:
            break
        if case.answers == "twice" and isinstance(given, Command):
            # Both executors answer at one time: one drives the program, the other goes on from what is recorded.
            both = (app, compiled())
            await asyncio.gather(*(each.ainvoke(given, THREAD, durability=case.durability) for each in both))
        else:
            await app.ainvoke(given, THREAD, durability=case.durability)
        state = await app.aget_state(THREAD)
    else:
        raise RuntimeError("the run does not end")
    if case.answers == "late" and answer is not None:
        await app.ainvoke(answer, THREAD, durability=case.durability)
        state = await app.aget_state(THREAD)
    values: dict[str, Any] = state.values
    return values


def _answer(case: Case, world: World, state: Any) -> Command[Any]:
    """Answer as a truthful person does, who looks what is in the world."""
    (asked,) = state.interrupts
    actions = asked.value["action_requests"]
    unnoticed = world.unnoticed(state.values["tool_calls"])
    decisions = []
    for action in actions:
        name, arguments = action["name"], list(action["args"].values())
        decision: dict[str, Any] = {"type": "approve"}
        if action["reason"] == "approval" and arguments == ["change"]:
            decision = {"type": "edit", "edited_action": {"name": name, "args": {"text": "changed"}}}
        elif action["reason"] == "approval" and arguments == ["refuse"]:
            decision = {"type": "reject"}
        elif action["reason"] == "unknown":
            key = (name, json.dumps(arguments))
            if unnoticed[key] > 0:
                unnoticed[key] -= 1
                decision = {"type": "respond", "message": world.value_of(name, arguments)}
        decisions.append({**decision, "id": action["id"]})
    if case.answers == "one by one":
        decisions = decisions[:1]
    return Command(resume={asked.id: {"decisions": decisions}})


async def accepted(case: Case) -> list[tuple[Any, bool]]:
    """Return the worlds that the undisturbed program leaves, and whether it ends well, however often flaky tools fail."""
    program = source(case.body, attempt=0, bugs={})
    possible = [fails for fails in _FAILS if all(fails[name] <= case.fails.get(name, 0) for name in fails)]
    return [await _undisturbed(program, World(fails, calm=True)) for fails in possible]


async def _undisturbed(program: str, world: World) -> tuple[Any, bool]:
    """Run a program in this process. This is the second model: it has no journal and no sandbox."""

    def bound(function: Any) -> Any:
        hidden = {name: None for name in ("key", "config") if name in inspect.signature(function).parameters}
        return lambda *arguments: function(*arguments, **hidden)

    names: dict[str, Any] = {"tools": SimpleNamespace(**{each.__name__: bound(each) for each in world.tools()})}
    exec(compile(program, "program", "exec"), names)
    try:
        await names["main"]()
    except (ValueError, PermissionError):
        return world.key(), False
    return world.key(), True


async def judge(case: Case, world: World, journal: Journal, state: Mapping[str, Any]) -> Outcome:
    """Return what came of a case, and what is broken, each in words that begin with its kind.

    `twice`: two calls of one identity took effect, the first still standing. `lost`: a call is done, and the world has it
    not. `asked falsely`: a person was asked about a call whose outcome was recorded. `silent`, `marked`: the world is not
    that of the undisturbed program, and the result does not say that it may be, or says it. `left`: an effect of an earlier
    program stands that neither was made by the last one nor is listed as left over.
    """
    events = await journal.read(state["run_id"])
    view, asked = fold(events), _asked(events)
    found = [f"asked falsely: {tool}" for tool, doubtful in asked if not doubtful]
    landed = Counter((name, json.dumps(arguments)) for name, arguments, _, _ in world.landed)
    most, least = _expected(view)
    found += [f"twice: {name}{arguments}" for (name, arguments), n in landed.items() if n > most[name, arguments]]
    found += [f"lost: {name}{arguments}" for (name, arguments), n in least.items() if n > landed[name, arguments]]
    if case.repair is None:
        possible = await accepted(case)
        if (world.key(), state["verdict"] == "ok") not in possible:
            marked = state["left_over"] or any("mark" in call for call in state["tool_calls"])
            kind = "marked" if marked else "silent"
            found.append(f"{kind}: {world.key()} {state['verdict']} {state['error']}, not {possible[-1]}")
    elif state["verdict"] == "ok":
        found += _left(view, state)
    if len(await journal.runs()) > 1:
        found.append("another run: the same input began a second one")
    return Outcome(violations=found, asked=len(asked))


def _asked(events: Sequence[Event]) -> list[tuple[str, bool]]:
    """Return the questions about calls whose outcome is unknown: the tool, and whether it was unknown."""
    view, found = View(), []
    for event in events:
        if isinstance(event, Asked) and event.pending["reason"] == "unknown":
            tool, arguments = event.pending["tool"], event.pending["arguments"]
            records = [each for each in view.of_tool(tool) if each.event.arguments == arguments]
            found.append((tool, any(record.status == "unknown" for record in records)))
        view.apply(event)
    return found


_Calls: TypeAlias = "Counter[tuple[str, str]]"


def _expected(view: View) -> tuple[_Calls, _Calls]:
    """Return how often calls may have taken effect at most, by what is recorded, and how often at least."""
    most: _Calls = Counter()
    least: _Calls = Counter()
    standing: set[tuple[tuple[str, str], Any]] = set()
    for record in view.records:
        if not record.has_effect:
            continue
        call = (record.event.tool, json.dumps(list(record.event.arguments.values())))
        least[call] += record.status == "done" and record.event.effect != "idempotent"
        if record.event.effect == "idempotent":
            most[call] += 1000  # it may be made again
        elif not record.stands:
            most[call] += record.status == "done"
        elif (call, record.identity) not in standing:
            standing.add((call, record.identity))
            most[call] += 1
    return most, least


def _left(view: View, state: Mapping[str, Any]) -> list[str]:
    session = max(view.sessions)
    met = {
        record.identity
        for (number, _), record in view.numbers.items()
        if number == session and isinstance(record, Record)
    }
    left = [record for record in view.standing() if record.session < session and record.identity not in met]
    return [f"left: {each.id} {each.event.tool}" for each in left if each.id not in state["left_over"]]


async def play(case: Case, *, sandbox: Sandbox, journal: Journal, saver: BaseCheckpointSaver[Any]) -> Outcome:
    """Play a case in this process: a kill is an exception, after which nothing that it had can be written to any more.

    Args:
        case: The case.
        sandbox: Where programs run.
        journal: An empty one.
        saver: An empty one.
    """
    world, owners, outcome = World(case.fails), dict[str, Life](), Outcome()
    for left in (*case.kills, None):
        life = Life(left)
        try:
            state = await live(
                case, life, world, MortalJournal(journal, life, owners), MortalSaver(saver, life), sandbox
            )
        except Killed:
            outcome.kills += 1
            continue
        except Exception as error:
            outcome.violations = [f"error: {type(error).__name__}: {error}"]
            return outcome
        break
    return replace(await judge(case, world, journal, state), kills=outcome.kills)
