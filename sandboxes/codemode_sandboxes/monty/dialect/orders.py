"""Orders that Monty does not share with CPython: of a set's items, and of what coroutines do."""

import ast
from collections.abc import Collection, Iterator

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.monty.dialect.kinds import is_tools, is_view, kinds_of
from codemode_sandboxes.source.tree import Tree

__all__ = ["ORDERS"]

_SET_MAKERS = frozenset({"copy", "difference", "intersection", "symmetric_difference", "union"})
_ORDERLESS = _SET_MAKERS | {
    *("add", "clear", "difference_update", "discard", "intersection_update", "isdisjoint", "issubset", "issuperset"),
    *("remove", "symmetric_difference_update", "update"),
}
_ORDERLESS_FUNCTIONS = frozenset(
    {"all", "any", "bool", "frozenset", "isinstance", "len", "max", "min", "set", "sorted"}
)
_SET_OPERATORS = ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor


def _set_orders(tree: Tree) -> Iterator[ast.AST]:
    """Find sets whose items' order may show, and what makes sets that cannot be followed, as `defaultdict(set)` does."""
    sets = _sets(tree)
    yield from (node for node in sets if not _is_orderless(tree, node, sets))
    kinds = kinds_of(tree)
    for name in tree.of(ast.Name):
        if kinds.is_builtin(name, "set", "frozenset") and not _is_called_or_compared(tree, name):
            yield name


def _sets(tree: Tree) -> dict[ast.expr, None]:
    """Return the expressions that may be sets; what comes out of a container or a function is not followed."""
    kinds = kinds_of(tree)
    todo: list[ast.AST] = [*tree.of(ast.Set), *tree.of(ast.SetComp)]
    todo += [call for call in tree.of(ast.Call) if kinds.is_builtin(call.func, "set", "frozenset")]
    # An operator of sets makes one of a dict's keys or items, too.
    operations: list[ast.BinOp | ast.AugAssign] = [*tree.of(ast.BinOp), *tree.of(ast.AugAssign)]
    for operation in operations:
        sides = [operation.value] if isinstance(operation, ast.AugAssign) else [operation.left, operation.right]
        for side in sides if _is_joined(operation) else ():
            bound = (value for _, value in kinds.bindings(side)) if isinstance(side, ast.Name) else ()
            if is_view(side) or any(map(is_view, bound)):
                todo.append(side)
    sets: dict[ast.expr, None] = {}
    while todo:
        node = todo.pop()
        if not isinstance(node, ast.expr) or node in sets:
            continue
        sets[node] = None
        match parent := tree.parent(node):
            case ast.BinOp() | ast.BoolOp() | ast.IfExp():
                todo.append(parent)
            case ast.Attribute(attr=name) if name in _SET_MAKERS:
                todo.append(tree.parent(parent))
            case (
                ast.Assign(targets=[ast.Name() as target]) | ast.AnnAssign(target=ast.Name() as target)
                | ast.AugAssign(target=ast.Name() as target) | ast.NamedExpr(target=target)
            ):  # fmt: skip
                scope = tree.owner(target)
                todo += [parent, *(tree.uses(target.id, scope) if scope is not None else ())]
    return sets


def _is_joined(node: ast.AST) -> bool:
    return isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, _SET_OPERATORS)


def _is_called_or_compared(tree: Tree, node: ast.AST) -> bool:
    parent = tree.parent(node)
    if isinstance(parent, ast.Tuple):
        parent = tree.parent(parent)
    if isinstance(parent, ast.Call):
        called = parent.func
        return called is node or (isinstance(called, ast.Name) and called.id == "isinstance")
    annotation = any(getattr(around, "annotation", None) is node for around in (parent, tree.parent(parent)))
    return annotation or isinstance(parent, ast.Compare | ast.BinOp | ast.Subscript | ast.arg | ast.AnnAssign)


def _is_orderless(tree: Tree, node: ast.expr, sets: Collection[ast.expr]) -> bool:
    """Return whether what is done with a set does not depend on the order of its items."""
    parent = tree.parent(node)
    match parent:
        case ast.Assign(targets=[ast.Name() as target]) | ast.AnnAssign(target=ast.Name() as target):
            return tree.scope(target).kind != "class"  # whose names are read as attributes
        case ast.AugAssign(target=ast.Name()):
            return _is_joined(parent)
        case ast.NamedExpr() | ast.BinOp() | ast.BoolOp() | ast.IfExp() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.If() | ast.While() | ast.Compare() | ast.Expr():
            return True
        case ast.Attribute(attr=name):
            return name in _ORDERLESS
        case ast.Call() | ast.keyword():
            return _is_orderless_argument(tree, parent, sets)
        case ast.comprehension(iter=iterable):
            return iterable is not node or _is_orderless_loop(tree, tree.parent(parent), sets)
    return False


def _is_orderless_argument(tree: Tree, parent: ast.Call | ast.keyword, sets: Collection[ast.expr]) -> bool:
    call = tree.parent(parent) if isinstance(parent, ast.keyword) else parent
    if not isinstance(call, ast.Call):
        return False
    if is_tools(call.func):
        return True  # arguments and values are sorted on their way out
    if isinstance(call.func, ast.Attribute) and call.func.attr in _ORDERLESS:
        return call.func.value in sets
    by_key = any(keyword.arg == "key" for keyword in call.keywords)
    return kinds_of(tree).is_builtin(call.func, *_ORDERLESS_FUNCTIONS) and not by_key


def _is_orderless_loop(tree: Tree, comprehension: ast.AST, sets: Collection[ast.expr]) -> bool:
    kinds, call = kinds_of(tree), tree.parent(comprehension)
    if kinds.catches(comprehension) or not kinds.is_pure(comprehension):
        return False
    if isinstance(comprehension, ast.GeneratorExp | ast.ListComp) and isinstance(call, ast.Call):
        counts = kinds.is_builtin(call.func, "sum") and isinstance(comprehension.elt, ast.Constant)
        return counts or _is_orderless_argument(tree, call, sets)
    return isinstance(comprehension, ast.SetComp)


def _early_calls(tree: Tree) -> Iterator[ast.AST]:
    """Find calls of tools that Monty begins before the program awaits them, where something comes in between."""
    names = {
        target.id
        for node in tree.of(ast.Assign)
        if is_tools(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for call in tree.of(ast.Call):
        is_named = isinstance(call.func, ast.Name) and call.func.id in names
        if (is_tools(call.func) or is_named) and not _is_started_at_once(tree, call):
            yield call
    # A tool that is handed on is called by another name, which is then awaited at once, or may be anything.
    calls = [
        call for call in tree.of(ast.Call) if _may_be_tool(tree, call) and not isinstance(tree.parent(call), ast.Await)
    ]
    for node in (*tree.of(ast.Attribute), *tree.of(ast.Subscript)) if calls else ():
        parent = tree.parent(node)
        called = isinstance(parent, ast.Call) and parent.func is node
        if is_tools(node) and not called and not isinstance(parent, ast.Assign | ast.Attribute):
            yield node


def _may_be_tool(tree: Tree, call: ast.Call) -> bool:
    if isinstance(call.func, ast.Subscript | ast.Call):
        return not is_tools(call.func)
    if not isinstance(call.func, ast.Name) or tree.function(call.func) is not None or tree.dotted(call.func):
        return False
    scope = tree.owner(call.func)
    return scope is not None and not any(isinstance(node, ast.ClassDef) for node in scope.bound[call.func.id])


def _is_started_at_once(tree: Tree, call: ast.Call) -> bool:
    if isinstance(call.func, ast.Attribute) and call.func.attr in ("get", "items", "keys", "values"):
        return True
    node: ast.AST = call
    parent = tree.parent(node)
    if isinstance(parent, ast.Await):
        return True
    # An error that comes before the `await`, and is caught, would leave calls behind that CPython never makes.
    if kinds_of(tree).catches(call) and not _cannot_fail_before(tree, call):
        return False
    while isinstance(parent, ast.Starred | ast.ListComp | ast.GeneratorExp | ast.List | ast.Tuple | ast.IfExp):
        node, parent = parent, tree.parent(parent)
    match parent:
        case ast.Call() if _is_gather(tree, parent):
            return isinstance(tree.parent(parent), ast.Await)
        case ast.Expr():
            return node is call and parent is tree.root.body[-1]  # the program's value, which is refused in both
        case (
            ast.Assign(targets=[ast.Name() as name])
            | ast.Call(func=ast.Attribute(value=ast.Name() as name, attr="append"))
        ):
            return _is_gathered_next(tree, name)
    return False


def _cannot_fail_before(tree: Tree, call: ast.Call) -> bool:
    """Return whether nothing can fail between a tool's call in a gather and the gather's `await`."""
    gather = next(
        (node for node in tree.ancestors(call) if isinstance(node, ast.Call) and _is_gather(tree, node)), None
    )
    if gather is None:
        return False
    # The iterables over which calls are made are evaluated before the first call.
    lists = [part.value for part in gather.args if isinstance(part, ast.Starred)]
    first = [each.generators[0].iter for each in lists if isinstance(each, ast.ListComp | ast.GeneratorExp)]
    before = {node for iterable in first for node in ast.walk(iterable)} | {gather}
    for node in ast.walk(gather):
        if isinstance(node, ast.Call) and node not in before:
            values = (*node.args, *(keyword.value for keyword in node.keywords))
            if not is_tools(node.func) or not all(isinstance(value, ast.Constant | ast.Name) for value in values):
                return False
        if isinstance(node, ast.comprehension) and (node.ifs or not isinstance(node.target, ast.Name)):
            return False
    # What is unpacked or evaluated behind a call comes after the call.
    return all(isinstance(part, ast.Call) for part in gather.args[1:])


def _is_gathered_next(tree: Tree, name: ast.Name) -> bool:
    """Return whether a variable's coroutines are awaited, all at once, before the program awaits anything else."""
    scope = tree.owner(name)
    if scope is None:
        return False
    frame = tree.frame(name)
    waits = sorted((node for node in tree.of(ast.Await) if tree.frame(node) is frame), key=_place)
    following = [node for node in waits if _place(node) > _place(name)]
    if not following:
        return False
    uses = [use for use in tree.uses(name.id, scope) if getattr(tree.parent(use), "attr", "") != "append"]
    inside = {each for each in ast.walk(following[0]) if isinstance(each, ast.Name)}
    first = [node for node in scope.bound.get(name.id, ()) if isinstance(node, ast.Name)]
    start = min(map(_place, first), default=_place(name))
    between = [node for node in waits if start < _place(node) < _place(following[0])]
    return len(uses) == 1 and uses[0] in inside and not between


def _gathers(tree: Tree) -> Iterator[ast.AST]:
    """Find `asyncio.gather` where its coroutines could be seen to begin later than in CPython, or not at all."""
    kinds = kinds_of(tree)
    inside = [call for call in tree.of(ast.Call) if isinstance(tree.function_around(call), ast.AsyncFunctionDef)]
    prints = any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in inside)
    calls_tools = any(is_tools(call.func) for call in inside)
    has_functions = any(True for _ in tree.of(ast.AsyncFunctionDef))
    for gather in tree.calls("asyncio.gather"):
        called = [each.func for each in ast.walk(gather) if isinstance(each, ast.Call)]
        own = any(isinstance(each, ast.Name) and tree.owner(each) is not None for each in called)
        named = not all(any(isinstance(each, ast.Call) for each in ast.walk(argument)) for argument in gather.args)
        settles = any(keyword.arg == "return_exceptions" for keyword in gather.keywords)
        runs_own = not settles and (own or (named and has_functions))
        # Monty runs a gather when it is awaited, the tools' calls first, and stops at the first error: what has not begun
        # by then does not begin.
        if (
            not isinstance(tree.parent(gather), ast.Await)
            or (own and calls_tools and any(map(is_tools, called)))
            or (runs_own and (prints or kinds.catches(gather)))
        ):
            yield gather


def _is_gather(tree: Tree, call: ast.Call) -> bool:
    return tree.dotted(call.func) == "asyncio.gather"


def _place(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


ORDERS: tuple[Gap, ...] = (
    Gap(
        "the order of a set",
        "use `sorted(items)`; to drop repetitions and keep the order `list(dict.fromkeys(items))`",
        _set_orders,
        "list({3, 1, 2}) == [1, 2, 3]",
    ),
    Gap(
        "coroutines of tools kept for later",
        "write `await` before each call, or collect the calls within `await asyncio.gather(...)`",
        _early_calls,
        "c = host_function(1)\nd = [c]\ntype(c).__name__ == 'coroutine'",
        rare=True,
    ),
    Gap(
        "the order in which asyncio.gather begins functions",
        "write `await` before gather; gather either tools or functions of your own; catch errors in these functions, or pass "
        "`return_exceptions=True`; print after gather",
        _gathers,
        "import asyncio\nseen = []\nasync def f(n):\n    seen.append(n)\n    if n:\n        raise ValueError('x')\n"
        "try:\n    await asyncio.gather(f(0), f(1), f(0))\nexcept ValueError:\n    pass\nseen == [0, 1, 0]",
        rare=True,
    ),
)
