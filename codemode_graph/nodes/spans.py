"""The spans that traces show of the nodes, and of a program in its sandbox."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from codemode_sandboxes import Failed, Finished
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_async_callback_manager_for_config, patch_config
from langgraph.types import TracePolicy

from codemode_graph.calls.program import ProgramRun
from codemode_graph.exact import encode
from codemode_graph.preview import sample, shape
from codemode_graph.state import CodeModeState, ToolCall
from codemode_graph.tools.callbacks import is_heard, tagged

_LARGE = 100_000
_READS = {
    "discover": ("task",),
    "generate": ("task", "code"),
    "check": ("program",),
    "execute": ("program",),
    "approve": ("pending",),
    "inspect_output": ("output", "error"),
    "repair": ("program", "error"),
}
_WRITES = ("program", "verdict", "output", "error", "stdout", "pending", "found")
_OF_ATTEMPT = {
    "generate": ("thoughts",),
    "check": ("fixes", "findings"),
    "execute": ("sandbox", "calls"),
    "repair": ("thoughts",),
}


def trace_policy(node: str) -> TracePolicy:
    """Return what the trace of a node shows: the keys that it reads and writes, not the whole state twice."""

    def reads(state: Any) -> Any:
        return {key: state[key] for key in _READS[node] if state.get(key) is not None} | _attempt(state)

    def writes(update: Any) -> Any:
        seen = {key: update[key] for key in _WRITES if update.get(key) not in (None, [], "")}
        attempts = update.get("attempts")
        if attempts:
            seen |= {key: attempts[-1][key] for key in _OF_ATTEMPT.get(node, ())}
        # The arguments that a person gave instead may be what is masked elsewhere.
        decisions = update.get("decisions")
        return seen | (
            {"decisions": {k: d["type"] for k, d in decisions.items()}} if isinstance(decisions, dict) else {}
        )

    return TracePolicy(process_inputs=reads, process_outputs=writes)


def _attempt(state: CodeModeState) -> dict[str, int]:
    return {"attempt": len(state["attempts"])} if state.get("attempts") else {}


class SandboxRun:
    """A program's run in a trace.

    Attributes:
        config: For what the program calls, so that it stands below.
    """

    def __init__(self, config: RunnableConfig, attempt: int) -> None:
        self.config, self._attempt = config, attempt
        self.outputs: dict[str, Any] = {}
        self.failure: Failed | None = None

    def end(self, run: ProgramRun, calls: Callable[[], list[ToolCall]], sandbox: str) -> None:
        """Note how and in which sandbox the program ended, and which calls it made."""
        if not is_heard(self.config):
            return
        event = run.event
        outputs: dict[str, Any] = {
            "sandbox": sandbox,
            "stdout": run.stdout,
            "calls": [_call(call, self._attempt) for call in calls()],
        }
        if isinstance(event, Failed):
            self.failure = event
        elif isinstance(event, Finished):
            outputs["value"] = _bounded(encode(event.value))
        else:
            outputs["waits"] = event.pending
        self.outputs = outputs


@asynccontextmanager
async def sandbox_run(sandbox: str, program: str, *, attempt: int, config: RunnableConfig) -> AsyncIterator[SandboxRun]:
    """Make what happens in the block a run of its own in traces, named after the sandbox in which the program begins.

    A failed program is its error.
    """
    config = tagged(config, f"sandbox:{sandbox}", sandbox=sandbox, attempt=attempt)
    if not is_heard(config):
        yield SandboxRun(config, attempt)
        return
    manager = get_async_callback_manager_for_config(config)
    run = await manager.on_chain_start(None, {"program": program, "attempt": attempt}, name=f"sandbox {sandbox}")
    traced = SandboxRun(patch_config(config, callbacks=run.get_child()), attempt)
    try:
        yield traced
    except BaseException as error:
        await run.on_chain_error(error)
        raise
    if traced.failure is not None:
        await run.on_chain_error(_ProgramFailed(traced.failure))
    else:
        await run.on_chain_end(traced.outputs)


class _ProgramFailed(Exception):
    """A program's error as traces show it: in one line, then with the program's own frames."""

    def __init__(self, failure: Failed) -> None:
        super().__init__(f"the program failed\n{failure.traceback}")
        where = f" (line {failure.line})" if failure.line else ""
        self._line = f"{failure.type}: {failure.message}{where}"

    def __repr__(self) -> str:
        return f"{self._line}\n\n"


def _call(call: ToolCall, attempt: int) -> dict[str, Any]:
    status = call["status"] if call["attempt"] == attempt else "answered from the journal"
    return {"id": call["id"], "tool": call["tool"], "status": status}


def _bounded(value: Any) -> Any:
    size = len(json.dumps(value, ensure_ascii=False))
    return value if size <= _LARGE else {"characters": size, "shape": shape(value), "sample": sample(value)}
