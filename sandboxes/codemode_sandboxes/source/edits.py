"""Editing a program's text in place, by the positions of its syntax tree."""

import ast
from itertools import accumulate

__all__ = ["Edits"]


class Edits:
    """Changes to one text, collected and then made at once.

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
        """Give the offset at which a line, counted from 1, begins."""
        return self._starts[line - 1]

    def line(self, line: int) -> str:
        """Give the text of a line, counted from 1."""
        return self._lines[line - 1]

    def span(self, node: ast.expr | ast.stmt | ast.arg | ast.keyword | ast.alias) -> tuple[int, int]:
        """Give the offsets at which a node's text begins and ends; decorators belong to what they decorate."""
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
        """Give a node's text."""
        start, end = self.span(node)
        return self.code[start:end]

    def insert(self, at: int, text: str) -> None:
        """Insert text. What is inserted at one place keeps the order of the calls."""
        self._edits.append((at, at, text))

    def replace(self, start: int, end: int, text: str) -> None:
        """Replace text."""
        self._edits.append((start, end, text))

    def blank(self, start: int, end: int, text: str = "") -> None:
        """Replace text by other text of as many lines."""
        self.replace(start, end, text + "\n" * (self.code.count("\n", start, end) - text.count("\n")))

    def drop(self, statement: ast.stmt, text: str = "") -> None:
        """Take a statement out, or put single-line statements in its place; every other line keeps its number.

        Args:
            statement: What to take out.
            text: What to put there.
        """
        start, end = self.span(statement)
        before = self.code[self.code.rfind("\n", 0, start) + 1 : start]
        after = self.code[end : self._starts[self.code.count("\n", 0, end) + 1] - 1].strip()
        if before == "" and (after == "" or after.startswith("#")):
            self.blank(start, end, text)
        elif after.startswith(";"):
            self.replace(start, end, (text or "pass") + "\\\n" * self.code.count("\n", start, end))
        else:
            self.blank(start, end, text or "pass")

    def __bool__(self) -> bool:
        return bool(self._edits)

    def apply(self) -> str:
        """Give the changed text.

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
