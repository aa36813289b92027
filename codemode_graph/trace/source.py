"""Programs as highlighted lines, and what changed from one to the next."""

from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from typing import Literal, TypeAlias

from pygments.lexer import Lexer
from pygments.lexers.data import JsonLexer
from pygments.lexers.python import PythonLexer
from pygments.token import Comment, Keyword, Name, Number, Operator, String

from codemode_graph.trace.markup import Html, el, join, text

__all__ = ["Line", "changed", "highlight", "lines"]

MAX_LINES = 1500
MAX_CHARACTERS = 60_000

_CLASSES: dict[tuple[str, ...], str] = {
    Comment: "c",
    Keyword: "k",
    Operator.Word: "k",
    String: "s",
    String.Interpol: "i",
    Number: "n",
    Name.Builtin: "b",
    Name.Builtin.Pseudo: "b",
    Name.Exception: "b",
    Name.Function: "f",
    Name.Class: "f",
    Name.Decorator: "f",
    Name.Tag: "f",
}

Kind: TypeAlias = Literal["same", "added", "removed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a program.

    Attributes:
        kind: Whether it is in the program before as well, only in this one, or only in the one before.
        number: Counted from 1; None where it is not in this program.
        code: The line, highlighted.
    """

    kind: Kind
    number: int | None
    code: Html


def lines(program: str, before: str | None = None) -> list[Line]:
    """Give a program's lines, and among them those that the program before had instead.

    Args:
        program: The program; what is beyond `MAX_LINES` and `MAX_CHARACTERS` is left out.
        before: The program before.
    """
    new, coded = _text_lines(program), highlight(program)
    if before is None:
        return [Line(kind="same", number=number, code=code) for number, code in enumerate(coded, 1)]
    old, old_coded = _text_lines(before), highlight(before)
    found = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, old, new).get_opcodes():
        kind: Kind = "same" if tag == "equal" else "added"
        if kind == "added":
            found += [Line(kind="removed", number=None, code=code) for code in old_coded[i1:i2]]
        found += [Line(kind=kind, number=number + 1, code=coded[number]) for number in range(j1, j2)]
    return found


def changed(shown: list[Line]) -> tuple[int, int]:
    """How many lines were added, and how many removed."""
    return sum(line.kind == "added" for line in shown), sum(line.kind == "removed" for line in shown)


def highlight(source: str, language: Literal["python", "json"] = "python") -> list[Html]:
    """Give the lines of a text with its parts marked by classes: `k` keyword, `s` string, `c` comment, and the like."""
    found: list[list[Html]] = [[]]
    for token, part in _lexer(language).get_tokens("\n".join(_text_lines(source))):
        name = _class(token)
        for number, piece in enumerate(part.split("\n")):
            if number:
                found.append([])
            if piece:
                found[-1].append(el("span", piece, class_=name) if name else text(piece))
    return [join(line) for line in found]


def _text_lines(program: str) -> list[str]:
    cut = program[:MAX_CHARACTERS].replace("\r\n", "\n").replace("\r", "\n")
    return cut.rstrip("\n").split("\n")[:MAX_LINES]


@cache
def _lexer(language: str) -> Lexer:
    lexer = PythonLexer if language == "python" else JsonLexer
    return lexer(stripnl=False, ensurenl=False)


def _class(token: tuple[str, ...]) -> str | None:
    return next((name for length in range(len(token), 0, -1) if (name := _CLASSES.get(token[:length]))), None)
