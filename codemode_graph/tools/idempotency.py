"""Keys by which a service knows a call that it has had before, and does not do twice what it did."""

import uuid
from typing import Annotated, TypeAlias

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import InjectedToolArg

__all__ = ["IdempotencyKey", "InjectedIdempotencyKey", "idempotency_key"]


class InjectedIdempotencyKey(InjectedToolArg):
    """Marks the argument of a tool that takes the call's idempotency key. No model and no program gives it."""


IdempotencyKey: TypeAlias = Annotated[str, InjectedIdempotencyKey()]
"""The hint of a tool's argument that takes the call's idempotency key, a UUID: `async def pay(to: str, key: IdempotencyKey)`.

It is equal for a call and for the same call made again: tried again after an error, by a repaired program, or after its
process died. Another call, identical or not, has another. A tool with such an argument promises that nothing happens twice
under one key: so its calls that were cut off are made again, and nobody is asked."""


def idempotency_key(config: RunnableConfig) -> str:
    """The key of the call that a tool is called with. Where no program makes it, a new one."""
    return str((config.get("metadata") or {}).get("codemode_idempotency_key") or uuid.uuid4())
