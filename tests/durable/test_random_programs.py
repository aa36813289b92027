"""Random programs, stopped for approval, asked by their tools, killed at random points or repaired, on every sandbox: what
they do is what they would have done undisturbed.

CODEMODE_EXAMPLES says how many programs each sandbox runs; 1,000 take some minutes on each.
"""

import json
import os
import textwrap
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from codemode_sandboxes import SANDBOXES, Sandbox
from codemode_sandboxes.monty import MontySandbox
from codemode_sandboxes.registry import SPREAD
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, interrupt

from codemode_graph import ToolPolicy, codemode, create_codemode
from codemode_graph.tools import tool
from tests.sandboxes.processes import make

calls = st.builds("await tools.{}({})".format, st.sampled_from(["pay", "look", "fail", "ask"]), st.integers(0, 3))
safe = calls.map(lambda call: f"try:\n    out.append({call})\nexcept Exception as e:\n    out.append(str(e))")
tried_again = st.builds(
    "for _ in range(3):\n    try:\n        out.append(await tools.shaky({}))\n        break\n"
    "    except Exception:\n        pass".format,
    st.integers(0, 1),
)
together = st.lists(calls.map(lambda call: call.removeprefix("await ")), min_size=1, max_size=4).map(
    lambda parts: (
        f"try:\n    out.append(await asyncio.gather({', '.join(parts)}))\nexcept Exception as e:\n    out.append(str(e))"
    )
)


def nested(blocks: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Loops, helpers that run side by side, sequences, and ways that depend on a value."""
    inner = blocks.map(lambda block: textwrap.indent(block, "    "))
    return st.one_of(
        st.builds("for i in range({}):\n{}".format, st.integers(1, 3), inner),
        st.builds(
            "async def one():\n{}\nasync def two():\n{}\nawait asyncio.gather(one(), two())".format, inner, inner
        ),
        st.builds("{}\n{}".format, blocks, blocks),
        st.builds("if await tools.look({}) > 10:\n{}\nelse:\n{}".format, st.integers(0, 3), inner, inner),
        st.builds("await asyncio.sleep(0.001)\n{}".format, blocks),
    )


programs = st.recursive(safe | together | tried_again, nested, max_leaves=6).map(
    lambda body: "import asyncio\nout = []\n" + body + "\nout"
)


class Killed(BaseException):
    """The process ends here."""


class World:
    """Tools whose effects are counted; the effect with number `dies` ends the process, before or after it.

    `asks` says whether the tool `ask` asks for what it is to do, or knows it.
    """

    def __init__(self, dies: int | None = None, after: bool = False, asks: bool = False) -> None:
        self.effects: Counter[str] = Counter()
        self.dies, self.after, self.asks, self.made = dies, after, asks, 0
        self.failed: set[int] = set()

    def take_effect(self, tool: str, n: int) -> None:
        self.made += 1
        if self.made == self.dies and not self.after:
            raise Killed
        self.effects[f"{tool} {n}"] += 1
        if self.made == self.dies:
            raise Killed

    @property
    def tools(self) -> list[Any]:
        @tool(effect="read")
        async def look(n: int) -> int:
            """Look."""
            return n * 10

        @tool(effect="read")
        async def fail(n: int) -> int:
            """Fail."""
            raise ValueError(f"no {n}")

        async def pay(n: int) -> int:
            """Pay."""
            self.take_effect("pay", n)
            return n

        async def shaky(n: int) -> int:
            """Fail the first time."""
            if n not in self.failed:
                self.failed.add(n)
                raise ValueError(f"not yet {n}")
            self.take_effect("shaky", n)
            return n

        async def ask(n: int) -> int:
            """Ask what to do, and do it."""
            told = interrupt(n) if self.asks else n
            self.take_effect("ask", told)
            return n

        return [look, fail, pay, shaky, ask]


async def run(
    program: str, world: World, sandbox: Sandbox, approval: bool | Callable[[Any], bool] = False
) -> tuple[Any, Counter[str]]:
    """Run a program to its end, approving and answering; the output, and the effects whose end nobody knows."""
    graph = create_codemode(
        model=None, tools=world.tools, sandbox=sandbox, policies={"pay": ToolPolicy(approval=approval)}
    )
    app = graph.compile(checkpointer=InMemorySaver(), store=InMemoryStore())
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    unknown: Counter[str] = Counter()
    given: Any = {"task": "", "code": program}
    for _ in range(200):
        try:
            await app.ainvoke(given, config)
        except Killed:
            given = None
            continue
        state = await app.aget_state(config)
        if not state.interrupts:
            error = state.values["error"]
            # Monty refuses some of them, before anything runs; the other sandboxes have all.
            assume(error is None or error["type"] != "CheckError" or not isinstance(sandbox, MontySandbox))
            assert error is None, error
            return state.values["output"], unknown
        answers: dict[str, Any] = {}
        for asked in state.interrupts:
            # A tool asks with a number, and is told the same.
            answers[asked.id] = asked.value if isinstance(asked.value, int) else _decided(asked.value, unknown)
        given = Command(resume=answers)
    raise AssertionError("the run does not end")


def _decided(request: Any, unknown: Counter[str]) -> dict[str, Any]:
    decisions: list[dict[str, Any]] = []
    for action in request["action_requests"]:
        n = action["args"]["n"]
        if action["reason"] == "unknown":
            unknown[f"{action['name']} {n}"] += 1
        decisions.append({"type": "respond", "message": n} if action["reason"] == "unknown" else {"type": "approve"})
    return {"decisions": decisions}


@pytest.fixture(scope="module", params=sorted(set(SANDBOXES) - SPREAD))
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    made = make(request.param)
    yield made
    await made.aclose()


def _values(output: Any) -> list[str]:
    return sorted(json.dumps(value) for value in output)


random_ones = settings(
    max_examples=max(1, int(os.environ.get("CODEMODE_EXAMPLES", "30")) // 2),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@random_ones
@given(program=programs, gated=st.sets(st.integers(0, 3)))
async def test_approval_at_any_point_changes_nothing(sandbox: Sandbox, program: str, gated: set[int]) -> None:
    undisturbed = World()
    expected, _ = await run(program, undisturbed, sandbox)
    stopped = World(asks=True)
    output, unknown = await run(program, stopped, sandbox, lambda arguments: arguments["n"] in gated)
    assert stopped.effects == undisturbed.effects
    assert not unknown
    # Calls side by side may end in another order, and the program puts their values into a list as they end.
    assert _values(output) == _values(expected)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@random_ones
@given(program=programs, dies=st.integers(1, 6), after=st.booleans(), gated=st.sets(st.integers(0, 3), max_size=2))
async def test_a_kill_at_any_point_repeats_nothing(
    sandbox: Sandbox, program: str, dies: int, after: bool, gated: set[int]
) -> None:
    undisturbed = World()
    await run(program, undisturbed, sandbox)
    killed = World(dies, after, asks=True)
    _, unknown = await run(program, killed, sandbox, lambda arguments: arguments["n"] in gated)
    # An effect that nobody knows the end of is asked about, and here taken for made: it was, or it was not.
    assert killed.effects <= undisturbed.effects
    assert killed.effects + unknown >= undisturbed.effects
    assert unknown.total() <= 4


@pytest.mark.slow
@pytest.mark.timeout(3600)
@random_ones
@given(program=programs)
async def test_a_repair_repeats_nothing(sandbox: Sandbox, program: str) -> None:
    undisturbed, repaired = World(), World()
    expected, _ = await run(program, undisturbed, sandbox)
    cm = codemode(tools=repaired.tools, backend=sandbox)
    failed = await cm.run_code(f"{program}[len(out)]")
    result = await cm.run_code(program, after=failed["run_id"])
    assert (failed["success"], result["success"]) == (False, True)
    assert repaired.effects == undisturbed.effects
    assert _values(result["output"]) == _values(expected)
