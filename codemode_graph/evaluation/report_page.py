"""The report of an evaluation: a page without scripts, beside it the page of each run; and the same for a terminal."""

from datetime import datetime
from pathlib import Path
from typing import Any

from rich.table import Column, Table
from rich.text import Text

from codemode_graph.evaluation.evaluate import Evaluation, TaskOutcome
from codemode_graph.trace.html import ValueRoom, highlight, render
from codemode_graph.trace.plaintext import text_table
from codemode_graph.trace.words import format_seconds

_CHIPS = {"solved": "good", "repaired": "good", "silently wrong": "bad", "failed": "bad", "not judged": "wait"}
_COLOURS = {"good": "green", "bad": "red", "wait": "yellow"}
_PROGRAMS = 20_000  # characters of a program on the page; the run's own page has all of it


def report_page(evaluation: Evaluation, *, title: str, model: str = "", pages: str = "") -> str:
    """Return the report as one page that needs no other file and no script.

    Args:
        evaluation: The evaluation.
        title: The name of the file of tasks.
        model: Who wrote the programs.
        pages: The folder of the runs' pages, relative to the report; empty where there is none.
    """
    totals = evaluation.to_json()
    return render(
        "evaluation.html",
        title=title,
        model=model,
        date=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        counts=[(word, count, _CHIPS[word]) for word, count in evaluation.counts.items()],
        effects=evaluation.wrong_effects,
        totals=totals,
        rows=[_row(number, each, pages) for number, each in enumerate(evaluation.outcomes, 1)],
        room=ValueRoom(),
    )


def _row(number: int, outcome: TaskOutcome, pages: str) -> dict[str, Any]:
    result = outcome.result
    programs = [] if result is None else [attempt["program"][:_PROGRAMS] for attempt in result["attempts"]]
    return {
        "outcome": outcome,
        "chip": _CHIPS[outcome.judgement.outcome],
        "programs": [highlight(program) for program in programs],
        "page": f"{pages}/{page_name(number, outcome)}" if pages and result is not None else "",
        "judged": [
            (word, [str(call) for call in getattr(outcome.judgement, word)])
            for word in ("missing", "repeated", "unexpected")
            if getattr(outcome.judgement, word)
        ],
    }


def page_name(number: int, outcome: TaskOutcome) -> str:
    """Return the name of the page of a run: its number in the report, and the task's name as any file system takes it."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in outcome.task.name)[:60]
    return f"{number:03}-{plain}.html"


def save_report(evaluation: Evaluation, path: Path, *, title: str, model: str = "") -> None:
    """Write the report, and the page of each run into a folder beside it.

    Args:
        evaluation: The evaluation.
        path: The file of the report; the folder has its name and `-runs`.
        title: The name of the file of tasks.
        model: Who wrote the programs.

    Raises:
        OSError: A file cannot be written.
    """
    folder = path.with_name(f"{path.stem}-runs")
    folder.mkdir(exist_ok=True)
    for number, each in enumerate(evaluation.outcomes, 1):
        if each.result is not None:
            each.result.trace.save(folder / page_name(number, each))
    path.write_text(report_page(evaluation, title=title, model=model, pages=folder.name), encoding="utf-8")


def report_table(evaluation: Evaluation) -> Table:
    """Return the report for a terminal."""
    numbers = [Column(heading, justify="right") for heading in ("Programs", "Calls", "Tokens", "Time")]
    rows = []
    for each in evaluation.outcomes:
        outcome = Text(each.judgement.outcome, style=_COLOURS[_CHIPS[each.judgement.outcome]])
        used = (str(each.programs), str(each.calls), f"{sum(each.tokens):,}", format_seconds(each.seconds))
        rows.append((each.task.name, outcome, *used, each.judgement.reason))
    return text_table(["Task", Column("Outcome"), *numbers, "Why"], rows)
