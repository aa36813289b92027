"""What became of calls and attempts, in words."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from codemode_graph.state import Attempt, Decision, PendingCall, ToolCall, Verdict

__all__ = [
    "NEVER_MADE",
    "Mark",
    "Tone",
    "amount",
    "answered",
    "bytes_of",
    "mark",
    "plural",
    "reason",
    "result",
    "seconds",
]

Tone: TypeAlias = Literal["good", "journal", "person", "wait", "bad"]
"""How it went: as it should, without the tool, because a person said so, not over, or not well."""
Mark: TypeAlias = tuple[Tone, str]

NEVER_MADE = ("not_started", "denied")
"""Statuses of calls that reached no tool."""
_DECIDED = {
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
    "error": ("bad", "failed"),
    "exhausted": ("bad", "failed"),
    None: ("wait", "not over"),
}


def mark(call: ToolCall, attempt: Attempt, decisions: Mapping[str, Decision]) -> Mark:
    """Say what became of a call in an attempt."""
    if answered(call, attempt):
        return "journal", f"journal, attempt {call['attempt']}"
    tone, text = _STATUS[call["status"]]
    if "decision" in call and call["status"] != "denied":
        decision = decisions.get(call["decision"])
        said = _DECIDED[decision["type"]] if decision is not None and decision["type"] in _DECIDED else "approved"
        text = said if call["status"] == "done" else f"{said}, {text}"
        tone = "person" if call["status"] == "done" else tone
    return ("bad", f"{text}, value not usable") if call["status"] == "done" and call["error"] else (tone, text)


def answered(call: ToolCall, attempt: Attempt) -> bool:
    """Whether the attempt was given what the journal has of the call, and no tool was called."""
    return call["attempt"] != attempt["number"]


def reason(call: PendingCall) -> str:
    """Say why a call waits."""
    return _WAITS[call["reason"]]


def result(verdict: Verdict | None, attempt: Attempt | None = None, *, waits: bool = False) -> Mark:
    """Say what came of a run, or of an attempt."""
    if waits:
        return "wait", "waits for a person"
    if attempt is not None and attempt["findings"]:
        return "bad", "stopped by the check"
    return _RESULTS[verdict]


def plural(count: int, noun: str) -> str:
    """`1 call`, `2,000 calls`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def seconds(time: float) -> str:
    """A length of time with two or three digits."""
    if time < 0.001:
        return f"{time * 1000:.1f} ms"
    if time < 1:
        return f"{time * 1000:.0f} ms"
    if time < 60:
        return f"{time:.1f} s"
    minutes, rest = divmod(round(time), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def bytes_of(size: int) -> str:
    """A size in the unit that suits it."""
    for unit, name in ((1_000_000, "MB"), (1_000, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return plural(size, "byte")


def amount(cost: float) -> str:
    """A sum of money of unnamed currency, with enough digits."""
    return f"{cost:.2f}" if cost >= 1 else f"{cost:.2g}" if cost < 0.0001 else f"{cost:.4f}"
