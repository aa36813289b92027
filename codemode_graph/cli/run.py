"""`codemode-graph run` and `codemode-graph demo`."""

import json
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import typer
from rich.console import Console
from rich.text import Text

from codemode_graph.api import CodeMode, RunResult, codemode
from codemode_graph.cli.compare import Comparison, show_comparison
from codemode_graph.cli.compare import compare as compare_sandboxes
from codemode_graph.cli.loading import load, load_sandbox
from codemode_graph.cli.running import refuse, run_async
from codemode_graph.demo import run_demo
from codemode_graph.model.ask import load_model
from codemode_graph.trace.console import say, visible
from codemode_graph.trace.progress import Progress

__all__ = ["run_demo_task", "run_task"]


def run_task(
    task: str,
    *,
    mcp: Sequence[Path],
    tools: Sequence[str],
    model: str,
    program: Path | None,
    sandbox: str,
    auto: Sequence[str],
    fallback: Sequence[str],
    packages: Sequence[str],
    compare: bool,
    max_attempts: int,
    timeout: float,
    quiet: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Do a task or run a program, and print its answer, or what each sandbox gives."""
    _check_place(html)
    if compare and html is not None:
        refuse("--html shows one run, and --compare makes several: leave one of them out")
    code = None if program is None else _read(program)

    async def work() -> RunResult | Comparison:
        # First what fails at once, before any server is started.
        chat_model = None if code is not None else load_model(model)
        backend = load_sandbox(sandbox, auto=auto, fallback=fallback, packages=packages)
        async with AsyncExitStack() as stack:
            specs = await load(stack, mcp, tools)
            if compare:
                return await compare_sandboxes(
                    backend,
                    specs=specs,
                    model=chat_model,
                    task=task,
                    program=code,
                    max_attempts=max_attempts,
                    timeout=timeout,
                    progress=None if quiet else Progress(),
                )
            cm = codemode(
                tools=specs, backend=backend, code_model=chat_model, max_retries=max_attempts, timeout=timeout
            )
            await stack.enter_async_context(cm)
            if code is not None:
                return await cm.run_code(code, verbose=not quiet)
            return await (cm.run(task) if quiet else _shown(cm, task))

    found = run_async(work())
    if isinstance(found, Comparison):
        show_comparison(found, as_json=as_json)
    _finish(found, quiet=quiet, html=html, as_json=as_json)


def run_demo_task(*, model: str | None, html: Path | None, as_json: bool) -> None:
    """Run the demo, and print its answer."""
    _check_place(html)
    _finish(run_async(run_demo(model, _shown)), quiet=False, html=html, as_json=as_json)


async def _shown(cm: CodeMode, task: str) -> RunResult:
    console = Console(stderr=True)
    say(console, task, prefix="Task ", style="bold")
    return await cm.run(task, verbose=Progress(console))


def _read(program: Path) -> str:
    try:
        return program.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        refuse(f"--program {program}: {error.strerror if isinstance(error, OSError) else 'it is no text'}")


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
