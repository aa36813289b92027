"""Results of tools as values: messages, their content blocks, and LangGraph's `Command`.

The `ToolMessage`s of a Command answer the call, so they become its value, and are left out of the update: the caller is
the program, not a model whose history they would belong to. All else that a Command updates is kept.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from codemode_sandboxes.guest.json_values import to_json
from langchain_core.messages import BaseMessage, ToolMessage, message_to_dict, messages_from_dict
from langgraph.types import Command

from codemode_graph.errors import ToolCallError
from codemode_graph.tools.artifacts import artifact_of_block, standard_blocks
from codemode_graph.tools.hints import plain_object

BESIDE = ("_content", "_meta")
"""The keys under which an MCP answer's value has what stands beside it; no schema declares them."""

GOTO = "codemode_goto"
"""The key of an update that says where a Command goes: the `nodes`, and whether they are of the `parent` graph."""

follows_goto: ContextVar[bool] = ContextVar("codemode_follows_goto", default=False)
"""Whether whoever runs the program goes where its tools say, once it has ended."""

# The only key of a dict that stands for a message in an update that is kept as JSON.
_MESSAGE = "codemode_message"


class CommandRefused(ToolCallError):
    """A tool has done its work, and returned a Command that a program cannot follow."""


@dataclass(frozen=True, slots=True)
class Updated:
    """The result of a tool that returned Commands.

    Attributes:
        value: For the program: the content of the Commands' `ToolMessage`, a list where there are several, else None.
        updates: What each Command updates, by the state's keys, in order.
    """

    value: Any
    updates: list[dict[str, Any]]


def has_command(answer: object) -> bool:
    """Return whether a tool's answer is a Command, or a list with one."""
    return isinstance(answer, Command) or (isinstance(answer, list) and any(isinstance(a, Command) for a in answer))


def is_message(hint: Any) -> bool:
    """Return whether a tool with this return hint may return a message or a Command in place of a value."""
    if isinstance(hint, type) and issubclass(hint, ToolMessage | Command):
        return True
    return get_origin(hint) is Command or any(is_message(part) for part in get_args(hint))


def read_message(message: ToolMessage) -> Any:
    """Return the text of a message, parsed where it is a JSON object or array.

    Raises:
        ToolCallError: It reports an error.
    """
    if message.status == "error":
        raise ToolCallError(message.text or "it did not say why")
    return parse_json(message.text)


def from_commands(tool: str, answer: Any, read: Callable[[ToolMessage], Any] = read_message) -> Updated:
    """Split a tool's Commands into the value for the program and the updates of the state.

    Args:
        tool: The tool's name, for messages.
        answer: A Command, or a list of Commands and `ToolMessage`s.
        read: Returns the value of a message, or raises the error that it reports.

    Raises:
        CommandRefused: It goes somewhere and nobody follows, resumes something, or its update has no keys.
    """
    messages: list[ToolMessage] = []
    updates: list[dict[str, Any]] = []
    for each in answer if isinstance(answer, list) else [answer]:
        # A tool may put the message beside the Command, as a `ToolNode` allows.
        if isinstance(each, ToolMessage):
            messages.append(each)
            continue
        for key, value in _pairs(tool, each):
            values = value if isinstance(value, list) else [value]
            own = [item for item in values if isinstance(item, ToolMessage)]
            messages += own
            if not own:
                updates.append({key: value})
            elif rest := [item for item in values if not isinstance(item, ToolMessage)]:
                updates.append({key: rest})
    read_values = [read(message) for message in messages]
    return Updated(one_or_all(read_values), _join(updates))


def _pairs(tool: str, command: Any) -> Iterable[tuple[str, Any]]:
    if not isinstance(command, Command):
        raise CommandRefused(f"{tool} returns a Command beside what is neither Command nor ToolMessage")
    goto = [command.goto] if isinstance(command.goto, str) else command.goto
    named = isinstance(goto, list | tuple) and all(isinstance(name, str) for name in goto)
    follows = named and follows_goto.get()
    if (goto and not follows) or command.resume is not None or command.graph not in (None, Command.PARENT):
        what = "goes to another node" if command.goto else "is not for this graph or its parent"
        raise CommandRefused(f"{tool} returns a Command that {what}: a program can use only its update")
    update = command.update
    target = [(GOTO, {"nodes": list(goto), "parent": command.graph == Command.PARENT})] if goto else []  # type: ignore[arg-type]
    if update is None:
        return target
    if isinstance(update, dict):
        return [*target, *update.items()]
    if isinstance(update, list | tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in update):
        return [*target, *update]
    raise CommandRefused(f"{tool} returns a Command whose update is no dict")


def _join(updates: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join updates of different keys; a second update of the same key starts the next one."""
    joined: list[dict[str, Any]] = []
    for update in updates:
        if joined and not joined[-1].keys() & update.keys():
            joined[-1] |= update
        else:
            joined.append(dict(update))
    return joined


def to_json_update(update: dict[str, Any], *, max_bytes: int) -> dict[str, Any]:
    """Return an update as JSON values, its messages included.

    Raises:
        TypeError, ValueError: Something in it is no data, or there is too much of it.
    """

    def convert(value: Any) -> Any:
        return {_MESSAGE: message_to_dict(value)} if isinstance(value, BaseMessage) else plain_object(value)

    found: dict[str, Any] = to_json(update, max_bytes=max_bytes, convert=convert)
    return found


def update_from_json(value: Any) -> Any:
    """Return the update that `to_json_update` converted, with its messages; other objects stay plain data."""
    if isinstance(value, dict):
        if value.keys() == {_MESSAGE}:
            return messages_from_dict([value[_MESSAGE]])[0]
        return {key: update_from_json(item) for key, item in value.items()}
    return [update_from_json(item) for item in value] if isinstance(value, list) else value


def from_blocks(content: Any) -> Any:
    """Return the content blocks of a message as values, one alone or a list of several; anything else as it is.

    A text is parsed where it is a JSON object or array; an image, a sound or a file with its data is an `Artifact`.
    """
    if not isinstance(content, list) or not all(isinstance(block, dict) and "type" in block for block in content):
        return content
    return one_or_all([_from_block(block) for block in standard_blocks(content)])


def parts_beside(structured: Any, parts: Sequence[tuple[Any, str | None]]) -> list[Any]:
    """Return the parts of an MCP answer that do not repeat its structured content.

    Args:
        structured: The structured content.
        parts: The value of each part of the content, and its text where it is one.
    """
    texts = [parse_json(text, any_value=True) for _, text in parts if text is not None]
    # Python servers write a list as one text for each item, and a text as it is; others write what is under one key.
    same = [structured, *(structured.values() if isinstance(structured, Mapping) else ())]
    repeats = any(one_or_all(texts) == each or texts == each for each in same)
    plain = [text for _, text in parts if text is not None]
    if repeats or any(plain == [str(each)] for each in same):
        return [part for part, text in parts if text is None]
    return [part for part, _ in parts]


def with_parts(value: Any, beside: list[Any], meta: Mapping[str, Any]) -> Any:
    """Return the value of an answer with what stands beside it: see `mcp.content.value_of`."""
    more = {name: each for name, each in zip(BESIDE, (beside, dict(meta)), strict=True) if each}
    if not more:
        return value
    # A value may have such keys of its own.
    has_room = isinstance(value, dict) and not more.keys() & value.keys()
    return {**(value if has_room else {"result": value}), **more}


def block_values(content: Any) -> list[tuple[Any, str | None]]:
    """Return the value of each content block of a message, and its text where it is one."""
    blocks = standard_blocks([content] if isinstance(content, str) else content)
    return [(_from_block(block), block["text"] if is_text_block(block) else None) for block in blocks]


def one_or_all(values: list[Any]) -> Any:
    """Return None for no value, the value itself for one, else the list."""
    return values[0] if len(values) == 1 else values or None


def _from_block(block: dict[str, Any]) -> Any:
    if is_text_block(block):
        return parse_json(block["text"])
    if (artifact := artifact_of_block(block)) is not None:
        return artifact
    # LangChain puts random ids on blocks; a value that differs from call to call is of no use to a program.
    return {key: value for key, value in block.items() if key != "id" or not str(value).startswith("lc_")}


def is_text_block(block: object) -> bool:
    """Return whether a content block is text and nothing else."""
    return (
        isinstance(block, dict)
        and block.get("type") == "text"
        and isinstance(block.get("text"), str)
        and block.keys() <= {"type", "text", "id", "index", "annotations", "extras"}
    )


def parse_json(text: str, *, any_value: bool = False) -> Any:
    """Parse text that is a JSON object or array; return any other as it is.

    A text such as `123`, `true` or `"x"` stays text, as a tool that returns texts may return such a one by chance. Where
    JSON is expected, `any_value` parses these too.
    """
    if not any_value and text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
