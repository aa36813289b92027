"""The graphs that a scene runs on: code mode alone, as a part of a larger graph, and as an agent's tool."""

from collections.abc import Mapping
from typing import Any

from codemode_sandboxes import Sandbox
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import StructuredTool
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from benchmarks.chaos.cases import Scene
from benchmarks.chaos.mortal import AgentAuthor, Author
from benchmarks.chaos.tools import Life, Tools
from codemode_graph import CodeModeMiddleware, create_codemode
from codemode_graph.calls.journal import Journal

__all__ = ["compiled", "input_of", "is_in_turn", "result_of"]

_RESULT = ("verdict", "error", "left_over", "tool_calls")


class _Shared(TypedDict, total=False):
    """A larger graph that has keys of the same names."""

    turn: int
    task: str
    verdict: Any
    error: Any
    left_over: list[str]
    tool_calls: list[Any]


class _Unshared(TypedDict, total=False):
    """A larger graph that has no key of the same name."""

    turn: int
    question: str
    result: dict[str, Any]


def compiled(scene: Scene, tools: Tools, life: Life, *, journal: Journal, saver: Any, sandbox: Sandbox) -> Any:
    """Return the graph of a scene."""
    case = scene.threads[0][0]
    programs = {
        scene.task(thread, turn): case.programs()
        for thread, turns in enumerate(scene.threads)
        for turn, case in enumerate(turns)
    }
    parts: dict[str, Any] = {
        "policies": tools.policies(reads_for=case.reads_for),
        "sandbox": sandbox,
        "journal": journal,
    }
    if scene.shape == "agent":
        functions = [each for each in tools.functions() if each.__name__ not in ("addk", "setk")]
        agent_tools = [
            StructuredTool.from_function(coroutine=each, name=each.__name__, description=each.__doc__)
            for each in functions
        ]
        parts["policies"] = {tool.name: parts["policies"][tool.name] for tool in agent_tools}
        model = AgentAuthor(programs=programs, life=life)
        return create_agent(model, tools=agent_tools, middleware=[CodeModeMiddleware(**parts)], checkpointer=saver)
    most = max(case.attempts for case in scene.cases)
    graph = create_codemode(
        model=Author(programs=programs, life=life), tools=tools.functions(), max_attempts=most, **parts
    )
    if scene.shape == "graph":
        return graph.compile(checkpointer=saver)
    inner = graph.compile()

    async def around(state: Any) -> dict[str, Any]:
        life.tick()
        return {}

    if scene.shape == "shared":
        shared: StateGraph[Any, Any, Any, Any] = StateGraph(_Shared)
        shared.add_node("prepare", around).add_node("codemode", inner).add_node("report", around)
        shared.add_edge(START, "prepare").add_edge("prepare", "codemode").add_edge("codemode", "report")
        return shared.compile(checkpointer=saver)

    async def work(state: _Unshared) -> _Unshared:
        result = await inner.ainvoke({"task": state["question"]})
        return {"result": {key: result[key] for key in _RESULT}}

    unshared: StateGraph[Any, Any, Any, Any] = StateGraph(_Unshared)
    unshared.add_node("work", work).add_node("report", around)
    return unshared.add_edge(START, "work").add_edge("work", "report").compile(checkpointer=saver)


def input_of(scene: Scene, thread: int, turn: int) -> dict[str, Any]:
    """Return what a turn of a thread begins with."""
    task = scene.task(thread, turn)
    match scene.shape:
        case "graph":
            return {"task": task}
        case "shared":
            return {"task": task, "turn": turn}
        case "unshared":
            return {"question": task, "turn": turn}
        case "agent":
            # Its id is the caller's, so that a message that is sent again is not another one.
            return {"messages": [HumanMessage(task, id=f"person {turn}")]}


def is_in_turn(scene: Scene, values: Mapping[str, Any], turn: int, ended: list[str]) -> bool:
    """Tell whether the state of a thread is of this turn, or still of one before, whose runs have `ended`."""
    if scene.shape == "graph":
        return bool(values.get("run_id")) and values["run_id"] not in ended
    if scene.shape == "agent":
        return any(message.id == f"person {turn}" for message in values.get("messages", ()))
    return bool(values.get("turn") == turn)


def result_of(scene: Scene, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a turn has ended: its verdict, and whether anything in it says that the world may differ."""
    result: Mapping[str, Any] = values
    if scene.shape == "unshared":
        result = values["result"]
    elif scene.shape == "agent":
        answers = [each.artifact for each in values["messages"] if isinstance(each, ToolMessage) and each.artifact]
        result = (
            answers[-1] if answers else {"tool_calls": [], "left_over": [], "error": "no program", "success": False}
        )
        result = {**result, "verdict": "ok" if result["success"] else "error"}
    marked = bool(result["left_over"]) or any("mark" in call for call in result["tool_calls"])
    error = result["error"]
    text = str(error["message"] if isinstance(error, dict) else error or "")
    return {
        # The check knows what a sandbox lacks, and has none of such a program run.
        "refused": "not available here" in text,
        "verdict": result["verdict"],
        "error": text or None,
        "left_over": list(result["left_over"]),
        "marked": marked,
    }
