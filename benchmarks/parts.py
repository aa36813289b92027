"""Measures where our own time goes, with timers around the parts of a run.

`python -m benchmarks.overhead --profile` runs it in our environment. A part's time is without the parts inside it. LangGraph's
own steps are those of a graph of the same nodes and state, whose nodes return at once what ours return.
"""

import asyncio
import functools
import time
import types
from collections.abc import Callable, Coroutine, Generator
from contextlib import ExitStack
from dataclasses import replace
from statistics import median
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from codemode_sandboxes.monty import MontySandbox
from codemode_sandboxes.monty.session import MontyExecution
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

from benchmarks.figures import duration, table
from benchmarks.peers.programs import PROGRAMS
from benchmarks.peers.tools import EXPECTED, TOOLS
from codemode_graph.api import CodeMode, codemode
from codemode_graph.graph import create_codemode
from codemode_graph.nodes import check, execute
from codemode_graph.state import CodeModeInput, CodeModeState
from codemode_graph.tools.load import load_tools

__all__ = ["main"]

RUNS = 40
STEPS = "LangGraph's own steps"
REST = "nodes, state, result"

PARTS = {
    REST: ("whole", ("check", "run")),
    "check": ("check", ("type check",)),
    "type check": ("type check", ()),
    "sandbox: start": ("start", ()),
    "sandbox: run": ("advance", ()),
    "bridge, journal": ("run", ("start", "advance", "call")),
    "tools: validate, trace, call": ("call", ()),
}
"""By the name of each part, its timer and the timers inside it, which are subtracted."""

TIMED: tuple[tuple[str, Any, str], ...] = (
    ("check", check, "check_program"),
    ("run", execute, "run_program"),
    ("type check", MontySandbox, "type_check"),
    ("start", MontySandbox, "start"),
    ("advance", MontyExecution, "advance"),
)


class Timers:
    """Timers by name, which add up seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def around(self, name: str, function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        """Return an async function that does the same, timed from its call to its end."""

        @functools.wraps(function)
        async def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return await function(*args, **kwargs)
            finally:
                self._add(name, start)

        return timed

    def within(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return an async function that does the same, timed while it has the event loop.

        Many calls of it may be open at one time, whose waiting must not be counted many times.
        """

        @types.coroutine
        def steps(coroutine: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
            sent = None
            while True:
                start = time.perf_counter()
                try:
                    awaited = coroutine.send(sent)
                except StopIteration as end:
                    return end.value
                finally:
                    self._add(name, start)
                sent = yield awaited

        @functools.wraps(function)
        async def timed(*args: Any, **kwargs: Any) -> Any:
            return await steps(function(*args, **kwargs))

        return timed

    def _add(self, name: str, start: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def take(self) -> dict[str, float]:
        """Return the seconds of each part, and reset the timers."""
        spent, self.seconds = self.seconds, {}
        return {
            part: spent.get(name, 0.0) - sum(spent.get(inner, 0.0) for inner in within)
            for part, (name, within) in PARTS.items()
        }


async def empty_graph(cm: CodeMode, program: str) -> Callable[[], Coroutine[Any, Any, None]]:
    """Return a function that runs a graph with the steps of this program's run, whose nodes do nothing.

    It has the same state, checkpoints and durability; an edge that asks a function leads to each step, as in ours.
    """
    graph, saver = create_codemode(model=None, tools=cm.tools, sandbox=cm.sandbox), InMemorySaver()
    input: CodeModeInput = {"task": "", "code": program}
    updates = [update async for update in graph.compile().astream(input, stream_mode="updates")]
    empty: StateGraph[Any, Any, Any, Any] = StateGraph(CodeModeState)
    last = START
    for update in updates:
        ((name, values),) = update.items()

        async def node(state: CodeModeState, values: Any = values) -> Any:
            return values

        def route(state: CodeModeState, name: str = name) -> str:
            return name

        empty.add_node(name, node)
        if last == START:
            empty.add_edge(last, name)
        else:
            empty.add_conditional_edges(last, route, [name])
        last = name
    compiled = empty.compile(checkpointer=saver)

    async def run() -> None:
        thread = uuid4().hex
        config: RunnableConfig = {"configurable": {"thread_id": thread}}
        async for _ in compiled.astream(input, config, stream_mode="values", durability="exit"):
            pass
        await saver.adelete_thread(thread)

    return run


async def measure() -> str:
    """Run every program, and return a table of the medians of the parts."""
    timers = Timers()
    found: dict[str, list[dict[str, float]]] = {}
    with ExitStack() as stack:
        for name, owner, attribute in TIMED:
            stack.enter_context(patch.object(owner, attribute, timers.around(name, getattr(owner, attribute))))
        specs = [replace(spec, call=timers.within("call", spec.call)) for spec in load_tools(TOOLS)]
        async with codemode(tools=specs) as cm:
            run = timers.around("whole", cm.run_code)
            for program, text in zip(EXPECTED, PROGRAMS, strict=True):
                steps = await empty_graph(cm, text)
                timers.take()
                for number in range(RUNS + 5):
                    result = await run(f"{text}# {number}\n")
                    assert result["output"] == EXPECTED[program], result["error"]
                    seconds = timers.take()
                    start = time.perf_counter()
                    await steps()
                    if number >= 5:  # the first warm up
                        seconds[STEPS] = time.perf_counter() - start
                        seconds[REST] -= seconds[STEPS]
                        found.setdefault(program, []).append(seconds)
    parts = (STEPS, *PARTS)
    medians = {program: {part: median(run[part] for run in runs) for part in parts} for program, runs in found.items()}

    def cell(part: str, program: str) -> str:
        whole = sum(medians[program].values())
        seconds = whole if part == "**sum**" else medians[program][part]
        return f"{duration(seconds)} ({seconds / whole:.0%})"

    return table("part", [*parts, "**sum**"], {program: program for program in EXPECTED}, cell)


def main() -> None:
    """Print the table."""
    print(asyncio.run(measure()))


if __name__ == "__main__":
    main()
