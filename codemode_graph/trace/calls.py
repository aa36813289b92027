"""The calls of an attempt on a page: when they were made, of what, and what they gave."""

from collections import Counter
from collections.abc import Mapping

from codemode_graph.preview import sample
from codemode_graph.state import Attempt, Decision, PendingCall, ToolCall
from codemode_graph.trace.markup import Child, Html, el
from codemode_graph.trace.timeline import Bar, Timeline, timeline
from codemode_graph.trace.values import Values
from codemode_graph.trace.words import NEVER_MADE, Mark, answered, mark, plural, reason, seconds

__all__ = ["calls"]

_MAX_ROWS = 250


def calls(
    attempt: Attempt,
    made: list[ToolCall],
    pending: list[PendingCall],
    *,
    decisions: Mapping[str, Decision],
    values: Values,
) -> Html | None:
    """Show an attempt's calls, one a row, on one scale of time.

    Args:
        attempt: The attempt.
        made: Its calls, those answered from the journal included.
        pending: Those that wait for a person.
        decisions: What people decided.
        values: Shows arguments and values.
    """
    if not made and not pending:
        return None
    rows = made[:_MAX_ROWS]
    timed = [call for call in rows if not answered(call, attempt) and call["status"] not in NEVER_MADE]
    drawn = timeline([(call["started"], call["seconds"]) for call in timed])
    bars = {id(call): bar for call, bar in zip(timed, drawn.bars, strict=True)}
    return el(
        "div",
        _ruler(len(made), drawn),
        [_call(call, mark(call, attempt, decisions), bars.get(id(call)), drawn, values) for call in rows],
        _rest(made[_MAX_ROWS:]),
        [_waiting(call, values) for call in pending],
        class_="calls",
    )


def _ruler(count: int, drawn: Timeline) -> Html:
    gaps = [el("span", f"{seconds(gap.seconds)}", class_="gap", style=_at(gap.start, gap.width)) for gap in drawn.gaps]
    scale = el("span", el("span", "0"), gaps, el("span", seconds(drawn.seconds)), class_="scale")
    return el("div", el("b", plural(count, "tool call")), scale if drawn.bars else None, class_="ruler")


def _call(call: ToolCall, said: Mark, bar: Bar | None, drawn: Timeline, values: Values) -> Html:
    tone, text = said
    line = f"line {call['line']}" if call["line"] else None
    summary = el(
        "summary",
        el("span", el("b", call["tool"]), el("span", f"({_arguments(call['arguments'])})"), class_="name"),
        el("span", text, class_=f"chip {tone}"),
        el("span", _bar(bar, tone, drawn), class_="track"),
        el("span", seconds(call["seconds"]) if bar is not None else "", class_="time"),
    )
    error = call["error"]
    facts = [f"call {call['id']}", line, call["effect"]]
    return el(
        "details",
        summary,
        el(
            "div",
            el("p", " · ".join(fact for fact in facts if fact), class_="note"),
            _named("Arguments", values.show(call["arguments"], limit=6_000)),
            _named("Error", el("pre", f"{error['type']}: {error['message']}", class_="error")) if error else None,
            _named("Value", values.show(call["value"], limit=6_000))
            if call["status"] == "done" and not error
            else None,
            class_="inside",
        ),
        class_="call",
    )


def _waiting(call: PendingCall, values: Values) -> Html:
    question = call.get("question")
    summary = el(
        "summary",
        el("span", el("b", call["tool"]), el("span", f"({_arguments(call['arguments'])})"), class_="name"),
        el("span", reason(call), class_="chip wait"),
    )
    inside = [
        el("p", f"call {call['id']}" + (f" · line {call['line']}" if call["line"] else ""), class_="note"),
        _named("Arguments", values.show(call["arguments"], limit=6_000)),
        _named("Question", values.show(question["value"], limit=6_000)) if question else None,
    ]
    return el("details", summary, el("div", inside, class_="inside"), class_="call")


def _rest(left: list[ToolCall]) -> Html | None:
    if not left:
        return None
    counts = Counter((call["tool"], call["status"]) for call in left).most_common(20)
    kinds = ", ".join(f"{tool} {status} × {count:,}" for (tool, status), count in counts)
    return el("p", f"… {plural(len(left), 'more call')}: {kinds}", class_="note")


def _bar(bar: Bar | None, tone: str, drawn: Timeline) -> Child:
    if bar is None:
        return None
    gaps = [el("i", class_="gap", style=_at(gap.start, gap.width)) for gap in drawn.gaps]
    return [gaps, el("i", class_=f"bar {tone}", style=_at(bar.start, bar.width))]


def _at(start: float, width: float) -> str:
    return f"--at:{start:.2f}%;--long:{width:.2f}%"


def _named(name: str, shown: Html) -> Html:
    return el("section", el("h4", name), shown)


def _arguments(arguments: Mapping[str, object]) -> str:
    told = ", ".join(f"{name}={sample(value, limit=60)}" for name, value in list(arguments.items())[:8])
    return told if len(told) <= 160 else f"{told[:160]}…"
