"""The words for calls, attempts, times and sums that a page and a terminal share."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from codemode_graph.preview import sample
from codemode_graph.state import Attempt, Decision, PendingCall, ToolCall, Verdict
from codemode_graph.tools.text import one_line

Tone: TypeAlias = Literal["good", "journal", "person", "wait", "bad", "reads", "writes", "destroys"]
"""The colour of a word: good; answered by the journal; decided by a person; not at its end; bad; and of effects."""
Mark: TypeAlias = tuple[Tone, str]
"""A short text and its tone."""

NEVER_STARTED = ("not_started", "denied")
"""Statuses of calls that reached no tool."""
_APPROVALS = {
    "approve": "approved",
    "edit": "approved with other arguments",
    "respond": "answered by a person",
    "answer": "done, with a person's answer",
}
_STATUS: dict[str, Mark] = {
    "done": ("good", "done"),
    "failed": ("bad", "failed"),
    "denied": ("bad", "rejected"),
    "unknown": ("bad", "outcome unknown"),
    "started": ("wait", "not over"),
    "interrupted": ("wait", "asks a person"),
    "not_started": ("wait", "not started"),
}
_WAITS = {
    "approval": "waits for approval",
    "unknown": "was cut off: a person has to say whether it took effect",
    "tool": "asks a person",
}
_RESULTS: dict[Verdict | None, Mark] = {
    "ok": ("good", "ok"),
    "empty": ("wait", "gave nothing back"),
    "looked": ("good", "looked for tools"),
    "error": ("bad", "failed"),
    "exhausted": ("bad", "failed"),
    None: ("wait", "not over"),
}


def describe_call(call: ToolCall, attempt: Attempt, decisions: Mapping[str, Decision]) -> Mark:
    """Describe the outcome of a call in an attempt.

    Args:
        call: The call, as the journal has it.
        attempt: The attempt that made it: the same call may have had its outcome in an attempt before.
        decisions: The decisions of people, by the key of the call.
    """
    if is_replayed(call, attempt):
        return "journal", f"journal, attempt {call['attempt']}"
    tone, text = _STATUS[call["status"]]
    done = call["status"] == "done"
    if "decision" in call and call["status"] != "denied":
        decision = decisions.get(call["decision"])
        # A trace of an output has no decisions; that the call ran at all shows that a person approved it.
        approval = _APPROVALS.get(decision["type"], "approved") if decision is not None else "approved"
        tone, text = ("person", approval) if done else (tone, f"{approval}, {text}")
    if done and call["error"]:
        tone, text = "bad", f"{text}, value not usable"
    return (tone, f"{text}, undone by {call['undone']}") if "undone" in call else (tone, text)


def describe_effect(effect: str) -> Mark:
    """Describe what a call does to the world."""
    # Whatever has no name that is known may change something.
    return {"read": "reads", "destructive": "destroys"}.get(effect, "writes"), effect  # type: ignore[return-value]


def describe_remark(call: ToolCall) -> str:
    """Describe a call that a person should look at."""
    text = f"{call['tool']} {sample(call['arguments'], limit=80)} (call {call['id']})"
    if call["status"] in ("failed", "denied") and call["error"] is not None:
        text += f": {call['error']['type']}: {one_line(call['error']['message'], 300)}"
    return f"{text}: {call['mark']}" if "mark" in call else text


def is_replayed(call: ToolCall, attempt: Attempt) -> bool:
    """Return True where the journal answered the call in this attempt, so that no tool ran."""
    return call["attempt"] != attempt["number"]


def describe_wait(call: PendingCall) -> str:
    """Describe why a call waits for a person."""
    return _WAITS[call["reason"]]


def describe_result(verdict: Verdict | None, attempt: Attempt | None = None, *, waits: bool = False) -> Mark:
    """Describe the result of a run, or of an attempt."""
    if waits:
        return "wait", "waits for a person"
    if attempt is not None and attempt["findings"]:
        return "bad", "stopped by the check"
    return _RESULTS[verdict]


def at_line(line: int | None) -> str:
    """Return the words before a message about a line; none where the line is unknown."""
    return f"line {line}: " if line else ""


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: `1 call`, `2,000 calls`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def format_seconds(time: float) -> str:
    """Format seconds with two or three digits, in the unit that suits them."""
    if time < 0.001:
        return f"{time * 1000:.1f} ms"
    if time < 1:
        return f"{time * 1000:.0f} ms"
    if time < 60:
        return f"{time:.1f} s"
    minutes, rest = divmod(round(time), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def format_moment(time: float) -> str:
    """Format seconds since the epoch as a date and a time, in UTC."""
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"


def format_bytes(size: int) -> str:
    """Format a number of bytes in the unit that suits it."""
    for unit, name in ((1_000_000, "MB"), (1_000, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return plural(size, "byte")


def format_cost(cost: float) -> str:
    """Format a sum of money without a currency, with enough digits for a tiny one."""
    return f"{cost:.2f}" if cost >= 1 else f"{cost:.2g}" if cost < 0.0001 else f"{cost:.4f}"
