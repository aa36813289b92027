"""`codemode-graph run --compare`: one program in every sandbox that there is, with its tools called once."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NoReturn, cast

import typer
from codemode_sandboxes import SANDBOXES, Sandbox, SandboxError, SandboxUnavailable, create_sandbox
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from codemode_graph.calls.journal import canonical
from codemode_graph.graph import create_codemode
from codemode_graph.nodes.attempts import begun
from codemode_graph.redact import redact
from codemode_graph.result import run_result
from codemode_graph.state import CodeModeState
from codemode_graph.tools.spec import ToolSpec
from codemode_graph.trace.console import say, visible
from codemode_graph.trace.progress import Progress, follow

__all__ = ["Comparison", "Side", "compare", "show_comparison"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """The program in one sandbox.

    Attributes:
        name: The sandbox.
        available: Whether it can be used here.
        calls: Where its tool calls came from: "tools", which were really called; "journal"; None where nothing ran.
        success: Whether there is a value.
        output: The value.
        same: Whether it is the value that the first had; None for the first, and where either has none.
        seconds: Time in the sandbox and its tools.
        error: Why there is no value, or why the sandbox cannot be used and how to get it.
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
    """A program and what came of it in each sandbox, the one that called the tools first."""

    program: str
    sides: tuple[Side, ...]

    @property
    def agrees(self) -> bool:
        """Whether every sandbox that is available gave the same value."""
        here = [side for side in self.sides if side.available]
        return bool(here) and here[0].success and all(side.same for side in here[1:])


async def compare(
    first: Sandbox,
    *,
    specs: Sequence[ToolSpec],
    model: BaseChatModel | None,
    task: str,
    program: str | None,
    max_attempts: int,
    timeout: float,
    progress: Progress | None,
) -> Comparison:
    """Do a task, or run a program, in one sandbox; then run the program in the others on the recorded tool calls.

    Args:
        first: The sandbox that calls the tools. Where it cannot run the program at all, the next one does.
        specs: The tools.
        model: Writes the program, where none is given.
        task: What is to be done.
        program: A program that does it.
        max_attempts: Programs that are tried.
        timeout: Seconds that a program may take in each sandbox.
        progress: Tells of the first run.
    """
    real: CodeModeState | None = None
    sides: list[Side] = []
    places: list[Sandbox | str] = [first, *(name for name in SANDBOXES if name != first.name)]
    for place in places:
        name = place if isinstance(place, str) else place.name
        if any(side.name == name for side in sides):
            continue
        given: dict[str, Any] = {"task": task} if program is None else {"task": task, "code": program}
        try:
            state = await _run(
                create_sandbox(place) if isinstance(place, str) else place,
                given if real is None else _again(real),
                replayed=real is not None,
                progress=progress if real is None else None,
                model=model if program is None else None,
                tools=specs,
                max_attempts=max_attempts,
                timeout=timeout,
            )
        except SandboxUnavailable as missing:
            remedy = f". {missing.remedy}" if missing.remedy else ""
            sides.append(Side(name=name, available=False, error=f"{missing.reason}{remedy}"))
            continue
        except SandboxError as error:
            sides.append(Side(name=name, error=redact(str(error))))
            continue
        sides.append(_side(name, state, real))
        program = state["program"]
        if real is None and sides[-1].calls is not None:
            real = state
    return Comparison(program=program or "", sides=tuple(sorted(sides, key=lambda side: side.calls != "tools")))


async def _run(
    sandbox: Sandbox,
    given: dict[str, Any],
    *,
    replayed: bool,
    progress: Progress | None,
    tools: Sequence[ToolSpec],
    **options: Any,
) -> CodeModeState:
    specs = [replace(spec, call=_not_called) for spec in tools] if replayed else list(tools)
    config: RunnableConfig = {"configurable": {"thread_id": "compare"}}
    request: Any = given
    try:
        made = create_codemode(tools=specs, sandbox=sandbox, inline_bytes=sys.maxsize, **options)
        graph = made.compile(checkpointer=InMemorySaver())
        if replayed:
            await graph.aupdate_state(config, given, as_node="repair")
            request = None
        await follow(graph, request, config, progress)
        return cast("CodeModeState", (await graph.aget_state(config)).values)
    finally:
        if progress is not None:
            progress.stop()
        await sandbox.aclose()


def _side(name: str, state: CodeModeState, real: CodeModeState | None) -> Side:
    result = run_result(state, "")
    ran = result["sandbox"]
    both = result["success"] and real is not None and real["verdict"] == "ok"
    return Side(
        name=ran or name,
        calls=None if ran is None else "tools" if real is None else "journal",
        success=result["success"],
        output=result["output"],
        same=canonical({"": result["output"]}) == canonical({"": real["output"]})
        if both and real is not None
        else None,
        seconds=state["attempts"][-1]["seconds"] if ran is not None else None,
        error=result["error"],
    )


def _again(real: CodeModeState) -> dict[str, Any]:
    """The state in which the last program is to run anew, as the attempt that it was: its calls are in the journal."""
    *earlier, last = real["attempts"]
    fresh = {"attempts": begun(earlier, last["program"], ""), "verdict": None, "error": None, "output": None}
    return {**real, **fresh, "stdout": "", "pending": [], "turns": []}


async def _not_called(arguments: dict[str, Any], config: RunnableConfig) -> NoReturn:
    raise RuntimeError("this call was not made in the first sandbox, and no tool is called twice for a comparison")


def show_comparison(found: Comparison, *, as_json: bool) -> NoReturn:
    """Print a comparison, and leave with 0 where all agree, else with 1."""
    if as_json:
        told = {"program": found.program, "agrees": found.agrees, "sandboxes": list(map(asdict, found.sides))}
        print(json.dumps(told, indent=2))
    else:
        _print(Console(), found)
    raise typer.Exit(0 if found.agrees else 1)


def _print(console: Console, found: Comparison) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("Sandbox", "Tool calls", "Value"):
        table.add_column(heading, no_wrap=True)
    table.add_column("Seconds", justify="right", no_wrap=True)
    table.add_column("Error", overflow="fold")
    first = next((side for side in found.sides if side.calls is not None), None)
    for side in found.sides:
        if not side.available:
            continue
        seconds = "" if side.seconds is None else f"{side.seconds:.3f}"
        table.add_row(side.name, side.calls or "", _told(side), seconds, visible(side.error or ""))
    console.print(table)
    if first is not None and first.success:
        say(console, json.dumps(first.output, ensure_ascii=False)[:2000], prefix="Value: ")
    for side in found.sides:
        if not side.available:
            say(console, side.error or "", prefix=f"{side.name} is not available: ", style="yellow", hang=2)


def _told(side: Side) -> Text:
    if side.same is None:
        return Text("value" if side.success else "none", style="" if side.success else "red")
    return Text("the same", style="green") if side.same else Text("another", style="red")
