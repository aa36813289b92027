"""Lines and their indentation."""

import ast
import re
from textwrap import dedent

from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.scopes import scopes_of

__all__ = ["indent", "inside_strings", "plain_text", "unguard"]

_CODING = re.compile(r"^[ \t\f]*#.*?coding[:=][ \t]*[-\w.]+")


def plain_text(code: str) -> str:
    """Take out a byte order mark, carriage returns, common indentation and an encoding declaration."""
    code = code.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if code.lstrip("\n")[:1] in (" ", "\t"):
        code = dedent(code)
    lines = code.split("\n", 2)
    for number, line in enumerate(lines[:2]):
        if _CODING.match(line):
            lines[number] = ""
        elif line.strip() and not line.lstrip().startswith("#"):
            break
    return "\n".join(lines)


def inside_strings(tree: ast.AST) -> set[int]:
    """Give the lines, counted from 1, that begin inside a string: their indentation is data."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)):
            lines.update(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
    return lines


def indent(edits: Edits, tree: ast.AST, first: int, last: int) -> None:
    """Indent lines, counted from 1, but not what is inside strings."""
    strings = inside_strings(tree)
    for number in range(first, last + 1):
        if number not in strings and edits.line(number).strip():
            edits.insert(edits.line_start(number), "    ")


def unguard(code: str) -> str:
    """Put what stands under `if __name__ == "__main__":` at the top level, on the same lines."""
    tree = scopes_of(code).tree
    edits = Edits(code)
    strings = inside_strings(tree)
    for node in tree.body:
        if not isinstance(node, ast.If) or not _is_guard(node.test):
            continue
        start, end = edits.span(node)
        if node.orelse:
            edits.blank(*edits.span(node.test), "True")
            continue
        body = edits.span(node.body[0])[0]
        line = code.rfind("\n", 0, body) + 1
        if line <= start:
            edits.replace(start, body, "")
            continue
        colon = code.index(":", edits.span(node.test)[1])
        edits.blank(start, colon + 1)
        prefix = code[line:body]
        for number in range(code.count("\n", 0, line) + 1, code.count("\n", 0, end) + 2):
            if number in strings:
                continue
            text = edits.line(number)
            width = len(prefix) if text.startswith(prefix) else min(len(prefix), len(text) - len(text.lstrip(" \t")))
            edits.replace(edits.line_start(number), edits.line_start(number) + width, "")
    return edits.apply()


def _is_guard(test: ast.expr) -> bool:
    match test:
        case (
            ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()], comparators=[ast.Constant(value="__main__")])
            | ast.Compare(left=ast.Constant(value="__main__"), ops=[ast.Eq()], comparators=[ast.Name(id="__name__")])
        ):
            return True
    return False
