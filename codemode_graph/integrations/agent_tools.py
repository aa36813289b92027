"""The tools of an agent as programs call them, and the graphs that run such programs.

A call by a program goes the way of the agent's own calls: through the tool-call middleware that follows code mode in the
agent's list, then to the agent's `ToolNode`, which injects the agent's state, store and runtime. The tool itself runs
under the program's config, so that traces show it there and an `interrupt()` in it is a question of the program's run.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from langchain.agents.middleware import HumanInTheLoopMiddleware, InterruptOnConfig
from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, Tool
from langgraph.config import get_config
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt.tool_node import msg_content_output
from langgraph.runtime import get_runtime
from langgraph.types import Command
from pydantic import Field

from codemode_graph.catalogue import Catalogue, ObservedSchemas
from codemode_graph.catalogue.program_folder import with_programs
from codemode_graph.compat import channels_of, state_of, with_state_of
from codemode_graph.errors import ConfigurationError, ToolLoadError
from codemode_graph.graph import build_graph
from codemode_graph.nodes.learn import notes_of, observed_types
from codemode_graph.nodes.run_log import find_journal
from codemode_graph.options import read_catalogue, read_options
from codemode_graph.sync import wait_for
from codemode_graph.tools.from_function import marks_of
from codemode_graph.tools.from_langchain import Run, from_langchain
from codemode_graph.tools.load import check_policy_names, is_general, load_tools
from codemode_graph.tools.results import update_from_json
from codemode_graph.tools.spec import Review, ToolPolicy, ToolSpec

InterruptOn = Mapping[str, bool | InterruptOnConfig]

# An agent alternates between few lists of tools; without a bound, one that makes a new list each turn would leak graphs.
_MOST_TOOLSETS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCall:
    """The tool call by which an agent runs a program.

    Attributes:
        request: The request as the middleware got it.
        handler: The rest of the agent's way to a tool; a coroutine function where the agent runs asynchronously.
        is_async: Whether the agent runs asynchronously.
        sent: What calls updated in the agent's state, by the step of the program's graph.
    """

    request: ToolCallRequest
    handler: Callable[[ToolCallRequest], Any]
    is_async: bool
    sent: dict[int, list[tuple[str, Any]]] = field(default_factory=dict)

    async def make(self, tool: BaseTool, call: ToolCall, config: RunnableConfig, run: Run) -> Any:
        """Make a program's call of a tool the agent's way, and return its value."""
        sent: list[tuple[str, Any]] = []
        below = with_state_of(config, self.request.runtime.config, written := self._written(config), sent.extend)
        state = self.request.state
        if isinstance(state, dict):
            state = {**state, **{key: state_of(below, key) for key, _ in written}}
        nested = _NestedTool(
            name=tool.name,
            description=tool.description,
            args_schema=tool.args_schema,
            metadata=tool.metadata,
            tags=tool.tags,
            program_config=below,
            run_tool=run,
        )
        runtime = replace(self.request.runtime, config=config, tool_call_id=call["id"], state=state)
        request = replace(self.request, tool_call=call, tool=nested, runtime=runtime, state=state)
        answer = await (self.handler(request) if self.is_async else asyncio.to_thread(self.handler, request))
        self.sent.setdefault(_step(config), []).extend([*sent, *_updates(answer)])
        if sent:
            # As updates by Commands: they are recorded with the call, so a program that is started again keeps them.
            answers = answer if isinstance(answer, list) else [answer]
            return [*answers, *(Command(update={key: value}) for key, value in sent)]
        # Middleware needs a message, the program the value: return the value where no middleware changed its message.
        return next((value for message, value in nested.values if message is answer), answer)

    def _written(self, config: RunnableConfig) -> list[tuple[str, Any]]:
        """Return what the program's calls have updated in the agent's state, before it was stopped and after."""
        calls: list[Any] = state_of(config, "tool_calls") or []
        before = [pair for call in calls for update in call.get("updates", ()) for pair in update.items()]
        known = [(key, update_from_json(value)) for key, value in before if key != "messages"]
        channels = channels_of(self.request.runtime.config)
        return [(key, value) for key, value in known + self.sent.get(_step(config), []) if key in channels]


def _updates(answer: Any) -> list[tuple[str, Any]]:
    """Return what Commands update beside the conversation, which the messages of a program's calls do not belong to."""
    commands = [each for each in (answer if isinstance(answer, list) else [answer]) if isinstance(each, Command)]
    updates = [each.update for each in commands if isinstance(each.update, dict)]
    return [(key, value) for update in updates for key, value in update.items() if key != "messages"]


def _step(config: RunnableConfig) -> int:
    # The state of a step has what the steps before it did.
    return int((config.get("metadata") or {}).get("langgraph_step", 0))


agent_call: ContextVar[AgentCall] = ContextVar("codemode_agent_call")
"""The call whose program is running. The middleware sets it before it runs the program."""


class _NestedTool(BaseTool):
    """Stands for a tool in the agent's `ToolNode`, and runs it under the program's config."""

    program_config: Any = Field(exclude=True)
    run_tool: Any = Field(exclude=True)
    values: list[tuple[Any, Any]] = Field(default_factory=list, exclude=True)
    """Each message that was returned, with the value that it was built from."""

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        answer = await self.run_tool(input, self.program_config)
        if isinstance(answer, ToolMessage | Command) or _are_messages(answer):
            return answer
        content: Any = msg_content_output(answer)
        message = ToolMessage(content, name=self.name, tool_call_id=input["id"])
        self.values.append((message, answer))
        return message

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        return wait_for(self.ainvoke(input, config))


def _are_messages(answer: Any) -> bool:
    return isinstance(answer, list) and bool(answer) and all(isinstance(each, ToolMessage | Command) for each in answer)


def _spec_of(tool: BaseTool, spec: ToolSpec | None) -> ToolSpec:
    """Return an agent's tool as a tool of programs, with the effect, policy and result types of `spec` where it is known."""

    async def invoke(call: ToolCall, config: RunnableConfig, run: Run) -> Any:
        return await agent_call.get().make(tool, call, config, run)

    loaded = from_langchain(tool, invoke=invoke)
    if spec is not None:
        return replace(spec, call=loaded.call, input_schema=loaded.input_schema, name=tool.name)
    functions = [tool.func, tool.coroutine] if isinstance(tool, StructuredTool | Tool) else []
    effects = [effect for each in functions if (effect := marks_of(each).effect)]
    return replace(loaded, effect=effects[0], declared=True) if effects else loaded


def reviews_of(interrupt_on: InterruptOn | HumanInTheLoopMiddleware[Any, Any, Any]) -> dict[str, Review]:
    """Return, by tool, how a person reviews the calls of programs.

    Args:
        interrupt_on: As `HumanInTheLoopMiddleware` takes it, or that middleware itself.

    Raises:
        ConfigurationError: The middleware asks about each call by itself.
    """
    if isinstance(interrupt_on, HumanInTheLoopMiddleware):
        if asks_per_call(interrupt_on):
            raise ConfigurationError(
                "HumanInTheLoopMiddleware(interrupt_mode='per_call') asks about the calls of programs by itself: list it "
                "after CodeModeMiddleware, and give that interrupt_on={}"
            )
        interrupt_on = interrupt_on.interrupt_on
    return {name: _review(name, {} if how is True else how) for name, how in interrupt_on.items() if how is not False}


def asks_per_call(human: HumanInTheLoopMiddleware[Any, Any, Any]) -> bool:
    """Return whether it asks about each call on the way to the tool, as LangChain can from 1.4.7 on."""
    return getattr(human, "interrupt_mode", "batched") == "per_call"


def require_checkpointer(tool: str, remedy: str) -> None:
    """Raise `ConfigurationError`: an agent without a checkpointer cannot go on after an interrupt. Not on LangGraph Server.

    Args:
        tool: A tool whose calls wait for people.
        remedy: Where to give a checkpointer.
    """
    # The server replaces the checkpointer of every graph that it loads.
    if "langgraph_api" not in sys.modules:
        raise ConfigurationError(f"calls of {tool!r} wait for people, and the agent has no checkpointer: give {remedy}")


def _review(name: str, config: Any) -> Review:
    when, text = config.get("when"), config.get("description")

    def call(arguments: Mapping[str, Any]) -> ToolCall:
        # The call of a program has no id that the agent knows: a review sees the one that runs the program.
        agents_id = agent_call.get().request.tool_call["id"]
        return ToolCall(name=name, args=dict(arguments), id=agents_id, type="tool_call")

    def needs_review(arguments: Mapping[str, Any]) -> bool:
        request = agent_call.get().request
        return bool(when(ToolCallRequest(call(arguments), None, request.state, request.runtime)))

    def describe(arguments: Mapping[str, Any]) -> str:
        return str(text(call(arguments), agent_call.get().request.state, get_runtime()))

    return Review(
        when=None if when is None else needs_review,
        decisions=tuple(config.get("allowed_decisions", Review().decisions)),
        description=describe if callable(text) else text,
    )


class Toolset:
    """One list of an agent's tools.

    Args:
        specs: The tools.
        options: What `create_codemode` takes beside the tools.

    Attributes:
        for_programs: The tools that programs may call.
        hidden: The names of the tools that only programs may call.
    """

    def __init__(self, specs: Sequence[ToolSpec], options: Mapping[str, Any]) -> None:
        self._specs, self._options = with_programs(specs, options.get("programs")), options
        self.for_programs = [spec for spec in self._specs if spec.for_programs]
        self.hidden = frozenset(spec.name for spec in specs if not spec.for_models)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The tools that programs may call, as prompts tell of them."""
        return read_catalogue(self._specs, self._options)

    async def observed(self) -> ObservedSchemas:
        """Return what is known of results that tools do not declare. To be called in a node of the agent.

        An agent without a checkpointer, a store and a journal keeps nothing from one run to the next.
        """
        journal = find_journal(self._options.get("journal"), get_config())
        return {} if journal is None else await observed_types(self.catalogue, notes_of(journal))

    @cached_property
    def graph(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        """The graph that runs programs. It has no checkpointer of its own, and uses the agent's."""
        options = dict(self._options)
        model = options.pop("model")
        graph = build_graph(model=model, specs=self._specs, catalogue=self.catalogue, options=read_options(options))
        return graph.compile(name="codemode")


@dataclass(slots=True, kw_only=True)
class Toolsets:
    """The toolset of each list of tools. The newest are kept: an agent's tools rarely change between its turns.

    Attributes:
        policies: The policies of tools.
        reviews: By tool, which calls a person decides on.
        specs: By name, what is known of tools beyond what LangChain tools say.
        options: What `create_codemode` takes beside the tools.
    """

    policies: Mapping[str, ToolPolicy]
    reviews: Mapping[str, Review]
    specs: Mapping[str, ToolSpec]
    options: Mapping[str, Any]
    _cache: dict[tuple[int, ...], tuple[Sequence[BaseTool], Toolset]] = field(default_factory=dict)

    def check(self, names: Sequence[str]) -> None:
        """Raise `ConfigurationError` for a policy whose tool is not among an agent's."""
        check_policy_names(self.policies, names)

    def of(self, tools: Sequence[BaseTool]) -> Toolset:
        """Return the toolset of these tools.

        Raises:
            ConfigurationError: A policy cannot be used.
        """
        # The tools are kept with their toolset: an id is unique only as long as its object lives.
        key = tuple(map(id, tools))
        if key not in self._cache:
            if len(self._cache) >= _MOST_TOOLSETS:
                del self._cache[next(iter(self._cache))]
            self._cache[key] = (tools, self._load(tools))
        return self._cache[key][1]

    def _load(self, tools: Sequence[BaseTool]) -> Toolset:
        names = {tool.name for tool in tools}
        policies = {name: each for name, each in self.policies.items() if name in names or is_general(name)}
        specs = load_tools([spec for tool in tools if (spec := self._spec(tool))], policies=policies)
        return Toolset([self._with_review(spec) for spec in specs], self.options)

    def _spec(self, tool: BaseTool) -> ToolSpec | None:
        try:
            spec = _spec_of(tool, self.specs.get(tool.name))
        except ToolLoadError:
            # A program cannot call it, since LangChain cannot pass it a value that it needs: the model still can.
            return None
        # `return_direct` ends the agent's run with the tool's result, which a call in the middle of a program must not.
        return replace(spec, policy=replace(spec.policy, callers="model")) if tool.return_direct else spec

    def _with_review(self, spec: ToolSpec) -> ToolSpec:
        review = self.reviews.get(spec.name)
        return spec if review is None else replace(spec, policy=replace(spec.policy, approval=review))
