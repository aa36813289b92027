"""`codemode-graph eval`: run a file of tasks, show what came of each, and write the report."""

import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import typer
from rich.console import Console

from codemode_graph.api import codemode
from codemode_graph.cli.flags import UNWRITTEN
from codemode_graph.cli.invocation import Invocation, import_object, load_specs
from codemode_graph.cli.run import Output, check_places, refuse, refusing, run_async, save_page
from codemode_graph.evaluation.evaluate import Evaluation, TaskOutcome, evaluate
from codemode_graph.evaluation.report_page import report_table, save_report
from codemode_graph.evaluation.task_file import TaskSet, load_tasks
from codemode_graph.tools.text import suggest
from codemode_graph.trace.console import say
from codemode_graph.trace.words import format_seconds

_MARKS = {"solved": "✓", "repaired": "✓", "silently wrong": "✗", "failed": "✗", "not judged": "–"}


def eval_tasks(path: Path, invocation: Invocation, output: Output, *, only: Sequence[str], repeat: int) -> None:
    """Run the tasks of a file, print what came of them, write the report, and exit with the status that says it.

    Args:
        path: The file of tasks.
        invocation: The tools, the model, the sandbox and the bounds.
        output: The form in which the outcomes are shown.
        only: Names of the tasks to run; by default all.
        repeat: How often each is run.
    """
    html, quiet = output.html, output.quiet
    check_places(output)
    if html is not None and html.resolve() == path.resolve():
        refuse(f"--html {html}: that is the file of tasks, which the report would replace")
    with refusing():
        tasks = load_tasks(path, resolve=partial(import_object, place=str(path)))
    known = [task.name for task in tasks.tasks]
    if unknown := [name for name in only if name not in known]:
        refuse(f"--only {unknown[0]}: {path} has no such task; {suggest(unknown[0], known) or ', '.join(known)}")
    # Tools of the command line come beside those that the file names.
    invocation = replace(
        invocation,
        tools=[*tasks.tools, *(each for each in invocation.tools if each not in tasks.tools)],
        mcp=[*map(str, tasks.mcp), *invocation.mcp],
    )
    evaluation = run_async(_evaluate(tasks, invocation, only=only, repeat=repeat, quiet=quiet))
    save = partial(save_report, evaluation, title=path.name, model=str(invocation.model))
    written = save_page(save, html, what="report", quiet=quiet)
    if output.as_json:
        print(json.dumps({"model": invocation.model, **evaluation.to_json()}, indent=2, default=str))
    else:
        Console().print(report_table(evaluation))
        print(", ".join(f"{count} {word}" for word, count in evaluation.counts.items()))
    if not evaluation.right:
        raise typer.Exit(1)
    if not written:
        raise typer.Exit(UNWRITTEN)


async def _evaluate(
    tasks: TaskSet, invocation: Invocation, *, only: Sequence[str], repeat: int, quiet: bool
) -> Evaluation:
    model, options = invocation.load()
    console = Console(stderr=True)

    def watch(outcome: TaskOutcome) -> None:
        judged = outcome.judgement
        text = f"{outcome.task.name}: {judged.outcome}, {format_seconds(outcome.seconds)}"
        say(console, f"{text}{'; ' + judged.reason if judged.reason else ''}", prefix=f"{_MARKS[judged.outcome]} ")

    async with AsyncExitStack() as stack:
        specs = await load_specs(stack, invocation.mcp, invocation.tools)
        cm = await stack.enter_async_context(codemode(tools=specs, code_model=model, **options))
        return await evaluate(tasks, cm, only=only, repeat=repeat, watch=None if quiet else watch)
