"""Every form that a program comes in, made into a script whose last expression is its value."""

import ast
from dataclasses import dataclass

from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.entry import await_entry, call_entry
from codemode_sandboxes.source.layout import plain_text, unguard
from codemode_sandboxes.source.returns import resolve_returns
from codemode_sandboxes.source.runners import await_runners
from codemode_sandboxes.source.scopes import scopes_of
from codemode_sandboxes.source.value import give_value

__all__ = ["Script", "to_script"]


@dataclass(frozen=True, slots=True)
class Script:
    """A program in script form.

    Attributes:
        code: Top-level `await` is allowed, and the value of the last expression is the program's value.
        notes: What was done to it that its author may not expect, one line each.
    """

    code: str
    notes: tuple[str, ...] = ()


def to_script(code: str) -> Script:
    """Bring a program into script form. Its lines keep their numbers.

    Args:
        code: A script with top-level `await`; functions with or without a call of the main one; `asyncio.run(main())`
            and its kin, under `if __name__ == "__main__":` or not; statements that end in `return`, in an assignment
            or in `print(...)`.

    Returns:
        The script. A script is its own script form.

    Raises:
        SyntaxError: The text is not Python, or nested too deeply.
    """
    code, notes = _drop_idle(plain_text(code))
    code = await_entry(await_runners(unguard(code)))
    for step in (call_entry, give_value, resolve_returns):
        code, more = step(code)
        notes += more
    return Script(code, tuple(notes))


def _drop_idle(code: str) -> tuple[str, list[str]]:
    """Take out `from __future__` imports, and `nest_asyncio`, which scripts do not need."""
    tree = scopes_of(code).tree
    edits = Edits(code)
    nested = False
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module="__future__"):
                edits.drop(node)
            case ast.ImportFrom(module="nest_asyncio"):
                nested = True
                edits.drop(node)
            case ast.Import(names=aliases) if any(alias.name == "nest_asyncio" for alias in aliases):
                nested = True
                others = [alias for alias in aliases if alias.name != "nest_asyncio"]
                edits.drop(node, f"import {', '.join(map(ast.unparse, others))}" if others else "")
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="nest_asyncio"), attr="apply"))):
                nested = True
                edits.drop(node)
    return edits.apply(), ["dropped nest_asyncio: the event loop is running already"] if nested else []
