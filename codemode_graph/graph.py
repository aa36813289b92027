"""The graph: its nodes, its edges and its routes."""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from codemode_sandboxes import Limits, Sandbox, SandboxChoice
from codemode_sandboxes.monty import MontySandbox
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Send
from typing_extensions import Unpack

from codemode_graph.catalogue import Catalogue
from codemode_graph.catalogue.program_folder import with_programs
from codemode_graph.compat import number_of_attempt, with_narrow_read
from codemode_graph.model.ask import is_structured, load_model
from codemode_graph.nodes.approve import approve
from codemode_graph.nodes.check import check
from codemode_graph.nodes.discover import discover
from codemode_graph.nodes.execute import execute
from codemode_graph.nodes.generate import generate
from codemode_graph.nodes.inspect_output import inspect_output
from codemode_graph.nodes.node import Node, Route
from codemode_graph.nodes.repair import repair
from codemode_graph.nodes.spans import trace_policy
from codemode_graph.options import Approve, RunOptions, read_catalogue, read_context, read_options, read_sandbox
from codemode_graph.settings import Context, Parts
from codemode_graph.state import CodeModeInput, CodeModeOutput, CodeModeState
from codemode_graph.tools.load import Tools, load_tools
from codemode_graph.tools.spec import ToolSpec

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["build_graph", "create_codemode", "type_checker_of"]


def create_codemode(
    *, model: "str | BaseChatModel | None", tools: Tools, **options: Unpack[RunOptions]
) -> StateGraph[CodeModeState, Context, CodeModeInput, CodeModeOutput]:
    """Make the graph that writes, checks, runs and repairs a program. It is not compiled, and has no checkpointer.

    Args:
        model: Writes the programs: a provider string that `init_chat_model` takes, or a chat model. None makes a graph
            that runs only programs of the caller, from `code`.
        tools: What programs may call: functions, LangChain tools, `ToolSpec`s, in a list or by name in a dict.
        options: As `RunOptions` lists them.

    Returns:
        The graph. Its input is `task`, and `code` where there is a program already; `Context` may override the knobs.

    Raises:
        ConfigurationError: The model cannot be used, or an option, see `RunOptions`.
        ToolLoadError: Something among the tools is not a tool.

    Examples:
        ```python
        graph = create_codemode(model="openai:gpt-5.2", tools=[list_events, send_mail]).compile()
        state = await graph.ainvoke({"task": "Mail today's events to ann@example.com"})
        print(state["output"])
        ```
    """
    options = read_options(options)
    specs = with_programs(load_tools(tools, policies=options.get("policies")), options.get("programs"))
    return build_graph(model=model, specs=specs, catalogue=read_catalogue(specs, options), options=options)


def build_graph(
    *,
    model: "str | BaseChatModel | None",
    specs: Sequence[ToolSpec],
    catalogue: Catalogue,
    options: RunOptions,
    approver: Approve | None = None,
) -> StateGraph[CodeModeState, Context, CodeModeInput, CodeModeOutput]:
    """Make the graph of `create_codemode` over tools that are loaded already.

    Args:
        model: As there.
        specs: All tools, with their policies.
        catalogue: Those that programs may call. Graphs share it, and what it has written of the tools.
        options: As `read_options` returns them.
        approver: Answers for people; without it the graph is interrupted.

    Raises:
        ConfigurationError: The model cannot be used, or an option, see `RunOptions`.
    """
    # `read_sandbox` changes them, and the caller may build another graph from the same.
    options = options.copy()
    context = read_context(options)
    loaded = None if model is None else load_model(model)
    sandbox = read_sandbox(options)
    structured = options.get("structured")
    parts = Parts(
        model=loaded,
        catalogue=catalogue,
        sandbox=sandbox,
        checker=type_checker_of(sandbox),
        limits=options.get("limits") or Limits(),
        timeout=options.get("timeout", 60.0),
        model_timeout=options.get("model_timeout"),
        structured=(loaded is not None and is_structured(loaded)) if structured is None else structured,
        context=context,
        prices=options.get("prices"),
        inline_bytes=options.get("inline_bytes", 32 * 1024),
        instructions=options.get("instructions", ""),
        journal=options.get("journal"),
        approver=approver,
        reserved=tuple(spec.name for spec in specs if not spec.for_programs),
    )
    graph: StateGraph[Any, Any, Any, Any] = _Graph(
        CodeModeState, Context, input_schema=CodeModeInput, output_schema=CodeModeOutput
    )
    for function in (generate, check, execute, approve, inspect_output, repair):
        graph.add_node(function.__name__, Node(function, parts), trace_policy=trace_policy(function.__name__))
    if catalogue.is_searched:
        graph.add_node(discover.__name__, Node(discover, parts), trace_policy=trace_policy(discover.__name__))
        graph.add_edge("discover", "generate")
    graph.add_edge(START, "discover" if catalogue.is_searched else "generate")
    _add_route(graph, "generate", after_writing, ["check", END])
    _add_route(graph, "check", after_check, ["execute", "repair", END])
    _add_route(graph, "execute", after_execution, ["approve", "inspect_output"], reads=("pending", "run_id"))
    graph.add_edge("approve", "execute")
    _add_route(graph, "inspect_output", after_inspection, ["repair", END])
    _add_route(graph, "repair", after_writing, ["check", END])
    return graph


class _CompiledGraph(CompiledStateGraph[Any, Any, Any, Any]):
    """A graph that a node may call: where the node, or the call, is tried again, it goes on with its run."""

    def stream(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> Any:
        """Run the graph, as `invoke` does too."""
        with number_of_attempt(config, input) as numbered:
            yield from super().stream(input, numbered, **options)

    async def astream(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> Any:
        """Run the graph, as `ainvoke` does too."""
        with number_of_attempt(config, input) as numbered:
            parts: Any = super().astream(input, numbered, **options)
            async with aclosing(parts):
                async for part in parts:
                    yield part


class _Graph(StateGraph[Any, Any, Any, Any]):
    def compile(self, *arguments: Any, **options: Any) -> CompiledStateGraph[Any, Any, Any, Any]:
        """Compile the graph. See `StateGraph.compile`."""
        compiled = super().compile(*arguments, **options)
        compiled.__class__ = _CompiledGraph  # LangGraph takes no other class for it
        return compiled


def _add_route(
    graph: StateGraph[Any, Any, Any, Any],
    source: str,
    route: Callable[[CodeModeState], Any],
    ends: list[str],
    *,
    reads: Sequence[str] = ("verdict",),
) -> None:
    """Add a conditional edge whose route reads these keys of the state."""
    graph.add_conditional_edges(source, Route(route), ends)
    branches = graph.branches[source]
    branches[route.__name__] = with_narrow_read(branches[route.__name__], reads)


def type_checker_of(sandbox: Sandbox) -> MontySandbox:
    """Return the Monty that a graph has anyway as its type checker, so that its worker processes serve both."""
    if isinstance(sandbox, SandboxChoice) and "monty" in sandbox.names:
        sandbox = sandbox.backend("monty")
    return sandbox if isinstance(sandbox, MontySandbox) else _shared_checker()


@cache
def _shared_checker() -> MontySandbox:
    # One for all graphs whose programs run elsewhere: each has worker processes.
    return MontySandbox()


def after_writing(state: CodeModeState) -> Literal["check", "__end__"]:
    """Check the program; end the run where the model wrote none."""
    return "__end__" if state["verdict"] == "error" else "check"


def after_check(state: CodeModeState) -> Literal["execute", "repair", "__end__"]:
    """Run a program without findings; repair another, or end the run where no attempt is left."""
    if state["verdict"] is None:
        return "execute"
    return "repair" if state["verdict"] == "error" else "__end__"


def after_execution(state: CodeModeState) -> list[Send | Literal["approve", "inspect_output"]]:
    """Ask people about pending calls, once for all that need approval and once for each tool that asks; else inspect."""
    if not state["pending"]:
        return ["inspect_output"]
    sends = [
        Send("approve", {"pending": [call], "run_id": state["run_id"]})
        for call in state["pending"]
        if call["reason"] == "tool"
    ]
    return [*sends, "approve"] if len(sends) < len(state["pending"]) else [*sends]


def after_inspection(state: CodeModeState) -> Literal["repair", "__end__"]:
    """Ask again after a program that failed, returned nothing or only looked for tools; else end the run."""
    return "repair" if state["verdict"] in ("error", "empty", "looked") else "__end__"
