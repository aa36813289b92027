"""What a run tells while it works: events on LangGraph's `custom` stream.

Every event is a dict with `type`, made of JSON values. Tools may write to the stream, too, and there may come to be
further types: `read_event` tells what is one of these.
"""

import logging
from functools import cache
from typing import Annotated, Any, Literal, TypeAlias, cast

from langgraph.config import get_stream_writer
from pydantic import Discriminator, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from codemode_graph.state import Failure, Finding, ModelCall, PendingCall, ToolCallStatus, ToolError, Verdict

__all__ = [
    "AttemptEvent",
    "CallAnsweredEvent",
    "CallFinishedEvent",
    "CallPendingEvent",
    "CallStartedEvent",
    "CallTold",
    "CheckEvent",
    "Event",
    "ModelEvent",
    "OutcomeEvent",
    "PassedOverSandbox",
    "SandboxEvent",
    "StdoutEvent",
    "emit",
    "logger",
    "read_event",
]

logger = logging.getLogger("codemode")


class AttemptEvent(TypedDict):
    """The model is about to be asked for a program."""

    type: Literal["attempt"]
    number: int
    """Counted from 1."""


class ModelEvent(ModelCall):
    """The model has answered, or failed."""

    type: Literal["model"]
    thoughts: str
    """What it said it would do, where it said so."""
    error: str | None
    """Why there is no program."""


class CheckEvent(TypedDict):
    """A program has been checked."""

    type: Literal["check"]
    program: str
    """As it will run."""
    fixes: list[str]
    """What was changed, one line each."""
    findings: list[Finding]
    """Why it will not run; empty where it will."""


class PassedOverSandbox(TypedDict):
    """A sandbox that was not chosen."""

    name: str
    lacks: list[str]
    """What the program uses and it does not offer; empty where it is not available at all."""
    reason: str
    """Why it is not available."""
    remedy: str
    """What makes it available."""


class SandboxEvent(TypedDict):
    """There was a choice of sandboxes, and one was chosen."""

    type: Literal["sandbox"]
    name: str | None
    """The one that runs the program; None where none offers what the program uses."""
    passed_over: list[PassedOverSandbox]
    """Those that came before it."""
    warning: str | None
    """For people to read: it is a fallback."""


class CallTold(TypedDict):
    """What every event of a call that is made says of it."""

    id: str
    """The call's id in the journal, such as `1.3`."""
    tool: str
    arguments: dict[str, Any]


class CallStartedEvent(CallTold):
    """A tool is called."""

    type: Literal["call_started"]
    line: int | None
    """The line of the program that made the call."""


class CallFinishedEvent(CallTold):
    """A call has ended, however it did."""

    type: Literal["call_finished"]
    status: ToolCallStatus
    seconds: float
    error: ToolError | None


class CallAnsweredEvent(TypedDict):
    """A call was answered from the journal; its tool was not called again."""

    type: Literal["call_answered"]
    id: str
    """The call that the answer is from."""
    tool: str
    line: int | None


class CallPendingEvent(PendingCall):
    """A call waits for a person."""

    type: Literal["call_pending"]


class StdoutEvent(TypedDict):
    """The program has printed something."""

    type: Literal["stdout"]
    text: str


class OutcomeEvent(TypedDict):
    """What came of an attempt."""

    type: Literal["outcome"]
    verdict: Verdict
    error: Failure | None
    """Why there is no value."""


Event: TypeAlias = (
    AttemptEvent
    | ModelEvent
    | CheckEvent
    | SandboxEvent
    | CallStartedEvent
    | CallFinishedEvent
    | CallAnsweredEvent
    | CallPendingEvent
    | StdoutEvent
    | OutcomeEvent
)


def emit(event: Event) -> None:
    """Send an event to whoever streams `custom`, and to the logger `codemode` at debug level."""
    logger.debug("%s", event)
    get_stream_writer()(event)


def read_event(item: object) -> Event | None:
    """Give what came on the `custom` stream back as an event; None where it is none of these."""
    try:
        _events().validate_python(item)
    except ValidationError:
        return None
    return cast("Event", item)


@cache
def _events() -> TypeAdapter[Event]:
    return TypeAdapter(Annotated[Event, Discriminator("type")])
