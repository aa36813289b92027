"""The tools that a program may call."""

from codemode_graph.tools.from_function import tool
from codemode_graph.tools.spec import IdempotencyKey

__all__ = ["IdempotencyKey", "tool"]
