"""Show what a run could use: the tools, and the providers of models."""

import json
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.table import Column
from rich.text import Text

from codemode_graph.api import codemode
from codemode_graph.cli.history import journal_place
from codemode_graph.cli.invocation import load_specs
from codemode_graph.cli.run import run_async
from codemode_graph.compat import chat_providers
from codemode_graph.tools.cards import estimate_tokens, render_card
from codemode_graph.tools.spec import ToolSpec
from codemode_graph.trace.console import say, visible
from codemode_graph.trace.plaintext import text_table
from codemode_graph.trace.words import plural


def show_tools(*, mcp: Sequence[Path], tools: Sequence[str], cards: bool) -> None:
    """Print the tools with their cost in tokens, and with `cards` also the text that the model reads of each."""

    async def work() -> tuple[ToolSpec, ...]:
        async with AsyncExitStack() as stack:
            return await load_specs(stack, mcp, tools)

    specs = run_async(work())
    console = Console()
    texts = [render_card(spec) for spec in specs]
    if cards:
        _print_cards(console, texts)
    costs = [estimate_tokens(text) for text in texts]
    effects = [f"{spec.effect} (not declared)" if spec.undeclared else spec.effect_in_force for spec in specs]
    rows = [
        (spec.name, spec.source, effect, str(cost)) for spec, effect, cost in zip(specs, effects, costs, strict=True)
    ]
    table = text_table(["Tool", "From", "Effect", Column("Tokens", justify="right")], rows)
    table.add_section()
    table.add_row(plural(len(specs), "tool"), "", "", f"about {sum(costs)}")
    console.print(table)


def show_observed(
    *,
    mcp: Sequence[Path],
    tools: Sequence[str],
    journal: Path | None,
    export: Path | None,
    load: Path | None,
    forget: bool,
) -> None:
    """Print what recorded runs saw of the results of tools that declare none, as the model reads it."""

    async def work() -> list[ToolSpec]:
        async with AsyncExitStack() as stack:
            specs = await load_specs(stack, mcp, tools)
            cm = await stack.enter_async_context(codemode(tools=specs, sandbox="monty", durable=journal_place(journal)))
            done = {f"read from {load}": await cm.observed.load(load)} if load is not None else {}
            if forget:
                done["forgotten"] = await cm.observed.forget()
            if export is not None:
                done[f"written to {export}"] = await cm.observed.export(export)
            for what, names in done.items():
                say(Console(stderr=True), f"{what}: {', '.join(names) or 'nothing'}")
            seen = await cm.observed.schemas()
            return [replace(spec, observed_schema=seen[spec.name]) for spec in specs if spec.name in seen]

    specs = run_async(work())
    _print_cards(Console(), map(render_card, specs))
    if not specs:
        say(Console(stderr=True), "no recorded run saw a result of these tools that they do not declare")


def _print_cards(console: Console, texts: Iterable[str]) -> None:
    for text in texts:
        console.print(Text(visible(text)), soft_wrap=True)
        console.print()


def show_providers(*, as_json: bool) -> None:
    """Print the providers that `--model` takes, the package of each, and the command that installs a missing one."""
    found = [
        {"provider": name, "package": package, "installed": find_spec(module) is not None, "version": _version(package)}
        for name, (module, package) in sorted(chat_providers().items())
    ]
    if as_json:
        print(json.dumps(found, indent=2))
        return
    rows = []
    for each in sorted(found, key=lambda each: not each["installed"]):
        state = f"{each['package']} {each['version']}" if each["installed"] else f"no: pip install {each['package']}"
        rows.append((str(each["provider"]), state))
    console = Console()
    console.print(text_table(["Provider", "Installed"], rows))
    say(console, "--model takes PROVIDER:MODEL, such as openai:gpt-5.2. A provider reads its key from the environment.")
    say(console, "For a server of your own that speaks OpenAI's protocol, set OPENAI_BASE_URL and take openai:MODEL.")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
