"""Calls that one node of a graph makes at the same time, as a `ToolNode` does that is given a message with several.

LangGraph tells the subgraphs of a node apart by the order in which they begin, which is another one in each run of the
node; and where one of them stops to ask somebody, the node ends while the others are still at work, to be begun once more
beside themselves. So here a call is known by its id, and none that asks ends before the others of its node have ended.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphInterrupt
from langgraph.runtime import get_runtime

from codemode_graph.compat import with_subgraph_number

__all__ = ["known_by", "together"]


@dataclass(slots=True)
class _Node:
    """A node that is being run, and how many of its calls are at work."""

    runtime: Any
    at_work: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)


_nodes: dict[int, _Node] = {}


@asynccontextmanager
async def together() -> AsyncIterator[None]:
    """Make a call of a node; where it stops to ask, wait for the other calls that the node makes this way."""
    runtime = get_runtime()
    node = _nodes.setdefault(id(runtime), _Node(runtime))
    node.at_work += 1
    asks = False
    try:
        yield
    except GraphInterrupt:
        asks = True
        raise
    finally:
        node.at_work -= 1
        if node.at_work == 0:
            _nodes.pop(id(runtime), None)
            node.idle.set()
        elif asks:
            await node.idle.wait()


def known_by(call_id: str, config: RunnableConfig) -> RunnableConfig:
    """Give the config under which a call's subgraph has the same checkpoints whenever the node is run.

    Args:
        call_id: The tool call's.
        config: The call's. It is given back as it is outside of a node.
    """
    return with_subgraph_number(config, 1 + int.from_bytes(hashlib.sha256(call_id.encode()).digest()[:6]))
