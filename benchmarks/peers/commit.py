"""codemode-graph as it was at a commit: programs through `run_code`, by names that every commit has."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import codemode_graph
from benchmarks.peers.programs import PROGRAMS
from benchmarks.peers.tools import EXPECTED, TOOLS
from benchmarks.peers.worker import Run, Ways
from codemode_graph import codemode

__all__ = ["open_ways", "program_run"]


def program_run(cm: Any, program: str) -> Run:
    """Return what runs a program and returns its value."""

    async def run(comment: str) -> Any:
        result = await cm.run_code(program + comment)
        if not result["success"]:
            raise RuntimeError(result["error"])
        return result["output"]

    return run


@asynccontextmanager
async def open_ways() -> AsyncIterator[Ways]:
    """Open the tools and one sandbox, for all runs."""
    async with codemode(tools=list(TOOLS)) as cm:
        commit = Path(codemode_graph.__file__).parents[1].name  # its folder has its name
        yield {commit: {name: program_run(cm, program) for name, program in zip(EXPECTED, PROGRAMS, strict=True)}}
