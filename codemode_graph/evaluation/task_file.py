"""The file of tasks: YAML, or JSON, which is YAML too. Whatever is wrong in it is found before any task runs."""

import inspect
import json
import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from codemode_graph.errors import ConfigurationError
from codemode_graph.redact import mask
from codemode_graph.tools.return_type import ReturnType
from codemode_graph.tools.spec import ToolSpec
from codemode_graph.tools.text import suggest

Resolve: TypeAlias = Callable[[str], Any]
"""Returns the object that a reference such as `mytools:reset` names."""


class _Loader(yaml.SafeLoader):
    """Reads YAML by the core schema of YAML 1.2.

    PyYAML's own schema turns `12:30` into 750, `no` into False and `2026-11-29` into a date, which no program returns.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012 - as PyYAML has it

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return a mapping; a key that stands in it twice is an error, where YAML would keep the last."""
        self.flatten_mapping(node)
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key, count in Counter(map(repr, keys)).items() if count > 1]:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {twice[0]} stands there twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("merge", "<<", "<"),
):
    # "\0" would stand for no character at all: an empty value is null.
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), ["" if each == "\0" else each for each in _first]
    )
# PyYAML reads an integer with a leading zero as octal, which is YAML 1.1.
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value, 16 if "x" in node.value else 10))
# PyYAML's constructor of floats takes `1e3`, but not the exponent's sign left out of its own pattern.
_Loader.add_constructor(
    "tag:yaml.org,2002:float",
    lambda loader, node: float(re.sub(r"\.(inf|nan)$", r"\1", node.value.lower())),
)


class EvalTask(BaseModel):
    """One task, and what is right.

    At least one of `expected`, `check` and `effects` says that.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: str = Field(min_length=1)
    """A short name, unique in the file."""
    task: str = Field(min_length=1)
    """The task, in plain language."""
    expected: Any = None
    """The answer."""
    tolerance: float = Field(default=0.0, ge=0)
    """By how much a number of the answer may differ."""
    unordered: bool = False
    """Whether lists of the answer may be in any order."""
    check: str | None = None
    """A function, `module:name`, that is called with the answer, and with the run's result where it takes two arguments. It
    returns True or False, or a text that says what is wrong; it may assert."""
    effects: list[dict[str, dict[str, Any] | None]] | None = None
    """The calls that have to take effect, and no others: the tool's name, and its arguments. An argument that is left out
    may have any value. Without this, effects are not compared."""
    setup: dict[str, dict[str, Any] | None] | list[str] | str | None = None
    """Functions, `module:name`, that are called before the task, in place of those of the file; by name also with keyword
    arguments."""
    returns: dict[str, Any] | None = None
    """The JSON Schema of the answer, which the model is shown."""

    @model_validator(mode="after")
    def _is_judged(self) -> "EvalTask":
        if not self.has_expected and self.check is None and self.effects is None:
            raise ValueError("nothing says what is right: give expected, check or effects")
        if any(len(effect) != 1 for effect in self.effects or ()):
            raise ValueError("an effect is one tool with its arguments, such as `- pay: {to: Ann}`")
        for field in ("expected", "effects"):
            # YAML has tags for other types, and aliases that contain themselves; no program returns such a value.
            try:
                json.dumps(getattr(self, field))
            except (TypeError, ValueError, RecursionError) as error:
                raise ValueError(f"{field} is no JSON value: {error}") from None
        if self.returns is not None:
            ReturnType(self.returns)
        return self

    @property
    def has_expected(self) -> bool:
        """True where an answer is declared; it may be null."""
        return "expected" in self.model_fields_set

    @property
    def setups(self) -> list[tuple[str, dict[str, Any]]]:
        """The functions that are called before the task, with their arguments."""
        if isinstance(self.setup, str):
            return [(self.setup, {})]
        if isinstance(self.setup, list):
            return [(name, {}) for name in self.setup]
        return [(name, arguments or {}) for name, arguments in (self.setup or {}).items()]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tools: list[str] | str = []
    mcp: list[str] | str = []
    setup: dict[str, dict[str, Any] | None] | list[str] | str | None = None
    tasks: list[dict[str, Any]] = Field(min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSet:
    """The tasks of a file, with the functions that they name.

    Attributes:
        tasks: The tasks, in the order of the file.
        tools: References of tools that the file names, such as `mytools:TOOLS`.
        mcp: Files of MCP servers that the file names, relative to it.
        functions: The setups and checks, by their references.
    """

    tasks: tuple[EvalTask, ...]
    tools: tuple[str, ...]
    mcp: tuple[Path, ...]
    functions: Mapping[str, Callable[..., Any]]

    def for_tools(self, specs: Sequence[ToolSpec]) -> "TaskSet":
        """Return the tasks with their effects held against the tools, and masked as runs mask the arguments of calls.

        Args:
            specs: The tools of the runs.

        Raises:
            ConfigurationError: An effect is of no tool, of one that only reads, or has an argument that the tool has not:
                no run could have it, so every one would count as wrong.
        """
        known = {spec.name: spec for spec in specs}
        tasks = []
        for task in self.tasks:
            effects = [
                {tool: _effect(task.name, tool, arguments, known) for tool, arguments in each.items()}
                for each in task.effects or ()
            ]
            tasks.append(task if task.effects is None else task.model_copy(update={"effects": effects}))
        return replace(self, tasks=tuple(tasks))


def _effect(
    task: str, tool: str, arguments: Mapping[str, Any] | None, known: Mapping[str, ToolSpec]
) -> Mapping[str, Any] | None:
    spec, where = known.get(tool), f"task {task!r}: the effect {tool}"
    if spec is None:
        raise ConfigurationError(f"{where} is of no tool; {suggest(tool, known) or ', '.join(sorted(known)) or 'none'}")
    if not spec.has_effect:
        raise ConfigurationError(f"{where} is of a tool that only reads")
    properties = spec.input_schema.get("properties", {})
    closed = not spec.input_schema.get("additionalProperties") and not spec.input_schema.get("patternProperties")
    if closed and (unknown := [name for name in arguments or () if name not in properties]):
        hint = suggest(unknown[0], properties) or f"there are {', '.join(properties) or 'none'}"
        raise ConfigurationError(f"{where}: it has no argument {unknown[0]!r}; {hint}")
    # Runs hold a mask where the policy redacts: only that there was such an argument can be compared.
    if arguments is None:
        return None
    masked: dict[str, Any] = mask(dict(arguments), spec.policy.redact)
    return masked


def load_tasks(path: str | Path, *, resolve: Resolve = pkgutil.resolve_name) -> TaskSet:
    """Return the tasks of a file.

    Args:
        path: The file.
        resolve: Imports what `module:name` refers to.

    Raises:
        ConfigurationError: The file cannot be read, is not of this form, or names a function that is not there.
    """
    path = Path(path)
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
        file = _File.model_validate(data)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: it is no text in UTF-8") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: it is no YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {_describe(error)}") from None
    tasks = []
    for number, raw in enumerate(file.tasks, 1):
        try:
            tasks.append(EvalTask.model_validate({"setup": file.setup, **raw}))
        except (ValidationError, ConfigurationError) as error:
            text = _describe(error) if isinstance(error, ValidationError) else str(error)
            raise ConfigurationError(f"{path}: task {raw.get('name', number)!r}: {text}") from None
    if twice := [name for name, count in Counter(task.name for task in tasks).items() if count > 1]:
        raise ConfigurationError(f"{path}: there are several tasks named {', '.join(map(repr, twice))}")
    names = {
        name for task in tasks for name in (*(name for name, _ in task.setups), *([task.check] if task.check else []))
    }
    return TaskSet(
        tasks=tuple(tasks),
        tools=tuple([file.tools] if isinstance(file.tools, str) else file.tools),
        mcp=tuple(path.parent / each for each in ([file.mcp] if isinstance(file.mcp, str) else file.mcp)),
        functions={name: _function(name, path, resolve) for name in sorted(names)},
    )


def _function(name: str, path: Path, resolve: Resolve) -> Callable[..., Any]:
    try:
        found = resolve(name)
    except ConfigurationError:
        raise
    except Exception as error:  # importing it runs the caller's own module
        raise ConfigurationError(f"{path}: {name} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found) or inspect.isclass(found):
        raise ConfigurationError(f"{path}: {name} is not a function")
    function: Callable[..., Any] = found
    return function


def _describe(error: ValidationError) -> str:
    """Return the first complaints in one line, each with its place."""
    parts = []
    for each in error.errors(include_url=False)[:3]:
        place = ".".join(map(str, each["loc"]))
        message = each["msg"].removeprefix("Value error, ")
        parts.append(f"{place}: {message}" if place else message)
    return "; ".join(parts)
