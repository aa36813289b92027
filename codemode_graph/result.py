"""The result of a task or a program, as `CodeMode` returns it."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, cast, overload

from langgraph.graph.state import CompiledStateGraph
from typing_extensions import TypeVar

from codemode_graph.calls.view import standing_effects
from codemode_graph.catalogue.program_folder import SavedPrograms
from codemode_graph.errors import NoAnswer
from codemode_graph.exact import decode_fields
from codemode_graph.metrics import Metrics, metrics
from codemode_graph.settings import Prices
from codemode_graph.state import Attempt, CodeModeOutput, CodeModeState, Failure, ToolCall
from codemode_graph.tools.return_type import ReturnType
from codemode_graph.tools.spec import ToolSpec
from codemode_graph.trace import Trace

__all__ = ["ProgramRunner", "RunResult", "TaskRunner", "not_run", "run_result"]


T = TypeVar("T", default=Any)


class RunResult(dict[str, Any], Generic[T]):
    """The result of one task or program: a dict, with the run as its `trace`.

    Its keys: `success`, whether there is an answer; `output`, the program's value, made of JSON's types, its numbers and
    texts exact; `content`, the images, sounds and files whose handles the value holds, as content blocks of LangChain's
    messages; `error`, one line that says why there is none; `warning`, one line that says which calls failed and the
    program went on without; `program`, the last one, as it ran; `sandbox`, what ran it, None where nothing did;
    `attempts`, `tool_calls`, `stdout`, `metrics`; `took_effect`, the ids of calls whose effects stand, or may; `left_over`,
    those of them that earlier programs made and that the last program neither made nor undid; and `run_id`, by which
    `CodeMode.run_code` goes on from a run that failed, None of one that never began.

    Attributes:
        trace: The run: it shows itself in a notebook and a terminal, and writes a page.
    """

    def __init__(self, values: dict[str, Any], trace: Trace, returns: ReturnType | None = None) -> None:
        super().__init__(values)
        self.trace = trace
        self._returns = returns

    @cached_property
    def value(self) -> T:
        """The answer as the type that was declared by `returns`; where that is a JSON Schema, or nothing, the `output`.

        Raises:
            NoAnswer: The run has no answer; the message says why.
        """
        if not self["success"]:
            raise NoAnswer(self["error"] or "the run has no answer")
        output: T = self["output"]
        return output if self._returns is None else self._returns.load(output)

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, key: Literal["success"], /) -> bool: ...
        @overload
        def __getitem__(self, key: Literal["error", "warning", "run_id", "sandbox"], /) -> str | None: ...
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
    def subgraph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        """The graph of one task, without a checkpointer of its own."""

    async def run(self, task: str) -> RunResult[Any]:
        """Do a task."""


class ProgramRunner(TaskRunner, Protocol):
    """The part of a `CodeMode` that integrations use of its saved programs."""

    programs: SavedPrograms

    @property
    def program_subgraph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        """The graph of one program, without a checkpointer of its own."""

    async def run_code(self, program: str) -> RunResult[Any]:
        """Run a program."""


def run_result(
    state: CodeModeState, run_id: str, *, prices: Prices | None = None, returns: ReturnType | None = None
) -> RunResult[Any]:
    """Return the result of a run from the graph's state.

    Args:
        state: The state.
        run_id: The run's id.
        prices: What the model costs.
        returns: The type that the caller knows the answer by. It counts where the run was asked for the same.
    """
    returns = returns if returns is not None and returns.schema == state.get("answer_schema") else None
    error = state["error"]
    if waiting := state["pending"]:
        names = ", ".join(
            f"{call['tool']} ({call['id']}{', ' + call['cause'] if 'cause' in call else ''})" for call in waiting
        )
        reason = (
            f"the run waits for a person to decide on {names}: give codemode(..., approve=...), or decisions to resume"
        )
        if problem := state.get("problem"):
            reason = f"{reason}; the last answer could not be taken: {problem}"
        error = Failure(kind="approval", type="PermissionError", message=reason, line=None, traceback="")
    elif error is None and state["verdict"] is None:
        reason = "the run is not over: resume goes on with it"
        error = Failure(kind="open", type="", message=reason, line=None, traceback="")
    where = f"line {error['line']}: " if error is not None and error["line"] else ""
    kind = (
        ""
        if error is None or error["kind"] in ("model", "check", "empty", "returns", "approval", "open")
        else f"{error['type']}: "
    )
    message = None if error is None else f"{where}{kind}{error['message']}"
    return _result(state, message, run_id, Trace.from_state(state, prices=prices, run_id=run_id or None), returns)


def not_run(task: str, error: str) -> RunResult[Any]:
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


def _result(
    state: CodeModeOutput, error: str | None, run_id: str | None, trace: Trace, returns: ReturnType | None = None
) -> RunResult[Any]:
    exact = decode_fields(cast("Mapping[str, Any]", state))
    values = {
        "success": state["verdict"] == "ok",
        "output": exact["output"],
        "content": state.get("content", []),
        "error": error,
        "warning": state.get("warning"),
        "program": state["program"],
        "sandbox": state["attempts"][-1]["sandbox"] if state["attempts"] else None,
        "attempts": exact["attempts"],
        "tool_calls": exact["tool_calls"],
        "stdout": state["stdout"],
        "metrics": metrics(state),
        "took_effect": [call["id"] for call in standing_effects(state["tool_calls"])],
        "left_over": state.get("left_over", []),
        "run_id": run_id,
    }
    return RunResult(values, trace, returns)
