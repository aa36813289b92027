"""Random programs, stopped for approval or killed at random points: what they do is what they would have done undisturbed."""

import os
import textwrap
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from codemode_sandboxes import Sandbox, create_sandbox
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from codemode_graph import ToolPolicy, create_codemode
from codemode_graph.tools import tool

calls = st.builds("await tools.{}({})".format, st.sampled_from(["pay", "look", "fail"]), st.integers(0, 3))
safe = calls.map(lambda call: f"try:\n    out.append({call})\nexcept Exception as e:\n    out.append(str(e))")
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


programs = st.recursive(safe | together, nested, max_leaves=6).map(
    lambda body: "import asyncio\nout = []\n" + body + "\nout"
)


class Killed(BaseException):
    """The process ends here."""


class World:
    """Tools whose effects are counted; the call with number `dies` ends the process, before or after its effect."""

    def __init__(self, dies: int | None = None, after: bool = False) -> None:
        self.effects: Counter[int] = Counter()
        self.dies, self.after, self.made = dies, after, 0

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
            self.made += 1
            if self.made == self.dies and not self.after:
                raise Killed
            self.effects[n] += 1
            if self.made == self.dies:
                raise Killed
            return n

        return [look, fail, pay]


async def run(
    program: str, world: World, sandbox: Sandbox, approval: bool | Callable[[Any], bool] = False
) -> tuple[Any, Counter[int]]:
    """Run a program to its end, approving what is asked; the output, and the payments whose end nobody knows."""
    graph = create_codemode(
        model=None, tools=world.tools, sandbox=sandbox, policies={"pay": ToolPolicy(approval=approval)}
    )
    app = graph.compile(checkpointer=InMemorySaver(), store=InMemoryStore())
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    unknown: Counter[int] = Counter()
    given: Any = {"task": "", "code": program}
    for _ in range(200):
        try:
            await app.ainvoke(given, config)
        except Killed:
            given = None
            continue
        state = await app.aget_state(config)
        if not state.interrupts:
            assert state.values["error"] is None, state.values["error"]
            return state.values["output"], unknown
        (interrupt,) = state.interrupts
        decisions: list[dict[str, Any]] = []
        for action in interrupt.value["action_requests"]:
            if action["reason"] == "unknown":
                unknown[action["args"]["n"]] += 1
                decisions.append({"type": "respond", "message": action["args"]["n"]})
            else:
                decisions.append({"type": "approve"})
        given = Command(resume={"decisions": decisions})
    raise AssertionError("the run does not end")


@pytest.fixture(scope="module", params=["monty"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return create_sandbox(request.param)


random_ones = settings(
    max_examples=int(os.environ.get("CODEMODE_EXAMPLES", "200")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)


@pytest.mark.slow
@pytest.mark.timeout(600)
@random_ones
@given(program=programs, gated=st.sets(st.integers(0, 3)))
async def test_approval_at_any_point_changes_nothing(sandbox: Sandbox, program: str, gated: set[int]) -> None:
    undisturbed = World()
    await run(program, undisturbed, sandbox)
    stopped = World()
    _, unknown = await run(program, stopped, sandbox, lambda arguments: arguments["n"] in gated)
    assert stopped.effects == undisturbed.effects
    assert not unknown


@pytest.mark.slow
@pytest.mark.timeout(600)
@random_ones
@given(program=programs, dies=st.integers(1, 6), after=st.booleans(), gated=st.sets(st.integers(0, 3), max_size=2))
async def test_a_kill_at_any_point_repeats_nothing(
    sandbox: Sandbox, program: str, dies: int, after: bool, gated: set[int]
) -> None:
    undisturbed = World()
    await run(program, undisturbed, sandbox)
    killed = World(dies, after)
    _, unknown = await run(program, killed, sandbox, lambda arguments: arguments["n"] in gated)
    # A payment that nobody knows the end of is asked about, and here taken for made: it was, or it was not.
    assert all(killed.effects[n] <= undisturbed.effects[n] for n in killed.effects)
    assert all(killed.effects[n] + unknown[n] >= undisturbed.effects[n] for n in undisturbed.effects)
    assert unknown.total() <= 4
