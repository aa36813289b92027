"""Programs in any of their forms, brought into script form: a script whose last expression is its value."""

import __future__

import ast
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from codemode_sandboxes.source.asyncify import AsyncEdits, can_await, convertible, needs_parentheses
from codemode_sandboxes.source.edits import Edits, indent, inside_strings, plain_text, unguard
from codemode_sandboxes.source.tree import CACHED_CHARACTERS, Function, Tree, tree_of
from codemode_sandboxes.source.value import append_value, is_print

__all__ = ["Script", "to_script"]

_LOOP_MAKERS = {"get_event_loop", "get_running_loop", "new_event_loop"}
# What programs do with an event loop besides running in it; without the loop there is nothing to do.
_LOOP_CHORES = {"close", "shutdown_asyncgens", "shutdown_default_executor", "stop"}
_COMPOUND = (
    *(ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match),
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
)


class Script(NamedTuple):
    """A program in script form.

    Attributes:
        code: Top-level `await` is allowed, and the value of the last expression is the program's value.
        notes: Changes that its author may not expect, one line each.
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
    return _cached(code) if len(code) <= CACHED_CHARACTERS else _to_script(code)


def _to_script(code: str) -> Script:
    code, notes = _drop_idle(plain_text(code))
    # The order matters: calls under a guard become top-level calls, which then need their `await`, and only what is
    # called by now shows whether the entry still has to be.
    code = _await_entry(_await_runners(unguard(code)))
    for step in (_call_entry, append_value, _resolve_returns):
        code, more = step(code)
        notes += more
    return Script(code, tuple(notes))


# The choice of a sandbox and the check bring the same program into script form.
_cached = lru_cache(maxsize=4)(_to_script)


def _drop_idle(code: str) -> tuple[str, list[str]]:
    """Remove `from __future__` imports, and `nest_asyncio`, which scripts do not need."""
    edits = Edits(code)
    nested = False
    for node in tree_of(code).of(ast.Import, ast.ImportFrom, ast.Expr):
        match node:
            case ast.ImportFrom(module="__future__", names=aliases) if all(
                alias.name in __future__.all_feature_names for alias in aliases
            ):
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


def _await_runners(code: str) -> str:
    """Replace `asyncio.run(x)` and `loop.run_until_complete(x)` by `await x`.

    Functions around them become `async def` and their calls are awaited. A runner stays where that cannot be done.
    """
    tree = tree_of(code)
    able = convertible(tree)
    runners = [call for call in tree.of(ast.Call) if _is_runner(tree, call)]
    runners = [call for call in runners if can_await(tree, call, able)]
    edits = Edits(code)
    changes = AsyncEdits(edits, tree)
    for call in runners:
        _replace(edits, tree, call)
        changes.collect(call)
    arguments = {call.args[0] for call in runners}
    around = {tree.function_around(call) for call in runners}
    changes.convert(
        {f for f in around if isinstance(f, ast.FunctionDef)},
        lambda call: call in arguments or isinstance(tree.parent(call), ast.Await),
    )
    return _drop_loops(edits.apply())


def _is_runner(tree: Tree, call: ast.Call) -> bool:
    if len(call.args) != 1 or isinstance(call.args[0], ast.Starred):
        return False
    if any(keyword.arg not in ("debug", "loop_factory") for keyword in call.keywords):
        return False
    match call.func:
        case ast.Attribute(value=ast.Call(func=maker), attr="run"):
            return _is_asyncio(tree, maker, {"Runner"})
        case ast.Attribute(value=ast.Call() as loop, attr="run_until_complete"):
            return _is_loop(tree, loop)
        case ast.Attribute(value=ast.Name() as loop, attr="run_until_complete"):
            return _loop_bindings(tree, loop) is not None
    return _is_asyncio(tree, call.func, {"run"})


def _is_asyncio(tree: Tree, node: ast.expr, names: set[str]) -> bool:
    """Return whether an expression is one of these members of `asyncio`; the import may have been forgotten."""
    match node:
        case ast.Attribute(value=ast.Name(id=module) as name, attr=attribute) if attribute in names:
            owner = tree.owner(name)
            if owner is None:
                return module == "asyncio"
            return all(
                isinstance(b, ast.Import)
                and any(a.name == "asyncio" and (a.asname or a.name) == module for a in b.names)
                for b in owner.bound[module]
            )
        case ast.Name(id=member):
            owner = tree.owner(node)
            return owner is not None and all(
                isinstance(b, ast.ImportFrom)
                and b.module == "asyncio"
                and any((a.asname or a.name) == member and a.name in names for a in b.names)
                for b in owner.bound[member]
            )
    return False


def _is_loop(tree: Tree, node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and _is_asyncio(tree, node.func, _LOOP_MAKERS)


def _loop_bindings(tree: Tree, name: ast.Name) -> list[ast.Assign] | None:
    """Return the statements that bind a name, if all of them bind it to an event loop."""
    owner = tree.owner(name)
    statements = [tree.parent(node) for node in owner.bound[name.id]] if owner else []
    loops = [s for s in statements if isinstance(s, ast.Assign) and len(s.targets) == 1 and _is_loop(tree, s.value)]
    # A name that is bound to something else as well may be that at any use.
    return loops if loops and len(loops) == len(statements) else None


def _replace(edits: Edits, tree: Tree, call: ast.Call) -> None:
    """Write `await x` for `run(x)`, and keep its line breaks."""
    argument = call.args[0]
    start, end = edits.span(call)
    inner_start, inner_end = edits.span(argument)
    opened = edits.code[edits.span(call.func)[1] : inner_start]
    closed = edits.code[inner_end:end]
    tight = needs_parentheses(tree.parent(call), call)
    before, after = ("(await ", ")") if tight else ("await ", "")
    if isinstance(argument, ast.Name) and isinstance(tree.function(argument), ast.AsyncFunctionDef):
        after = "()" + after
    # Anything else keeps the call's parentheses: `await a or b` would await only `a`.
    primary = isinstance(argument, ast.Call | ast.Name | ast.Attribute | ast.Subscript)
    if primary and opened == "(" and "\n" not in closed and closed.count(")") == 1 + closed.count("("):
        edits.replace(start, inner_start, before)
        edits.replace(inner_end, end, after)
        return
    edits.replace(start, edits.span(call.func)[1], before)
    comma = closed.find(",")  # `await (x, debug=True)` is no call any more
    if comma >= 0:
        edits.blank(inner_end + comma, end - 1)
    edits.insert(end, after)


def _drop_loops(code: str) -> str:
    """Remove the creation and the closing of event loops that nothing uses any more."""
    tree = tree_of(code)
    edits = Edits(code)
    dropped: set[ast.stmt] = set()
    for node in tree.of(ast.Assign, ast.Expr):
        match node:
            case ast.Assign(targets=[ast.Name() as name]) if _is_loop(tree, node.value):
                owner = tree.owner(name)
                bindings = _loop_bindings(tree, name)
                chores = [_chore(tree, use) for use in tree.uses(name.id, owner)] if owner else []
                if bindings is not None and all(chores):
                    dropped |= {*bindings, *(chore for chore in chores if chore)}
            case ast.Expr(value=ast.Call(func=function, args=[loop])) if _is_loop(tree, loop):
                if _is_asyncio(tree, function, {"set_event_loop"}):
                    dropped.add(node)
    for statement in dropped:
        edits.drop(statement)
    return edits.apply()


def _chore(tree: Tree, use: ast.Name) -> ast.Expr | None:
    """Return the statement around a use of an event loop, if all that it does is close the loop or set it."""
    call = tree.parent(use)
    if isinstance(call, ast.Attribute) and call.attr in _LOOP_CHORES:
        call = tree.parent(call)
    elif not (isinstance(call, ast.Call) and _is_asyncio(tree, call.func, {"set_event_loop"})):
        return None
    statement = tree.parent(call)
    if isinstance(statement, ast.Await):
        statement = tree.parent(statement)
    return statement if isinstance(call, ast.Call) and isinstance(statement, ast.Expr) else None


def _await_entry(code: str) -> str:
    """Put the missing `await` before calls, at the top level, of the program's own `async def` functions.

    A call is awaited where it is a statement, is printed, is indexed, or is assigned to a name that is then only used
    as a value.
    """
    tree = tree_of(code)
    edits = Edits(code)
    changes = AsyncEdits(edits, tree)
    for call in tree.of(ast.Call):
        if tree.scope(call) is not tree.module or not _is_value(tree, call):
            continue
        function = tree.function(call.func)
        if isinstance(function, ast.AsyncFunctionDef) and not tree.is_generator(function):
            changes.add_await(call)
    return edits.apply()


def _call_entry(code: str) -> tuple[str, list[str]]:
    """Append the call that a program forgot.

    A top-level `main` that nothing refers to is called, unless the program ends in an expression, which is its value;
    else, where a program ends in a function, the only function that nothing refers to. Neither may need arguments,
    except one called `tools`.

    Returns:
        The program, and notes.
    """
    tree = tree_of(code)
    # A program that returns at its top level is the body of a function itself, and says what its value is.
    function = None if _top_level_returns(tree) else _entry(tree)
    if function is None or tree.is_generator(function):
        return code, []
    missing = _required(function.args)
    if missing not in ([], ["tools"]):
        return code, []
    wait = "await " if isinstance(function, ast.AsyncFunctionDef) else ""
    call = f"{function.name}({', '.join(missing)})"
    return f"{code.rstrip()}\n{wait}{call}\n", [] if function.name == "main" else [f"called {call}"]


def _entry(tree: Tree) -> Function | None:
    functions = [s for s in tree.root.body if isinstance(s, Function) and not s.decorator_list]
    last = tree.root.body[-1] if functions else None
    if isinstance(last, ast.Expr) and not is_print(last.value):
        return None
    # A function that something refers to is a helper, or was called already.
    idle = [f for f in functions if not _is_referred_to(tree, f)]
    for function in idle:
        if function.name == "main":
            return function
    return idle[0] if len(idle) == 1 and isinstance(last, Function) else None


def _is_referred_to(tree: Tree, function: Function) -> bool:
    # Recursion alone is no call from outside.
    inside = set(ast.walk(function))
    uses = tree.uses(function.name, tree.module)
    return len(tree.module.bound[function.name]) != 1 or any(use not in inside for use in uses)


def _required(arguments: ast.arguments) -> list[str]:
    positional = [*arguments.posonlyargs, *arguments.args]
    names = [a.arg for a in positional[: len(positional) - len(arguments.defaults)]]
    return names + [a.arg for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is None]


def _is_value(tree: Tree, node: ast.expr) -> bool:
    parent = tree.parent(node)
    match parent:
        case ast.Expr():
            return True
        case ast.Attribute() | ast.Subscript():
            return parent.value is node
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return all(_is_plain_use(tree, use) for use in tree.uses(name, tree.module))
    return is_print(parent)


def _is_plain_use(tree: Tree, use: ast.Name) -> bool:
    parent = tree.parent(use)
    return not isinstance(parent, ast.Await | ast.Call | ast.Starred | ast.keyword) or is_print(parent)


def _top_level_returns(tree: Tree) -> list[ast.Return]:
    """Find the `return` statements outside of any function."""
    return [node for node in tree.of(ast.Return) if tree.scope(node) is tree.module]


def _resolve_returns(code: str) -> tuple[str, list[str]]:
    """Replace `return` at the top level by what it stands for.

    A `return` that is the last statement becomes the last expression. Where there are others, the program is put into
    a function, whose head takes a free line. Where no line is free, one is added at the top, and a note says so.

    Returns:
        The program, and notes.
    """
    tree = tree_of(code)
    returns = _top_level_returns(tree)
    if not returns:
        return code, []
    edits = Edits(code)
    last = tree.root.body[-1]
    if returns == [last]:
        _to_expression(edits, returns[0])
        return edits.apply(), []
    name = "_program"
    while name in tree.module.bound:
        name += "_"
    notes = ["put the program into a function, because it returns at its top level"]
    line, moved = _free_line(edits, tree)
    if line == 0:  # the only case in which lines move
        edits.insert(0, f"async def {name}():\n")
        notes.append("every line is one further down than it was")
    else:
        start = edits.line_start(line)
        edits.replace(start, start + len(edits.line(line)), f"async def {name}():")
    indent(edits, tree, line + 1, code.count("\n") + 1)
    if moved is not None:
        body = tree.root.body
        edits.insert(edits.span(body[body.index(moved) + 1])[0], edits.text(moved) + "; ")
    _make_nonlocal(edits, tree, line)
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


def _free_line(edits: Edits, tree: Tree) -> tuple[int, ast.stmt | None]:
    """Find a line for the function's head, after which every variable can be local.

    Returns:
        The line, counted from 1, or 0 where there is none; and the import that has to move down from it, if any.
    """
    strings = inside_strings(tree)
    body = tree.root.body
    spans = [(edits.code.count("\n", 0, edits.span(s)[0]) + 1, s.end_lineno or 1) for s in body]
    for number in range(1, spans[-1][1]):
        text = edits.line(number)
        before = sum(first <= number for first, _ in spans)
        if number in strings:
            continue
        if not text.strip() or text.lstrip().startswith("#"):
            if all(last < number for _, last in spans[:before]) and _is_independent(tree, body[:before]):
                return number, None
        elif _can_move_down(body, spans, number) and _is_independent(tree, body[: before - 1]):
            return number, body[before - 1]
    return 0, None


def _can_move_down(body: list[ast.stmt], spans: list[tuple[int, int]], line: int) -> bool:
    """Return whether a line holds only an import, and a simple statement, before which it may stand, follows later."""
    for index, (statement, following) in enumerate(pairwise(body)):
        movable = isinstance(statement, ast.Import | ast.ImportFrom) and not isinstance(following, _COMPOUND)
        if movable and spans[index] == (line, line) and spans[index + 1][0] > line:
            return index == 0 or spans[index - 1][1] < line
    return False


def _is_independent(tree: Tree, before: list[ast.stmt]) -> bool:
    """Return whether statements neither return, nor share a variable with later ones that set it."""
    inside = {node for statement in before for node in ast.walk(statement)}
    if any(isinstance(node, ast.Return) and tree.scope(node) is tree.module for node in inside):
        return False
    for name, bindings in tree.module.bound.items():
        later = [node for node in bindings if node not in inside]
        if later and (len(later) < len(bindings) or any(use in inside for use in tree.uses(name, tree.module))):
            return False
    return True


def _make_nonlocal(edits: Edits, tree: Tree, head: int) -> None:
    """Make variables `nonlocal` that were `global`: those of the top level are now local to the new function."""
    for node in tree.of(ast.Global):
        if tree.scope(node) is tree.module or node.lineno <= head:
            continue
        owned = {
            name
            for name in node.names
            if any(tree.scope(binding) is tree.module for binding in tree.module.bound.get(name, ()))
        }
        inner = [name for name in node.names if name in owned]
        outer = [name for name in node.names if name not in owned]
        parts = [f"nonlocal {', '.join(inner)}"] if inner else []
        parts += [f"global {', '.join(outer)}"] if outer else []
        edits.drop(node, "; ".join(parts))
