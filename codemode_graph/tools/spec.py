"""The tools that a program may call: one `ToolSpec` for each, and the policy of each."""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, TypeAlias

from codemode_sandboxes import Returned
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import InjectedToolArg
from pydantic import Field

from codemode_graph.tools.hints import check_fields

__all__ = [
    "AfterCalls",
    "Approval",
    "Callers",
    "CutOffCall",
    "DecisionType",
    "Effect",
    "IdempotencyKey",
    "InjectedIdempotencyKey",
    "Review",
    "ToolCaller",
    "ToolPolicy",
    "ToolSpec",
    "Undo",
    "Verify",
    "effect_from_hints",
    "idempotency_key",
]

Effect: TypeAlias = Literal["read", "idempotent", "write", "destructive"]
"""What a call does to the world: nothing, the same however often it is repeated, something, something that destroys."""

ToolCaller: TypeAlias = Callable[[dict[str, Any], RunnableConfig], Awaitable[Any]]
"""Calls the tool with keyword arguments, under a LangChain config (callbacks, tags), and returns the tool's value
unchanged. Raises whatever the tool raises."""


@dataclass(frozen=True, slots=True)
class AfterCalls:
    """A person is asked from the call after this many on, counted over the whole run."""

    calls: int

    def __post_init__(self) -> None:
        _check(self)


DecisionType: TypeAlias = Literal["approve", "edit", "reject", "respond"]
"""What a person may decide about a call: make it, make it with other arguments, refuse it, answer in the tool's place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A person has to approve a call, and is asked in a certain way.

    Attributes:
        when: Takes the arguments and returns whether to ask; None asks about every call.
        decisions: What may be decided.
        description: What the person reads, or a function that writes it from the arguments; None leaves it to the package.
    """

    when: Callable[[Mapping[str, Any]], bool] | None = None
    decisions: tuple[DecisionType, ...] = ("approve", "edit", "reject", "respond")
    description: str | Callable[[Mapping[str, Any]], str] | None = None

    def __post_init__(self) -> None:
        _check(self)


Approval: TypeAlias = bool | AfterCalls | Review | Callable[[Mapping[str, Any]], bool]
"""Whether a person has to approve a call: always, never, after a number of calls, or where the arguments say so."""

Callers: TypeAlias = Literal["program", "model", "both"]
"""Who may call a tool: programs alone, only a model by a tool call of its own, or both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOffCall:
    """A call whose outcome is unknown, as a policy's `verify` sees it.

    Attributes:
        id: The call's id in its run, such as `1.3`.
        started: When it was made, in seconds since the epoch.
        occurrence: Which of several equal calls of the program it is, from 1.
        idempotency_key: The key that its tool knows it by, where it takes one.
        equal_done: Equal calls of the run that have certainly taken effect: if the service knows one more, it is this one.
    """

    id: str
    started: float
    occurrence: int
    idempotency_key: str | None
    equal_done: int


Verify: TypeAlias = (
    Callable[[Mapping[str, Any], CutOffCall], Awaitable[Returned | None]]
    | Callable[[Mapping[str, Any]], Awaitable[Returned | None]]
)
"""Finds out what came of a call: it takes the arguments, and the call where it has a second parameter."""


@dataclass(frozen=True, slots=True)
class Undo:
    """That a tool undoes what another one did.

    Attributes:
        tool: The tool whose calls it undoes.
        match: How to find the call: for an argument of the undoing tool, the place in that call where its value is, such as
            `{"reservation_id": "value.id"}` or `{"seat": "arguments.seat"}`. Without it, arguments of the same name have
            to be equal.
    """

    tool: str
    match: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)

    def matches(self, arguments: Mapping[str, Any], call: Mapping[str, Any]) -> bool:
        """Tell whether a call of the undoing tool undoes another call.

        Args:
            arguments: Of the undoing call.
            call: The `arguments` and the `value` of the other.
        """
        if not self.match:
            return all(
                call["arguments"][name] == value for name, value in arguments.items() if name in call["arguments"]
            )
        return all(arguments.get(name) == _at(call, path) for name, path in self.match.items())


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return _NOTHING
    return value


def _check(settings: "AfterCalls | Review | Undo | ToolPolicy") -> None:
    """Hold the fields against their hints: a misspelled effect must not leave a tool without the policy for its effect.

    Raises:
        ConfigurationError: A field has another type.
    """
    for each in fields(settings):
        # Any collection but a text is as good as the one in the hint.
        value, plain = getattr(settings, each.name), {"redact": frozenset, "unknown_on": tuple, "decisions": tuple}
        if each.name in plain and isinstance(value, list | tuple | set):
            object.__setattr__(settings, each.name, plain[each.name](value))
    check_fields(settings)


# It equals no value, so a place that is missing never matches.
_NOTHING = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPolicy:
    """The policy for one tool: what is allowed of it.

    Attributes:
        effect: Overrides the effect that the tool itself declares.
        approval: Whether a person has to approve a call before it is made. None leaves it to a policy that matches more
            tools; where none says, nobody is asked.
        verify: Finds out whether a call whose outcome is unknown took effect: it takes the arguments, and as a second
            parameter the `CutOffCall`; it returns `Returned(value)` with the call's value where the call took effect, None
            where it did not, and raises where it cannot tell. Without it, and where it raises, a person is asked. A plain
            function that timed out is still at work in its thread: `verify` must not return None for it.
        timeout: Seconds that one call may take; None leaves it to the run's own limit.
        retries: How often a call that only reads is made again when it fails for a reason that may pass: any error but
            a wrong type or value, a missing item or a refusal. Calls with an effect are never retried.
        concurrency: Calls of the tool that run at one time; None leaves it to the run's own limit.
        max_calls: Calls of the tool in one run; a further one raises `RuntimeError` in the program.
        cache: Answer a repeated identical read from the first one's record, until a call with an effect is made.
        max_result_bytes: Largest result, as JSON; a larger one raises in the program. None takes the run's own limit.
        redact: Names of arguments and of keys in results that are masked in state, streams and prompts. The program
            itself gets what the tool returned.
        callers: Who may call it: "program", programs alone: an agent's model is not shown the tool; "model", an agent's
            model alone, by a tool call of its own: programs have no such tool, and one that names it is not run. None
            leaves it to a policy that matches more tools; where none says, "both".
        undoes: Which tool's calls it undoes, by name or as an `Undo`; what was undone is made again when it is called again.
        unknown_on: Exceptions of the tool after which its call may have taken effect all the same. Time-outs and lost
            connections of asyncio, httpx, requests, aiohttp, grpc and MCP are known without it.
        answer_reads_for: Seconds for which a read answers an equal one of a later program, where nothing has changed since.
    """

    effect: Effect | None = None
    approval: Approval | None = None
    verify: Verify | None = None
    timeout: Annotated[float, Field(gt=0)] | None = None
    retries: Annotated[int, Field(ge=0)] = 0
    concurrency: Annotated[int, Field(ge=1)] | None = None
    max_calls: Annotated[int, Field(ge=0)] | None = None
    cache: bool = False
    max_result_bytes: int | None = None
    redact: frozenset[str] = frozenset()
    callers: Callers | None = None
    undoes: str | Undo | None = None
    unknown_on: tuple[type[BaseException], ...] = ()
    answer_reads_for: float = 300.0

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """One tool.

    Attributes:
        name: As the tool's owner named it; any characters. Unique among the tools of a run.
        description: For the model.
        input_schema: JSON Schema of an object: one property an argument. Positional arguments are bound in the order
            of `tools.schema.Parameters`.
        output_schema: JSON Schema of the value, or None where it is not known.
        observed_schema: JSON Schema of what earlier calls returned, where it declares no result and some is known: a hint.
        effect: What a call does, as the tool declares it, or as it is taken where the tool does not say.
        declared: The tool says what a call does. One that does not is taken for a read where its name and its arguments can
            mean nothing else, else for a write.
        policy: What is allowed of it.
        call: Calls it.
        source: Where it comes from, for people: "function", "langchain", "mcp:files".
        program: Of a saved program, the function that takes the place of its calls; no host calls such a tool.
        own_name: The name that it had before it was renamed, by a dict or because another tool had the name; policies for
            this name cover it, too. Empty where `name` is its own.
        takes_key: It takes the call's `IdempotencyKey`, and does nothing twice under one key: a call whose outcome is
            unknown is made again under its key, and nobody is asked.
        undoes: The tool whose calls it undoes, as it declares it.
        validate: Returns the arguments as the tool itself sees them, with defaults and coerced, or raises `ValueError`.
    """

    name: str
    call: ToolCaller
    description: str = ""
    input_schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    output_schema: Mapping[str, Any] | None = None
    observed_schema: Mapping[str, Any] | None = None
    effect: Effect = "write"
    declared: bool = True
    policy: ToolPolicy = ToolPolicy()
    source: str = "function"
    program: str = ""
    own_name: str = ""
    takes_key: bool = False
    undoes: Undo | None = None
    validate: Callable[[Mapping[str, Any]], Any] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names under which policies cover it: its own, and the one that it has in the run."""
        return tuple(dict.fromkeys((self.own_name or self.name, self.name)))

    @property
    def undo(self) -> Undo | None:
        """The tool whose calls it undoes: what its policy says, else what it declares."""
        undoes = self.policy.undoes
        return Undo(undoes) if isinstance(undoes, str) else undoes or self.undoes

    @property
    def effect_in_force(self) -> Effect:
        """The effect in its policy, else the one that the tool itself declares."""
        return self.policy.effect or self.effect

    @property
    def undeclared(self) -> bool:
        """True where neither the tool nor its policy says what a call does."""
        return not self.declared and self.policy.effect is None

    @property
    def has_effect(self) -> bool:
        """True where a call may change something outside, so that it must not be repeated blindly."""
        return self.effect_in_force != "read"

    @property
    def for_programs(self) -> bool:
        """True where programs may call it."""
        return self.policy.callers != "model"

    @property
    def for_models(self) -> bool:
        """True where an agent's model may call it directly."""
        return self.policy.callers != "program"


def effect_from_hints(*, read_only: bool | None, destructive: bool | None, idempotent: bool | None) -> Effect | None:
    """Return the effect in MCP annotations; None where they say nothing. Only what they state counts, not MCP's defaults."""
    if read_only is None and destructive is None and idempotent is None:
        return None
    # MCP gives the other hints a meaning only for a tool that is not read-only.
    if read_only:
        return "read"
    if destructive:
        return "destructive"
    return "idempotent" if idempotent else "write"


class InjectedIdempotencyKey(InjectedToolArg):
    """Marks the argument of a tool that takes the call's idempotency key. No model and no program passes it."""


IdempotencyKey: TypeAlias = Annotated[str, InjectedIdempotencyKey()]
"""The hint of a tool's argument that takes the call's idempotency key, a UUID: `async def pay(to: str, key: IdempotencyKey)`.

It is equal for a call and for the same call made again: tried again after an error, by a repaired program, or after its
process died. Another call, identical or not, has another. A tool with such an argument promises that nothing happens twice
under one key: so a call whose outcome is unknown is made again, and nobody is asked."""


def idempotency_key(config: RunnableConfig) -> str:
    """Return the key of the call that runs under a config, or a new one where no program makes the call."""
    # A call that a model makes itself has no record from which a key could be derived.
    return str((config.get("metadata") or {}).get("codemode_idempotency_key") or uuid.uuid4())
