"""`codemode-graph sandboxes`: where programs can run here, found out by running one."""

import asyncio
import json
import time
from dataclasses import asdict, dataclass
from typing import Any

from codemode_sandboxes import (
    SANDBOXES,
    AutoSandbox,
    Finished,
    Program,
    Sandbox,
    SandboxError,
    SandboxUnavailable,
    create_sandbox,
)
from codemode_sandboxes.registry import EXTRAS
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from codemode_graph.cli.running import run_async
from codemode_graph.redact import redact
from codemode_graph.trace.console import say

__all__ = ["Report", "examine", "show_sandboxes"]

DEFAULT = "monty"
LIMITS = ("time", "memory", "output", "processes", "files", "network")
PATIENCE = 120.0
"""Seconds until a sandbox must have run a program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found out of a sandbox.

    Attributes:
        name: Its name.
        extra: The extra of codemode-sandboxes that brings what it needs; None where nothing is needed.
        available: Whether a program ran in it.
        reason: Why not.
        remedy: What makes it available.
        language: What programs are written in.
        boundary: What contains them.
        enforces: The limits and denials that it enforces.
        cold: Seconds until the first program had ended, imports included.
        ready: Seconds that the next one took.
    """

    name: str
    available: bool
    extra: str | None = None
    reason: str = ""
    remedy: str = ""
    language: str = ""
    boundary: str = ""
    enforces: tuple[str, ...] = ()
    cold: float | None = None
    ready: float | None = None


async def examine(name: str) -> Report:
    """Run a program in a sandbox, twice."""
    known: Any = {"name": name, "extra": EXTRAS.get(name)}
    try:
        async with asyncio.timeout(PATIENCE):
            started = time.perf_counter()
            sandbox = create_sandbox(name)
            try:
                await _run(sandbox)
                cold = time.perf_counter() - started
                started = time.perf_counter()
                await _run(sandbox)
                ready = time.perf_counter() - started
                able = await asyncio.to_thread(lambda: sandbox.capabilities)
            finally:
                await sandbox.aclose()
    except SandboxUnavailable as missing:
        return Report(**known, available=False, reason=missing.reason, remedy=missing.remedy)
    except TimeoutError:
        return Report(
            name=name,
            extra=EXTRAS.get(name),
            available=False,
            reason=f"it did not run a program within {PATIENCE:g} seconds",
        )
    except SandboxError as error:
        return Report(**known, available=False, reason=redact(str(error)))
    return Report(
        **known,
        available=True,
        language=able.language,
        boundary=able.boundary,
        enforces=tuple(limit for limit in LIMITS if limit in able.enforces),
        cold=cold,
        ready=ready,
    )


async def _run(sandbox: Sandbox) -> None:
    execution = await sandbox.start(Program(code="6 * 7"))
    try:
        event = await execution.advance()
    finally:
        await execution.aclose()
    if not isinstance(event, Finished) or event.value != 42:
        raise SandboxError(f"its first program did not run: {event}")


def show_sandboxes(*, as_json: bool) -> None:
    """Print what there is."""

    async def work() -> list[Report]:
        reports = []
        with Console(stderr=True).status("") as status:
            for name in sorted(
                SANDBOXES, key=AutoSandbox.cost
            ):  # one after the other: they would slow one another down
                status.update(f"running a program in {name}")
                reports.append(await examine(name))
        return reports

    reports = run_async(work())
    if as_json:
        print(json.dumps([asdict(report) for report in reports], indent=2))
        return
    console = Console()
    here = [report for report in reports if report.available]
    if here:
        console.print(_table(here))
        say(console, "Cold: milliseconds until the first program had run. Ready: the same of the next.")
        for report in here:
            if lacks := [limit for limit in LIMITS if limit not in report.enforces]:
                console.print()
                say(console, ", ".join(lacks), prefix=f"{report.name} does not enforce: ", style="yellow", hang=2)
    for report in reports:
        if not report.available:
            remedy = f". {report.remedy}" if report.remedy else ""
            console.print()
            say(console, f"{report.reason}{remedy}", prefix=f"{report.name} is not available: ", style="yellow", hang=2)
    console.print()
    say(console, "pip install 'codemode-sandboxes[EXTRA]' installs what an extra names.")
    say(console, f"{DEFAULT} is used unless you say otherwise: codemode-graph run --sandbox NAME.")
    say(console, "Recommended: --sandbox auto, the cheapest that offers what each program uses.")


def _table(reports: list[Report]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("Sandbox", "Language", "Boundary", "Extra"):
        table.add_column(heading, overflow="fold")
    for heading in ("Cold", "Ready"):
        table.add_column(heading, justify="right", no_wrap=True)
    for report in reports:
        name = Text(report.name, style="bold green" if report.name == DEFAULT else "")
        times = (f"{(seconds or 0.0) * 1000:.1f}" for seconds in (report.cold, report.ready))
        table.add_row(name, report.language, report.boundary, report.extra or "none", *times)
    return table
