"""The configuration of an assistant: what LangGraph Server keeps as its context, and Studio edits.

Whoever may make assistants or start runs sets it, so it has two parts. Most of it chooses among what the server has, or makes
less of it. The rest brings code to the server, and is refused unless CODEMODE_ASSISTANTS_MAY names it.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from codemode_graph.errors import ConfigurationError
from codemode_graph.settings import Context, Prices
from codemode_graph.tools.hints import complaint
from codemode_graph.tools.spec import Callers, ToolPolicy

PRIVILEGED = ("tools_module", "own_mcp_servers")
"""What runs code of the author's on the server's machine."""

# LangGraph Server lets clients send these in `configurable`, and takes them for context where a run brings none.
_OF_LANGGRAPH = (
    *("__*", "langgraph_*", "checkpoint", "checkpoint_*", "x-*"),
    *("thread_id", "run_id", "assistant_id", "graph_id", "user_id", "cron_id"),
)


class AssistantPolicy(BaseModel):
    """The policy of an assistant for a tool: it allows never more than the server does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    approval: Annotated[Literal[True] | None, Field(description="A person has to approve each call.")] = None
    callers: Annotated[
        Callers | None, Field(description="Who may call it: programs alone, the agent's model alone, or both.")
    ] = None
    max_calls: Annotated[int | None, Field(ge=1, description="Calls in one run.")] = None
    timeout: Annotated[float | None, Field(gt=0, description="Seconds that one call may take.")] = None
    redact: list[str] = Field(
        default_factory=list, description="Arguments and keys of results that are masked in states and traces."
    )

    @property
    def policy(self) -> ToolPolicy:
        """The same as a policy of `create_codemode`."""
        return ToolPolicy(**{**dict(self), "redact": frozenset(self.redact)})


class AssistantPrices(BaseModel):
    """The prices of the model, in any one currency."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: Annotated[float, Field(ge=0, description="For a million tokens read.")]
    output: Annotated[float, Field(ge=0, description="For a million tokens written.")]


class Assistant(Context):
    """The configuration of an assistant: a part that is left out is the server's own."""

    # Texts and lists are empty by default, and not null: Studio has fields for those.
    model: Annotated[str, Field(title="Model", description="Writes programs and answers, such as openai:gpt-5.2.")] = ""
    instructions: Annotated[
        str,
        Field(
            title="Instructions",
            description="Added to the system prompt.",
            json_schema_extra={"langgraph_type": "prompt"},
        ),
    ] = ""
    mcp_servers: list[str] = Field(
        default_factory=list,
        title="MCP servers",
        description="Those of the server's that are used, by name; none named means all.",
    )
    policies: dict[str, AssistantPolicy] = Field(
        default_factory=dict,
        title="Policies",
        description="What is allowed of which tool: by name, pattern (send_*) or effect (effect:destructive).",
    )
    sandbox: Annotated[str, Field(title="Sandbox", description="Where programs run, such as monty or nsjail.")] = ""
    prices: Annotated[
        AssistantPrices | None, Field(title="Prices", description="What the model costs, where max_cost is set.")
    ] = None
    tools_module: Annotated[
        str,
        Field(
            title="Tools module",
            description="More tools, in Python: module:NAME. It is code that the server imports: only where it permits that.",
        ),
    ] = ""
    own_mcp_servers: dict[str, Any] = Field(
        default_factory=dict,
        title="MCP servers of its own",
        description="More MCP servers, as in mcpServers. Their commands run on the server: only where it permits that.",
    )

    @model_validator(mode="after")
    def _check_prices(self) -> Self:
        if self.max_cost is not None and self.prices is None:
            raise ValueError("max_cost needs prices")
        return self

    @property
    def policy_of(self) -> Mapping[str, ToolPolicy]:
        """The policies as `create_codemode` takes them."""
        return {name: each.policy for name, each in self.policies.items()}

    @property
    def price(self) -> Prices | None:
        """The prices as `create_codemode` takes them."""
        return None if self.prices is None else Prices(input=self.prices.input, output=self.prices.output)


def read_assistant(context: object) -> Assistant:
    """Return the configuration in the context of a run.

    LangGraph Server drops what a graph's schema does not know, so an unknown key is found here or nowhere.

    Args:
        context: As the server gives it to the factory of a graph: the assistant's with the run's own over it.

    Raises:
        ConfigurationError: A key is unknown, or a value is wrong.
    """
    if isinstance(context, Assistant):
        return context
    if isinstance(context, BaseModel):
        context = context.model_dump(exclude_unset=True)
    if context is None:
        return Assistant()
    if not isinstance(context, Mapping):
        raise ConfigurationError(f"context: expected an object with the configuration, not {type(context).__name__}")
    own = {
        key: value for key, value in context.items() if not any(fnmatchcase(str(key), each) for each in _OF_LANGGRAPH)
    }
    try:
        return Assistant.model_validate(own)
    except ValidationError as error:
        raise ConfigurationError(complaint(error, "context")) from None


def check_privileges(assistant: Assistant, permitted: list[str]) -> None:
    """Refuse what brings code to the server, unless it permits that.

    Args:
        assistant: The configuration.
        permitted: What of `PRIVILEGED` assistants may set.

    Raises:
        ConfigurationError: One is set that is not permitted.
    """
    for name in PRIVILEGED:
        if getattr(assistant, name) and name not in permitted:
            raise ConfigurationError(
                f"context.{name} brings code to the server, which does not permit that: its operator may set "
                f"CODEMODE_ASSISTANTS_MAY={name}"
            )
