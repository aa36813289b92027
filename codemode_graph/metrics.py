"""The metrics of a run, under the names of python-codemode."""

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from typing_extensions import TypedDict

from codemode_graph.state import CodeModeOutput, ModelCall

if TYPE_CHECKING:
    from rich.panel import Panel

__all__ = ["Metrics", "ToolMetrics", "metrics", "metrics_box"]


class ToolMetrics(TypedDict):
    """The calls of one tool. `total_time` is in seconds."""

    calls: int
    successes: int
    failures: int
    denied: int
    """Calls that a person refused, so that the tool was not asked."""
    open: int
    """Calls whose outcome is not known: they were cut off, wait for a person, or go on."""
    total_time: float


class Metrics(TypedDict):
    """The use of models, sandboxes and tools. Times are in seconds; calls that the journal answered do not count."""

    llm_calls: list[ModelCall]
    total_input_tokens: int
    total_output_tokens: int
    total_tokens: int
    total_llm_time: float
    total_executions: int
    successful_executions: int
    failed_executions: int
    open_executions: int
    """Those that wait for a person, or go on."""
    total_execution_time: float
    sandboxes: dict[str, int]
    """The executions in each sandbox, by its name."""
    retries: int
    total_tool_calls: int
    successful_tool_calls: int
    failed_tool_calls: int
    denied_tool_calls: int
    open_tool_calls: int
    total_tool_time: float
    tool_breakdown: dict[str, ToolMetrics]


_Outcome: TypeAlias = Literal["successes", "failures", "denied", "open"]
_OUTCOMES: dict[str, _Outcome] = {"done": "successes", "failed": "failures", "denied": "denied"}


def metrics(state: CodeModeOutput) -> Metrics:
    """Return the metrics of a run, from its state."""
    usage = state["usage"]
    # What was recorded before it was called, and then was not, is no call of a tool.
    calls = [call for call in state["tool_calls"] if call["status"] != "not_started"]
    # A program that the check refused had no sandbox, and is no execution.
    executed = [attempt for attempt in state["attempts"] if attempt["sandbox"] is not None]
    failed = sum(attempt["failure"] is not None for attempt in executed)
    open = sum(attempt["failure"] is None and attempt["verdict"] is None for attempt in executed)
    breakdown: dict[str, ToolMetrics] = {}
    for call in calls:
        new = ToolMetrics(calls=0, successes=0, failures=0, denied=0, open=0, total_time=0.0)
        entry = breakdown.setdefault(call["tool"], new)
        entry["calls"] += 1
        outcome: _Outcome = _OUTCOMES.get(call["status"], "open")
        entry[outcome] += 1
        entry["total_time"] += call["seconds"]
    return Metrics(
        llm_calls=usage,
        total_input_tokens=sum(call["input_tokens"] for call in usage),
        total_output_tokens=sum(call["output_tokens"] for call in usage),
        total_tokens=sum(call["total_tokens"] for call in usage),
        total_llm_time=sum(call["seconds"] for call in usage),
        total_executions=len(executed),
        successful_executions=len(executed) - failed - open,
        failed_executions=failed,
        open_executions=open,
        total_execution_time=sum(attempt["seconds"] for attempt in executed),
        sandboxes=dict(Counter(attempt["sandbox"] for attempt in executed if attempt["sandbox"] is not None)),
        retries=max(0, len(state["attempts"]) - 1),
        total_tool_calls=len(calls),
        successful_tool_calls=sum(entry["successes"] for entry in breakdown.values()),
        failed_tool_calls=sum(entry["failures"] for entry in breakdown.values()),
        denied_tool_calls=sum(entry["denied"] for entry in breakdown.values()),
        open_tool_calls=sum(entry["open"] for entry in breakdown.values()),
        total_tool_time=sum(call["seconds"] for call in calls),
        tool_breakdown=breakdown,
    )


def metrics_box(used: Metrics) -> "Panel":
    """Return the box that ends a verbose run, for a rich console."""
    from rich import box
    from rich.console import Group
    from rich.panel import Panel
    from rich.rule import Rule
    from rich.table import Column, Table

    model = Table.grid(padding=(0, 2))
    for call in used["llm_calls"]:
        tokens = f"in={call['input_tokens']} out={call['output_tokens']} total={call['total_tokens']}"
        model.add_row(f"Attempt {call['attempt']}", call["model"], tokens, f"{call['seconds']:.2f}s")
    tokens = f"in={used['total_input_tokens']} out={used['total_output_tokens']} total={used['total_tokens']}"
    model.add_row("Cumulative", "", tokens, f"{used['total_llm_time']:.2f}s")
    headings = {"Calls": "calls", "OK": "successes", "Fail": "failures"}
    headings |= {"Rejected": "denied"} if used["denied_tool_calls"] else {}
    headings |= {"Unknown": "open"} if used["open_tool_calls"] else {}
    numbers = (Column(heading, justify="right") for heading in (*headings, "Time"))
    tools = Table("Name", *numbers, box=box.SIMPLE_HEAD, pad_edge=False)
    for name, entry in used["tool_breakdown"].items():
        counts = [str(entry[key]) for key in headings.values()]  # type: ignore[literal-required]
        tools.add_row(name, *counts, f"{entry['total_time']:.3f}s")
    parts: list[Any] = [
        "[bold]LLM Calls",
        model,
        Rule(style="dim"),
        "[bold]Sandbox Executions",
        f"Total: {used['total_executions']} | OK: {used['successful_executions']} | Failed: {used['failed_executions']}"
        + _more("Not over", used["open_executions"])
        + f" | Retries: {used['retries']} | Time: {used['total_execution_time']:.3f}s",
        Rule(style="dim"),
        "[bold]Tool Calls",
        f"Total: {used['total_tool_calls']} | OK: {used['successful_tool_calls']} | Failed: {used['failed_tool_calls']}"
        + _more("Rejected", used["denied_tool_calls"])
        + _more("Outcome unknown", used["open_tool_calls"]),
    ]
    if used["tool_breakdown"]:
        parts.append(tools)
    return Panel(Group(*parts), title="CODEMODE METRICS", box=box.DOUBLE, expand=False)


def _more(word: str, count: int) -> str:
    return f" | {word}: {count}" if count else ""
