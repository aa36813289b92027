"""Frames from a guest. The sender is hostile: each frame is bounded before it is kept, and checked before it is used."""

import json
import math
import re
from collections.abc import Collection
from typing import Any

from codemode_sandboxes.contract import Call, Failed, FailureKind
from codemode_sandboxes.guest.json_values import are_plain, clean_text, most_containers, to_json
from codemode_sandboxes.guest.wire import dumps
from codemode_sandboxes.process.channel import Channel

__all__ = [
    "FrameReader",
    "ProtocolError",
    "encode",
    "parse",
    "read_blocked",
    "read_call",
    "read_failed",
    "read_text",
    "read_value",
]

_GUEST_KINDS: dict[str, FailureKind] = {
    "program": "program",
    "syntax": "syntax",
    "memory": "memory",
    "output": "output",
    "calls": "calls",
}
# Runs of strings with what stands between them, up to the next bracket. The quantifiers are possessive and a string may
# end with the frame: a match that has begun cannot fail, so hostile text costs linear time.
_TEXTS = re.compile(rb'(?:"(?:[^"\\]++|\\.?+)*+(?:"|\Z)[^"\[{]*+)++', re.DOTALL)
_FEW_CONTAINERS = 10_000  # below this, brackets inside strings may count as well: it is not worth a closer look
_CONTAINERS_EXTRA = 10  # the frame's own
_LONGER_FLOATS = (
    4  # a float's JSON grows at most about so much when it is parsed and written: 9e15 becomes 18 characters
)
_NAME = 200
_TEXT = 8000


class ProtocolError(Exception):
    """The guest sent something that the protocol does not allow."""


class FrameReader:
    """Reads frames from a channel.

    Args:
        channel: The guest.
        frame_bytes: The size of the largest frame.
    """

    def __init__(self, channel: Channel, frame_bytes: int) -> None:
        self._channel, self._limit = channel, frame_bytes
        self._buffer = bytearray()
        self._scanned = 0

    @property
    def empty(self) -> bool:
        """True where nothing was received after the last frame."""
        return not self._buffer

    async def read(self) -> bytes | None:
        """Wait for the next frame.

        Returns:
            The frame, for `parse`; None where the guest is gone.

        Raises:
            ProtocolError: The frame is too large.
        """
        # What was searched once is not searched again, else a frame of many small pieces would take quadratic time.
        while (end := self._buffer.find(b"\n", self._scanned)) < 0:
            self._scanned = len(self._buffer)
            if self._scanned > self._limit:
                raise ProtocolError(f"a frame is larger than {self._limit} bytes")
            data = await self._channel.receive()
            if not data:
                return None
            self._buffer += data
        if end > self._limit:
            raise ProtocolError(f"a frame is larger than {self._limit} bytes")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._scanned = 0
        return line


def parse(line: bytes, *, value_bytes: int) -> dict[str, Any]:
    """Parse a frame, and bring the program's value or arguments into the form of `to_json`.

    Args:
        line: The frame as the guest sent it.
        value_bytes: The most bytes that a value may take as JSON.

    Raises:
        ProtocolError: The line is not a JSON object, or holds a value that an honest guest does not send.
    """
    if _containers(line) > most_containers(value_bytes) + _CONTAINERS_EXTRA:
        raise ProtocolError("a frame has too many lists and dicts")
    try:
        text = line.decode("utf-8", "surrogatepass")
        frame = json.loads(text)
    except (ValueError, RecursionError):
        raise ProtocolError("a frame is not JSON") from None
    if not isinstance(frame, dict):
        raise ProtocolError("a frame is not an object")
    if _LONGER_FLOATS * len(text) <= value_bytes and text.isascii() and "\\" not in text and "value" not in frame:
        match frame.get("arguments"):
            case [list() as args, dict() as kwargs] if are_plain(args) and are_plain(kwargs.values()):
                return frame  # most calls are like this, and `to_json` would change nothing
    try:
        for key, around in (("value", 0), ("arguments", 2)):
            if key in frame:
                frame[key] = to_json(frame[key], max_bytes=value_bytes, around=around)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"a frame holds a value that no guest sends: {error}") from None
    return frame


def _containers(line: bytes) -> int:
    """Count lists and dicts before parsing makes them: an empty one takes about 20 times the memory of its JSON."""
    found = line.count(b"[") + line.count(b"{")
    if found > _FEW_CONTAINERS:
        line = _TEXTS.sub(b"", line)
        found = line.count(b"[") + line.count(b"{")
    return found


def encode(frame: dict[str, Any]) -> bytes:
    """Encode a frame for the guest.

    Raises:
        TypeError: The frame holds something that has no form in JSON.
        ValueError: The frame holds a number that JSON cannot write.
    """
    return dumps(frame).encode("utf-8", "surrogatepass") + b"\n"


def read_call(frame: dict[str, Any], *, id: int, tools: Collection[str]) -> Call:
    """Check a call frame, and return its call.

    Args:
        frame: The frame.
        id: The only id that the call may have, the next one.
        tools: The tools that the call may name.
    """
    tool = frame.get("tool")
    # `type` and not `isinstance`: True is an int, and equal to 1.
    if type(frame.get("id")) is not int or frame["id"] != id:
        raise ProtocolError("a call's id is not the next one")
    if not isinstance(tool, str) or tool not in tools:
        raise ProtocolError("a call names a tool that the program was not given")
    match frame.get("arguments"):
        case [list() as args, dict() as kwargs]:
            return Call(id, tool, tuple(args), kwargs, _line(frame.get("line")))
    raise ProtocolError("a call has no arguments")


def read_blocked(frame: dict[str, Any], *, open_calls: Collection[int]) -> tuple[tuple[int, ...], float | None]:
    """Check a blocked frame.

    Returns:
        The ids of the calls that the program gave up, and the seconds until its next timer.
    """
    cancelled, wake_after = frame.get("cancelled"), frame.get("wake_after")
    if (
        not isinstance(cancelled, list)
        or not all(type(id) is int and id in open_calls for id in cancelled)
        or len(set(cancelled)) != len(cancelled)
    ):
        raise ProtocolError("a blocked frame gives up calls that are not open")
    if wake_after is not None and (
        type(wake_after) not in (int, float) or not math.isfinite(wake_after) or wake_after < 0
    ):
        raise ProtocolError("a blocked frame has no time to wake at")
    return tuple(cancelled), None if wake_after is None else float(wake_after)


def read_failed(frame: dict[str, Any]) -> Failed:
    """Check a failed frame, and return its event."""
    kind, error = frame.get("kind"), frame.get("error")
    message, traceback = frame.get("message"), frame.get("traceback")
    if kind not in _GUEST_KINDS or not all(isinstance(text, str) for text in (error, message, traceback)):
        raise ProtocolError("a failed frame does not say what failed")
    return Failed(
        kind=_GUEST_KINDS[kind],
        type=_clean(error, _NAME),
        message=" ".join(_clean(message, _TEXT).splitlines()),
        line=_line(frame.get("line")),
        traceback=_clean(traceback, _TEXT),
    )


def read_value(frame: dict[str, Any]) -> Any:
    """Check a finished frame, and return its value."""
    if "value" not in frame:
        raise ProtocolError("a finished frame has no value")
    return frame["value"]


def read_text(frame: dict[str, Any]) -> str:
    """Check a print frame, and return its text."""
    text = frame.get("text")
    if not isinstance(text, str) or text == "":
        raise ProtocolError("a print frame has no text")
    return clean_text(text)


def _line(value: Any) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ProtocolError("a line is not a line's number")
    return value


def _clean(value: Any, limit: int) -> str:
    return clean_text(str(value)[:limit])
