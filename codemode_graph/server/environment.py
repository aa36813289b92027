"""The settings of a server, from environment variables.

Its tools are those of the MCP servers in the file that CODEMODE_MCP names (the common mcpServers form), and of the modules
in CODEMODE_TOOLS (`mytools:TOOLS`, several with commas between them); the demo's where neither is set.
CODEMODE_MCP_IDLE is the number of seconds after which a session that no run uses is ended.
Its model is CODEMODE_MODEL, such as "openai:gpt-5.2".
CODEMODE_APPROVE names the tools whose calls a person has to approve: patterns with commas between them.
CODEMODE_SANDBOX is where programs run, by default "auto"; CODEMODE_AUTO names the sandboxes that "auto" may choose, and
CODEMODE_FALLBACK those that are used where CODEMODE_SANDBOX is not available: names with commas between them.
"""

import asyncio
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
from pydantic import ImportString, TypeAdapter, ValidationError

from codemode_graph.errors import ConfigurationError
from codemode_graph.mcp import MCPPool, MCPToolLoader
from codemode_graph.mcp.pool import DEFAULT_IDLE_SECONDS
from codemode_graph.model.ask import load_model
from codemode_graph.redact import redact
from codemode_graph.tools.hints import complaint
from codemode_graph.tools.spec import ToolPolicy
from codemode_graph.tools.text import one_line

__all__ = ["NoModel", "chat_model", "import_tools", "model_name", "open_tools", "policies", "pool", "sandbox"]

_IMPORT: TypeAdapter[Any] = TypeAdapter(ImportString)
_DEMO: Any = {"mcpServers": {"shop": {"command": sys.executable, "args": ["-m", "codemode_graph.demo.shop_server"]}}}


@cache
def pool() -> MCPPool:
    """Return the MCP sessions of this process, which its runs share.

    Raises:
        ConfigurationError: CODEMODE_MCP_IDLE is no number of seconds.
    """
    text = os.environ.get("CODEMODE_MCP_IDLE") or str(DEFAULT_IDLE_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        raise ConfigurationError(f"CODEMODE_MCP_IDLE takes a number of seconds, not {text!r}") from None
    return MCPPool(idle_seconds=seconds)


@asynccontextmanager
async def open_tools() -> AsyncIterator[list[Any]]:
    """Lease the MCP sessions for one run, and return the tools.

    Raises:
        ConfigurationError: The file of MCP servers cannot be read, or a module cannot be imported.
        ToolLoadError: A server cannot be reached.
    """
    path, modules = os.environ.get("CODEMODE_MCP"), _names("CODEMODE_TOOLS")
    if not path and not modules:
        path, modules = _DEMO, ["codemode_graph.demo:send_letter", "codemode_graph.demo:send_reminder"]
    # An import reads files, which must not hold up the other runs of the event loop.
    own = [await asyncio.to_thread(import_tools, module) for module in modules]
    async with MCPToolLoader.from_config(path or {"mcpServers": {}}, pool=pool()) as mcp:
        yield [*await mcp.load(), *own]


def import_tools(reference: str) -> Any:
    """Import what `module:name` refers to.

    Raises:
        ConfigurationError: There is no such thing, or its module fails.
    """
    try:
        return _IMPORT.validate_python(reference)
    except ValidationError as error:
        raise ConfigurationError(f"the tools {reference!r} cannot be imported: {complaint(error)}") from None
    except Exception as error:
        reason = one_line(redact(f"{type(error).__name__}: {error}"), 300)
        raise ConfigurationError(f"the tools {reference!r} cannot be imported: {reason}") from error


def policies() -> Mapping[str, ToolPolicy]:
    """Return the policies that ask a person."""
    return {pattern: ToolPolicy(approval=True) for pattern in _names("CODEMODE_APPROVE")}


@cache
def sandbox() -> Sandbox:
    """Return the sandbox: one for all runs of the process, so that its guests are started before they are needed.

    Raises:
        SandboxUnavailable: It cannot run here.
        UnknownSandbox: There is none of that name.
    """
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
    return NoModel() if name is None else load_model(name)


class NoModel(BaseChatModel):
    """Stands for a model where none is set, and says so when it is asked."""

    @property
    def _llm_type(self) -> str:
        return "none"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, Any]:
        """Return the model itself: it calls no tools."""
        return self

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise ConfigurationError("set CODEMODE_MODEL to a model, such as openai:gpt-5.2: this graph asks one")


def _names(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]
