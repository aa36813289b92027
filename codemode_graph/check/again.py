"""`again(tools.x(...))`: by it a program says that a call which was made before is meant anew.

A sandbox knows no such function. The check writes the call with one keyword more, which the host takes off before it binds
the call's arguments.
"""

import ast
import re
from collections.abc import Sequence

from codemode_sandboxes.source import Edits, tree_of

from codemode_graph.check.tool_uses import References
from codemode_graph.state import Finding
from codemode_graph.tools.schema import AGAIN

_NAME = "again"
_MARK = f"{AGAIN}=True"
_MARKS = re.compile(rf"(?:, )?\b{_MARK}")
_COMMENT = re.compile(r"#[^\n]*")


def mark_again(code: str, tools: Sequence[str]) -> tuple[str, list[str], list[Finding]]:
    """Write each `again(tools.x(...))` as the call that the host understands.

    Args:
        code: A program in script form. Where it defines the name itself, nothing is changed.
        tools: The names of the tools.

    Returns:
        The program, its lines unmoved; the changes, a line each; and a finding for each other use of the name.
    """
    tree = tree_of(code)
    names = [name for name in tree.unresolved() if name.id == _NAME]
    if not names:
        return code, [], []
    references, edits = References(tree, tools), Edits(code)
    fixes: list[str] = []
    findings: list[Finding] = []
    for name in names:
        outer = tree.parent(name)
        argument: ast.expr | None = None
        match outer:
            case ast.Call(func=func, args=[argument], keywords=[]) if func is name:
                pass
        inner = argument.value if isinstance(argument, ast.Await) else argument
        if not isinstance(outer, ast.Call) or not isinstance(inner, ast.Call) or not references.find(inner.func):
            if _NAME not in tools:
                message = "again(...) takes one call of a tool, as it is made: await again(tools.x(...))"
                findings.append(Finding(rule="wrong-again", message=message, line=name.lineno))
            continue
        # The parentheses stay: the call may stand in several lines.
        edits.replace(*edits.span(name), "")
        if isinstance(argument, ast.Await) and isinstance(tree.parent(outer), ast.Await):
            edits.replace(edits.span(argument)[0], edits.span(inner)[0], "")
        _add_mark(edits, inner)
        # A comma behind the call would now make a tuple of it.
        if (comma := _comma(edits.code, edits.span(outer.args[0])[1], edits.span(outer)[1])) is not None:
            edits.replace(comma, comma + 1, "")
        fixes.append(f"line {name.lineno}: {edits.text(inner.func)} is meant anew")
    return edits.apply(), fixes, findings


def without_marks(code: str) -> str:
    """Return a program with its calls as they would be without `again`, its lines unmoved."""
    return _MARKS.sub("", code) if _MARK in code else code


def _add_mark(edits: Edits, call: ast.Call) -> None:
    end = edits.span(call)[1] - 1
    arguments: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
    if not arguments:
        edits.insert(end, _MARK)
        return
    last = max(edits.span(argument)[1] for argument in arguments)
    edits.insert(end, f" {_MARK}" if _comma(edits.code, last, end) is not None else f", {_MARK}")


def _comma(code: str, start: int, end: int) -> int | None:
    """Return where a comma stands between two places, outside of comments."""
    text = _COMMENT.sub(lambda found: " " * len(found[0]), code[start:end])
    return start + text.index(",") if "," in text else None
