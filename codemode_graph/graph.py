"""The graph: wiring, nothing else."""

from collections.abc import Mapping
from typing import Any, Literal

from codemode_sandboxes import Limits, Sandbox, create_sandbox
from codemode_sandboxes.monty import MontySandbox
from langchain_core.language_models import BaseChatModel
from langgraph.graph import START, StateGraph

from codemode_graph.model import is_structured, load_model
from codemode_graph.nodes.approve import approve
from codemode_graph.nodes.check import check
from codemode_graph.nodes.execute import execute
from codemode_graph.nodes.generate import generate
from codemode_graph.nodes.inspect_output import inspect_output
from codemode_graph.nodes.node import Node
from codemode_graph.nodes.repair import repair
from codemode_graph.settings import Context, Parts
from codemode_graph.state import CodeModeInput, CodeModeOutput, CodeModeState
from codemode_graph.tools.load import Tools, load_tools
from codemode_graph.tools.spec import ToolPolicy
from codemode_graph.tools.stubs import render_stubs

__all__ = ["create_codemode"]


def create_codemode(
    *,
    model: str | BaseChatModel | None,
    tools: Tools,
    sandbox: Sandbox | str | None = None,
    policies: Mapping[str, ToolPolicy] | None = None,
    limits: Limits | None = None,
    timeout: float = 60.0,
    max_attempts: int = 3,
    max_tokens: int | None = None,
    max_seconds: float | None = None,
    structured: bool | None = None,
) -> StateGraph[CodeModeState, Context, CodeModeInput, CodeModeOutput]:
    """Make the graph that writes, checks, runs and repairs a program. It is not compiled, and has no checkpointer.

    Args:
        model: Writes the programs: a provider string that `init_chat_model` takes, or a chat model. None makes a graph
            that runs only programs it is given, as `code`.
        tools: What programs may call: functions, LangChain tools, `ToolSpec`s, in a list or by name in a dict.
        sandbox: Where programs run: a `Sandbox`, or a backend's name. The default is "monty".
        policies: What is allowed of which tool, by name or glob pattern.
        limits: Bounds on one program: computing time, memory, output, calls.
        timeout: Seconds that one program may take, the time in tools included.
        max_attempts: Programs that are tried, the first included.
        max_tokens: Tokens after which the model is not asked again.
        max_seconds: Seconds after which no further attempt is begun.
        structured: Ask for structured output, or for a fenced block. The default goes by the model's profile.

    Returns:
        The graph. Its input is `task`, and `code` where there is a program already; `Context` may override the knobs.

    Raises:
        ConfigurationError: The model cannot be used, or a policy names no tool.
        ToolLoadError: Something among the tools is not a tool.
        SandboxUnavailable: The sandbox cannot run on this machine.

    Example:
        ```python
        graph = create_codemode(model="openai:gpt-5.2", tools=[list_events, send_mail]).compile()
        state = await graph.ainvoke({"task": "Mail today's events to ann@example.com"})
        print(state["output"])
        ```
    """
    loaded = None if model is None else load_model(model)
    specs = load_tools(tools, policies=policies)
    runs_in = sandbox if isinstance(sandbox, Sandbox) else create_sandbox(sandbox or "monty")
    parts = Parts(
        model=loaded,
        tools=specs,
        stubs=render_stubs(specs),
        sandbox=runs_in,
        checker=runs_in if isinstance(runs_in, MontySandbox) else MontySandbox(),
        limits=limits or Limits(),
        timeout=timeout,
        structured=(loaded is not None and is_structured(loaded)) if structured is None else structured,
        context=Context(max_attempts=max_attempts, max_tokens=max_tokens, max_seconds=max_seconds),
    )
    graph: StateGraph[Any, Any, Any, Any] = StateGraph(
        CodeModeState, Context, input_schema=CodeModeInput, output_schema=CodeModeOutput
    )
    for function in (generate, check, execute, approve, inspect_output, repair):
        graph.add_node(function.__name__, Node(function, parts))
    graph.add_edge(START, "generate")
    graph.add_conditional_edges("generate", after_writing)
    graph.add_conditional_edges("check", after_check)
    graph.add_conditional_edges("execute", after_execution)
    graph.add_edge("approve", "execute")
    graph.add_conditional_edges("inspect_output", after_inspection)
    graph.add_conditional_edges("repair", after_writing)
    return graph


def after_writing(state: CodeModeState) -> Literal["check", "__end__"]:
    """A program is checked; without one, because the model failed, the run ends."""
    return "__end__" if state["verdict"] == "error" else "check"


def after_check(state: CodeModeState) -> Literal["execute", "repair", "__end__"]:
    """A program without findings runs."""
    if state["verdict"] is None:
        return "execute"
    return "repair" if state["verdict"] == "error" else "__end__"


def after_execution(state: CodeModeState) -> Literal["approve", "inspect_output"]:
    """A program that waits for people is taken to them."""
    return "approve" if state["pending"] else "inspect_output"


def after_inspection(state: CodeModeState) -> Literal["repair", "__end__"]:
    """What can be repaired is repaired."""
    return "repair" if state["verdict"] in ("error", "empty") else "__end__"
