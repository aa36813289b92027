"""The guest's link to the host: the tools that a program calls, its open calls, and the frames about them."""

import asyncio
import builtins
import difflib
import inspect
import sys
from collections.abc import Callable, Coroutine, Generator, ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any, NoReturn

from codemode_sandboxes.guest.clock import Clock
from codemode_sandboxes.guest.json_values import are_plain, to_json
from codemode_sandboxes.guest.output import FILENAME, Failure, Output
from codemode_sandboxes.guest.wire import Wire, dumps

__all__ = ["Deadlock", "Host", "ProgramEnded", "Tool", "Tools", "encode", "encode_arguments"]

_LONGEST_WAIT = 1e9  # 30 years: an infinite wait has no form in JSON


class Deadlock(BaseException):
    """The program waits for something that no answer and no timer can bring."""


class ProgramEnded(BaseException):
    """A task that is left after the program's end tries to wait."""


class _Call:
    __slots__ = ("dropped", "frame", "future", "id")

    def __init__(self, frame: str, future: asyncio.Future[Any]) -> None:
        self.id: int | None = None
        self.frame, self.future, self.dropped = frame, future, False


class Host:
    """The host, as the runner, the loop and the tools reach it.

    Args:
        wire: Carries the frames.
        clock: The program's clock.
        limits: The host's `Limits`, as a dictionary.
    """

    def __init__(self, wire: Wire, clock: Clock, limits: dict[str, Any]) -> None:
        self._wire, self._clock, self._limits = wire, clock, limits
        self._new: list[_Call] = []
        self._open: dict[int, _Call] = {}
        self._cancelled: list[int] = []
        self._count = 0
        self.ended = False
        self.output = Output(limits["output_bytes"], self._send_print, self._overflow)

    def call(self, tool: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        """Prepare a tool call. It goes to the host when the coroutine is awaited or becomes a task.

        The arguments are encoded at once: the program may change them before it awaits.

        Raises:
            TypeError: An argument has no form in JSON.
            ValueError: The arguments are too large, nested too deeply, or hold a number that has no form in JSON.
        """
        line = current_line()
        try:
            arguments = encode_arguments(args, kwargs, max_bytes=self._limits["value_bytes"])
        except (TypeError, ValueError) as error:
            raise _with_prefix(error, f"arguments of {tool!r}: ") from None
        return self._call(f'"tool":{dumps(tool)},"line":{_number(line)},"arguments":{arguments}}}', line)

    async def _call(self, frame: str, line: int | None) -> Any:
        if self.ended:
            raise ProgramEnded
        call = _Call(frame, asyncio.get_running_loop().create_future())
        self._count += 1
        if self._count > (most := self._limits["calls"]):
            self.fail(Failure("calls", "RuntimeError", f"the program made more than {most} tool calls", line))
        self._new.append(call)
        try:
            return await call.future
        finally:
            if call.future.cancelled() or not call.future.done():
                self._give_up(call)

    def _give_up(self, call: _Call) -> None:
        # A call that the host has not seen leaves no trace: it gets no id, so the ids that follow stay without gaps.
        if call.id is None:
            call.dropped = True
            self._count -= 1
        elif self._open.pop(call.id, None) is not None:
            self._cancelled.append(call.id)

    def block(self, timeout: float | None) -> None:
        """Send the host what the program waits for, and take its answers.

        Args:
            timeout: Seconds until the next timer; None where there is none.
        """
        if self.ended:
            raise ProgramEnded
        if timeout is not None:
            timeout = min(timeout, _LONGEST_WAIT)
        calls = [call for call in self._new if not call.dropped]
        self._new.clear()
        if timeout is None and not calls and not self._open:
            raise Deadlock
        self.output.send_pending()
        last = self._count - len(calls)
        for number, call in enumerate(calls, start=last + 1):
            call.id = number
            self._open[number] = call
        cancelled, self._cancelled = sorted(self._cancelled), []
        self._wire.send(
            *[f'{{"type":"call","id":{call.id},{call.frame}' for call in calls],
            f'{{"type":"blocked","cancelled":{cancelled},"wake_after":{_number(timeout)}}}',
        )
        for call in calls:
            call.frame = ""  # arguments may be large, and the call may stay open for long
        answer = self._wire.receive()
        self._clock.advance(answer["elapsed"])
        for id, how, *what in answer["outcomes"]:
            if (answered := self._open.pop(id, None)) is None or answered.future.done():
                continue
            if how == "returned":
                answered.future.set_result(what[0])
            else:
                answered.future.set_exception(_exception(*what))

    def encode(self, value: Any, prefix: str) -> str:
        """Return a program's value as JSON; see the function `encode`. Messages of errors begin with the prefix."""
        try:
            return encode(value, max_bytes=self._limits["value_bytes"])
        except (TypeError, ValueError) as error:
            raise _with_prefix(error, prefix) from None

    def finish(self, value: str) -> NoReturn:
        """End the run with a value, which is JSON already."""
        self.output.send_pending()
        self._wire.send(f'{{"type":"finished","value":{value}}}')
        self._wire.leave(0)

    def fail(self, failure: Failure) -> NoReturn:
        """End the run without a value, wherever the program is."""
        self.output.send_pending()
        self._wire.send(dumps({"type": "failed", **failure.as_dict()}))
        self._wire.leave(0)

    def _send_print(self, text: str) -> None:
        self._wire.send(dumps({"type": "print", "text": text}))

    def _overflow(self) -> NoReturn:
        limit = self._limits["output_bytes"]
        self.fail(Failure("output", "RuntimeError", f"the program printed more than {limit:,} bytes", current_line()))


def current_line() -> int | None:
    """Return the line of the program that runs now; None where none of its frames is on the stack."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename != FILENAME:
        if frame.f_back is None:
            return None
        frame = frame.f_back
    return frame.f_lineno


def _number(value: float | None) -> str:
    return "null" if value is None else repr(value)


def _with_prefix(error: TypeError | ValueError, prefix: str) -> TypeError | ValueError:
    return (TypeError if isinstance(error, TypeError) else ValueError)(f"{prefix}{error}")


def _exception(type_name: str, message: str) -> Exception:
    # A coroutine may not raise StopIteration: Python would replace it without its message.
    kind = getattr(builtins, type_name, None)
    if isinstance(kind, type) and issubclass(kind, Exception) and kind not in (StopIteration, StopAsyncIteration):
        try:
            return kind(message)
        except TypeError:  # such as UnicodeDecodeError, which takes more than a message
            pass
    return RuntimeError(message)


def encode(value: Any, *, max_bytes: int, around: int = 0) -> str:
    """Return a program's value as JSON on one line; for `around` see `to_json`.

    Raises:
        TypeError: The value holds something that has no form in JSON. The message says what to write instead.
        ValueError: The value is too large, nested too deeply, or holds a number that has no form in JSON.
    """
    return dumps(to_json(value, max_bytes=max_bytes, convert=_convert, around=around))


def encode_arguments(args: tuple[Any, ...], kwargs: dict[str, Any], *, max_bytes: int) -> str:
    """Return a call's arguments as JSON; see `encode`."""
    # Most arguments are plain: `to_json` would change nothing in them, and the call would take three times as long.
    if are_plain(args) and are_plain(kwargs.values()):
        text = dumps((args, kwargs))
        if len(text) <= max_bytes and text.isascii() and "\\" not in text:
            return text
    return encode((args, kwargs), max_bytes=max_bytes, around=2)


def _convert(value: Any) -> Any:
    name = type(value).__name__
    if isinstance(value, Tool):
        raise TypeError(f"the tool {value.__name__!r} was not called; write `await` and `(...)` with its arguments")
    if inspect.isawaitable(value):
        raise TypeError(f"a {name} was never awaited; write `await` before the call")
    if isinstance(value, Iterator | KeysView | ValuesView | ItemsView | range):
        raise TypeError(f"an object of type {name!r} is not JSON; make a list of it with list(...)")
    raise TypeError(f"an object of type {name!r} is not JSON; pass its parts")


Caller = Callable[[str, tuple[Any, ...], dict[str, Any]], Coroutine[Any, Any, Any]]


class Tool:
    """One tool. Calling it returns a coroutine."""

    __slots__ = ("__name__", "_call")

    def __init__(self, name: str, call: Caller) -> None:
        self.__name__, self._call = name, call

    def __call__(self, /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Prepare a call. Awaiting it returns the answer."""
        return self._call(self.__name__, args, kwargs)

    def __await__(self) -> Generator[Any, None, Any]:
        """Call the tool: a program that awaits a tool itself means its call. The host refuses it where it needs arguments."""
        return self().__await__()

    def __repr__(self) -> str:
        return f"<tool {self.__name__!r}>"


class Tools(Mapping[str, Tool]):
    """A program's `tools`: each tool is an item under its name, and an attribute where it has one.

    Args:
        names: Each tool's name and attribute.
        call: Prepares a call, see `Host.call`.
    """

    def __init__(self, names: list[tuple[str, str | None]], call: Caller) -> None:
        self._by_name = {name: Tool(name, call) for name, _ in names}
        self._by_attribute = {attribute: self._by_name[name] for name, attribute in names if attribute}

    def __getitem__(self, name: str) -> Tool:
        try:
            return self._by_name[name]
        except (KeyError, TypeError):
            raise KeyError(f"no tool named {name!r}{_hint(name, self._by_name)}") from None

    def __getattr__(self, attribute: str) -> Tool:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        try:
            return self._by_attribute[attribute]
        except KeyError:
            raise AttributeError(f"no tool tools.{attribute}{_hint(attribute, self._by_attribute)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __dir__(self) -> list[str]:
        return sorted(self._by_attribute)

    def __repr__(self) -> str:
        return f"<tools: {', '.join(self._by_name)}>"


def _hint(key: Any, known: Mapping[str, Tool]) -> str:
    # Several servers may have a tool of the name; an attribute has the server before an underscore.
    last = str(key).rpartition(".")[2]
    same = [name for name in known if last and (name.rpartition(".")[2] == last or name.endswith(f"_{last}"))]
    close = same or difflib.get_close_matches(str(key), known, n=3)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
