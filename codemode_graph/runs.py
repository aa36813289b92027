"""The runs of a `CodeMode`. Each has a checkpoint while it runs; one that failed keeps it, so that it can be repaired."""

import inspect
import uuid
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, Interrupt

from codemode_graph.errors import UnknownRun
from codemode_graph.nodes.generate import bare
from codemode_graph.nodes.node import add_attempt
from codemode_graph.options import Approve
from codemode_graph.result import RunResult, run_result
from codemode_graph.settings import Prices
from codemode_graph.state import CodeModeState
from codemode_graph.trace.progress import Progress, Watcher, follow

__all__ = ["Runs"]

_Graph: TypeAlias = CompiledStateGraph[Any, Any, Any, Any]

# A failed run keeps its whole journal in memory until it is repaired, which most never are.
_KEPT = 64


class Runs:
    """Runs graphs, and keeps the newest 64 runs that failed.

    Args:
        approve: Answers for a person in runs that have no `approve` of their own.
        prices: What the model costs, for the results' `trace`.
    """

    def __init__(self, *, approve: Approve | None, prices: Prices | None) -> None:
        self.approve = approve
        self._prices = prices
        self._checkpoints = InMemorySaver()
        self._failed: dict[str, None] = {}

    def compile(self, graph: StateGraph[Any, Any, Any, Any]) -> _Graph:
        """Compile a graph with the checkpointer of these runs."""
        return graph.compile(checkpointer=self._checkpoints, name="codemode")

    async def run(self, graph: _Graph, input: Any, *, verbose: bool | Watcher, approve: Approve | None) -> RunResult:
        """Run a graph from its start. See `CodeMode.run`."""
        return await self._run(graph, input, uuid.uuid4().hex, verbose=verbose, approve=approve)

    async def repair(
        self, graph: _Graph, program: str, *, after: str, verbose: bool | Watcher, approve: Approve | None
    ) -> RunResult:
        """Continue a run that failed with a program that repairs its last one. See `CodeMode.run_code`.

        Raises:
            UnknownRun: No failed run of that name is kept.
        """
        if after not in self._failed:
            raise UnknownRun(f"there is no failed run {after!r} to go on from: run the program without `after`")
        return await self._run(graph, None, after, program=program, verbose=verbose, approve=approve)

    async def _run(
        self,
        graph: _Graph,
        input: Any,
        run_id: str,
        *,
        program: str | None = None,
        verbose: bool | Watcher,
        approve: Approve | None,
    ) -> RunResult:
        watcher = (Progress() if verbose else None) if isinstance(verbose, bool) else verbose
        config: RunnableConfig = {"configurable": {"thread_id": run_id}}
        result = None
        try:
            if program is not None:
                # Before the first await: two repairs of one run at the same time would share its checkpoints.
                del self._failed[run_id]
                await _begin_repair(graph, config, program)
            waits = True
            while waits:
                await follow(graph, input, config, watcher)
                snapshot = await graph.aget_state(config)
                if watcher is not None:
                    watcher.stop()
                input = await _ask(snapshot.interrupts, approve or self.approve)
                waits = input is not None
            result = run_result(cast("CodeModeState", snapshot.values), run_id, prices=self._prices)
        finally:
            if watcher is not None:
                watcher.stop()
            await self._forget(run_id, failed=result is not None and not result["success"])
        if watcher is not None:
            watcher.end(result["metrics"])
        return result

    async def _forget(self, run_id: str, *, failed: bool) -> None:
        """Delete the checkpoints of a run that succeeded; where it failed, those of the oldest beyond the newest 64."""
        if failed:
            self._failed[run_id] = None
            if len(self._failed) <= _KEPT:
                return
            run_id = next(iter(self._failed))
            del self._failed[run_id]
        await self._checkpoints.adelete_thread(run_id)


async def _begin_repair(graph: _Graph, config: RunnableConfig, program: str) -> None:
    """Write a program into a failed run's state as its node `repair` does."""
    program = bare(program)
    attempts = add_attempt((await graph.aget_state(config)).values["attempts"], program, "")
    update = {
        "program": program,
        "attempts": attempts,
        "verdict": None,
        "error": None,
        "pending": [],
        "problem": None,
    }
    await graph.aupdate_state(config, update, as_node="repair")


async def _ask(interrupts: Sequence[Interrupt], approve: Approve | None) -> Command[Any] | None:
    """Return the answers to a run's interrupts; None where there are none, or nobody who answers."""
    if not interrupts or approve is None:
        return None
    answers = {}
    for waiting in interrupts:
        answer = approve(waiting.value)
        answers[waiting.id] = await answer if inspect.isawaitable(answer) else answer
    return Command(resume=answers)
