"""An OpenAI-compatible service on loopback: chat completions and Responses, in one piece and streamed."""

import json
import re
import select
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.wire.payloads import Api, Fault, Json, Reply, answer, events, failure, schema_of

__all__ = ["Request", "Service"]

APIS: dict[str, Api] = {"/v1/chat/completions": "chat", "/v1/responses": "responses"}


@dataclass(slots=True)
class Request:
    """One request, as it came.

    Attributes:
        usage: Input and output tokens that were reported with the answer.
        dropped: Set when the client hung up before the answer was complete.
    """

    api: Api
    body: Json
    headers: dict[str, str]
    usage: tuple[int, int] = (0, 0)
    dropped: threading.Event = field(default_factory=threading.Event)


class Service:
    """Sends `replies` in turn, repeats the last, and records `requests`. Use it with `with`.

    Args:
        replies: What is answered to requests that are valid; a string is a text.
        key: The API key that is let in.
        models: The models there are.
    """

    def __init__(
        self,
        *replies: Reply | Fault | str,
        key: str = "sk-proj-wireTest0123456789abcdefABCDEF",
        models: Iterable[str] = ("gpt-5.2", "gpt-4.1", "local-model"),
    ) -> None:
        self.key, self.models = key, frozenset(models)
        self.script(*replies)
        self._lock = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="openai-service")

    def script(self, *replies: Reply | Fault | str) -> None:
        """Begin anew: answer these, and forget what was asked."""
        self.replies = [Reply(text=reply) if isinstance(reply, str) else reply for reply in replies]
        self.requests: list[Request] = []
        self.asked = threading.Event()

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def usage(self) -> tuple[int, int]:
        """Input and output tokens reported in all."""
        return sum(r.usage[0] for r in self.requests), sum(r.usage[1] for r in self.requests)

    def take(self, request: Request) -> tuple[int, Reply | Fault]:
        """Number a request and give what it is answered."""
        with self._lock:
            self.requests.append(request)
            number = len(self.requests)
        self.asked.set()
        return number, self._refused(request) or self.replies[min(number, len(self.replies)) - 1]

    def _refused(self, request: Request) -> Fault | None:
        body, authorization = request.body, request.headers.get("authorization", "")
        key = authorization.removeprefix("Bearer ")
        if not authorization.startswith("Bearer "):
            return failure(401, "Missing bearer or basic authentication in header")
        if key != self.key:
            shown = f"{key[:8]}{'*' * max(0, len(key) - 12)}{key[-4:]}" if len(key) > 12 else key
            where = "You can find your API key at https://platform.openai.com/account/api-keys."
            return failure(401, f"Incorrect API key provided: {shown}. {where}", code="invalid_api_key")
        if body.get("model") not in self.models:
            message = f"The model `{body.get('model')}` does not exist or you do not have access to it."
            return failure(404, message, code="model_not_found")
        conversation = body.get("messages" if request.api == "chat" else "input")
        if not conversation:
            return failure(400, "Missing required parameter: 'messages'.", code="missing_required_parameter")
        if fault := _tools_fault(request.api, body) or _unanswered(request.api, conversation):
            return fault
        schema = schema_of(request.api, body)
        return None if schema is None else _schema_fault(schema)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.end()


def _tools_fault(api: Api, body: Json) -> Fault | None:
    """Return the error about tools in the other API's shape, and of schemas that are not strict though they say so."""
    for at, tool in enumerate(body.get("tools", ())):
        name = f"tools[{at}].function" if api == "chat" else f"tools[{at}].name"
        function = tool.get("function") if api == "chat" else tool
        if not function or not function.get("name"):
            return failure(400, f"Missing required parameter: '{name}'.", code="missing_required_parameter")
        schema = function["parameters"]
        strict = schema.get("additionalProperties") is False and set(schema["required"]) == set(schema["properties"])
        if function.get("strict") and not strict:
            return failure(
                400, f"Invalid schema for function '{function['name']}'.", code="invalid_function_parameters"
            )
    return None


def _unanswered(api: Api, conversation: str | list[Json]) -> Fault | None:
    """Return the error about a conversation in which a tool call has no answer."""
    if isinstance(conversation, str):
        return None
    if api == "chat":
        called = [call["id"] for message in conversation for call in message.get("tool_calls") or ()]
        answered = [message["tool_call_id"] for message in conversation if message["role"] == "tool"]
        message = "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'."
    else:
        called = [item["call_id"] for item in conversation if item.get("type") == "function_call"]
        answered = [item["call_id"] for item in conversation if item.get("type") == "function_call_output"]
        message = "No tool output found for function call."
    return failure(400, message) if sorted(called) != sorted(answered) else None


def _schema_fault(form: Json) -> Fault | None:
    """Return the error about a `json_schema` that it cannot use."""
    if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", form.get("name", "")):
        return failure(400, "Missing or invalid 'response_format.json_schema.name'.", code="missing_required_parameter")
    schema = form.get("schema", {})
    if not form.get("strict"):
        return None
    if schema.get("additionalProperties") is not False or set(schema["required"]) != set(schema["properties"]):
        return failure(400, f"Invalid schema for response_format '{form['name']}'.", code="invalid_json_schema")
    return None


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    service: Service

    def __init__(self, service: Service) -> None:
        self.service = service
        self.open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def end(self) -> None:
        """Hang up on everybody, and wait for the threads."""
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        api = APIS.get(self.path)
        if api is None:
            return self._send(failure(404, f"Invalid URL (POST {self.path})"))
        request = Request(api, body, {name.lower(): value for name, value in self.headers.items()})
        number, reply = self.server.service.take(request)
        try:
            if isinstance(reply, Fault):
                return self._send(reply)
            self._wait(reply.delay)
            return self._stream(request, number, reply) if body.get("stream") else self._whole(request, number, reply)
        except ConnectionError:
            request.dropped.set()
            raise

    def _wait(self, seconds: float) -> None:
        if seconds and select.select([self.connection], [], [], seconds)[0]:
            raise ConnectionAbortedError("the client hung up")

    def _send(self, answer: Fault, *, share: float = 1.0) -> None:
        raw = answer.body.encode()
        self.send_response(answer.status)
        for name, value in (*answer.headers, ("content-type", answer.content_type), ("content-length", str(len(raw)))):
            self.send_header(name, value)
        self.send_header("x-request-id", f"req_{len(self.server.service.requests):06}")
        self.end_headers()
        self.wfile.write(raw[: int(len(raw) * share)])

    def _whole(self, request: Request, number: int, reply: Reply) -> None:
        body = answer(request.api, number, request.body, reply)
        if reply.breaks:
            self._send(Fault(status=200, body=json.dumps(body)), share=0.5)
            return self._cut()
        request.usage = _counts(body["usage"])
        return self._send(Fault(status=200, body=json.dumps(body)))

    def _stream(self, request: Request, number: int, reply: Reply) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        total = sum(1 for _ in events(request.api, number, request.body, reply))
        for at, (name, data) in enumerate(events(request.api, number, request.body, reply)):
            if reply.breaks and at == total // 2:
                return self._break_off(request.api, reply, at)
            if used := (data.get("response") or data).get("usage"):
                request.usage = _counts(used)
            self._event(name, json.dumps(data))
        if request.api == "chat":
            self._event(None, "[DONE]")
        self.wfile.write(b"0\r\n\r\n")
        return None

    def _break_off(self, api: Api, reply: Reply, at: int) -> None:
        if reply.breaks == "cut":
            return self._cut()
        if reply.breaks == "error":
            message = "The server had an error while processing your request. Sorry about that!"
            error: Json = {"type": "server_error", "code": "server_error", "message": message, "param": None}
            if api == "chat":
                self._event(None, json.dumps({"error": error}))
            else:
                self._event("error", json.dumps({**error, "type": "error", "sequence_number": at}))
        self.wfile.write(b"0\r\n\r\n")
        return None

    def _event(self, name: str | None, data: str) -> None:
        raw = (f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")

    def _cut(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _counts(usage: Json) -> tuple[int, int]:
    first, second = (n for n in usage if n in ("prompt_tokens", "input_tokens", "completion_tokens", "output_tokens"))
    return usage[first], usage[second]
