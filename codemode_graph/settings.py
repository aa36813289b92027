"""The parts of a graph: live objects, which its nodes hold, and the knobs of a run, which may come by context."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from codemode_sandboxes import Capabilities, Limits, Sandbox, SandboxChoice, SandboxUnavailable
from codemode_sandboxes.source import to_script
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from codemode_graph.calls.journal import Journal, MemoryJournal
from codemode_graph.catalogue import Catalogue
from codemode_graph.check import TypeChecker
from codemode_graph.errors import ConfigurationError
from codemode_graph.tools.hints import complaint
from codemode_graph.tools.return_type import Returns
from codemode_graph.tools.signatures import Signatures

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["Context", "Parts", "Prices"]


class Context(BaseModel):
    """Knobs of one run, plain JSON. Pass it as `context=`; a knob that is left out keeps the graph's own value."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_attempts: Annotated[int, Field(ge=1, le=100, description="Programs that are tried, the first included.")] = 3
    max_tokens: Annotated[
        int | None, Field(ge=1, description="Tokens after which the model is not asked again; none for no limit.")
    ] = None
    max_model_calls: Annotated[
        int | None, Field(ge=1, description="Calls after which the model is not asked again; none for no limit.")
    ] = None
    max_seconds: Annotated[
        float | None,
        Field(
            gt=0,
            description="Seconds that models and programs may take in all, waits for people aside; none for no limit.",
        ),
    ] = None
    max_tool_calls: Annotated[
        int | None, Field(ge=1, description="Tool calls in the whole run; none for no limit.")
    ] = None
    max_cost: Annotated[
        float | None, Field(gt=0, description="Cost, at the graph's prices, after which the model is not asked again.")
    ] = None
    returns: Annotated[
        Returns,
        Field(description="JSON Schema of the program's value: a program whose value is another one is repaired."),
    ] = None
    anew: Annotated[
        bool,
        Field(description="Begin a new run even where the same input began one on this thread that has not ended."),
    ] = False

    @field_validator(
        "max_attempts", "max_tokens", "max_model_calls", "max_seconds", "max_tool_calls", "max_cost", mode="before"
    )
    @classmethod
    def _refuse_truth(cls, value: object) -> object:
        # pydantic takes true for 1, which bounds a run to one attempt, token or second.
        if isinstance(value, bool):
            raise ValueError("Input should be a number")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """The prices of a model: for a million tokens read and written, in any one currency."""

    input: float
    output: float

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """Return the cost of these tokens."""
        return (input_tokens * self.input + output_tokens * self.output) / 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a graph that its nodes share.

    Attributes:
        model: Writes the programs; None where callers bring them.
        reserved: Names of tools that only a model may call, by a tool call of its own.
        catalogue: The tools that programs may call, as prompts tell of them and as checks know them.
        sandbox: Where programs run; a `SandboxChoice` chooses for each.
        checker: Checks the types of programs; None leaves that out.
        limits: Bounds on a program.
        timeout: Seconds that one program may take, tools included.
        structured: Whether the model is asked for structured output.
        model_timeout: Seconds that one request to the model may take; None for no limit.
        context: The knobs, where a run brings none.
        prices: What the model costs, where `max_cost` is to be kept.
        inline_bytes: Larger values are kept outside the state, by reference.
        instructions: Added to the system prompt.
        journal: Where runs are recorded; None leaves that to the checkpointer's database, or the store.
        memory: Where they are recorded for want of anything else.
        approver: Answers for people; None interrupts the graph for them.
        offers: The sandbox's capabilities, once it was asked.
    """

    model: "BaseChatModel | None"
    catalogue: Catalogue
    sandbox: Sandbox
    checker: TypeChecker | None
    limits: Limits
    timeout: float
    structured: bool
    context: Context
    prices: Prices | None
    inline_bytes: int
    instructions: str = ""
    model_timeout: float | None = None
    reserved: tuple[str, ...] = ()
    journal: Journal | None = None
    memory: Journal = field(default_factory=MemoryJournal)
    approver: Callable[[Any], Any] | None = None
    offers: list[Capabilities] = field(default_factory=list)

    def context_of(self, context: object) -> Context:
        """Return the knobs of a run: those that its context sets, and the graph's own for the rest.

        Args:
            context: Of any type: a graph that has code mode as a node passes its own, with other fields beside.

        Raises:
            ConfigurationError: A knob is out of bounds, or a cost has no prices to go by.
        """
        knobs = _knobs_in(context)
        if not knobs:
            return self.context
        try:
            merged = Context.model_validate({**self.context.model_dump(), **knobs})
        except ValidationError as error:
            raise ConfigurationError(complaint(error, "context")) from None
        if merged.max_cost is not None and self.prices is None:
            raise ConfigurationError("context.max_cost needs a graph with prices=Prices(input=..., output=...)")
        return merged

    async def signatures(self) -> Signatures:
        """Return the signatures of all tools that programs may call. The first time they are read, off the event loop."""
        return await self.catalogue.read_signatures()

    async def capabilities(self) -> Capabilities:
        """Return what the sandbox offers. The first time may start it, so that it is asked in a thread, and once."""
        if isinstance(self.sandbox, SandboxChoice):
            return await self.sandbox.acapabilities()
        if not self.offers:
            self.offers.append(await asyncio.to_thread(lambda: self.sandbox.capabilities))
        return self.offers[0]

    async def capabilities_for(self, program: str) -> Capabilities:
        """Return what the sandboxes offer that it takes to run a program, the cheapest first."""
        if not isinstance(self.sandbox, SandboxChoice):
            return await self.capabilities()
        try:
            # In script form, since that is what runs: `asyncio.run` and its kin are gone by then.
            program = to_script(program).code
        except SyntaxError:
            return await self.capabilities()
        return await self.sandbox.acapabilities_for(program)

    def backend(self, name: str) -> Sandbox:
        """Return the sandbox in which a run began, by its name.

        Raises:
            SandboxUnavailable: This graph has another one, or it cannot run here.
        """
        if isinstance(self.sandbox, SandboxChoice):
            return self.sandbox.backend(name)
        if self.sandbox.name != name:
            reason = f"the graph that goes on with the run has the sandbox {self.sandbox.name!r}"
            raise SandboxUnavailable(name, reason, f"Make it with sandbox={name!r}")
        return self.sandbox


def _knobs_in(context: object) -> dict[str, Any]:
    if context is None:
        return {}
    if isinstance(context, Mapping):
        return {name: context[name] for name in Context.model_fields if name in context}
    # A field that still has its default is no choice of the caller, and would undo a limit that the graph has.
    chosen = getattr(context, "model_fields_set", ())
    ours = isinstance(context, Context)
    defaults = {name: field.default if ours else None for name, field in Context.model_fields.items()}
    values = {name: getattr(context, name, default) for name, default in defaults.items()}
    return {name: value for name, value in values.items() if value != defaults[name] or name in chosen}
