"""A program's source text: parsing it, editing it in place, and bringing it into script form."""

from codemode_sandboxes.source.asyncify import AsyncEdits, can_await, convertible, is_waiting, needs_parentheses
from codemode_sandboxes.source.edits import Edits, plain_text
from codemode_sandboxes.source.script import Script, to_script
from codemode_sandboxes.source.tree import Function, Scope, Tree, is_same_program, parse, tree_of

__all__ = [
    "AsyncEdits",
    "Edits",
    "Function",
    "Scope",
    "Script",
    "Tree",
    "can_await",
    "convertible",
    "is_same_program",
    "is_waiting",
    "needs_parentheses",
    "parse",
    "plain_text",
    "to_script",
    "tree_of",
]
