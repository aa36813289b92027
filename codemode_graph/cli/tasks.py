"""`codemode-graph run` and `codemode-graph demo`."""

import json
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import typer
from codemode_sandboxes import create_sandbox
from rich.console import Console
from rich.text import Text

from codemode_graph.api import CodeMode, RunResult, codemode
from codemode_graph.cli.loading import load
from codemode_graph.cli.running import refuse, run_async
from codemode_graph.demo import run_demo
from codemode_graph.model import load_model
from codemode_graph.progress import Progress
from codemode_graph.terminal import say, visible

__all__ = ["run_demo_task", "run_task"]


def run_task(
    task: str,
    *,
    mcp: Sequence[Path],
    tools: Sequence[str],
    model: str,
    sandbox: str,
    max_attempts: int,
    timeout: float,
    quiet: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Do a task, and print its answer."""
    _check_place(html)

    async def work() -> RunResult:
        # First what fails at once, before any server is started.
        chat_model = load_model(model)
        backend = create_sandbox(sandbox)
        async with AsyncExitStack() as stack:
            specs = await load(stack, mcp, tools)
            cm = codemode(
                tools=specs, backend=backend, code_model=chat_model, max_retries=max_attempts, timeout=timeout
            )
            await stack.enter_async_context(cm)
            return await (cm.run(task) if quiet else _shown(cm, task))

    _finish(run_async(work()), quiet=quiet, html=html, as_json=as_json)


def run_demo_task(*, model: str | None, html: Path | None, as_json: bool) -> None:
    """Run the demo, and print its answer."""
    _check_place(html)
    _finish(run_async(run_demo(model, _shown)), quiet=False, html=html, as_json=as_json)


async def _shown(cm: CodeMode, task: str) -> RunResult:
    console = Console(stderr=True)
    say(console, task, prefix="Task ", style="bold")
    return await cm.run(task, verbose=Progress(console))


def _check_place(html: Path | None) -> None:
    if html is not None and (html.is_dir() or not html.parent.is_dir()):
        refuse(f"--html {html}: " + ("it is a folder" if html.is_dir() else f"there is no folder {html.parent}"))


def _finish(result: RunResult, *, quiet: bool, html: Path | None, as_json: bool) -> None:
    console = Console(stderr=True)
    if html is not None:
        try:
            result.trace.save(html)
        except OSError as error:
            say(console, f"--html {html}: {error.strerror}", style="red")
        else:
            if not quiet:
                say(console, f"The run is in {html}")
    if as_json:
        print(_json(result))
    elif result["success"]:
        output = result["output"]
        text = output if isinstance(output, str) else _json(output)
        if console.is_terminal and not quiet:
            console.print("\n[bold]Answer[/]")
        print(visible(text) if sys.stdout.isatty() else text)
    if result["success"]:
        return
    asked = bool(result["attempts"])
    if quiet and not asked:
        refuse(str(result["error"]))
    if not asked:
        raise typer.Exit(2)
    count = len(result["attempts"])
    reason = f": {result['error']}" if quiet else ""
    say(console, Text(visible(f"No answer after {count} attempt{'s' * (count != 1)}{reason}"), style="red"))
    raise typer.Exit(1)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii="utf" not in sys.stdout.encoding.lower(), indent=2)
