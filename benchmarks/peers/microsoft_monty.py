"""Microsoft Agent Framework's Monty provider: the tool that it gives agents, with an older Monty in this process."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agent_framework_monty import MontyExecuteCodeTool  # type: ignore[import-not-found]

from benchmarks.peers.tools import EXPECTED, FUNCTION_PROGRAMS, TOOLS
from benchmarks.peers.worker import Run, Ways

__all__ = ["open_ways"]


def _program(program: str) -> Run:
    tool = MontyExecuteCodeTool(tools=list(TOOLS), approval_mode="never_require")

    async def run(comment: str) -> Any:
        (content,) = await tool.invoke(arguments={"code": program + comment})
        return json.loads(content.text)

    return run


@asynccontextmanager
async def open_ways() -> AsyncIterator[Ways]:
    """Yield the one way."""
    yield {"microsoft": dict(zip(EXPECTED, map(_program, FUNCTION_PROGRAMS), strict=True))}
