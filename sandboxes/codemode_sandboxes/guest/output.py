"""What a program prints: counted, and sent to the host."""

import codecs
import io
from collections.abc import Callable
from typing import Any

from codemode_sandboxes.guest.clock import real_monotonic

__all__ = ["Output", "text_stream"]

_AT_ONCE = 64  # the first lines are sent as they come, so that they are known even if the program is killed
_BATCH_BYTES = 4096
_BATCH_SECONDS = 0.05


class Output(io.RawIOBase):
    """A byte stream with a budget.

    Args:
        limit: Bytes that may be written in all.
        send: Takes text to the host.
        overflow: Called when the budget is used up; does not return.
    """

    def __init__(self, limit: int, send: Callable[[str], None], overflow: Callable[[], Any]) -> None:
        self._left, self._send, self._overflow = limit, send, overflow
        self._pending = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._sent = 0
        self._sent_at = real_monotonic()

    def writable(self) -> bool:
        """Be a stream for writing."""
        return True

    def write(self, data: Any) -> int:
        """Take bytes; they reach the host now or a little later."""
        chunk = bytes(data)
        self._pending += chunk[: self._left]
        self._left -= len(chunk)
        if self._left < 0:
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
        """Send what was written and not sent yet."""
        if self._pending:
            text = self._decoder.decode(bytes(self._pending))
            self._pending.clear()
            self._sent += 1
            self._sent_at = real_monotonic()
            if text:
                self._send(text)


def text_stream(output: Output) -> io.TextIOWrapper:
    """Give the text stream that stands for `sys.stdout` and `sys.stderr`."""
    return io.TextIOWrapper(
        output,  # type: ignore[arg-type]
        encoding="utf-8",
        errors="backslashreplace",
        newline="\n",
        write_through=True,
    )
