"""Changes of a program's text, and gaps that such changes close."""

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.tree import Tree

__all__ = ["Change", "Find", "Place", "RewrittenGap", "find_classes", "insert_call", "opening_of", "wrap"]

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


Place: TypeAlias = tuple[ast.AST, Change | None]
"""A node that Monty does not run as CPython does, and the change that means exactly the same; None where there is none."""


@dataclass(frozen=True, slots=True)
class RewrittenGap:
    """A gap that rewriting closes, in part or whole.

    Attributes:
        name: See `Gap`, also for `substitute` and `probe`.
        substitute: What to write instead.
        places: Yields the nodes that have it, each with its change.
        probe: A program whose value is True where the gap is closed.
        words: A regular expression. A program that it does not match does not have the gap, and is not parsed.
        open_name: The name of what stays open; empty where that is too little to tell a model of.
    """

    name: str
    substitute: str
    places: Callable[[Tree], Iterable[Place]]
    probe: str
    words: str
    open_name: str = ""

    def changes(self, tree: Tree) -> Iterator[Change]:
        """Yield the changes that close the gap in a program."""
        return (change for _, change in self._placed(tree) if change is not None)

    def open_part(self) -> Gap:
        """Return the gap that programs still run into once they are rewritten."""
        return Gap(
            self.open_name or self.name,
            self.substitute,
            lambda tree: (node for node, change in self._placed(tree) if change is None),
            self.probe,
            rare=not self.open_name,
        )

    def _placed(self, tree: Tree) -> Iterator[Place]:
        if not (places := list(self.places(tree))):
            return
        unplaced: set[ast.AST] = set()
        if sys.version_info < (3, 12):  # positions inside f-strings are wrong there
            strings = tree.of(ast.JoinedStr)
            unplaced.update(inner for node in strings for inner in ast.walk(node) if inner is not node)
        is_large = len(tree.nodes) > _MOST_NODES
        for node, change in places:
            can_change = change is not None and change.node not in unplaced and not is_large
            yield node, change if can_change else None


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


def wrap(node: ast.expr, opening: str, helper: str) -> Place:
    """Return a node with the change that `insert_call` makes; with none where it is unpacked, and no value."""
    if isinstance(node, ast.Starred):
        return node, None
    return node, Change(node, lambda edits: insert_call(edits, node, opening), helper)
