"""The node that runs a program."""

from codemode_sandboxes import Failed, Program
from langchain_core.runnables import RunnableConfig

from codemode_graph.bridge import run_program
from codemode_graph.journal import Journal
from codemode_graph.nodes.attempts import amended
from codemode_graph.nodes.node import Update
from codemode_graph.settings import Parts
from codemode_graph.state import CodeModeState, Failure

__all__ = ["execute"]


async def execute(state: CodeModeState, parts: Parts, config: RunnableConfig) -> Update:
    """Run the program to its end. Calls that an earlier attempt made are answered from the journal."""
    tools = {spec.name: spec for spec in parts.tools}
    journal = Journal(state["tool_calls"], attempt=len(state["attempts"]))
    program = Program(code=state["program"], tools=tuple(tools), seed=state["seed"], now=state["started"])
    run = await run_program(
        parts.sandbox,
        program,
        tools=tools,
        journal=journal,
        limits=parts.limits,
        timeout=parts.timeout,
        config=config,
    )
    failure = _failure(run.event) if isinstance(run.event, Failed) else None
    output = None if isinstance(run.event, Failed) else run.event.value
    changes = {
        "failure": failure,
        "output": output,
        "stdout": run.stdout,
        "calls": journal.made,
        "sandbox": parts.sandbox.name,
        "seconds": run.seconds,
    }
    return {
        "attempts": amended(state, changes),
        "tool_calls": journal.records,
        "output": output,
        "error": failure,
        "stdout": run.stdout,
    }


def _failure(event: Failed) -> Failure:
    return Failure(
        kind=event.kind, type=event.type, message=event.message, line=event.line, traceback=event.traceback
    )
