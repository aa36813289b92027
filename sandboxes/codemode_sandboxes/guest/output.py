"""The output of a program, counted and sent to the host; and how its exception is described."""

import codecs
import io
import linecache
import traceback
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

from codemode_sandboxes.guest.clock import real_monotonic

__all__ = ["FILENAME", "Failure", "Output", "describe", "last_line", "show_source", "text_stream", "waiting_line"]

_AT_ONCE = 64  # the first lines are sent one by one, so that the host has them even if the program is killed
_BATCH_BYTES = 4096
_BATCH_SECONDS = 0.05


class Output(io.RawIOBase):
    """A stream of bytes with a budget.

    Args:
        limit: Bytes that may be written in all.
        send: Takes text to the host.
        overflow: Called when the budget is used up; does not return.
    """

    def __init__(self, limit: int, send: Callable[[str], None], overflow: Callable[[], Any]) -> None:
        self._room, self._send, self._overflow = limit, send, overflow
        self._pending = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._sent = 0
        self._sent_at = real_monotonic()

    def writable(self) -> bool:
        """Return True: this is a stream for writing."""
        return True

    def write(self, data: Any) -> int:
        """Take bytes, and send them now or with those that follow."""
        chunk = bytes(data)
        self._pending += chunk[: self._room]
        self._room -= len(chunk)
        if self._room < 0:
            self.send_pending()
            self._overflow()
        if (
            (self._sent < _AT_ONCE and self._pending.endswith(b"\n"))
            or len(self._pending) >= _BATCH_BYTES
            or real_monotonic() - self._sent_at > _BATCH_SECONDS
        ):
            self.send_pending()
        return len(chunk)

    def send_pending(self) -> None:
        """Send what was written and not yet sent."""
        if self._pending:
            text = self._decoder.decode(bytes(self._pending))
            self._pending.clear()
            self._sent += 1
            self._sent_at = real_monotonic()
            if text:
                self._send(text)


def text_stream(output: Output) -> io.TextIOWrapper:
    """Return the text stream that stands in for `sys.stdout` and `sys.stderr`."""
    return io.TextIOWrapper(
        output,  # type: ignore[arg-type]
        encoding="utf-8",
        errors="backslashreplace",
        newline="\n",
        write_through=True,
    )


FILENAME = "<program>"

_MESSAGE = 4000
_TRACEBACK = 8000


class Failure:
    """The contents of a failed frame."""

    __slots__ = ("kind", "line", "message", "traceback", "type")

    def __init__(self, kind: str, type: str, message: str, line: int | None = None, traceback: str = "") -> None:
        self.kind, self.type, self.message, self.line, self.traceback = kind, type, message, line, traceback

    def as_dict(self) -> dict[str, Any]:
        """Return the frame's fields, within their bounds."""
        return {
            "kind": self.kind,
            "error": self.type,
            "message": self.message[:_MESSAGE],
            "line": self.line,
            "traceback": self.traceback[-_TRACEBACK:],
        }


def show_source(code: str) -> None:
    """Make tracebacks show the program's lines."""
    linecache.cache[FILENAME] = (len(code), None, code.splitlines(keepends=True), FILENAME)


def describe(error: BaseException, kind: str = "program") -> Failure:
    """Describe an exception, with the program's own frames alone."""
    try:
        summary = traceback.TracebackException.from_exception(error)
        return _describe(error, summary, kind)
    except (MemoryError, RecursionError):  # of the program, which has left too little for a traceback
        return Failure(kind, type(error).__name__, "", last_line(error.__traceback__))


def _describe(error: BaseException, summary: traceback.TracebackException, kind: str) -> Failure:
    for part in _parts(summary):
        part.stack = traceback.StackSummary.from_list([frame for frame in part.stack if frame.filename == FILENAME])
    line = summary.stack[-1].lineno if summary.stack else None
    if line is None and isinstance(error, SyntaxError) and error.filename == FILENAME:
        line = error.lineno
    if line is None and isinstance(
        error.__cause__, StopIteration
    ):  # Python says of it that it left the coroutine, not where
        line = last_line(error.__cause__.__traceback__)
    return Failure(kind, type(error).__name__, _message(error), line, "".join(summary.format()))


def waiting_line(awaited: Any) -> int | None:
    """Return the program's innermost line in a chain of suspended coroutines; None where there is none."""
    line = None
    while awaited is not None:
        frame: FrameType | None = None
        for prefix in ("cr", "ag", "gi"):
            frame = frame or getattr(awaited, f"{prefix}_frame", None)
        if frame is not None and frame.f_code.co_filename == FILENAME:
            line = frame.f_lineno
        awaited = next(
            (
                getattr(awaited, name)
                for name in ("cr_await", "ag_await", "gi_yieldfrom")
                if getattr(awaited, name, None) is not None
            ),
            None,
        )
    return line


def last_line(trace: TracebackType | None) -> int | None:
    """Return the program's innermost line in a traceback, without allocating much; None where there is none."""
    line = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILENAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _parts(summary: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    seen: set[int] = set()
    rest: list[traceback.TracebackException | None] = [summary]
    while rest:
        part = rest.pop()
        if part is not None and id(part) not in seen:
            seen.add(id(part))
            yield part
            rest += [part.__cause__, part.__context__, *(part.exceptions or ())]


def _message(error: BaseException) -> str:
    try:
        if isinstance(error, SyntaxError):
            return str(error.msg)
        return str(error)
    except Exception:
        return f"<the message of this {type(error).__name__} cannot be read>"
