"""LangSmith's ingest on loopback, as its client talks to it: `/info`, then multipart posts; and OTLP over HTTP."""

import gzip
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

__all__ = ["Ingest", "Run", "ingest"]

INFO = {
    "version": "0.12.0",
    "instance_flags": {"zstd_compression_enabled": True},
    "batch_ingest_config": {
        "use_multipart_endpoint": True,
        "size_limit": 100,
        "size_limit_bytes": 20_000_000,
        "scale_up_nthreads_limit": 4,
        "scale_up_qsize_trigger": 100,
        "scale_down_nempty_trigger": 4,
    },
}


@dataclass(kw_only=True)
class Run:
    """A run as LangSmith has it, put together from what was posted and patched."""

    data: dict[str, Any]
    children: list["Run"] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return self.data.get(name)

    @property
    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = (self.data.get("extra") or {}).get("metadata") or {}
        return found

    def walk(self) -> Iterator["Run"]:
        """This run and all below it, in the order of their begin."""
        yield self
        for child in self.children:
            yield from child.walk()

    def all(self, name: str) -> list["Run"]:
        """The runs of this name."""
        return [run for run in self.walk() if run.name == name]

    def outline(self) -> list[Any]:
        """Kind and name of each run, with those below it."""
        here = f"{self.run_type} {self.name}"
        return [
            here,
            *(child.outline() if child.children else f"{child.run_type} {child.name}" for child in self.children),
        ]


@dataclass
class Ingest:
    """The runs that have come in."""

    url: str = ""
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def raw(self) -> str:
        """All that was sent."""
        return b"\n".join(self.bodies).decode(errors="replace")

    def roots(self) -> list[Run]:
        """The traces, oldest first."""
        runs = {id: Run(data=data) for id, data in sorted(self.runs.items(), key=lambda item: item[1]["dotted_order"])}
        for run in runs.values():
            if run.parent_run_id is not None:
                runs[run.parent_run_id].children.append(run)
        return [run for run in runs.values() if run.parent_run_id is None]

    def root(self) -> Run:
        """The only trace."""
        (run,) = self.roots()
        assert {each.trace_id for each in run.walk()} == {run.id}
        return run

    def take(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        """Read a request."""
        self.paths.append(path)
        self.bodies.append(body)
        if path.endswith("/v1/traces"):
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        elif path.endswith("/runs/multipart"):
            head = f"content-type: {headers['content-type']}\r\n\r\n".encode()
            for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
                name = part.get_param("name", header="content-disposition")
                kind, id, *rest = str(name).split(".")
                if kind in ("post", "patch"):
                    content = json.loads(part.get_payload(decode=True) or b"null")  # type: ignore[arg-type]
                    self._merge(id, {rest[0]: content} if rest else content)
        elif path.endswith("/runs/batch"):
            update = json.loads(body)
            for each in [*update.get("post", ()), *update.get("patch", ())]:
                self._merge(each["id"], each)

    def _merge(self, id: str, update: dict[str, Any]) -> None:
        run = self.runs.setdefault(id, {})
        run |= {key: value for key, value in update.items() if value is not None and key != "extra"}
        if update.get("extra"):
            extra = run.setdefault("extra", {})
            metadata = {**extra.get("metadata", {}), **update["extra"].get("metadata", {})}
            extra |= {**update["extra"], "metadata": metadata}


@contextmanager
def ingest() -> Iterator[Ingest]:
    """Take in what clients send."""
    found = Ingest()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(INFO)

        def do_POST(self) -> None:
            body = b"".join(self._chunks())
            match self.headers.get("content-encoding"):
                case "zstd":
                    body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
                case "gzip":
                    body = gzip.decompress(body)
            with lock:
                found.take(self.path, self.headers, body)  # type: ignore[arg-type]
            self._answer({})

        do_PATCH = do_POST

        def _chunks(self) -> Iterator[bytes]:
            if self.headers.get("transfer-encoding") != "chunked":
                yield self.rfile.read(int(self.headers.get("content-length", 0)))
                return
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()

        def _answer(self, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    lock = threading.Lock()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
