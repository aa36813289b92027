"""Where an error was raised that passed a `try` by.

Monty 1.4 says that such an error was raised at the statement that stands last in the `try`, in its last handler or in
`finally`; or, where that is a `pass`, at what it did before.
"""

import ast
import builtins
from collections.abc import Mapping
from typing import TypeAlias

__all__ = ["origin"]

_MAY_RAISE = (ast.Await, ast.BinOp, ast.Raise, ast.Subscript)
_HARMLESS_CALLS = {"add", "append", "len", "print", "repr", "str"}
_FIELDS = ("finalbody", "handlers", "orelse", "body")
_OWN_CODE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_Part: TypeAlias = ast.stmt | ast.ExceptHandler


def origin(source: str, line: int, raised: tuple[str, str], told: Mapping[tuple[str, str], int]) -> int:
    """Give the line at which an error was raised, as far as that can be told.

    Args:
        source: The program.
        line: Where Monty says that it was.
        raised: The error's type and message.
        told: Lines of calls that were answered with an error, by its type and message.

    Returns:
        `line` where no `try` ends there that lets such an error pass. Else the line of the call that gave the error, or
        that of the only statement in question, or, where there are several, that of the `try`.
    """
    passed = _passed(source, line, raised[0])
    if passed is None:
        return line
    call = told.get(raised)
    if call is not None and passed.lineno <= call <= (passed.end_lineno or call):
        return call
    several = len(passed.body) > 1 or passed.orelse or (passed.finalbody and passed.handlers)
    if several or hasattr(passed.body[0], "body") or not _is_harmless(_last(passed)):
        return passed.lineno
    return passed.body[0].lineno


def _passed(source: str, line: int, type_name: str) -> ast.Try | None:
    """The outermost `try` that may let an error pass, and whose last statement is at a line."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Try) and _lets_pass(node, type_name) and _ends_at(node, line, type_name):
            return node
    return None


def _ends_at(node: ast.Try, line: int, type_name: str) -> bool:
    if node.handlers and line == node.handlers[-1].lineno:
        return True
    last = _last(node)
    return last.lineno <= line <= (last.end_lineno or line) and not _raises(last, type_name)


def _lets_pass(node: ast.Try, type_name: str) -> bool:
    if node.finalbody:
        return True
    kinds = [handler.type for handler in node.handlers]
    return not any(
        _takes(each, type_name) for kind in kinds for each in (kind.elts if isinstance(kind, ast.Tuple) else [kind])
    )


def _takes(kind: ast.expr | None, type_name: str) -> bool:
    if kind is None:
        return True
    caught = getattr(builtins, kind.id, None) if isinstance(kind, ast.Name) else None
    error = getattr(builtins, type_name, None)
    return isinstance(caught, type) and isinstance(error, type) and issubclass(error, caught)


def _last(node: _Part) -> _Part:
    """The simple statement that stands last, but for those that do nothing; or a handler of only such."""
    while not isinstance(node, _OWN_CODE):
        blocks = (getattr(node, field, None) for field in _FIELDS)
        inside = next((each for each in blocks if isinstance(each, list) and not all(map(_is_pass, each))), None)
        if inside is None:
            break
        node = next(each for each in reversed(inside) if not _is_pass(each))
    return node


def _is_pass(node: ast.AST) -> bool:
    return isinstance(node, ast.Pass)


def _raises(statement: _Part, type_name: str) -> bool:
    """Whether a statement raises an error of this type in so many words."""
    raised = statement.exc if isinstance(statement, ast.Raise) else None
    return raised is not None and any(isinstance(node, ast.Name) and node.id == type_name for node in ast.walk(raised))


def _is_harmless(statement: _Part) -> bool:
    """Whether a statement hardly raises anything itself."""
    for node in ast.walk(statement):
        if isinstance(node, _MAY_RAISE):
            return False
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name not in _HARMLESS_CALLS:
                return False
    return True
