"""A server between a way to do tasks and the model: it sets the sampling of every request, and counts what they take."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

__all__ = ["Meter", "Usage"]

REQUEST_SECONDS = 600


@dataclass(slots=True)
class Usage:
    """The cost of the requests since the last look.

    Attributes:
        model_calls: The requests that were answered.
        input_tokens: The tokens that the model was given, those that its server had cached included.
        output_tokens: The tokens that it wrote.
        refused: The messages of requests that the model's server refused.
    """

    model_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    refused: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the usage as JSON values."""
        return asdict(self)


class Meter:
    """Passes chat completions on. Every system has a client of its own; here all of them are asked and counted alike."""

    def __init__(self, base_url: str, sampling: Mapping[str, Any]) -> None:
        """Make the server; it answers once it is entered.

        Args:
            base_url: That of the model's server, with its `/v1`.
            sampling: Fields of each request. A request keeps its own `temperature` where that is higher: a system may
                ask anew with another.
        """
        self._base_url = base_url.rstrip("/")
        self.sampling = dict(sampling)
        self._usage = Usage()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """The base URL for the clients."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def take(self) -> Usage:
        """Return the usage since the last call of this, and begin anew."""
        usage, self._usage = self._usage, Usage()
        return usage

    def _body(self, body: dict[str, Any]) -> dict[str, Any]:
        # The most tokens of an answer has two names; a server that knows only one would ignore the other.
        body.pop("max_completion_tokens", None)
        temperature = max(self.sampling["temperature"], body.get("temperature") or 0)
        return {**body, **self.sampling, "temperature": temperature}

    def _pass_on(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        if body.pop("stream", False):
            return 400, b'{"error": {"message": "this server does not stream"}}'
        request = urllib.request.Request(
            self._base_url + path.removeprefix("/v1"),
            data=json.dumps(self._body(body)).encode(),
            headers={"Content-Type": "application/json"},
        )
        usage = self._usage
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as reply:
                status, text = reply.status, reply.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
            usage.refused.append(text.decode(errors="replace")[:300])
            return status, text
        counted = json.loads(text).get("usage") or {}
        usage.model_calls += 1
        usage.input_tokens += counted.get("prompt_tokens", 0)
        usage.output_tokens += counted.get("completion_tokens", 0)
        return status, text

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        meter = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, text = meter._pass_on(self.path, body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_arguments: object) -> None:
                pass

        return Handler
