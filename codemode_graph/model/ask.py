"""The request to the model for a program, and its answer."""

import asyncio
import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from pydantic import SecretStr, ValidationError

from codemode_graph.errors import ConfigurationError
from codemode_graph.model.reply import read_reply
from codemode_graph.model.thoughts import is_thought_name
from codemode_graph.redact import redact
from codemode_graph.state import Finding
from codemode_graph.tools.text import one_line

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

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


class Answer(NamedTuple):
    """The answer to one request.

    Attributes:
        model: The model's name.
        usage: `input_tokens`, `output_tokens` and `total_tokens`; zeros where the model does not report them.
        seconds: Duration of the request.
        program: The program, or an empty string where the reply has none.
        thoughts: The model's words about it.
        error: Why the request failed; None where there is a reply.
        finding: Why a reply has no program, for the model to be asked again; None where it has one.
    """

    model: str
    usage: Mapping[str, int]
    seconds: float
    program: str = ""
    thoughts: str = ""
    error: str | None = None
    finding: Finding | None = None


def load_model(model: "str | BaseChatModel", *, api_key: str | None = None) -> "BaseChatModel":
    """Return a chat model that reports its usage and works in any event loop.

    Args:
        model: A provider string such as `openai:gpt-5.2` (anything `init_chat_model` takes), or a chat model.
        api_key: For a model named by a string; without it, the provider's environment variable is used.

    Raises:
        ConfigurationError: The name is not known, its package is not installed, or its key is missing.
    """
    # Runs of programs have no model, and the class takes a twentieth of all that is imported.
    from langchain_core.language_models import BaseChatModel

    if isinstance(model, BaseChatModel):
        return _prepare(model)
    if not isinstance(model, str):
        raise ConfigurationError(f"a model is a chat model or a string such as 'openai:gpt-5.2', not {_kind(model)}")
    if not model:
        raise ConfigurationError("a model is a chat model or a string such as 'openai:gpt-5.2', not an empty one")
    # A provider's client is content with an empty name, and the service refuses it only after everything has started.
    if not model.partition(":")[2].strip() and ":" in model:
        raise ConfigurationError(f"model {model!r} has no name behind its provider: write it as 'openai:gpt-5.2'")
    # Only a model that is named needs all of LangChain.
    from langchain.chat_models import init_chat_model

    try:
        options: dict[str, Any] = {} if api_key is None else {"api_key": api_key}
        return _prepare(init_chat_model(model, **options))
    except ImportError as error:
        raise ConfigurationError(f"model {model!r} needs another package: {_first_line(error)}") from error
    except Exception as error:
        raise ConfigurationError(f"model {model!r} cannot be used: {_load_problem(model, error)}") from error


def _load_problem(model: str, error: Exception) -> str:
    reason = _first_line(error)
    if isinstance(error, ValidationError):  # its first line only counts the errors
        messages = (each["msg"].removeprefix("Value error, ") for each in error.errors(include_url=False))
        reason = redact(one_line("; ".join(messages), 400))
    if "model_provider" in reason:
        provider, colon, _ = model.partition(":")
        hint = "write it as 'provider:model', such as 'openai:gpt-5.2'"
        return f"no provider is named {provider!r}; {hint}" if colon else f"its provider is missing: {hint}"
    key = re.search(r"\b[A-Z][A-Z_]*_API_KEY\b", reason)
    if key is not None and not os.environ.get(key[0]):
        return f"it has no key: set the environment variable {key[0]}"
    return reason


def _prepare(model: "BaseChatModel") -> "BaseChatModel":
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


_VARIETY = 0.6


def with_variety(model: "BaseChatModel") -> "BaseChatModel":
    """Return the model with a temperature at which it hardly gives the answer that it gave before.

    Only a temperature that its owner has set is raised: some models take none.
    """
    temperature = getattr(model, "temperature", None)
    if not isinstance(temperature, int | float) or temperature >= _VARIETY:
        return model
    return model.model_copy(update={"temperature": _VARIETY})


def is_structured(model: "BaseChatModel") -> bool:
    """Return whether the model's profile lists structured output."""
    return bool((model.profile or {}).get("structured_output"))


def model_name(model: "BaseChatModel") -> str:
    """Return the model's name, under which its usage is counted."""
    for attribute in ("model_name", "model"):
        name = getattr(model, attribute, None)
        if isinstance(name, str) and name:
            return name
    return type(model).__name__


async def ask(
    model: "BaseChatModel",
    messages: list[BaseMessage],
    *,
    structured: bool,
    timeout: float | None = None,
    config: RunnableConfig | None = None,
) -> Answer:
    """Ask once. Where the request fails the answer's `error` says so, and where the reply has no program, its `finding`.

    Args:
        model: The model.
        messages: The conversation.
        structured: Ask for `PROGRAM_SCHEMA` rather than for text with a fenced block.
        timeout: Seconds that the request may take, whatever the client of the model allows and tries again.
        config: Callbacks and tags.
    """
    started = time.monotonic()

    def answer(usage: Mapping[str, int], **fields: Any) -> Answer:
        return Answer(model=model_name(model), usage=usage, seconds=time.monotonic() - started, **fields)

    reply: AIMessage
    parsed: object = None
    bound = asyncio.timeout(timeout)
    try:
        async with bound:
            if structured:
                writer = model.with_structured_output(PROGRAM_SCHEMA, include_raw=True)
                result = await writer.with_config(run_name="structured program").ainvoke(messages, config)
                assert isinstance(result, dict)
                reply = result["raw"]
                # LangChain's parser completes truncated JSON: its result counts only for tool calls, not for JSON in text.
                parsed = result["parsed"] if reply.tool_calls else _json_object(_text(reply).replace(_APART, ""))
            else:
                reply = await model.ainvoke(messages, config)
    except Exception as problem:
        if bound.expired():
            return answer(_usage(None), error=f"the model did not answer within {timeout:g} seconds")
        # A truncated structured reply raises; its completion says how many tokens were spent.
        completion = getattr(problem, "completion", None)
        usage = _completion_usage(completion)
        if completion is not None and _is_cut(completion.choices[0].finish_reason):
            return answer(usage, finding=_finding("cut-off"))
        return answer(usage, error=_request_problem(problem, model))
    error = _stop_error(reply)
    program, thoughts, finding = _read(reply, parsed) if error is None else ("", "", None)
    return answer(_usage(reply.usage_metadata), program=program, thoughts=thoughts, error=error, finding=finding)


_CUT = {"length", "max_tokens", "max_output_tokens", "model_length", "token_limit", "model_context_window_exceeded"}
_FILTERED = {"content_filter", "content_filtered", "safety", "recitation", "blocklist", "prohibited_content"}
_REASONS = ("finish_reason", "stop_reason", "stopReason", "done_reason", "finishReason")
_NO_PROGRAM = {
    "cut-off": "the model's answer was cut off at its token limit: raise the model's max_tokens",
    "tool-calls": "the model called tools itself in place of writing a program: {}",
    "refusal": "the model wrote no program, but: {}",
    "no-program": "there is no program: write one that calls the tools and ends in the answer",
}
_LONGEST_WORDS = 500


def _finding(rule: str, words: str = "") -> Finding:
    words = " ".join(words.split())
    shown = words if len(words) <= _LONGEST_WORDS else f"{words[:_LONGEST_WORDS]}… ({len(words)} characters)"
    return Finding(rule=rule, message=_NO_PROGRAM[rule].format(shown), line=None)


def _read(reply: AIMessage, parsed: object) -> tuple[str, str, Finding | None]:
    """Return the program of a reply, the thoughts about it, and where there is no program why."""
    text = _text(reply)
    fields = parsed if isinstance(parsed, Mapping) and str(parsed.get("code") or "").strip() else None
    # Behind a whole JSON object there is nothing that could be missing; half a program may parse, and has half the effects.
    if _is_cut(_reason(reply)) and (reply.tool_calls or fields is None):
        return "", text.strip(), _finding("cut-off")
    reading = read_reply(str(fields["code"]) if fields else text)
    before = text.partition("```")[0] if "```" in text else ""
    thoughts = str(fields.get("thoughts") or "") if fields else before.replace(_APART, "").strip()
    if reading.lack is None:
        return reading.program, thoughts, None
    words = thoughts or text.replace(_APART, "").strip() or _refusal(reply)
    if reading.lack != "no-program":
        return "", words, Finding(rule=reading.lack, message=reading.why, line=None)
    calls = [] if fields is not None else [*reply.tool_calls, *reply.invalid_tool_calls]
    if calls:
        named = ", ".join(f"{call['name']}({json.dumps(call['args'], default=str)})" for call in calls)
        return "", words, _finding("tool-calls", f"{one_line(reading.words)} {named}")
    message = reading.words.strip() or _refusal(reply)
    if _CALL_TEXT.search(message):
        return "", words, _finding("tool-calls", message)
    return "", words, _finding("refusal" if message and "```" not in text else "no-program", message)


# Calls in the text formats of model families, which a server that knows no tools leaves in the text.
_CALL_TEXT = re.compile(
    r"<tool_calls?>|<[|｜]tool|\[TOOL_CALLS\]|<function[=_]|<invoke |\"(?:arguments|parameters)\"\s*:"
)
_APART = "<think></think>"


def _text(reply: AIMessage) -> str:
    """Return the text of a reply. A block of reasoning becomes a mark, so that the texts around it stay apart."""
    if isinstance(reply.content, str):
        return reply.content
    parts = []
    for block in reply.content:
        if isinstance(block, str):
            parts.append(block)
        elif is_thought_name(str(block.get("type"))):
            parts.append(_APART)
        elif block.get("type") in ("text", "output_text"):
            parts.append(str(block.get("text") or ""))
    return "".join(parts)


def _refusal(reply: AIMessage) -> str:
    blocks = [block for block in reply.content if isinstance(block, dict)]
    return "\n".join(str(part["refusal"]) for part in (reply.additional_kwargs, *blocks) if part.get("refusal"))


def _reason(reply: AIMessage) -> object:
    """Return why the service ended a reply, under the name that it has for this."""
    metadata = reply.response_metadata
    details = metadata.get("incomplete_details") or {}
    return details.get("reason") or next((metadata[name] for name in _REASONS if metadata.get(name)), None)


def _is_cut(reason: object) -> bool:
    return str(reason).lower() in _CUT


def _stop_error(reply: AIMessage) -> str | None:
    """Return why a reply cannot be used and asking again would not help; None otherwise."""
    reason, metadata = _reason(reply), reply.response_metadata
    if str(reason).lower() in _FILTERED:
        return "the model's answer was stopped by its content filter"
    # OpenAI ends every whole reply with a reason or a status; a stream without one lost its connection.
    if reason is None and metadata.get("model_provider") == "openai" and metadata.get("status") != "completed":
        return "the model's answer ended before it was complete: the connection was closed"
    return None


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text, strict=False)
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


def _request_problem(problem: Exception, model: "BaseChatModel") -> str:
    """Describe a failed request in one line."""
    completion = getattr(problem, "completion", None)
    if completion is not None and completion.choices[0].finish_reason in _FILTERED:
        return "the model's answer was stopped by its content filter"
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
