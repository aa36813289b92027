"""Loading tools: from functions, LangChain tools and loaders to the tools of a run, with their policies."""

import functools
import inspect
import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, Protocol, TypeAlias, get_args

from langchain_core.language_models import BaseLanguageModel
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool, BaseToolkit
from pydantic import BaseModel

from codemode_graph.errors import ConfigurationError, ToolLoadError
from codemode_graph.tools.from_function import from_callable, marks_of, name_of
from codemode_graph.tools.hints import type_hints
from codemode_graph.tools.injection import injection_in
from codemode_graph.tools.spec import Effect, ToolPolicy, ToolSpec
from codemode_graph.tools.text import one_line, suggest


class HasTools(Protocol):
    """Something that has tools, such as a loader of MCP tools."""

    @property
    def tools(self) -> Any:
        """Tools, in any form that `load_tools` takes."""
        ...


Tools: TypeAlias = HasTools | BaseToolkit | Iterable[Any] | Mapping[str, Any]
"""Functions, LangChain tools and `ToolSpec`s: in a list, in a dict that names them, or in an object's `tools`."""

_logger = logging.getLogger("codemode")
_EFFECT = "effect:"
_UNDECLARED = "effect:undeclared"
_ACCEPTED = (
    "a tool is a function, a LangChain tool or a ToolSpec; several come as a list, a dict or an object with .tools"
)


class _Loaded(NamedTuple):
    """A tool, and the object that it comes from."""

    spec: ToolSpec
    origin: object

    def renamed(self, name: str) -> "_Loaded":
        # The first name stays with the tool: it may be loaded, and renamed, more than once before policies are applied.
        own_name = self.spec.own_name or self.spec.name
        return self if name == self.spec.name else self._replace(spec=replace(self.spec, name=name, own_name=own_name))


def load_tools(tools: Tools, *, policies: Mapping[str, ToolPolicy] | None = None) -> tuple[ToolSpec, ...]:
    """Load the tools of a run from any form in which people have them.

    A dict renames: its keys are the names of its tools; a key with several tools becomes a prefix, `key.name`. A list may
    hold lists, dicts and objects with `.tools`. A tool that stands there twice counts once. Of different tools with the
    same name the first keeps it; a later one is called `name_source` (`search_langchain`), or `name_2` where that says
    nothing new, so that both can be called.

    Args:
        tools: The tools.
        policies: What is allowed of which tool: by its name, by a glob pattern (`delete_*`), or by its effect
            (`effect:destructive`), that is the effect in its other policies, else its own; `effect:undeclared` stands for
            the tools that have neither, whatever they are taken for. A name is the tool's name in
            the run or its own, so `pay` covers a second tool `pay` that is called `pay_2` here. All that match apply:
            effects, then patterns, then own names, then names in the run; what a later one sets stands.

    Returns:
        The tools, in order, with unique names.

    Raises:
        ToolLoadError: Something is no tool; the message says what is.
        ConfigurationError: A policy names a tool, or an effect, that does not exist.
    """
    return tuple(spec for spec, _ in load_with_origins(tools, policies=policies))


def load_with_origins(
    tools: Tools, *, policies: Mapping[str, ToolPolicy] | None = None
) -> tuple[tuple[ToolSpec, object], ...]:
    """Load tools as `load_tools` does; return each with the object that it comes from."""
    # The same object may come by several ways, such as in two toolkits.
    unique = {(id(each.origin), each.spec.name): each for each in _load(tools, None)}
    named: dict[str, _Loaded] = {}
    for each in unique.values():
        name = _free_name(each.spec, named)
        named[name] = each.renamed(name)
    found = list(named.values())
    specs = list(_with_policies(found, policies or {}))
    if undeclared := [f"{spec.name} is taken for a {spec.effect}" for spec in specs if spec.undeclared]:
        _logger.info("tools do not declare their effect: %s", ", ".join(undeclared))
    return tuple((spec, each.origin) for spec, each in zip(specs, found, strict=True))


def _load(thing: Any, name: str | None) -> Iterator[_Loaded]:
    """Load every tool in a thing, under this name or with it as a prefix."""
    if isinstance(thing, type) and issubclass(thing, ToolSpec | BaseTool):
        raise ToolLoadError(f"{thing.__name__} is a class: give an instance of it")
    # An object with `tools` is a loader, also where it can be called.
    if isinstance(thing, ToolSpec | BaseTool) or (callable(thing) and not _has_tools(thing)):
        yield _load_one(thing, name)
    elif isinstance(thing, Mapping):
        for key, value in thing.items():
            if not isinstance(key, str):
                raise ToolLoadError(f"a dict of tools has their names as keys, not {one_line(repr(key), 60)}")
            yield from _load(value, key if name is None else f"{name}.{key}")
    elif isinstance(thing, BaseToolkit) or _has_tools(thing):
        yield from _load_several(thing.get_tools() if isinstance(thing, BaseToolkit) else thing.tools, name)
    elif isinstance(thing, BaseLanguageModel):
        raise ToolLoadError(
            f"{type(thing).__name__} is a model, not a tool: give it as the model, and tools as the tools"
        )
    # A model of pydantic, such as a Runnable, is iterated by its fields.
    elif isinstance(thing, Iterable) and not isinstance(thing, str | bytes | BaseModel):
        yield from _load_several(thing, name)
    elif isinstance(thing, Runnable):
        raise ToolLoadError(
            f"{type(thing).__name__} is a Runnable, not a tool: give its .as_tool(name=..., description=...)"
        )
    else:
        raise ToolLoadError(f"{one_line(repr(thing), 80)} is no tool: {_ACCEPTED}")


def _load_several(things: Any, prefix: str | None) -> Iterator[_Loaded]:
    if isinstance(things, Mapping):
        yield from _load(things, prefix)
        return
    if not isinstance(things, Iterable):
        raise ToolLoadError(f"{one_line(repr(things), 80)} are no tools: {_ACCEPTED}")
    for thing in things:
        for each in _load(thing, None):
            yield each if prefix is None else each.renamed(f"{prefix}.{each.spec.name}")


def _load_one(thing: Any, name: str | None) -> _Loaded:
    if isinstance(thing, ToolSpec):
        spec = thing
    elif isinstance(thing, BaseTool):
        from codemode_graph.tools.from_langchain import from_langchain

        spec = from_langchain(thing)
    elif inspect.isroutine(thing) and any(injection_in(hint) for hint in type_hints(thing).values()):
        spec = _from_injected(thing)
    else:
        # The name goes in, and is not put over the result: the function's messages and traces bear it.
        spec = from_callable(thing, name)
    if not isinstance(thing, ToolSpec | BaseTool) and (own_name := name_of(thing)) != spec.name:
        spec = replace(spec, own_name=own_name)
    loaded = _Loaded(spec, thing).renamed(spec.name if name is None else name)
    if not loaded.spec.name:
        raise ToolLoadError(f"a tool has no name: {one_line(repr(thing), 80)}")
    return loaded


def _from_injected(function: Callable[..., Any]) -> ToolSpec:
    """Load a plain function with arguments that LangGraph injects. LangChain knows how to inject them."""
    from langchain_core.tools import StructuredTool

    from codemode_graph.tools.from_langchain import from_langchain

    is_async = inspect.iscoroutinefunction(function)
    marks = marks_of(function)
    tool = StructuredTool.from_function(
        func=None if is_async else function,
        coroutine=function if is_async else None,
        name=marks.name,
        description=marks.description or inspect.getdoc(function) or "",
    )
    return marks.on(from_langchain(tool))


def _has_tools(thing: Any) -> bool:
    return not inspect.isroutine(thing) and not isinstance(thing, type) and hasattr(thing, "tools")


def _free_name(spec: ToolSpec, used: Mapping[str, _Loaded]) -> str:
    if spec.name not in used:
        return spec.name
    source = re.sub(r"\W+", "_", spec.source)
    name = f"{spec.name}_{source}"
    if spec.source != used[spec.name].spec.source and name not in used:
        return name
    number = 2
    while f"{spec.name}_{number}" in used:
        number += 1
    return f"{spec.name}_{number}"


def is_general(name: str) -> bool:
    """Return whether a policy's name is an effect or a glob pattern, rather than the name of one tool."""
    return name.startswith(_EFFECT) or re.search(r"[*?\[]", name) is not None


def check_policy_names(policies: Iterable[str], tools: Collection[str]) -> None:
    """Find a policy for a tool that does not exist: a misspelled name must not leave a tool without its policy.

    Args:
        policies: The names under which policies stand.
        tools: The names of all tools.

    Raises:
        ConfigurationError: There is one; the message names the nearest tool.
    """
    for name in policies:
        if name not in tools and not is_general(name):
            listed = f"the tools are {', '.join(sorted(tools)[:20]) or 'none'}"
            raise ConfigurationError(
                f"policies name {name!r}, and there is no such tool; {suggest(name, tools) or listed}"
            )


def _with_policies(tools: Iterable[_Loaded], policies: Mapping[str, ToolPolicy]) -> Iterator[ToolSpec]:
    tools = list(tools)
    names = {name for each in tools for name in each.spec.names}
    check_policy_names(policies, names)
    # A tool's name may look like a pattern or an effect; then it is the name that counts.
    effects = {name: policy for name, policy in policies.items() if name not in names and name.startswith(_EFFECT)}
    patterns = {name: policy for name, policy in policies.items() if name not in names and name not in effects}
    for name, policy in effects.items():
        if name.removeprefix(_EFFECT) not in (*get_args(Effect), "undeclared"):
            raise ConfigurationError(
                f"policies name {name!r}; the effects are {', '.join(get_args(Effect))}, undeclared"
            )
        if policy.effect is not None and name != _UNDECLARED:
            raise ConfigurationError(f"the policy for {name!r} cannot change the effect by which it was chosen")
    for each in tools:
        spec, both = each.spec, each.spec.names
        own = [policy for pattern, policy in patterns.items() if any(fnmatchcase(name, pattern) for name in both)]
        own += [policies[name] for name in both if name in policies]
        undeclared = not spec.declared and functools.reduce(_merge, own, spec.policy).effect is None
        if undeclared and _UNDECLARED in effects:
            own.insert(0, effects[_UNDECLARED])
        # A policy by name, or for undeclared tools, may set the effect, and with it which policy by effect applies.
        effect = functools.reduce(_merge, own, spec.policy).effect or spec.effect
        general = [effects[f"{_EFFECT}{effect}"]] if f"{_EFFECT}{effect}" in effects else []
        policy = functools.reduce(_merge, [*general, *own], spec.policy)
        yield spec if policy == spec.policy else replace(spec, policy=policy)


def _merge(policy: ToolPolicy, other: ToolPolicy) -> ToolPolicy:
    """Return the first policy with every field that the second one sets to something else than its default."""
    # A field that still has its default says nothing, so it overrides nothing.
    default = ToolPolicy()
    names = [each.name for each in fields(other) if getattr(other, each.name) != getattr(default, each.name)]
    return replace(policy, **{name: getattr(other, name) for name in names})
