"""A run as HTML: a fragment for notebooks, a page of its own."""

from functools import cache
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING

from codemode_graph.state import Attempt
from codemode_graph.trace.calls import calls
from codemode_graph.trace.markup import Child, Html, el, text
from codemode_graph.trace.program import program
from codemode_graph.trace.values import Values
from codemode_graph.trace.words import amount, answered, plural, result, seconds

if TYPE_CHECKING:
    from codemode_graph.trace.trace import Trace

__all__ = ["fragment", "page"]

_MAX_ATTEMPTS = 30


def page(trace: "Trace") -> str:
    """Make a page that needs nothing else, and may load and run nothing."""
    title = text(f"{trace.task[:80] or 'A program'} · codemode-graph")
    return Template(_file("page.html")).substitute(title=title, style=_file("style.css"), run=_run(trace))


def fragment(trace: "Trace") -> str:
    """Make what a notebook shows: the page's content with its style."""
    return f"<style>{_file('style.css')}</style>{_run(trace)}"


@cache
def _file(name: str) -> str:
    return files("codemode_graph.trace").joinpath(name).read_text(encoding="utf-8")


def _run(trace: "Trace") -> Html:
    values = Values()
    shown = trace.attempts[-_MAX_ATTEMPTS:]
    left = len(trace.attempts) - len(shown)
    befores: list[Attempt | None] = [trace.attempts[left - 1] if left else None, *shown]
    return el(
        "article",
        _head(trace, values),
        _answer(trace, values),
        el("p", f"{plural(left, 'earlier attempt')} left out", class_="note") if left else None,
        [_attempt(trace, attempt, before, values) for attempt, before in zip(shown, befores, strict=False)],
        _models(trace),
        class_="codemode-run",
    )


def _head(trace: "Trace", values: Values) -> Html:
    tone, said = result(trace.verdict, waits=bool(trace.pending))
    title = el("h1", trace.task) if len(trace.task) <= 300 else [el("h1", f"{trace.task[:300]}…"), _task(trace, values)]
    return el(
        "header",
        el("p", el("span", "codemode-graph", class_="mark"), el("span", said, class_=f"chip big {tone}"), class_="top"),
        title if trace.task.strip() else el("h1", "A program that was given"),
        el("dl", [el("div", el("dt", name), el("dd", told)) for name, told in _facts(trace)]),
    )


def _task(trace: "Trace", values: Values) -> Html:
    return el("details", el("summary", el("span", "the whole task")), values.words(trace.task), class_="fold")


def _facts(trace: "Trace") -> list[tuple[str, Child]]:
    read, written = (sum(call[key] for call in trace.usage) for key in ("input_tokens", "output_tokens"))
    again = sum(answered(call, attempt) for attempt in trace.attempts for call in trace.made(attempt))
    ran = [attempt for attempt in trace.attempts if attempt["sandbox"] is not None]
    facts: list[tuple[str, Child]] = [
        ("Attempts", str(len(trace.attempts))),
        ("Tool calls", [str(len(trace.calls)), el("small", f"+ {again} from the journal") if again else None]),
    ]
    if trace.usage:
        facts.append(("Tokens", [f"{read + written:,}", el("small", f"{read:,} in, {written:,} out")]))
    if trace.cost is not None:
        facts.append(("Cost", amount(trace.cost)))
    if trace.usage:
        facts.append(("Model", seconds(sum(call["seconds"] for call in trace.usage))))
    if ran:
        places = ", ".join(dict.fromkeys(str(attempt["sandbox"]) for attempt in ran))
        facts.append(("Sandbox", [seconds(sum(attempt["seconds"] for attempt in ran)), el("small", places)]))
    return facts


def _answer(trace: "Trace", values: Values) -> Html | None:
    if trace.verdict == "ok":
        return el("section", el("h2", "Answer"), values.show(trace.output, limit=60_000), class_="answer")
    if trace.error is None:
        return None
    error = trace.error
    where = f"line {error['line']}: " if error["line"] else ""
    told = f"{where}{error['type']}: {error['message']}"
    return el("section", el("h2", "No answer"), el("pre", told[:8_000], class_="error"), class_="answer")


def _attempt(trace: "Trace", attempt: Attempt, before: Attempt | None, values: Values) -> Html:
    last = attempt is trace.attempts[-1]
    made, pending = trace.made(attempt), trace.pending if last else []
    tone, said = result(attempt["verdict"], attempt, waits=bool(pending))
    ran = f"{seconds(attempt['seconds'])} in {attempt['sandbox']}" if attempt["sandbox"] else "did not run"
    return el(
        "section",
        el(
            "h2",
            el("span", f"Attempt {attempt['number']}"),
            el("span", said, class_=f"chip {tone}"),
            el("small", ran),
        ),
        el("blockquote", values.words(attempt["thoughts"], limit=4_000)) if attempt["thoughts"].strip() else None,
        el("ul", [el("li", fix) for fix in attempt["fixes"][:50]], class_="fixes") if attempt["fixes"] else None,
        program(attempt, before, made),
        _traceback(attempt, values),
        calls(attempt, made, pending, decisions=trace.decisions, values=values),
        _stdout(attempt, values),
        class_="attempt",
    )


def _traceback(attempt: Attempt, values: Values) -> Html | None:
    failure = attempt["failure"]
    if failure is None or not failure["traceback"].strip():
        return None
    shown = values.words(failure["traceback"], limit=8_000)
    return el("details", el("summary", el("span", "Traceback")), shown, class_="fold")


def _stdout(attempt: Attempt, values: Values) -> Html | None:
    if not attempt["stdout"]:
        return None
    return el("div", el("h3", "Printed"), values.words(attempt["stdout"]), class_="stdout")


def _models(trace: "Trace") -> Html | None:
    if not trace.usage:
        return None
    rows = [
        el("tr", el("td", f"Attempt {call['attempt']}"), el("td", call["model"]), [el("td", each) for each in told])
        for call in trace.usage
        if (told := [f"{call['input_tokens']:,}", f"{call['output_tokens']:,}", seconds(call["seconds"])])
    ]
    heads = ("", "Model", "Tokens in", "Tokens out", "Time")
    table = el("table", el("thead", el("tr", [el("th", head) for head in heads])), el("tbody", rows))
    return el("section", el("h2", "Model"), el("div", table, class_="wide"), class_="models")
