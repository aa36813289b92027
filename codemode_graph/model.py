"""Asking the model for a program."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig

from codemode_graph.check.extract import extract_program
from codemode_graph.errors import ConfigurationError, ModelError
from codemode_graph.redact import redact

__all__ = ["Answer", "ask", "is_structured", "load_model", "model_name"]

PROGRAM_SCHEMA: dict[str, Any] = {
    "title": "program",
    "description": "A Python program that does the task.",
    "type": "object",
    "properties": {
        "thoughts": {"type": "string", "description": "One or two sentences on how the program does the task."},
        "code": {"type": "string", "description": "The Python program."},
    },
    "required": ["thoughts", "code"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one call of the model.

    Attributes:
        program: The program, or an empty string where the answer held none.
        thoughts: What it said about it.
        error: Why the model could not be asked; None where it answered.
        model: The model's name.
        usage: `input_tokens`, `output_tokens` and `total_tokens`; zeros where the model does not report them.
        seconds: How long it took.
    """

    program: str = ""
    thoughts: str = ""
    error: str | None = None
    model: str
    usage: Mapping[str, int]
    seconds: float


def load_model(model: str | BaseChatModel, *, api_key: str | None = None) -> BaseChatModel:
    """Make a chat model ready for use.

    Args:
        model: A provider string such as `openai:gpt-5.2` (anything `init_chat_model` takes), or a chat model.
        api_key: Given to a model named by a string; otherwise the provider's environment variable is used.

    Raises:
        ConfigurationError: The name is not known, its package is not installed, or its key is missing.
    """
    if isinstance(model, BaseChatModel):
        return _reporting_usage(model)
    try:
        options = {} if api_key is None else {"api_key": api_key}
        return _reporting_usage(init_chat_model(model, **options))
    except ImportError as error:
        raise ConfigurationError(f"model {model!r} needs another package: {_first_line(error)}") from error
    except Exception as error:
        raise ConfigurationError(f"model {model!r} cannot be used: {_first_line(error)}") from error


def _reporting_usage(model: BaseChatModel) -> BaseChatModel:
    # langchain-openai drops token usage from streams of a server of one's own unless told otherwise.
    if "stream_usage" in type(model).model_fields and getattr(model, "stream_usage", None) is None:
        return model.model_copy(update={"stream_usage": True})
    return model


def is_structured(model: BaseChatModel) -> bool:
    """Whether the model's profile says that it has structured output."""
    return bool((model.profile or {}).get("structured_output"))


def model_name(model: BaseChatModel) -> str:
    """The name under which the model's calls are counted."""
    for attribute in ("model_name", "model"):
        name = getattr(model, attribute, None)
        if isinstance(name, str) and name:
            return name
    return type(model).__name__


async def ask(
    model: BaseChatModel, messages: list[BaseMessage], *, structured: bool, config: RunnableConfig | None = None
) -> Answer:
    """Ask once. A model that cannot be reached is told in the answer's `error`.

    Args:
        model: Who is asked.
        messages: The conversation.
        structured: Ask for `PROGRAM_SCHEMA` rather than for text with a fenced block.
        config: Callbacks and tags.
    """
    started = time.monotonic()
    reply: AIMessage
    parsed: object = None
    try:
        if structured:
            result = await model.with_structured_output(PROGRAM_SCHEMA, include_raw=True).ainvoke(messages, config)
            assert isinstance(result, dict)
            reply, parsed = result["raw"], result["parsed"]
        else:
            reply = await model.ainvoke(messages, config)
    except Exception as problem:
        # A truncated structured answer raises, and carries the completion whose tokens were spent.
        usage = _completion_usage(getattr(problem, "completion", None))
        text = f"the model could not be asked: {type(problem).__name__}: {_first_line(problem)}"
        return Answer(error=text, model=model_name(model), usage=usage, seconds=time.monotonic() - started)
    thoughts, program = _read(reply, parsed)
    return Answer(
        program=program,
        thoughts=thoughts,
        model=model_name(model),
        usage=_usage(reply.usage_metadata),
        seconds=time.monotonic() - started,
    )


def _read(reply: AIMessage, parsed: object) -> tuple[str, str]:
    """Thoughts and program of a reply; the program is empty where the reply holds none."""
    thoughts, text = "", reply.text
    if isinstance(parsed, Mapping) and str(parsed.get("code") or "").strip():
        thoughts, text = str(parsed.get("thoughts") or ""), str(parsed["code"])
    elif "```" in text:
        thoughts = text.partition("```")[0].strip()
    try:
        return thoughts, extract_program(text)
    except ModelError:
        return thoughts or text.strip(), ""


def _usage(metadata: Mapping[str, Any] | None) -> dict[str, int]:
    usage = {name: int((metadata or {}).get(name) or 0) for name in ("input_tokens", "output_tokens", "total_tokens")}
    usage["total_tokens"] = usage["total_tokens"] or usage["input_tokens"] + usage["output_tokens"]
    return usage


def _completion_usage(completion: object) -> dict[str, int]:
    reported = getattr(completion, "usage", None)
    return _usage(
        {
            "input_tokens": getattr(reported, "prompt_tokens", 0),
            "output_tokens": getattr(reported, "completion_tokens", 0),
            "total_tokens": getattr(reported, "total_tokens", 0),
        }
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return redact(lines[0] if lines else type(error).__name__, limit=300)
