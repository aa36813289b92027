"""Code mode as a LangGraph state machine.

A model writes one program that calls many tools; it is checked, run in a sandbox, and repaired where it fails.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codemode_sandboxes import Limits

    from codemode_graph.api import CodeMode, codemode
    from codemode_graph.calls.journal import Journal, MemoryJournal
    from codemode_graph.calls.postgres import PostgresJournal
    from codemode_graph.calls.sqlite import SQLiteJournal
    from codemode_graph.calls.store import StoreJournal
    from codemode_graph.errors import CodeModeError, ConfigurationError, ModelError, NoAnswer, ToolLoadError
    from codemode_graph.graph import create_codemode
    from codemode_graph.integrations.agent import create_agent, create_codemode_tool
    from codemode_graph.integrations.chat import create_codemode_chat
    from codemode_graph.integrations.middleware import CodeModeMiddleware
    from codemode_graph.mcp import MCPToolLoader
    from codemode_graph.options import CodeModeOptions, RunOptions
    from codemode_graph.result import RunResult
    from codemode_graph.settings import Context, Prices
    from codemode_graph.state import CodeModeState
    from codemode_graph.tools import IdempotencyKey, tool
    from codemode_graph.tools.spec import ToolPolicy, ToolSpec, Undo
    from codemode_graph.trace import Trace

__all__ = [
    "CodeMode",
    "CodeModeError",
    "CodeModeMiddleware",
    "CodeModeOptions",
    "CodeModeState",
    "ConfigurationError",
    "Context",
    "IdempotencyKey",
    "Journal",
    "Limits",
    "MCPToolLoader",
    "MemoryJournal",
    "ModelError",
    "NoAnswer",
    "PostgresJournal",
    "Prices",
    "RunOptions",
    "RunResult",
    "SQLiteJournal",
    "StoreJournal",
    "ToolLoadError",
    "ToolPolicy",
    "ToolSpec",
    "Trace",
    "Undo",
    "codemode",
    "create_agent",
    "create_codemode",
    "create_codemode_chat",
    "create_codemode_tool",
    "tool",
]

# LangChain and LangGraph take more than a second to import: who does not need them does not wait for them.
_PLACES = {
    "Limits": "codemode_sandboxes",
    "CodeMode": "codemode_graph.api",
    "CodeModeOptions": "codemode_graph.options",
    "RunOptions": "codemode_graph.options",
    "RunResult": "codemode_graph.result",
    "codemode": "codemode_graph.api",
    "Journal": "codemode_graph.calls.journal",
    "MemoryJournal": "codemode_graph.calls.journal",
    "PostgresJournal": "codemode_graph.calls.postgres",
    "SQLiteJournal": "codemode_graph.calls.sqlite",
    "StoreJournal": "codemode_graph.calls.store",
    "CodeModeError": "codemode_graph.errors",
    "ConfigurationError": "codemode_graph.errors",
    "ModelError": "codemode_graph.errors",
    "NoAnswer": "codemode_graph.errors",
    "ToolLoadError": "codemode_graph.errors",
    "create_codemode": "codemode_graph.graph",
    "create_agent": "codemode_graph.integrations.agent",
    "create_codemode_tool": "codemode_graph.integrations.agent",
    "create_codemode_chat": "codemode_graph.integrations.chat",
    "CodeModeMiddleware": "codemode_graph.integrations.middleware",
    "MCPToolLoader": "codemode_graph.mcp",
    "Context": "codemode_graph.settings",
    "Prices": "codemode_graph.settings",
    "CodeModeState": "codemode_graph.state",
    "IdempotencyKey": "codemode_graph.tools.spec",
    "tool": "codemode_graph.tools",
    "ToolPolicy": "codemode_graph.tools.spec",
    "ToolSpec": "codemode_graph.tools.spec",
    "Undo": "codemode_graph.tools.spec",
    "Trace": "codemode_graph.trace",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
