"""Code mode as a tool for OpenAI's API: its definition in both shapes, and the answer to its calls.

The `openai` package is not imported: its objects are read by attribute, and dicts by key.
"""

import json
import weakref
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from codemode_graph.integrations.answer import answer_content, answer_text
from codemode_graph.integrations.langchain import ADVICE, Task, task_description
from codemode_graph.result import TaskRunner
from codemode_graph.tools.hints import complaint

_DEFAULT = "codemode"
# The names under which each code mode is a tool: a reply may call functions of others beside it.
_names: weakref.WeakKeyDictionary[TaskRunner, set[str]] = weakref.WeakKeyDictionary()


def as_openai_tool(cm: TaskRunner, *, name: str = _DEFAULT, description: str | None = None) -> dict[str, Any]:
    """Return the tool's definition for the Responses API.

    Args:
        cm: Does the tasks.
        name: The tool's name.
        description: The tool's description for the model.
    """
    _names.setdefault(cm, set()).add(name)
    return {"type": "function", **_function(cm, name, description)}


def as_openai_function(cm: TaskRunner, *, name: str = _DEFAULT, description: str | None = None) -> dict[str, Any]:
    """Return the tool's definition for Chat Completions. Its arguments are those of `as_openai_tool`."""
    _names.setdefault(cm, set()).add(name)
    return {"type": "function", "function": _function(cm, name, description)}


async def answer_openai(cm: TaskRunner, call: Any) -> dict[str, Any]:
    """Do the task of a call. See `CodeMode.answer_openai`."""
    kind, function = _get(call, "type"), _get(call, "function")
    if kind == "function_call":
        _check_name(cm, _get(call, "name"))
        text, images = await _answer(cm, _get(call, "arguments"))
        shown = [{"type": "input_text", "text": text}, *images] if images else text
        return {"type": "function_call_output", "call_id": _get(call, "call_id"), "output": shown}
    if kind in ("function", None) and function is not None:
        _check_name(cm, _get(function, "name"))
        text, _ = await _answer(cm, _get(function, "arguments"))  # a tool's message is text alone there
        return {"role": "tool", "tool_call_id": _get(call, "id"), "content": text}
    raise ValueError(
        f"{kind or type(call).__name__!r} is no function call: give an item of type 'function_call' of a response's "
        "output, or one of a chat message's tool_calls"
    )


def _check_name(cm: TaskRunner, name: Any) -> None:
    known = _names.get(cm) or {_DEFAULT}
    if name not in known:
        listed = " or ".join(map(repr, sorted(known)))
        raise ValueError(f"{name!r} is a function of somebody else: this answers calls of {listed}")


def _function(cm: TaskRunner, name: str, description: str | None) -> dict[str, Any]:
    task = Task.model_json_schema()["properties"]["task"]
    parameters = {
        "type": "object",
        "properties": {"task": {"type": "string", "description": task["description"]}},
        "required": ["task"],
        "additionalProperties": False,
    }
    text = description or task_description(cm.tools)
    return {"name": name, "description": text, "parameters": parameters, "strict": True}


async def _answer(cm: TaskRunner, arguments: Any) -> tuple[str, list[dict[str, Any]]]:
    """Return what a model reads of a task's run: a text, and images as the Responses API takes them."""
    try:
        task = Task.model_validate(json.loads(arguments) if isinstance(arguments, str) else arguments).task
    except ValidationError as error:
        return f"The call's arguments are wrong: {complaint(error)}. Nothing was done.", []
    except ValueError as error:
        return f"The call's arguments are no JSON: {error}. Nothing was done.", []
    result = await cm.run(task)
    content = answer_content(result, answer_text(result, advice=ADVICE))
    text, *blocks = (
        [{"text": content}] if isinstance(content, str) else [each for each in content if isinstance(each, dict)]
    )
    images = [
        {"type": "input_image", "image_url": f"data:{block['mime_type']};base64,{block['base64']}"}
        for block in blocks
        if block["type"] == "image"
    ]
    return str(text["text"]), images


def _get(thing: Any, name: str) -> Any:
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)
