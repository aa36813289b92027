"""What a program may call."""

from codemode_graph.tools.idempotency import IdempotencyKey
from codemode_graph.tools.marks import tool

__all__ = ["IdempotencyKey", "tool"]
