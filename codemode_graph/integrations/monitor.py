"""Monitoring for those who run a server: counters for Prometheus, and logs of accesses and of calls."""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from logging.handlers import WatchedFileHandler
from typing import Any

from codemode_graph.errors import ConfigurationError
from codemode_graph.events import Event
from codemode_graph.exact import encode
from codemode_graph.redact import redact
from codemode_graph.state import ToolCall

# It is part of an extra.
prometheus: Any = import_module("prometheus_client") if find_spec("prometheus_client") else None

__all__ = ["CallRecord", "JsonLog", "Monitor"]

_logger = logging.getLogger("codemode")
_MASK = "[redacted]"
_LONGEST = 4000  # characters of one text in a log: a program may be a megabyte


class JsonLog:
    """A log of JSON lines, one for each event. Texts are redacted, and long ones are cut.

    A file is created for its owner alone, and opened anew once it was moved away, as logrotate does it. That it cannot be
    written, on a full disk, is said once, and stops no call.

    Args:
        place: The file, or `-` for stderr.

    Raises:
        ConfigurationError: The file cannot be opened.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._handler: logging.StreamHandler[Any]
        try:
            if place == "-":
                self._handler = logging.StreamHandler(sys.stderr)
            else:
                # The handler would create it with the umask, readable for others where that says nothing.
                os.close(os.open(place, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600))
                self._handler = WatchedFileHandler(place, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(f"the log {place} cannot be opened: {error.strerror}") from None
        self._handler.handleError = self._say  # type: ignore[method-assign]
        self._has_warned = False

    def write(self, event: str, **fields: Any) -> None:
        """Write a line with the time, the name of the event, and these fields."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **_redacted(fields)}
        text = json.dumps(encode(line), ensure_ascii=True, default=str)
        self._handler.handle(logging.LogRecord("codemode", logging.INFO, "", 0, text, None, None))

    def close(self) -> None:
        """Close the file."""
        self._handler.close()

    def _say(self, record: logging.LogRecord) -> None:
        if not self._has_warned:
            self._has_warned = True
            _logger.error("the log %s cannot be written: %s", self._place, sys.exc_info()[1])


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value, limit=_LONGEST)
    if isinstance(value, Mapping):
        return {str(name): _MASK if _is_secret(str(name)) else _redacted(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(item) for item in value]
    return value


@lru_cache(maxsize=1000)
def _is_secret(name: str) -> bool:
    """Return True where the name of a value says that it is a credential, by the patterns of `redact`."""
    return _MASK in redact(f"{name}=value")


@dataclass(slots=True, kw_only=True)
class CallRecord:
    """A client's call, for the log of calls.

    Attributes:
        tool: The tool of the server that is called.
        client: Who calls.
        run: The id of the run.
        failed: Tool calls that have failed.
        ended: The ids of the tool calls that have ended.
        started: The ids of the tool calls that have started.
    """

    tool: str
    client: Mapping[str, Any]
    run: str
    failed: int = 0
    ended: set[str] = field(default_factory=set)
    started: set[str] = field(default_factory=set)
    _log: JsonLog | None = field(default=None, repr=False)

    def write(self, event: str, **fields: Any) -> None:
        """Write a line about this call."""
        if self._log is not None:
            self._log.write(event, run=self.run, **fields)


class Monitor:
    """Counts what clients do, and writes it down.

    Args:
        access: The log of HTTP requests; None writes none.
        audit: The log of calls: who has which program run, and which tools it calls; None writes none.

    Raises:
        ConfigurationError: A log cannot be opened.
    """

    def __init__(self, *, access: str | None = None, audit: str | None = None) -> None:
        self.access = None if access is None else JsonLog(access)
        self.audit = None if audit is None else JsonLog(audit)
        self._counters = None if prometheus is None else _Counters()

    def close(self) -> None:
        """Close the logs."""
        for log in (self.access, self.audit):
            if log is not None:
                log.close()

    def gauge(self, name: str, description: str, function: Callable[[], float]) -> None:
        """Add a number that is asked for whenever the metrics are."""
        if self._counters is not None:
            prometheus.Gauge(name, description, registry=self._counters.registry).set_function(function)

    def begin(self, tool: str, run: str, client: Mapping[str, Any], **fields: Any) -> CallRecord:
        """Write that a client's call has come, and return its record."""
        record = CallRecord(tool=tool, client=client, run=run, _log=self.audit)
        record.write("call", tool=tool, client=client, **fields)
        return record

    def note(self, record: CallRecord, event: Event) -> None:
        """Note an event of a call's run: what its program calls, and what waits for a person."""
        match event["type"]:
            case "check":
                record.write("program", program=event["program"])
            case "call_started":
                record.started.add(event["id"])
                record.write("tool_call", id=event["id"], tool=event["tool"], arguments=event["arguments"])
            case "call_finished":
                error = event["error"] and event["error"]["message"]
                self._end_tool_call(record, event, seconds=event["seconds"], error=error)
            case "call_answered":
                record.write("tool_answered", id=event["id"], tool=event["tool"])
            case "call_pending":
                record.write("tool_waits", id=event["id"], tool=event["tool"], arguments=event["arguments"])

    def complete(self, record: CallRecord, calls: Iterable[ToolCall]) -> None:
        """Write the tool calls that are recorded of a run and whose events did not come, because it was cut short."""
        for call in calls:
            # The events of a task that is cancelled are lost in the stream of its graph; its journal has them.
            if call["id"] not in record.started and call["status"] not in ("not_started", "denied"):
                record.started.add(call["id"])
                record.write("tool_call", id=call["id"], tool=call["tool"], arguments=call["arguments"])
            if call["id"] in record.started - record.ended:
                self._end_tool_call(record, call, error=call["error"] and call["error"]["message"])

    def _end_tool_call(self, record: CallRecord, call: Mapping[str, Any], **fields: Any) -> None:
        record.ended.add(call["id"])
        record.failed += fields["error"] is not None
        record.write("tool_result", id=call["id"], tool=call["tool"], status=call["status"], **fields)
        if self._counters is not None:
            self._counters.tool_calls.labels(call["tool"], call["status"]).inc()

    def end(self, record: CallRecord, outcome: str, seconds: float, **fields: Any) -> None:
        """Write how a client's call has ended, and count it."""
        fields |= {"tool_calls": len(record.ended), "tool_errors": record.failed}
        record.write(
            "end", tool=record.tool, outcome=outcome, seconds=round(seconds, 4), client=record.client, **fields
        )
        if self._counters is not None:
            self._counters.calls.labels(record.tool, outcome).inc()
            self._counters.seconds.labels(record.tool).observe(seconds)

    def request(self, *, method: str, path: str, status: int, seconds: float, **fields: Any) -> None:
        """Write and count an HTTP request that has ended."""
        if self.access is not None:
            self.access.write("request", method=method, path=path, status=status, seconds=round(seconds, 4), **fields)
        if self._counters is not None:
            self._counters.requests.labels(method, str(status)).inc()

    def metrics(self) -> tuple[bytes, str] | None:
        """Return the metrics in Prometheus' form, and its media type; None where its client is not installed."""
        if self._counters is None:
            return None
        return prometheus.generate_latest(self._counters.registry), prometheus.CONTENT_TYPE_LATEST


class _Counters:
    def __init__(self) -> None:
        self.registry = registry = prometheus.CollectorRegistry()
        # A registry of its own: two servers in one process would else register the same names twice.
        prometheus.ProcessCollector(registry=registry)
        self.calls = prometheus.Counter(
            "codemode_calls", "Calls of clients that have ended.", ["tool", "outcome"], registry=registry
        )
        self.seconds = prometheus.Histogram(
            "codemode_call_seconds", "Seconds of a client's call, its wait included.", ["tool"], registry=registry
        )
        self.tool_calls = prometheus.Counter(
            "codemode_tool_calls", "Calls of tools by programs that have ended.", ["tool", "status"], registry=registry
        )
        self.requests = prometheus.Counter(
            "codemode_http_requests", "HTTP requests that have ended.", ["method", "status"], registry=registry
        )
