"""Frames over two functions for bytes: one JSON object on each line."""

import json
from collections.abc import Callable
from typing import Any, NoReturn

__all__ = ["Wire", "dumps"]

_CHUNK = 1 << 20
_READ = 1 << 16  # Python allocates it at each read; above this the C library asks the kernel for memory each time
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def dumps(value: Any) -> str:
    """Return a value as JSON on one line, NaN and the infinities as Python's `json` writes them."""
    return _ENCODER.encode(value)


class Wire:
    """Both directions of the stream of frames.

    Args:
        read: Returns at least one byte and at most so many; none where the host is gone.
        write: Takes bytes, and returns how many it took.
        leave: Ends the process with an exit status.
    """

    def __init__(
        self, read: Callable[[int], bytes], write: Callable[[memoryview], int], leave: Callable[[int], NoReturn]
    ) -> None:
        self._read, self._write, self.leave = read, write, leave
        self._buffer = bytearray()

    def send(self, *frames: str) -> None:
        """Send frames, which are JSON already, in order."""
        rest = memoryview(("\n".join(frames) + "\n").encode("utf-8", "surrogatepass"))
        while rest:
            rest = rest[self._write(rest[:_CHUNK]) :]

    def receive(self) -> dict[str, Any]:
        """Wait for the host's next frame. End the process where the host is gone."""
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
