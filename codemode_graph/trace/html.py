"""A run as HTML: a fragment for notebooks, and a page of its own.

The markup is in `templates/`; this module prepares the data for it. A page is safe because no value is ever markup:
Jinja2 escapes every value, and `_text` first turns it into a plain string.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, TypeAlias

from jinja2 import Environment, PackageLoader, StrictUndefined
from pygments.lexer import Lexer
from pygments.lexers.data import JsonLexer
from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String

from codemode_graph.calls.values import is_reference
from codemode_graph.preview import sample, shape
from codemode_graph.state import Attempt, ToolCall
from codemode_graph.trace import words
from codemode_graph.trace.console import visible
from codemode_graph.trace.run_data import RunData
from codemode_graph.trace.timeline import Bar, Gap, call_timeline, group_alike, most_important, union

# Bounds of a page: a browser still opens one that reaches all of them.
_MAX_ATTEMPTS = 30
_MAX_CALLS = 250
_MAX_LINES = 1_500
_MAX_CHARACTERS = 60_000
_MAX_VALUES = 2_000_000
_MAX_HIGHLIGHTED = 6_000
_JSON_COLUMNS = 84

_CLASSES: dict[tuple[str, ...], str] = {
    **{Comment: "c", Number: "n", String: "s", String.Interpol: "i"},
    **dict.fromkeys((Keyword, Operator.Word), "k"),
    **dict.fromkeys((Name.Builtin, Name.Exception), "b"),
    **dict.fromkeys((Name.Function, Name.Class, Name.Decorator, Name.Tag), "f"),
}

Pieces: TypeAlias = list[tuple[str, str]]
"""Pieces of code in order, each with its CSS class, which is empty for plain text."""


def page(run: RunData) -> str:
    """Return a page that needs no other file, and whose security policy lets it load and run nothing."""
    return render("page.html", title=run.task[:80] or "A program", **_context(run))


def fragment(run: RunData) -> str:
    """Return the content of the page with its style, for a notebook."""
    return render("fragment.html", **_context(run))


def render(template: str, **context: Any) -> str:
    """Render a template of this package."""
    rendered: str = environment().get_template(template).render(context)
    return rendered


@cache
def environment() -> Environment:
    """Return the environment of the templates.

    Templates include and extend one another and define no macros: Jinja2 returns the text of a macro as a value, and
    `finalize` makes plain text of every value.
    """
    templates = Environment(
        loader=PackageLoader("codemode_graph.trace"),
        autoescape=True,
        finalize=_text,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        plural=words.plural, seconds=words.format_seconds, cost=words.format_cost, at_line=words.at_line, place=_place
    )
    templates.filters["moment"] = words.format_moment
    return templates


def _text(value: object) -> str:
    # The detour by bytes makes a plain `str` of subclasses, such as a `Markup` that a tool returned and that Jinja2 would
    # not escape, and writes out lone surrogates, which no file in UTF-8 can hold.
    return visible(str(value)).encode("utf-8", "backslashreplace").decode()


def _context(run: RunData) -> dict[str, Any]:
    attempts = run.attempts[-_MAX_ATTEMPTS:]
    omitted = len(run.attempts) - len(attempts)
    # Each attempt is compared with the one before it, the first that is shown with the last that is left out.
    before: list[Attempt | None] = [run.attempts[omitted - 1] if omitted else None, *attempts]
    calls = [(call, attempt) for attempt in run.attempts for call in run.calls_of(attempt)]
    shown = [_attempt(run, *pair) for pair in zip(attempts, before, strict=False)]
    rows = {
        (attempt["data"]["number"], row.call["id"]): row
        for attempt in shown
        for row in attempt["rows"]
        if not words.is_replayed(row.call, attempt["data"])
    }
    failed = [row for attempt in shown for row in attempt["failed"]]
    ran = [attempt for attempt in run.attempts if attempt["sandbox"] is not None]
    return {
        "run": run,
        "room": ValueRoom(),
        "result": words.describe_result(run.verdict, waits=bool(run.pending)),
        "replayed": sum(words.is_replayed(call, attempt) for call, attempt in calls),
        "model_seconds": sum(call["seconds"] for call in run.usage),
        "sandbox_seconds": sum(attempt["seconds"] for attempt in ran),
        "sandboxes": ", ".join(dict.fromkeys(str(attempt["sandbox"]) for attempt in ran)),
        "version": _version(),
        "reads": sum(call["effect"] == "read" for call in run.calls),
        "failed": failed,
        "effects": _effects(run, rows),
        "left_out": omitted,
        "remarks": [(word, words.describe_remark(call)) for word, call in run.remarks()[:_MAX_CALLS]],
        "attempts": shown,
    }


@cache
def _version() -> str:
    try:
        return version("codemode-graph")
    except PackageNotFoundError:  # it runs from a checkout that is not installed
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A call as an attempt shows it.

    Attributes:
        call: The call.
        anchor: The name of its place on the page.
        signature: Its arguments, shortened.
        effect: The CSS class and the word for what it does to the world.
        mark: What came of it.
        bar: Its place on the scale of time; None where no tool ran.
    """

    call: ToolCall
    anchor: str
    signature: str
    effect: words.Mark
    mark: words.Mark
    bar: Bar | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Calls that are alike: of one tool, with the same effect and outcome. It looks like a row, and opens to all of them.

    Attributes:
        rows: The calls.
        bar: Their place on the scale of time, from the first start to the last end; None where no tool ran.
        seconds: The length of that bar, in seconds.
    """

    rows: list[Row]
    bar: Bar | None
    seconds: float

    @property
    def first(self) -> Row:
        """The first of the calls."""
        return self.rows[0]

    @property
    def last(self) -> Row:
        """The last of the calls."""
        return self.rows[-1]


def _group(rows: Sequence[Row]) -> list[Row | Group]:
    """Return the rows in their order, with those of many that are alike as one group, where the first of them stood."""

    def kind(row: Row) -> Hashable:
        error = row.call["error"]
        return row.call["tool"], row.effect, row.mark, None if error is None else (error["type"], error["message"])

    shown: list[Row | Group] = []
    for alike in group_alike(rows, kind):
        bar, seconds = union([(row.bar, row.call) for row in alike])
        shown.append(alike[0] if len(alike) == 1 else Group(rows=alike, bar=bar, seconds=seconds))
    return shown


def _effects(run: RunData, rows: Mapping[tuple[int, str], Row]) -> list[dict[str, Any]]:
    """Return what took effect, with the place of each call on the page; many calls that are alike are one entry."""
    found = []
    for alike in group_alike(run.effects(), lambda each: (each[0], each[1]["tool"])):
        word, call = alike[0]
        row = rows.get((call["attempt"], call["id"]))
        found.append(
            {
                "word": word,
                "call": call,
                "effect": words.describe_effect(call["effect"]),
                "signature": _signature(call["arguments"]),
                "count": len(alike),
                "anchor": None if row is None else row.anchor,
            }
        )
    return found[:_MAX_CALLS]


def _attempt(run: RunData, attempt: Attempt, before: Attempt | None) -> dict[str, Any]:
    calls, pending = run.calls_of(attempt), run.pending_of(attempt)
    places = most_important(calls, _MAX_CALLS)
    visible, others = ([call for n, call in enumerate(calls) if (n in places) is shown] for shown in (True, False))
    timeline, bars = call_timeline(visible, attempt)
    more = Counter((call["tool"], call["status"]) for call in others).most_common(20)
    # Two runs can stand in one notebook, so the names of places on the page begin with the run's own.
    key = hashlib.sha256(f"{run.run_id} {run.started} {run.task}".encode("utf-8", "backslashreplace")).hexdigest()[:8]
    rows = [
        Row(
            call=call,
            anchor=f"codemode-{key}-{attempt['number']:d}-{place}",
            signature=_signature(call["arguments"]),
            effect=words.describe_effect(call["effect"]),
            mark=words.describe_call(call, attempt, run.decisions),
            bar=bar,
        )
        for place, (call, bar) in enumerate(zip(visible, bars, strict=True), 1)
    ]
    prompt = next((each for each in run.prompts if each["attempt"] == attempt["number"]), None)
    return {
        "data": attempt,
        "result": words.describe_result(attempt["verdict"], attempt, waits=bool(pending)),
        "program": _program(attempt, before, calls),
        "before": before,
        "prompt": prompt,
        "calls": len(calls),
        "timeline": timeline,
        "rows": rows,
        "grouped": _group(rows),
        "failed": [row for row in rows if row.mark[0] == "bad" and row.call["status"] in ("failed", "done")],
        "left_out": len(others),
        "more": ", ".join(f"{tool} {status} × {count:,}" for (tool, status), count in more),
        "pending": [(call, _signature(call["arguments"]), words.describe_wait(call)) for call in pending],
    }


def _place(span: Bar | Gap) -> str:
    return f"--at:{span.start:.2f}%;--long:{span.width:.2f}%"


def _signature(arguments: Mapping[str, object]) -> str:
    text = ", ".join(f"{name}={sample(value, limit=60)}" for name, value in list(arguments.items())[:8])
    return text if len(text) <= 160 else f"{text[:160]}…"


def _program(attempt: Attempt, before: Attempt | None, calls: list[ToolCall]) -> dict[str, Any]:
    lines = diff_lines(attempt["program"], None if before is None else before["program"])
    notes: dict[int | None, list[str]] = {}
    for finding in attempt["findings"]:
        notes.setdefault(finding["line"], []).append(f"{finding['rule']}: {finding['message']}")
    failure = attempt["failure"]
    if failure is not None and failure["kind"] != "check":  # else it repeats the findings
        notes.setdefault(failure["line"], []).append(f"{failure['type']}: {failure['message']}")
    numbers = {line.number for line in lines if line.number}
    return {
        "lines": lines,
        "added": sum(line.kind == "added" for line in lines),
        "removed": sum(line.kind == "removed" for line in lines),
        "calls": Counter(call["line"] for call in calls if not words.is_replayed(call, attempt)),
        # Each note stands below its line; those of lines that are not shown come at the end.
        "notes": {number: notes.pop(number) for number in numbers & notes.keys()},
        "loose_notes": [text for texts in notes.values() for text in texts],
        "more": attempt["program"].rstrip("\n").count("\n") + 1 - len(numbers),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a program.

    Attributes:
        kind: "same" where the program before has it too, "added" where it is new, "removed" where it is gone.
        number: The line number, from 1; None for a removed line.
        code: The highlighted line.
    """

    kind: Literal["same", "added", "removed"]
    number: int | None
    code: Pieces


def diff_lines(program: str, before: str | None = None) -> list[Line]:
    """Return the lines of a program, and between them the lines that the program before had in their place.

    Args:
        program: The program. Lines beyond the bounds of a page are left out.
        before: The program before; None for the first.
    """
    new, new_code = _split_lines(program), highlight(program)
    if before is None:
        return [Line(kind="same", number=number, code=code) for number, code in enumerate(new_code, 1)]
    old, old_code = _split_lines(before), highlight(before)
    lines: list[Line] = []
    # The lines are compared as text: the same line can have other colours inside of an open string.
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new).get_opcodes():
        if tag != "equal":
            lines += [Line(kind="removed", number=None, code=code) for code in old_code[i1:i2]]
        kind: Literal["same", "added"] = "same" if tag == "equal" else "added"
        lines += [Line(kind=kind, number=number + 1, code=new_code[number]) for number in range(j1, j2)]
    return lines


def highlight(source: str, language: Literal["python", "json"] = "python") -> list[Pieces]:
    """Return the lines of a source text, with a CSS class on each piece: `k` keyword, `s` string, `c` comment and so on."""
    lines: list[Pieces] = [[]]
    for token, text in _lexer(language).get_tokens("\n".join(_split_lines(source))):
        for number, piece in enumerate(text.split("\n")):
            if number:
                lines.append([])
            if piece:
                lines[-1].append((_class_of(token), piece))
    return lines


def _split_lines(source: str) -> list[str]:
    text = source[:_MAX_CHARACTERS].replace("\r\n", "\n").replace("\r", "\n")
    return text.rstrip("\n").split("\n")[:_MAX_LINES]


@cache
def _lexer(language: str) -> Lexer:
    # Without these options Pygments drops empty lines at both ends, and line numbers would be wrong.
    return (PythonLexer if language == "python" else JsonLexer)(stripnl=False, ensurenl=False)


def _class_of(token: tuple[str, ...]) -> str:
    """Return the class of the nearest ancestor that has one: a token type is the path from the root of the types."""
    return next((name for length in range(len(token), 0, -1) if (name := _CLASSES.get(token[:length]))), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownValue:
    """A value as a page shows it.

    Attributes:
        code: The text, in pieces.
        lines: The number of its lines: a long text is behind a click.
        note: The size and shape, of which `code` is a sample; empty where `code` is the whole value.
        more: The number of characters that are left out at the end.
    """

    code: Pieces
    lines: int = 1
    note: str = ""
    more: int = 0


class ValueRoom:
    """The room for the values of one page, in characters: once it is used up, values are sampled.

    Args:
        size: Characters for all values.
    """

    def __init__(self, size: int = _MAX_VALUES) -> None:
        self._room = size

    def show(self, value: Any, *, limit: int = 16_000) -> ShownValue:
        """Return a JSON value indented, or its shape and a sample where it is too large.

        Args:
            value: The value, or a reference to a value outside the state.
            limit: Characters for this value.
        """
        if is_reference(value):
            place = f"{words.format_bytes(value['bytes'])}, kept outside the state"
            return self._show_sample(place, value["shape"], value["sample"])
        if isinstance(value, str):
            return self.show_text(value, limit=limit)
        size = len(json.dumps(value, ensure_ascii=False))
        if size > min(limit, self._room):
            text = sample(value, limit=min(2_000, self._least))
            return self._show_sample(f"{words.plural(size, 'character')}, here a sample", shape(value), text)
        text = _indented(value)
        self._room -= len(text)
        if len(text) > _MAX_HIGHLIGHTED:  # a span for each token would make a large value several times larger
            return ShownValue(code=[("", text)], lines=text.count("\n") + 1)
        lines = highlight(text, "json")
        return ShownValue(code=[piece for line in lines for piece in (*line, ("", "\n"))], lines=len(lines))

    def show_text(self, text: str, *, limit: int = 16_000) -> ShownValue:
        """Return a text as it is, without the end where it is too long."""
        start = text[: max(0, min(limit, self._room))]
        self._room -= len(start)
        return ShownValue(code=[("", start)], lines=start.count("\n") + 1, more=len(text) - len(start))

    @property
    def _least(self) -> int:
        """Characters that every value gets, so that the last ones of a full page are not blank."""
        return max(200, self._room)

    def _show_sample(self, size: str, form: str, text: str) -> ShownValue:
        most = min(2_000, self._least)
        form, text = (part if len(part) <= most else f"{part[:most]} …" for part in (form, text))
        self._room -= len(form) + len(text)
        return ShownValue(code=[("", text)], note=f"{size}. {form}")


def _indented(value: Any, indent: str = "") -> str:
    """Return a value as JSON; a list or object takes several lines only where one is too short for it."""
    line = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(line) <= _JSON_COLUMNS or not value or not isinstance(value, dict | list):
        return line
    inner = f"{indent}  "
    if isinstance(value, list):
        parts, ends = [_indented(item, inner) for item in value], "[]"
    else:
        parts = [f"{json.dumps(key, ensure_ascii=False)}: {_indented(item, inner)}" for key, item in value.items()]
        ends = "{}"
    between = f",\n{inner}"
    return f"{ends[0]}\n{inner}{between.join(parts)}\n{indent}{ends[1]}"
