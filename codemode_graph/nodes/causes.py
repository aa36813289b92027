"""The causes of a run's end: what really failed, what a program went on without, and the model's last words."""

import json
from collections.abc import Collection, Iterable, Sequence

from codemode_graph.calls.view import newest
from codemode_graph.preview import sample
from codemode_graph.state import Attempt, Failure, ToolCall
from codemode_graph.tools.text import one_line

__all__ = [
    "GAVE_UP",
    "add_causes",
    "describe_failed",
    "failed_calls",
    "join_failures",
    "unmentioned_failures",
    "warning_of",
]

GAVE_UP = ("refusal", "tool-calls")
"""Findings of answers that mean it: a model that gives the second one is not asked again."""
_WORDLESS = ("no-program", "unchanged-program")
_NO_PROGRAM = (*GAVE_UP, *_WORDLESS, "cut-off", "rejected", "several-blocks", "too-long")
# A warning and a failure are read by an agent's model in each of its later turns.
_WORDS = 500
_ERROR = 300
_MESSAGE = 10_000
_SHOWN = 3


def failed_calls(calls: Iterable[ToolCall], ids: Collection[str]) -> list[ToolCall]:
    """Return the calls that failed in the end, or were refused by a person.

    Args:
        calls: The journal of a run.
        ids: Those that count, such as an attempt's.
    """
    known = set(ids)
    own = newest(call for call in calls if call["id"] in known)
    return [call for call in own if call["status"] in ("failed", "denied") and call["error"] is not None]


def describe_failed(call: ToolCall) -> str:
    """Describe a call that failed, with its arguments, in one line."""
    error = call["error"]
    reason = "" if error is None else f" raised {error['type']}: {one_line(error['message'], _ERROR)}"
    return f"{call['tool']}({sample(call['arguments'], limit=100)}){reason}"


def unmentioned_failures(attempt: Attempt, calls: Sequence[ToolCall]) -> list[ToolCall]:
    """Return the failed calls that a success went on without: not those that its value tells of, unless none succeeded.

    Args:
        attempt: The attempt whose value is the answer.
        calls: The journal.
    """
    failed = failed_calls(calls, attempt["calls"])
    if len(failed) == _count(attempt, calls):
        return failed
    value = json.dumps(attempt["output"])
    return [call for call in failed if call["error"] and json.dumps(call["error"]["message"])[1:-1] not in value]


def warning_of(attempt: Attempt, calls: Sequence[ToolCall]) -> str | None:
    """Return what to say of a success: which calls failed that its program went on without.

    Args:
        attempt: The attempt whose value is the answer.
        calls: The journal.
    """
    failed, count = unmentioned_failures(attempt, calls), _count(attempt, calls)
    if not failed:
        return None
    which = f"{len(failed)} of its {count} calls"
    if len(failed) == count:
        which = "its only call" if count == 1 else f"all its {count} calls"
    more = f"; and {len(failed) - _SHOWN} more" if len(failed) > _SHOWN else ""
    return f"the program went on though {which} failed: {'; '.join(map(describe_failed, failed[:_SHOWN]))}{more}"


def _count(attempt: Attempt, calls: Sequence[ToolCall]) -> int:
    own = set(attempt["calls"])
    return len(newest(call for call in calls if call["id"] in own))


def add_causes(failure: Failure, attempt: Attempt, calls: Sequence[ToolCall]) -> Failure:
    """Return a program's failure with the errors of calls that it caught: one of them may be the reason.

    Args:
        failure: How the attempt ended.
        attempt: The attempt.
        calls: The journal.
    """
    if failure["kind"] not in ("program", "returns", "empty"):
        return failure
    failed = failed_calls(calls, attempt["calls"])
    # The same error may have come by another way, which left its line breaks out or cut its end off.
    text = one_line(failure["message"], _MESSAGE)
    hidden = [c for c in failed if c["error"] and one_line(c["error"]["message"], _ERROR).rstrip("…") not in text]
    if not hidden:
        return failure
    return {
        **failure,
        "message": f"{failure['message']} (before that {'; '.join(map(describe_failed, hidden[-_SHOWN:]))})",
    }


def join_failures(
    previous: Sequence[Attempt], failure: Failure, calls: Sequence[ToolCall], answer: Attempt | None = None
) -> Failure:
    """Return the failure of a run that ended before its last program could run: it has the last real failure too.

    Args:
        previous: The attempts before the last answer.
        failure: Why the last answer could not be run, or the model not be asked.
        calls: The journal.
        answer: The attempt that was made of the answer; None where there is none.
    """
    rule = answer["findings"][0]["rule"] if answer is not None and answer["findings"] else ""
    gave_up = answer is None or rule in _NO_PROGRAM
    words = one_line(answer["thoughts"], _WORDS) if answer is not None and rule in _WORDLESS else ""
    end = f"{failure['message']}; its last words: {words}" if words else failure["message"]
    for attempt in reversed(previous):
        real = attempt["failure"] or (EMPTY if attempt["verdict"] == "empty" else None)
        if real is None or any(finding["rule"] in _NO_PROGRAM for finding in attempt["findings"]):
            continue
        real = add_causes(real, attempt, calls)
        if gave_up:
            return {**real, "message": f"{real['message']} (then {end})"}
        if real["kind"] != "check":
            return {**failure, "message": f"{end} (before that: {real['type']}: {real['message']})"}
    return {**failure, "message": end}


EMPTY = Failure(
    kind="empty",
    type="EmptyOutput",
    message="the program called tools that returned data, and gave back nothing",
    line=None,
    traceback="",
)
"""The failure of an attempt whose value says nothing."""
