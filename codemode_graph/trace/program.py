"""A program on a page: its lines, what is wrong with them, and what changed since the program before."""

from collections import Counter

from codemode_graph.state import Attempt, ToolCall
from codemode_graph.trace.markup import Html, el
from codemode_graph.trace.source import Line, changed, lines
from codemode_graph.trace.words import answered, plural

__all__ = ["program"]


def program(attempt: Attempt, before: Attempt | None, calls: list[ToolCall]) -> Html:
    """Show an attempt's program.

    Args:
        attempt: The attempt.
        before: The attempt before, whose program it is compared with.
        calls: The calls of the attempt: each line says how many it made.
    """
    shown = lines(attempt["program"], None if before is None else before["program"])
    notes = _notes(attempt)
    made = Counter(call["line"] for call in calls if not answered(call, attempt))
    rows = []
    for line in shown:
        rows.append(_row(line, made[line.number] if line.number else 0, bad=line.number in notes))
        rows += [_note(text) for text in (notes.pop(line.number, []) if line.number else [])]
    rest = [_note(text) for texts in notes.values() for text in texts]
    last = max((line.number for line in shown if line.number), default=0)
    more = attempt["program"].rstrip("\n").count("\n") + 1 - last
    if more > 0:
        rest.append(el("p", f"… {plural(more, 'more line')}", class_="note"))
    code = el("div", el("div", rows, class_="lines"), class_="code")
    return el("div", _legend(shown, before), code, rest, class_="program")


def _legend(shown: list[Line], before: Attempt | None) -> Html | None:
    if before is None:
        return None
    added, removed = changed(shown)
    toggle = el("label", el("input", type="checkbox", checked=True), "show what was removed") if removed else None
    counts = [el("b", f"+{added}", class_="plus"), el("b", f"−{removed}", class_="minus")]
    since = f"since attempt {before['number']}"
    return el("div", el("span", counts, since if added or removed else f"unchanged {since}"), toggle, class_="legend")


def _row(line: Line, calls: int, *, bad: bool) -> Html:
    sign = {"same": " ", "added": "+", "removed": "−"}[line.kind]
    return el(
        "div",
        el("span", str(line.number or ""), class_="number"),
        el("span", sign, class_="sign"),
        el("code", line.code or " "),
        el("span", plural(calls, "call"), class_="count") if calls else None,
        class_=f"line {line.kind}{' wrong' if bad else ''}",
    )


def _note(text: str) -> Html:
    return el("p", text, class_="wrongly")


def _notes(attempt: Attempt) -> dict[int | None, list[str]]:
    """What is to be said of which line: the findings of the check, and the error that ended the program."""
    notes: dict[int | None, list[str]] = {}
    for finding in attempt["findings"]:
        notes.setdefault(finding["line"], []).append(f"{finding['rule']}: {finding['message']}")
    failure = attempt["failure"]
    if failure is not None and failure["kind"] != "check":
        notes.setdefault(failure["line"], []).append(f"{failure['type']}: {failure['message']}")
    return notes
