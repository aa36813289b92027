"""The request to the model for a program, and its answer."""

import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from langchain.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.utils.json import parse_json_markdown
from pydantic import SecretStr

from codemode_graph.errors import ConfigurationError, ModelError
from codemode_graph.model.reply import extract_program
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
    """The answer to one request.

    Attributes:
        program: The program, or an empty string where the reply has none.
        thoughts: The model's words about it.
        error: Why the request failed, or how the reply was truncated; None where it is whole.
        model: The model's name.
        usage: `input_tokens`, `output_tokens` and `total_tokens`; zeros where the model does not report them.
        seconds: Duration of the request.
    """

    program: str = ""
    thoughts: str = ""
    error: str | None = None
    model: str
    usage: Mapping[str, int]
    seconds: float


def load_model(model: str | BaseChatModel, *, api_key: str | None = None) -> BaseChatModel:
    """Return a chat model that reports its usage and works in any event loop.

    Args:
        model: A provider string such as `openai:gpt-5.2` (anything `init_chat_model` takes), or a chat model.
        api_key: For a model named by a string; without it, the provider's environment variable is used.

    Raises:
        ConfigurationError: The name is not known, its package is not installed, or its key is missing.
    """
    if isinstance(model, BaseChatModel):
        return _prepare(model)
    if not isinstance(model, str):
        raise ConfigurationError(f"a model is a chat model or a string such as 'openai:gpt-5.2', not {_kind(model)}")
    if not model:
        raise ConfigurationError("a model is a chat model or a string such as 'openai:gpt-5.2', not an empty one")
    try:
        options: dict[str, Any] = {} if api_key is None else {"api_key": api_key}
        return _prepare(init_chat_model(model, **options))
    except ImportError as error:
        raise ConfigurationError(f"model {model!r} needs another package: {_first_line(error)}") from error
    except Exception as error:
        raise ConfigurationError(f"model {model!r} cannot be used: {_load_problem(model, error)}") from error


def _load_problem(model: str, error: Exception) -> str:
    reason = _first_line(error)
    if "model_provider" in reason:
        provider, colon, _ = model.partition(":")
        hint = "write it as 'provider:model', such as 'openai:gpt-5.2'"
        return f"no provider is named {provider!r}; {hint}" if colon else f"its provider is missing: {hint}"
    key = re.search(r"\b[A-Z][A-Z_]*_API_KEY\b", reason)
    if key is not None and not os.environ.get(key[0]):
        return f"it has no key: set the environment variable {key[0]}"
    return reason


def _prepare(model: BaseChatModel) -> BaseChatModel:
    changes: dict[str, Any] = {}
    # langchain-openai drops token usage from streams with another base URL unless `stream_usage` is set.
    if "stream_usage" in type(model).model_fields and getattr(model, "stream_usage", None) is None:
        changes["stream_usage"] = True
    # Its clients share one pool of connections, and a connection fails in any event loop but the one that opened it: the
    # second `asyncio.run` of a script would fail. A pool of its own that keeps none costs a handshake for each request.
    client = getattr(model, "root_async_client", None)
    if client is not None and all(getattr(model, name, None) is None for name in ("http_async_client", "openai_proxy")):
        from openai import DefaultAsyncHttpxClient

        pool = DefaultAsyncHttpxClient()
        client = client.copy(http_client=pool, default_headers={"Connection": "close"})
        changes |= {"http_async_client": pool, "root_async_client": client, "async_client": client.chat.completions}
    return model.model_copy(update=changes) if changes else model


def is_structured(model: BaseChatModel) -> bool:
    """Return whether the model's profile lists structured output."""
    return bool((model.profile or {}).get("structured_output"))


def model_name(model: BaseChatModel) -> str:
    """Return the model's name, under which its usage is counted."""
    for attribute in ("model_name", "model"):
        name = getattr(model, attribute, None)
        if isinstance(name, str) and name:
            return name
    return type(model).__name__


async def ask(
    model: BaseChatModel, messages: list[BaseMessage], *, structured: bool, config: RunnableConfig | None = None
) -> Answer:
    """Ask once. Where the request fails or the reply is truncated, the answer's `error` says so; nothing is raised.

    Args:
        model: The model.
        messages: The conversation.
        structured: Ask for `PROGRAM_SCHEMA` rather than for text with a fenced block.
        config: Callbacks and tags.
    """
    started = time.monotonic()
    reply: AIMessage
    parsed: object = None
    try:
        if structured:
            writer = model.with_structured_output(PROGRAM_SCHEMA, include_raw=True)
            result = await writer.with_config(run_name="structured program").ainvoke(messages, config)
            assert isinstance(result, dict)
            reply = result["raw"]
            # LangChain's parser completes truncated JSON, so its result counts only for tool calls, not for JSON in text.
            parsed = result["parsed"] if reply.tool_calls else _json_object(reply.text)
        else:
            reply = await model.ainvoke(messages, config)
    except Exception as problem:
        # A truncated structured reply raises; its completion says how many tokens were spent.
        usage = _completion_usage(getattr(problem, "completion", None))
        error = _request_problem(problem, model)
        return Answer(error=error, model=model_name(model), usage=usage, seconds=time.monotonic() - started)
    truncation = _truncation(reply)
    thoughts, program = _read(reply, parsed) if truncation is None else ("", "")
    return Answer(
        program=program,
        thoughts=thoughts,
        error=truncation,
        model=model_name(model),
        usage=_usage(reply.usage_metadata),
        seconds=time.monotonic() - started,
    )


def _read(reply: AIMessage, parsed: object) -> tuple[str, str]:
    """Return thoughts and program of a reply; the program is empty where the reply has none."""
    thoughts, text = "", str(reply.text)
    if isinstance(parsed, Mapping) and str(parsed.get("code") or "").strip():
        thoughts, text = str(parsed.get("thoughts") or ""), str(parsed["code"])
    elif "```" in text:
        thoughts = text.partition("```")[0].strip()
    try:
        return thoughts, extract_program(text)
    except ModelError:
        return thoughts or text.strip() or _refusal(reply), ""


def _refusal(reply: AIMessage) -> str:
    blocks = [block for block in reply.content if isinstance(block, dict)]
    return "\n".join(str(part["refusal"]) for part in (reply.additional_kwargs, *blocks) if part.get("refusal"))


def _truncation(reply: AIMessage) -> str | None:
    """Return why a reply may lack the end of its program, or None. Half a program may parse, and has half the effects."""
    metadata = reply.response_metadata
    details = metadata.get("incomplete_details") or {}
    reason = details.get("reason") or metadata.get("finish_reason") or metadata.get("stop_reason")
    error = _stop_error(reason)
    # OpenAI ends every whole reply with a reason or a status; a stream without one lost its connection.
    if reason is None and metadata.get("model_provider") == "openai" and metadata.get("status") != "completed":
        error = "the model's answer ended before it was complete: the connection was closed"
    return None if error is None or _is_whole(reply) else error


def _stop_error(reason: object) -> str | None:
    if reason in ("length", "max_tokens", "max_output_tokens"):
        return "the model's answer was cut off at its token limit: raise the model's max_tokens"
    return "the model's answer was stopped by its content filter" if reason == "content_filter" else None


def _is_whole(reply: AIMessage) -> bool:
    """Return whether a truncated reply has its whole program: a closed fence, or a JSON object."""
    # The arguments of a call that was cut off are parsed leniently and may look whole.
    if reply.tool_calls:
        return False
    fences = len(re.findall(r"^\s*```", reply.text, re.MULTILINE))
    if fences:
        return fences % 2 == 0
    return _json_object(reply.text) is not None


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = parse_json_markdown(text, parser=partial(json.loads, strict=False))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


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


def _request_problem(problem: Exception, model: BaseChatModel) -> str:
    """Describe a failed request in one line."""
    completion = getattr(problem, "completion", None)
    if completion is not None and (stopped := _stop_error(completion.choices[0].finish_reason)):
        return stopped
    text = _kind(problem)
    # A service may repeat the key that it refuses.
    keys = [value.get_secret_value() for value in vars(model).values() if isinstance(value, SecretStr)]
    line = _first_line(problem, secrets=[key for key in keys if len(key) >= 8])
    if line != text:
        text = f"{text}: {line}"
    if isinstance(problem, (AssertionError, AttributeError, LookupError, TypeError, ValueError)):
        return f"the model could not be asked, or its answer not be read; check its URL and options: {text}"
    if (request := vars(problem).get("request")) is not None:
        text += redact(f" ({request.method} {request.url})")
    return f"the model could not be asked: {text}"


def _kind(value: object) -> str:
    return type(value).__name__


def _first_line(error: BaseException, *, secrets: Iterable[str] = ()) -> str:
    lines = str(error).strip().splitlines()
    line = lines[0] if lines else _kind(error)
    for secret in secrets:
        line = line.replace(secret, "[redacted]")
    return redact(line, limit=300)
