"""Code mode as a LangGraph state machine.

A model writes one program that calls many tools; it is checked, run in a sandbox, and repaired where it fails.
"""

from codemode_sandboxes import Limits

from codemode_graph.api import CodeMode, RunResult, codemode
from codemode_graph.errors import CodeModeError, ConfigurationError, ModelError, ToolLoadError
from codemode_graph.graph import create_codemode
from codemode_graph.mcp import MCPToolLoader
from codemode_graph.settings import Context
from codemode_graph.state import CodeModeState
from codemode_graph.tools import tool
from codemode_graph.tools.spec import ToolPolicy, ToolSpec

__all__ = [
    "CodeMode",
    "CodeModeError",
    "CodeModeState",
    "ConfigurationError",
    "Context",
    "Limits",
    "MCPToolLoader",
    "ModelError",
    "RunResult",
    "ToolLoadError",
    "ToolPolicy",
    "ToolSpec",
    "codemode",
    "create_codemode",
    "tool",
]
