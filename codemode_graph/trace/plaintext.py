"""A run as text, for a terminal."""

import io
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from codemode_graph.preview import sample
from codemode_graph.state import Attempt
from codemode_graph.tools.text import one_line
from codemode_graph.trace import words
from codemode_graph.trace.console import visible
from codemode_graph.trace.run_data import RunData
from codemode_graph.trace.timeline import Bar, call_timeline, group_alike, most_important, union

_STYLES: dict[words.Tone, str] = {
    "good": "green",
    "journal": "cyan",
    "person": "magenta",
    "wait": "yellow",
    "bad": "red",
}
_TRACK = 16
_MAX_CALLS = 40
_MAX_LINES = 1_500


def plain(run: RunData, *, width: int = 100) -> str:
    """Return a run as plain text, at most `width` columns wide."""
    # Every setting is explicit: the text must not depend on the terminal, or on variables such as FORCE_COLOR.
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None, legacy_windows=False)
    console.print(renderable(run))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def text_table(headings: Sequence[str | Column], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Return a table of texts for a rich console. A long text breaks into lines, unless its `Column` says otherwise."""
    columns = [Column(each, overflow="fold") if isinstance(each, str) else each for each in headings]
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(visible(cell)) if isinstance(cell, str) else cell for cell in row))
    return table


def renderable(run: RunData) -> RenderableType:
    """Return a run as an object that a rich console can print."""
    parts: list[RenderableType] = [_head(run)]
    for attempt in run.attempts:
        parts += ["", *_attempt(run, attempt)]
    if remarks := run.remarks():
        lines = [
            f"{word}: {one_line(visible(words.describe_remark(call)), 300)}" for word, call in remarks[:_MAX_CALLS]
        ]
        parts += ["", *(Text(line, style="yellow") for line in lines)]
        if len(remarks) > len(lines):
            parts.append(Text(f"… {words.plural(len(remarks) - len(lines), 'more call')}", style="dim"))
    if run.verdict == "ok":
        answer = run.output if isinstance(run.output, str) else sample(run.output, limit=2_000)
        parts += ["", Text.assemble(("Answer  ", "bold"), visible(answer[:2_000]))]
    elif run.error is not None:
        reason = f"{words.at_line(run.error['line'])}{run.error['message']}"
        parts += ["", Text.assemble(("No answer  ", "bold red"), visible(reason[:2_000]))]
    return Group(*parts)


def _head(run: RunData) -> Text:
    tone, word = words.describe_result(run.verdict, waits=bool(run.pending))
    facts = [words.plural(len(run.attempts), "attempt"), words.plural(len(run.calls), "tool call")]
    if run.usage:
        facts.append(words.plural(sum(call["total_tokens"] for call in run.usage), "token"))
    if run.cost is not None:
        facts.append(f"cost {words.format_cost(run.cost)}")
    title = Text(one_line(visible(run.task), 300) or "A program that was given", style="bold")
    return Text.assemble(title, "\n", (word, _STYLES[tone]), (f" · {' · '.join(facts)}", "dim"))


def _attempt(run: RunData, attempt: Attempt) -> list[RenderableType]:
    pending = run.pending_of(attempt)
    tone, word = words.describe_result(attempt["verdict"], attempt, waits=bool(pending))
    ran = f" · {words.format_seconds(attempt['seconds'])} in {attempt['sandbox']}" if attempt["sandbox"] else ""
    parts: list[RenderableType] = [
        Text.assemble((f"Attempt {attempt['number']}  ", "bold"), (word, _STYLES[tone]), (visible(ran), "dim"))
    ]
    lines = attempt["program"].rstrip("\n").split("\n")[:_MAX_LINES]
    code = "\n".join(f"{number:>4}  {line}" for number, line in enumerate(lines, 1))
    parts.append(Text(visible(code), style="dim", no_wrap=True, overflow="ellipsis"))
    for finding in attempt["findings"]:
        parts.append(Text(visible(f"  ✗ {words.at_line(finding['line'])}{finding['message']}"), style="red"))
    failure = attempt["failure"]
    if failure is not None and failure["kind"] != "check":
        reason = f"{failure['type']}: {failure['message'][:2_000]}"
        parts.append(Text(visible(f"  ✗ {words.at_line(failure['line'])}{reason}"), style="red"))
    if attempt["calls"]:
        parts.append(Padding(_calls(run, attempt), (0, 0, 0, 2)))
    for waiting in pending[:_MAX_CALLS]:
        line = f"{waiting['tool']} {sample(waiting['arguments'], limit=80)} (call {waiting['id']})"
        parts.append(Text(visible(f"  ? {one_line(line, 200)} {words.describe_wait(waiting)}"), style="yellow"))
    if len(pending) > _MAX_CALLS:
        parts.append(Text(f"  … {words.plural(len(pending) - _MAX_CALLS, 'more call')}", style="dim"))
    if attempt["stdout"]:
        output = "".join(f"  | {line}\n" for line in attempt["stdout"][:2_000].splitlines())
        parts.append(Text(visible(output).rstrip()))
    return parts


def _calls(run: RunData, attempt: Attempt) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, min_width=3)
    # On a narrow terminal the texts break into lines; a column that may not break would push the others out.
    table.add_column(overflow="fold")
    table.add_column(overflow="fold", min_width=6)
    table.add_column(no_wrap=True, min_width=_TRACK)
    table.add_column(no_wrap=True, justify="right", min_width=6)
    calls = run.calls_of(attempt)
    _, bars = call_timeline(calls, attempt)
    rows = [
        (bar, call, words.describe_call(call, attempt, run.decisions)) for bar, call in zip(bars, calls, strict=True)
    ]
    groups = group_alike(rows, lambda row: (row[1]["tool"], row[1]["effect"], row[2]))
    places = most_important([group[0][1] for group in groups], _MAX_CALLS)
    for group in (group for place, group in enumerate(groups) if place in places):
        _, call, (tone, word) = group[0]
        bar, seconds = union([(bar, call) for bar, call, _ in group])
        many = f" × {len(group):,}" if len(group) > 1 else ""
        name = one_line(visible(f"{call['tool']}{many} {sample(call['arguments'], limit=80)}"), 36)
        track = Text(_track(bar) if bar else "", style=_STYLES[tone])
        time = Text(words.format_seconds(seconds) if bar else "", style="dim")
        table.add_row(Text(visible(call["id"])), Text(name), Text(word, style=_STYLES[tone]), track, time)
    if others := sum(len(group) for place, group in enumerate(groups) if place not in places):
        table.add_row("…", Text(words.plural(others, "more call"), style="dim"))
    return table


def _track(bar: Bar) -> str:
    """Draw a bar; even the shortest, at the very end, has one column."""
    start = min(int(bar.start * _TRACK / 100), _TRACK - 1)
    return " " * start + "━" * max(1, min(round(bar.width * _TRACK / 100), _TRACK - start))
