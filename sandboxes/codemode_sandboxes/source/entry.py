"""Calling the function that a program defines but does not call."""

import ast

from codemode_sandboxes.source.asyncify import AsyncEdits
from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.returns import top_level_returns
from codemode_sandboxes.source.scopes import Function, Scopes, scopes_of

__all__ = ["await_entry", "call_entry", "is_generator", "is_print"]


def await_entry(code: str) -> str:
    """Put the missing `await` before a call, at the top level, of one of the program's own `async def` functions.

    This holds for a call that is a statement, is printed, is indexed, or is given a name that is then only used as a
    value.
    """
    scopes = scopes_of(code)
    edits = Edits(code)
    changes = AsyncEdits(edits, scopes)
    for node in ast.walk(scopes.tree):
        if not isinstance(node, ast.Call) or scopes.scope(node) is not scopes.module:
            continue
        function = scopes.function(node.func)
        if not isinstance(function, ast.AsyncFunctionDef) or is_generator(scopes, function):
            continue
        if _is_value(scopes, node):
            changes.add_await(node)
    return edits.apply()


def call_entry(code: str) -> tuple[str, list[str]]:
    """Append the call that a program forgot.

    A top-level `main` that nothing refers to is called, unless the program ends in an expression, which is its value;
    else, where a program ends in a function, the only function that nothing refers to. Neither may need arguments,
    except one called `tools`.

    Returns:
        The program, and notes.
    """
    scopes = scopes_of(code)
    function = None if top_level_returns(scopes) else _entry(scopes)
    if function is None or is_generator(scopes, function):
        return code, []
    missing = _required(function.args)
    if missing not in ([], ["tools"]):
        return code, []
    wait = "await " if isinstance(function, ast.AsyncFunctionDef) else ""
    call = f"{function.name}({', '.join(missing)})"
    return f"{code.rstrip()}\n{wait}{call}\n", [] if function.name == "main" else [f"called {call}"]


def is_generator(scopes: Scopes, function: Function) -> bool:
    """Tell whether calling a function gives a generator."""
    inner = scopes.opened(function)
    return any(isinstance(n, ast.Yield | ast.YieldFrom) and scopes.scope(n) is inner for n in ast.walk(function))


def _entry(scopes: Scopes) -> Function | None:
    functions = [s for s in scopes.tree.body if isinstance(s, Function) and not s.decorator_list]
    last = scopes.tree.body[-1] if functions else None
    if isinstance(last, ast.Expr) and not is_print(last.value):
        return None
    idle = [f for f in functions if not _is_referred_to(scopes, f)]
    for function in idle:
        if function.name == "main":
            return function
    return idle[0] if len(idle) == 1 and isinstance(last, Function) else None


def _is_referred_to(scopes: Scopes, function: Function) -> bool:
    inside = set(ast.walk(function))
    uses = scopes.uses(function.name, scopes.module)
    return len(scopes.module.bound[function.name]) != 1 or any(use not in inside for use in uses)


def _required(arguments: ast.arguments) -> list[str]:
    positional = [*arguments.posonlyargs, *arguments.args]
    names = [a.arg for a in positional[: len(positional) - len(arguments.defaults)]]
    return names + [a.arg for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is None]


def _is_value(scopes: Scopes, node: ast.expr) -> bool:
    parent = scopes.parent(node)
    match parent:
        case ast.Expr():
            return True
        case ast.Attribute() | ast.Subscript():
            return parent.value is node
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return all(_is_plain_use(scopes, use) for use in scopes.uses(name, scopes.module))
    return is_print(parent)


def _is_plain_use(scopes: Scopes, use: ast.Name) -> bool:
    parent = scopes.parent(use)
    return not isinstance(parent, ast.Await | ast.Call | ast.Starred | ast.keyword) or is_print(parent)


def is_print(node: ast.AST) -> bool:
    """Tell whether a node is a call of `print` or `pprint`."""
    match node:
        case ast.Call(func=ast.Name(id="print" | "pprint")):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Name(id="pprint"), attr="pprint")):
            return True
    return False
