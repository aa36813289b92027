"""What the lowerings know of a program, and how they say what to change."""

import ast
import sys
from collections.abc import Callable
from dataclasses import dataclass

from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.tree import Tree, dotted_name

__all__ = ["Change", "Context", "Lowering", "after_word", "replace_text"]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a program's text.

    Attributes:
        node: What is changed; decides the order of changes that begin at one place.
        edit: Makes it.
        helper: The function of `HELPERS` that the changed text calls, if any.
    """

    node: ast.expr | ast.stmt | ast.alias
    edit: Callable[[Edits], None]
    helper: str = ""


_MOST_NODES = 20_000


class Context:
    """A program's syntax tree with what has to be looked up in it.

    Args:
        tree: The program.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree, self.root = tree, tree.root
        self.imported, self.parents = tree.imported, tree.parents
        self.uses: dict[str, list[ast.Name]] = {}
        self.declared: set[str] = set()
        for name in tree.of(ast.Name):
            self.uses.setdefault(name.id, []).append(name)
        self.declared.update(name for node in tree.of(ast.Global) for name in node.names)
        self.declared.update(name for node in tree.of(ast.Nonlocal) for name in node.names)
        # Positions inside f-strings are wrong before Python 3.12.
        unplaced = (
            (inner for node in tree.of(ast.JoinedStr) for inner in ast.walk(node)) if sys.version_info < (3, 12) else ()
        )
        self._unplaced = set(unplaced)

    def placed(self, node: ast.AST) -> bool:
        """Whether a node's position can be relied upon, in a program of a size that people and models write."""
        return node not in self._unplaced and len(self.parents) <= _MOST_NODES

    def builtin(self, *names: str) -> bool:
        """Whether names mean what they do everywhere: the program gives them no meaning of its own."""
        return self.tree.function_names.isdisjoint(names) and self.tree.bound.keys().isdisjoint(names)

    def dotted(self, node: ast.AST) -> str | None:
        """Give the dotted name of the imported thing that an expression refers to."""
        return dotted_name(node, self.imported)

    def parent(self, node: ast.AST) -> ast.AST | None:
        """Give the node around a node."""
        return self.parents.get(node)

    def call_of(self, node: ast.AST) -> ast.Call | None:
        """Give the call whose function a node is."""
        call = self.parents.get(node)
        return call if isinstance(call, ast.Call) and call.func is node else None


Lowering = Callable[[Context, ast.AST], Change | None]
"""Says how to change a node that a gap was found in; None where it cannot be said exactly."""


def replace_text(edits: Edits, start: int, end: int, text: str) -> None:
    """Replace text by other text of as many lines."""
    edits.blank(start, end, text)


def after_word(edits: Edits, word: str, start: int, end: int) -> tuple[int, int]:
    """Find the last occurrence of a word or sign between two offsets; where it begins and ends.

    Raises:
        ValueError: It is not there, or there is a comment, which may hold anything.
    """
    if "#" in edits.code[start:end]:
        raise ValueError("a comment")
    at = edits.code.rindex(word, start, end)
    return at, at + len(word)
