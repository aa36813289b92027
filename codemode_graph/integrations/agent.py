"""Make a LangChain agent that has code mode over its tools, or a tool with code mode for any agent."""

import inspect
import re
from collections.abc import Sequence
from typing import Any

from langchain import agents
from langchain.agents.middleware import AgentMiddleware, AgentState, HumanInTheLoopMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import SystemMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.cache.base import BaseCache
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.base import BaseStore
from langgraph.types import Checkpointer
from typing_extensions import Unpack

from codemode_graph.api import codemode as create_code_mode
from codemode_graph.integrations.agent_tools import asks_per_call, require_checkpointer
from codemode_graph.integrations.langchain import as_langchain_tool
from codemode_graph.integrations.middleware import CodeModeMiddleware
from codemode_graph.model.ask import load_model
from codemode_graph.options import CodeModeOptions, RunOptions, read_options
from codemode_graph.sync import wait_for
from codemode_graph.tools.load import Tools, load_with_origins
from codemode_graph.tools.results import Updated
from codemode_graph.tools.spec import ToolSpec

__all__ = ["AgentOptions", "create_agent", "create_codemode_tool", "to_langchain"]


class AgentOptions(RunOptions, total=False):
    """The options of `create_agent` beside its own arguments: the run options, and those of LangChain's `create_agent`."""

    response_format: Any
    state_schema: type[AgentState[Any]] | None
    context_schema: type | None
    checkpointer: Checkpointer
    store: BaseStore | None
    interrupt_before: list[str] | None
    interrupt_after: list[str] | None
    debug: bool
    name: str | None
    cache: BaseCache[Any] | None
    transformers: Sequence[Any] | None


def create_agent(
    tools: Tools,
    llm: BaseChatModel | None = None,
    model: str = "openai:gpt-5.2",
    *,
    codemode: bool = True,
    code_model: str | BaseChatModel | None = None,
    api_key: str | None = None,
    system_prompt: str | SystemMessage | None = None,
    middleware: Sequence[AgentMiddleware[Any, Any, Any]] = (),
    **options: Unpack[AgentOptions],
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Make a LangChain agent that can run programs on its tools, and call them directly where that is better.

    It is LangChain's `create_agent` with `CodeModeMiddleware` before the other middleware. A `HumanInTheLoopMiddleware`
    among those also decides on the calls that programs make.

    Args:
        tools: Functions, LangChain tools, `ToolSpec`s such as an `MCPToolLoader` gives.
        llm: The agent's model.
        model: The name of the agent's model where there is no `llm`.
        codemode: Without it, the same agent without programs.
        code_model: Writes programs for tasks that the agent gives. None has the agent's own model write them.
        api_key: For models named by a string; otherwise the provider's environment variable is used.
        system_prompt: The agent's own instructions.
        middleware: More of the agent's, in order.
        options: As `RunOptions` lists them, and what else LangChain's `create_agent` takes: `checkpointer`, `store`,
            `response_format`, ... The `callers` of `policies` hold for the agent's own calls too.

    Raises:
        ConfigurationError: A model or an option cannot be used, see `RunOptions`; or calls wait for people, and there is no
            checkpointer. LangGraph Server brings one.
        ToolLoadError: Something among the tools is not a tool.
    """
    # LangChain's own options are read off its function: a newer LangChain may take more than `AgentOptions` lists.
    known = [*RunOptions.__annotations__, *inspect.signature(agents.create_agent).parameters]
    theirs: dict[str, Any] = {**read_options(options, known=known)}
    run = {name: theirs.pop(name) for name in RunOptions.__annotations__ if name in theirs}
    loaded = load_with_origins(tools, policies=run.pop("policies", None))
    bound = [(spec, to_langchain(spec, origin)) for spec, origin in loaded]
    if not theirs.get("checkpointer") and (tool_name := _who_asks([spec for spec, _ in loaded], middleware)):
        require_checkpointer(
            tool_name, "create_agent(checkpointer=...); checkpointer=True takes that of a graph around it"
        )
    first: list[AgentMiddleware[Any, Any, Any]] = []
    if codemode:
        writer = load_model(code_model, api_key=api_key) if isinstance(code_model, str) else code_model
        specs = {tool.name: spec for spec, tool in bound}
        first = [CodeModeMiddleware(model=writer, interrupt_on=_interrupt_on(middleware), specs=specs, **run)]
    agent: CompiledStateGraph[Any, Any, Any, Any] = agents.create_agent(
        llm if llm is not None else load_model(model, api_key=api_key),
        tools=[tool for _, tool in bound],
        system_prompt=system_prompt,
        middleware=[*first, *middleware],
        **theirs,
    )
    return agent


def create_codemode_tool(
    tools: Tools, *, name: str = "codemode", description: str | None = None, **options: Unpack[CodeModeOptions]
) -> BaseTool:
    """Make a LangChain tool that does tasks with these tools: `codemode(...)` and `as_langchain_tool` in one.

    Args:
        tools: What its programs may call: functions, LangChain tools, `ToolSpec`s.
        name: The tool's name.
        description: For the agent's model.
        options: As `CodeModeOptions` and `RunOptions` list them.
    """
    return as_langchain_tool(create_code_mode(tools=tools, **options), name=name, description=description)


def to_langchain(spec: ToolSpec, origin: object = None) -> BaseTool:
    """Return a tool as a LangChain tool, for an agent that calls it directly.

    Args:
        spec: The tool.
        origin: The object that it was loaded from. A LangChain tool, or a function, is used as LangChain uses it.
    """
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", spec.name)[:64]
    if isinstance(origin, BaseTool):
        return origin if origin.name == name else origin.model_copy(update={"name": name})
    description = spec.description or f"The tool {spec.name}."
    if inspect.isroutine(origin):
        is_async = inspect.iscoroutinefunction(origin)
        return StructuredTool.from_function(
            func=None if is_async else origin,
            coroutine=origin if is_async else None,
            name=name,
            description=description,
        )

    async def call(config: RunnableConfig, **arguments: Any) -> Any:
        value = await spec.call(arguments, config)
        if isinstance(value, Updated):
            raise ToolException(
                f"{spec.name} returns a Command: give the agent a LangChain tool, or a function, for it"
            )
        return value

    def call_sync(config: RunnableConfig, **arguments: Any) -> Any:
        return wait_for(call(config, **arguments))

    return StructuredTool(
        name=name, description=description, args_schema=dict(spec.input_schema), func=call_sync, coroutine=call
    )


def _who_asks(specs: Sequence[ToolSpec], middleware: Sequence[AgentMiddleware[Any, Any, Any]]) -> str:
    """Return the name of a tool whose calls wait for people; an empty text where none does."""
    humans = [each for each in middleware if isinstance(each, HumanInTheLoopMiddleware)]
    names = [name for each in humans for name in each.interrupt_on]
    return next(iter([*names, *(spec.name for spec in specs if spec.policy.approval)]), "")


def _interrupt_on(middleware: Sequence[AgentMiddleware[Any, Any, Any]]) -> Any:
    """Return which calls of programs a person decides on: those that the agent's people decide on."""
    humans = [each for each in middleware if isinstance(each, HumanInTheLoopMiddleware)]
    # One that asks about each call sees the calls of programs by itself, on their way to the tool.
    return {name: how for each in humans if not asks_per_call(each) for name, how in each.interrupt_on.items()}
