"""Code mode as a participant of a conversation: messages go in, and a message comes out.

So it is an agent of a supervisor or a swarm, answers in a chat window, and takes the texts of A2A.
"""

from collections.abc import Sequence
from typing import Annotated, Any, NotRequired

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command
from typing_extensions import TypedDict, Unpack

from codemode_graph.compat import channels_of
from codemode_graph.errors import ConfigurationError
from codemode_graph.graph import create_codemode
from codemode_graph.integrations.answer import LIMIT, answer_text, result_of
from codemode_graph.integrations.turns import ProgramCalls, TurnCalls, merge_programs
from codemode_graph.options import RunOptions
from codemode_graph.settings import Context
from codemode_graph.tools.load import Tools
from codemode_graph.updates import writes

__all__ = ["Chat", "ChatState", "create_codemode_chat"]

# The model is not asked again for the words of an answer: its program makes them.
_INSTRUCTIONS = (
    "The program's value is your answer in a conversation: a person reads it. Return a text in the person's language, made "
    "from what the program found, or data where data is asked for."
)
# Of the conversation before the last message, so that a long one does not fill the prompt.
_HISTORY_CHARS = 20_000


class Chat(TypedDict):
    """The input and the output: the conversation."""

    messages: Annotated[list[AnyMessage], add_messages]


class ChatState(Chat):
    """The conversation, and what its programs did."""

    codemode_turn_calls: NotRequired[Annotated[dict[str, ProgramCalls], merge_programs]]
    """What failed programs did and no later one has taken up."""


def create_codemode_chat(
    *, model: str | BaseChatModel | None, tools: Tools, name: str = "codemode", **options: Unpack[RunOptions]
) -> StateGraph[ChatState, Any, Chat, Chat]:
    """Make a graph that answers the last message of a conversation by a program. It is not compiled.

    A program that follows a failed one for the same message is its repair: nothing is done twice. After a new message, a
    call that writes and equals one of those is an error, unless the program says `await again(tools.x(...))`.

    Args:
        model: Writes the programs, and with them the answers. None makes a graph that can only be looked at.
        tools: What programs may call.
        name: The name that its messages bear.
        options: As `RunOptions` lists them.

    Raises:
        ConfigurationError: The model or an option cannot be used, see `RunOptions`.
        ToolLoadError: Something among the tools is not a tool.

    Examples:
        ```python
        books = create_codemode_chat(model="openai:gpt-5.2", tools=tools, name="books").compile(name="books")
        state = await books.ainvoke({"messages": [("user", "Who owes us money?")]})
        print(state["messages"][-1].text)
        ```
    """
    options["instructions"] = "\n\n".join(filter(None, [_INSTRUCTIONS, options.get("instructions")]))
    codemode = create_codemode(model=model, tools=tools, **options)
    inner: CompiledStateGraph[Any, Any, Any, Any] = codemode.compile(name="codemode")

    def answer(state: ChatState, config: RunnableConfig) -> Command[Any]:
        turn = TurnCalls(state.get("codemode_turn_calls") or {}, state["messages"])
        return _reply(inner.invoke(_input(state, turn)), turn, config, name)

    async def answer_async(state: ChatState, config: RunnableConfig) -> Command[Any]:
        turn = TurnCalls(state.get("codemode_turn_calls") or {}, state["messages"])
        return _reply(await inner.ainvoke(_input(state, turn)), turn, config, name)

    graph: StateGraph[Any, Any, Any, Any] = StateGraph(ChatState, Context, input_schema=Chat, output_schema=Chat)
    graph.add_node("answer", RunnableLambda(answer, answer_async, name="answer"))
    graph.add_edge(START, "answer")
    return graph


def _input(state: ChatState, turn: TurnCalls) -> dict[str, Any]:
    return {"task": task_of(state["messages"]), "earlier": turn.current, "held": turn.past}


def task_of(messages: Sequence[BaseMessage]) -> str:
    """Return the task that a conversation ends with: the last message of a person, and below it what was said before.

    Raises:
        ConfigurationError: Nobody has said anything.
    """
    texts = [message for message in messages if message.type in ("human", "ai") and message.text.strip()]
    if not texts:
        raise ConfigurationError("there is no message to answer: the conversation has no text")
    place = next((i for i in range(len(texts) - 1, -1, -1) if isinstance(texts[i], HumanMessage)), len(texts) - 1)
    text, first = texts[place].text.strip(), place
    # A person who got no answer, as the process died, writes the same again. It is the same task, so that the run goes on
    # that began then, and does nothing twice.
    while first and isinstance(texts[first - 1], HumanMessage) and texts[first - 1].text.strip() == text:
        first -= 1
    others = "\n".join(f"{_speaker(each)}: {each.text.strip()}" for each in [*texts[:first], *texts[place + 1 :]])
    return f"{text}\n\nWhat else was said in the conversation:\n{others[-_HISTORY_CHARS:]}" if others else text


def _speaker(message: BaseMessage) -> str:
    return message.name or ("user" if isinstance(message, HumanMessage) else "assistant")


def _reply(state: dict[str, Any], turn: TurnCalls, config: RunnableConfig, name: str) -> Command[Any]:
    result = result_of(state)
    is_text = isinstance(result["output"], str) and result["output"].strip()
    text = result["output"][:LIMIT] if result["success"] and is_text else answer_text(result)
    message = AIMessage(text, name=name, usage_metadata=_usage(state))
    pairs: list[tuple[str, Any]] = [*writes(state["updates"], channels_of(config)), ("messages", [message])]
    if changed := turn.update(result):
        pairs.append(("codemode_turn_calls", changed))
    return Command(update=pairs)


def _usage(state: dict[str, Any]) -> UsageMetadata:
    kinds = ("input_tokens", "output_tokens", "total_tokens")
    read, written, total = (sum(call[kind] for call in state["usage"]) for kind in kinds)
    return UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=total)
