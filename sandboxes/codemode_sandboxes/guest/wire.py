"""Frames over two byte functions: one JSON object a line."""

import json
from collections.abc import Callable
from typing import Any, NoReturn

__all__ = ["Wire", "dumps"]

_CHUNK = 1 << 20
_READ = 1 << 16  # the memory for more is asked of the kernel, at each read anew


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def dumps(value: Any) -> str:
    """Write a value as JSON on one line."""
    return _ENCODER.encode(value)


class Wire:
    """Sends and receives frames.

    Args:
        read: Gives at most this many bytes, at least one; none where the host is gone.
        write: Takes bytes and returns how many it took.
        leave: Ends the process with this status.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        write: Callable[[memoryview], int],
        leave: Callable[[int], NoReturn],
    ) -> None:
        self._read, self._write, self.leave = read, write, leave
        self._buffer = bytearray()

    def send(self, *frames: str) -> None:
        """Send frames that are JSON already, in order."""
        rest = memoryview(("\n".join(frames) + "\n").encode("utf-8", "surrogatepass"))
        while rest:
            rest = rest[self._write(rest[:_CHUNK]) :]

    def receive(self) -> dict[str, Any]:
        """Wait for the host's next frame. Ends the process where the host is gone."""
        scanned = 0
        while (end := self._buffer.find(b"\n", scanned)) < 0:
            scanned = len(self._buffer)
            data = self._read(_READ)
            if not data:
                self.leave(0)
            self._buffer += data
        line = self._buffer[:end].decode("utf-8", "surrogatepass")
        del self._buffer[: end + 1]
        frame: dict[str, Any] = json.loads(line)
        return frame
