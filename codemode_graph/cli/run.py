"""Run a task, a program or the demo, or show the tools; load the tools and the sandbox for every command."""

import asyncio
import importlib
import json
import os
import sys
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, redirect_stdout
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import typer
from codemode_sandboxes import SANDBOXES, Sandbox, SandboxError, create_sandbox
from codemode_sandboxes.registry import PACKAGED, backend_name
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typing_extensions import Unpack

from codemode_graph.api import CodeMode, RunResult, codemode
from codemode_graph.cli.compare import Comparison, compare_sandboxes, show_comparison
from codemode_graph.demo.show import run_demo
from codemode_graph.errors import CodeModeError, ConfigurationError
from codemode_graph.mcp import MCPToolLoader
from codemode_graph.model.ask import load_model
from codemode_graph.options import RunOptions, read_sandbox
from codemode_graph.redact import redact
from codemode_graph.tools.load import load_tools
from codemode_graph.tools.signatures import estimate_tokens, render_card
from codemode_graph.tools.spec import ToolSpec
from codemode_graph.tools.text import one_line
from codemode_graph.trace.console import say, visible
from codemode_graph.trace.progress import Progress

__all__ = ["load_sandbox", "load_specs", "refuse", "run_async", "run_demo_task", "run_task", "show_tools"]

T = TypeVar("T")


def run_task(
    task: str,
    *,
    mcp: Sequence[Path],
    tools: Sequence[str],
    model: str,
    program: Path | None,
    packages: Sequence[str],
    compare: bool,
    quiet: bool,
    html: Path | None,
    as_json: bool,
    **options: Unpack[RunOptions],
) -> None:
    """Run a task or a program, and print its answer, or the value that each sandbox returns for it."""
    _check_html(html)
    if compare and html is not None:
        refuse("--html shows one run, and --compare makes several: leave one of them out")
    code = None if program is None else _read_program(program)

    async def work() -> RunResult | Comparison:
        # A wrong model or sandbox name fails at once: check both before any server is started.
        chat_model = None if code is not None else load_model(model)
        backend = load_sandbox(options, packages=packages)
        async with AsyncExitStack() as stack:
            specs = await load_specs(stack, mcp, tools)
            if compare:
                return await compare_sandboxes(
                    backend,
                    specs=specs,
                    model=chat_model,
                    task=task,
                    program=code,
                    progress=None if quiet else Progress(),
                    **options,
                )
            cm = await stack.enter_async_context(codemode(tools=specs, code_model=chat_model, **options))
            if code is not None:
                return await cm.run_code(code, verbose=not quiet)
            return await (cm.run(task) if quiet else _run_aloud(cm, task))

    result = run_async(work())
    if isinstance(result, Comparison):
        show_comparison(result, as_json=as_json)
    _finish(result, quiet=quiet, html=html, as_json=as_json)


def run_demo_task(*, model: str | None, html: Path | None, as_json: bool) -> None:
    """Run the demo, and print its answer."""
    _check_html(html)
    _finish(run_async(run_demo(model, _run_aloud)), quiet=False, html=html, as_json=as_json)


def show_tools(*, mcp: Sequence[Path], tools: Sequence[str], cards: bool) -> None:
    """Print the tools with their cost in tokens, and with `cards` also the text that the model reads of each."""

    async def work() -> tuple[ToolSpec, ...]:
        async with AsyncExitStack() as stack:
            return await load_specs(stack, mcp, tools)

    specs = run_async(work())
    console = Console()
    texts = [render_card(spec) for spec in specs]
    if cards:
        for text in texts:
            console.print(Text(visible(text)), soft_wrap=True)
            console.print()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("Tool", "From", "Effect"):
        table.add_column(name, overflow="fold")
    table.add_column("Tokens", justify="right")
    costs = [estimate_tokens(text) for text in texts]
    for spec, cost in zip(specs, costs, strict=True):
        row = (spec.name, spec.source, spec.effect_in_force, str(cost))
        table.add_row(*(Text(visible(cell)) for cell in row))
    table.add_section()
    table.add_row(f"{len(specs)} tools", "", "", f"about {sum(costs)}")
    console.print(table)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end and return its value.

    Tools that print write to stderr: stdout holds the answer alone. An error that the caller can correct becomes one line
    on stderr and exit status 2. Ctrl-C cancels the work, waits for its cleanup, and exits with status 130.
    """
    with asyncio.Runner() as runner:
        try:
            with redirect_stdout(sys.stderr):
                return runner.run(work)
        except (CodeModeError, SandboxError) as error:
            refuse(str(error))
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            # Synchronous tools still run in their threads; a normal exit would wait for them. `os._exit` flushes nothing.
            sys.stdout.flush()
            os._exit(130)


def refuse(message: str) -> NoReturn:
    """Print what the caller has to correct, and exit with status 2."""
    console = Console(stderr=True, soft_wrap=True)
    console.print(f"codemode-graph: {visible(message)}", style="red", markup=False, highlight=False, emoji=False)
    raise typer.Exit(2)


async def load_specs(stack: AsyncExitStack, mcp: Sequence[Path], modules: Sequence[str]) -> tuple[ToolSpec, ...]:
    """Load the tools of Python modules and of MCP servers.

    Args:
        stack: Closes the servers' sessions.
        mcp: Files of MCP servers.
        modules: References such as `mytools:TOOLS`.

    Raises:
        ConfigurationError: There are no tools, or a reference is wrong.
        ToolLoadError: A server does not answer, or an object is not a tool.
    """
    if not mcp and not modules:
        raise ConfigurationError(
            "there are no tools: give --mcp FILE, a JSON file of MCP servers, or --tools MODULE:NAME, Python functions"
        )
    loaders = [await stack.enter_async_context(MCPToolLoader.from_config(path)) for path in mcp]
    tools: list[Any] = [_import_object(module) for module in modules]
    with Console(stderr=True).status("connecting the MCP servers"):
        for loader in loaders:
            tools += await loader.load()
    specs = load_tools(tools)
    if not specs:
        named = ", ".join([*map(str, mcp), *modules])
        raise ConfigurationError(f"there are no tools in {named}")
    return specs


def _import_object(reference: str) -> Any:
    """Import the object that `module:name` refers to; the current directory is importable, as with `python -m`."""
    module_name, _, name = reference.partition(":")
    if not name or not module_name or "/" in module_name or module_name.endswith(".py"):
        raise ConfigurationError(f"--tools takes MODULE:NAME, such as mytools:TOOLS, not {reference!r}")
    here = str(Path.cwd())
    # The console script, unlike `python -m`, does not put the current directory there.
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a script without a main guard may call sys.exit() when imported
        reason = one_line(redact(f"{type(error).__name__}: {error}"), 300)
        raise ConfigurationError(f"--tools {reference}: importing {module_name} failed: {reason}") from error
    try:
        return getattr(module, name)
    except AttributeError:
        # Suggest what the module defines, not what it imports.
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        own = [key for key in own if not key.startswith("_")] or ["nothing of its own"]
        raise ConfigurationError(
            f"--tools {reference}: {module_name} has no {name}; it has {one_line(', '.join(own), 300)}"
        ) from None


def load_sandbox(options: RunOptions, *, packages: Sequence[str]) -> Sandbox:
    """Return the sandbox that options name, and put it in their place. Programs may import `packages` there.

    Raises:
        ConfigurationError: The options contradict one another, or packages are for none of the sandboxes.
        SandboxError: There is no such sandbox, or it is not available.
    """
    if packages:
        auto, fallback = options.get("auto"), options.get("fallback", ())
        name = options.get("sandbox") or ("monty" if fallback else "auto")
        if name == "auto" and not auto:
            auto = list(SANDBOXES)
        if PACKAGED.isdisjoint(backend_name(str(each)) for each in (*(auto or [name]), *fallback)):
            raise ConfigurationError(
                f"--package is for the sandboxes {', '.join(sorted(PACKAGED))} and auto: name one of them"
            )

        def packaged(each: str | Sandbox) -> str | Sandbox:
            return create_sandbox(str(each), packages=packages) if backend_name(str(each)) in PACKAGED else each

        if auto:
            options["auto"] = [packaged(each) for each in auto]
        else:
            options["sandbox"] = packaged(name)
        options["fallback"] = [packaged(each) for each in fallback]
    return read_sandbox(options)


async def _run_aloud(cm: CodeMode, task: str) -> RunResult:
    console = Console(stderr=True)
    say(console, task, prefix="Task ", style="bold")
    return await cm.run(task, verbose=Progress(console))


def _read_program(program: Path) -> str:
    try:
        return program.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        refuse(f"--program {program}: {error.strerror if isinstance(error, OSError) else 'it is no text'}")


def _check_html(html: Path | None) -> None:
    """Refuse a place where the page cannot be written, before the run rather than after it."""
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
        # A terminal would act on control characters in the answer; a file gets the answer as it is.
        print(visible(text) if sys.stdout.isatty() else text)
    if result["success"]:
        return
    count = len(result["attempts"])
    if not count:  # the run could not begin: its progress has shown why, unless it was quiet
        if quiet:
            refuse(str(result["error"]))
        raise typer.Exit(2)
    reason = f": {result['error']}" if quiet else ""
    say(console, Text(visible(f"No answer after {count} attempt{'s' * (count != 1)}{reason}"), style="red"))
    raise typer.Exit(1)


def _json(value: object) -> str:
    # Where stdout cannot encode every character, JSON escapes lose nothing; `backslashreplace` would break the JSON.
    return json.dumps(value, ensure_ascii="utf" not in sys.stdout.encoding.lower(), indent=2)
