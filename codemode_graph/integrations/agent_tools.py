"""The tools of an agent, as programs may call them, and the graphs that run programs on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from langchain_core.tools import BaseTool
from langgraph.graph.state import CompiledStateGraph

from codemode_graph.errors import ToolLoadError
from codemode_graph.graph import create_codemode
from codemode_graph.integrations.nested import spec_of
from codemode_graph.tools.load import check_policy_names, is_general, load_tools
from codemode_graph.tools.spec import Review, ToolPolicy, ToolSpec

__all__ = ["Catalogue", "Toolset"]

_KEPT = 32


class Toolset:
    """What an agent has at a time.

    Args:
        specs: Its tools.
        options: What `create_codemode` takes beside the tools.

    Attributes:
        for_programs: What programs may call.
        hidden: Names of what only programs may call.
    """

    def __init__(self, specs: Sequence[ToolSpec], options: Mapping[str, Any]) -> None:
        self._specs, self._options = specs, options
        self.for_programs = [spec for spec in specs if spec.for_programs]
        self.hidden = frozenset(spec.name for spec in specs if not spec.for_models)

    @cached_property
    def graph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        """Runs programs. It has no checkpointer of its own, and uses the agent's."""
        return create_codemode(tools=self._specs, **self._options).compile(name="codemode")


@dataclass(slots=True, kw_only=True)
class Catalogue:
    """Makes toolsets, and keeps the last ones: an agent's tools rarely change between its turns.

    Attributes:
        policies: What is allowed of which tool.
        reviews: Which calls a person decides on, by tool.
        specs: What is known of tools beyond what LangChain tools say, by name.
        options: What `create_codemode` takes beside the tools.
    """

    policies: Mapping[str, ToolPolicy]
    reviews: Mapping[str, Review]
    specs: Mapping[str, ToolSpec]
    options: Mapping[str, Any]
    _made: dict[tuple[int, ...], tuple[Sequence[BaseTool], Toolset]] = field(default_factory=dict)

    def check(self, names: Sequence[str]) -> None:
        """Find policies for tools that the agent does not have.

        Raises:
            ConfigurationError: There is one.
        """
        check_policy_names(self.policies, names)

    def toolset(self, tools: Sequence[BaseTool]) -> Toolset:
        """Give the toolset of these tools.

        Raises:
            ConfigurationError: A policy cannot be used.
        """
        key = tuple(map(id, tools))
        if key not in self._made:
            if len(self._made) >= _KEPT:
                del self._made[next(iter(self._made))]
            self._made[key] = (tools, self._make(tools))
        return self._made[key][1]

    def _make(self, tools: Sequence[BaseTool]) -> Toolset:
        names = {tool.name for tool in tools}
        policies = {name: each for name, each in self.policies.items() if name in names or is_general(name)}
        specs = load_tools([spec for tool in tools if (spec := self._spec(tool))], policies=policies)
        return Toolset([self._reviewed(spec) for spec in specs], self.options)

    def _spec(self, tool: BaseTool) -> ToolSpec | None:
        try:
            spec = spec_of(tool, self.specs.get(tool.name))
        except ToolLoadError:
            # A tool that programs cannot have is one of the model's, as it was.
            return None
        # Its result ends the agent's run: that makes sense for a call of the model's own.
        return replace(spec, policy=replace(spec.policy, callers="model")) if tool.return_direct else spec

    def _reviewed(self, spec: ToolSpec) -> ToolSpec:
        review = self.reviews.get(spec.name)
        return spec if review is None else replace(spec, policy=replace(spec.policy, approval=review))
