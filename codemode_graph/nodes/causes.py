"""The causes of a run's end: what really failed, what a program went on without, and the model's last words."""

import json
from collections.abc import Collection, Iterable, Sequence

from codemode_graph.calls.view import newest
from codemode_graph.preview import sample
from codemode_graph.state import Attempt, Failure, Refusals, ToolCall
from codemode_graph.tools.text import listed, one_line

GAVE_UP = ("refusal", "tool-calls")
"""Findings of answers that mean it: a model that gives the second one is not asked again."""
_WORDLESS = ("no-program", "unchanged-program")
_NO_PROGRAM = (*GAVE_UP, *_WORDLESS, "cut-off", "rejected", "several-blocks", "too-long")
# A warning and a failure are read by an agent's model in each of its later turns.
_WORDS = 500
_ERROR = 300
_FEW = 160
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


def _describe_refused(refused: Refusals) -> str:
    number, reason = refused["number"], one_line(refused["error"]["message"], _ERROR)
    return f"one call was refused: {reason}" if number == 1 else f"{number} calls were refused, the last one: {reason}"


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
    return [call for call in failed if call["error"] and not _is_in(call["error"]["message"], value)]


def warning_of(attempt: Attempt, calls: Sequence[ToolCall]) -> str | None:
    """Return what to say of a success: which calls failed that its program went on without.

    Args:
        attempt: The attempt whose value is the answer.
        calls: The journal.
    """
    failed, refused = unmentioned_failures(attempt, calls), attempt.get("refused")
    total = _count(attempt, calls)
    count = total if refused is None else total + refused["number"]
    # Like a failed call, a refused one that the value tells of needs no second word, unless no call succeeded.
    if (
        refused is not None
        and len(failed) < total
        and _is_in(refused["error"]["message"], json.dumps(attempt["output"]))
    ):
        refused = None
    number = len(failed) if refused is None else len(failed) + refused["number"]
    if not number:
        return None
    which = f"{number} of its {count} calls"
    if number == count:
        which = "its only call" if count == 1 else f"all its {count} calls"
    reasons = [describe_failed(call) for call in failed[:_SHOWN]]
    reasons += [f"and {len(failed) - _SHOWN} more"] if len(failed) > _SHOWN else []
    reasons += [] if refused is None else [_describe_refused(refused)]
    return f"the program went on though {which} failed: {'; '.join(reasons)}"


def _is_in(message: str, value: str) -> bool:
    return json.dumps(message)[1:-1] in value


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
    if failure["kind"] in ("check", "model", "syntax"):  # no program ran
        return failure
    failed = failed_calls(calls, attempt["calls"])
    # The same error may have come by another way, which left its line breaks out or cut its end off.
    text = one_line(failure["message"], _MESSAGE)
    hidden = [c for c in failed if c["error"] and one_line(c["error"]["message"], _ERROR).rstrip("…") not in text]
    causes = [describe_failed(call) for call in hidden[-_SHOWN:]]
    if (refused := attempt.get("refused")) is not None and one_line(refused["error"]["message"], _ERROR) not in text:
        causes.append(_describe_refused(refused))
    if not causes:
        return failure
    return {**failure, "message": f"{failure['message']} (before that {'; '.join(causes)})"}


def join_failures(
    previous: Sequence[Attempt], failure: Failure, calls: Sequence[ToolCall], answer: Attempt | None = None
) -> Failure:
    """Return the failure of a run that ended before its last program could run: it has those of the attempts before too.

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
    if not gave_up:
        return add_attempts({**failure, "message": end}, previous, calls)
    soft: Failure | None = None
    for number, attempt in reversed([*enumerate(previous)]):
        real = _failure_of(attempt)
        if real is None:
            continue
        if any(finding["rule"] in _NO_PROGRAM for finding in attempt["findings"]):
            # An answer that could not be taken is the reason only where no program was.
            has_words = any(finding["rule"] in (*GAVE_UP, *_WORDLESS) for finding in attempt["findings"])
            soft = soft if soft is not None or has_words or real["message"] == failure["message"] else real
            continue
        real = add_causes(real, attempt, calls)
        return add_attempts({**real, "message": f"{real['message']} (then {end})"}, previous[:number], calls)
    if soft is not None:
        return {**soft, "message": f"{soft['message']} (then {end})"}
    return {**failure, "message": end}


def add_attempts(failure: Failure, previous: Sequence[Attempt], calls: Sequence[ToolCall]) -> Failure:
    """Return the failure of a run that is over, with what each attempt before failed of, in few words.

    Args:
        failure: How the run ended.
        previous: The attempts before that failure.
        calls: The journal.
    """
    numbers: dict[str, list[int]] = {}
    last = _few_words(failure)
    for attempt in previous:
        own = _failure_of(attempt)
        if own is not None:
            words = _few_words(add_causes(own, attempt, calls))
            numbers.setdefault("the same" if words == last else words, []).append(attempt["number"])
    parts = [f"attempt{'s' * (len(each) > 1)} {listed(map(str, each))}: {words}" for words, each in numbers.items()]
    if len(parts) > _SHOWN:
        parts = [parts[0], f"{len(parts) - _SHOWN} more", *parts[1 - _SHOWN :]]
    if not parts:
        return failure
    return {**failure, "message": f"{failure['message']} (before that {'; '.join(parts)})"}


def _failure_of(attempt: Attempt) -> Failure | None:
    return attempt["failure"] or (EMPTY if attempt["verdict"] == "empty" else None)


def _few_words(failure: Failure) -> str:
    where = f"line {failure['line']}: " if failure["line"] else ""
    kind = "" if failure["kind"] in ("check", "model", "empty", "returns") else f"{failure['type']}: "
    return one_line(f"{where}{kind}{failure['message']}", _FEW)


EMPTY = Failure(
    kind="empty",
    type="EmptyOutput",
    message="the program called tools that returned data, and gave back nothing",
    line=None,
    traceback="",
)
"""The failure of an attempt whose value says nothing."""
