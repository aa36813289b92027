"""The kinds of a program's expressions and the effects that they surely lack: the grounds on which Monty may run them."""

import ast
import builtins
from collections.abc import Iterator
from functools import cached_property, lru_cache

from codemode_sandboxes.source.tree import Function, Scope, Tree

__all__ = ["EXCEPTIONS", "LAZY", "Kinds", "is_tools", "is_view", "kinds_of", "method_calls", "root_of"]

EXCEPTIONS = frozenset(
    name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)
)
"""The names of the built-in exceptions."""

LAZY = frozenset({"enumerate", "filter", "map", "reversed", "zip"})
"""Built-in functions that make iterators in CPython."""

_RESULTS = {
    **dict.fromkeys(
        ("abs", "float", "hash", "id", "int", "len", "ord", "round", "bool", "isinstance", "any", "all"), "number"
    ),
    **dict.fromkeys(("ascii", "bin", "chr", "format", "hex", "oct", "repr", "str"), "str"),
    **dict.fromkeys(("list", "sorted"), "list"),
    **{name: name for name in ("bytes", "dict", "frozenset", "range", "set", "tuple")},
}
_PURE = frozenset({*_RESULTS, "divmod", "max", "min", "pow", "sum", "type", *LAZY})
_TEXT_METHODS = frozenset(
    {
        *("capitalize", "casefold", "center", "expandtabs", "format", "isoformat", "join", "ljust", "lower"),
        *("lstrip", "removeprefix", "removesuffix", "replace", "rjust", "rstrip", "strftime", "strip"),
        *("swapcase", "title", "upper", "zfill"),
    }
)
_LIST_METHODS = frozenset({"findall", "most_common", "rsplit", "split", "splitlines"})
_NUMBER_METHODS = frozenset(
    {
        *("count", "endswith", "find", "issubset", "issuperset", "rfind", "startswith", "timestamp"),
        *("total_seconds", "weekday"),
    }
) | {name for name in dir(str) if name.startswith("is")}
_PURE_METHODS = (
    _TEXT_METHODS
    | _LIST_METHODS
    | _NUMBER_METHODS
    | {
        *("copy", "date", "decode", "encode", "get", "group", "groups", "index", "intersection", "items"),
        *("keys", "partition", "rpartition", "union", "values"),
    }
)
_PLAIN_SPECIAL = frozenset({"__init__", "__post_init__", "__repr__", "__str__"})
_DEEPEST = 40
_ARITHMETIC = ast.Add | ast.Sub | ast.Mult | ast.FloorDiv | ast.Mod | ast.Div | ast.Pow


@lru_cache(maxsize=8)
def kinds_of(tree: Tree) -> "Kinds":
    """Return what is known of a program's expressions; it is kept for the programs that were asked for last."""
    return Kinds(tree)


class Kinds:
    """Answers questions about a program's expressions. A doubtful answer is always "unknown", or "it may".

    Args:
        tree: The program.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._known: dict[ast.AST, str | None] = {}
        self._pure: dict[Function, bool] = {}
        self._depth = 0
        special = {name for node in tree.of(ast.ClassDef) for name in _method_names(node) if name[:2] == "__"}
        self.has_operators = bool(special - _PLAIN_SPECIAL)
        self._catching = [node for node in tree.of(ast.Try) if node.handlers] + [
            node for node in tree.of(ast.With) if "__exit__" in tree.function_names
        ]

    def is_builtin(self, node: ast.AST, *names: str) -> bool:
        """Return whether an expression is one of these built-in names, and means what Python means by it."""
        return isinstance(node, ast.Name) and node.id in names and self._tree.owner(node) is None

    def bindings(self, name: ast.Name) -> Iterator[tuple[ast.AST, ast.expr | None]]:
        """Yield each node that binds a name's variable, with the value that it takes; None where it is not known."""
        scope = self._tree.owner(name)
        for node in scope.bound.get(name.id, ()) if scope is not None else ():
            yield node, self._value(node)

    def kind(self, node: ast.expr | None) -> str | None:
        """Return the kind of an expression's value: "number", "str", "list" and so on; None where it is not known."""
        if node is None:
            return None
        # Hostile programs have long chains of variables, and circles: each expression is looked at once.
        if node not in self._known:
            self._known[node] = None
            if self._depth < _DEEPEST:
                self._depth += 1
                self._known[node] = self._kind(node)
                self._depth -= 1
        return self._known[node]

    def _kind(self, node: ast.expr) -> str | None:
        match node:
            case ast.Constant(value=value):
                return "number" if isinstance(value, int | float) else type(value).__name__
            case ast.JoinedStr():
                return "str"
            case ast.List() | ast.ListComp():
                return "list"
            case ast.Set() | ast.SetComp():
                return "set"
            case ast.Dict() | ast.DictComp():
                return "dict"
            case ast.Tuple():
                return "tuple"
            case ast.Compare() | ast.UnaryOp(op=ast.Not()):
                return None if self.has_operators else "number"
            case ast.UnaryOp(operand=operand):
                return "number" if self.kind(operand) == "number" else None
            case ast.BoolOp(values=values):
                return self._common(values)
            case ast.IfExp(body=body, orelse=orelse):
                return self._common([body, orelse])
            case ast.NamedExpr(value=value):
                return self.kind(value)
            case ast.BinOp():
                return self._kind_of_operation(node)
            case ast.Call():
                return self._kind_of_call(node)
            case ast.Name():
                return self._kind_of_name(node)
        return None

    def is_pure(self, node: ast.AST) -> bool:
        """Return whether evaluating an expression changes nothing; it may raise."""
        for each in ast.walk(node):
            if isinstance(each, ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr):
                return False
            if isinstance(each, ast.Call) and not self._is_pure_call(each):
                return False
            if isinstance(each, ast.BinOp | ast.Compare | ast.Subscript) and self.has_operators:
                return False
        return True

    def is_pure_function(self, node: ast.expr) -> bool:
        """Return whether calling what an expression names changes nothing."""
        if isinstance(node, ast.Lambda):
            return self.is_pure(node.body)
        if isinstance(node, ast.Constant) and node.value is None:  # `filter(None, items)`
            return True
        if isinstance(node, ast.Name) and self._tree.owner(node) is None:
            return node.id in _PURE
        function = self._tree.function(node)
        if not isinstance(function, ast.FunctionDef):
            return False
        if function not in self._pure:
            self._pure[function] = False  # also for one that calls itself
            if self._depth < _DEEPEST:
                self._depth += 1
                self._pure[function] = all(map(self._is_pure_statement, function.body))
                self._depth -= 1
        return self._pure[function]

    def catches(self, node: ast.AST) -> bool:
        """Return whether the program may catch an exception that is raised at a node, and go on."""
        if not self._catching and not self._gathers_errors:
            return False
        inner = node
        for around in self._tree.ancestors(node):
            if isinstance(around, Function | ast.Lambda):
                return self._catches_calls or self._gathers_errors
            if around in self._catching and inner in around.body:
                return True
            inner = around
        return False

    @cached_property
    def method_calls(self) -> dict[str, list[tuple[ast.Call, ast.Attribute]]]:
        """Calls of methods that may be those of built-in values, by the methods' names."""
        found: dict[str, list[tuple[ast.Call, ast.Attribute]]] = {}
        for call in self._tree.of(ast.Call):
            method = call.func
            if not isinstance(method, ast.Attribute) or is_tools(method) or self._tree.dotted(method) is not None:
                continue
            if method.attr not in self._tree.own_attributes or self.kind(method.value) is not None:
                found.setdefault(method.attr, []).append((call, method))
        return found

    @cached_property
    def _catches_calls(self) -> bool:
        return any(self._calls_own_function(each) for each in self._catching)

    @cached_property
    def _gathers_errors(self) -> bool:
        return any(keyword.arg == "return_exceptions" for keyword in self._tree.of(ast.keyword))

    def _calls_own_function(self, node: ast.AST) -> bool:
        return any(
            isinstance(call, ast.Call) and not is_tools(call.func) and not self._is_known_call(call)
            for statement in node.body  # type: ignore[attr-defined]
            for call in ast.walk(statement)
        )

    def _is_known_call(self, call: ast.Call) -> bool:
        passes_function = any(isinstance(part, ast.Lambda) for part in ast.walk(call))
        if passes_function or self._tree.dotted(call.func) == "asyncio.gather":
            return False
        if isinstance(call.func, ast.Attribute):
            return call.func.attr not in self._tree.own_attributes
        return isinstance(call.func, ast.Name) and self._tree.owner(call.func) is None

    def _is_pure_call(self, call: ast.Call) -> bool:
        dotted = self._tree.dotted(call.func)
        if dotted is not None:
            return dotted.startswith(("math.", "datetime.", "json.", "re.")) and not dotted.endswith((".now", ".today"))
        if isinstance(call.func, ast.Attribute):
            return call.func.attr in _PURE_METHODS and call.func.attr not in self._tree.own_attributes
        if isinstance(call.func, ast.Name) and call.func.id in ("map", "filter") and call.args:
            return self.is_builtin(call.func, "map", "filter") and self.is_pure_function(call.args[0])
        return isinstance(call.func, ast.Name) and self.is_pure_function(call.func)

    def _is_pure_statement(self, statement: ast.stmt) -> bool:
        for node in ast.walk(statement):
            if isinstance(node, ast.stmt) and not isinstance(
                node, ast.Return | ast.If | ast.Assign | ast.Expr | ast.Pass
            ):
                return False
            if isinstance(node, ast.Assign) and not all(isinstance(target, ast.Name) for target in node.targets):
                return False
        return self.is_pure(statement)

    def _value(self, node: ast.AST) -> ast.expr | None:
        parent = self._tree.parent(node)
        if isinstance(parent, ast.Assign | ast.AnnAssign | ast.NamedExpr):
            return parent.value
        return None

    def _common(self, nodes: list[ast.expr]) -> str | None:
        kinds = {self.kind(node) for node in nodes}
        return kinds.pop() if len(kinds) == 1 else None

    def _kind_of_operation(self, node: ast.BinOp) -> str | None:
        left, right = self.kind(node.left), self.kind(node.right)
        if left == "str" and isinstance(node.op, ast.Add | ast.Mod):
            return "str"
        if left == right == "number" or (left == right and isinstance(node.op, ast.Add)):
            return left
        return (
            left if right == "number" and left in ("str", "list", "tuple") and isinstance(node.op, ast.Mult) else None
        )

    def _kind_of_call(self, call: ast.Call) -> str | None:
        if isinstance(call.func, ast.Name):
            return _RESULTS.get(call.func.id) if self._tree.owner(call.func) is None else None
        if (
            not isinstance(call.func, ast.Attribute)
            or call.func.attr in self._tree.own_attributes
            or is_tools(call.func)
        ):
            return None
        dotted = self._tree.dotted(call.func)
        if dotted is not None:
            return "str" if dotted == "json.dumps" else "number" if dotted.startswith("math.") else None
        name = call.func.attr
        return (
            "str" if name in _TEXT_METHODS else "list" if name in _LIST_METHODS else "number" if name in _NUMBER_METHODS
            else self.kind(call.func.value) if name == "copy" else None
        )  # fmt: skip

    def _kind_of_name(self, name: ast.Name) -> str | None:
        scope = self._tree.owner(name)
        if scope is None or scope.kind == "class":
            return None
        kinds = {self._kind_of_binding(node, name.id, scope) for node in scope.bound[name.id]}
        # An augmented assignment keeps a number a number and a text a text, or it raises.
        kinds.discard("same")
        return kinds.pop() if len(kinds) == 1 else None

    def _kind_of_binding(self, node: ast.AST, name: str, scope: Scope) -> str | None:
        parent = self._tree.parent(node)
        if isinstance(parent, ast.AugAssign):
            value = self.kind(parent.value)
            if isinstance(parent.op, _ARITHMETIC) and (value == "number" or not isinstance(parent.op, ast.Mult)):
                return "same"
            return None
        if isinstance(parent, ast.Assign) and node not in parent.targets:
            return None
        if isinstance(parent, ast.For | ast.comprehension) and parent.target is node:
            return "number" if self.kind(parent.iter) == "range" else "str" if self.kind(parent.iter) == "str" else None
        if isinstance(parent, ast.Tuple) and isinstance(self._tree.parent(parent), ast.For | ast.comprehension):
            loop = self._tree.parent(parent)
            counts = isinstance(loop.iter, ast.Call) and self.is_builtin(loop.iter.func, "enumerate")  # type: ignore[attr-defined]
            return "number" if counts and parent.elts[0] is node else None
        return self.kind(self._value(node))


def root_of(node: ast.AST) -> str | None:
    """Return the name at the left end of an expression such as `a.b[c]`."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def is_tools(node: ast.AST) -> bool:
    """Return whether an expression is a tool: `tools.name` or `tools['name']`."""
    return (
        isinstance(node, ast.Attribute | ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == "tools"
    )


def method_calls(tree: Tree, *names: str) -> Iterator[tuple[ast.Call, ast.Attribute]]:
    """Yield each call of a method of one of these names that may be a built-in value's, with the method.

    A name that the program's own objects have is theirs, unless the value is known to be of a built-in type.
    """
    calls = kinds_of(tree).method_calls
    for name in calls.keys() & names:
        yield from calls[name]


def is_view(node: ast.AST | None) -> bool:
    """Return whether an expression is the keys or items of a dict."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("keys", "items")


def _method_names(node: ast.ClassDef) -> Iterator[str]:
    return (item.name for item in node.body if isinstance(item, Function))
