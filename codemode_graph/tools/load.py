"""From what people hand over to the tools of a run."""

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from fnmatch import fnmatchcase
from typing import Any, Protocol, TypeAlias, get_args

from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool, BaseToolkit, StructuredTool

from codemode_graph.errors import ConfigurationError, ToolLoadError
from codemode_graph.tools.from_function import from_callable, marks_of
from codemode_graph.tools.from_langchain import from_langchain
from codemode_graph.tools.hints import type_hints
from codemode_graph.tools.injection import injection_in
from codemode_graph.tools.spec import Effect, ToolPolicy, ToolSpec
from codemode_graph.tools.text import one_line

__all__ = ["HasTools", "Tools", "load_tools", "load_with_origins"]


class HasTools(Protocol):
    """Something that has tools, such as a loader of MCP tools."""

    @property
    def tools(self) -> Any:
        """Tools, in any form that `load_tools` takes."""
        ...


OneTool: TypeAlias = ToolSpec | BaseTool | Callable[..., Any]
Tools: TypeAlias = HasTools | BaseToolkit | Iterable[Any] | Mapping[str, Any]
"""Functions, LangChain tools and `ToolSpec`s: in a list, in a dict that names them, or in an object's `tools`."""

_EFFECT = "effect:"
_ACCEPTED = (
    "a tool is a function, a LangChain tool or a ToolSpec; several come as a list, a dict or an object with .tools"
)


def load_tools(tools: Tools, *, policies: Mapping[str, ToolPolicy] | None = None) -> tuple[ToolSpec, ...]:
    """Make the tools of a run out of whatever they are given as.

    A dict renames: its keys are the names of its tools; a key with several tools becomes a prefix, `key.name`. A list may
    hold lists, dicts and objects with `.tools`. The same tool given twice counts once. Of different tools with the same
    name the first keeps it; a later one is called `name_source` (`search_langchain`), or `name_2` where that says
    nothing new, so that both can be called.

    Args:
        tools: The tools.
        policies: What is allowed of which tool: by its name here, by a glob pattern (`delete_*`), or by its effect
            (`effect:destructive`), that is the one that its policies give it, else its own. All that match apply,
            effects before patterns before names; what a later one sets stands.

    Returns:
        The tools, in order, with unique names.

    Raises:
        ToolLoadError: Something is no tool; the message says what is.
        ConfigurationError: A policy names a tool, or an effect, that there is not.
    """
    return tuple(spec for spec, _ in load_with_origins(tools, policies=policies))


def load_with_origins(
    tools: Tools, *, policies: Mapping[str, ToolPolicy] | None = None
) -> tuple[tuple[ToolSpec, object], ...]:
    """Make the tools of a run, as `load_tools` does, and give each with what it was made of."""
    named: dict[str, ToolSpec] = {}
    given = {(id(origin), spec.name): (spec, origin) for spec, origin in _specs(tools, None)}
    for spec, _ in given.values():
        name = _free_name(spec, named)
        named[name] = spec if name == spec.name else replace(spec, name=name)
    specs = _with_policies(tuple(named.values()), policies or {})
    return tuple((spec, origin) for spec, (_, origin) in zip(specs, given.values(), strict=True))


def _specs(thing: Any, name: str | None) -> Iterator[tuple[ToolSpec, object]]:
    """Give every tool in a thing, with what it was made of."""
    if isinstance(thing, type) and issubclass(thing, ToolSpec | BaseTool):
        raise ToolLoadError(f"{thing.__name__} is a class: give an instance of it")
    if isinstance(thing, ToolSpec | BaseTool) or (callable(thing) and not _has_tools(thing)):
        yield _one(thing, name), thing
    elif isinstance(thing, Mapping):
        for key, value in thing.items():
            if not isinstance(key, str):
                raise ToolLoadError(f"a dict of tools has their names as keys, not {one_line(repr(key), 60)}")
            yield from _specs(value, key if name is None else f"{name}.{key}")
    elif isinstance(thing, BaseToolkit) or _has_tools(thing):
        yield from _several(thing.get_tools() if isinstance(thing, BaseToolkit) else thing.tools, name)
    elif isinstance(thing, Iterable) and not isinstance(thing, str | bytes):
        yield from _several(thing, name)
    elif isinstance(thing, Runnable):
        raise ToolLoadError(
            f"{type(thing).__name__} is a Runnable, not a tool: give its .as_tool(name=..., description=...)"
        )
    else:
        raise ToolLoadError(f"{one_line(repr(thing), 80)} is no tool: {_ACCEPTED}")


def _several(things: Any, prefix: str | None) -> Iterator[tuple[ToolSpec, object]]:
    if isinstance(things, Mapping):
        yield from _specs(things, prefix)
        return
    if not isinstance(things, Iterable):
        raise ToolLoadError(f"{one_line(repr(things), 80)} are no tools: {_ACCEPTED}")
    for thing in things:
        for spec, origin in _specs(thing, None):
            yield (spec if prefix is None else replace(spec, name=f"{prefix}.{spec.name}")), origin


def _one(thing: Any, name: str | None) -> ToolSpec:
    if isinstance(thing, ToolSpec):
        spec = thing
    elif isinstance(thing, BaseTool):
        spec = from_langchain(thing)
    elif inspect.isroutine(thing) and any(injection_in(hint) for hint in type_hints(thing).values()):
        spec = _injected(thing)
    else:
        spec = from_callable(thing, name)
    spec = spec if name is None else replace(spec, name=name)
    if not spec.name:
        raise ToolLoadError(f"a tool has no name: {one_line(repr(thing), 80)}")
    return spec


def _injected(function: Callable[..., Any]) -> ToolSpec:
    """A plain function that takes what LangGraph injects: LangChain knows how to give it that."""
    is_async = inspect.iscoroutinefunction(function)
    marks = marks_of(function)
    tool = StructuredTool.from_function(
        func=None if is_async else function,
        coroutine=function if is_async else None,
        name=marks.name,
        description=marks.description or inspect.getdoc(function) or "",
    )
    spec = from_langchain(tool)
    return replace(
        spec, effect=marks.effect or spec.effect, policy=ToolPolicy(timeout=marks.timeout), source="function"
    )


def _has_tools(thing: Any) -> bool:
    return not inspect.isroutine(thing) and not isinstance(thing, type) and hasattr(thing, "tools")


def _free_name(spec: ToolSpec, taken: Mapping[str, ToolSpec]) -> str:
    if spec.name not in taken:
        return spec.name
    if spec.source != taken[spec.name].source:
        source = re.sub(r"\W+", "_", spec.source)
        name = f"{spec.name}_{source}"
        if name not in taken:
            return name
    number = 2
    while f"{spec.name}_{number}" in taken:
        number += 1
    return f"{spec.name}_{number}"


def _with_policies(specs: tuple[ToolSpec, ...], policies: Mapping[str, ToolPolicy]) -> tuple[ToolSpec, ...]:
    names = {spec.name for spec in specs}
    exact = {name: policy for name, policy in policies.items() if name in names}
    effects = {name: policy for name, policy in policies.items() if name not in names and name.startswith(_EFFECT)}
    patterns = {name: policy for name, policy in policies.items() if name not in exact and name not in effects}
    for name, policy in effects.items():
        if name.removeprefix(_EFFECT) not in get_args(Effect):
            raise ConfigurationError(f"policies name {name!r}; the effects are {', '.join(get_args(Effect))}")
        if policy.effect is not None:
            raise ConfigurationError(f"the policy for {name!r} cannot change the effect by which it was chosen")
    for name in patterns:
        if not re.search(r"[*?\[]", name):
            close = difflib.get_close_matches(name, names, 1)
            hint = (
                f"did you mean {close[0]!r}?" if close else f"the tools are {', '.join(sorted(names)[:20]) or 'none'}"
            )
            raise ConfigurationError(f"policies name {name!r}, and there is no such tool; {hint}")
    return tuple(_with_policy(spec, effects, patterns, exact) for spec in specs)


def _with_policy(
    spec: ToolSpec,
    effects: Mapping[str, ToolPolicy],
    patterns: Mapping[str, ToolPolicy],
    exact: Mapping[str, ToolPolicy],
) -> ToolSpec:
    own = [policy for pattern, policy in patterns.items() if fnmatchcase(spec.name, pattern)]
    own += [exact[spec.name]] if spec.name in exact else []
    effect = functools.reduce(_over, own, spec.policy).effect or spec.effect
    general = [effects[f"{_EFFECT}{effect}"]] if f"{_EFFECT}{effect}" in effects else []
    policy = functools.reduce(_over, [*general, *own], spec.policy)
    return spec if policy == spec.policy else replace(spec, policy=policy)


def _over(policy: ToolPolicy, other: ToolPolicy) -> ToolPolicy:
    """Put what one policy sets over another one."""
    plain = ToolPolicy()
    said = {each.name: getattr(other, each.name) for each in fields(other)}
    return replace(policy, **{name: value for name, value in said.items() if value != getattr(plain, name)})
