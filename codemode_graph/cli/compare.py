"""`codemode-graph run --compare`: run one program in every sandbox, and call its tools once."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NoReturn, cast

import typer
from codemode_sandboxes import SANDBOXES, Sandbox, SandboxError, SandboxUnavailable, create_sandbox
from codemode_sandboxes.registry import SPREAD
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from rich.console import Console
from rich.table import Column
from rich.text import Text
from typing_extensions import Unpack

from codemode_graph.calls.journal import MemoryJournal
from codemode_graph.calls.log import Closed, Ended
from codemode_graph.graph import create_codemode
from codemode_graph.nodes.node import add_attempt
from codemode_graph.options import Approve, RunOptions
from codemode_graph.redact import redact
from codemode_graph.result import run_result
from codemode_graph.runs import answer_interrupts
from codemode_graph.state import CodeModeState
from codemode_graph.tools.canonical import canonical
from codemode_graph.tools.spec import ToolSpec
from codemode_graph.trace.console import say
from codemode_graph.trace.plaintext import text_table
from codemode_graph.trace.progress import Progress
from codemode_graph.trace.watcher import follow


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """The program in one sandbox.

    Attributes:
        name: The sandbox.
        available: Whether it can be used here.
        calls: The source of its tool calls' values: "tools", "journal", or None where nothing ran.
        success: Whether there is a value.
        output: The value.
        same: Whether the value equals that of the first; None for the first, and where either has no value.
        seconds: Time in the sandbox and its tools.
        error: Why there is no value, or why the sandbox cannot be used and how to install it.
    """

    name: str
    available: bool = True
    calls: str | None = None
    success: bool = False
    output: Any = None
    same: bool | None = None
    seconds: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A program and its result in each sandbox; the sandbox that called the tools comes first."""

    program: str
    sides: tuple[Side, ...]

    @property
    def agrees(self) -> bool:
        """True where every available sandbox returned the same value."""
        here = [side for side in self.sides if side.available]
        return bool(here) and here[0].success and all(side.same for side in here[1:])


async def compare_sandboxes(
    first: Sandbox,
    *,
    specs: Sequence[ToolSpec],
    model: BaseChatModel | None,
    task: str,
    program: str | None,
    progress: Progress | None,
    approve: Approve | None,
    **options: Unpack[RunOptions],
) -> Comparison:
    """Run a task or a program in one sandbox, then the program in the others, with the journal in place of the tools.

    Args:
        first: The sandbox that calls the tools. Where it cannot run the program at all, the next one does.
        specs: The tools.
        model: Writes the program, where `program` is None.
        task: The task.
        program: A program that does the task.
        progress: Shows the first run.
        approve: Answers for a person in the first run.
        options: For the run in each sandbox; `first` takes the place of the sandbox that they name.
    """
    real: CodeModeState | None = None
    journal = MemoryJournal()
    sides: list[Side] = []
    places: list[Sandbox | str] = [first, *(name for name in SANDBOXES if name != first.name and name not in SPREAD)]
    for place in places:
        name = place if isinstance(place, str) else place.name
        if any(side.name == name for side in sides):  # "auto" chose it, and the side has the name of what it chose
            continue
        request: dict[str, Any] = {"task": task} if program is None else {"task": task, "code": program}
        try:
            sandbox = create_sandbox(place) if isinstance(place, str) else place
            own: dict[str, Any] = {**options, "sandbox": sandbox, "model": model if program is None else None}
            if real is None:
                state = await _run(request, progress, approve, journal=journal, tools=specs, **own)
            else:
                tools = [replace(spec, call=_refuse_call) for spec in specs]
                rewound = await _rewind(journal, real["run_id"])
                state = await _run(_restarted(real), journal=rewound, tools=tools, replayed=True, **own)
        except SandboxUnavailable as missing:
            remedy = f". {missing.remedy}" if missing.remedy else ""
            sides.append(Side(name=name, available=False, error=f"{missing.reason}{remedy}"))
            continue
        except SandboxError as error:
            sides.append(Side(name=name, error=redact(str(error))))
            continue
        sides.append(_side(name, state, real))
        # From here on the program is fixed: no other sandbox asks the model for one.
        program = state["program"]
        # A sandbox that runs nothing calls no tools either, so the next one is the first to call them.
        if real is None and sides[-1].calls is not None:
            real = state
    return Comparison(program=program or "", sides=tuple(sorted(sides, key=lambda side: side.calls != "tools")))


async def _run(
    values: dict[str, Any],
    progress: Progress | None = None,
    approve: Approve | None = None,
    *,
    replayed: bool = False,
    **options: Any,
) -> CodeModeState:
    config: RunnableConfig = {"configurable": {"thread_id": "compare"}}
    try:
        # Values stay in the state, whatever their size: the next graph could not load those that are kept outside it.
        graph = create_codemode(**options, inline_bytes=sys.maxsize).compile(checkpointer=InMemorySaver())
        if replayed:  # as if the node `repair` had just written the program: the graph goes on with the check
            await graph.aupdate_state(config, values, as_node="repair")
        input: Any = None if replayed else values
        while True:
            await follow(graph, input, config, progress)
            snapshot = await graph.aget_state(config)
            if progress is not None:
                progress.stop()
            input = await answer_interrupts(snapshot.interrupts, approve)
            if input is None:
                return cast("CodeModeState", snapshot.values)
    finally:
        if progress is not None:
            progress.stop()
        await options["sandbox"].aclose()


def _side(name: str, state: CodeModeState, real: CodeModeState | None) -> Side:
    result = run_result(state, "")
    ran = result["sandbox"]
    same = None
    if result["success"] and real is not None and real["verdict"] == "ok":
        # By canonical JSON: sandboxes may differ in the order of a dict or in 1 and 1.0.
        same = canonical(result["output"]) == canonical(real["output"])
    return Side(
        name=ran or name,
        calls=None if ran is None else "tools" if real is None else "journal",
        success=result["success"],
        output=result["output"],
        same=same,
        seconds=state["attempts"][-1]["seconds"] if ran is not None else None,
        error=result["error"],
    )


def _restarted(real: CodeModeState) -> dict[str, Any]:
    """Return the state in which the last program runs again, under the same attempt number, so that the journal matches."""
    *before, last = real["attempts"]
    fresh = {"attempts": add_attempt(before, last["program"], ""), "verdict": None, "error": None, "output": None}
    return {**real, **fresh, "stdout": "", "pending": []}


async def _rewind(journal: MemoryJournal, run: str) -> MemoryJournal:
    """Return a copy of a run's journal in which its last program has not ended, so that it is answered as it was."""
    events = [event for event in await journal.read(run) if not isinstance(event, Closed)]
    last = max(index for index, event in enumerate(events) if isinstance(event, Ended))
    events[last] = Ended(session=events[last].session, how="waiting")  # type: ignore[attr-defined]
    copy = MemoryJournal()
    await copy.append(run, 0, events)
    return copy


async def _refuse_call(arguments: dict[str, Any], config: RunnableConfig) -> NoReturn:
    raise RuntimeError("this call was not made in the first sandbox, and no tool is called twice for a comparison")


def show_comparison(comparison: Comparison, *, as_json: bool) -> NoReturn:
    """Print a comparison, and exit with status 0 where all sandboxes agree, else 1."""
    if as_json:
        sides = list(map(asdict, comparison.sides))
        print(json.dumps({"program": comparison.program, "agrees": comparison.agrees, "sandboxes": sides}, indent=2))
    else:
        _print(Console(), comparison)
    raise typer.Exit(0 if comparison.agrees else 1)


def _print(console: Console, comparison: Comparison) -> None:
    headings = [Column(heading, no_wrap=True) for heading in ("Sandbox", "Tool calls", "Value")]
    headings.append(Column("Seconds", justify="right", no_wrap=True))
    first = next((side for side in comparison.sides if side.calls is not None), None)
    rows = []
    for side in comparison.sides:
        if side.available:
            seconds = "" if side.seconds is None else f"{side.seconds:.3f}"
            rows.append((side.name, side.calls or "", _outcome(side), seconds, side.error or ""))
    console.print(text_table([*headings, "Error"], rows))
    if first is not None and first.success:
        say(console, json.dumps(first.output, ensure_ascii=False)[:2000], prefix="Value: ")
    for side in comparison.sides:
        if not side.available:
            say(console, side.error or "", prefix=f"{side.name} is not available: ", style="yellow", hang=2)


def _outcome(side: Side) -> Text:
    if side.same is None:
        return Text("value" if side.success else "none", style="" if side.success else "red")
    return Text("the same", style="green") if side.same else Text("another", style="red")
