"""Nodes of larger graphs that are tried again: random graphs around code mode, whose steps fail, are retried and broken off."""

import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy
from typing_extensions import TypedDict

from codemode_graph import MemoryJournal, create_codemode
from codemode_graph.calls import identity

RETRIES = RetryPolicy(initial_interval=0.001, max_attempts=10, jitter=False, retry_on=RuntimeError)
START_STATE: Any = {"task": "", "code": "await tools.pay('ann')"}


class State(TypedDict, total=False):
    task: str
    code: str
    output: Any


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it, and nobody tries again."""


@dataclass
class Scene:
    """A larger graph, and when its steps fail."""

    random: random.Random
    saved: bool
    paid: list[str] = field(default_factory=list)
    wanted: int = 1
    shape: list[str] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)

    def codemode(self) -> Any:
        async def pay(who: str) -> str:
            """Pay somebody."""
            self.paid.append(who)
            return f"paid {who}"

        # Without a checkpointer each graph keeps its journal in its own memory; this one is the same for all.
        return create_codemode(model=None, tools=[pay], journal=MemoryJournal()).compile()

    def step(self, name: str, kills: bool = True) -> Any:
        self.failures[name] = self.random.choice([0, 1, 1, 2])
        if kills and self.saved:
            self.kills[name] = self.random.choice([0, 0, 1])

        async def run(state: Any) -> dict[str, Any]:
            ways = [Killed] * (self.kills[name] > 0) + [RuntimeError] * (self.failures[name] > 0)
            if ways:
                way = self.random.choice(ways)
                (self.kills if way is Killed else self.failures)[name] -= 1
                raise way(name)
            return {}

        return run

    def graph(self, inner: Any, depth: int) -> Any:
        """Put a graph into a larger one: as a node, called by one, or as a task; once or twice."""
        name = f"{len(self.shape)}"
        shape = self.random.choice(["node", "called", "called twice", "steps", "task", "entrypoint", "both"])
        self.shape.append(shape)
        fail, twice = self.step(f"after {name}"), shape in ("called twice", "steps")
        self.wanted *= 1 + twice

        async def call(state: Any) -> Any:
            for _ in range(1 + twice):
                out = await inner.ainvoke({key: state[key] for key in ("task", "code")})
            return {"output": out["output"]}

        async def call_and_fail(state: Any) -> Any:
            out = await call(state)
            await fail(state)
            return out

        if shape in ("task", "entrypoint", "both"):
            calls: Any = call if shape == "both" else call_and_fail
            work: Any = task(retry_policy=RETRIES)(calls)

            # LangGraph calls the tasks of an entrypoint that it tries again anew.
            @entrypoint(retry_policy=None if shape == "both" else RETRIES)
            async def whole(state: Any) -> Any:
                if shape == "both":
                    out = await work(state)
                    await fail(state)
                    return out
                return await (work if shape == "task" else call_and_fail)(state)

            return whole
        graph = StateGraph(State)
        policy = RETRIES if self.random.random() < 0.6 else None
        if shape in ("node", "steps"):
            graph.add_node("inner", inner, retry_policy=policy)
            graph.add_node("more", inner if twice else self.step(f"more {name}"), retry_policy=policy)
            graph.add_node("after", fail, retry_policy=RETRIES if self.random.random() < 0.3 else None)
            graph.add_edge(START, "inner").add_edge("inner", "more").add_edge("more", "after")
        else:
            graph.add_node("call", call_and_fail, retry_policy=policy).add_edge(START, "call")
        return graph.compile()


async def play(seed: int) -> tuple[Scene, bool]:
    """Play a scene to its end; tell whether it came there."""
    scene = Scene(random.Random(seed), saved=seed % 2 == 0)
    inner: Any = scene.codemode()
    for depth in range(scene.random.randint(1, 3)):
        inner = scene.graph(inner, depth)
    outermost = StateGraph(State).add_node("whole", inner, retry_policy=RETRIES).add_edge(START, "whole")
    app = outermost.compile(checkpointer=InMemorySaver() if scene.saved else None)
    config: Any = {"configurable": {"thread_id": "t"}} if scene.saved else {}
    durability: Any = {"durability": scene.random.choice(["sync", "async"])} if scene.saved else {}
    given = START_STATE
    for _ in range(20):
        with suppress(RuntimeError, Killed):
            await app.ainvoke(given, config, **durability)
            return scene, True
        if not scene.saved:
            break
        given = None  # it goes on
        if scene.random.random() < 0.5:  # in another process
            identity._claims.clear()
    return scene, False


@pytest.mark.parametrize("seed", range(50))
async def test_a_node_around_a_graph_with_code_mode_is_tried_again_and_nothing_happens_twice(seed: int) -> None:
    scene, ended = await play(seed)
    assert ended
    assert len(scene.paid) == scene.wanted, (scene.shape, scene.saved)
