"""Events that a run sends on LangGraph's `custom` stream.

Every event is a dict of JSON values with a `type`. Tools may write to the stream, too, and a later version may add types:
`read_event` recognizes the events below.
"""

import logging
from functools import cache
from typing import Annotated, Any, Literal, NotRequired, TypeAlias, cast

from langgraph.config import get_stream_writer
from pydantic import Discriminator, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from codemode_graph.exact import encode_record
from codemode_graph.state import Failure, Finding, ModelCall, PendingCall, ToolCallStatus, ToolError, Verdict

__all__ = [
    "AttemptEvent",
    "CallAnsweredEvent",
    "CallFields",
    "CallFinishedEvent",
    "CallPendingEvent",
    "CallStartedEvent",
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
    """A request to the model for a program is about to start."""

    type: Literal["attempt"]
    number: int
    """Counted from 1."""


class ModelEvent(ModelCall):
    """The model has answered, or failed."""

    type: Literal["model"]
    thoughts: str
    """The model's words about the program, or an empty string."""
    error: str | None
    """Why there is no program."""


class CheckEvent(TypedDict):
    """The check of a program has ended."""

    type: Literal["check"]
    program: str
    """As it will run."""
    fixes: list[str]
    """Changes that the check made, one line each."""
    findings: list[Finding]
    """Reasons why it will not run; empty where it will."""


class PassedOverSandbox(TypedDict):
    """A sandbox that was not chosen."""

    name: str
    lacks: list[str]
    """Features that the program uses and it lacks; empty where it is not available at all."""
    reason: str
    """Why it is not available."""
    remedy: str
    """How to make it available."""


class SandboxEvent(TypedDict):
    """The choice of a sandbox among several."""

    type: Literal["sandbox"]
    name: str | None
    """The sandbox that runs the program; None where none offers what the program uses."""
    passed_over: list[PassedOverSandbox]
    """Sandboxes that come before it in order, and were not chosen."""
    warning: str | None
    """For people: it is a fallback."""


class CallFields(TypedDict):
    """The fields of every event of a call."""

    id: str
    """The call's id in the journal, such as `1.3`."""
    tool: str
    arguments: dict[str, Any]


class CallStartedEvent(CallFields):
    """A call of a tool has started."""

    type: Literal["call_started"]
    line: int | None
    """The line of the call in the program."""


class CallFinishedEvent(CallFields):
    """A call of a tool has ended, with a value or not."""

    type: Literal["call_finished"]
    status: ToolCallStatus
    seconds: float
    error: ToolError | None


class CallAnsweredEvent(TypedDict):
    """A call got its answer from the journal; its tool was not called again."""

    type: Literal["call_answered"]
    id: str
    """The id of the recorded call."""
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
    """The outcome of an attempt."""

    type: Literal["outcome"]
    verdict: Verdict
    error: Failure | None
    """Why there is no value."""
    warning: NotRequired[str | None]
    """What to know of a value: the calls that failed, and that the program went on without."""


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
    """Send an event on the stream `custom`, and to the logger `codemode` at debug level.

    The values in it are in the exact form of `codemode_graph.exact`: the stream may be sent on as JSON.
    """
    event = encode_record(event)
    logger.debug("%s", event)
    get_stream_writer()(event)


def read_event(item: object) -> Event | None:
    """Return an item of the `custom` stream as an event, or None where it is no event of this package."""
    try:
        _events().validate_python(item)
    except ValidationError:
        return None
    return cast("Event", item)


@cache
def _events() -> TypeAdapter[Event]:
    return TypeAdapter(Annotated[Event, Discriminator("type")])
