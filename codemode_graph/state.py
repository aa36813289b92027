"""The state of a run: the one place that names every field.

Everything in it is made of JSON values, so that any checkpointer can store it and Studio can show it.
"""

import operator
from typing import Annotated, Any, Literal, NotRequired, TypeAlias

from pydantic.json_schema import SkipJsonSchema
from typing_extensions import TypedDict

from codemode_graph.tools.spec import DecisionType, Effect

__all__ = [
    "Attempt",
    "CodeModeInput",
    "CodeModeOutput",
    "CodeModeState",
    "Decision",
    "Failure",
    "Finding",
    "ModelCall",
    "PendingCall",
    "Prompt",
    "Question",
    "StateUpdate",
    "ToolCall",
    "ToolCallStatus",
    "ToolError",
    "Verdict",
]

Verdict: TypeAlias = Literal["ok", "error", "empty", "exhausted", "looked"]
"""What came of an attempt: a value; a failure that may be repaired; nothing, though tools returned data; a failure with
no attempt, token or second left; a search of tools, after which the program for the task is written."""

ToolCallStatus: TypeAlias = Literal["not_started", "started", "interrupted", "done", "failed", "denied", "unknown"]
"""How far a call got. `interrupted`: the tool asked something, and is started again with the answer. `unknown`: it was
started, and whether it took effect cannot be told."""


class Finding(TypedDict):
    """Something that the check found in a program, before any of it ran."""

    rule: str
    """Stable name, such as `unknown-tool`, `missing-argument`, `wrong-key`, `unsupported-syntax`."""
    message: str
    """One line: what is wrong, and what to write instead."""
    line: int | None
    """The program's line, counted from 1."""
    excerpt: NotRequired[str]
    """Of a syntax error: the line, and below it carets under what the parser points to."""


class Failure(TypedDict):
    """The reason why an attempt has no value."""

    kind: str
    """`model`, `check`, `empty`, `returns` where the value is not of the type that is asked for, or the kind of a sandbox's
    `Failed` event (`program`, `timeout`, ...)."""
    type: str
    """Exception type, such as `KeyError`."""
    message: str
    line: int | None
    """The program's line, counted from 1."""
    traceback: str
    """The program's own frames."""


class ModelCall(TypedDict):
    """One call of the model and what it used."""

    attempt: int
    model: str
    input_tokens: int
    output_tokens: int
    total_tokens: int
    seconds: float


class Prompt(TypedDict):
    """The messages of one request to the model."""

    attempt: int
    system: NotRequired[str]
    """The system message and the tools; left out where they are those of the request before."""
    catalogue: NotRequired[str]
    """A digest of the tools as they declare themselves, beside `system`: a repair has the same cards while they are these."""
    request: str
    """The user message behind the tools: the task, or how the last program ended."""


class ToolError(TypedDict):
    """An exception of a tool, fit to be shown to a program and a model: no secrets."""

    type: str
    """A built-in exception's name."""
    message: str


class Question(TypedDict):
    """A question that a tool asks by LangGraph's `interrupt()`."""

    value: Any
    """What it was called with."""
    schema: dict[str, Any] | None
    """JSON Schema of the answer, where the tool gave a `response_schema`."""


class ToolCall(TypedDict):
    """One record of the journal: a call that a program made, and what became of it."""

    id: str
    """Unique within the run: attempt and number, such as `1.3`."""
    attempt: int
    """The attempt in which the tool really ran."""
    tool: str
    arguments: dict[str, Any]
    key: str
    """Tool, canonical arguments, without those that are the default, and occurrence: equal keys are the same call, made
    again."""
    effect: Effect
    status: ToolCallStatus
    value: Any
    """What the tool returned, where it is done."""
    error: ToolError | None
    """What it raised, where it failed or was denied."""
    line: int | None
    """The line of the program that made the call."""
    started: float
    """Seconds since the epoch."""
    seconds: float
    """How long it took."""
    answered: NotRequired[list[str]]
    """Ids of later calls that were answered from this record without touching the tool."""
    idempotency_key: NotRequired[str]
    """What the tool was given to know the call by, where it takes that."""
    decision: NotRequired[str]
    """The decision under which it was made, by its key."""
    edited: NotRequired[str]
    """The key that it has by the arguments that a person gave instead."""
    asks: NotRequired[Question]
    """What the tool asks, where it was interrupted."""
    answers: NotRequired[list[Any]]
    """What the tool has been answered, in order."""
    updates: NotRequired[list[dict[str, Any]]]
    """What it updates in the state of a graph, where it returned a `Command`."""
    undone: NotRequired[str]
    """The call that undid it."""
    mark: NotRequired[str]
    """Why a person should look at it: it was answered, or made, though other things had changed."""
    tries: NotRequired[list["ToolCall"]]
    """In the memory of an agent: how it failed before, in the same program."""


class PendingCall(TypedDict):
    """A call that waits for a person."""

    id: str
    """The call's id in the journal-to-be, such as `1.3`; the answer is tied to it."""
    key: str
    """What the decision is kept under: the call's key, and of a call that was begun before, the time of that too."""
    tool: str
    arguments: dict[str, Any]
    line: int | None
    reason: Literal["approval", "unknown", "tool"]
    """It needs approval, it was cut off and may have taken effect, or the tool itself asks."""
    question: NotRequired[Question]
    """What the tool asks."""
    allowed: NotRequired[list[DecisionType]]
    """What may be decided, where that is not everything."""
    description: NotRequired[str]
    """What the person reads, where the tool's policy says it."""
    cause: NotRequired[str]
    """Why the call's outcome is unknown, in its tool's own words; or that an equal call was made before."""
    destroys: NotRequired[bool]
    """Its tool is destructive."""


class Decision(TypedDict):
    """A person's decision about a call, in the terms of LangChain's human-in-the-loop."""

    type: Literal["approve", "edit", "reject", "respond", "answer"]
    """Make the call; make it with other arguments; refuse it; take `message` for its value without making it; tell the
    tool `message`, which it asked for."""
    arguments: NotRequired[dict[str, Any]]
    """For `edit`: what to call with instead."""
    message: NotRequired[Any]
    """For `reject`: the reason that the program sees. For `respond`: the value. For `answer`: what the tool is told."""


class StateUpdate(TypedDict):
    """An update of a graph's state by a tool that returned a `Command`."""

    call: str
    """Id of the call."""
    tool: str
    update: dict[str, Any]
    """JSON values by the keys of that graph's state; `codemode_graph.updates` gives messages back as they were."""


class Refusals(TypedDict):
    """Calls that were an error before any tool was asked: of wrong arguments, or beyond a budget."""

    number: int
    error: ToolError
    """The error that the program got for the last one."""


class Attempt(TypedDict):
    """One program and what came of it."""

    number: int
    """Counted from 1."""
    thoughts: str
    """What the model said it would do, where it said so."""
    written: str
    """The program as the model or the caller wrote it."""
    program: str
    """As it ran: after `check` normalised and fixed it."""
    fixes: list[str]
    """What `check` changed, one line each."""
    findings: list[Finding]
    """Why it was not run; empty where it ran."""
    verdict: Verdict | None
    failure: Failure | None
    output: Any
    stdout: str
    calls: list[str]
    """Ids of the tool calls it made, in order, those answered from the journal included."""
    refused: NotRequired[Refusals]
    """Of the calls that no tool was asked for; left out where there are none."""
    sandbox: str | None
    """What ran it; None where it was not run."""
    seconds: float
    """Time in the sandbox and its tools."""


class CodeModeInput(TypedDict):
    """The input of a run."""

    task: NotRequired[str]
    """What is to be done, in plain language. A program that is given needs none; on a thread that has had a task, that one
    stands."""
    code: NotRequired[str | None]
    """A program to run as it is. The model is asked only to repair it, and not at all where there is none."""
    returns: NotRequired[dict[str, Any] | None]
    """JSON Schema of the answer: a program whose value is another one is repaired."""
    earlier: NotRequired[Annotated[list[ToolCall], SkipJsonSchema()]]
    """Calls of earlier runs that failed, of which this one is the repair: what they did is not done again. For middleware:
    it is in no schema that is shown."""
    held: NotRequired[Annotated[list[ToolCall], SkipJsonSchema()]]
    """Calls of runs that failed long before: an equal call of a tool that writes is not made unless it is meant anew."""


class CodeModeOutput(TypedDict):
    """The output of a run."""

    verdict: Verdict | None
    """None while an attempt is being made."""
    output: Any
    """The program's value: JSON values only, in the exact form of `codemode_graph.exact`."""
    content: NotRequired[list[dict[str, Any]]]
    """The images, sounds and files whose handles the value holds, as content blocks of LangChain's messages, with the handle's
    name as `id`."""
    error: Failure | None
    """Why there is no value."""
    warning: NotRequired[str | None]
    """What to know of a value: the calls that failed, and that the program went on without."""
    stdout: str
    """What the last program printed."""
    program: str
    """The last program, as it ran."""
    attempts: list[Attempt]
    tool_calls: list[ToolCall]
    """The journal of the run: every call, across all attempts."""
    updates: list[StateUpdate]
    """What tools updated by `Command`s, each once, in the order of their calls; `codemode_graph.updates` applies it."""
    usage: list[ModelCall]
    left_over: list[str]
    """Ids of calls of earlier attempts whose effects stand, and which the last program neither made nor undid."""


class CodeModeState(CodeModeOutput):
    """All that the nodes share: input, output, and what is theirs alone."""

    task: str
    code: str | None
    returns: NotRequired[dict[str, Any] | None]
    answer_schema: NotRequired[dict[str, Any] | None]
    """JSON Schema of this run's answer: of the input, else of the context, else of the graph."""
    earlier: list[ToolCall]
    held: NotRequired[list[ToolCall]]
    superseded: NotRequired[str]
    run_id: str
    """Names this run in its journal."""
    input_digest: str
    """What equal inputs of the graph have in common."""
    found: list[str]
    """Names of tools that searches of the run have found, the newest first."""
    sequence: int
    """The number of the journal's events that `tool_calls` shows."""
    pending: list[PendingCall]
    """Calls that wait for a person; the program has been stopped and starts again once they are answered."""
    decisions: Annotated[dict[str, Decision], operator.or_]
    """What was decided, by `PendingCall.key`."""
    problem: str | None
    """Why the last answer of a person could not be taken."""
    sandbox: str
    """Where the newest program runs: chosen by `check`, and kept to."""
    seed: int
    """Fixed for the run, so that a program that is started again sees the same random numbers."""
    started: float
    """When the run began, in seconds since the epoch; also what the program's clock says."""
    ended: NotRequired[float | None]
    """When its newest verdict was given, in seconds since the epoch; None before the first."""
    prompts: NotRequired[list[Prompt]]
    """What the model was asked, request by request."""
