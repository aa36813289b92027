"""Parsing text that may be hostile."""

import ast
import warnings

__all__ = ["MAX_DEPTH", "parse"]

MAX_DEPTH = 200
"""How deep a program's syntax tree may be. Whoever walks it recursively, as `ast.NodeVisitor` does, stays within Python's
recursion limit."""


def parse(code: str) -> ast.Module:
    """Parse a program.

    Args:
        code: Any text.

    Returns:
        Its syntax tree, at most `MAX_DEPTH` nodes deep.

    Raises:
        SyntaxError: It is not Python, or nested too deeply. No other exception, whatever the text.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an invalid escape sequence is the program's affair, not the host's
            tree = ast.parse(code)
    except (RecursionError, MemoryError):
        raise _too_deep() from None
    except UnicodeError:
        raise SyntaxError("the program holds a lone surrogate, which is not a character") from None
    except ValueError as error:
        raise SyntaxError(str(error)) from None
    if _deeper_than(tree, MAX_DEPTH):
        raise _too_deep()
    return tree


def _too_deep() -> SyntaxError:
    return SyntaxError("the program is nested too deeply")


def _deeper_than(tree: ast.AST, limit: int) -> bool:
    level: list[ast.AST] = [tree]
    for _ in range(limit):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return False
    return True
