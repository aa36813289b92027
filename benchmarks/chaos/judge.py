"""Judging a scene: what is broken, by the journal, the worlds, and a second model that knows nothing of either."""

import inspect
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeAlias

from benchmarks.chaos.cases import FAILS, Case, Scene
from benchmarks.chaos.programs import source
from benchmarks.chaos.tools import Life, Tools
from benchmarks.chaos.world import OneWorld, World, key_of
from codemode_graph.calls.journal import Journal
from codemode_graph.calls.log import Asked, Event
from codemode_graph.calls.view import Record, View, fold

__all__ = ["Outcome", "judge"]

_Calls: TypeAlias = "Counter[tuple[str, str]]"


@dataclass(kw_only=True)
class Outcome:
    """The outcome of a scene.

    Attributes:
        violations: What is broken, in words that begin with its kind.
        kills: Processes that died.
        asked: Questions about calls whose outcome is unknown.
        turns: Turns that were judged, forks included.
    """

    violations: list[str] = field(default_factory=list)
    kills: int = 0
    asked: int = 0
    turns: int = 0


async def judge(scene: Scene, worlds: Sequence[Mapping[str, Any]], journal: Journal) -> Outcome:
    """Return what came of a scene, and what is broken, each in words that begin with its kind.

    `twice`: two calls of one identity took effect, the first still standing. `lost`: a call is done, and the world has it
    not. `asked falsely`: a person was asked about a call whose outcome was recorded. `silent`, `marked`: the world is not
    that of the undisturbed program, and the result does not say that it may be, or says it. `left`: an effect of an earlier
    program stands that neither was made by the last one nor is listed as left over. `forked`: after going back in a run the
    world differs. `another run`: an input began more than one.

    Args:
        scene: The scene.
        worlds: A snapshot of each thread's world, with its turns.
        journal: Of all its runs.
    """
    outcome = Outcome()
    for number, (turns, world) in enumerate(zip(scene.threads, worlds, strict=True)):
        names = list(world["turns"])
        runs = 0
        for at, name in enumerate(names):
            after = world["turns"][names[at + 1]]["before"] if at + 1 < len(names) else world["state"]
            turn, _, fork = name.partition(".")
            turn = _gone_back_to(world["turns"], turn) if fork == "back" else turn
            known = world["turns"][turn if fork == "back" else name]
            ended = world["turns"][name]["ended"]
            case = turns[int(turn)]
            past = [world["turns"][name] for name in names[:at]]
            runs += fork != "back"
            found = await _judge_turn(
                scene, case, known["before"], after, ended, past, journal, outcome, back=fork == "back"
            )
            if ended["refused"]:  # it may have no journal
                runs = len(ended["runs"])
            if scene.shape != "agent" and len(ended["runs"]) != runs:
                found.append(f"another run: the thread has {len(ended['runs'])} and not {runs}")
            outcome.violations += [f"{each} [thread {number}, turn {name}]" for each in found]
            outcome.turns += 1
    return outcome


def _gone_back_to(turns: Mapping[str, Any], turn: str) -> str:
    """Return the turn whose run is gone back in: of one that was refused, which began no run, the one before it."""
    while turns[turn]["ended"]["refused"] and turn != "0":
        turn = str(int(turn) - 1)
    return turn


async def _judge_turn(
    scene: Scene,
    case: Case,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    ended: Mapping[str, Any],
    past: Sequence[Mapping[str, Any]],
    journal: Journal,
    outcome: Outcome,
    *,
    back: bool,
) -> list[str]:
    # A thread that went back in its run has appended to it since. An agent has a run for each program.
    known = [] if not past or back else [run for run, _ in past[-1]["ended"]["runs"]]
    logs = [(await journal.read(run))[:length] for run, length in ended["runs"] if run not in known]
    logs = logs if scene.shape == "agent" and logs else logs[-1:] or [[]]
    view, asked = fold(logs[-1]), [question for log in logs for question in _asked(log)]
    outcome.asked += len(asked)
    found = [f"asked falsely: {tool}" for tool, doubtful in asked if not doubtful]
    landed = _count(after["landed"][len(before["landed"]) :])
    most, least = _expected(map(fold, logs))
    found += [f"twice: {name}{arguments}" for (name, arguments), n in landed.items() if n > most[name, arguments]]
    found += [f"lost: {name}{arguments}" for (name, arguments), n in least.items() if n > landed[name, arguments]]
    failed = _failed(past)
    if scene.shape == "agent" and failed:
        # What a failed program of an earlier turn did is held, until a program says that it means it anew.
        held = [record for run in failed for record in _standing(fold(await journal.read(run)))]
        standing = {_call(record) for record in held}
        return found + [f"twice: {name}{arguments} in a later turn" for name, arguments in standing & set(landed)]
    # How far a gather comes that fails in the end is for the event loop to say.
    if case.repair is None and not case.fails_in_the_end and not ended["refused"]:
        possible = await _accepted(case, before)
        if (key_of(after), ended["verdict"] == "ok") not in possible:
            kind = "forked" if back else "marked" if ended["marked"] else "silent"
            found.append(f"{kind}: {key_of(after)} {ended['verdict']} {ended['error']}, not {possible[-1]}")
    elif ended["verdict"] == "ok" and not back:
        found += _left(view, ended["left_over"])
    return found


def _failed(turns: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the last runs of turns that ended without a value. A turn whose program was refused began none."""
    failed: list[str] = []
    known: set[str] = set()
    for turn in turns:
        news = [run for run, _ in turn["ended"]["runs"] if run not in known]
        known.update(news)
        if news and turn["ended"]["verdict"] != "ok":
            failed.append(news[-1])
    return failed


def _standing(view: View) -> list[Record]:
    """Return the calls of a failed program whose effects a later turn finds."""
    # An effect that was undone is gone, and so is what undid it: it may have to undo the next one.
    undid = {record.undone_by for record in view.records}
    return [
        record
        for record in view.standing()
        if record.event.effect in ("write", "destructive") and record.index not in undid
    ]


async def _accepted(case: Case, before: Mapping[str, Any]) -> list[tuple[Any, bool]]:
    """Return the worlds that the undisturbed program leaves, and whether it ends well, however often flaky tools fail."""
    program = source(case.body, attempt=0, bugs={})
    possible = [fails for fails in FAILS if all(fails[name] <= case.fails.get(name, 0) for name in fails)]
    return [await _undisturbed(program, World(fails, calm=True, state=before)) for fails in possible]


async def _undisturbed(program: str, world: World) -> tuple[Any, bool]:
    """Run a program in this process. This is the second model: it has no journal and no sandbox."""

    def bound(function: Any) -> Any:
        hidden = {name: None for name in ("key", "config") if name in inspect.signature(function).parameters}
        return lambda *arguments: function(*arguments, **hidden)

    functions = Tools(OneWorld(world), Life(), calm=True).functions()
    names: dict[str, Any] = {"tools": SimpleNamespace(**{each.__name__: bound(each) for each in functions})}
    exec(compile(program, "program", "exec"), names)
    try:
        await names["main"]()
    except (ValueError, PermissionError):
        return key_of(world.state), False
    return key_of(world.state), True


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


def _call(record: Record) -> tuple[str, str]:
    return record.event.tool, json.dumps(list(record.event.arguments.values()))


def _count(landed: Sequence[Sequence[Any]]) -> _Calls:
    return Counter((name, json.dumps(arguments)) for name, arguments, _, _ in landed)


def _expected(views: Iterable[View]) -> tuple[_Calls, _Calls]:
    """Return how often calls may have taken effect at most, by what is recorded, and how often at least."""
    most: _Calls = Counter()
    least: _Calls = Counter()
    standing: set[tuple[int, tuple[str, str], Any]] = set()
    for at, record in ((at, record) for at, view in enumerate(views) for record in view.records):
        if not record.has_effect or record.session == 0:  # session 0 has the calls of an agent's programs before
            continue
        call = _call(record)
        least[call] += record.status == "done" and record.event.effect != "idempotent"
        if record.event.effect == "idempotent":
            most[call] += 1000  # it may be made again
        elif not record.stands:
            most[call] += record.status == "done"
        elif (at, call, record.identity) not in standing:
            standing.add((at, call, record.identity))
            most[call] += 1
    return most, least


def _left(view: View, left_over: Sequence[str]) -> list[str]:
    session = max(view.sessions)
    met = {
        record.identity
        for (number, _), record in view.numbers.items()
        if number == session and isinstance(record, Record)
    }
    left = [record for record in view.standing() if record.session < session and record.identity not in met]
    return [f"left: {each.id} {each.event.tool}" for each in left if each.id not in left_over]
