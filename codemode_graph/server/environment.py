"""The settings of a server, from environment variables.

Its tools are those of the MCP servers in the file that CODEMODE_MCP names (the common mcpServers form), and of the modules
in CODEMODE_TOOLS (`mytools:TOOLS`, several with commas between them); the demo's where neither is set.
CODEMODE_MCP_IDLE is the number of seconds after which a session that no run uses is ended.
Its model is CODEMODE_MODEL, such as "openai:gpt-5.2".
CODEMODE_APPROVE names the tools whose calls a person has to approve: patterns with commas between them.
CODEMODE_SANDBOX is where programs run, by default "auto"; CODEMODE_AUTO names the sandboxes that "auto" may choose, and
CODEMODE_FALLBACK those that are used where CODEMODE_SANDBOX is not available: names with commas between them.

An assistant's configuration goes before. CODEMODE_MODELS and CODEMODE_ASSISTANTS_MAY say what it may choose: models by
patterns with commas between them, by default any, and the settings that bring code to the server, by default none.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from codemode_sandboxes import Sandbox, resolve_sandbox
from langchain_core.language_models import BaseChatModel
from langchain_core.outputs import ChatResult
from langchain_core.runnables import Runnable
from pydantic import ImportString, TypeAdapter, ValidationError

from codemode_graph.errors import ConfigurationError
from codemode_graph.mcp import MCPPool, MCPToolLoader
from codemode_graph.mcp.config import ServerConfig, read_config
from codemode_graph.mcp.pool import DEFAULT_IDLE_SECONDS
from codemode_graph.model.ask import load_model
from codemode_graph.redact import redact
from codemode_graph.server.assistant import Assistant, check_privileges
from codemode_graph.tools.hints import complaint
from codemode_graph.tools.load import is_general, load_tools
from codemode_graph.tools.spec import ToolPolicy
from codemode_graph.tools.text import one_line

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
async def open_tools(assistant: Assistant) -> AsyncIterator[list[Any]]:
    """Lease the MCP sessions for one run, and return the tools.

    Args:
        assistant: Its configuration chooses the servers, and may bring more.

    Raises:
        ConfigurationError: The file of MCP servers cannot be read, a module cannot be imported, there is no server of a
            name, or the assistant may not bring what it brings.
        ToolLoadError: A server cannot be reached.
    """
    check_privileges(assistant, _names("CODEMODE_ASSISTANTS_MAY"))
    path, modules = os.environ.get("CODEMODE_MCP"), _names("CODEMODE_TOOLS")
    if not path and not modules:
        path, modules = _DEMO, ["codemode_graph.demo:send_letter", "codemode_graph.demo:send_reminder"]
    if assistant.tools_module:
        modules = [*modules, assistant.tools_module]
    # An import reads files, which must not hold up the other runs of the event loop.
    own = [await asyncio.to_thread(import_tools, module) for module in modules]
    servers = _chosen(read_config(path) if path else [], assistant.mcp_servers)
    servers += _servers_of(assistant)
    async with MCPToolLoader(servers, pool=pool()) as mcp:
        yield [*await mcp.load(), *own]


def _chosen(servers: list[ServerConfig], names: list[str]) -> list[ServerConfig]:
    known = [server.name for server in servers]
    for name in names:
        if name not in known:
            listed = f"there are {', '.join(known) or 'none'}"
            raise ConfigurationError(f"context.mcp_servers: no server is named {name!r}; {listed}")
    return [server for server in servers if not names or server.name in names]


def _servers_of(assistant: Assistant) -> list[ServerConfig]:
    # Their author need not know the server's secrets, so none may be put into an address or a header.
    if "${" in json.dumps(assistant.own_mcp_servers):
        raise ConfigurationError("context.own_mcp_servers cannot use variables of the server's environment: ${...}")
    return read_config({"mcpServers": assistant.own_mcp_servers})


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


def policies(assistant: Assistant, tools: list[Any]) -> Mapping[str, ToolPolicy]:
    """Return the assistant's policies, and over them those of the server that ask a person.

    Args:
        assistant: Its configuration.
        tools: Its tools. Where it chose some MCP servers, the server's policies may name tools of others.
    """
    merged = dict(assistant.policy_of)
    names = {spec.name for spec in load_tools(tools)} if assistant.mcp_servers else None
    for pattern in _names("CODEMODE_APPROVE"):
        if names is not None and pattern not in names and not is_general(pattern):
            continue
        merged[pattern] = replace(merged.get(pattern, ToolPolicy()), approval=True)
    return merged


@cache
def sandbox(name: str = "") -> Sandbox:
    """Return the sandbox: one for all runs of the process, so that its guests are started before they are needed.

    Args:
        name: What an assistant chooses. Where the environment names sandboxes, it may choose among those.

    Raises:
        ConfigurationError: The assistant chooses one that the server does not have.
        SandboxUnavailable: It cannot run here.
        UnknownSandbox: There is none of that name.
    """
    setting, auto = os.environ.get("CODEMODE_SANDBOX") or None, _names("CODEMODE_AUTO")
    fallback = _names("CODEMODE_FALLBACK")
    named = {*auto, *fallback, *([setting] if setting else [])} - {"auto"}
    if name and named and name not in named:
        raise ConfigurationError(f"context.sandbox: this server runs programs in {', '.join(sorted(named))} alone")
    return resolve_sandbox(name) if name else resolve_sandbox(setting, auto=auto or None, fallback=fallback)


def chat_model(assistant: Assistant) -> BaseChatModel:
    """Return the model; where none is set, one that raises when it is asked, so that the server can show its graphs.

    Raises:
        ConfigurationError: The model that is set cannot be used, or may not be chosen.
    """
    permitted = _names("CODEMODE_MODELS")
    if assistant.model and permitted and not any(fnmatchcase(assistant.model, each) for each in permitted):
        raise ConfigurationError(f"context.model: this server has {', '.join(permitted)}, and not {assistant.model!r}")
    name = assistant.model or os.environ.get("CODEMODE_MODEL")
    return load_model(name) if name else NoModel()


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
