"""`codemode-graph tools`: show the tools that programs can call."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from codemode_graph.cli.run import load_specs, run_async
from codemode_graph.tools.signatures import estimate_tokens, render_card
from codemode_graph.tools.spec import ToolSpec
from codemode_graph.trace.console import visible

__all__ = ["show_tools"]


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
