"""`codemode-graph sandboxes` and `build-image`: test every sandbox with a program, and build the image of docker."""

import asyncio
import json
import time
from dataclasses import asdict, dataclass

from codemode_sandboxes import (
    SANDBOXES,
    AutoSandbox,
    Finished,
    Program,
    Sandbox,
    SandboxError,
    SandboxUnavailable,
    UnknownSandbox,
    create_sandbox,
)
from codemode_sandboxes.docker import BuildFailed, build_docker_image
from codemode_sandboxes.registry import EXTRAS, SPREAD, backend_name
from rich.console import Console
from rich.table import Column, Table

from codemode_graph.cli.run import refuse, run_async
from codemode_graph.redact import redact
from codemode_graph.trace.console import LiveView, say
from codemode_graph.trace.plaintext import text_table

LIMITS = ("time", "memory", "output", "processes", "files", "network")
PATIENCE = 120.0
"""Seconds until a sandbox must have run a program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The test of a sandbox.

    Attributes:
        name: Its name.
        extra: The extra of codemode-sandboxes that installs its dependencies; None where it has none.
        available: True where a program ran in it; None where it is installed, and was not tried.
        reason: Why no program ran.
        remedy: What makes it available.
        language: The language of its programs.
        boundary: The mechanism that contains them.
        enforces: The limits and denials that it enforces.
        cold: Seconds until the first program had ended, imports included.
        ready: Seconds of the second program.
    """

    name: str
    available: bool | None
    extra: str | None = None
    reason: str = ""
    remedy: str = ""
    language: str = ""
    boundary: str = ""
    enforces: tuple[str, ...] = ()
    cold: float | None = None
    ready: float | None = None


async def examine(name: str) -> Report:
    """Run a program twice in the sandbox of that name, and report the times, or the reason why it cannot run."""
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
                # Some sandboxes start a probe for this, which would block the event loop.
                able = await asyncio.to_thread(lambda: sandbox.capabilities)
            finally:
                await sandbox.aclose()
    except TimeoutError:
        return _absent(name, SandboxUnavailable(name, f"it did not run a program within {PATIENCE:g} seconds"))
    except (SandboxError, ValueError) as error:
        return _absent(name, error)
    return Report(
        name=name,
        extra=EXTRAS.get(name),
        available=True,
        language=able.language,
        boundary=able.boundary,
        enforces=tuple(limit for limit in LIMITS if limit in able.enforces),
        cold=cold,
        ready=ready,
    )


def look(name: str) -> Report:
    """Report whether the sandbox of that name is installed, without starting anything."""
    try:
        create_sandbox(name)
    except (SandboxError, ValueError) as error:  # of the settings in the environment
        return _absent(name, error)
    remedy = f"`codemode-graph sandboxes {name}` runs a program in it"
    return Report(name=name, extra=EXTRAS.get(name), available=None, reason="it starts a cluster", remedy=remedy)


def _absent(name: str, error: Exception) -> Report:
    reason, remedy = redact(str(error)), ""
    if isinstance(error, SandboxUnavailable):
        reason, remedy = error.reason, error.remedy
    return Report(name=name, extra=EXTRAS.get(name), available=False, reason=reason, remedy=remedy)


async def _run(sandbox: Sandbox) -> None:
    # A sandbox can be installed and still be unable to run, for want of a kernel feature: only a program shows it.
    execution = await sandbox.start(Program(code="6 * 7"))
    try:
        event = await execution.advance()
    finally:
        await execution.aclose()
    if not isinstance(event, Finished) or event.value != 42:
        raise SandboxError(f"its first program did not run: {event}")


def show_sandboxes(names: list[str], *, as_json: bool) -> None:
    """Print which sandboxes are available, what each enforces, and how fast it starts.

    Args:
        names: Those to try; where there are none, all but those that would start a cluster for it.
        as_json: Print it as JSON.
    """
    try:
        to_try = list(dict.fromkeys(map(backend_name, names)))
    except UnknownSandbox as error:
        refuse(str(error))

    async def work() -> list[Report]:
        reports = []
        with Console(stderr=True).status("") as status:
            # One after the other: the times of sandboxes that start together would say nothing.
            for name in to_try or sorted(SANDBOXES, key=AutoSandbox.cost):
                if name in SPREAD and not to_try:
                    reports.append(look(name))
                    continue
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
        say(console, "Milliseconds of a program: Cold with the start of the sandbox, Ready after it.")
        for report in here:
            if lacks := [limit for limit in LIMITS if limit not in report.enforces]:
                console.print()
                say(console, ", ".join(lacks), prefix=f"{report.name} does not enforce: ", style="yellow", hang=2)
    for report in reports:
        if not report.available:
            remedy = f". {report.remedy}" if report.remedy else ""
            state = "is not available" if report.available is False else "was not tried"
            console.print()
            say(console, f"{report.reason}{remedy}", prefix=f"{report.name} {state}: ", style="yellow", hang=2)
    console.print()
    say(console, "pip install 'codemode-sandboxes[EXTRA]' installs what an extra names.")
    say(
        console,
        "Each program runs in the cheapest that offers what it uses: auto. --sandbox NAME takes that one alone.",
    )


def _table(reports: list[Report]) -> Table:
    times = [Column(heading, justify="right", no_wrap=True) for heading in ("Cold", "Ready")]
    rows = []
    for report in reports:
        milliseconds = (f"{(seconds or 0.0) * 1000:.1f}" for seconds in (report.cold, report.ready))
        rows.append((report.name, report.language, report.boundary, report.extra or "none", *milliseconds))
    return text_table(["Sandbox", "Language", "Boundary", "Extra", *times], rows)


def show_build(*, tag: str | None, packages: list[str], python: str | None, hosts: list[str]) -> None:
    """Build the image for docker, show the steps on stderr, and print the image's name on stdout."""
    console = Console(stderr=True)
    steps = _Steps(console)
    try:
        name = build_docker_image(tag, packages=packages, python=python, hosts=hosts or None, report=steps.begin)
        steps.end()
    except BuildFailed as error:
        steps.stop()  # the live line must be gone before the error is written
        refuse(str(error))
    finally:
        steps.stop()
    print(name)
    options = f"image={tag!r}" if tag is not None else f"packages={packages!r}"
    use = f"DockerSandbox({options})" if tag is not None or packages else "sandbox='docker'"
    say(console, f"programs use it with {use}")


class _Steps:
    """Writes a line for each step at its end, with the time that it took."""

    def __init__(self, console: Console) -> None:
        self._console, self._live = console, LiveView(console)
        self._step, self._since = "", 0.0

    def begin(self, step: str) -> None:
        self.end()
        self._step, self._since = step, time.monotonic()
        self._live.begin("step", step)

    def end(self) -> None:
        if self._step:
            self._live.end("step")
            seconds = time.monotonic() - self._since
            say(self._console, f"{self._step} {seconds:.1f} s", prefix="  ✓ ", style="green")
        self._step = ""

    def stop(self) -> None:
        self._live.stop()
