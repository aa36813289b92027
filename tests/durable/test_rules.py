"""The rules of the journal: what becomes of a call, cell by cell of their table, and the stories that decided on them."""

import asyncio
import json
import textwrap
from collections.abc import Callable
from random import Random
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.chaos.tools import Life, Tools
from benchmarks.chaos.world import OneWorld, World
from codemode_graph import RunResult, codemode
from codemode_graph.calls.decide import ProgramCall, Verdict, decide
from codemode_graph.calls.log import (
    Absent,
    Answered,
    Attached,
    Delivered,
    Denied,
    Done,
    Ended,
    Event,
    Failed,
    Opened,
    Proposed,
    Started,
    Undone,
    Unknown,
    dump_events,
    load_events,
)
from codemode_graph.calls.view import Identity, View, fold
from codemode_graph.state import ToolError
from codemode_graph.tools import tool
from codemode_graph.tools.spec import Effect

COUNT_AND_ADD = "n = await tools.count()\nawait tools.add(str(n + 1))\n"
BUG = "raise KeyError('bug')\n"


async def play(*programs: str, world: World | None = None, sandbox: str = "monty") -> tuple[World, list[RunResult]]:
    """Run programs, each of which repairs the one before."""
    world, results = world or World(), list[RunResult]()
    world.begin("0", world.state["fails"])
    tools = Tools(OneWorld(world), Life())
    async with codemode(
        tools=tools.functions(), policies=tools.policies(reads_for=300.0), sandbox=sandbox, approve=approve
    ) as cm:
        for n, program in enumerate(programs, 1):
            lines = (
                f"import asyncio\nimport time\nattempt = {n}\nasync def main():\n{textwrap.indent(program, '    ')}\n"
            )
            after = results[-1]["run_id"] if results else None
            results.append(await cm.run_code(f"{lines}    return 'ok'\n", after=after))
    return world, results


def approve(request: Any) -> Any:
    return {"decisions": [{"type": "approve", "id": action["id"]} for action in request["action_requests"]]}


def rows(world: World) -> list[Any]:
    return [list(row) for row in world.state["rows"]]


def landed(world: World, *tools: str) -> list[Any]:
    return [[name, *arguments] for name, arguments, _, _ in world.state["landed"] if name in tools]


def marks(result: RunResult) -> list[str]:
    return [call["mark"] for call in result["tool_calls"] if "mark" in call]


async def test_what_is_counted_and_then_created_is_created_once() -> None:
    world, (failed, done) = await play(COUNT_AND_ADD + BUG, COUNT_AND_ADD)
    assert rows(world) == [["add", "1"]]
    assert (failed["success"], done["success"], marks(done)) == (False, True, [])


async def test_also_after_a_caught_failure_which_is_told_again() -> None:
    program = "try:\n    await tools.flaky('x')\nexcept ValueError:\n    pass\n" + COUNT_AND_ADD
    world, (_, done) = await play(program + BUG, program, world=World({"x": 1}))
    assert (rows(world), marks(done)) == ([["add", "1"]], [])


class Meddled(World):
    """Somebody else changes the version, before the first `save`."""

    met = False

    def _change(self, name: str, *arguments: Any) -> Any:
        if name == "save" and not self.met:
            self.met = True
            self.state["version"] += 1
        return super()._change(name, *arguments)


async def test_after_a_conflict_the_version_is_read_anew() -> None:
    program = "await tools.save(await tools.version())\n"
    world, (failed, done) = await play(program, program, world=Meddled())
    assert (failed["success"], done["success"]) == (False, True)
    assert rows(world) == [["save", "1"]]


async def test_what_is_inserted_before_a_query_makes_it_anew() -> None:
    first = "await tools.add('a')\nn = await tools.count()\n"
    repaired = first.replace("n =", "await tools.add('b')\nn =") + "await tools.set('n', str(n))\n"
    world, _ = await play(first + BUG, repaired)
    assert world.state["flags"] == {"n": "2"}


async def test_what_was_published_is_not_set_back_to_a_draft() -> None:
    program = "await tools.set('f', 'draft')\nawait tools.set('f', 'published')\n"
    world, _ = await play(program + BUG, program)
    assert landed(world, "set") == [["set", "f", "draft"], ["set", "f", "published"]]


async def test_what_is_set_in_another_order_ends_in_that_order() -> None:
    opens, closes = "await tools.set('f', 'open')\n", "await tools.set('f', 'closed')\n"
    world, _ = await play(opens + closes + BUG, closes + opens)
    assert world.state["flags"] == {"f": "open"}


async def test_reads_alone_are_not_made_twice() -> None:
    program = "await tools.count()\nawait tools.version()\n"
    _, (_, done) = await play(program + BUG, program)
    assert [(call["id"], call.get("answered")) for call in done["tool_calls"]] == [("1.1", ["2.1"]), ("1.2", ["2.2"])]


async def test_a_poll_is_made() -> None:
    program = "for _ in range(2):\n    if await tools.status('job') == 'ready':\n        return 'ok'\n" + BUG
    world, (failed, done) = await play(program, program)
    assert (failed["success"], done["success"], world.state["polls"]) == (False, True, {"job": 3})


def compensated(body: str) -> str:
    inner = textwrap.indent(body, "    ")
    return f"await tools.reserve('r')\ntry:\n{inner}except KeyError:\n    await tools.cancel('r')\n    raise\n"  # whatever fails is given back


@pytest.mark.parametrize("attempts", [1, 2, 3])
async def test_what_is_given_back_each_time_is_never_reserved_for_ever(attempts: int) -> None:
    world, results = await play(*[compensated(BUG)] * attempts)
    assert (world.state["reserved"], results[-1]["success"]) == ([], False)


@pytest.mark.parametrize("attempts", [1, 2])
async def test_what_was_given_back_is_reserved_again_by_a_repair(attempts: int) -> None:
    world, results = await play(*[compensated(BUG)] * attempts, compensated("pass\n"))
    assert (world.state["reserved"], results[-1]["success"]) == (["r"], True)
    assert len(landed(world, "reserve")) == attempts + 1 or len(landed(world, "cancel")) == attempts


@pytest.mark.parametrize("text", ["str(n + 1)", "f'@{time.time()}'"])
async def test_what_was_created_between_is_created_once(text: str) -> None:
    body = f"n = await tools.count()\nawait tools.add({text})\n"
    world, (_, done) = await play(compensated(body + BUG), compensated(body))
    assert (done["success"], len(rows(world)), world.state["reserved"]) == (True, 1, ["r"])


async def test_a_repair_that_does_not_reserve_leaves_nothing_reserved() -> None:
    world, (_, done) = await play(compensated(BUG), "await tools.add('a')\n")
    assert (world.state["reserved"], done["left_over"]) == ([], ["1.2"])  # that it was given back stands


async def test_of_two_equal_reservations_one_cancel_undoes_none_by_the_record() -> None:
    twice = "await tools.reserve('r')\nawait tools.reserve('r')\nawait tools.cancel('r')\n"
    world, (failed, done) = await play(twice + BUG, "pass\n")
    assert world.state["reserved"] == ["r"]
    assert not any("undone" in call for call in failed["tool_calls"])
    assert done["left_over"] == ["1.1", "1.2", "1.3"]


class Slow(World):
    """Each call takes a time of its own."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = Random(seed)

    async def delay(self) -> None:
        await asyncio.sleep(self._random.random() * 0.004)


@pytest.mark.parametrize("seed", range(4))
async def test_chains_that_run_four_at_a_time_charge_once(seed: int) -> None:
    program = """
slots = asyncio.Semaphore(4)
async def one(n):
    async with slots:
        charged = await tools.get(f"b{n}")
        await tools.charge(f"b{n}", charged + 1)
await asyncio.gather(*[one(n) for n in range(12)])
"""
    world, (failed, done) = await play(program + BUG, program, world=Slow(seed), sandbox="restricted")
    assert (failed["success"], done["success"]) == (False, True)
    assert world.state["accounts"] == {f"b{n}": 1 for n in range(12)}


async def test_attempts_that_fail_later_and_later() -> None:
    programs = [COUNT_AND_ADD * n + BUG for n in (1, 2, 3)]
    world, results = await play(*programs, COUNT_AND_ADD * 3)
    assert rows(world) == [["add", "1"], ["add", "2"], ["add", "3"]]
    assert results[-1]["success"]


async def test_what_failed_is_made_again_by_the_same_program() -> None:
    program = "await tools.flaky('x')\n"
    world, (failed, done) = await play(program, program, world=World({"x": 1}))
    assert (failed["success"], done["success"], rows(world)) == (False, True, [["flaky", "x"]])


async def test_a_repair_that_logs_first_and_so_counts_more_is_marked() -> None:
    world, (_, done) = await play(COUNT_AND_ADD + BUG, "await tools.add('log')\n" + COUNT_AND_ADD)
    assert rows(world) == [["add", "1"], ["add", "log"], ["add", "3"]]
    assert any("1.2, with other arguments, took effect" in mark for mark in marks(done))


async def test_and_is_asked_about_where_it_destroys() -> None:
    asked: list[str] = []

    @tool(effect="destructive")
    async def drop(text: str) -> str:
        """Drop a table."""
        return text

    def answer(request: Any) -> Any:
        asked.extend(str(action["args"]) for action in request["action_requests"])
        return approve(request)

    async with codemode(tools=[drop], approve=answer) as cm:
        failed = await cm.run_code("await tools.drop('1')\n{}['x']")
        assert asked == []
        done = await cm.run_code("await tools.drop('3')", after=failed["run_id"])
    assert (done["success"], asked) == (True, ["{'text': '3'}"])


async def test_a_loop_that_left_one_item_out_is_marked_where_it_charges_again() -> None:
    program = """
failed = False
for key in ["p", "q", "s"]:
    n = await tools.get(key)
    if key == "q" and attempt == 1:
        failed = True
        continue
    await tools.charge(key, n + 1)
if failed:
    raise KeyError("q")
"""
    world, (_, done) = await play(program, program)
    # Having charged q it is no longer on the recorded way, so s is looked at anew.
    assert world.state["accounts"] == {"p": 1, "q": 1, "s": 2}
    assert any("with other arguments, took effect" in mark for mark in marks(done))


async def test_a_count_beside_an_add_is_made_anew_after_it() -> None:
    together = "await asyncio.gather(tools.add('a'), tools.count())\n"
    repaired = "await tools.add('a')\nn = await tools.count()\nawait tools.set('n', str(n))\n"
    world, _ = await play(together + BUG, repaired)
    assert world.state["flags"] == {"n": "1"}
    assert rows(world) == [["add", "a"]]


# The table of `decide`, from events.

ERROR = ToolError(type="ValueError", message="503")
R, X = 0, 1
"""The call in question, and an effect that came after it."""


def started(effect: Effect, *, tool: str = "r", number: int = 1, session: int = 1, told: str = "0") -> Started:
    return Started(
        session=session, attempt=session, number=number, tool=tool, digest=tool, occurrence=1, effect=effect,
        arguments={}, known_effects=told, time=100.0,
    )  # fmt: skip


def session(number: int) -> list[Event]:
    return [
        Proposed(attempt=number, program=""),
        Attached(session=number, attempt=number, digest=str(number), owner="", until=0.0),
    ]


LATER = [
    started("write", tool="x", number=2, told="a"),
    Done(call=X, time=101.0),
    Delivered(session=1, clock=2.0, numbers=[2]),
]
TOLD = Delivered(session=1, clock=1.0, numbers=[1])
HISTORIES: dict[str, Callable[[Effect], list[Any]]] = {
    "none": lambda effect: [],
    "done, untouched": lambda effect: [started(effect), Done(call=R, time=100.0), TOLD],
    "done, on the way": lambda effect: [started(effect), Done(call=R, time=100.0), TOLD, *LATER],
    "done, neither": lambda effect: [started(effect), Done(call=R, time=100.0), TOLD, *LATER],
    "undone": lambda effect: [started(effect), Done(call=R, time=100.0), TOLD, *LATER, Undone(call=R, by=X)],
    "failed, on the way": lambda effect: [started(effect), Failed(call=R, time=100.0, error=ERROR), TOLD, *LATER],
    "failed": lambda effect: [started(effect), Failed(call=R, time=100.0, error=ERROR), TOLD],
    "denied": lambda effect: [started(effect), Denied(call=R, time=100.0, error=ERROR), TOLD],
    "unknown": lambda effect: [started(effect), Unknown(call=R, time=100.0)],
    "started by a dead session": lambda effect: [started(effect)],
    "found absent": lambda effect: [started(effect), Unknown(call=R, time=100.0), Absent(call=R)],
}
WRITE = {
    "none": "make",
    "done, untouched": "answer",
    "done, on the way": "answer",
    "done, neither": "answer, marked",
    "undone": "make",
    "failed, on the way": "answer",
    "failed": "make",
    "denied": "answer",
    "unknown": "settle",
    "started by a dead session": "settle",
    "found absent": "make",
}
TABLE: dict[Effect, dict[str, str]] = {
    "read": {**WRITE, "done, neither": "make", "unknown": "make", "started by a dead session": "make"},
    "idempotent": {**WRITE, "done, neither": "make"},
    "write": WRITE,
    "destructive": WRITE,
}
CELLS = [(effect, history) for effect in get_args(Effect) for history in HISTORIES]


def verdict_on(events: list[Event], effect: Effect, *, told: str = "0", now: float = 110.0, **more: Any) -> Verdict:
    call = ProgramCall(number=1, identity=Identity("r", "r", 1), effect=effect, known_effects=told, session=2, **more)
    return decide(fold(events), call, now)


@pytest.mark.parametrize(("effect", "history"), CELLS)
def test_every_cell_of_the_table(effect: Effect, history: str) -> None:
    if (effect, history) == ("read", "undone"):
        pytest.skip("nothing undoes a read")
    events = [Opened(), *session(1), *HISTORIES[history](effect), Ended(session=1, how="failed"), *session(2)]
    verdict = verdict_on(events, effect, told="b" if history == "done, neither" else "0")
    assert verdict.action + (", marked" if verdict.marked else "") == TABLE[effect][history]
    if verdict.action != "make":
        assert verdict.record is not None
        assert verdict.record.index == R


@pytest.mark.parametrize("history", ["done, untouched", "done, on the way", "failed, on the way"])
def test_what_is_on_the_way_or_untouched_is_so_under_conditions(history: str) -> None:
    events = [Opened(), *session(1), *HISTORIES[history]("read"), Ended(session=1, how="failed"), *session(2)]
    assert verdict_on(events, "read").action == "answer"
    if history == "done, untouched":
        assert verdict_on(events, "read", now=100.0 + 300.0).action == "make"  # too old
        assert verdict_on(events, "read", reads_for=0.0).action == "make"
        poll = [*events[:5], started("read", number=3), *events[5:]]
        assert verdict_on(poll, "read").action == "make"  # several equal reads of one program
        return
    met = {Identity("x", "x", 1): 0}
    assert verdict_on(events, "read", told="b").action == "make"  # it knows of other effects
    assert verdict_on(events, "read", met=met).action == "make"  # it has come to the effect that it was on the way to
    own = [*events, started("write", tool="y", number=7, session=2)]
    assert verdict_on(own, "read").action == "make"  # it has gone another way
    undone = [*events, Undone(call=X, by=X)]
    assert verdict_on(undone, "read").action == "make"  # the effect that it was on the way to does not stand
    assert verdict_on(events, "read", used={R}).action == "make"  # it has been told in this session


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Return the events of a random run: sessions, calls that end in any way or not, answers, and undoing."""
    events: list[Event] = [Opened(thread="t", seed=draw(st.integers(0, 9)))]
    records = 0
    for number in range(1, draw(st.integers(1, 4)) + 1):
        events += session(number)
        for call in range(1, draw(st.integers(0, 5)) + 1):
            told = draw(st.sampled_from("0ab"))
            if records and draw(st.booleans()):
                which = draw(st.integers(0, records - 1))
                events.append(Answered(session=number, attempt=number, number=call, call=which, known_effects=told))
            else:
                tool, effect = draw(
                    st.sampled_from([(f"{effect} {n}", effect) for effect in get_args(Effect) for n in "12"])
                )
                events.append(started(effect, tool=tool, number=call, session=number, told=told))
                ends: list[Event] = [
                    Done(call=records, time=101.0, value=draw(st.sampled_from([None, 1, "é", [1.5]]))),
                    Failed(call=records, time=101.0, error=ERROR),
                    Denied(call=records, time=101.0, error=ERROR),
                    Unknown(call=records, time=101.0),
                ]
                events += draw(st.lists(st.sampled_from(ends), max_size=1))
                records += 1
            if draw(st.booleans()):
                events.append(Delivered(session=number, clock=float(call), numbers=[call]))
            if records > 1 and draw(st.integers(0, 5)) == 0:
                undone, by = draw(st.integers(0, records - 1)), draw(st.integers(0, records - 1))
                events.append(Undone(call=undone, by=by))
        if draw(st.booleans()):
            events.append(
                Ended(session=number, how=draw(st.sampled_from(["waiting", "finished", "failed", "cancelled"])))
            )
    return events


def seen(view: View) -> Any:
    """Return what a view shows."""
    sessions = {number: (each.how, each.frames, each.own_effects, each.spent) for number, each in view.sessions.items()}
    numbers = {at: record.index if not isinstance(record, dict) else record for at, record in view.numbers.items()}
    tells = [(record.receipts, record.received_at, record.clock, record.status, record.void) for record in view.records]
    standing = [record.index for record in view.standing()]
    return view.length, sessions, numbers, tells, standing, view.tool_calls(), view.marks, view.opened, view.closed


def test_the_journals_of_every_version_have_the_same_names() -> None:
    """A field that has another name in the code keeps the one that older journals have, and older packages read."""
    text = dump_events(
        [
            started("write"),
            Answered(session=2, attempt=1, number=1, call=0, known_effects="a"),
            Delivered(session=1, clock=1.5, numbers=[1]),
        ]
    )
    batch = json.loads(text)
    assert [event["type"] for event in batch["events"]] == ["started", "answered", "told"]
    assert [event.get("told") for event in batch["events"]] == ["0", "a", None]
    assert "known_effects" not in text
    assert dump_events(load_events(text)) == text


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(histories(), st.data())
def test_a_view_is_what_its_events_say_however_they_come(events: list[Event], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(events)))
    kept = [event for part in (events[:at], events[at:]) for event in load_events(dump_events(part))]
    assert kept == events
    assert seen(fold(kept)) == seen(fold(events))
    part = fold(events[:at])
    for event in events[at:]:
        part.apply(event)
    assert seen(part) == seen(fold(events))


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(histories(), st.sampled_from("0ab"), st.integers(1, 6), st.sampled_from([100.0, 10_000.0]))
def test_a_write_that_stands_is_never_made(events: list[Event], told: str, number: int, now: float) -> None:
    view = fold(events)
    for record in view.standing():
        if record.event.effect not in ("write", "destructive"):
            continue
        call = ProgramCall(
            number=number,
            identity=record.identity,
            effect=record.event.effect,
            known_effects=told,
            session=max(view.sessions) + 1,
        )
        before = seen(view)
        verdict = decide(view, call, now)
        assert verdict.action in ("answer", "settle")
        if verdict.action == "settle":
            assert verdict.record is not None
            assert verdict.record.status != "done"
        assert seen(view) == before  # it only looks
