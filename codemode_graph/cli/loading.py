"""Tools and sandboxes named on the command line."""

import importlib
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from codemode_sandboxes import SANDBOXES, Sandbox, create_sandbox
from codemode_sandboxes.registry import PACKAGED, backend_name
from rich.console import Console

from codemode_graph.errors import ConfigurationError
from codemode_graph.graph import sandbox_from
from codemode_graph.mcp import MCPToolLoader
from codemode_graph.redact import redact
from codemode_graph.tools.load import load_tools
from codemode_graph.tools.spec import ToolSpec
from codemode_graph.tools.text import one_line

__all__ = ["load", "load_from_module", "load_sandbox"]


async def load(stack: AsyncExitStack, mcp: Sequence[Path], modules: Sequence[str]) -> tuple[ToolSpec, ...]:
    """Give the tools of modules and of MCP servers, whose sessions the stack holds.

    Raises:
        ConfigurationError: There are none, or one cannot be loaded as it is named.
        ToolLoadError: A server does not answer, or something is no tool.
    """
    if not mcp and not modules:
        raise ConfigurationError(
            "there are no tools: give --mcp FILE, a JSON file of MCP servers, or --tools MODULE:NAME, Python functions"
        )
    loaders = [await stack.enter_async_context(MCPToolLoader.from_config(path)) for path in mcp]
    found: list[Any] = [load_from_module(module) for module in modules]
    with Console(stderr=True).status("connecting the MCP servers"):
        for loader in loaders:
            found += await loader.load()
    specs = load_tools(found)
    if not specs:
        named = ", ".join([*map(str, mcp), *modules])
        raise ConfigurationError(f"there are no tools in {named}")
    return specs


def load_from_module(reference: str) -> Any:
    """Import what `module:name` names: whatever `load_tools` takes.

    The current directory is importable, as it is for `python -m`.

    Raises:
        ConfigurationError: The module cannot be imported or has no such name; says which.
    """
    module_name, _, name = reference.partition(":")
    if not name or not module_name or "/" in module_name or module_name.endswith(".py"):
        raise ConfigurationError(f"--tools takes MODULE:NAME, such as mytools:TOOLS, not {reference!r}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        reason = one_line(redact(f"{type(error).__name__}: {error}"), 300)
        raise ConfigurationError(f"--tools {reference}: importing {module_name} failed: {reason}") from error
    try:
        return getattr(module, name)
    except AttributeError:
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        own = [key for key in own if not key.startswith("_")] or ["nothing of its own"]
        raise ConfigurationError(
            f"--tools {reference}: {module_name} has no {name}; it has {one_line(', '.join(own), 300)}"
        ) from None


def load_sandbox(name: str, *, auto: Sequence[str], fallback: Sequence[str], packages: Sequence[str]) -> Sandbox:
    """Give the sandbox that the options name; where `auto` is given, the default name means nothing.

    Raises:
        ConfigurationError: The options contradict one another, or packages are for none of the sandboxes.
        SandboxError: There is no such sandbox, or it is not available.
    """
    if packages and name == "auto" and not auto:
        auto = list(SANDBOXES)
    if packages and PACKAGED.isdisjoint(map(backend_name, [*(auto or [name]), *fallback])):
        raise ConfigurationError(
            f"--package is for the sandboxes {', '.join(sorted(PACKAGED))} and auto: name one of them"
        )

    def made(each: str) -> str | Sandbox:
        return create_sandbox(each, packages=packages) if packages and backend_name(each) in PACKAGED else each

    return sandbox_from(
        None if auto and name in ("auto", "monty") else made(name),
        auto=[made(each) for each in auto] or None,
        fallback=[made(each) for each in fallback],
    )
