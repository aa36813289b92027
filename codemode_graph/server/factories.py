"""The graphs that LangGraph Server serves: each is made for one run, or for reading.

The server makes a graph for every request, also to show its schemas, its drawing and the state of its threads. Those reads
need its nodes and no tools, so they get one that was made without: nothing is started, and servers that are down do not
matter.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias

from codemode_sandboxes import SandboxUnavailable, UnknownSandbox
from langchain_core.language_models import BaseChatModel
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph_sdk.runtime import ServerRuntime

from codemode_graph.errors import ConfigurationError
from codemode_graph.graph import create_codemode
from codemode_graph.integrations.agent import create_agent, to_langchain
from codemode_graph.integrations.chat import create_codemode_chat
from codemode_graph.nodes.approve import ApprovalNeedsThread
from codemode_graph.options import RunOptions
from codemode_graph.server import environment
from codemode_graph.server.assistant import Assistant, read_assistant
from codemode_graph.server.conversation import compose
from codemode_graph.server.threads import HumanOnThread, move_to_thread
from codemode_graph.tools.load import load_tools

_AGENT = "You do what the user asks with the tools that you have, and answer shortly."

Graph: TypeAlias = CompiledStateGraph[Any, Any, Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """The parts of a graph.

    Attributes:
        tools: The tools.
        model: Talks, and writes programs.
        writer: The model for graphs that can do without one; None where none is set.
        options: As for `create_codemode`.
    """

    tools: list[Any] = field(default_factory=list)
    model: BaseChatModel = field(default_factory=environment.NoModel)
    writer: BaseChatModel | None = None
    options: RunOptions = field(default_factory=lambda: RunOptions(sandbox="monty"))


def codemode(runtime: ServerRuntime[Any] | None = None) -> AbstractAsyncContextManager[Graph]:
    """Make code mode itself. Without a model it runs only the `code` of its input.

    Args:
        runtime: Of the server: what the graph is for. Without it, it is for a run.
    """
    return _serve(_codemode, runtime)


def agent(runtime: ServerRuntime[Any] | None = None) -> AbstractAsyncContextManager[Graph]:
    """Make an agent that calls its tools itself, or by a program, as it decides. Approvals hold either way.

    Args:
        runtime: Of the server: what the graph is for. Without it, it is for a run.
    """
    return _serve(_agent, runtime)


def composed(runtime: ServerRuntime[Any] | None = None) -> AbstractAsyncContextManager[Graph]:
    """Make a conversation in which code mode is one node, see `compose`.

    Args:
        runtime: Of the server: what the graph is for. Without it, it is for a run.
    """
    return _serve(_composed, runtime)


def chat(runtime: ServerRuntime[Any] | None = None) -> AbstractAsyncContextManager[Graph]:
    """Make code mode as a participant of a conversation, see `create_codemode_chat`.

    Args:
        runtime: Of the server: what the graph is for. Without it, it is for a run.
    """
    return _serve(_chat, runtime)


@asynccontextmanager
async def _serve(build: Callable[[Equipment], Graph], runtime: ServerRuntime[Any] | None) -> AsyncIterator[Graph]:
    if runtime is not None and runtime.execution_runtime is None:
        yield _for_reading(build)
        return
    execution = None if runtime is None else runtime.execution_runtime
    assistant = read_assistant(None if execution is None else execution.context)
    async with environment.open_tools(assistant) as tools:
        try:
            sandbox = environment.sandbox(assistant.sandbox)
        except (SandboxUnavailable, UnknownSandbox) as error:
            raise ConfigurationError(str(error)) from error  # the server tells its clients what a built-in error says
        options = RunOptions(
            policies=environment.policies(assistant, tools),
            sandbox=sandbox,
            prices=assistant.price,
            instructions=assistant.instructions,
        )
        model = environment.chat_model(assistant)
        writer = None if isinstance(model, environment.NoModel) else model
        try:
            yield build(Equipment(tools=tools, model=model, writer=writer, options=options))
        except ApprovalNeedsThread as error:
            raise await move_to_thread(error, assistant) from None


@cache
def _for_reading(build: Callable[[Equipment], Graph]) -> Graph:
    # The nodes are the same whatever the tools, so the server finds its way in the states of every run.
    return build(Equipment())


def _codemode(parts: Equipment) -> Graph:
    graph: StateGraph[Any, Any, Any, Any] = create_codemode(model=parts.writer, tools=parts.tools, **parts.options)
    graph.context_schema = Assistant
    return graph.compile(name="codemode")


def _agent(parts: Equipment) -> Graph:
    specs = load_tools(parts.tools, policies=parts.options.get("policies"))
    gated = [to_langchain(spec).name for spec in specs if spec.policy.approval]
    return create_agent(
        parts.tools,
        llm=parts.model,
        system_prompt="\n\n".join(filter(None, [_AGENT, parts.options.get("instructions")])),
        middleware=[HumanOnThread(interrupt_on=dict.fromkeys(gated, True))],
        context_schema=Assistant,
        name="agent",
        **parts.options,
    )


def _composed(parts: Equipment) -> Graph:
    inner = create_codemode(model=parts.writer, tools=parts.tools, **parts.options)
    names = [spec.name for spec in load_tools(parts.tools)]
    graph = compose(inner.compile(), parts.model, names, instructions=parts.options.get("instructions", ""))
    graph.context_schema = Assistant
    return graph.compile(name="composed")


def _chat(parts: Equipment) -> Graph:
    graph: StateGraph[Any, Any, Any, Any] = create_codemode_chat(model=parts.model, tools=parts.tools, **parts.options)
    graph.context_schema = Assistant
    return graph.compile(name="chat")
