"""The commands."""

import asyncio
import json
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from codemode_graph.api import CodeMode, RunResult, codemode
from codemode_graph.cli.loading import load_from_module
from codemode_graph.demo import run_demo
from codemode_graph.errors import ConfigurationError, ModelError
from codemode_graph.mcp import MCPToolLoader
from codemode_graph.progress import Progress
from codemode_graph.tools.cards import estimate_tokens, render_card
from codemode_graph.tools.load import load_tools
from codemode_graph.tools.spec import ToolSpec

__all__ = ["app"]

app = typer.Typer(
    help="Code mode: a model writes one program that calls many tools; it is checked, run in a sandbox, and repaired.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

MCP = Annotated[
    list[Path], typer.Option("--mcp", help="A JSON file with mcpServers. May be given more than once.", metavar="FILE")
]
TOOLS = Annotated[
    list[str],
    typer.Option(
        "--tools", help="Functions or tools of a Python module. May be given more than once.", metavar="MODULE:NAME"
    ),
]
MODEL = Annotated[str | None, typer.Option(help="A provider string such as openai:gpt-5.2.", metavar="PROVIDER:MODEL")]
SANDBOX = Annotated[str, typer.Option(help="Where the program runs; see `codemode-graph sandboxes`.")]
JSON = Annotated[bool, typer.Option("--json", help="Print the whole result as JSON on stdout.")]


@app.command()
def run(
    task: Annotated[str, typer.Argument(help="What is to be done, in plain language.")],
    mcp: MCP = [],  # noqa: B006 - typer's way to give a list option its default
    tools: TOOLS = [],  # noqa: B006
    model: MODEL = None,
    sandbox: SANDBOX = "monty",
    max_attempts: Annotated[int, typer.Option(min=1, help="Programs that are tried, the first included.")] = 3,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one program may take.")] = 60.0,
    as_json: JSON = False,
) -> None:
    """Do a task."""

    async def work() -> RunResult:
        async with AsyncExitStack() as stack:
            specs = await _load(stack, mcp, tools)
            cm = codemode(tools=specs, backend=sandbox, code_model=model, max_retries=max_attempts, timeout=timeout)
            await stack.enter_async_context(cm)
            return await _show_run(cm, task)

    _finish(_await(work()), as_json=as_json)


@app.command(name="tools")
def list_tools(
    mcp: MCP = [],  # noqa: B006
    tools: TOOLS = [],  # noqa: B006
    cards: Annotated[bool, typer.Option("--cards", help="Print the cards themselves.")] = False,
) -> None:
    """Show the cards that the model would see, and what they cost."""

    async def work() -> tuple[ToolSpec, ...]:
        async with AsyncExitStack() as stack:
            return await _load(stack, mcp, tools)

    specs = _await(work())
    console = Console()
    if cards:
        for spec in specs:
            console.print(render_card(spec), markup=False, highlight=False, soft_wrap=True)
            console.print()
    table = Table("Tool", "From", "Effect", box=box.SIMPLE_HEAD)
    table.add_column("Tokens", justify="right")
    costs = [estimate_tokens(render_card(spec)) for spec in specs]
    for spec, cost in zip(specs, costs, strict=True):
        table.add_row(escape(spec.name), spec.source, spec.policy.effect or spec.effect, str(cost))
    table.add_section()
    table.add_row(f"{len(specs)} tools", "", "", f"about {sum(costs)}")
    console.print(table)


@app.command()
def demo(model: MODEL = None, as_json: JSON = False) -> None:
    """See a run on real tools: an MCP server and Python functions. Needs no key: then the model's words are recorded."""
    _finish(_await(run_demo(model, _show_run)), as_json=as_json)


async def _show_run(cm: CodeMode, task: str) -> RunResult:
    console = Console(stderr=True)
    console.print(f"[bold]Task[/] {escape(task)}", highlight=False)
    return await cm.run(task, verbose=Progress(console))


async def _load(stack: AsyncExitStack, mcp: list[Path], modules: list[str]) -> tuple[ToolSpec, ...]:
    found: list[Any] = [tool for module in modules for tool in load_from_module(module)]
    for path in mcp:
        loader = await stack.enter_async_context(MCPToolLoader.from_config(path))
        found += await loader.load()
    if not found:
        raise ConfigurationError("there are no tools: give --mcp FILE or --tools MODULE:NAME")
    return load_tools(found)


def _await(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted", style="red")
        raise typer.Exit(130) from None


def _finish(result: RunResult, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False, indent=2))
    elif result["success"]:
        output = result["output"]
        typer.echo(output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, indent=2))
    if result["success"]:
        return
    if not result["attempts"]:
        raise ModelError(str(result["error"]))
    Console(stderr=True, soft_wrap=True).print(
        f"no answer: {result['error']}", style="red", markup=False, highlight=False
    )
    raise typer.Exit(1)
