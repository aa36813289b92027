"""The runs of the command line: where they are kept; list, show, resume and prune them."""

import json
import os
import re
import shlex
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import typer
from platformdirs import user_state_path
from rich.console import Console
from rich.table import Column

from codemode_graph.api import CodeMode, RunResult, codemode
from codemode_graph.cli.compare import show_comparison
from codemode_graph.cli.flags import UNWRITTEN
from codemode_graph.cli.invocation import Invocation
from codemode_graph.cli.run import (
    Output,
    check_places,
    compare_task,
    do_task,
    finish,
    refuse,
    run_async,
    save_artifacts,
    save_page,
)
from codemode_graph.exact import encode_fields
from codemode_graph.tools.text import one_line
from codemode_graph.trace.console import say
from codemode_graph.trace.plaintext import text_table
from codemode_graph.trace.progress import Progress

T = TypeVar("T")

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
# The key of a run's metadata that says how the command line began it.
_INVOCATION = "codemode-graph run"


def journal_place(journal: Path | None) -> Path:
    """Return the file of the runs: the one that is named, or one in the user's folder for state."""
    if journal is not None:
        return journal.absolute()
    try:
        place = user_state_path("codemode-graph") / "runs.sqlite"
    except RuntimeError:
        place = Path("~")
    if (
        not place.is_absolute()
    ):  # there is no HOME, and the user is in no list of users: older platformdirs do not raise
        refuse("there is no home folder to record runs in: give --journal FILE, or --no-journal to run without")
    return place


def run_task(invocation: Invocation, output: Output, *, compare: bool, journal: Path | None, no_journal: bool) -> None:
    """Run a task or a program, and print its answer, or the value that each sandbox returns for it.

    The run is recorded, but for `no_journal` and `compare`.
    """
    check_places(output)
    if compare:
        for option, place in (("--html", output.html), ("--artifacts", output.artifacts)):
            if place is not None:
                refuse(f"{option} shows one run, and --compare makes several: leave one of them out")
        show_comparison(run_async(compare_task(invocation, quiet=output.quiet)), as_json=output.as_json)
    place = None if no_journal else _place_to_record(journal)
    run_id = uuid.uuid4().hex[:12]
    resume = None if place is None else _command(run_id, journal)
    known: dict[str, Any] = {"run_id": run_id, "metadata": invocation_metadata(invocation)}

    async def begin(cm: CodeMode, verbose: bool | Progress) -> RunResult:
        if resume is not None and not output.quiet:
            say(Console(stderr=True), run_id, prefix="Run ", style="bold")
        if invocation.code is not None:
            return await cm.run_code(invocation.code, verbose, **known)
        return await cm.run(invocation.task, verbose, **known)

    work = do_task(invocation, begin, run_id=run_id, durable=place, quiet=output.quiet, resume=resume)
    finish(run_async(work), output, resume=resume)


def invocation_metadata(invocation: Invocation) -> dict[str, Any]:
    """Return the metadata by which `resume` goes on with a run."""
    return {_INVOCATION: {**invocation.to_json(), "folder": str(Path.cwd())}}


def _place_to_record(journal: Path | None) -> Path | None:
    """Return the file for a run; None, and say so, where the library for it is missing and nobody asked for the file."""
    if find_spec("langgraph.checkpoint.sqlite") is not None:
        return journal_place(journal)
    if journal is not None:
        refuse("--journal needs langgraph-checkpoint-sqlite: pip install langgraph-checkpoint-sqlite")
    text = (
        "this run is not recorded, and cannot be resumed: pip install langgraph-checkpoint-sqlite, or give --no-journal"
    )
    say(Console(stderr=True), text, style="yellow")
    return None


def resume_run(run_id: str, output: Output, *, decisions: str | None, yes: bool, journal: Path | None) -> None:
    """Go on with a run as it was begun, in the folder where it was begun, and print its answer."""
    check_places(output)
    html, artifacts = output.html and output.html.absolute(), output.artifacts and output.artifacts.absolute()
    output = output._replace(html=html, artifacts=artifacts)
    place = journal_place(journal)
    answers = None if decisions is None else _read_decisions(decisions)

    known = recorded_invocation(run_id, place)
    if yes:
        known |= {"yes": True, "approve": ()}
    invocation = Invocation(**known)

    async def go_on(cm: CodeMode, verbose: bool | Progress) -> RunResult:
        return await cm.resume(run_id, verbose, decisions=answers)

    resume = _command(run_id, journal)
    work = do_task(invocation, go_on, run_id=run_id, durable=place, quiet=output.quiet, resume=resume)
    finish(run_async(work), output, resume=resume)


def recorded_invocation(run_id: str, place: Path) -> dict[str, Any]:
    """Return how the command line began a run, and go to the folder where it did."""
    # Read first: the tools and the sandbox to go on with are those of the recorded command.
    metadata = _read(place, lambda cm: cm.summary(run_id)).metadata
    if _INVOCATION not in metadata:
        refuse(f"run {run_id} was not begun by the command line: use CodeMode.resume")
    known = dict(metadata[_INVOCATION])
    folder = known.pop("folder")
    try:
        os.chdir(folder)  # tools and servers are named as seen from there
    except OSError as error:
        refuse(f"run {run_id} was begun in {folder}: {error.strerror}")
    return known


def show_run(run_id: str, output: Output, *, journal: Path | None) -> None:
    """Print what is recorded of a run, or write its page or the artifacts of its answer."""
    check_places(output)
    result = _read(journal_place(journal), lambda cm: cm.result(run_id))
    if output.as_json:
        print(json.dumps(encode_fields({key: value for key, value in result.items() if key != "content"}), indent=2))
    elif output.html is None and output.artifacts is None:
        Console(soft_wrap=False).print(result.trace)
    if not save_page(result.trace.save, output.html) or not save_artifacts(result, output.artifacts):
        raise typer.Exit(UNWRITTEN)


def list_runs(*, journal: Path | None, limit: int, as_json: bool) -> None:
    """Print the runs, the newest first."""
    runs = _read(journal_place(journal), lambda cm: cm.runs(limit=limit))
    if as_json:
        shown = [
            {"run_id": r.run_id, "task": r.task, "status": r.status, "changed": r.changed.isoformat()} for r in runs
        ]
        print(json.dumps(shown, indent=2))
        return
    headings = [Column(name, overflow="fold", no_wrap=True) for name in ("Run", "Status", "Changed")]
    rows = [
        (run.run_id, run.status, f"{run.changed.astimezone():%Y-%m-%d %H:%M}", one_line(run.task, 100) or "a program")
        for run in runs
    ]
    Console().print(text_table([*headings, "Task"], rows))


def prune_runs(*, older_than: str, journal: Path | None) -> None:
    """Delete the runs that are over and older than this."""
    found = re.fullmatch(r"(\d+)\s*([mhdw])", older_than.strip())
    if found is None:
        refuse(f"--older-than takes a number and m, h, d or w, such as 30d, not {older_than!r}")
    try:
        age = timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        refuse(f"--older-than {older_than} is longer than there are times for")
    count = len(_read(journal_place(journal), lambda cm: cm.prune(older_than=age)))
    print(f"{count} run{'s' * (count != 1)} deleted")


def _read(place: Path, ask: Callable[[CodeMode], Awaitable[T]]) -> T:
    """Return what a `CodeMode` over recorded runs, which runs nothing, says of them."""

    async def read() -> T:
        async with codemode(tools=[], sandbox="monty", durable=place) as cm:
            return await ask(cm)

    if not place.exists():
        refuse(f"there are no runs: {place} does not exist")
    return run_async(read())


def _read_decisions(text: str) -> Any:
    try:
        decisions = json.loads(text)
    except ValueError as error:
        refuse(f"--decisions takes JSON: {error}")
    # The form in which an interrupt is answered elsewhere is taken as well.
    if isinstance(decisions, dict) and set(decisions) == {"decisions"}:
        decisions = decisions["decisions"]
    if isinstance(decisions, dict) or (isinstance(decisions, list) and all(isinstance(d, dict) for d in decisions)):
        return decisions
    return refuse('--decisions takes a list such as [{"type": "approve"}]')


def _command(run_id: str, journal: Path | None) -> str:
    return f"codemode-graph resume {run_id}" + (
        f" --journal {shlex.quote(str(journal))}" if journal is not None else ""
    )
