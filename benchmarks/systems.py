"""The systems that are compared, and the processes in which they run."""

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks.environments import CACHE, ROOT

__all__ = ["OURS", "SYSTEMS", "System", "Worker"]

MONTY = "pydantic-monty>=1.4,<1.5"
"""The same interpreter for every system that uses it."""

OURS = ("./sandboxes", ".", MONTY)
"""What our own environment holds."""

ANSWER_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One system.

    Attributes:
        name: For the command line.
        module: Runs the programs.
        environment: Name of its virtual environment.
        requirements: What the environment holds.
        packages: Those of its packages that the report names.
        arguments: The module's.
    """

    name: str
    module: str
    environment: str
    requirements: tuple[str, ...]
    packages: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


SYSTEMS = (
    System(name="direct", module="benchmarks.peers.direct", environment="codemode-graph", requirements=OURS),
    System(
        name="codemode-graph",
        module="benchmarks.peers.ours",
        environment="codemode-graph",
        requirements=OURS,
        packages=("codemode-graph", "codemode-sandboxes", "langgraph", "langchain-core", "pydantic-monty"),
    ),
    System(
        name="fastmcp",
        module="benchmarks.peers.fastmcp_codemode",
        environment="fastmcp",
        requirements=("fastmcp[code-mode]>=4.1,<5", MONTY),
        packages=("fastmcp", "mcp", "pydantic-monty"),
    ),
    System(
        name="smolagents",
        module="benchmarks.peers.smolagents_local",
        environment="smolagents",
        requirements=("smolagents>=1.26,<2",),
        packages=("smolagents",),
    ),
)


@dataclass(slots=True)
class Worker:
    """One system's process.

    Attributes:
        system: Which.
        ready: What it said when it was ready: ways, packages, seconds.
    """

    system: System
    ready: Mapping[str, Any]
    _process: asyncio.subprocess.Process = field(repr=False)
    _log: Path = field(repr=False)

    @classmethod
    async def start(cls, system: System, python: Path, *, module: str = "benchmarks.peers.worker") -> Self:
        """Start the process and wait until it is ready.

        Args:
            system: Which.
            python: Its environment's.
            module: What runs in the process.

        Raises:
            RuntimeError: It is not.
        """
        log = CACHE / f"{system.name}.log"
        # Tracing switched on by the environment would be measured too.
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("LANGSMITH", "LANGCHAIN", "PYTHON"))}
        with log.open("w") as errors:
            process = await asyncio.create_subprocess_exec(
                *(str(python), "-m", module, system.module, *system.arguments),
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

    async def sample(self, way: str, program: str, samples: int) -> list[float]:
        """Seconds that each of so many runs of a program took.

        Raises:
            RuntimeError: The program failed, or gave another value than it should.
        """
        seconds: list[float] = (await self.ask({"way": way, "program": program, "samples": samples}))["seconds"]
        return seconds

    async def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Give the answer to an order.

        Raises:
            RuntimeError: There is none.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        await self._process.stdin.drain()
        return await self._answer()

    async def stop(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 10)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = b""
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), ANSWER_SECONDS)
            answer: dict[str, Any] = json.loads(line)
        except (TimeoutError, ValueError) as error:
            await self.stop()
            said = self._log.read_text(errors="replace").strip().splitlines()[-15:]
            raise RuntimeError("\n".join([f"{self.system.name} gave no answer; its log ends:", *said])) from error
        return answer
