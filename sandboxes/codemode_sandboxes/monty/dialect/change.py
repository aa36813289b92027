"""Changes of a program's text, and gaps that such changes close."""

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.tree import Tree

__all__ = ["Change", "Find", "RewrittenGap", "find_classes", "insert_call", "opening_of", "wrap"]

Find: TypeAlias = Callable[[Tree], Iterable[ast.AST]]

# Nodes of the largest program that is rewritten: some rewrites compare every use of a name with every other.
_MOST_NODES = 30_000


class Change(NamedTuple):
    """A change of a program's text.

    Attributes:
        node: The node that is changed.
        edit: Makes the change. It raises `ValueError` where the text is not laid out as expected.
        helper: Definitions that the changed text needs, in Monty's Python; empty where it needs none.
    """

    node: ast.expr | ast.stmt
    edit: Callable[[Edits], None]
    helper: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewrittenGap(Gap):
    """A gap that rewriting closes, in part or whole.

    Attributes:
        rewrite: Yields the changes that mean exactly the same in Monty; it passes over what cannot be said exactly.
        words: A regular expression. A program that it does not match does not have the gap, and is not parsed.
        left: The name of what stays open; empty where that is too little to tell a model of.
    """

    rewrite: Callable[[Tree], Iterable[Change]]
    words: str
    open_name: str = ""

    def changes(self, tree: Tree) -> Iterator[Change]:
        """Yield the changes that close the gap in a program, where its nodes' positions can be relied upon."""
        if len(tree.nodes) > _MOST_NODES:
            return
        unplaced: set[ast.AST] = set()
        if sys.version_info < (3, 12):  # positions inside f-strings are wrong there
            strings = tree.of(ast.JoinedStr)
            unplaced.update(inner for node in strings for inner in ast.walk(node) if inner is not node)
        yield from (change for change in self.rewrite(tree) if change.node not in unplaced)

    def open_part(self) -> Gap:
        """Return the gap that programs still run into once they are rewritten."""
        return Gap(
            self.open_name or self.name, self.substitute, self._find_unchanged, self.probe, rare=not self.open_name
        )

    def _find_unchanged(self, tree: Tree) -> Iterator[ast.AST]:
        if nodes := list(self.find(tree)):
            changed = {change.node for change in self.changes(tree)}
            yield from (node for node in nodes if node not in changed)


def find_classes(*names: str) -> Find:
    """Return a finder of the nodes of these `ast` classes; an older Python may lack some of them."""
    present: list[type[ast.AST]] = [getattr(ast, name) for name in names if hasattr(ast, name)]
    return lambda tree: tree.of(*present)


def opening_of(edits: Edits, call: ast.Call) -> int:
    """Return the offset of the parenthesis that opens a call's arguments.

    Raises:
        ValueError: A comment comes before it, which may hold parentheses of its own.
    """
    end = edits.span(call.func)[1]
    opening = edits.code.index("(", end)
    if edits.code[end:opening].strip(") \t\n\\"):
        raise ValueError("a comment stands before the arguments")
    return opening


def insert_call(edits: Edits, node: ast.expr, opening: str) -> None:
    """Put a value into a call, whose text begins with an opening that has two parentheses."""
    start, end = edits.span(node)
    if isinstance(node, ast.GeneratorExp):  # its parentheses may be those of the call around it
        start, end = start + 1, end - 1
    edits.insert(start, opening)
    edits.insert(end, "))")


def wrap(node: ast.expr, opening: str, helper: str) -> Change | None:
    """Return the change that `insert_call` makes; None for what is unpacked, which is no value."""
    return (
        None if isinstance(node, ast.Starred) else Change(node, lambda edits: insert_call(edits, node, opening), helper)
    )
