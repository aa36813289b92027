"""The options of a run: one type for every function and class that runs programs, and one place that reads them."""

import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, cast, get_type_hints

from codemode_sandboxes import Limits, Sandbox, UnknownSandbox, resolve_sandbox
from langchain_core.embeddings import Embeddings
from pydantic import Field, InstanceOf, ValidationError
from typing_extensions import TypedDict

from codemode_graph.calls.journal import Journal
from codemode_graph.calls.values import LOAD_VALUE
from codemode_graph.catalogue import CARD_TOKENS, Catalogue
from codemode_graph.errors import ConfigurationError
from codemode_graph.settings import Context, Prices
from codemode_graph.tools.hints import check_fields, check_types, complaint
from codemode_graph.tools.spec import ToolPolicy, ToolSpec
from codemode_graph.tools.text import suggest

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["Approve", "CodeModeOptions", "RunOptions", "read_catalogue", "read_context", "read_options", "read_sandbox"]

Approve: TypeAlias = Callable[[dict[str, Any]], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]
"""Answers a request for approval."""


class RunOptions(TypedDict, total=False):
    """The options of everything that runs programs, as keyword arguments: how they run, and what a run may use.

    Raises:
        TypeError: An option has no such name.
        ConfigurationError: A value is out of bounds, a policy names no tool, or options contradict one another.
        SandboxUnavailable: The sandbox cannot run on this machine.
        UnknownSandbox: No sandbox has that name.
    """

    sandbox: Sandbox | str | None
    """Where programs run: a `Sandbox`, a backend's name, or "auto", which takes for each program the cheapest backend
    that offers what the program uses: "monty" where it will do. The default is "auto", and "monty" beside `fallback`."""
    backend: Sandbox | str | None
    """Another name of `sandbox`."""
    auto: Sequence[str | Sandbox] | None
    """The backends among which "auto" may choose; by default all. Giving it means "auto"."""
    fallback: Sequence[str | Sandbox]
    """Backends that are used, in order, where `sandbox` is not available, and only there."""
    policies: Mapping[str, ToolPolicy] | None
    """What is allowed of which tool, by name, glob pattern or effect (`effect:destructive`)."""
    limits: Limits | None
    """Bounds on one program: computing time, memory, output, calls."""
    returns: Any
    """The type of the answer: any that pydantic's `TypeAdapter` takes, or a JSON Schema. The model is shown it, a program is
    held against it before anything runs, and a value of another type is repaired as an error is."""
    timeout: Annotated[float, Field(gt=0)]
    """Seconds that one program may take, the time in tools included. The default is 60."""
    model_timeout: Annotated[float, Field(gt=0)] | None
    """Seconds that one request to the model may take, after which the run ends with an error; None, the default, leaves it
    to the model's own client. `max_seconds` bounds a request, too."""
    max_attempts: int
    """Programs that are tried for a task, the first included. The default is 3."""
    max_retries: int
    """Another name of `max_attempts`."""
    max_tokens: int | None
    """Tokens after which the model is not asked again."""
    max_model_calls: int | None
    """Calls after which the model is not asked again."""
    max_seconds: float | None
    """Seconds that models and programs may take in all; the time a run waits for people does not count."""
    max_tool_calls: int | None
    """Tool calls in the whole run; a further one raises in the program."""
    max_cost: float | None
    """Cost after which the model is not asked again; needs `prices`."""
    budget: Context | None
    """Several of the options `max_...` in one: `Context(max_tokens=..., max_cost=...)`. What it sets comes first."""
    prices: Prices | None
    """What the model costs, for `max_cost` and for the result's `trace`."""
    inline_bytes: int
    """Larger values are kept outside the state, in the journal of the run. The default is 32 KiB for graphs and agents;
    `codemode` keeps every value in its result."""
    journal: Journal | None
    """Where runs are recorded, so that no effect happens twice. The default is the database of the graph's checkpointer
    where that is SQLite or PostgreSQL, else LangGraph's store, else this process's memory."""
    instructions: str
    """Added to the system prompt of the model that writes programs."""
    card_tokens: int | None
    """Estimated tokens of the tools' cards in a prompt, 8,000 by default. Where all cards are more, the prompt shows those that
    fit the task best, and programs find the others with `search_tools` and `describe_tool`. None always shows all."""
    embeddings: Embeddings | None
    """Lets searches of tools go by meaning as well as by words."""
    programs: str | os.PathLike[str] | None
    """A folder of saved programs, which are tools for programs. `codemode` takes one beside its file of runs, unless this
    names another."""
    structured: bool | None
    """Whether the model is asked for structured output, or for a fenced block. The default goes by its profile."""


class CodeModeOptions(RunOptions, total=False):
    """The options of `codemode` beside the tools: the run options, the model, the person, and the file of its runs."""

    model: "str | BaseChatModel | None"
    """Writes the programs where there is no `code_model`."""
    code_model: "str | BaseChatModel | None"
    """Writes the programs: a provider string such as "openai:gpt-5.2", or a chat model. It is first used by `run`, so
    programs of one's own need neither model nor key."""
    api_key: str | None
    """For a model named by a string; otherwise the provider's environment variable is used."""
    approve: Approve | None
    """Answers for a person where calls wait: it takes the request, with its `action_requests`, and returns
    `{"decisions": [...]}`. Without it, and where it raises `Undecided`, a run that waits stops there, and says so;
    `CodeMode.resume` goes on with it."""
    durable: str | os.PathLike[str] | Journal | None
    """A file, or a `SQLiteJournal`, that keeps all runs: another process goes on with one by its id, after a kill or for an
    approval, and nothing is done twice. It takes the place of `journal`. Without it runs are in this process's memory."""


_ELSEWHERE = {
    "approve": "codemode(...) takes it; a graph interrupts, and is resumed with the decisions",
    "durable": "codemode(...) takes it; a graph has the checkpointer of its .compile(checkpointer=...)",
    **dict.fromkeys(("checkpointer", "store", "cache"), "the .compile(...) of create_codemode's graph takes it"),
}
_ALIASES = {"backend": "sandbox", "max_retries": "max_attempts"}


def read_options(options: Mapping[str, Any], *, known: Collection[str] = RunOptions.__annotations__) -> RunOptions:
    """Return a copy of the options without aliases and `budget`.

    Args:
        options: The keyword arguments of a caller.
        known: The names that are allowed.

    Raises:
        TypeError: There is no option of a name.
        ConfigurationError: An option is there under two names, or its value has another type.
    """
    for name in options:
        if name not in known:
            hint = _ELSEWHERE.get(name) or suggest(name, known) or f"there are {', '.join(sorted(known))}"
            raise TypeError(f"unexpected keyword argument {name!r}; {hint}")
    read = dict(options)
    for alias, name in _ALIASES.items():
        if alias in read:
            if name in read:
                raise ConfigurationError(f"{alias} is another name of {name}: give one of them")
            read[name] = read.pop(alias)
    check_types(read, _option_types())
    for bounds in (read.get("limits"), read.get("prices")):
        if bounds is not None:
            check_fields(bounds)
    budget: Context | None = read.pop("budget", None)
    return cast("RunOptions", read | (budget.model_dump(exclude_unset=True) if budget else {}))


@cache
def _option_types() -> dict[str, Any]:
    # What reads the others says more of what may stand there.
    others = ("model", "code_model", "durable", "returns", "sandbox", "auto", "fallback", *Context.model_fields)
    hints = get_type_hints(CodeModeOptions, localns={"BaseChatModel": Any}, include_extras=True)
    hints["budget"] = InstanceOf[Context]
    return {name: hint for name, hint in hints.items() if name not in others}


def read_context(options: RunOptions) -> Context:
    """Return the knobs of a run that options set.

    Raises:
        ConfigurationError: One is out of bounds, or a cost has no prices to go by.
    """
    if options.get("max_cost") is not None and options.get("prices") is None:
        raise ConfigurationError("max_cost needs prices=Prices(input=..., output=...), for a million tokens each")
    try:
        return Context.model_validate({name: value for name, value in options.items() if name in Context.model_fields})
    except ValidationError as error:
        raise ConfigurationError(complaint(error)) from None


def read_catalogue(specs: Sequence[ToolSpec], options: Mapping[str, Any]) -> Catalogue:
    """Return the catalogue of those of the tools that programs may call.

    Args:
        specs: All tools.
        options: Run options, of which `card_tokens` and `embeddings` are looked at.

    Raises:
        ToolLoadError: Programs are to search, and a tool has the name of a search.
    """
    return Catalogue(
        [spec for spec in specs if spec.for_programs],
        others=(LOAD_VALUE,),
        tokens=options.get("card_tokens", CARD_TOKENS),
        embeddings=options.get("embeddings"),
    )


def read_sandbox(options: RunOptions) -> Sandbox:
    """Return the sandbox that options name, and put it in the place of their `sandbox`, `auto` and `fallback`.

    Raises:
        ConfigurationError: The options contradict one another.
        SandboxUnavailable: The sandbox cannot run here.
        UnknownSandbox: No sandbox has that name.
    """
    # They are taken out: a graph that is built from these options again must not resolve them a second time.
    auto, fallback = options.pop("auto", None), options.pop("fallback", ())
    try:
        sandbox = options["sandbox"] = resolve_sandbox(options.get("sandbox"), auto=auto, fallback=fallback)
    except UnknownSandbox:
        raise
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    return sandbox
