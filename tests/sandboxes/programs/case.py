"""A program with all that it does, the same in every sandbox."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import dedent
from typing import Any

__all__ = ["Case", "case"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An ordinary program.

    Attributes:
        name: What it is about.
        code: The program as a model writes it.
        value: Its value, unless it fails.
        stdout: What it prints.
        calls: Its tool calls in order, as in "double(2)".
        error: The exception's type and the program's line, where it fails.
        kind: The kind of that failure.
    """

    name: str
    code: str
    value: Any = None
    stdout: str = ""
    calls: tuple[str, ...] = ()
    error: tuple[str, int | None] | None = None
    kind: str = "program"


def case(
    name: str,
    code: str,
    value: Any = None,
    *,
    stdout: str = "",
    calls: Sequence[str] = (),
    error: tuple[str, int | None] | None = None,
    kind: str = "program",
) -> Case:
    """Make a case; the code may be indented, and its first line break does not count."""
    code = dedent(code.removeprefix("\n"))
    return Case(name=name, code=code, value=value, stdout=stdout, calls=tuple(calls), error=error, kind=kind)
