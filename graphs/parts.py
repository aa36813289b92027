"""The parts of the served graphs, from environment variables.

Their tools are the MCP servers of the file that CODEMODE_MCP names (the common mcpServers form), or the demo's where it
names none. Their model is CODEMODE_MODEL, such as "openai:gpt-5.2".
CODEMODE_APPROVE names the tools whose calls a person has to approve: patterns with commas between them.
CODEMODE_SANDBOX is where programs run, by default "auto"; CODEMODE_AUTO names the sandboxes that "auto" may choose, and
CODEMODE_FALLBACK those that are used where CODEMODE_SANDBOX is not available: names with commas between them.
"""

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from codemode_sandboxes import Sandbox, resolve_sandbox
from langchain_core.language_models import BaseChatModel
from langchain_core.outputs import ChatResult
from langchain_core.runnables import Runnable

from codemode_graph import ConfigurationError, MCPToolLoader, ToolPolicy
from codemode_graph.demo import send_letter, send_reminder
from codemode_graph.model.ask import load_model

__all__ = ["chat_model", "model_name", "open_tools", "policies", "sandbox"]


@asynccontextmanager
async def open_tools() -> AsyncIterator[list[Any]]:
    """Open the MCP sessions and return the tools, for one run: the server makes a graph for each."""
    path = os.environ.get("CODEMODE_MCP")
    async with MCPToolLoader.from_config(path) if path else MCPToolLoader() as mcp:
        if path:
            yield await mcp.load()
        else:
            mcp.add_stdio_server("shop", sys.executable, ["-m", "codemode_graph.demo.shop_server"])
            yield [*await mcp.load(), send_letter, send_reminder]


def policies() -> Mapping[str, ToolPolicy]:
    """Return the policies that ask a person."""
    return {pattern: ToolPolicy(approval=True) for pattern in _names("CODEMODE_APPROVE")}


@cache
def sandbox() -> Sandbox:
    """Return the sandbox: one for all runs of the process, so that its guests are started before they are needed."""
    wanted, auto = os.environ.get("CODEMODE_SANDBOX") or None, _names("CODEMODE_AUTO") or None
    return resolve_sandbox(wanted, auto=auto, fallback=_names("CODEMODE_FALLBACK"))


def model_name() -> str | None:
    """Return the model's name; None where none is set."""
    return os.environ.get("CODEMODE_MODEL") or None


def chat_model() -> BaseChatModel:
    """Return the model; where none is set, one that raises when it is asked, so that the server can show its graphs.

    Raises:
        ConfigurationError: The model that is set cannot be used.
    """
    name = model_name()
    return _NoModel() if name is None else load_model(name)


class _NoModel(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "none"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, Any]:
        return self

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise ConfigurationError("set CODEMODE_MODEL to a model, such as openai:gpt-5.2: this graph asks one")


def _names(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]
