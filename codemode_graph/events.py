"""What a run tells while it works: events on LangGraph's `custom` stream.

Every event is a dict with `type` (one of `EventType`), made of JSON values. A stream's reader that does not know a type
ignores it.
"""

import logging
from typing import Any, Literal, TypeAlias

from langgraph.config import get_stream_writer

__all__ = ["EventType", "emit", "logger"]

EventType: TypeAlias = Literal[
    "attempt",
    "model",
    "check",
    "sandbox",
    "call_started",
    "call_finished",
    "call_answered",
    "call_pending",
    "stdout",
    "outcome",
]
"""`attempt` begins with a new program; `model` reports one model call; `check` what was fixed and found; `sandbox`
where there was a choice of sandboxes, which one runs the program and why not those before it; `call_*` a tool
call; `stdout` what the program printed; `outcome` the verdict on an attempt."""

logger = logging.getLogger("codemode")


def emit(type: EventType, **fields: Any) -> None:
    """Send an event to whoever streams `custom`, and to the logger `codemode` at debug level."""
    logger.debug("%s %s", type, fields)
    get_stream_writer()({"type": type, **fields})
