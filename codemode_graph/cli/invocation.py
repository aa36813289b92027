"""The arguments of a command that runs programs: its tools, its sandbox, its bounds, and who approves."""

import importlib
import sys
import sysconfig
import traceback
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from codemode_sandboxes import SANDBOXES, Sandbox, create_sandbox
from codemode_sandboxes.registry import PACKAGED, SPREAD, backend_name
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp
from rich.console import Console

from codemode_graph.cli.approval import read_policies
from codemode_graph.errors import CodeModeError, ConfigurationError
from codemode_graph.mcp import MCPToolLoader
from codemode_graph.model.ask import load_model
from codemode_graph.options import RunOptions, read_context, read_sandbox
from codemode_graph.redact import redact
from codemode_graph.settings import Context, Prices
from codemode_graph.tools.load import load_tools
from codemode_graph.tools.spec import ToolSpec
from codemode_graph.tools.text import one_line, suggest
from codemode_graph.trace.console import say


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """The arguments of the command line, read.

    Attributes:
        task: In plain language; empty where there is a program.
        code: The program, where there is one; None also of a run that is resumed.
        mcp: Files of MCP servers.
        tools: References such as `mytools:TOOLS`.
        model: Writes the programs; None where there is one.
        packages: What programs may import.
        options: The sandbox and the bounds, as plain values.
        approve: Tools whose calls a person approves, beside those that destroy: names, patterns or effects.
        yes: Nobody is asked to approve.
        prices: Of a million tokens read and of a million written.
    """

    task: str = ""
    code: str | None = None
    mcp: Sequence[str] = ()
    tools: Sequence[str] = ()
    model: str | None = None
    packages: Sequence[str] = ()
    options: RunOptions = field(default_factory=RunOptions)
    approve: Sequence[str] = ()
    yes: bool = False
    prices: Sequence[float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what a run is resumed with."""
        names = ("mcp", "tools", "model", "packages", "options", "approve", "yes", "prices")
        return {name: getattr(self, name) for name in names}

    def load(self) -> tuple[BaseChatModel | None, RunOptions]:
        """Return the model and the options of the run; nothing is started.

        Raises:
            ConfigurationError: The model or an option cannot be used.
            SandboxError: There is no such sandbox, or it is not available.
        """
        model = None if self.model is None else load_model(self.model)
        options = self.options.copy()
        options["policies"] = read_policies(self.approve, yes=self.yes)
        if self.prices is not None:
            options["prices"] = Prices(input=self.prices[0], output=self.prices[1])
        read_context(options)
        load_sandbox(options, packages=self.packages)
        return model, options


def read_invocation(parameters: Mapping[str, Any]) -> Invocation:
    """Return the invocation that a command's parameters make: those that `run`, `serve` and `eval` share, by their names.

    Raises:
        ConfigurationError: A budget has another name, or a value is no number.
    """
    options = RunOptions(
        auto=parameters["auto"] or None,
        **{name: parameters[name] for name in ("sandbox", "fallback", "max_attempts", "timeout", "model_timeout")},  # type: ignore[typeddict-item]
        **_read_budgets(parameters["max_calls"], parameters["budget"]),
    )
    prices = None if parameters["prices"] is None else _read_prices(parameters["prices"])
    if prices is None and "max_cost" in options:
        raise ConfigurationError("--budget cost=... needs --prices INPUT,OUTPUT, for a million tokens each")
    return Invocation(
        mcp=[str(path) for path in parameters["mcp"]],
        packages=parameters["package"],
        options=options,
        prices=prices,
        **{name: parameters[name] for name in ("task", "tools", "model", "approve", "yes") if name in parameters},
    )


def _read_budgets(max_calls: int | None, budgets: Sequence[str]) -> dict[str, Any]:
    names = {name.removeprefix("max_").replace("_", "-"): name for name in Context.model_fields if "max_" in name}
    names.pop("attempts")  # has an option of its own
    bounds: dict[str, Any] = {} if max_calls is None else {"max_tool_calls": max_calls}
    for text in budgets:
        key, _, value = text.partition("=")
        name = names.get(key.strip().lower().replace("_", "-").removeprefix("max-"))
        if name is None:
            known = suggest(key, names) or f"the names are {', '.join(names)}"
            raise ConfigurationError(f"--budget takes NAME=NUMBER, such as tokens=20000, not {text!r}; {known}")
        if name in bounds:
            raise ConfigurationError(f"--budget {text}: there is a bound of that name already")
        try:
            bounds[name] = float(value) if name in ("max_seconds", "max_cost") else int(value)
        except ValueError:
            raise ConfigurationError(f"--budget {text}: {value!r} is no number") from None
    return bounds


def _read_prices(text: str) -> list[float]:
    try:
        read, written = (float(each) for each in text.split(","))
    except ValueError:
        raise ConfigurationError(f"--prices takes INPUT,OUTPUT, such as 1.25,10, not {text!r}") from None
    return [read, written]


async def load_specs(
    stack: AsyncExitStack, mcp: Sequence[str | Path], modules: Sequence[str], *, places: bool = False
) -> tuple[ToolSpec, ...]:
    """Load the tools of Python modules and of MCP servers.

    Args:
        stack: Closes the servers' sessions.
        mcp: Files of MCP servers.
        modules: References such as `mytools:TOOLS`.
        places: Print where in the caller's own files a tool raises.

    Raises:
        ConfigurationError: There are no tools, or a reference is wrong.
        ToolLoadError: A server does not answer, or an object is not a tool.
    """
    if not mcp and not modules:
        raise ConfigurationError(
            "there are no tools: give --mcp FILE, a JSON file of MCP servers, or --tools MODULE:NAME, Python functions"
        )
    loaders = [await stack.enter_async_context(MCPToolLoader.from_config(path)) for path in mcp]
    tools: list[Any] = [import_object(module) for module in modules]
    with Console(stderr=True).status("connecting the MCP servers"):
        for loader in loaders:
            tools += await loader.load()
    named = ", ".join([*map(str, mcp), *modules])
    try:
        specs = load_tools(tools)
    except CodeModeError:
        raise
    except Exception as error:  # such as a type hint that names nothing
        raise ConfigurationError(f"the tools in {named} cannot be loaded: {_describe(error)}") from error
    if not specs:
        raise ConfigurationError(f"there are no tools in {named}")
    return tuple(_with_place(spec) if places and not spec.source.startswith("mcp:") else spec for spec in specs)


def _with_place(spec: ToolSpec) -> ToolSpec:
    """Return a tool that prints where in the caller's own files it raises. The program gets the error's message alone."""

    async def call(arguments: dict[str, Any], config: RunnableConfig) -> Any:
        try:
            return await spec.call(arguments, config)
        except GraphBubbleUp:  # the tool asks a person
            raise
        except Exception as error:
            if place := _place(error):
                say(
                    Console(stderr=True),
                    f"{spec.name} raised {type(error).__name__} at {place}",
                    prefix="  · ",
                    style="dim",
                )
            raise

    return replace(spec, call=call)


def import_object(reference: str, *, place: str = "--tools") -> Any:
    """Import the object that `module:name` refers to; the current directory is importable, as with `python -m`.

    Args:
        reference: The module and the name.
        place: What holds the reference, for the message of an error.

    Raises:
        ConfigurationError: It is no reference, or there is no such module or object.
    """
    module_name, _, name = reference.partition(":")
    if not name or not module_name or "/" in module_name or module_name.endswith(".py"):
        raise ConfigurationError(f"{place} takes MODULE:NAME, such as mytools:TOOLS, not {reference!r}")
    here = str(Path.cwd())
    # The console script, unlike `python -m`, does not put the current directory there.
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a script without a main guard may call sys.exit() when imported
        raise ConfigurationError(f"{place} {reference}: importing {module_name} failed: {_describe(error)}") from error
    try:
        return getattr(module, name)
    except AttributeError:
        # Suggest what the module defines, not what it imports.
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
        own = [key for key in own if not key.startswith("_")] or ["nothing of its own"]
        raise ConfigurationError(
            f"{place} {reference}: {module_name} has no {name}; it has {one_line(', '.join(own), 300)}"
        ) from None


def _describe(error: BaseException) -> str:
    """Return an error in one line, with its place in the caller's own files where it has one."""
    # The text of a syntax error ends with its place, which follows here in the form of all others.
    message = error.msg if isinstance(error, SyntaxError) else error
    text = one_line(redact(f"{type(error).__name__}: {message}"), 300)
    place = _place(error) or _place(error, others=_PYTHON)
    if not place:
        return text
    return f"{text} ({place})"


# An error shows in files of Python, of this package and of those that are installed; it is made in the caller's own.
_PYTHON = ("<", sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(__file__).parents[1]))
_OTHERS = (*_PYTHON, sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))


def _place(error: BaseException, *, others: tuple[str, ...] = _OTHERS) -> str:
    """Return the innermost line of an error in a file that is not among others, as `file:line`; empty without one."""
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:  # the file cannot be read, so that it has no frame
        lines.append((error.filename, error.lineno))
    own = [(Path(file), line) for file, line in lines if not file.startswith(others)]
    if not own:
        return ""
    path, line = own[-1]
    return f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}:{line}"


def load_sandbox(options: RunOptions, *, packages: Sequence[str]) -> Sandbox:
    """Return the sandbox that options name, and put it in their place. Programs may import `packages` there.

    Raises:
        ConfigurationError: The options contradict one another, or packages are for none of the sandboxes.
        SandboxError: There is no such sandbox, or it is not available.
    """
    if packages:
        auto, fallback = options.get("auto"), options.get("fallback", ())
        name = options.get("sandbox") or ("monty" if fallback else "auto")
        if name == "auto" and not auto:
            auto = [each for each in SANDBOXES if each not in SPREAD]
        if PACKAGED.isdisjoint(backend_name(str(each)) for each in (*(auto or [name]), *fallback)):
            raise ConfigurationError(
                f"--package is for the sandboxes {', '.join(sorted(PACKAGED))} and auto: name one of them"
            )

        def packaged(each: str | Sandbox) -> str | Sandbox:
            return create_sandbox(str(each), packages=packages) if backend_name(str(each)) in PACKAGED else each

        if auto:
            options["auto"] = [packaged(each) for each in auto]
        else:
            options["sandbox"] = packaged(name)
        options["fallback"] = [packaged(each) for each in fallback]
    return read_sandbox(options)
