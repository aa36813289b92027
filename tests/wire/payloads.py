"""Responses of an OpenAI-compatible service: bodies and stream events of chat completions and of Responses."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal, TypeAlias

__all__ = ["Api", "Fault", "Json", "Reply", "answer", "events", "failure", "rate_limited", "schema_of", "server_error"]

Json: TypeAlias = dict[str, Any]
Api: TypeAlias = Literal["chat", "responses"]

CREATED = 1_795_000_000
PIECE = 12
"""Characters in one stream event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A reply of the model.

    Attributes:
        text: Its words.
        code: A program, put as the request asks: in JSON where it gives a schema, else in a fenced block.
        thoughts: What goes with the program.
        refusal: Why it will not.
        calls: The tools that it calls, with arguments as it writes them: by name and JSON. Not for streams.
        finish: "length" is an answer cut off at the token limit.
        delay: Seconds until the answer begins.
        breaks: How a streamed answer ends too soon, after a few events: the connection is cut, the body just ends, or an
            error event is sent. An answer in one piece is cut in any of the cases.
    """

    text: str = ""
    code: str = ""
    thoughts: str = "I call the tools."
    refusal: str | None = None
    calls: tuple[tuple[str, str], ...] = ()
    finish: Literal["stop", "length", "content_filter"] = "stop"
    delay: float = 0.0
    breaks: Literal["cut", "ends", "error"] | None = None

    def written(self, api: Api, body: Json) -> str:
        """The text of the answer to this request."""
        if not self.code:
            return self.text
        if schema_of(api, body):
            return json.dumps({"thoughts": self.thoughts, "code": self.code})
        return f"{self.thoughts}\n\n```python\n{self.code.strip()}\n```"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An answer that is none: sent as it is."""

    status: int
    body: str
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def failure(status: int, message: str, *, type: str = "invalid_request_error", code: str | None = None) -> Fault:
    """An error body of the service."""
    error = {"message": message, "type": type, "param": None, "code": code}
    return Fault(status=status, body=json.dumps({"error": error}, indent=4))


def rate_limited(retry_after: float) -> Fault:
    """Too many requests."""
    message = (
        "Rate limit reached for gpt-5.2 in organization org-x on tokens per min (TPM): Limit 30000, Used 29000, "
        f"Requested 2000. Please try again in {retry_after}s. Visit https://platform.openai.com/account/rate-limits "
        "to learn more."
    )
    fault = failure(429, message, type="tokens", code="rate_limit_exceeded")
    return Fault(status=fault.status, body=fault.body, headers=(("retry-after", f"{retry_after}"),))


def server_error() -> Fault:
    """Something broke at the service."""
    return failure(500, "The server had an error while processing your request. Sorry about that!", type="server_error")


def schema_of(api: Api, body: Json) -> Json | None:
    """The `json_schema` that a request asks to be answered with."""
    form: Json | None = body.get("response_format") if api == "chat" else (body.get("text") or {}).get("format")
    if not form or form["type"] != "json_schema":
        return None
    schema: Json = form["json_schema"] if api == "chat" else form
    return schema


def usage_of(api: Api, body: Json, reply: Reply) -> Json:
    """The tokens of a request and its answer, in the words of the API; they differ from request to request."""
    tokens_in = len(json.dumps(body["messages" if api == "chat" else "input"])) // 4
    tokens_out = 8 + len(reply.written(api, body) + (reply.refusal or "")) // 4
    cached, reasoning = {"cached_tokens": tokens_in // 2}, {"reasoning_tokens": 8}
    names = ("prompt", "completion") if api == "chat" else ("input", "output")
    return {
        f"{names[0]}_tokens": tokens_in,
        f"{names[0]}_tokens_details": cached,
        f"{names[1]}_tokens": tokens_out,
        f"{names[1]}_tokens_details": reasoning,
        "total_tokens": tokens_in + tokens_out,
    }


def answer(api: Api, number: int, body: Json, reply: Reply) -> Json:
    """The body of an answer in one piece."""
    if api == "responses":
        return _response(number, body, reply)
    message: Json = {
        "role": "assistant",
        "content": reply.written(api, body),
        "refusal": reply.refusal,
        "annotations": [],
    }
    if reply.refusal:
        message["content"] = None
    if reply.calls:
        functions = [{"name": name, "arguments": arguments} for name, arguments in reply.calls]
        ids = _call_ids(number, reply)
        message["content"] = None
        message["tool_calls"] = [
            {"id": id, "type": "function", "function": function} for id, function in zip(ids, functions, strict=True)
        ]
    finish = "tool_calls" if reply.calls else reply.finish
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return {**_head(number, body, "chat.completion"), "choices": [choice], "usage": usage_of(api, body, reply)}


def _call_ids(number: int, reply: Reply) -> list[str]:
    return [f"call_{number:04}{at:02}" for at in range(len(reply.calls))]


def events(api: Api, number: int, body: Json, reply: Reply) -> Iterator[tuple[str | None, Json]]:
    """Names and data of a stream's events."""
    assert not reply.calls, "tool calls are answered in one piece only"
    return _chunks(number, body, reply) if api == "chat" else _response_events(number, body, reply)


def _head(number: int, body: Json, kind: str) -> Json:
    return {
        "id": f"chatcmpl-B9MBs8CjcvOU2jLn4n570S{number:06}",
        "object": kind,
        "created": CREATED,
        "model": f"{body['model']}-2026-08-07",
        "service_tier": "default",
        "system_fingerprint": "fp_b376dfbbd5",
    }


def _chunks(number: int, body: Json, reply: Reply) -> Iterator[tuple[str | None, Json]]:
    counted = bool((body.get("stream_options") or {}).get("include_usage"))
    head = _head(number, body, "chat.completion.chunk") | ({"usage": None} if counted else {})

    def chunk(delta: Json, finish: str | None = None) -> tuple[None, Json]:
        return None, {**head, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}

    name = "refusal" if reply.refusal else "content"
    yield chunk({"role": "assistant", "content": None if reply.refusal else "", "refusal": None})
    for piece in _pieces(reply.refusal or reply.written("chat", body)):
        yield chunk({name: piece})
    yield chunk({}, reply.finish)
    if counted:
        yield None, {**head, "choices": [], "usage": usage_of("chat", body, reply)}


def _response(number: int, body: Json, reply: Reply) -> Json:
    reasons = {"stop": None, "length": {"reason": "max_output_tokens"}, "content_filter": {"reason": "content_filter"}}
    status = "completed" if reply.finish == "stop" else "incomplete"
    reasoning = {"id": f"rs_67ccd2bf17f0{number:06}", "type": "reasoning", "summary": []}
    message = {**_message(number), "status": status, "content": [_part(body, reply)]}
    calls = [
        {
            "id": f"fc_{id}",
            "type": "function_call",
            "status": status,
            "call_id": id,
            "name": name,
            "arguments": arguments,
        }
        for id, (name, arguments) in zip(_call_ids(number, reply), reply.calls, strict=True)
    ]
    return {
        "id": f"resp_67ccd2bed1ec8190{number:06}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": reasons[reply.finish],
        "instructions": None,
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": {},
        "model": f"{body['model']}-2026-08-07",
        "output": [reasoning, *(calls or [message])],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": "medium", "summary": None},
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage_of("responses", body, reply),
    }


def _message(number: int) -> Json:
    return {
        "id": f"msg_67ccd2bf17f0{number:06}",
        "type": "message",
        "role": "assistant",
        "status": "in_progress",
        "content": [],
    }


def _part(body: Json, reply: Reply) -> Json:
    if reply.refusal:
        return {"type": "refusal", "refusal": reply.refusal}
    return {"type": "output_text", "text": reply.written("responses", body), "annotations": [], "logprobs": []}


def _response_events(number: int, body: Json, reply: Reply) -> Iterator[tuple[str | None, Json]]:
    numbers = count()
    done = _response(number, body, reply)
    started = {**done, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    reasoning, message = done["output"]
    place = {"item_id": message["id"], "output_index": 1, "content_index": 0}
    field, kind = ("refusal", "refusal") if reply.refusal else ("text", "output_text")
    text = reply.refusal or reply.written("responses", body)
    more: Json = {} if reply.refusal else {"logprobs": []}

    def event(name: str, **data: Any) -> tuple[str, Json]:
        return f"response.{name}", {"type": f"response.{name}", "sequence_number": next(numbers), **data}

    yield event("created", response=started)
    yield event("in_progress", response=started)
    yield event("output_item.added", output_index=0, item=reasoning)
    yield event("output_item.done", output_index=0, item=reasoning)
    yield event("output_item.added", output_index=1, item=_message(number))
    yield event("content_part.added", **place, part={**_part(body, reply), field: ""})
    for piece in _pieces(text):
        yield event(f"{kind}.delta", **place, delta=piece, **more)
    yield event(f"{kind}.done", **place, **{field: text}, **more)
    yield event("content_part.done", **place, part=_part(body, reply))
    yield event("output_item.done", output_index=1, item=message)
    yield event(done["status"], response=done)


def _pieces(text: str) -> Iterator[str]:
    return (text[at : at + PIECE] for at in range(0, len(text), PIECE))
