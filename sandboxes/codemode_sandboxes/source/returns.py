"""`return` at the top level of a program."""

import ast
from itertools import pairwise

from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.layout import indent, inside_strings
from codemode_sandboxes.source.scopes import Scopes, scopes_of

__all__ = ["resolve_returns", "top_level_returns"]

_COMPOUND = (
    *(ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match),
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
)


def top_level_returns(scopes: Scopes) -> list[ast.Return]:
    """Find the `return` statements outside of any function."""
    return [n for n in ast.walk(scopes.tree) if isinstance(n, ast.Return) and scopes.scope(n) is scopes.module]


def resolve_returns(code: str) -> tuple[str, list[str]]:
    """Give `return` at the top level the meaning that was intended.

    A `return` that is the last statement becomes the last expression. Where there are others, the program is put into
    a function, whose head takes a line that was free. Where no line was free, one is added at the top, and said so.

    Returns:
        The program, and notes.
    """
    scopes = scopes_of(code)
    returns = top_level_returns(scopes)
    if not returns:
        return code, []
    edits = Edits(code)
    last = scopes.tree.body[-1]
    if returns == [last]:
        _to_expression(edits, returns[0])
        return edits.apply(), []
    name = "_program"
    while name in scopes.module.bound:
        name += "_"
    notes = ["put the program into a function, because it returns at its top level"]
    line, moved = _free_line(edits, scopes)
    if line == 0:
        edits.insert(0, f"async def {name}():\n")
        notes.append("every line is one further down than it was")
    else:
        start = edits.line_start(line)
        edits.replace(start, start + len(edits.line(line)), f"async def {name}():")
    indent(edits, scopes.tree, line + 1, code.count("\n") + 1)
    if moved is not None:
        body = scopes.tree.body
        edits.insert(edits.span(body[body.index(moved) + 1])[0], edits.text(moved) + "; ")
    _make_nonlocal(edits, scopes, line)
    if isinstance(last, ast.Expr):
        edits.insert(edits.span(last)[0], "return ")
    return f"{edits.apply().rstrip()}\nawait {name}()\n", notes


def _to_expression(edits: Edits, statement: ast.Return) -> None:
    start, end = edits.span(statement)
    keyword_end = start + len("return")
    if statement.value is None:
        edits.replace(start, end, "None")
    elif "\n" in edits.code[start : edits.span(statement.value)[0]]:
        edits.replace(start, keyword_end, "(")
        edits.insert(end, ")")
    else:
        after = edits.code[keyword_end:]
        edits.replace(start, keyword_end + len(after) - len(after.lstrip(" \t")), "")


def _free_line(edits: Edits, scopes: Scopes) -> tuple[int, ast.stmt | None]:
    """Find a line for the function's head, behind which everything can be local.

    Returns:
        The line, counted from 1, or 0 where there is none; and the import that has to move down from it, if any.
    """
    strings = inside_strings(scopes.tree)
    body = scopes.tree.body
    spans = [(edits.code.count("\n", 0, edits.span(s)[0]) + 1, s.end_lineno or 1) for s in body]
    for number in range(1, spans[-1][1]):
        text = edits.line(number)
        before = sum(first <= number for first, _ in spans)
        if number in strings:
            continue
        if not text.strip() or text.lstrip().startswith("#"):
            if all(last < number for _, last in spans[:before]) and _is_independent(scopes, body[:before]):
                return number, None
        elif _can_move_down(body, spans, number) and _is_independent(scopes, body[: before - 1]):
            return number, body[before - 1]
    return 0, None


def _can_move_down(body: list[ast.stmt], spans: list[tuple[int, int]], line: int) -> bool:
    """Whether a line holds an import alone, which may as well stand before the simple statement on a later line."""
    for index, (statement, following) in enumerate(pairwise(body)):
        movable = isinstance(statement, ast.Import | ast.ImportFrom) and not isinstance(following, _COMPOUND)
        if movable and spans[index] == (line, line) and spans[index + 1][0] > line:
            return index == 0 or spans[index - 1][1] < line
    return False


def _is_independent(scopes: Scopes, before: list[ast.stmt]) -> bool:
    """Whether statements neither return, nor share a variable with later ones that set it."""
    inside = {node for statement in before for node in ast.walk(statement)}
    if any(isinstance(node, ast.Return) and scopes.scope(node) is scopes.module for node in inside):
        return False
    for name, bindings in scopes.module.bound.items():
        later = [node for node in bindings if node not in inside]
        if later and (len(later) < len(bindings) or any(use in inside for use in scopes.uses(name, scopes.module))):
            return False
    return True


def _make_nonlocal(edits: Edits, scopes: Scopes, head: int) -> None:
    """What functions behind the head call `global` is local to the function that the head begins."""
    for node in ast.walk(scopes.tree):
        if not isinstance(node, ast.Global) or scopes.scope(node) is scopes.module or node.lineno <= head:
            continue
        owned = {
            name
            for name in node.names
            if any(scopes.scope(binding) is scopes.module for binding in scopes.module.bound.get(name, ()))
        }
        inner = [name for name in node.names if name in owned]
        outer = [name for name in node.names if name not in owned]
        parts = [f"nonlocal {', '.join(inner)}"] if inner else []
        parts += [f"global {', '.join(outer)}"] if outer else []
        edits.drop(node, "; ".join(parts))
