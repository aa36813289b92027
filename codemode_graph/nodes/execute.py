"""The node that runs a program."""

from codemode_sandboxes import Failed, Finished, Program, Sandbox
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import get_runtime

from codemode_graph.calls.journal import Journal
from codemode_graph.calls.make import Calls
from codemode_graph.calls.program import Paused, ProgramRun, run_program
from codemode_graph.calls.values import LOAD_VALUE, Values, load_value
from codemode_graph.nodes.attempts import amended, knobs, worked
from codemode_graph.nodes.choosing import on_backend
from codemode_graph.nodes.node import Update
from codemode_graph.nodes.spans import sandbox_run
from codemode_graph.settings import Parts
from codemode_graph.state import CodeModeState, Failure

__all__ = ["execute"]


async def execute(state: CodeModeState, parts: Parts, config: RunnableConfig) -> Update:
    """Run the program until it ends or waits for people.

    Calls that were made before, by an earlier attempt or before this program was stopped, are answered from the journal.
    """
    store = get_runtime().store
    journal = Journal(state["tool_calls"], attempt=len(state["attempts"]), store=store, run_id=state["run_id"])
    await journal.recover()
    values = Values(run_id=state["run_id"], store=store, inline_bytes=parts.inline_bytes)
    tools = {spec.name: load_value(values) if spec is LOAD_VALUE else spec for spec in parts.callable}
    begun = journal.begun or state["attempts"][-1]["sandbox"] is not None
    calls = Calls(
        tools=tools,
        journal=journal,
        values=values,
        limits=parts.limits,
        config=config,
        state=state,
        max_calls=knobs(parts).max_tool_calls,
    )

    async def run_in(sandbox: Sandbox) -> ProgramRun:
        attempt = len(state["attempts"])
        async with sandbox_run(sandbox.name, state["program"], attempt=attempt, config=config) as traced:
            calls.config = traced.config
            ended = await run_program(
                sandbox,
                Program(code=state["program"], tools=tuple(tools), seed=state["seed"], now=state["started"]),
                calls=calls,
                limits=parts.limits,
                timeout=_timeout(state, parts),
                decisions=state["decisions"],
                turns=state["turns"],
            )
            traced.end(ended, [record for record in journal.records if record["id"] in journal.made])
            return ended

    sandbox, run = await on_backend(state, parts, run_in, begun=begun)
    failure = _failure(run.event) if isinstance(run.event, Failed) else None
    output = await values.keep(run.event.value) if isinstance(run.event, Finished) else None
    paused = isinstance(run.event, Paused)
    changes = {
        "failure": failure,
        "output": output,
        "stdout": run.stdout,
        "calls": journal.made,
        "sandbox": sandbox,
        "seconds": state["attempts"][-1]["seconds"] + run.seconds,
    }
    return {
        "sandbox": sandbox,
        "attempts": amended(state, changes),
        "tool_calls": journal.records,
        "updates": state["updates"] if paused else journal.updates,
        "pending": run.event.pending if isinstance(run.event, Paused) else [],
        "turns": run.turns if paused else [],
        "output": output,
        "error": failure,
        "stdout": run.stdout,
    }


def _timeout(state: CodeModeState, parts: Parts) -> float:
    """Seconds that the program may take: its own, or what is left of the run's."""
    most = knobs(parts).max_seconds
    return parts.timeout if most is None else min(parts.timeout, max(0.0, most - worked(state)))


def _failure(event: Failed) -> Failure:
    return Failure(kind=event.kind, type=event.type, message=event.message, line=event.line, traceback=event.traceback)
