"""The result of a task or a program, as `CodeMode` returns it."""

from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

from langgraph.graph.state import CompiledStateGraph

from codemode_graph.metrics import Metrics, metrics
from codemode_graph.settings import Prices
from codemode_graph.state import Attempt, CodeModeOutput, CodeModeState, Failure, ToolCall
from codemode_graph.tools.spec import ToolSpec
from codemode_graph.trace import Trace

__all__ = ["RunResult", "TaskRunner", "not_run", "run_result"]


class RunResult(dict[str, Any]):
    """The result of one task or program: a dict, with the run as its `trace`.

    Its keys: `success`, whether there is an answer; `output`, the program's value, made of JSON values; `error`, one line
    that says why there is none; `program`, the last one, as it ran; `sandbox`, what ran it, None where nothing did;
    `attempts`, `tool_calls`, `stdout`, `metrics`; `left_over`, the ids of calls of earlier programs whose effects stand and
    which the last program neither made nor undid; and `run_id`, by which `CodeMode.run_code` goes on from a run that
    failed, None of one that never began.

    Attributes:
        trace: The run: it shows itself in a notebook and a terminal, and writes a page.
    """

    def __init__(self, values: dict[str, Any], trace: Trace) -> None:
        super().__init__(values)
        self.trace = trace

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, key: Literal["success"], /) -> bool: ...
        @overload
        def __getitem__(self, key: Literal["error", "run_id", "sandbox"], /) -> str | None: ...
        @overload
        def __getitem__(self, key: Literal["program", "stdout"], /) -> str: ...
        @overload
        def __getitem__(self, key: Literal["attempts"], /) -> list[Attempt]: ...
        @overload
        def __getitem__(self, key: Literal["tool_calls"], /) -> list[ToolCall]: ...
        @overload
        def __getitem__(self, key: Literal["metrics"], /) -> Metrics: ...
        @overload
        def __getitem__(self, key: str, /) -> Any: ...
        def __getitem__(self, key: str, /) -> Any: ...


class TaskRunner(Protocol):
    """The part of a `CodeMode` that integrations use. They cannot import it: its `as_...` methods import them."""

    tools: tuple[ToolSpec, ...]

    @property
    def approves(self) -> bool:
        """True where an `approve` function answers for people."""

    @property
    def subgraph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        """The graph of one task, without a checkpointer of its own."""

    async def run(self, task: str) -> RunResult:
        """Do a task."""


def run_result(state: CodeModeState, run_id: str, *, prices: Prices | None = None) -> RunResult:
    """Return the result of a run from the graph's state."""
    error = state["error"]
    if waiting := state["pending"]:
        names = ", ".join(
            f"{call['tool']} ({call['id']}{', ' + call['cause'] if 'cause' in call else ''})" for call in waiting
        )
        reason = (
            f"the run waits for a person to decide on {names}: give codemode(..., approve=...), or decisions to resume"
        )
        error = Failure(kind="approval", type="PermissionError", message=reason, line=None, traceback="")
    elif error is None and state["verdict"] is None:
        reason = "the run is not over: resume goes on with it"
        error = Failure(kind="open", type="", message=reason, line=None, traceback="")
    where = f"line {error['line']}: " if error is not None and error["line"] else ""
    kind = (
        ""
        if error is None or error["kind"] in ("model", "check", "empty", "approval", "open")
        else f"{error['type']}: "
    )
    message = None if error is None else f"{where}{kind}{error['message']}"
    return _result(state, message, run_id, Trace.from_state(state, prices=prices))


def not_run(task: str, error: str) -> RunResult:
    """Return the result of a task whose run could not begin."""
    failure = Failure(kind="configuration", type="ConfigurationError", message=error, line=None, traceback="")
    state = CodeModeOutput(
        verdict="error",
        output=None,
        error=failure,
        stdout="",
        program="",
        attempts=[],
        tool_calls=[],
        updates=[],
        usage=[],
        left_over=[],
    )
    return _result(state, error, None, Trace(task=task, verdict="error", error=failure))


def _result(state: CodeModeOutput, error: str | None, run_id: str | None, trace: Trace) -> RunResult:
    values = {
        "success": state["verdict"] == "ok",
        "output": state["output"],
        "error": error,
        "program": state["program"],
        "sandbox": state["attempts"][-1]["sandbox"] if state["attempts"] else None,
        "attempts": state["attempts"],
        "tool_calls": state["tool_calls"],
        "stdout": state["stdout"],
        "metrics": metrics(state),
        "left_over": state.get("left_over", []),
        "run_id": run_id,
    }
    return RunResult(values, trace)
