"""Edits of a program's text in place, by the positions of its syntax tree, and the indentation of its lines."""

import ast
import re
from itertools import accumulate
from textwrap import dedent

from codemode_sandboxes.source.tree import Tree, tree_of

__all__ = ["Edits", "indent", "inside_strings", "plain_text", "unguard"]

_CODING = re.compile(r"^[ \t\f]*#.*?coding[:=][ \t]*[-\w.]+")


class Edits:
    """Changes to one text, collected, and applied at once.

    The text's lines end in a line feed. Positions are offsets in characters.
    """

    def __init__(self, code: str) -> None:
        self.code = code
        self._lines = code.split("\n")
        self._starts = [0, *accumulate(len(line) + 1 for line in self._lines)]
        self._edits: list[tuple[int, int, str]] = []

    def offset(self, line: int, column: int) -> int:
        """Turn a position of the syntax tree into an offset.

        Args:
            line: Counted from 1.
            column: In bytes of UTF-8, as the syntax tree has it.
        """
        text = self._lines[line - 1]
        return self._starts[line - 1] + (
            column if text.isascii() else len(text.encode()[:column].decode(errors="replace"))
        )

    def line_start(self, line: int) -> int:
        """Return the offset at which a line, counted from 1, begins."""
        return self._starts[line - 1]

    def line(self, line: int) -> str:
        """Return the text of a line, counted from 1."""
        return self._lines[line - 1]

    def span(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword | ast.alias) -> tuple[int, int]:
        """Return the offsets at which a node's text begins and ends; decorators belong to what they decorate."""
        line, column = node.lineno, node.col_offset
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.decorator_list:
            first = self.offset(node.decorator_list[0].lineno, node.decorator_list[0].col_offset)
            begin = self.code.rindex("@", 0, first)
        else:
            begin = self.offset(line, column)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return begin, self.offset(node.end_lineno, node.end_col_offset)

    def text(self, node: ast.expr | ast.stmt) -> str:
        """Return a node's text."""
        start, end = self.span(node)
        return self.code[start:end]

    def insert(self, at: int, text: str) -> None:
        """Insert text. Texts inserted at one place keep the order of the calls."""
        self._edits.append((at, at, text))

    def replace(self, start: int, end: int, text: str) -> None:
        """Replace text."""
        self._edits.append((start, end, text))

    def blank(self, start: int, end: int, text: str = "") -> None:
        """Replace text by other text of as many lines."""
        self.replace(start, end, text + "\n" * (self.code.count("\n", start, end) - text.count("\n")))

    def drop(self, statement: ast.stmt, text: str = "") -> None:
        """Remove a statement, or put single-line statements in its place; every other line keeps its number.

        Args:
            statement: The statement.
            text: What to put in its place.
        """
        start, end = self.span(statement)
        before = self.code[self.code.rfind("\n", 0, start) + 1 : start]
        after = self.code[end : self._starts[self.code.count("\n", 0, end) + 1] - 1].strip()
        if before == "" and (after == "" or after.startswith("#")):
            self.blank(start, end, text)
        elif after.startswith(";"):  # a `;` needs a statement before it on the same logical line
            self.replace(start, end, (text or "pass") + "\\\n" * self.code.count("\n", start, end))
        else:
            self.blank(start, end, text or "pass")

    def __bool__(self) -> bool:
        return bool(self._edits)

    def apply(self) -> str:
        """Return the changed text.

        Raises:
            ValueError: Two changes overlap.
        """
        parts: list[str] = []
        done = 0
        for start, end, text in sorted(self._edits, key=lambda edit: edit[:2]):
            if start < done:
                raise ValueError("two edits overlap")
            parts += self.code[done:start], text
            done = end
        return "".join([*parts, self.code[done:]])


def plain_text(code: str) -> str:
    """Remove a byte order mark, carriage returns, common indentation and an encoding declaration."""
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


def inside_strings(tree: Tree) -> set[int]:
    """Return the lines, counted from 1, that begin inside a string: their indentation is data."""
    lines: set[int] = set()
    for node in tree.of(ast.JoinedStr, ast.Constant):
        if isinstance(node, ast.JoinedStr) or isinstance(node.value, str | bytes):
            lines.update(range(node.lineno + 1, (node.end_lineno or node.lineno) + 1))
    return lines


def indent(edits: Edits, tree: Tree, first: int, last: int) -> None:
    """Indent lines, counted from 1, but not what is inside strings."""
    strings = inside_strings(tree)
    for number in range(first, last + 1):
        if number not in strings and edits.line(number).strip():
            edits.insert(edits.line_start(number), "    ")


def unguard(code: str) -> str:
    """Move the block under `if __name__ == "__main__":` to the top level, on the same lines."""
    tree = tree_of(code)
    edits = Edits(code)
    strings = inside_strings(tree)
    for node in tree.root.body:
        if not isinstance(node, ast.If) or not _is_guard(node.test):
            continue
        start, end = edits.span(node)
        if node.orelse:  # `else` needs its `if`
            edits.blank(*edits.span(node.test), "True")
            continue
        body = edits.span(node.body[0])[0]
        line = code.rfind("\n", 0, body) + 1
        if line <= start:  # `if __name__ == "__main__": main()` on one line
            edits.replace(start, body, "")
            continue
        colon = code.index(":", edits.span(node.test)[1])
        edits.blank(start, colon + 1)
        prefix = code[line:body]
        for number in range(code.count("\n", 0, line) + 1, code.count("\n", 0, end) + 2):
            if number in strings:
                continue
            text = edits.line(number)
            # A comment may be indented less than the block.
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
