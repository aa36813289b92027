"""The systems that are compared: their virtual environments, and the processes in which they run.

A process reads orders from standard input and answers each on standard output, in one JSON object a line. Its first line
names the packages that it runs with.
"""

import asyncio
import importlib.metadata
import json
import os
import subprocess
import sys
import venv
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks.machine import ROOT

__all__ = [
    "FASTMCP",
    "HARNESS",
    "MICROSOFT",
    "OURS",
    "SMOLAGENTS",
    "SYSTEMS",
    "System",
    "Worker",
    "environment",
    "installed_packages",
    "read_orders",
    "take_stdout",
]

CACHE = ROOT / ".cache" / "benchmarks"

MONTY = "pydantic-monty>=1.4,<1.5"
"""The same interpreter for every system that uses it."""

OURS = ("./sandboxes", ".", MONTY)
FASTMCP = ("fastmcp[code-mode]>=4.1,<5", MONTY)
SMOLAGENTS = ("smolagents>=1.26,<2",)
HARNESS = ("pydantic-ai-harness>=0.62,<1", MONTY)
MICROSOFT = ("agent-framework-monty>=1.0.0b1,<2",)  # it pins an older Monty
"""The requirements of each environment."""

ANSWER_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One system that is measured.

    Attributes:
        name: Its name on the command line.
        module: The module that runs its programs.
        environment: The name of its virtual environment.
        requirements: The requirements that pip installs in the environment.
        packages: Those of the environment's packages that the report names.
        arguments: The arguments of the module.
        tree: Where its packages are, instead of in the environment: the repository's files at another commit.
    """

    name: str
    module: str
    environment: str
    requirements: tuple[str, ...]
    packages: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    tree: Path | None = None


SYSTEMS = (
    System(name="direct", module="benchmarks.peers.direct", environment="codemode-graph", requirements=OURS),
    System(
        name="codemode-graph",
        module="benchmarks.peers.graph",
        environment="codemode-graph",
        requirements=OURS,
        packages=("codemode-graph", "codemode-sandboxes", "langgraph", "langchain-core", "pydantic-monty"),
    ),
    System(
        name="fastmcp",
        module="benchmarks.peers.fastmcp_codemode",
        environment="fastmcp",
        requirements=FASTMCP,
        packages=("fastmcp", "mcp", "pydantic-monty"),
    ),
    System(
        name="smolagents",
        module="benchmarks.peers.smolagents_local",
        environment="smolagents",
        requirements=SMOLAGENTS,
        packages=("smolagents",),
    ),
    System(
        name="pydantic-ai-harness",
        module="benchmarks.peers.pydantic_harness",
        environment="pydantic-ai-harness",
        requirements=HARNESS,
        packages=("pydantic-ai-harness", "pydantic-ai-slim", "pydantic-monty"),
    ),
    System(
        name="microsoft",
        module="benchmarks.peers.microsoft_monty",
        environment="microsoft",
        requirements=MICROSOFT,
        packages=("agent-framework-monty", "agent-framework-core", "pydantic-monty"),
    ),
)


def environment(name: str, requirements: Sequence[str], *, bare: Sequence[str] = ()) -> Path:
    """Make a virtual environment, unless it exists with the same contents. Systems need versions that exclude each other.

    Args:
        name: The name of its folder under `.cache/benchmarks`.
        requirements: The requirements for pip. A path, relative to the repository, is installed as editable.
        bare: Requirements that are installed without what they require, because that is much and not used.

    Returns:
        The environment's Python.

    Raises:
        subprocess.CalledProcessError: pip fails; its messages are on standard error.
    """
    folder = CACHE / name
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    # With the place and the dependencies of our own projects: a cache that another tree shares installs anew.
    projects = [
        (ROOT / each.partition("[")[0] / "pyproject.toml").read_text() for each in requirements if each[0] == "."
    ]
    contents = "\n".join([sys.version, *([str(ROOT)] if projects else []), *requirements, *bare, *projects])
    record = folder / "installed.txt"
    if record.exists() and record.read_text() == contents:
        return python
    print(f"installing {name} into {folder.relative_to(ROOT)}", file=sys.stderr)
    venv.create(folder, clear=True, with_pip=True)
    arguments = [part for each in requirements for part in (("-e", each) if each.startswith(".") else (each,))]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(pip, cwd=ROOT, check=True)
    if bare:
        subprocess.run([*pip[:6], "--no-deps", *bare], cwd=ROOT, check=True)
    record.write_text(contents)
    return python


@dataclass(slots=True)
class Worker:
    """The process of one system.

    Attributes:
        system: The system.
        ready: The first line that it answered.
    """

    system: System
    ready: Mapping[str, Any]
    _process: asyncio.subprocess.Process = field(repr=False)
    _log: Path = field(repr=False)

    @classmethod
    async def start(cls, system: System, python: Path, *, module: str = "benchmarks.peers.worker") -> Self:
        """Start the process, and wait until it is ready.

        Args:
            system: The system.
            python: The Python of its environment.
            module: The module that runs in the process.

        Raises:
            RuntimeError: It ends, or is not ready in time.
        """
        log = CACHE / f"{system.name}.log"
        # Tracing that the environment switches on would be measured too.
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("LANGSMITH", "LANGCHAIN", "PYTHON"))}
        # The folder that a process starts in comes first otherwise.
        flags = [] if system.tree is None else ["-P"]
        if system.tree is not None:
            clean["PYTHONPATH"] = os.pathsep.join(map(str, (system.tree, system.tree / "sandboxes", ROOT)))
        with log.open("w") as errors:
            process = await asyncio.create_subprocess_exec(
                *(str(python), *flags, "-m", module, system.module, *system.arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env=clean,
                limit=2**20,
            )
        worker = cls(system, {}, process, log)
        worker.ready = await worker._answer()
        return worker

    async def ask(self, order: Mapping[str, Any], *, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """Send an order, and return its answer.

        Args:
            order: The order.
            seconds: How long the answer may take.

        Raises:
            RuntimeError: There is no answer.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()
        return await self._answer(seconds)

    async def stop(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 10)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _answer(self, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = b""
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), seconds)
            answer: dict[str, Any] = json.loads(line)
        except (TimeoutError, ValueError) as error:
            await self.stop()
            lines = self._log.read_text(errors="replace").strip().splitlines()[-15:]
            raise RuntimeError("\n".join([f"{self.system.name} gave no answer; its log ends:", *lines])) from error
        return answer


def take_stdout() -> Callable[[Mapping[str, Any]], None]:
    """Return a function that answers on standard output, where nothing else can write from now on."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a system prints must not mix with the answers
    return lambda answer: print(json.dumps(answer), file=answers, flush=True)


async def read_orders() -> AsyncIterator[dict[str, Any]]:
    """Yield the orders from standard input, until its end."""
    # In a thread, so that what a system does in the background between runs goes on.
    while line := await asyncio.to_thread(sys.stdin.readline):
        yield json.loads(line)


def installed_packages() -> dict[str, str]:
    """Return the version of each package in this environment."""
    return {each.name: each.version for each in importlib.metadata.distributions()}
