"""A node that runs in sync and async graphs alike, and what the nodes share about attempts."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config
from langgraph.runtime import get_runtime

from codemode_graph.errors import ConfigurationError
from codemode_graph.exact import decode_fields, encode_fields
from codemode_graph.settings import Context, Parts
from codemode_graph.state import Attempt, CodeModeState, Failure, ModelCall, Verdict
from codemode_graph.sync import wait_for
from codemode_graph.tools.cards import estimate_tokens
from codemode_graph.tools.return_type import ReturnType

Update = dict[str, Any]
"""The state's keys that a node writes."""

NodeFunction = Callable[[CodeModeState, Parts, RunnableConfig], Awaitable[Update]]


class Node(Runnable[CodeModeState, Update]):
    """Runs `function` with the graph's parts.

    The function sees the values of programs and tools as they are; the state has them in the exact form of
    `codemode_graph.exact`, as no checkpoint changes that.

    Args:
        function: What the node does.
        parts: What it works with.
    """

    def __init__(self, function: NodeFunction, parts: Parts) -> None:
        self.name = getattr(function, "__name__", None)
        self._function, self._parts = function, parts

    async def ainvoke(self, input: CodeModeState, config: RunnableConfig | None = None, **kwargs: Any) -> Update:
        """Run the node, and note the time where it gives a verdict."""
        state = cast("CodeModeState", decode_fields(input))
        update = encode_fields(await self._function(state, self._parts, ensure_config(config)))
        return {**update, "ended": time.time()} if update.get("verdict") is not None else update

    def invoke(self, input: CodeModeState, config: RunnableConfig | None = None, **kwargs: Any) -> Update:
        """Run the node and wait for it."""
        return wait_for(self.ainvoke(input, config))


class Route(Runnable[CodeModeState, Any]):
    """Tells where a graph goes on. It has no run of its own in traces, where it would only repeat the state.

    Args:
        function: Gives the names of the nodes.
    """

    def __init__(self, function: Callable[[CodeModeState], Any]) -> None:
        self.name = function.__name__
        self._function = function

    async def ainvoke(self, input: CodeModeState, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Tell it."""
        return self._function(input)

    def invoke(self, input: CodeModeState, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Tell it."""
        return self._function(input)


def knobs(parts: Parts) -> Context:
    """Return the knobs of the run that goes on; `Parts.context_of` says what it raises."""
    return parts.context_of(get_runtime().context)


def return_type(state: CodeModeState, parts: Parts) -> ReturnType | None:
    """Return the type that the run's answer must have; None where none is asked for.

    The state has its JSON Schema. Where the run's context, or the graph, has the Python type of the same schema, that
    validates too.
    """
    schema = state.get("answer_schema")
    if schema is None:
        return None
    declared: ReturnType | None = knobs(parts).returns
    return declared if declared is not None and declared.schema == schema else ReturnType(schema)


def add_attempt(attempts: list[Attempt], program: str, thoughts: str) -> list[Attempt]:
    """Return the attempts with a new one for `program`."""
    attempt = Attempt(
        number=len(attempts) + 1,
        thoughts=thoughts,
        written=program,
        program=program,
        fixes=[],
        findings=[],
        verdict=None,
        failure=None,
        output=None,
        stdout="",
        calls=[],
        sandbox=None,
        seconds=0.0,
    )
    return [*attempts, attempt]


def seconds_spent(state: CodeModeState) -> float:
    """Return the seconds that the run's models and programs have taken."""
    return _seconds(state["attempts"], state["usage"])


def request_seconds(parts: Parts, attempts: list[Attempt], usage: list[ModelCall]) -> float | None:
    """Return the seconds that the next request to the model may take: of its own, and of the run's; None for no limit."""
    most = knobs(parts).max_seconds
    rest = None if most is None else max(0.0, most - _seconds(attempts, usage))
    return min((limit for limit in (rest, parts.model_timeout) if limit is not None), default=None)


def _seconds(attempts: list[Attempt], usage: list[ModelCall]) -> float:
    return sum(call["seconds"] for call in usage) + sum(attempt["seconds"] for attempt in attempts)


def amend(state: CodeModeState, changes: dict[str, Any]) -> list[Attempt]:
    """Return the attempts with `changes` made to the newest."""
    *previous, newest = state["attempts"]
    return [*previous, {**newest, **changes}]  # type: ignore[typeddict-item]


def judge_failure(state: CodeModeState, parts: Parts, failure: Failure, *, verdict: Verdict) -> tuple[Verdict, Failure]:
    """Return what a failure leads to: `verdict` where another attempt may follow, else `exhausted`.

    Where a budget is the reason, the failure says which.
    """
    # A program of the caller is not repaired: nobody is there to write another.
    if parts.model is None:
        return "exhausted", failure
    limits = knobs(parts)
    crossed = crossed_budget(state, parts, limits)
    if crossed:
        return "exhausted", {**failure, "message": f"{failure['message']} (not repaired: {crossed})"}
    # A program that only searched tools is no attempt at the task.
    tried = sum(attempt["verdict"] != "looked" for attempt in state["attempts"])
    return ("exhausted" if tried >= limits.max_attempts else verdict), failure


def crossed_budget(state: CodeModeState, parts: Parts, limits: Context) -> str | None:
    """Return which budget the run has used up."""
    read, written = (sum(call[name] for call in state["usage"]) for name in ("input_tokens", "output_tokens"))
    # A model that reports nothing must not make a budget one without a bound.
    more_read, more_written = _unreported(state)
    read, written = read + more_read, written + more_written
    about = "about " if more_read or more_written else ""
    # Budgets are looked at between attempts: a request that is under way is paid for anyway.
    if limits.max_tokens is not None and read + written >= limits.max_tokens:
        return f"the run has used {about}{read + written} of its {limits.max_tokens} tokens"
    if limits.max_model_calls is not None and len(state["usage"]) >= limits.max_model_calls:
        return f"the run has made its {limits.max_model_calls} model calls"
    if limits.max_seconds is not None and seconds_spent(state) >= limits.max_seconds:
        return f"the run has used its {limits.max_seconds:g} seconds"
    if limits.max_cost is not None and parts.prices is not None:
        cost = parts.prices.cost(read, written)
        if cost >= limits.max_cost:
            return f"the run has cost {about}{cost:.4g} of its {limits.max_cost:g}"
    count = sum(call["status"] not in ("not_started", "denied") for call in state["tool_calls"])
    if limits.max_tool_calls is not None and count >= limits.max_tool_calls:
        return f"the run has made its {limits.max_tool_calls} tool calls"
    return None


def _unreported(state: CodeModeState) -> tuple[int, int]:
    """Estimate the tokens that the model has read and written in requests of which it reports none."""
    read, written, system = 0, 0, ""
    replies = {attempt["number"]: f"{attempt['thoughts']}{attempt['written']}" for attempt in state["attempts"]}
    for call, prompt in zip(state["usage"], state.get("prompts", ()), strict=False):
        system = prompt.get("system", system)
        if not call["total_tokens"]:
            read += estimate_tokens(f"{system}{prompt['request']}")
            written += estimate_tokens(replies.get(call["attempt"], ""))
    return read, written


def read_input(state: CodeModeState) -> tuple[str, str | None]:
    """Return the task and the program that a graph was given.

    Raises:
        ConfigurationError: There is neither, or one is no text.
    """
    task, code = state.get("task"), state.get("code")
    for name, value in (("task", task), ("code", code)):
        if value is not None and not isinstance(value, str):
            raise ConfigurationError(f"`{name}` of the input is a text, not {type(value).__name__}")
    if code is None and task is None:
        raise ConfigurationError("the input has nothing to do: give it a `task`, or a program as `code`")
    return (task or "").strip(), code
