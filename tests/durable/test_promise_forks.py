"""An effect happens once where a branch of a larger graph fails, and where a run is forked or gone back in."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool as langchain_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.types import RetryPolicy
from typing_extensions import TypedDict

from benchmarks.chaos.mortal import AgentAuthor, MortalSaver
from benchmarks.chaos.tools import Killed, Life
from codemode_graph import CodeModeMiddleware, MemoryJournal, ToolPolicy, codemode, create_codemode
from codemode_graph.calls import identity
from codemode_graph.tools import tool
from tests.durable.ledger import Ledger, functions
from tests.durable.ledger_graph import CONFIG
from tests.support import scripted


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path)


# 12. Branches of a larger graph, in a living process and without any store.


class Outer(TypedDict, total=False):
    task: str
    code: str
    output: Any


def branches(ledger: Ledger, *, fails: str, retry: bool = False) -> StateGraph[Any, Any, Any, Any]:
    """Code mode beside a branch that fails once, while code mode is at work or after it has ended."""
    known = functions(ledger)
    paid, twice = asyncio.Event(), asyncio.Event()

    async def pay(account: str) -> str:
        """Pay."""
        ledger.write(f"pay {account}")
        paid.set()
        if ledger.count("pay") == 2:
            twice.set()
        return "paid"

    async def beside(state: Outer) -> Outer:
        ledger.write("read beside")
        if ledger.count("read beside") == 1:
            await paid.wait()
            if fails == "after":
                await twice.wait()
            await asyncio.sleep(0.5 if fails == "after" else 0)
            raise RuntimeError("the other branch failed")
        return {}

    graph: StateGraph[Any, Any, Any, Any] = StateGraph(Outer)
    inner = create_codemode(model=None, tools=[pay, tool(effect="read")(known["look"][1])])
    graph.add_node("codemode", inner.compile())
    graph.add_node(
        "beside", beside, retry_policy=RetryPolicy(initial_interval=0.01, retry_on=RuntimeError) if retry else None
    )
    return graph.add_edge(START, "codemode").add_edge(START, "beside")


BRANCH = "import asyncio\nx = await tools.pay('a')\nawait asyncio.sleep(0.05)\ny = await tools.pay('b')\n[x, y]"


@pytest.mark.parametrize("given", ["again", "input"])
@pytest.mark.parametrize("fails", ["midway", "after"])
@pytest.mark.parametrize("checkpointer", ["none", "memory", "sqlite"])
@pytest.mark.parametrize("durability", ["async", "exit"])
async def test_a_branch_that_failed_and_is_run_again_repeats_nothing(
    given: str, fails: str, checkpointer: str, durability: Any, ledger: Ledger
) -> None:
    if checkpointer == "none" and (given == "again" or durability == "exit"):
        pytest.skip("without a checkpointer only the input can be given again")
    async with AsyncSqliteSaver.from_conn_string(str(ledger.folder / "saver.sqlite")) as sqlite:
        saver = {"none": None, "memory": InMemorySaver(), "sqlite": sqlite}[checkpointer]
        app = branches(ledger, fails=fails).compile(checkpointer=saver)
        start = {"task": "", "code": BRANCH}
        how: dict[str, Any] = {} if saver is None else {"durability": durability}
        with pytest.raises(RuntimeError, match="the other branch"):
            await app.ainvoke(start, CONFIG, **how)
        state = await app.ainvoke(None if given == "again" else start, CONFIG, **how)
    assert state["output"] == ["paid", "paid"]
    # Nobody has the result of a step that failed. Where no checkpoint says so, an input is a new run once the run of the
    # one before has its verdict.
    is_anew = checkpointer == "none" or durability == "exit"
    times = 2 if (fails, given) == ("after", "input") and is_anew else 1
    assert ledger.effects == ["pay a", "pay b"] * times


async def test_a_branch_that_langgraph_retries_repeats_nothing(ledger: Ledger) -> None:
    app = branches(ledger, fails="midway", retry=True).compile()
    state = await app.ainvoke({"task": "", "code": BRANCH}, CONFIG)
    assert (state["output"], ledger.effects) == (["paid", "paid"], ["pay a", "pay b"])


# 14. Time travel.


def travelled(ledger: Ledger, *, fails: int = 1, journal: MemoryJournal | None = None) -> Any:
    async def pay(account: str) -> str:
        """Pay."""
        ledger.write(f"pay {account}")
        return "paid"

    async def shaky(n: int) -> str:
        """Fail the first time."""
        ledger.write(f"read shaky {n}")
        if ledger.count("read shaky") <= fails:
            raise RuntimeError("not today")
        return "worked"

    look = tool(effect="read")(functions(ledger)["look"][1])
    return create_codemode(model=None, tools=[pay, shaky, look], journal=journal)


async def checkpoint_before(app: Any, node: str) -> RunnableConfig:
    async for snapshot in app.aget_state_history(CONFIG):
        if snapshot.next == (node,):
            config: RunnableConfig = snapshot.config
            return config
    raise AssertionError(node)


@pytest.mark.parametrize("store", [None, InMemoryStore()], ids=["memory", "store"])
@pytest.mark.parametrize("node", ["check", "execute"])
async def test_going_back_makes_the_failed_call_again_and_no_other(node: str, store: Any, ledger: Ledger) -> None:
    app = travelled(ledger).compile(checkpointer=InMemorySaver(), store=store)
    state = await app.ainvoke({"task": "", "code": "a = await tools.pay('a')\n[a, await tools.shaky(1)]"}, CONFIG)
    assert state["error"]["message"].endswith("not today")
    state = await app.ainvoke(None, await checkpoint_before(app, node))
    assert (state["output"], ledger.effects) == (["paid", "worked"], ["pay a"])


async def test_a_fork_with_another_program_is_answered_what_stands_and_reads_what_has_changed(ledger: Ledger) -> None:
    app = travelled(ledger).compile(checkpointer=InMemorySaver())
    program = "x = await tools.look('x')\na = await tools.pay('a')\n[x, a]"
    assert (await app.ainvoke({"task": "", "code": program}, CONFIG))["output"] == [1, "paid"]
    before = await checkpoint_before(app, "execute")
    other = "a = await tools.pay('a')\nb = await tools.pay('b')\nx = await tools.look('x')\n[a, b, x]"
    fork = await app.aupdate_state(before, {"program": other, "verdict": None}, as_node="check")
    assert (await app.ainvoke(None, fork))["output"] == ["paid", "paid", 2]
    assert ledger.effects == ["pay a", "pay b"]


async def test_a_fork_from_before_generate_is_a_new_run(ledger: Ledger) -> None:
    app = travelled(ledger).compile(checkpointer=InMemorySaver())
    await app.ainvoke({"task": "", "code": "await tools.pay('a')"}, CONFIG)
    await app.ainvoke(None, await checkpoint_before(app, "generate"))
    assert ledger.effects == ["pay a", "pay a"]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_fork_from_before_a_run_that_no_checkpoint_had_at_its_end_is_a_new_run(
    ledger: Ledger, durability: Any, tmp_path: Path
) -> None:
    second, life = {"task": "", "code": "await tools.pay('b')"}, Life()
    graph = travelled(ledger, journal=MemoryJournal())
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "graph.sqlite")) as saver:
        app = graph.compile(checkpointer=saver)
        await app.ainvoke({"task": "", "code": "await tools.pay('a')"}, CONFIG, durability=durability)
        before = (await app.aget_state(CONFIG)).config
        await app.ainvoke(second, CONFIG, durability=durability)
        mortal = graph.compile(checkpointer=MortalSaver(saver, life))
        life.dead = True  # no checkpoint of the fork is written, though its call is made
        with pytest.raises(Killed):
            await mortal.ainvoke(second, before, durability="exit")
        identity._claims.clear()
        await app.ainvoke(second, before, durability=durability)
        assert ledger.effects == ["pay a", "pay b", "pay b"]
        await app.ainvoke(second, before, durability=durability)
        assert ledger.effects == ["pay a", "pay b", "pay b", "pay b"]


async def test_the_next_input_of_a_thread_is_a_new_run_also_where_it_is_equal(ledger: Ledger) -> None:
    app = travelled(ledger).compile(checkpointer=InMemorySaver())
    for _ in range(2):
        await app.ainvoke({"task": "", "code": "await tools.pay('a')"}, CONFIG)
    assert ledger.effects == ["pay a", "pay a"]


async def test_a_program_that_is_repaired_by_hand_goes_on_from_what_was_done(ledger: Ledger) -> None:
    async with codemode(tools=[functions(ledger)["pay"][1]]) as cm:
        failed = await cm.run_code("x = await tools.pay('a')\n{}['x']")
        done = await cm.run_code("[await tools.pay('a'), await tools.pay('b')]", after=failed["run_id"])
    assert (done["output"], ledger.effects) == (["paid 1 to a", "paid 1 to b"], ["pay a 1", "pay b 1"])


@pytest.mark.parametrize(
    ("durability", "how"),
    [(each, how) for each in ("sync", "async", "exit") for how in ("none", "retry")]
    + [("sync", "input"), ("async", "input")],
)
@pytest.mark.parametrize("owns_state", [None, True])
async def test_a_node_that_fails_after_its_programs_ended_repeats_none_of_them(
    durability: Any, how: str, owns_state: bool | None
) -> None:
    """The larger graph has kept no result of them. It is gone on with, given its input again, or tries the node again."""
    paid: list[str] = []

    async def pay(who: str) -> str:
        """Pay somebody."""
        paid.append(who)
        return f"paid {who}"

    inner = create_codemode(model=None, tools=[pay]).compile(checkpointer=owns_state)
    failures = [3, 2]

    async def work(state: dict[str, Any], config: RunnableConfig) -> dict[str, Any]:
        outputs = []
        for code in ("await tools.pay('ann')", "await tools.pay('bob')", "await tools.pay('bob')"):
            outputs.append((await inner.ainvoke({"task": "", "code": code}, config))["output"])
            if failures and len(outputs) == failures[-1]:
                failures.pop()
                raise RuntimeError("after it all")
        return {"outputs": outputs}

    class Outer(TypedDict, total=False):
        outputs: list[str]

    retries = RetryPolicy(initial_interval=0.01, retry_on=RuntimeError) if how == "retry" else None
    graph = StateGraph(Outer).add_node("work", work, retry_policy=retries).add_edge(START, "work")
    app = graph.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    start: Any = {"outputs": []}
    if how != "retry":
        for given in (start, start if how == "input" else None):
            with pytest.raises(RuntimeError, match="after it all"):
                await app.ainvoke(given, config, durability=durability)
    state = await app.ainvoke(None if how == "none" else start, config, durability=durability)
    assert (state["outputs"], paid) == (["paid ann", "paid bob", "paid bob"], ["ann", "bob", "bob"])
    await app.ainvoke(start, config, durability=durability)
    assert len(paid) == 6


class Broken(BaseException):
    """Ends a program and its node, if that does not try again."""


@pytest.mark.parametrize("how", ["raises", "is cancelled"])
@pytest.mark.parametrize("saved", [True, False])
async def test_a_node_that_tries_a_graph_again_goes_on_with_its_run(how: str, saved: bool) -> None:
    paid: list[str] = []
    breaks, looking = [True], asyncio.Event()

    async def pay(who: str) -> str:
        """Pay somebody."""
        paid.append(who)
        return f"paid {who}"

    @tool(effect="read")
    async def look() -> int:
        """Look at something."""
        looking.set()
        if how == "is cancelled" and breaks:
            await asyncio.sleep(60)
        elif breaks and breaks.pop():
            raise Broken
        return 1

    inner = create_codemode(model=None, tools=[pay, look]).compile()
    program: Any = {"task": "", "code": "await tools.pay('ann')\nawait tools.look()\nawait tools.pay('bob')"}

    async def work(state: dict[str, Any]) -> dict[str, Any]:
        outputs: list[str] = []
        while len(outputs) < 2:
            call = asyncio.ensure_future(inner.ainvoke(program))
            if how == "is cancelled" and breaks:
                await looking.wait()
                breaks.clear()
                call.cancel()
            with suppress(Broken, asyncio.CancelledError):
                outputs.append((await call)["output"])
        return {"outputs": outputs}

    class Outer(TypedDict, total=False):
        outputs: list[str]

    graph = StateGraph(Outer).add_node("work", work).add_edge(START, "work")
    app = graph.compile(checkpointer=InMemorySaver() if saved else None)
    start: Any = {"outputs": []}
    state = await app.ainvoke(start, {"configurable": {"thread_id": "t"}})
    # The second of two equal calls is another run.
    assert (state["outputs"], paid) == (["paid bob"] * 2, ["ann", "bob"] * 2)


# Deliveries of one input at one time.


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("how", ["code", "task"])
async def test_an_input_that_is_delivered_twice_at_once_is_one_run(tmp_path: Path, durability: Any, how: str) -> None:
    """Each delivery asks the model, which answers each with another program; the first that is recorded is the run's."""
    paid: list[str] = []

    async def pay(who: str, amount: int) -> str:
        """Pay somebody."""
        paid.append(who)
        await asyncio.sleep(0)
        return f"paid {who} {amount}"

    chance = "import random\nawait tools.pay('{}', random.randint(1, 10**9))"
    model = None if how == "code" else scripted(*(chance.format(who) for who in ("ann", "bob", "cid", "dan")))
    given: Any = {"task": "", "code": chance.format("ann")} if how == "code" else {"task": "pay"}
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
        app = create_codemode(model=model, tools=[pay]).compile(checkpointer=saver)
        states = await asyncio.gather(*(app.ainvoke(given, CONFIG, durability=durability) for _ in range(3)))
        assert len(paid) == 1
        assert len({state["output"] for state in states}) == 1
        # Once it has its verdict, the same input is meant anew.
        await app.ainvoke(given, CONFIG, durability=durability)
    assert len(paid) == 2


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_run_that_is_cut_off_after_its_program_is_the_same_run(durability: Any) -> None:
    paid: list[str] = []

    async def pay() -> int:
        """Pay."""
        paid.append("a")
        return len(paid)

    app = create_codemode(model=None, tools=[pay]).compile(checkpointer=InMemorySaver())
    given: Any = {"task": "", "code": "await tools.pay()"}
    updates: Any = app.astream(given, CONFIG, durability=durability)
    async for update in updates:
        if "execute" in update:
            break
    await updates.aclose()
    assert (await app.ainvoke(given, CONFIG, durability=durability))["output"] == 1
    assert len(paid) == 1


# A larger graph whose process dies between the end of its program and the checkpoint that has the result.


class Round(Outer, total=False):
    round: int


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize("dies", [True, False], ids=["process", "checkpointer"])
async def test_a_program_whose_result_no_checkpoint_has_is_not_run_again(
    dies: bool, rounds: int, durability: Any
) -> None:
    """The larger graph comes to code mode several times with the same input: those are several runs."""
    paid: list[str] = []
    journal, saver = MemoryJournal(), InMemorySaver()

    async def pay(account: str) -> int:
        """Pay."""
        paid.append(account)
        return len(paid)

    def app_of(life: Life, *, dies_in: int) -> Any:
        async def after(state: Round) -> Any:
            life.dead = life.dead or state.get("round", 0) + 1 == dies_in
            life.tick()
            return {"round": state.get("round", 0) + 1}

        graph: StateGraph[Any, Any, Any, Any] = StateGraph(Round)
        inner = create_codemode(model=None, tools=[pay], journal=journal).compile()
        graph.add_node("codemode", inner).add_node(after).add_edge(START, "codemode").add_edge("codemode", "after")
        graph.add_conditional_edges("after", lambda state: END if state["round"] >= rounds else "codemode")
        return graph.compile(checkpointer=MortalSaver(saver, life))

    start = {"task": "", "code": "await tools.pay('a')", "round": 0}
    with pytest.raises(Killed):
        await app_of(Life(), dies_in=rounds).ainvoke(start, CONFIG, durability=durability)
    if dies:  # what a process knows of runs ends with it; where it loses its database alone, it goes on
        identity._claims.clear()
    assert len(paid) == rounds
    app = app_of(Life(), dies_in=0)
    again = (await app.aget_state(CONFIG)).next
    state = await app.ainvoke(None if again else start, CONFIG, durability=durability)
    assert (state["output"], len(paid)) == (rounds, rounds)
    # Now that a checkpoint has the result, the same input is meant anew.
    state = await app.ainvoke(start, CONFIG, durability=durability)
    assert (state["output"], len(paid)) == (2 * rounds, 2 * rounds)


@pytest.mark.parametrize("durability", ["sync", "async"])
@pytest.mark.parametrize(
    ("rounds", "joins", "owns_state"), [(1, False, None), (3, False, None), (1, True, None), (3, False, True)]
)
async def test_an_input_that_is_given_again_to_a_larger_graph_that_never_ended_repeats_nothing(
    rounds: int, joins: bool, owns_state: bool | None, durability: Any
) -> None:
    """The larger graph has kept the result of code mode, and breaks off in a later node, in a process that goes on."""
    paid: list[str] = []
    failures = [RuntimeError("no report"), RuntimeError("no report")]

    async def pay(account: str) -> int:
        """Pay."""
        paid.append(account)
        return len(paid)

    def after(state: Round) -> Round:
        return {"round": state["round"] + 1}

    def report(state: Round) -> Round:
        if failures:
            raise failures.pop()
        return {}

    graph: StateGraph[Any, Any, Any, Any] = StateGraph(Round)
    inner = create_codemode(model=None, tools=[pay], journal=MemoryJournal()).compile(checkpointer=owns_state)
    graph.add_node("codemode", inner).add_node(after).add_node(report)
    graph.add_edge(START, "codemode").add_edge("codemode", "after")
    if joins:
        graph.add_node("beside", lambda state: {}).add_edge(START, "beside").add_edge(["after", "beside"], "report")
    else:
        graph.add_conditional_edges("after", lambda state: "report" if state["round"] >= rounds else "codemode")
    app = graph.compile(checkpointer=InMemorySaver())
    start, other = ({"task": "", "code": f"await tools.pay('{who}')", "round": 0} for who in "ab")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no report"):
            await app.ainvoke(start, CONFIG, durability=durability)
    state = await app.ainvoke(start, CONFIG, durability=durability)
    assert (state["output"], paid) == (rounds, ["a"] * rounds)
    # It has ended: now the same input is meant anew, and so it is where another one came in between.
    await app.ainvoke(start, CONFIG, durability=durability)
    assert paid == ["a"] * rounds * 2
    failures.append(RuntimeError("no report"))
    with pytest.raises(RuntimeError, match="no report"):
        await app.ainvoke(start, CONFIG, durability=durability)
    await app.ainvoke(other, CONFIG, durability=durability)
    await app.ainvoke(start, CONFIG, durability=durability)
    assert paid == ["a"] * rounds * 3 + ["b"] * rounds + ["a"] * rounds


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_an_agent_that_died_with_the_result_of_its_program_repeats_nothing(durability: Any) -> None:
    paid: list[str] = []
    journal, saver = MemoryJournal(), InMemorySaver()

    @langchain_tool
    async def pay(account: str) -> int:
        """Pay."""
        paid.append(account)
        return len(paid)

    def agent(life: Life) -> Any:
        model = AgentAuthor(programs={"do case 0.0.": ["await tools.pay('a')"]}, life=life)
        code = CodeModeMiddleware(journal=journal, policies={"pay": ToolPolicy(effect="write")})
        return create_agent(model, tools=[pay], middleware=[code], checkpointer=MortalSaver(saver, life))

    person = {"messages": [HumanMessage("do case 0.0.", id="one")]}

    class Mortal(Life):
        def tick(self) -> None:
            self.dead = bool(paid)
            super().tick()

    with pytest.raises(BaseException):  # noqa: B017, PT011  # LangChain makes others of it
        await agent(Mortal()).ainvoke(person, CONFIG, durability=durability)
    identity._claims.clear()
    app = agent(Life())
    again = (await app.aget_state(CONFIG)).next
    state = await app.ainvoke(None if again else person, CONFIG, durability=durability)
    assert (state["messages"][-1].text, paid) == ("That is all.", ["a"])


async def test_executors_that_go_on_with_a_larger_graph_at_one_time_begin_one_run(tmp_path: Path) -> None:
    """Each has a checkpoint of its own of the step before code mode, so LangGraph's tasks have other ids."""
    paid: list[str] = []

    async def pay(account: str) -> int:
        """Pay."""
        paid.append(account)
        await asyncio.sleep(0.01)
        return len(paid)

    async def prepare(state: Outer) -> Any:
        return {}

    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
        graph: StateGraph[Any, Any, Any, Any] = StateGraph(Outer)
        graph.add_node(prepare).add_node("codemode", create_codemode(model=None, tools=[pay]).compile())
        app = graph.add_edge(START, "prepare").add_edge("prepare", "codemode").compile(checkpointer=saver)
        start: Any = {"task": "", "code": "await tools.pay('a')\nawait tools.pay('b')"}
        # It is cut off before its first node: all three go on from there.
        await app.ainvoke(start, CONFIG, interrupt_before=["prepare"])
        states = await asyncio.gather(*(app.ainvoke(None, CONFIG) for _ in range(3)))
    assert (paid, [state["output"] for state in states]) == (["a", "b"], [2, 2, 2])


class Stale(MortalSaver):
    """Sees a thread as it was at a checkpoint, as an executor does that was slower than another one."""

    def __init__(self, saver: Any, at: RunnableConfig) -> None:
        super().__init__(saver, Life())
        self._at: RunnableConfig | None = at

    async def aget_tuple(self, config: RunnableConfig) -> Any:
        at, self._at = self._at, None
        return await super().aget_tuple(at or config)


@pytest.mark.parametrize("durability", ["sync", "async"])
@pytest.mark.parametrize("begins", ["where it was cut off", "with the input"])
async def test_two_executors_of_an_agent_make_the_calls_of_every_program_once(begins: str, durability: Any) -> None:
    """Each writes checkpoints of its own, beside the other's, and comes to the second program by its own way."""
    paid: list[str] = []
    journal, saver = MemoryJournal(), InMemorySaver()

    @langchain_tool
    async def pay(account: str) -> int:
        """Pay."""
        paid.append(account)
        return len(paid)

    programs = ["await tools.pay('a')\n1 / 0", "await tools.pay('a')\nawait tools.pay('b')"]

    def agent(saver: Any) -> Any:
        model = AgentAuthor(programs={"do case 0.0.": programs, "do case 0.1.": programs}, life=Life())
        code = CodeModeMiddleware(journal=journal, policies={"pay": ToolPolicy(effect="write")})
        return create_agent(model, tools=[pay], middleware=[code], checkpointer=saver)

    person: Any = {"messages": [HumanMessage("do case 0.0.", id="one")]}
    await agent(saver).ainvoke({"messages": []}, CONFIG, durability=durability, interrupt_before=["model"])
    before = (await agent(saver).aget_state(CONFIG)).config
    await agent(saver).ainvoke(person, CONFIG, durability=durability, interrupt_before=["tools"])
    slow = (await agent(saver).aget_state(CONFIG)).config
    if begins == "with the input":
        await agent(Stale(saver, before)).ainvoke(person, CONFIG, durability=durability)
    else:
        await agent(saver).ainvoke(None, CONFIG, durability=durability)
    assert paid == ["a", "b"]
    identity._claims.clear()  # the other one is another process
    state = await agent(Stale(saver, slow)).ainvoke(None, CONFIG, durability=durability)
    assert (state["messages"][-1].text, paid) == ("That is all.", ["a", "b"])
    # Another turn with equal programs is meant anew.
    person = {"messages": [HumanMessage("do case 0.1.", id="two")]}
    await agent(saver).ainvoke(person, CONFIG, durability=durability)
    assert paid == ["a", "b"] * 2
