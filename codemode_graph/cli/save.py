"""The saved programs of the command line: keep, list, show and remove them."""

import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from codemode_graph.api import CodeMode, codemode
from codemode_graph.catalogue.program_file import SavedProgram
from codemode_graph.catalogue.program_folder import SavedPrograms
from codemode_graph.cli.history import journal_place, recorded_invocation
from codemode_graph.cli.invocation import Invocation, load_specs
from codemode_graph.cli.run import run_async
from codemode_graph.tools.text import one_line
from codemode_graph.trace.console import say, visible
from codemode_graph.trace.plaintext import text_table


def save_program(
    run_id: str, name: str, *, description: str, parameters: Sequence[str], overwrite: bool, journal: Path | None
) -> None:
    """Keep the program of a recorded run, with the tools that the run had."""
    place = journal_place(journal)
    declared = dict(_read_parameter(text) for text in parameters)
    known = recorded_invocation(run_id, place)
    invocation = Invocation(**known)

    async def work() -> tuple[SavedProgram, Path | None]:
        async with AsyncExitStack() as stack:
            specs = await load_specs(stack, invocation.mcp, invocation.tools)
            _, options = invocation.load()
            cm = await stack.enter_async_context(codemode(tools=specs, durable=place, **options))
            saved = await cm.save(run_id, name=name, description=description, parameters=declared, overwrite=overwrite)
            return saved, cm.programs.folder

    program, folder = run_async(work())
    print(f"{folder}/{program.name}.py")
    say(Console(stderr=True), f"{program.name} calls {', '.join(program.tools) or 'no tool'}")


def list_programs(*, journal: Path | None) -> None:
    """Print the saved programs."""
    rows = []
    for program in run_async(_programs(journal)).list():
        arguments = ", ".join(program.parameters.get("properties", {}))
        rows.append((program.name, arguments, ", ".join(program.tools), one_line(program.description, 100)))
    Console().print(text_table(["Program", "Arguments", "Tools", "Description"], rows))


def show_program(name: str, *, journal: Path | None) -> None:
    """Print the file of a saved program."""

    async def work() -> str:
        return (await _programs(journal)).get(name).to_text()

    print(visible(run_async(work())), end="")


def remove_program(name: str, *, journal: Path | None) -> None:
    """Remove a saved program."""

    async def work() -> None:
        (await _programs(journal)).remove(name)

    run_async(work())
    print(f"{name} removed")


async def _programs(journal: Path | None) -> SavedPrograms:
    cm: CodeMode
    # The folder is read as it is: no tool is needed to look at programs.
    async with codemode(tools=[], sandbox="monty", durable=journal_place(journal)) as cm:
        return cm.programs


def _read_parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        return name, None
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
