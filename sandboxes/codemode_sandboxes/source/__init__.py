"""A program's source text: parsing it, editing it in place, and bringing it into script form."""

from codemode_sandboxes.source.asyncify import (
    AsyncEdits,
    can_await,
    convertible,
    function_around,
    is_waiting,
    needs_parentheses,
)
from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.entry import is_generator
from codemode_sandboxes.source.layout import plain_text
from codemode_sandboxes.source.parse import parse
from codemode_sandboxes.source.scopes import Function, Scope, Scopes, scopes_of
from codemode_sandboxes.source.script import Script, to_script
from codemode_sandboxes.source.tree import Tree, dotted_name

__all__ = [
    "AsyncEdits",
    "Edits",
    "Function",
    "Scope",
    "Scopes",
    "Script",
    "Tree",
    "can_await",
    "convertible",
    "dotted_name",
    "function_around",
    "is_generator",
    "is_waiting",
    "needs_parentheses",
    "parse",
    "plain_text",
    "scopes_of",
    "to_script",
]
