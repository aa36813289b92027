"""`asyncio.run(main())` and its kin: what starts an event loop becomes `await`, because one is running already."""

import ast

from codemode_sandboxes.source.asyncify import AsyncEdits, can_await, convertible, function_around, needs_parentheses
from codemode_sandboxes.source.edits import Edits
from codemode_sandboxes.source.scopes import Scopes, scopes_of

__all__ = ["await_runners"]

_LOOP_MAKERS = {"get_event_loop", "get_running_loop", "new_event_loop"}
_LOOP_CHORES = {"close", "shutdown_asyncgens", "shutdown_default_executor", "stop"}


def await_runners(code: str) -> str:
    """Replace `asyncio.run(x)` and `loop.run_until_complete(x)` by `await x`.

    Functions around them become `async def` and their calls are awaited. A runner stays where that cannot be done.
    """
    scopes = scopes_of(code)
    able = convertible(scopes)
    runners = [n for n in ast.walk(scopes.tree) if isinstance(n, ast.Call) and _is_runner(scopes, n)]
    runners = [call for call in runners if can_await(scopes, call, able)]
    edits = Edits(code)
    changes = AsyncEdits(edits, scopes)
    for call in runners:
        _replace(edits, scopes, call)
        changes.collect(call)
    arguments = {call.args[0] for call in runners}
    around = {function_around(scopes, call) for call in runners}
    changes.convert(
        {f for f in around if isinstance(f, ast.FunctionDef)},
        lambda call: call in arguments or isinstance(scopes.parent(call), ast.Await),
    )
    return _drop_loops(edits.apply())


def _is_runner(scopes: Scopes, call: ast.Call) -> bool:
    if len(call.args) != 1 or isinstance(call.args[0], ast.Starred):
        return False
    if any(keyword.arg not in ("debug", "loop_factory") for keyword in call.keywords):
        return False
    match call.func:
        case ast.Attribute(value=ast.Call(func=made), attr="run"):
            return is_asyncio(scopes, made, {"Runner"})
        case ast.Attribute(value=ast.Call() as loop, attr="run_until_complete"):
            return _is_loop(scopes, loop)
        case ast.Attribute(value=ast.Name() as loop, attr="run_until_complete"):
            return _loop_bindings(scopes, loop) is not None
    return is_asyncio(scopes, call.func, {"run"})


def is_asyncio(scopes: Scopes, node: ast.expr, names: set[str]) -> bool:
    """Tell whether an expression is one of these members of `asyncio`, however it was imported, or was forgotten to."""
    match node:
        case ast.Attribute(value=ast.Name(id=module) as name, attr=attribute) if attribute in names:
            owner = scopes.resolve(module, scopes.scope(name))
            if owner is None:
                return module == "asyncio"
            return all(
                isinstance(b, ast.Import)
                and any(a.name == "asyncio" and (a.asname or a.name) == module for a in b.names)
                for b in owner.bound[module]
            )
        case ast.Name(id=member):
            owner = scopes.resolve(member, scopes.scope(node))
            return owner is not None and all(
                isinstance(b, ast.ImportFrom)
                and b.module == "asyncio"
                and any((a.asname or a.name) == member and a.name in names for a in b.names)
                for b in owner.bound[member]
            )
    return False


def _is_loop(scopes: Scopes, node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and is_asyncio(scopes, node.func, _LOOP_MAKERS)


def _loop_bindings(scopes: Scopes, name: ast.Name) -> list[ast.Assign] | None:
    """The statements that bind a name, if all of them bind it to an event loop."""
    owner = scopes.resolve(name.id, scopes.scope(name))
    statements = [scopes.parent(node) for node in owner.bound[name.id]] if owner else []
    loops = [s for s in statements if isinstance(s, ast.Assign) and len(s.targets) == 1 and _is_loop(scopes, s.value)]
    return loops if loops and len(loops) == len(statements) else None


def _replace(edits: Edits, scopes: Scopes, call: ast.Call) -> None:
    """Write `await x` for `run(x)`; the line feeds between stay."""
    argument = call.args[0]
    start, end = edits.span(call)
    inner_start, inner_end = edits.span(argument)
    opened = edits.code[edits.span(call.func)[1] : inner_start]
    closed = edits.code[inner_end:end]
    tight = needs_parentheses(scopes.parent(call), call)
    before, after = ("(await ", ")") if tight else ("await ", "")
    if isinstance(argument, ast.Name) and isinstance(scopes.function(argument), ast.AsyncFunctionDef):
        after = "()" + after
    primary = isinstance(argument, ast.Call | ast.Name | ast.Attribute | ast.Subscript)
    if primary and opened == "(" and "\n" not in closed and closed.count(")") == 1 + closed.count("("):
        edits.replace(start, inner_start, before)
        edits.replace(inner_end, end, after)
        return
    edits.replace(start, edits.span(call.func)[1], before)
    comma = closed.find(",")
    if comma >= 0:
        edits.blank(inner_end + comma, end - 1)
    edits.insert(end, after)


def _drop_loops(code: str) -> str:
    """Take out event loops that are made and closed but no longer used."""
    scopes = scopes_of(code)
    edits = Edits(code)
    dropped: set[ast.stmt] = set()
    for node in ast.walk(scopes.tree):
        match node:
            case ast.Assign(targets=[ast.Name() as name]) if _is_loop(scopes, node.value):
                owner = scopes.resolve(name.id, scopes.scope(name))
                bindings = _loop_bindings(scopes, name)
                chores = [_chore(scopes, use) for use in scopes.uses(name.id, owner)] if owner else []
                if bindings is not None and all(chores):
                    dropped |= {*bindings, *(chore for chore in chores if chore)}
            case ast.Expr(value=ast.Call(func=function, args=[loop])) if _is_loop(scopes, loop):
                if is_asyncio(scopes, function, {"set_event_loop"}):
                    dropped.add(node)
    for statement in dropped:
        edits.drop(statement)
    return edits.apply()


def _chore(scopes: Scopes, use: ast.Name) -> ast.Expr | None:
    """The statement, if that is all it is, which looks after an event loop."""
    call = scopes.parent(use)
    if isinstance(call, ast.Attribute) and call.attr in _LOOP_CHORES:
        call = scopes.parent(call)
    elif not (isinstance(call, ast.Call) and is_asyncio(scopes, call.func, {"set_event_loop"})):
        return None
    statement = scopes.parent(call)
    if isinstance(statement, ast.Await):
        statement = scopes.parent(statement)
    return statement if isinstance(call, ast.Call) and isinstance(statement, ast.Expr) else None
