"""The one executor of a run: the fence, the lease, and appends whose answer is lost."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import NodeCancelledError

from codemode_graph import ToolPolicy, create_codemode
from codemode_graph.calls import session as session_module
from codemode_graph.calls.journal import Conflict, JournalError, MemoryJournal
from codemode_graph.calls.log import Attached, Closed, Decided, Ended, Event, Opened, Renewed
from codemode_graph.calls.session import RunLog, Session, SessionLost
from codemode_graph.state import Decision
from codemode_graph.tools import tool
from tests.support import scripted

APPROVE = Decision(type="approve")
REJECT = Decision(type="reject")


class LateJournal(MemoryJournal):
    """Loses the answer to an append that it has made: its caller is cancelled."""

    loses = 0

    async def append(self, run: str, expected: int, events: Sequence[Event]) -> int:
        length = await super().append(run, expected, events)
        if self.loses:
            self.loses -= 1
            raise asyncio.CancelledError
        return length


async def attach(journal: MemoryJournal, run: str = "r", digest: str = "d", **where: Any) -> Session:
    return await Session.attach(RunLog(journal, run), 1, digest, **where)


async def test_the_first_to_append_is_the_executor_and_the_other_stops() -> None:
    journal = MemoryJournal()
    first, second = await attach(journal), await attach(journal)
    await first.log.flush()
    with pytest.raises(SessionLost):
        await second.log.flush()
    await first.end("finished")
    assert [event.type for event in await journal.read("r")] == ["attached", "ended"]


async def test_another_waits_until_the_first_has_ended() -> None:
    journal = MemoryJournal()
    first = await attach(journal)
    await first.log.flush()
    waiting = asyncio.create_task(attach(journal))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    await first.end("failed")
    second = await waiting
    assert (second.number, second.restart) == (1, True)


@pytest.mark.parametrize(
    ("how", "is_fork", "goes_on"),
    [("failed", False, True), ("finished", False, True), ("failed", True, False), ("cancelled", False, False)],
)
async def test_an_end_that_was_lost_is_told_again_and_a_fork_begins_anew(
    how: Any, is_fork: bool, goes_on: bool
) -> None:
    journal = MemoryJournal()
    first = await attach(journal)
    await first.end(how)
    second = await attach(journal, is_fork=is_fork)
    assert (second.number, second.restart) == ((1, True) if goes_on else (2, False))
    # The time of a program that ended well does not bound how long its end may take to be told again.
    assert second.retells == (how == "finished")


async def test_an_executor_that_lost_its_run_does_not_wait_for_its_own_lease() -> None:
    journal = MemoryJournal()
    first = await attach(journal)
    await first.log.flush()
    await journal.append("r", 1, [Closed(how="superseded")])
    first.note_end("finished")
    with pytest.raises(SessionLost):
        await first.log.flush()
    waiting = asyncio.create_task(attach(journal))
    await asyncio.sleep(0.05)
    assert not waiting.done()  # until it says so, it may be at work
    first.leave()
    assert (await waiting).restart


@pytest.mark.parametrize("how", ["waiting", None])
async def test_one_that_waited_for_people_or_died_is_gone_on_with(how: Any) -> None:
    journal = MemoryJournal()
    first = await attach(journal)
    await first.log.flush()
    if how is None:
        journal._runs["r"][0] = Attached(
            session=1, attempt=1, digest="d", owner="elsewhere/1/2/x", until=time.time() - 1
        )
    else:
        await first.end(how)
    second = await attach(journal)
    assert (second.number, second.restart) == (1, True)
    other = await attach(journal, digest="another program")
    assert (other.number, other.restart) == (2, False)


async def test_a_process_of_this_machine_that_is_gone_is_known_to_be_gone_at_once() -> None:
    here = await session_module._this_process()
    place, pid, born = here.rsplit("/", 2)
    later = time.time() + 1000
    session = await attach(MemoryJournal())
    assert not await session_module.is_over(session._owner, later)
    assert await session_module.is_over(f"{here}/x", later)
    assert await session_module.is_over(f"{place}/{pid}/{born}0/x", later)  # another process has its id by now
    assert await session_module.is_over(f"{place}/{2**22 + 1}/{born}/x", later)
    assert not await session_module.is_over(f"another host/{pid}/{born}/x", later)
    assert await session_module.is_over(f"another host/{pid}/{born}/x", time.time() - 1)
    assert int(pid) == os.getpid()


async def test_an_append_whose_answer_was_lost_is_not_taken_for_another_executor() -> None:
    journal = LateJournal()
    session = await attach(journal)
    journal.loses = 1
    with pytest.raises(asyncio.CancelledError):
        await session.log.flush()
    await session.end("cancelled")
    assert [event.type for event in await journal.read("r")] == ["attached", "ended"]
    second = await attach(journal)  # nobody has to wait for the lease to run out
    assert second.number == 2


async def test_answers_of_people_and_renewals_are_no_reason_to_stop() -> None:
    journal = MemoryJournal()
    session = await attach(journal)
    await session.log.flush()
    await journal.append("r", 1, [Decided(question="q", decision=REJECT), Renewed(owner="x", until=1.0)])
    session.log.add(Decided(question="q", decision=APPROVE), Opened())
    await session.log.flush()
    # The first answer is the answer, in the journal and in what this executor goes by.
    assert [event.type for event in await journal.read("r")] == ["attached", "decided", "renewed", "opened"]
    assert session.view.decisions["q"] == REJECT


async def test_a_run_that_somebody_closed_meanwhile_is_lost() -> None:
    journal = MemoryJournal()
    session = await attach(journal)
    await session.log.flush()
    await journal.append("r", 1, [Closed(how="superseded")])
    session.log.add(Ended(session=1, how="waiting"))
    with pytest.raises(SessionLost):
        await session.log.flush()


async def test_a_lease_that_has_run_out_makes_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    session = await attach(MemoryJournal())
    session.hold()
    now = time.monotonic()
    monkeypatch.setattr("codemode_graph.calls.session.time.monotonic", lambda: now + session_module.LEASE + 1)
    with pytest.raises(SessionLost, match="lease has run out"):
        session.hold()


async def test_a_lease_that_nobody_renews_is_over_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = MemoryJournal()
    await journal.append("r", 0, [Attached(session=1, attempt=1, digest="d", owner="x/1/2/x", until=time.time() + 9e9)])
    looked = time.monotonic()
    seconds = iter(range(1_000_000))
    monkeypatch.setattr("codemode_graph.calls.session.time.monotonic", lambda: looked + next(seconds))
    monkeypatch.setattr("codemode_graph.calls.session._POLL", (0.0, 0.0))
    assert (await attach(journal)).restart


async def test_a_clock_that_is_set_forward_ends_no_lease_of_this_machine() -> None:
    session = await attach(MemoryJournal())
    assert not await session_module.is_over(session._owner, time.time() - 9e9)


@pytest.mark.parametrize("fails", ["told", "ended"])
async def test_whoever_goes_on_after_a_journal_that_failed_waits_for_no_lease(fails: str) -> None:
    class Full(MemoryJournal):
        async def append(self, run: str, expected: int, events: Sequence[Event]) -> int:
            if self.full and any(event.type == fails for event in events):
                raise JournalError("there is no space left on its disk")
            return await super().append(run, expected, events)

        full = True

    async def pay() -> str:
        """Pay."""
        return "paid"

    journal = Full()
    app = create_codemode(model=None, tools=[pay], journal=journal).compile(checkpointer=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    drive = set(session_module._driving)
    with pytest.raises(JournalError, match="no space"):
        await app.ainvoke({"task": "", "code": "[await tools.pay(), await tools.pay()]"}, config)
    assert session_module._driving == drive
    journal.full = False
    assert (await app.ainvoke(None, config))["output"] == ["paid", "paid"]


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("error", [JournalError, asyncio.CancelledError])
async def test_nobody_is_asked_about_calls_that_a_failed_append_held_back(
    recorded: bool, error: type[BaseException]
) -> None:
    class Stumbling(MemoryJournal):
        async def append(self, run: str, expected: int, events: Sequence[Event]) -> int:
            stumbles, self.once = self.once and any(event.type == "started" for event in events), False
            length = expected if stumbles and not recorded else await super().append(run, expected, events)
            if stumbles:
                raise error("its disk hangs")
            return length

        once = True

    paid = []

    async def pay(name: str) -> str:
        """Pay a person."""
        paid.append(name)
        return name

    program = "import asyncio\nawait asyncio.gather(*[tools.pay(name=name) for name in ('Ann', 'Bob')])"
    app = create_codemode(model=None, tools=[pay], journal=Stumbling()).compile(checkpointer=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    with pytest.raises((error, NodeCancelledError)):
        await app.ainvoke({"task": "", "code": program}, config)
    assert paid == []
    state = await app.ainvoke(None, config)
    assert "__interrupt__" not in state
    assert (state["output"], sorted(paid)) == (["Ann", "Bob"], ["Ann", "Bob"])


async def test_the_memory_journal_lets_one_of_two_through() -> None:
    journal = MemoryJournal()
    assert await journal.append("r", 0, [Opened()]) == 1
    with pytest.raises(Conflict):
        await journal.append("r", 0, [Opened()])


async def test_one_that_begins_a_run_beside_another_begins_again_with_what_the_other_recorded() -> None:
    journal = MemoryJournal()
    opened = Opened(
        thread="t", namespace="", place="", parent="", digest="i", task="", server_run=None, seed=1, now=1.0
    )
    log = RunLog(journal, "r")
    await log.read()
    log.add(opened)
    await journal.append("r", 0, [replace(opened, seed=2)])
    with pytest.raises(SessionLost):
        await Session.attach(log, 1, "d")
    assert [event.seed for event in await journal.read("r") if isinstance(event, Opened)] == [2]


class CountingJournal(MemoryJournal):
    """Counts appends."""

    appends = 0

    async def append(self, run: str, expected: int, events: Sequence[Event]) -> int:
        self.appends += 1
        return await super().append(run, expected, events)


@pytest.mark.parametrize(
    ("program", "appends"),
    [
        ("1 + 1", 1),
        ("for n in range(30):\n    await tools.look(n)\n'end'", 1),
        ("for n in range(3):\n    await tools.put(n)\n'end'", 2 * 3 + 1),
        ("import asyncio\nlen(await asyncio.gather(*[tools.look(n) for n in range(64)]))", 1),
    ],
)
async def test_reads_cost_no_append_and_a_write_two(program: str, appends: int) -> None:
    @tool(effect="read")
    async def look(number: int) -> int:
        """Look."""
        return number

    @tool(effect="write")
    async def put(number: int) -> int:
        """Put."""
        return number

    journal = CountingJournal()
    app = create_codemode(model=None, tools=[look, put], journal=journal).compile(checkpointer=InMemorySaver())
    state = await app.ainvoke({"task": "", "code": program}, {"configurable": {"thread_id": "one"}})
    assert (state["verdict"], journal.appends) == ("ok", appends)
    # What is known of calls that are made together is appended together, before them and after them.
    many = "import asyncio\nlen(await asyncio.gather(*[tools.put(n) for n in range(64)]))"
    journal.appends = 0
    state = await app.ainvoke({"task": "", "code": many}, {"configurable": {"thread_id": "two"}})
    assert state["output"] == 64
    assert journal.appends <= 64  # of 64 writes one after the other there would be 129


def test_a_process_that_nobody_has_asked_for_is_gone() -> None:
    killed = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    alive = session_module._born(killed.pid)
    killed.kill()
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie until `wait`
    try:
        assert alive
        assert session_module._born(killed.pid) == ""
    finally:
        killed.wait()


@pytest.mark.parametrize("how", ["exhausted", "superseded"])
async def test_a_run_that_another_executor_goes_on_with_is_left_to_it(how: str) -> None:
    class Contended(MemoryJournal):
        """Another executor is always the first to append, where a run is to be closed."""

        async def append(self, run: str, expected: int, events: Sequence[Event]) -> int:
            if any(isinstance(event, Closed) and event.how == how for event in events):
                other = Attached(session=1, attempt=1, digest="", owner="elsewhere/1/2/x", until=0.0)
                await super().append(run, expected, [other])
            return await super().append(run, expected, events)

    async def pay() -> str:
        """Pay."""
        return "paid"

    async def look() -> str:
        """Look."""
        return "seen"

    asking: dict[str, Any] = {"policies": {"pay": ToolPolicy(approval=True)}, "journal": Contended()}
    model = scripted("```python\nawait tools.look()\n1 / 0\n```", "```python\nawait tools.sell(1)\n```")
    app = create_codemode(
        model=model if how == "exhausted" else None, tools=[pay, look], max_attempts=2, **asking
    ).compile(checkpointer=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    if how == "exhausted":
        assert (await app.ainvoke({"task": "sell"}, config))["verdict"] == "exhausted"
    else:
        await app.ainvoke({"task": "", "code": "await tools.pay()"}, config)
        assert (await app.ainvoke({"task": "", "code": "1 + 1"}, config))["output"] == 2


async def test_of_retired_runs_the_newest_keep_their_values() -> None:
    journal = MemoryJournal()
    kept = {f"r{number}": await journal.keep(f"r{number}", "a text") for number in range(40)}
    for run in kept:
        await journal.retire(run)
    with pytest.raises(KeyError):
        await journal.load("r0", kept["r0"])
    assert await journal.load("r39", kept["r39"]) == "a text"
    assert await journal.runs() == []
