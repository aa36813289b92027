"""What a program may still do, as far as its text tells."""

import ast
from typing import Any

__all__ = ["static_plan"]


def static_plan(program: str, *, after: int = 0) -> list[dict[str, Any]]:
    """List the tool calls that stand in a program.

    Args:
        program: Python source.
        after: Leave out the calls up to this line; calls in a loop or function that reaches beyond it are kept.

    Returns:
        `line`, `tool` and `arguments` of each call, in the order of the text. An argument whose value only a run can
        tell is given as its source text.
    """
    try:
        tree = ast.parse(program)
    except (SyntaxError, ValueError, RecursionError):
        return []
    repeated = [
        node for node in ast.walk(tree) if isinstance(node, ast.For | ast.AsyncFor | ast.While | ast.comprehension)
    ]
    looped = {id(inner) for loop in repeated for inner in ast.walk(loop)}
    calls = [
        (node, name)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and (name := _tool(node.func)) and (node.lineno > after or id(node) in looped)
    ]
    return [
        {"line": node.lineno, "tool": name, "arguments": _arguments(node)}
        for node, name in sorted(calls, key=lambda found: (found[0].lineno, found[0].col_offset))
    ]


def _tool(function: ast.expr) -> str | None:
    match function:
        case ast.Attribute(value=ast.Name(id="tools"), attr=name):
            return name
        case ast.Subscript(value=ast.Name(id="tools"), slice=ast.Constant(value=str() as name)):
            return name
    return None


def _arguments(call: ast.Call) -> dict[str, str]:
    positional = {str(number): ast.unparse(value) for number, value in enumerate(call.args)}
    return positional | {keyword.arg or "**": ast.unparse(keyword.value) for keyword in call.keywords}
