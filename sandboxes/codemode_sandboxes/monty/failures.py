"""Monty's errors as `Failed` events: their kind, their message, and the line where they were raised."""

import ast
import builtins
import dataclasses
import re
from collections.abc import Mapping, Sequence
from traceback import FrameSummary, format_list
from types import MappingProxyType
from typing import Literal, TypeAlias

from pydantic_monty import Frame, MontyCrashedError, MontyError, MontyRuntimeError, MontySyntaxError

from codemode_sandboxes.contract import Failed, Limits, Program
from codemode_sandboxes.guest.json_values import clean_text
from codemode_sandboxes.monty.prelude import function_names, unknown_attribute
from codemode_sandboxes.source.tree import parse, tree_of

__all__ = ["PROGRAM_FILE", "failure", "last_line", "program_failure"]

PROGRAM_FILE = "<python-input-1>"
"""Monty's name for the source of the second feed, which is the program."""

_MAY_RAISE = (ast.Await, ast.BinOp, ast.Raise, ast.Subscript)
_HARMLESS_CALLS = {"add", "append", "len", "print", "repr", "str"}
_FIELDS = ("finalbody", "handlers", "orelse", "body")
_OWN_CODE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_Part: TypeAlias = ast.stmt | ast.ExceptHandler
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
    limits: Limits,
    program: Program,
    error_lines: Mapping[tuple[str, str], int],
    *,
    unstarted: bool,
    stdout: str,
) -> Failed:
    """Return the event for an error that ended a run.

    Args:
        error: What Monty raised.
        limits: The run's limits, for the message.
        program: The program, its lines ended by line feeds.
        error_lines: Lines of calls that were answered with an error, by its type and message.
        unstarted: Whether nothing of the program can have run, so that an error in its syntax is just that.
        stdout: What it printed since the last event.
    """
    # A process that passed its time limit is killed, and looks like one that crashed.
    if isinstance(error, MontyCrashedError):
        return Failed.out_of_time(limits, stdout) if error.timed_out else _died(stdout)
    if not isinstance(error, MontySyntaxError | MontyRuntimeError):
        return _died(stdout)
    type_name, message, frames = type(error.exception()).__name__, error.display("msg"), error.traceback()
    exceeded = next((name for name, words in _LIMIT_KINDS if name == type_name and words.match(message)), None)
    if exceeded == "TimeoutError":
        return Failed.out_of_time(limits, stdout)
    if exceeded == "MemoryError":
        text = f"the program used more than its {limits.memory_bytes / 2**20:.4g} MB of memory"
        return Failed(kind="memory", type="MemoryError", message=text, line=_line(frames), stdout=stdout)
    if exceeded == "RuntimeError":
        text = "the program paused too often: calls, sleeps and readings of the clock count"
        return Failed(kind="calls", type="RuntimeError", message=text, line=_line(frames), stdout=stdout)
    if isinstance(error, MontySyntaxError) or (type_name == "NotImplementedError" and message.startswith(_UNSUPPORTED)):
        message = message.replace(_UNSUPPORTED, "this sandbox's Python does not support ")
        # The text may be no Python at all, which CPython's parser says better than Monty's.
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
    return _program("program", type_name, message, frames, stdout, program.code, error_lines)


def program_failure(type_name: str, message: str, line: int | None, stdout: str) -> Failed:
    """Return the event for a program whose value cannot leave the sandbox."""
    return dataclasses.replace(_program("program", type_name, message, [], stdout), line=line)


def last_line(source: str) -> int | None:
    """Return the line of the expression that is a program's value."""
    body = _statements(source)
    return body[-1].lineno if body else None


def _died(stdout: str) -> Failed:
    return Failed(kind="died", type="RuntimeError", message="the sandbox's process died", stdout=stdout)


def _program(
    kind: Literal["program", "syntax"],
    type_name: str,
    message: str,
    frames: Sequence[Frame],
    stdout: str,
    source: str = "",
    error_lines: Mapping[tuple[str, str], int] = MappingProxyType({}),
) -> Failed:
    # Monty shows the text that it ran, which may have been rewritten; its lines have the numbers of the author's.
    written = dict(enumerate(source.split("\n"), 1))
    own = [(frame.line, frame.function_name) for frame in frames if frame.filename == PROGRAM_FILE]
    if own:
        own[-1] = _origin(source, own[-1][0], (type_name, message), error_lines), own[-1][1]
    # Of endless recursion the first and the last frames tell where it began and what it repeats.
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
        parse(source)
    except SyntaxError as error:
        failed = _program("syntax", type(error).__name__, error.msg, [], stdout)
        return dataclasses.replace(failed, line=error.lineno)
    return None


def _line_of_call(source: str, name: str) -> int | None:
    """Return the line of the only call of a function or method of this name; None where there are several."""
    calls = (node for each in _statements(source) for node in ast.walk(each) if isinstance(node, ast.Call))
    lines = [call.lineno for call in calls if name in (getattr(call.func, "id", ""), getattr(call.func, "attr", ""))]
    return lines[0] if len(lines) == 1 else None


def _line(frames: Sequence[Frame]) -> int | None:
    return next((frame.line for frame in reversed(frames) if frame.filename == PROGRAM_FILE), None)


def _clean(message: str) -> str:
    # Cut before it is split, for a program may raise an error with megabytes of text.
    text = " ".join(message[: 2 * _MAX_MESSAGE].splitlines())
    return clean_text(text if len(text) <= _MAX_MESSAGE else text[:_MAX_MESSAGE] + "...")


def _statements(source: str) -> list[ast.stmt]:
    """Return a program's statements; none where it uses a later Python's syntax."""
    try:
        return tree_of(source).root.body
    except SyntaxError:
        return []


def _origin(source: str, line: int, error: tuple[str, str], error_lines: Mapping[tuple[str, str], int]) -> int:
    """Return the line at which an error was raised that passed a `try` by, as far as that can be found out.

    Monty 1.4 says that such an error was raised at the statement that stands last in the `try`, in its last handler or
    in `finally`; or, where that is a `pass`, at what it did before.

    Args:
        source: The program.
        line: The line that Monty gives.
        error: The error's type and message.
        error_lines: Lines of calls that were answered with an error, by its type and message.

    Returns:
        `line` where no `try` ends there that lets such an error pass. Else the line of the call that raised the error,
        or that of the only statement in question, or, where there are several, that of the `try`.
    """
    passed = _passed_try(source, line, error[0])
    if passed is None:
        return line
    call = error_lines.get(error)
    if call is not None and passed.lineno <= call <= (passed.end_lineno or call):
        return call
    several = len(passed.body) > 1 or passed.orelse or (passed.finalbody and passed.handlers)
    if several or hasattr(passed.body[0], "body") or not _is_harmless(_last(passed)):
        return passed.lineno
    return passed.body[0].lineno


def _passed_try(source: str, line: int, type_name: str) -> ast.Try | None:
    """Return the outermost `try` that may let an error pass, and whose last statement is at a line."""
    try:
        tree = tree_of(source)
    except SyntaxError:
        return None
    tries = (node for node in tree.of(ast.Try) if _lets_pass(node, type_name) and _ends_at(node, line, type_name))
    return next(tries, None)


def _ends_at(node: ast.Try, line: int, type_name: str) -> bool:
    if node.handlers and line == node.handlers[-1].lineno:
        return True
    last = _last(node)
    return last.lineno <= line <= (last.end_lineno or line) and not _raises(last, type_name)


def _lets_pass(node: ast.Try, type_name: str) -> bool:
    if node.finalbody:
        return True
    kinds = [handler.type for handler in node.handlers]
    return not any(
        _takes(each, type_name) for kind in kinds for each in (kind.elts if isinstance(kind, ast.Tuple) else [kind])
    )


def _takes(kind: ast.expr | None, type_name: str) -> bool:
    if kind is None:
        return True
    caught = getattr(builtins, kind.id, None) if isinstance(kind, ast.Name) else None
    error = getattr(builtins, type_name, None)
    return isinstance(caught, type) and isinstance(error, type) and issubclass(error, caught)


def _last(node: _Part) -> _Part:
    """Return the simple statement that stands last, `pass` aside; or a handler that holds nothing but `pass`."""
    while not isinstance(node, _OWN_CODE):
        blocks = (getattr(node, field, None) for field in _FIELDS)
        inside = next((each for each in blocks if isinstance(each, list) and not all(map(_is_pass, each))), None)
        if inside is None:
            break
        node = next(each for each in reversed(inside) if not _is_pass(each))
    return node


def _is_pass(node: ast.AST) -> bool:
    return isinstance(node, ast.Pass)


def _raises(statement: _Part, type_name: str) -> bool:
    """Return whether a statement is a `raise` that names this type."""
    error = statement.exc if isinstance(statement, ast.Raise) else None
    return error is not None and any(isinstance(node, ast.Name) and node.id == type_name for node in ast.walk(error))


def _is_harmless(statement: _Part) -> bool:
    """Return whether a statement hardly ever raises anything itself."""
    for node in ast.walk(statement):
        if isinstance(node, _MAY_RAISE):
            return False
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name not in _HARMLESS_CALLS:
                return False
    return True
