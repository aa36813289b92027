"""A run in a terminal."""

import io
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from codemode_graph.preview import sample
from codemode_graph.state import Attempt
from codemode_graph.tools.text import one_line
from codemode_graph.trace.console import visible
from codemode_graph.trace.source import MAX_LINES
from codemode_graph.trace.timeline import Bar, timeline
from codemode_graph.trace.words import NEVER_MADE, Tone, amount, answered, mark, plural, reason, result, seconds

if TYPE_CHECKING:
    from codemode_graph.trace.trace import Trace

__all__ = ["plain", "renderable"]

_STYLES: dict[Tone, str] = {"good": "green", "journal": "cyan", "person": "magenta", "wait": "yellow", "bad": "red"}
_TRACK = 16
_MAX_CALLS = 40


def plain(trace: "Trace", *, width: int = 100) -> str:
    """Show a run as text of so many columns."""
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None, legacy_windows=False)
    console.print(renderable(trace))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def renderable(trace: "Trace") -> RenderableType:
    """Show a run on a rich console."""
    parts: list[RenderableType] = [_head(trace)]
    for attempt in trace.attempts:
        parts += ["", *_attempt(trace, attempt)]
    if trace.verdict == "ok":
        told = trace.output if isinstance(trace.output, str) else sample(trace.output, limit=2_000)
        parts += ["", Text.assemble(("Answer  ", "bold"), visible(told[:2_000]))]
    elif trace.error is not None:
        parts += ["", Text.assemble(("No answer  ", "bold red"), visible(trace.error["message"][:2_000]))]
    return Group(*parts)


def _head(trace: "Trace") -> Text:
    tone, said = result(trace.verdict, waits=bool(trace.pending))
    facts = [plural(len(trace.attempts), "attempt"), plural(len(trace.calls), "tool call")]
    if trace.usage:
        facts.append(plural(sum(call["total_tokens"] for call in trace.usage), "token"))
    if trace.cost is not None:
        facts.append(f"cost {amount(trace.cost)}")
    title = Text(one_line(visible(trace.task), 300) or "A program that was given", style="bold")
    return Text.assemble(title, "\n", (said, _STYLES[tone]), (f" · {' · '.join(facts)}", "dim"))


def _attempt(trace: "Trace", attempt: Attempt) -> list[RenderableType]:
    last = attempt is trace.attempts[-1]
    tone, said = result(attempt["verdict"], attempt, waits=last and bool(trace.pending))
    ran = f" · {seconds(attempt['seconds'])} in {attempt['sandbox']}" if attempt["sandbox"] else ""
    parts: list[RenderableType] = [
        Text.assemble((f"Attempt {attempt['number']}  ", "bold"), (said, _STYLES[tone]), (visible(ran), "dim"))
    ]
    code = [
        f"{number:>4}  {line}" for number, line in enumerate(attempt["program"].rstrip("\n").split("\n")[:MAX_LINES], 1)
    ]
    parts.append(Text(visible("\n".join(code)), style="dim", no_wrap=True, overflow="ellipsis"))
    for finding in attempt["findings"]:
        where = f"line {finding['line']}: " if finding["line"] else ""
        parts.append(Text(visible(f"  ✗ {where}{finding['message']}"), style="red"))
    failure = attempt["failure"]
    if failure is not None and failure["kind"] != "check":
        where = f"line {failure['line']}: " if failure["line"] else ""
        parts.append(Text(visible(f"  ✗ {where}{failure['type']}: {failure['message'][:2_000]}"), style="red"))
    if attempt["calls"] or (last and trace.pending):
        parts.append(Padding(_calls(trace, attempt, last=last), (0, 0, 0, 2)))
    if attempt["stdout"]:
        parts.append(
            Text(visible("".join(f"  | {line}\n" for line in attempt["stdout"][:2_000].splitlines())).rstrip())
        )
    return parts


def _calls(trace: "Trace", attempt: Attempt, *, last: bool) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, min_width=3)
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(no_wrap=True, min_width=6)
    table.add_column(no_wrap=True, min_width=_TRACK)
    table.add_column(no_wrap=True, justify="right", min_width=6)
    made = trace.made(attempt)
    rows = made[:_MAX_CALLS]
    timed = [call for call in rows if not answered(call, attempt) and call["status"] not in NEVER_MADE]
    bars = timeline([(call["started"], call["seconds"]) for call in timed]).bars
    tracks = {id(call): _track(bar) for call, bar in zip(timed, bars, strict=True)}
    for call in rows:
        tone, said = mark(call, attempt, trace.decisions)
        name = Text(one_line(visible(f"{call['tool']} {sample(call['arguments'], limit=80)}"), 36))
        track = Text(tracks.get(id(call), ""), style=_STYLES[tone])
        time = Text(seconds(call["seconds"]) if id(call) in tracks else "", style="dim")
        table.add_row(Text(visible(call["id"])), name, Text(said, style=_STYLES[tone]), track, time)
    if len(made) > len(rows):
        table.add_row("…", Text(plural(len(made) - len(rows), "more call"), style="dim"))
    for waiting in trace.pending if last else ():
        name = Text(one_line(visible(f"{waiting['tool']} {sample(waiting['arguments'], limit=80)}"), 36))
        table.add_row(Text(visible(waiting["id"])), name, Text(reason(waiting), style="yellow"))
    return table


def _track(bar: Bar) -> str:
    start = min(int(bar.start * _TRACK / 100), _TRACK - 1)
    return " " * start + "━" * max(1, min(round(bar.width * _TRACK / 100), _TRACK - start))
