"""Run a task, a program or the demo, or show the tools; load the tools and the sandbox for every command."""

import asyncio
import importlib
import json
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import typer
from codemode_sandboxes import SANDBOXES, Sandbox, SandboxError, create_sandbox
from codemode_sandboxes.registry import PACKAGED, backend_name
from langchain_core.language_models import BaseChatModel
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from codemode_graph.api import CodeMode, RunResult, codemode
from codemode_graph.cli.compare import Comparison, compare_sandboxes
from codemode_graph.demo.show import run_demo
from codemode_graph.errors import CodeModeError, ConfigurationError
from codemode_graph.exact import encode
from codemode_graph.mcp import MCPToolLoader
from codemode_graph.model.ask import load_model
from codemode_graph.options import RunOptions, read_sandbox
from codemode_graph.redact import redact
from codemode_graph.tools.cards import estimate_tokens, render_card
from codemode_graph.tools.load import load_tools
from codemode_graph.tools.return_type import ReturnType
from codemode_graph.tools.spec import ToolSpec
from codemode_graph.tools.text import one_line
from codemode_graph.trace.console import say, visible
from codemode_graph.trace.progress import Progress
from codemode_graph.trace.words import describe_remark

__all__ = [
    "Invocation",
    "check_html",
    "compare_task",
    "do_task",
    "finish",
    "load_sandbox",
    "load_specs",
    "read_program",
    "read_schema",
    "refuse",
    "run_async",
    "run_demo_task",
    "show_tools",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What the command line was told to run, and how.

    Attributes:
        task: In plain language; empty where there is a program.
        code: The program, where there is one; None also of a run that is resumed.
        mcp: Files of MCP servers.
        tools: References such as `mytools:TOOLS`.
        model: Writes the programs; None where there is one.
        packages: What programs may import.
        options: The sandbox and the bounds, as plain values.
    """

    task: str = ""
    code: str | None = None
    mcp: Sequence[str] = ()
    tools: Sequence[str] = ()
    model: str | None = None
    packages: Sequence[str] = ()
    options: RunOptions = field(default_factory=RunOptions)

    def to_json(self) -> dict[str, Any]:
        """Return what a run is resumed with."""
        names = ("mcp", "tools", "model", "packages", "options")
        return {name: getattr(self, name) for name in names}


async def do_task(
    invocation: Invocation,
    work: Callable[[CodeMode, bool | Progress], Awaitable[RunResult]],
    *,
    durable: Path | None,
    quiet: bool,
) -> RunResult:
    """Load what an invocation names, and do its work.

    Args:
        invocation: What was asked for.
        work: Runs something; it is given where to show progress.
        durable: The file that keeps the run.
        quiet: Show no progress.
    """
    # A wrong model or sandbox name fails at once: check both before any server is started.
    model, options = _load(invocation)
    async with AsyncExitStack() as stack:
        specs = await load_specs(stack, invocation.mcp, invocation.tools)
        cm = codemode(tools=specs, code_model=model, durable=durable, **options)
        await stack.enter_async_context(cm)
        return await work(cm, False if quiet else _progress(invocation.task))


async def compare_task(invocation: Invocation, *, quiet: bool) -> Comparison:
    """Run a program, or one that is written for a task, in every sandbox."""
    model, options = _load(invocation)
    first = read_sandbox(options)
    async with AsyncExitStack() as stack:
        return await compare_sandboxes(
            first,
            specs=await load_specs(stack, invocation.mcp, invocation.tools),
            model=model,
            task=invocation.task,
            program=invocation.code,
            progress=None if quiet else Progress(),
            **options,
        )


def _load(invocation: Invocation) -> tuple[BaseChatModel | None, RunOptions]:
    model = None if invocation.model is None else load_model(invocation.model)
    options = invocation.options.copy()
    load_sandbox(options, packages=invocation.packages)
    return model, options


def run_demo_task(*, model: str | None, html: Path | None, as_json: bool) -> None:
    """Run the demo, and print its answer."""
    check_html(html)
    finish(run_async(run_demo(model, _run_aloud)), quiet=False, html=html, as_json=as_json)


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
        effect = f"{spec.effect} (not declared)" if spec.undeclared else spec.effect_in_force
        row = (spec.name, spec.source, effect, str(cost))
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


async def load_specs(stack: AsyncExitStack, mcp: Sequence[str | Path], modules: Sequence[str]) -> tuple[ToolSpec, ...]:
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
    return await cm.run(task, verbose=_progress(task))


def _progress(task: str) -> Progress:
    console = Console(stderr=True)
    if task:
        say(console, task, prefix="Task ", style="bold")
    return Progress(console)


def read_program(program: Path) -> str:
    """Return the text of a file."""
    try:
        return program.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        refuse(f"--program {program}: {error.strerror if isinstance(error, OSError) else 'it is no text'}")


def read_schema(returns: Path) -> dict[str, Any]:
    """Return the JSON Schema in a file; a file that holds none is refused before the run."""
    try:
        schema = json.loads(returns.read_text(encoding="utf-8"))
    except OSError as error:
        refuse(f"--returns {returns}: {error.strerror}")
    except ValueError as error:
        refuse(f"--returns {returns}: it is no JSON: {error}")
    if not isinstance(schema, dict):
        refuse(f"--returns {returns}: it is no JSON Schema, which is an object")
    try:
        return ReturnType(schema).schema
    except ConfigurationError as error:
        refuse(f"--returns {returns}: {error}")


def check_html(html: Path | None) -> None:
    """Refuse a place where the page cannot be written, before the run rather than after it."""
    if html is not None and (html.is_dir() or not html.parent.is_dir()):
        refuse(f"--html {html}: " + ("it is a folder" if html.is_dir() else f"there is no folder {html.parent}"))


def finish(result: RunResult, *, quiet: bool, html: Path | None, as_json: bool, resume: str | None = None) -> None:
    """Print the answer of a run, or why there is none, write its page, and exit with a status that says which.

    Args:
        result: The result.
        quiet: Leave out what only a person reads.
        html: Where the page is written.
        as_json: Print the whole result.
        resume: The command that goes on with the run where it is not over.
    """
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
    _tell_effects(console, result)
    if result["success"]:
        return
    count = len(result["attempts"])
    if not count:  # the run could not begin: its progress has shown why, unless it was quiet
        if quiet:
            refuse(str(result["error"]))
        raise typer.Exit(2)
    if resume is not None and result.trace.verdict is None:
        waiting = [{"id": call["id"], "type": "approve"} for call in result.trace.pending if call["reason"] != "tool"]
        decisions = f" --decisions '{json.dumps(waiting)}'" if waiting else ""
        say(console, f"The run is not over. Go on with it: {resume}{decisions}", style="yellow")
    reason = f": {result['error']}" if quiet else ""
    say(console, Text(visible(f"No answer after {count} attempt{'s' * (count != 1)}{reason}"), style="red"))
    raise typer.Exit(1)


def _tell_effects(console: Console, result: RunResult) -> None:
    """Print the effects that a person should know of: all of a run without an answer, and those nobody asked for any more."""
    for word, call in result.trace.remarks(effects=not result["success"]):
        say(console, describe_remark(call), prefix=f"{word}: ", style="yellow")


def _json(value: object) -> str:
    # Where stdout cannot encode every character, JSON escapes lose nothing; `backslashreplace` would break the JSON.
    plain = encode(dict(value) if isinstance(value, dict) else value)
    return json.dumps(plain, ensure_ascii="utf" not in sys.stdout.encoding.lower(), indent=2)
