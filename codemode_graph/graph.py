"""The graph: wiring, nothing else."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal

from codemode_sandboxes import Limits, Sandbox, UnknownSandbox, resolve_sandbox
from codemode_sandboxes.monty import MontySandbox
from langchain_core.language_models import BaseChatModel
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from codemode_graph.calls.values import LOAD_VALUE
from codemode_graph.errors import ConfigurationError
from codemode_graph.model.ask import is_structured, load_model
from codemode_graph.nodes.approve import approve
from codemode_graph.nodes.check import check
from codemode_graph.nodes.execute import execute
from codemode_graph.nodes.generate import generate
from codemode_graph.nodes.inspect_output import inspect_output
from codemode_graph.nodes.node import Node, Route
from codemode_graph.nodes.repair import repair
from codemode_graph.nodes.spans import trace_policy
from codemode_graph.settings import Context, Parts, Prices
from codemode_graph.state import CodeModeInput, CodeModeOutput, CodeModeState
from codemode_graph.tools.load import Tools, load_tools
from codemode_graph.tools.signatures import Signatures, render_stubs
from codemode_graph.tools.spec import ToolPolicy

__all__ = ["create_codemode", "sandbox_from"]


def create_codemode(
    *,
    model: str | BaseChatModel | None,
    tools: Tools,
    sandbox: Sandbox | str | None = None,
    auto: Sequence[str | Sandbox] | None = None,
    fallback: Sequence[str | Sandbox] = (),
    policies: Mapping[str, ToolPolicy] | None = None,
    limits: Limits | None = None,
    timeout: float = 60.0,
    max_attempts: int = 3,
    max_tokens: int | None = None,
    max_model_calls: int | None = None,
    max_seconds: float | None = None,
    max_tool_calls: int | None = None,
    max_cost: float | None = None,
    prices: Prices | None = None,
    inline_bytes: int = 32 * 1024,
    structured: bool | None = None,
) -> StateGraph[CodeModeState, Context, CodeModeInput, CodeModeOutput]:
    """Make the graph that writes, checks, runs and repairs a program. It is not compiled, and has no checkpointer.

    Args:
        model: Writes the programs: a provider string that `init_chat_model` takes, or a chat model. None makes a graph
            that runs only programs it is given, as `code`.
        tools: What programs may call: functions, LangChain tools, `ToolSpec`s, in a list or by name in a dict.
        sandbox: Where programs run: a `Sandbox`, a backend's name, or "auto", which takes for each program the cheapest
            that offers what it uses. The default is "monty".
        auto: The backends among which "auto" may choose; by default all. Giving it means "auto".
        fallback: Backends that are used, in order, where `sandbox` is not available, and only there.
        policies: What is allowed of which tool, by name, glob pattern or effect (`effect:destructive`).
        limits: Bounds on one program: computing time, memory, output, calls.
        timeout: Seconds that one program may take, the time in tools included.
        max_attempts: Programs that are tried, the first included.
        max_tokens: Tokens after which the model is not asked again.
        max_model_calls: Calls after which the model is not asked again.
        max_seconds: Seconds that models and programs may take in all; the time a run waits for people does not count.
        max_tool_calls: Tool calls in the whole run; a further one raises in the program.
        max_cost: Cost after which the model is not asked again; needs `prices`.
        prices: What the model costs.
        inline_bytes: Larger values are kept outside the state: in the graph's store, else in a file of this user.
        structured: Ask for structured output, or for a fenced block. The default goes by the model's profile.

    Returns:
        The graph. Its input is `task`, and `code` where there is a program already; `Context` may override the knobs.

    Raises:
        ConfigurationError: The model cannot be used, a policy names no tool, or the sandboxes contradict one another.
        ToolLoadError: Something among the tools is not a tool.
        SandboxUnavailable: The sandbox cannot run on this machine.
        UnknownSandbox: No sandbox has that name.

    Example:
        ```python
        graph = create_codemode(model="openai:gpt-5.2", tools=[list_events, send_mail]).compile()
        state = await graph.ainvoke({"task": "Mail today's events to ann@example.com"})
        print(state["output"])
        ```
    """
    if max_cost is not None and prices is None:
        raise ConfigurationError("max_cost needs prices=Prices(input=..., output=...), for a million tokens each")
    loaded = None if model is None else load_model(model)
    loaded_tools = load_tools(tools, policies=policies)
    specs = tuple(spec for spec in loaded_tools if spec.for_programs)
    runs_in = sandbox_from(sandbox, auto=auto, fallback=fallback)
    parts = Parts(
        model=loaded,
        tools=specs,
        signatures=Signatures.of((*specs, LOAD_VALUE)),
        stubs=render_stubs((*specs, LOAD_VALUE)),
        sandbox=runs_in,
        checker=runs_in if isinstance(runs_in, MontySandbox) else _checker(),
        limits=limits or Limits(),
        timeout=timeout,
        structured=(loaded is not None and is_structured(loaded)) if structured is None else structured,
        context=Context(
            max_attempts=max_attempts,
            max_tokens=max_tokens,
            max_model_calls=max_model_calls,
            max_seconds=max_seconds,
            max_tool_calls=max_tool_calls,
            max_cost=max_cost,
        ),
        prices=prices,
        inline_bytes=inline_bytes,
        reserved=tuple(spec.name for spec in loaded_tools if not spec.for_programs),
    )
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(
        CodeModeState, Context, input_schema=CodeModeInput, output_schema=CodeModeOutput
    )
    for function in (generate, check, execute, approve, inspect_output, repair):
        graph.add_node(function.__name__, Node(function, parts), trace_policy=trace_policy(function.__name__))
    graph.add_edge(START, "generate")
    graph.add_conditional_edges("generate", Route(after_writing), ["check", END])
    graph.add_conditional_edges("check", Route(after_check), ["execute", "repair", END])
    graph.add_conditional_edges("execute", Route(after_execution), ["approve", "inspect_output"])
    graph.add_edge("approve", "execute")
    graph.add_conditional_edges("inspect_output", Route(after_inspection), ["repair", END])
    graph.add_conditional_edges("repair", Route(after_writing), ["check", END])
    return graph


def sandbox_from(
    sandbox: Sandbox | str | None, *, auto: Sequence[str | Sandbox] | None, fallback: Sequence[str | Sandbox]
) -> Sandbox:
    """The sandbox that is meant, see `resolve_sandbox`; a contradiction is a `ConfigurationError`."""
    try:
        return resolve_sandbox(sandbox, auto=auto, fallback=fallback)
    except UnknownSandbox:
        raise
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


@cache
def _checker() -> MontySandbox:
    """The type checker of graphs whose programs run elsewhere: one for all, since it has processes."""
    return MontySandbox()


def after_writing(state: CodeModeState) -> Literal["check", "__end__"]:
    """A program is checked; without one, because the model failed, the run ends."""
    return "__end__" if state["verdict"] == "error" else "check"


def after_check(state: CodeModeState) -> Literal["execute", "repair", "__end__"]:
    """A program without findings runs."""
    if state["verdict"] is None:
        return "execute"
    return "repair" if state["verdict"] == "error" else "__end__"


def after_execution(state: CodeModeState) -> list[Send | Literal["approve", "inspect_output"]]:
    """A program that waits for people is taken to them: once for all calls that need approval, and for each tool that asks."""
    if not state["pending"]:
        return ["inspect_output"]
    asking = [Send("approve", {"pending": [call]}) for call in state["pending"] if call["reason"] == "tool"]
    return [*asking, "approve"] if len(asking) < len(state["pending"]) else [*asking]


def after_inspection(state: CodeModeState) -> Literal["repair", "__end__"]:
    """What can be repaired is repaired."""
    return "repair" if state["verdict"] in ("error", "empty") else "__end__"
