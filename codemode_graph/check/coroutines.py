"""The fate of a coroutine, followed from the call that makes it: awaited somewhere, or used as if it were the value."""

import ast
from collections.abc import Callable
from typing import Literal, TypeAlias

from codemode_sandboxes.source import Function, Scope, Tree

Fate: TypeAlias = Literal["awaited", "value", "unknown"]
"""`value`: on no path does anything await it."""

# The layers around the value, from the outside in: C is a container, A something to be awaited. "A" is the coroutine
# itself, "CA" a list of coroutines, "AA" a coroutine that returns one, "ACA" the result of `gather` on such.
_Kind: TypeAlias = str

# Bounds for hostile programs: steps for one coroutine, steps for one program, and layers.
_STEPS = 1_000
_STEPS_IN_ALL = 30_000
_DEEPEST = 5
_RUNNERS = {"create_task", "ensure_future", "run_coroutine_threadsafe", "shield", "wait_for"}
_NO_USE = {"bool", "callable", "getattr", "hasattr", "id", "isinstance", "len", "type", "any", "all"}
_COPIES = {"frozenset", "iter", "list", "reversed", "set", "tuple"}
_STORES = {"add", "append", "appendleft", "insert"}
_EXTENDS = {"extend", "extendleft", "update"}
_PLAIN_MODULES = {
    *("base64", "collections", "csv", "datetime", "decimal", "fractions", "hashlib", "html", "itertools", "json"),
    *("math", "random", "re", "statistics", "string", "textwrap", "time", "urllib", "uuid"),
}


class Flow:
    """The coroutines of one program, followed through its variables, containers and functions.

    Args:
        tree: The program.
        is_tool_call: Returns whether a node is a tool call, whose arguments are plain values.
    """

    def __init__(self, tree: Tree, is_tool_call: Callable[[ast.AST], bool]) -> None:
        self._tree = tree
        self._is_tool_call = is_tool_call
        self._todo: list[tuple[ast.expr, _Kind]] = []
        self._variables: set[tuple[int, str, _Kind]] = set()
        self._awaited = self._unknown = False
        self._steps = 0

    def fate(self, call: ast.expr) -> Fate:
        """Return what becomes of the coroutine that an expression makes."""
        self._awaited = self._unknown = False
        self._variables.clear()
        self._todo = [(call, "A")]
        seen: set[tuple[ast.expr, _Kind]] = set()
        while self._todo and not self._awaited:
            step = self._todo.pop()
            if step in seen:
                continue
            seen.add(step)
            self._steps += 1
            if len(seen) > _STEPS or self._steps > _STEPS_IN_ALL or len(step[1]) > _DEEPEST:
                self._unknown = True
                break
            self._follow(*step)
        return "awaited" if self._awaited else "unknown" if self._unknown else "value"

    def _follow(self, node: ast.expr, kind: _Kind) -> None:
        parent = self._tree.parent(node)
        outer, inner = kind[0], kind[1:]
        match parent:
            case ast.Await():
                if outer == "C":
                    self._unknown = True  # `await` of a list fails, which is a mistake of another kind
                elif inner:
                    self._todo.append((parent, inner))
                else:
                    self._awaited = True
            case ast.Starred():
                self._starred(parent, kind)
            case ast.BoolOp():
                self._todo.append((parent, kind))
            # A test looks at its operand and keeps nothing of it.
            case ast.IfExp(test=test):
                if test is not node:
                    self._todo.append((parent, kind))
            case ast.NamedExpr(target=target):
                self._todo.append((parent, kind))
                self._store(target, kind)
            # A list of coroutines plus another list is still one; a coroutine in a sum is used as a value.
            case ast.BinOp():
                if outer == "C":
                    self._todo.append((parent, kind))
            case ast.List() | ast.Tuple() | ast.Set():
                self._element(parent, node, kind)
            case ast.Dict(values=values):
                if node in values:
                    self._todo.append((parent, "C" + kind))
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                self._todo.append((parent, "C" + kind))
            case ast.DictComp(value=value):
                if value is node:
                    self._todo.append((parent, "C" + kind))
            case ast.comprehension(target=target, iter=source) | ast.For(target=target, iter=source):
                if source is node and outer == "C":
                    self._store(target, inner)
                self._unknown |= isinstance(parent, ast.comprehension) and parent.is_async == 1
            case ast.Subscript(value=value, slice=index, ctx=ast.Load()):
                if value is node and outer == "C":
                    self._todo.append((parent, kind if isinstance(index, ast.Slice) else inner))
            case ast.Attribute():
                self._attribute(parent, kind)
            case ast.Assign(targets=targets):
                for target in targets:
                    self._store(target, kind)
            case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
                if outer == "C" or isinstance(parent, ast.AnnAssign):
                    self._store(target, kind)
            case ast.Return():
                self._return(parent, kind)
            case ast.keyword():
                call = self._tree.parent(parent)
                if isinstance(call, ast.Call):
                    self._argument(call, parent, kind)
            case ast.Call(func=function):
                if function is not node:
                    self._argument(parent, node, kind)
            case ast.Lambda():
                self._lambda(parent)
            # Here a value ends, or is looked at but not kept.
            case (
                ast.Expr() | ast.Compare() | ast.UnaryOp() | ast.FormattedValue() | ast.If() | ast.While()
                | ast.Assert() | ast.Subscript() | ast.Slice() | ast.Match()
            ):  # fmt: skip
                pass
            case _:
                self._unknown = True

    def _element(self, parent: ast.List | ast.Tuple | ast.Set, node: ast.expr, kind: _Kind) -> None:
        # `a, b = f(), g()` binds each name to one coroutine; elsewhere the elements are in one container.
        match self._tree.parent(parent):
            case ast.Assign(targets=[ast.Tuple(elts=targets) | ast.List(elts=targets)], value=value) if value is parent:
                elements = parent.elts
                if len(targets) == len(elements) and not any(isinstance(e, ast.Starred) for e in (*targets, *elements)):
                    self._store(targets[elements.index(node)], kind)
                    return
        self._todo.append((parent, "C" + kind))

    def _starred(self, node: ast.Starred, kind: _Kind) -> None:
        parent = self._tree.parent(node)
        if kind[0] != "C":
            return
        if isinstance(parent, ast.List | ast.Tuple | ast.Set):
            self._todo.append((parent, kind))
        elif isinstance(parent, ast.Call):
            self._argument(parent, node, kind[1:])

    def _attribute(self, node: ast.Attribute, kind: _Kind) -> None:
        call = self._tree.parent(node)
        if kind[0] == "A":
            # The program drives the coroutine itself.
            if node.attr in ("add_done_callback", "cancel", "close", "result", "send", "throw"):
                self._unknown = True
        elif not isinstance(call, ast.Call) or call.func is not node:
            self._unknown = True
        elif node.attr in ("copy", "values"):
            self._todo.append((call, kind))
        elif node.attr in ("get", "pop", "popleft", "setdefault"):
            self._todo.append((call, kind[1:]))
        elif node.attr == "items":
            self._paired(call, 1, kind)
        elif node.attr not in (*_STORES, *_EXTENDS, "clear", "keys", "remove"):
            self._unknown = True

    def _store(self, target: ast.expr, kind: _Kind) -> None:
        match target:
            case ast.Name(id=name):
                scope = self._tree.resolve(name, self._tree.scope(target))
                # Attributes of a class or an instance are not followed.
                if scope is None or scope.kind == "class":
                    self._unknown = True
                else:
                    self._variable(name, scope, kind)
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                for each in targets if kind[0] == "C" else ():
                    self._store(each, kind if isinstance(each, ast.Starred) else kind[1:])
            case ast.Starred(value=value):
                self._store(value, kind)
            case ast.Subscript(value=value) | ast.Call(func=ast.Attribute(value=value, attr="setdefault")):
                self._store(value, "C" + kind)
            case _:
                self._unknown = True

    def _variable(self, name: str, scope: Scope, kind: _Kind) -> None:
        if (key := (id(scope), name, kind)) not in self._variables:
            self._variables.add(key)
            uses = self._tree.uses(name, scope)
            self._todo += [(use, kind) for use in uses[:_STEPS]]

    def _return(self, node: ast.Return, kind: _Kind) -> None:
        """Go on at the calls of the function, or give up where something else may call it."""
        function = self._tree.function_around(node)
        if function is None:
            return
        scope = self._tree.scope(function)
        if scope.kind == "class" or function.decorator_list or self._tree.is_generator(function):
            self._unknown = True
            return
        # A function that is passed on may be called, and its result awaited, anywhere.
        for use in self._tree.uses(function.name, scope):
            call = self._tree.parent(use)
            if self._tree.function(use) is not function or not isinstance(call, ast.Call) or call.func is not use:
                self._unknown = True
            else:
                self._todo.append((call, "A" + kind if isinstance(function, ast.AsyncFunctionDef) else kind))

    def _lambda(self, node: ast.Lambda) -> None:
        # A sort key is compared; what another lambda returns may be awaited.
        parent = self._tree.parent(node)
        if not isinstance(parent, ast.keyword) or parent.arg != "key":
            self._unknown = True

    def _argument(self, call: ast.Call, argument: ast.expr | ast.keyword, kind: _Kind) -> None:
        if self._is_tool_call(call):
            return  # the host awaits nothing that a program passes
        match call.func:
            case ast.Name(id=name) as function:
                if self._tree.owner(function) is None:
                    self._builtin(name, call, argument, kind)
                elif (defined := self._tree.function(function)) is not None:
                    self._parameter(defined, call, argument, kind)
                else:
                    self._library(function, function.id, call, kind)
            case ast.Attribute(value=ast.Constant(value=str()) | ast.JoinedStr()):
                pass
            case ast.Attribute(value=value, attr=attribute):
                if attribute in _RUNNERS:
                    self._run(call, kind)
                elif not self._library(value, attribute, call, kind):
                    self._method(value, attribute, call, kind)
            case _:
                self._unknown = True

    def _builtin(self, name: str, call: ast.Call, argument: ast.expr | ast.keyword, kind: _Kind) -> None:
        if kind[0] == "A" or name in _NO_USE:
            return
        if name in _COPIES:
            self._todo.append((call, kind))
        elif name == "next":
            self._todo.append((call, kind[1:]))
        elif name == "enumerate":
            self._paired(call, 1, kind)
        elif name == "zip" and argument in call.args:
            self._paired(call, call.args.index(argument), kind)
        elif name in ("dict", "filter", "map"):
            self._unknown = True

    def _paired(self, call: ast.Call, place: int, kind: _Kind) -> None:
        """Follow one item of the pairs of `enumerate`, `zip` or `items`."""
        match self._tree.parent(call):
            case (
                ast.For(target=ast.Tuple(elts=targets), iter=source)
                | ast.comprehension(target=ast.Tuple(elts=targets), iter=source)
            ) if source is call and place < len(targets):
                self._store(targets[place], kind[1:])
            case ast.Call(func=ast.Name(id="dict")) as outer if place == 1:
                self._todo.append((outer, kind))
            case _:
                self._unknown = True

    def _parameter(self, function: Function, call: ast.Call, argument: ast.expr | ast.keyword, kind: _Kind) -> None:
        arguments = function.args
        positional = [*arguments.posonlyargs, *arguments.args]
        scope = self._tree.opened(function)
        if isinstance(argument, ast.keyword):
            names = [p.arg for p in (*positional, *arguments.kwonlyargs) if p.arg == argument.arg]
        elif any(isinstance(a, ast.Starred) for a in call.args):
            names = []
        else:
            names = [p.arg for p in positional[call.args.index(argument) :][:1]]
        if names:
            self._variable(names[0], scope, kind)
        else:
            self._unknown = True

    def _library(self, node: ast.expr, name: str, call: ast.Call, kind: _Kind) -> bool:
        """Follow an argument into a function of a module; return False where the function is of none."""
        module = self._module(node)
        if module is None:
            return False
        if module == "asyncio":
            self._run(call, kind, "AC" if name == "gather" else "A")
        elif module not in _PLAIN_MODULES or (kind[0] == "C" and module != "json") or "A" in kind[:-1]:
            self._unknown = True
        return True

    def _module(self, node: ast.expr) -> str | None:
        while isinstance(node, ast.Attribute):
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        scope = self._tree.owner(node)
        if scope is None:
            return node.id if node.id == "asyncio" else None
        for binding in scope.bound[node.id]:
            if isinstance(binding, ast.ImportFrom):
                return (binding.module or "").partition(".")[0]
            if isinstance(binding, ast.Import):
                real = [a.name for a in binding.names if (a.asname or a.name.partition(".")[0]) == node.id]
                return real[0].partition(".")[0]
        return None

    def _run(self, call: ast.Call, kind: _Kind, result: _Kind = "A") -> None:
        """Follow a coroutine into a function of asyncio that runs it; a task or a future counts as awaited."""
        if kind == "A":
            self._awaited = True
        elif kind[0] == "A":
            self._todo.append((call, result + kind[1:]))
        else:
            self._unknown = True

    def _method(self, value: ast.expr, name: str, call: ast.Call, kind: _Kind) -> None:
        if name in _STORES:
            self._store(value, "C" + kind)
        elif name in _EXTENDS:
            if kind[0] == "C":
                self._store(value, kind)
        elif name in ("get", "setdefault"):
            self._todo.append((call, kind))
            if name == "setdefault":
                self._store(value, "C" + kind)
        else:
            self._unknown = True
