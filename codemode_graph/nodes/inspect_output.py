"""The node that judges what a program gave back."""

from collections.abc import Collection, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig

from codemode_graph.events import OutcomeEvent, emit
from codemode_graph.nodes.causes import EMPTY, add_attempts, add_causes, warning_of
from codemode_graph.nodes.node import Update, amend, crossed_budget, judge_failure, knobs, return_type
from codemode_graph.settings import Parts
from codemode_graph.state import Attempt, CodeModeState, Failure, ToolCall, Verdict

# Programs of a run that may do nothing but search. A task may itself be to find tools: then the next one is its answer.
_MOST_LOOKS = 2


async def inspect_output(state: CodeModeState, parts: Parts, config: RunnableConfig) -> Update:
    """Judge the newest attempt.

    A failure is an `error`. A value of nothing is `empty` where tools returned data, unless an earlier program returned
    nothing too: then it is the answer. Either becomes `exhausted` where no further attempt may follow. A program that did
    nothing but search tools has `looked`: its attempt is not counted, and the next program has the cards of what it found.
    """
    verdict, failure = judge(state, parts)
    ended = failure
    if failure is not None and verdict == "exhausted":
        ended = add_attempts(failure, state["attempts"][:-1], state["tool_calls"])
    warning = warning_of(state["attempts"][-1], state["tool_calls"]) if verdict == "ok" else None
    emit(OutcomeEvent(type="outcome", verdict=verdict, error=ended, warning=warning))
    # An empty attempt has run as it should: it is not the attempt that failed, but the run, if it ends here.
    real_failure = failure if failure is None or failure["kind"] != "empty" else None
    found = find_tools(state, parts, state["attempts"][-1]) if verdict == "looked" else []
    return {
        "found": list(dict.fromkeys([*found, *(state.get("found") or [])])),
        "verdict": verdict,
        "error": ended if verdict != "empty" else None,
        "warning": warning,
        "attempts": amend(state, {"verdict": verdict, "failure": real_failure}),
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
    if failure is None and is_look(parts, state["attempts"][-1]["calls"], state["tool_calls"]):
        return ("looked", None) if _may_look(state, parts) else ("ok", None)
    if failure is None and not (_is_suspicious(state) and parts.model is not None):
        return "ok", None
    default: Verdict = "empty" if failure is None else "error"
    verdict, judged = judge_failure(state, parts, failure or EMPTY, verdict=default)
    # A repair is told of the calls by themselves.
    ended = verdict == "exhausted"
    return verdict, add_causes(judged, state["attempts"][-1], state["tool_calls"]) if ended else judged


def _may_look(state: CodeModeState, parts: Parts) -> bool:
    looks = sum(attempt["verdict"] == "looked" for attempt in state["attempts"])
    return looks < _MOST_LOOKS and crossed_budget(state, parts, knobs(parts)) is None


def is_look(parts: Parts, own: Collection[str], calls: Sequence[ToolCall]) -> bool:
    """Tell whether a program, by its `own` calls, did nothing but search the catalogue of tools."""
    if parts.model is None:
        return False
    ids = set(own)
    tools = {call["tool"] for call in calls if call["id"] in ids}
    return bool(tools) and tools <= {spec.name for spec in parts.catalogue.tools}


def find_tools(state: CodeModeState, parts: Parts, attempt: Attempt) -> list[str]:
    """Return the names of the tools that the program of an attempt found, in its order."""
    own = set(attempt["calls"])
    names: list[str] = []
    for call in state["tool_calls"]:
        if call["id"] in own and call["status"] == "done":
            # The search is made again: what it returned may be so large that it is kept by reference.
            names += parts.catalogue.names(call["tool"], call["arguments"])
    return names


def _is_suspicious(state: CodeModeState) -> bool:
    *previous, newest = state["attempts"]
    if not is_empty(newest["output"]) or any(attempt["verdict"] == "empty" for attempt in previous):
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
