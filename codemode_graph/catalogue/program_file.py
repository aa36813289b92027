"""A saved program, and the file that it is kept in: Python that a person can read, with a header of JSON.

# /// codemode
# {
#   "description": "Count the open issues of a repository.",
#   "parameters": {"type": "object", "properties": {"repository": {"type": "string"}}, "required": ["repository"]},
#   "tools": {"list_issues": "4f1c2d..."}
# }
# ///

async def count_issues(repository: str):
    ...
"""

import ast
import json
import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from codemode_sandboxes.source import Tree, tree_of
from langchain_core.runnables import RunnableConfig

from codemode_graph.catalogue.catalogue import DESCRIBE_TOOL, SEARCH_TOOLS
from codemode_graph.catalogue.merge import restrict
from codemode_graph.check.tool_uses import References
from codemode_graph.errors import ConfigurationError
from codemode_graph.tools.schema import Parameters
from codemode_graph.tools.spec import Effect, ToolCaller, ToolSpec
from codemode_graph.tools.validation import wrong_argument

__all__ = ["HEADER", "SAVED", "SavedProgram", "called_tools", "check_name", "positions"]

HEADER = "# /// codemode"
"""The first line of the file of a saved program."""
SAVED = "saved program"
"""The source of the tool that a saved program is."""

# The header is read line by line: a `.` would cross lines here, and take ages over a file that does not fit.
_FILE = re.compile(rf"{HEADER}\n(?P<header>(?:#[^\n]*\n)+?)# ///\n+(?P<code>async def (?P<name>\w+)\(.*)", re.DOTALL)
# By these a program finds `tools` without its name.
_DYNAMIC = frozenset({"eval", "exec", "globals", "locals", "vars", "__builtins__"})
_EFFECTS: Sequence[Effect] = get_args(Effect)  # the weakest first
# LangChain hands these to a tool by itself, and `run_program` has the last: an argument of the name would not arrive.
_RESERVED = frozenset({"self", "config", "runtime", "run_manager", "callbacks", "verbose"})


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedProgram:
    """A program that succeeded, kept under a name.

    Attributes:
        name: By which programs call it.
        description: For the model.
        parameters: JSON Schema of its arguments.
        tools: The tools that it calls, each with the version that it was checked against.
        code: Its function.
        positions: Of tools that it calls by position, the names of those arguments, in their order.
        returns: JSON Schema of what it returned, as far as that may be learned.
        run: The run that it is of.
    """

    name: str
    code: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    tools: Mapping[str, str] = field(default_factory=dict)
    positions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    returns: Mapping[str, Any] | None = None
    run: str = ""

    @classmethod
    def from_text(cls, text: str) -> "SavedProgram":
        """Return the program that a file holds.

        Raises:
            ConfigurationError: It holds none.
        """
        found = _FILE.fullmatch(text.replace("\r\n", "\n"))
        if found is None:
            raise ConfigurationError("it is no saved program: it has no header, or no function behind it")
        try:
            header = json.loads(re.sub(r"^# ?", "", found["header"], flags=re.MULTILINE))
            program = cls(
                name=found["name"],
                code=found["code"].rstrip() + "\n",
                description=str(header.get("description", "")),
                parameters=dict(header["parameters"]),
                tools={str(name): str(version) for name, version in header["tools"].items()},
                positions={str(name): list(names) for name, names in header.get("positions", {}).items()},
                returns=restrict(header["returns"]) if header.get("returns") else None,
                run=str(header.get("run", "")),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ConfigurationError(f"the header of the saved program cannot be read: {error}") from None
        _check_function(program)
        return program

    def to_text(self) -> str:
        """Return the file."""
        header = {
            "description": self.description,
            "parameters": self.parameters,
            "tools": self.tools,
            "positions": self.positions,
            "returns": self.returns,
            "run": self.run,
        }
        lines = json.dumps(header, indent=2).splitlines()
        return "\n".join([HEADER, *(f"# {line}" for line in lines), "# ///", "", "", self.code])

    def missing(self, specs: Mapping[str, ToolSpec]) -> list[str]:
        """Return the tools that it calls and that are not there, or not for programs."""
        return [name for name in self.calls(specs) if name not in specs or not specs[name].for_programs]

    def moved(self, specs: Mapping[str, ToolSpec]) -> str | None:
        """Return which tool takes what the program passes by position as another argument now; None where none does.

        A check of types cannot find that where both arguments are texts.
        """
        for tool, names in positions(self.code, specs).items():
            known = list(self.positions.get(tool, names))[: len(names)]
            if known != names[: len(known)]:
                return f"what it passes to {tool} as {', '.join(known)} would be {', '.join(names)} now: save it again"
        return None

    def calls(self, specs: Mapping[str, ToolSpec]) -> list[str]:
        """Return the names of the tools that it calls: those in its function, whatever the header of an edited file says.

        Raises:
            ConfigurationError: It computes the name of a tool.
        """
        return called_tools(self.code, list(specs))

    def call(self, arguments: Mapping[str, Any]) -> str:
        """Return the program that calls it with these arguments, JSON values.

        Raises:
            ConfigurationError: An argument has no name that a program could write, is no JSON value, or is not of its type.
        """
        plain: dict[str, Any] = {}
        for name, value in arguments.items():
            if not name.isidentifier() or keyword.iskeyword(name):
                raise ConfigurationError(f"{self.name} has no argument {name!r}")
            try:
                # Other classes that JSON knows, such as enums, have a `repr` that is no literal.
                plain[name] = json.loads(json.dumps(value, allow_nan=False))
            except (TypeError, ValueError, RecursionError) as error:
                raise ConfigurationError(f"the argument {name!r} of {self.name} is no JSON value: {error}") from None
        if (wrong := wrong_argument(self.name, self.parameters, plain)) is not None:
            raise ConfigurationError(wrong)
        listed = ", ".join(f"{name}={value!r}" for name, value in plain.items())
        return f"await tools[{self.name!r}]({listed})"

    def to_spec(self, specs: Mapping[str, ToolSpec]) -> ToolSpec:
        """Return it as a tool. Its effect is the strongest of the tools that it calls.

        Args:
            specs: The tools, by name, all that it calls among them.
        """
        names = self.calls(specs)
        called = [specs[name] for name in names]
        effect = max((spec.effect_in_force for spec in called), key=_EFFECTS.index, default=_EFFECTS[0])
        does = f"A saved program; it calls {', '.join(names) or 'no tool'}."
        return ToolSpec(
            name=self.name,
            call=_outside_a_program(self.name),
            # The first sentence is what a card always has.
            description=f"{self.description.rstrip('. ')} ({does.rstrip('.')})." if self.description else does,
            input_schema=self.parameters,
            observed_schema=self.returns,
            effect=effect,
            declared=not any(spec.undeclared for spec in called),
            source=SAVED,
            program=self.code,
        )


def check_name(name: str) -> None:
    """Raise `ConfigurationError` where a name is none that a program can call a function by."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,59}", name) or keyword.iskeyword(name):
        raise ConfigurationError(f"a saved program is named by small letters, digits and underscores, not {name!r}")
    # Others than these two are named in layers above: `codemode_graph.calls.values`, and the server of `integrations`.
    if name in ("load_value", SEARCH_TOOLS.name, DESCRIBE_TOOL.name, "run_code", "run_task"):
        raise ConfigurationError(f"a tool of code mode is called {name!r}: give the program another name")


def positions(code: str, specs: Mapping[str, ToolSpec]) -> dict[str, list[str]]:
    """Return the tools that a program calls by position, each with the names of those arguments in their order."""
    tree, found = tree_of(code), dict[str, list[str]]()
    for reference in References(tree, list(specs)).direct():
        if reference.tool is None:
            continue
        names = [item.name for item in Parameters(specs[reference.tool].input_schema)]
        match tree.parent(reference.node):
            # A dict alone may stand for the arguments by their names.
            case ast.Call(func=func, args=[] | [ast.Dict()]) if func is reference.node:
                names = []
            case ast.Call(func=func, args=arguments) if func is reference.node and not _has_starred(arguments):
                names = names[: len(arguments)]
        found[reference.tool] = max(found.get(reference.tool, []), names, key=len)
    return {tool: names for tool, names in found.items() if names}


def _has_starred(arguments: Sequence[ast.expr]) -> bool:
    return any(isinstance(each, ast.Starred) for each in arguments)


def called_tools(code: str, tools: Sequence[str]) -> list[str]:
    """Return the names of the tools that a program calls, also of those that are not there.

    Raises:
        ConfigurationError: The program computes the name of a tool, or uses `tools` as a value, so that it may.
    """
    tree = tree_of(code)
    references = References(tree, tools)
    found = list(references.direct())
    bases = {id(base) for reference in found for base in _bases(reference.node)}
    names = [name for name in tree.of(ast.Name) if references.is_tools(name) and id(name) not in bases]
    if (
        any(not _is_followed(name, tree, references) for name in names)
        or any(reference.written is None for reference in found)
        or any(name.id in _DYNAMIC for name in tree.unresolved())
    ):
        raise ConfigurationError("the program computes the name of a tool, so nobody could say what it does")
    return list(dict.fromkeys(reference.tool or reference.written or "" for reference in found))


def _is_followed(name: ast.Name, tree: Tree, references: References) -> bool:
    """Return whether `tools` goes only where each use of it is known: into a variable, or a parameter of a function."""
    match tree.parent(name):
        case ast.Assign(targets=[ast.Name() as target]):
            return references.is_tools(target)
        case ast.Call(func=called) as call if name in call.args and (function := tree.function(called)):
            parameters = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
            index = call.args.index(name)
            uses = tree.uses(parameters[index], tree.opened(function)) if index < len(parameters) else []
            return bool(uses) and all(references.is_tools(use) for use in uses)
    return isinstance(name.ctx, ast.Store)


def _bases(node: ast.expr) -> list[ast.AST]:
    match node:
        case ast.Attribute(value=base) | ast.Subscript(value=base) | ast.Call(func=ast.Attribute(value=base)):
            return [base]
    return []


def _check_function(program: SavedProgram) -> None:
    """Raise `ConfigurationError` where the code is not one function with the arguments that the header has."""
    try:
        tree = tree_of(program.code)
        compile(program.code, program.name, "exec", dont_inherit=True)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ConfigurationError(f"its function is no Python: {error}") from None
    match tree.root.body:
        # What stands beside the function would run in each program that calls it.
        case [
            ast.AsyncFunctionDef(
                args=ast.arguments(posonlyargs=[], vararg=None, kwarg=None, kwonlyargs=[]) as arguments
            )
        ]:
            written = [each.arg for each in arguments.args]
        case _:
            raise ConfigurationError("it is not one function, with arguments that all have names")
    if any(True for _ in tree.of(ast.Global)):
        raise ConfigurationError("its function uses global variables")
    if reserved := sorted(_RESERVED.intersection(written)):
        raise ConfigurationError(f"an argument cannot be called {reserved[0]!r}: rename the parameter")
    optional = len(arguments.defaults)
    expected = Parameters(program.parameters)
    if written != [item.keyword for item in expected] or optional != sum(not item.required for item in expected):
        raise ConfigurationError("its function has other arguments than the parameters in its header")


def _outside_a_program(name: str) -> ToolCaller:
    async def call(arguments: dict[str, Any], config: RunnableConfig) -> Any:
        raise RuntimeError(
            f"{name} is a saved program, which is put into the program that calls it: write `await tools[{name!r}](...)`, "
            "and do not compute the name"
        )

    return call
