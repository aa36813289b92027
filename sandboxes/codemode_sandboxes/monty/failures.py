"""How a failed run is reported: Monty's errors as `Failed` events."""

import ast
import dataclasses
import re
from collections.abc import Mapping, Sequence
from traceback import FrameSummary, format_list
from types import MappingProxyType
from typing import Literal

from pydantic_monty import Frame, MontyCrashedError, MontyError, MontyRuntimeError, MontySyntaxError

from codemode_sandboxes.contract import OPEN_CALLS, Failed, Limits, Program
from codemode_sandboxes.guest.json_values import clean_text
from codemode_sandboxes.monty.origin import origin
from codemode_sandboxes.monty.prelude import function_names, unknown_attribute

__all__ = [
    "PROGRAM_FILE",
    "arguments_exceeded",
    "calls_exceeded",
    "failure",
    "last_line",
    "output_exceeded",
    "program_failure",
]

PROGRAM_FILE = "<python-input-1>"
"""Monty's name for the source of the second feed, which is the program."""

_SHOWN_FILE = "<program>"
_MAX_MESSAGE = 2000
_MAX_FRAMES = 20
_UNSUPPORTED = "The monty syntax parser does not yet support "
_SYNCHRONOUS = re.compile(r"(?:external|OS) function '([\w.]+)' cannot suspend in this synchronous context")
_ARGUMENTS = re.compile(r"(?:\w+\.)*?(\w+)(?:\.__init__)?\(\) (?:missing|takes|got) ")
_LIMIT_KINDS = (
    ("TimeoutError", re.compile(r"(feed|turn) time limit exceeded: ")),
    ("MemoryError", re.compile(r"memory limit exceeded: |the worker exceeded its memory limit")),
    ("RuntimeError", re.compile(r"suspension limit \d+ exceeded")),
)


def failure(
    error: MontyError,
    *,
    limits: Limits,
    program: Program,
    unstarted: bool,
    stdout: str,
    told: Mapping[tuple[str, str], int],
) -> Failed:
    """Give the event for an error that ended a run.

    Args:
        error: What Monty raised.
        limits: The run's limits, for the message.
        program: What ran.
        unstarted: Whether nothing of the program can have run, so that an error in its syntax is just that.
        stdout: What it printed since the last event.
        told: Lines of calls that were answered with an error, by its type and message.
    """
    if isinstance(error, MontyCrashedError):
        return _time_exceeded(limits, stdout) if error.timed_out else _died(stdout)
    if not isinstance(error, MontySyntaxError | MontyRuntimeError):
        return _died(stdout)
    type_name, message, frames = type(error.exception()).__name__, error.display("msg"), error.traceback()
    exceeded = next((name for name, words in _LIMIT_KINDS if name == type_name and words.match(message)), None)
    if exceeded == "TimeoutError":
        return _time_exceeded(limits, stdout)
    if exceeded == "MemoryError":
        text = f"the program used more than its {limits.memory_bytes / 2**20:.4g} MB of memory"
        return Failed(kind="memory", type="MemoryError", message=text, line=_line(frames), stdout=stdout)
    if exceeded == "RuntimeError":
        text = "the program paused too often: calls, sleeps and readings of the clock count"
        return Failed(kind="calls", type="RuntimeError", message=text, line=_line(frames), stdout=stdout)
    if isinstance(error, MontySyntaxError) or (type_name == "NotImplementedError" and message.startswith(_UNSUPPORTED)):
        message = message.replace(_UNSUPPORTED, "this sandbox's Python does not support ")
        if unstarted and len(frames) <= 1:
            return _no_python(program.code, stdout) or _program(
                "syntax", type_name, message, frames, stdout, program.code
            )
    elif type_name == "AttributeError":
        message = unknown_attribute(message, program.tools)
    elif found := _SYNCHRONOUS.fullmatch(message):
        name = function_names(program.tools).get(found[1], found[1])
        message = f"{name!r} cannot be called from map(), a sort key or a special method; use a comprehension or a loop"
    elif type_name == "TypeError" and (found := _ARGUMENTS.match(message)):
        # Monty's frame is the function's first line; the mistake is in a call of it.
        line = _line_of_call(program.code, found[1])
        return dataclasses.replace(_program("program", type_name, message, [], stdout), line=line)
    return _program("program", type_name, message, frames, stdout, program.code, told)


def program_failure(type_name: str, message: str, line: int | None, stdout: str) -> Failed:
    """Give the event for a program whose value cannot leave the sandbox."""
    return dataclasses.replace(_program("program", type_name, message, [], stdout), line=line)


def last_line(source: str) -> int | None:
    """Give the line of the expression that gives a program its value."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # a later Python's syntax
        return None
    return body[-1].lineno if body else None


def calls_exceeded(limits: Limits, line: int | None, stdout: str) -> Failed:
    """Give the event for one call too many."""
    message = f"the program made more than {limits.calls} tool calls"
    return Failed(kind="calls", type="RuntimeError", message=message, line=line, stdout=stdout)


def arguments_exceeded(limits: Limits, line: int | None, stdout: str) -> Failed:
    """Give the event for open calls whose arguments are too large together."""
    message = f"the arguments of the open calls take more than {OPEN_CALLS * limits.value_bytes:,} bytes"
    return Failed(kind="output", type="RuntimeError", message=message, line=line, stdout=stdout)


def output_exceeded(limits: Limits, stdout: str) -> Failed:
    """Give the event for too much printed text."""
    message = f"the program printed more than {limits.output_bytes:,} bytes"
    return Failed(kind="output", type="RuntimeError", message=message, stdout=stdout)


def _time_exceeded(limits: Limits, stdout: str) -> Failed:
    message = f"the program computed for longer than {limits.seconds:g} seconds"
    return Failed(kind="timeout", type="TimeoutError", message=message, stdout=stdout)


def _died(stdout: str) -> Failed:
    return Failed(kind="died", type="RuntimeError", message="the sandbox's process died", stdout=stdout)


def _program(
    kind: Literal["program", "syntax"],
    type_name: str,
    message: str,
    frames: Sequence[Frame],
    stdout: str,
    source: str = "",
    told: Mapping[tuple[str, str], int] = MappingProxyType({}),
) -> Failed:
    written = dict(enumerate(source.split("\n"), 1))  # as its author wrote it, where it was lowered
    own = [(frame.line, frame.function_name) for frame in frames if frame.filename == PROGRAM_FILE]
    if own:
        own[-1] = origin(source, own[-1][0], (type_name, message), told), own[-1][1]
    shown = own if len(own) <= _MAX_FRAMES else own[: _MAX_FRAMES // 2] + own[-_MAX_FRAMES // 2 :]
    lines = [
        FrameSummary(
            _SHOWN_FILE,
            line,
            (function or "<module>")[:100],
            lookup_line=False,
            line=written.get(line, "").strip()[:200],
        )
        for line, function in shown
    ]
    one_line = _clean(message)
    trace = "Traceback (most recent call last):\n" + "".join(format_list(lines)) if lines else ""
    return Failed(
        kind=kind,
        type=type_name,
        message=one_line,
        line=own[-1][0] if own else None,
        traceback=clean_text(f"{trace}{type_name}: {one_line}" if one_line else f"{trace}{type_name}"),
        stdout=stdout,
    )


def _no_python(source: str, stdout: str) -> Failed | None:
    try:
        ast.parse(source)
    except SyntaxError as error:
        failed = _program("syntax", type(error).__name__, error.msg, [], stdout)
        return dataclasses.replace(failed, line=error.lineno)
    except (ValueError, RecursionError, MemoryError):
        pass
    return None


def _line_of_call(source: str, name: str) -> int | None:
    """Give the line of the only call of this name."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    lines = [
        node.lineno
        for node in calls
        if (isinstance(node.func, ast.Name) and node.func.id == name)
        or (isinstance(node.func, ast.Attribute) and node.func.attr == name)
    ]
    return lines[0] if len(lines) == 1 else None


def _line(frames: Sequence[Frame]) -> int | None:
    return next((frame.line for frame in reversed(frames) if frame.filename == PROGRAM_FILE), None)


def _clean(message: str) -> str:
    text = " ".join(message[: 2 * _MAX_MESSAGE].splitlines())
    return clean_text(text if len(text) <= _MAX_MESSAGE else text[:_MAX_MESSAGE] + "...")
