"""Code mode over an agent's own tools, as middleware of LangChain's `create_agent`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, NotRequired

from codemode_sandboxes import Capabilities
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain.agents.middleware.types import (
    AgentMiddleware,
    AgentState,
    ExtendedModelResponse,
    ModelRequest,
    ModelResponse,
    PrivateStateAttr,
    ToolCallRequest,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.config import get_config
from langgraph.types import Command
from pydantic import BaseModel, Field
from typing_extensions import Unpack

from codemode_graph.catalogue import ObservedSchemas
from codemode_graph.compat import channels_of, checkpointer_of
from codemode_graph.errors import ConfigurationError
from codemode_graph.integrations.agent_tools import (
    AgentCall,
    InterruptOn,
    Toolset,
    Toolsets,
    agent_call,
    require_checkpointer,
    reviews_of,
)
from codemode_graph.integrations.answer import LIMIT, answer_content, answer_text, artifact_of, result_of
from codemode_graph.integrations.langchain import ADVICE, Task, task_description
from codemode_graph.integrations.turns import ProgramCalls, TurnCalls, merge_programs
from codemode_graph.model import agent_message
from codemode_graph.model.ask import load_model
from codemode_graph.options import RunOptions, read_context, read_options, read_sandbox
from codemode_graph.state import StateUpdate
from codemode_graph.sync import wait_for
from codemode_graph.tools.results import GOTO, follows_goto, update_from_json
from codemode_graph.tools.spec import ToolSpec
from codemode_graph.updates import writes

__all__ = ["CodeModeAgentState", "CodeModeMiddleware"]

# `HumanInTheLoopMiddleware` cannot be seen from other middleware, but this key of its state can.
_HUMAN_IN_THE_LOOP = "hitl_edited_tool_calls"

_ADVICE = (
    "Write the program again, whole and put right. Where it makes the calls that took effect again, they are answered "
    "from the record and not made a second time."
)


class Program(BaseModel):
    """The tool's arguments where the agent's own model writes the programs."""

    code: str = Field(min_length=1, description="The whole program: Python that calls the tools.")


class CodeModeAgentState(AgentState[Any]):
    """The middleware's part of the agent's state."""

    codemode_offered: NotRequired[Annotated[list[str], PrivateStateAttr]]
    """The tools that the model last read programs may call; they can call no others."""
    codemode_turn_calls: NotRequired[Annotated[dict[str, ProgramCalls], PrivateStateAttr, merge_programs]]
    """What failed programs did and no later one has taken up."""


class CodeModeMiddleware(AgentMiddleware[Any, Any, Any]):
    """Code mode over an agent's own tools: it adds a tool that runs programs which call them.

    Calls that a program makes are calls of the agent: they go through the tool-call middleware that is listed after this
    one, tools get the agent's state, store and runtime, a `Command` that a tool returns updates the agent's state, and
    callbacks see each call below the program's. What other middleware hides from the model, where that is listed before
    this one, programs do not have either. So list it after what chooses tools, and before what wraps tool calls.

    A program that waits for a person interrupts the agent, and goes on where it stopped. A program that follows a failed
    one in the same turn of the conversation is its repair: what the failed one did is not done again. In a later turn, a
    call that writes and equals one of those is an error, unless the program says `await again(tools.x(...))`.

    Args:
        model: Writes the programs for tasks that the agent gives. None has the agent's own model write them.
        interrupt_on: Which calls of programs a person decides on, as `HumanInTheLoopMiddleware` takes it, or that
            middleware itself: it does not see the calls of programs. `{}` says that there are none.
        name: The tool's name.
        max_chars: The most characters of a value that the agent's model reads; of a longer one, the shape and a part.
        specs: What is known of tools beyond what LangChain tools say, by name: effects, types of results.
        options: As `RunOptions` lists them. The `callers` of `policies` say whether a tool is for programs, for the
            agent's model, or both.

    Raises:
        ConfigurationError: `interrupt_on`, the model or an option cannot be used, see `RunOptions`.

    Examples:
        ```python
        agent = create_agent("openai:gpt-5.2", tools=[list_events, send_mail], middleware=[CodeModeMiddleware()])
        ```
    """

    state_schema = CodeModeAgentState

    def __init__(
        self,
        *,
        model: str | BaseChatModel | None = None,
        interrupt_on: InterruptOn | HumanInTheLoopMiddleware[Any, Any, Any] | None = None,
        name: str = "run_program",
        max_chars: int = LIMIT,
        specs: Mapping[str, ToolSpec] | None = None,
        **options: Unpack[RunOptions],
    ) -> None:
        super().__init__()
        options = read_options(options)
        self._returns = read_context(options).returns
        self._writer = None if model is None else load_model(model)
        self._sandbox = read_sandbox(options)
        self._knows_reviews = interrupt_on is not None
        self._max_chars = max_chars
        self._toolsets = Toolsets(
            policies=options.pop("policies", None) or {},
            reviews=reviews_of(interrupt_on or {}),
            specs=specs or {},
            options={"model": self._writer, **options},
        )
        self.tool = StructuredTool(
            name=name,
            description=(
                "Run a Python program that calls tools. Give the whole program. Its value comes back, as JSON."
                if model is None
                else task_description([])
            ),
            args_schema=Program if model is None else Task,
            func=_without_middleware,
        )
        self.tools = [self.tool]

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ExtendedModelResponse[Any]:
        """Describe programs to the model, and hide the tools that only programs may call."""
        changed, offered = self._change(request, self._capabilities(), wait_for(self._observed(request)))
        return _record(request, handler(changed), offered)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ExtendedModelResponse[Any]:
        """Describe programs to the model, and hide the tools that only programs may call."""
        observed = await self._observed(request)
        # The sandbox may have to start, and the cards of many tools take a second to write.
        changed, offered = await asyncio.to_thread(lambda: self._change(request, self._capabilities(), observed))
        return _record(request, await handler(changed), offered)

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Any]) -> Any:
        """Run a program, or make any other call."""
        if request.tool_call["name"] != self.tool.name:
            return self._refuse(request) or handler(request)
        toolset, turn_calls = self._toolset(request), _turn_calls(request)
        call = AgentCall(request=request, handler=handler, is_async=False)

        def run(**arguments: str) -> Any:
            # Set within the tool's own context, so that programs of one turn that run side by side each find their own
            # call.
            agent_call.set(call)
            follows_goto.set(True)
            return self._answer(request, turn_calls, toolset.graph.invoke(_input(turn_calls, arguments)))

        return handler(request.override(tool=self._with_function(func=run)))

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Any]]
    ) -> Any:
        """Run a program, or make any other call."""
        if request.tool_call["name"] != self.tool.name:
            return self._refuse(request) or await handler(request)
        toolset, turn_calls = self._toolset(request), _turn_calls(request)
        call = AgentCall(request=request, handler=handler, is_async=True)

        async def run(**arguments: str) -> Any:
            agent_call.set(call)
            follows_goto.set(True)
            # Under the config of the context: one that is passed as well brings its tracers a second time.
            return self._answer(request, turn_calls, await toolset.graph.ainvoke(_input(turn_calls, arguments)))

        return await handler(request.override(tool=self._with_function(coroutine=run)))

    async def aclose(self) -> None:
        """Close what the sandbox holds in this event loop; it ends with the process too."""
        await self._sandbox.aclose()

    def _capabilities(self) -> Capabilities | None:
        # Only the agent's own model has to know the sandbox; to ask one what it offers may start it.
        return self._sandbox.capabilities if self._writer is None else None

    async def _observed(self, request: ModelRequest[Any]) -> ObservedSchemas:
        """Return what is known of results that tools do not declare, where the agent's model reads cards."""
        return {} if self._writer is not None else await self._toolset_of(request).observed()

    def _toolset_of(self, request: ModelRequest[Any]) -> Toolset:
        return self._toolsets.of(
            [each for each in request.tools if isinstance(each, BaseTool) and not self._is_own(each)]
        )

    def _is_own(self, tool: object) -> bool:
        return isinstance(tool, BaseTool) and tool.name == self.tool.name

    def _change(
        self, request: ModelRequest[Any], capabilities: Capabilities | None, observed: ObservedSchemas
    ) -> tuple[ModelRequest[Any], list[str]]:
        """Return the request as the model gets it, and the tools that it reads programs may call."""
        toolset = self._toolset_of(request)
        tool_name = next((spec.name for spec in toolset.for_programs if spec.policy.approval), None)
        if tool_name is not None and checkpointer_of(get_config()) is None:
            require_checkpointer(tool_name, "LangChain's create_agent(checkpointer=...)")
        # Middleware before this one may have taken the tool away: then no program can be run at all.
        offered = [spec.name for spec in toolset.for_programs] if any(map(self._is_own, request.tools)) else []
        tools = [each for each in request.tools if not isinstance(each, BaseTool) or each.name not in toolset.hidden]
        if not offered:
            return request.override(tools=[each for each in tools if not self._is_own(each)]), []
        if capabilities is not None:
            returns = None if self._returns is None else self._returns.text(toolset.catalogue.signatures)
            cards = toolset.catalogue.with_observed(observed).text(_task_of(request.messages))
            message = agent_message(cards, capabilities, tool=self.tool.name, returns=returns)
            return request.override(tools=tools, system_message=_append(request.system_message, message)), offered
        described = self.tool.model_copy(update={"description": task_description(toolset.for_programs)})
        return request.override(tools=[described if self._is_own(each) else each for each in tools]), offered

    def _toolset(self, request: ToolCallRequest) -> Toolset:
        if not self._knows_reviews and _HUMAN_IN_THE_LOOP in channels_of(request.runtime.config):
            raise ConfigurationError(
                "the agent has HumanInTheLoopMiddleware, which does not see the calls that programs make: give "
                "CodeModeMiddleware(interrupt_on=...) what it was given, or {} where nobody is to be asked about those"
            )
        tools = [tool for tool in request.runtime.tools if tool.name != self.tool.name]
        self._toolsets.check([tool.name for tool in tools])
        every = self._toolsets.of(tools)
        # Middleware may have hidden tools from the model when it wrote this program: hide them from the program as well.
        offered = request.state.get("codemode_offered")
        if offered is None:
            return every
        withheld = {spec.name for spec in every.for_programs} - set(offered)
        return self._toolsets.of([tool for tool in tools if tool.name not in withheld])

    def _refuse(self, request: ToolCallRequest) -> ToolMessage | None:
        """Return the answer to the model's own call of a tool that only programs may call; None for other tools."""
        call = request.tool_call
        toolset = self._toolsets.of([tool for tool in request.runtime.tools if tool.name == call["name"]])
        if call["name"] not in toolset.hidden:
            return None
        text = f"{call['name']} can be called by programs alone: run one with {self.tool.name}."
        return ToolMessage(text, name=call["name"], tool_call_id=call["id"], status="error")

    def _with_function(self, **function: Any) -> StructuredTool:
        return StructuredTool(
            name=self.tool.name, description=self.tool.description, args_schema=self.tool.args_schema, **function
        )

    def _answer(self, request: ToolCallRequest, turn_calls: TurnCalls, state: Mapping[str, Any]) -> Any:
        result = result_of(state)
        text = answer_text(result, limit=self._max_chars, advice=_ADVICE if self._writer is None else ADVICE)
        message = ToolMessage(
            answer_content(result, text),
            name=self.tool.name,
            tool_call_id=request.tool_call["id"],
            status="success" if result["success"] else "error",
            artifact=artifact_of(result),
        )
        if result["success"] and (handoff := _handoff(state["updates"])) is not None:
            return _goto(handoff, request, message)
        channels = channels_of(request.runtime.config)
        pairs = writes(state["updates"], channels)
        if changed := turn_calls.update(result):
            pairs.append(("codemode_turn_calls", changed))
        if not pairs:
            return message
        # One Command where that says the same: middleware of others, such as deepagents', knows no list.
        joined = _join(pairs, channels)
        if joined is None:
            return [message, *(Command(update={key: value}) for key, value in pairs)]
        return Command(update={**joined, "messages": [message, *joined.get("messages", [])]})


def _handoff(updates: Sequence[StateUpdate]) -> dict[str, Any] | None:
    """Return the last update whose tool goes to another node, None where no tool does."""
    return next((each["update"] for each in reversed(updates) if GOTO in each["update"]), None)


def _goto(handoff: Mapping[str, Any], request: ToolCallRequest, message: ToolMessage) -> Command[Any]:
    """Return the Command of a tool of the program as one of the program's call."""
    target = handoff[GOTO]
    update = {key: update_from_json(value) for key, value in handoff.items() if key != GOTO}
    if not target["parent"]:
        return Command(goto=target["nodes"], update={**update, "messages": [message, *update.get("messages", [])]})
    # The agent ends here, and its own state with it: the graph around gets the conversation.
    messages = update.get("messages") or request.state.get("messages", [])
    return Command(graph=Command.PARENT, goto=target["nodes"], update={**update, "messages": [*messages, message]})


def _join(pairs: Sequence[tuple[str, Any]], channels: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return updates as one value for each key; None where the state would not be the same."""
    values: dict[str, list[Any]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    joined: dict[str, Any] = {}
    for key, several in values.items():
        if all(isinstance(value, dict) for value in several):
            joined[key] = {name: item for value in several for name, item in value.items()}
        elif all(isinstance(value, list) for value in several):
            joined[key] = [item for value in several for item in value]
        else:
            joined[key] = several[-1]
        # Messages get ids when they are added, so no two states with new ones are equal.
        if len(several) > 1 and key != "messages" and not _is_same(channels.get(key), several, joined[key]):
            return None
    return joined


def _is_same(channel: Any, several: Sequence[Any], joined: Any) -> bool:
    if channel is None:
        return False
    one, other = channel.copy(), channel.copy()
    one.update(list(several))
    other.update([joined])
    return bool(one.get() == other.get())


def _task_of(messages: Sequence[AnyMessage]) -> str:
    """Return the newest words of a person, by which cards are chosen where an agent has many tools."""
    return next((str(message.text) for message in reversed(messages) if isinstance(message, HumanMessage)), "")


def _turn_calls(request: ToolCallRequest) -> TurnCalls:
    return TurnCalls(request.state.get("codemode_turn_calls") or {}, request.state.get("messages", ()))


def _input(turn_calls: TurnCalls, arguments: Mapping[str, str]) -> dict[str, Any]:
    return {"task": "", **arguments, "earlier": turn_calls.current, "held": turn_calls.past}


def _without_middleware(**_: str) -> str:
    raise ConfigurationError("this tool works only in an agent that has its CodeModeMiddleware")


def _record(request: ModelRequest[Any], response: ModelResponse[Any], offered: list[str]) -> ExtendedModelResponse[Any]:
    changed = request.state.get("codemode_offered") != offered
    command: Command[Any] | None = Command(update={"codemode_offered": offered}) if changed else None
    return ExtendedModelResponse(model_response=response, command=command)


def _append(message: SystemMessage | None, text: str) -> SystemMessage:
    if message is None:
        return SystemMessage(text)
    if isinstance(message.content, str):
        return message.model_copy(update={"content": f"{message.content}\n\n{text}"})
    blocks: Sequence[Any] = [*message.content, {"type": "text", "text": text}]
    return message.model_copy(update={"content": list(blocks)})
