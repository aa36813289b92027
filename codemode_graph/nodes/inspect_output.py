"""The node that judges what a program gave back."""

from typing import Any

from langchain_core.runnables import RunnableConfig

from codemode_graph.events import OutcomeEvent, emit
from codemode_graph.nodes.node import Update, amend, judge_failure, return_type
from codemode_graph.settings import Parts
from codemode_graph.state import CodeModeState, Failure, Verdict

__all__ = ["inspect_output", "inspect_value", "is_empty", "judge"]

_EMPTY = Failure(
    kind="empty",
    type="EmptyOutput",
    message="the program called tools that returned data, and gave back nothing",
    line=None,
    traceback="",
)


async def inspect_output(state: CodeModeState, parts: Parts, config: RunnableConfig) -> Update:
    """Judge the newest attempt.

    A failure is an `error`. A value of nothing is `empty` where tools returned data, unless an earlier program returned
    nothing too: then it is the answer. Either becomes `exhausted` where no further attempt may follow.
    """
    verdict, failure = judge(state, parts)
    emit(OutcomeEvent(type="outcome", verdict=verdict, error=failure))
    # An empty attempt has run as it should: it is not the attempt that failed, but the run, if it ends here.
    kept = failure if failure is None or failure["kind"] != "empty" else None
    return {
        "verdict": verdict,
        "error": failure if verdict != "empty" else None,
        "attempts": amend(state, {"verdict": verdict, "failure": kept}),
    }


def inspect_value(state: CodeModeState, parts: Parts, value: Any) -> Failure | None:
    """Return why a program's value is not of the type that is asked for; None where it is, or none is asked for.

    It sees the value itself, of which the state may have a reference, so that the program's run is recorded as what it was.
    """
    returns = return_type(state, parts)
    problem = None if returns is None else returns.problem(value)
    if problem is None:
        return None
    message = f"the program's value is not of the type that is asked for: {problem}"
    return Failure(kind="returns", type="WrongAnswer", message=message, line=None, traceback="")


def judge(state: CodeModeState, parts: Parts) -> tuple[Verdict, Failure | None]:
    """Return the verdict on the newest attempt, which has run, and why there is no value."""
    failure = state["error"]
    if failure is not None:
        return judge_failure(state, parts, failure, verdict="error")
    if _is_suspicious(state) and parts.model is not None:
        return judge_failure(state, parts, _EMPTY, verdict="empty")
    return "ok", None


def _is_suspicious(state: CodeModeState) -> bool:
    *earlier, newest = state["attempts"]
    if not is_empty(newest["output"]) or any(attempt["verdict"] == "empty" for attempt in earlier):
        return False
    own = set(newest["calls"])
    return any(
        call["status"] == "done" and call["error"] is None and not is_empty(call["value"])
        for call in state["tool_calls"]
        if call["id"] in own
    )


def is_empty(value: Any) -> bool:
    """Tell whether a value says nothing: None, an empty text, or a container of nothing but such."""
    if isinstance(value, dict):
        return all(is_empty(item) for item in value.values())
    if isinstance(value, list):
        return all(is_empty(item) for item in value)
    return value is None or value == ""
