"""The `interrupt_on` of LangChain's human-in-the-loop, for the calls that programs make."""

from collections.abc import Mapping
from typing import Any

from langchain.agents.middleware import HumanInTheLoopMiddleware, InterruptOnConfig
from langchain.agents.middleware.types import ToolCallRequest
from langchain_core.messages import ToolCall
from langgraph.runtime import get_runtime

from codemode_graph.errors import ConfigurationError
from codemode_graph.integrations.nested import current
from codemode_graph.tools.spec import Review

__all__ = ["InterruptOn", "asks_per_call", "reviews"]

InterruptOn = Mapping[str, bool | InterruptOnConfig]


def reviews(interrupt_on: InterruptOn | HumanInTheLoopMiddleware[Any, Any, Any]) -> dict[str, Review]:
    """Give, by tool, how a person is asked about the calls of programs.

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
    """Whether it asks about each call on the way to the tool, as LangChain can from 1.4.7 on."""
    return getattr(human, "interrupt_mode", "batched") == "per_call"


def _review(name: str, config: Any) -> Review:
    when, text = config.get("when"), config.get("description")

    def asked(arguments: Mapping[str, Any]) -> bool:
        request = current().request
        return bool(when(ToolCallRequest(_call(name, arguments), None, request.state, request.runtime)))

    def written(arguments: Mapping[str, Any]) -> str:
        request = current().request
        return str(text(_call(name, arguments), request.state, get_runtime()))

    return Review(
        when=None if when is None else asked,
        decisions=tuple(config.get("allowed_decisions", Review().decisions)),
        description=written if callable(text) else text,
    )


def _call(name: str, arguments: Mapping[str, Any]) -> ToolCall:
    return ToolCall(name=name, args=dict(arguments), id=current().request.tool_call["id"], type="tool_call")
