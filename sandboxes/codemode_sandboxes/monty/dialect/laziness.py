"""Iterators that CPython makes of generator expressions, `map` and the like, where Monty makes lists."""

import ast
from collections.abc import Iterable, Iterator
from functools import cached_property

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.monty.dialect.kinds import LAZY, is_tools, kinds_of, root_of
from codemode_sandboxes.source.tree import Tree

__all__ = ["LAZINESS"]

# Consumers that take everything before they do anything else: a list does the same for them.
_WHOLE = frozenset({"list", "sorted", "tuple"})
# Consumers that work on each item before they take the next, and may raise.
_STEPWISE = frozenset({"dict", "frozenset", "max", "min", "set", "sum"})
_STEPWISE_METHODS = frozenset(
    {
        *("difference", "difference_update", "extend", "intersection", "intersection_update", "symmetric_difference"),
        *("union", "update"),
    }
)
_STEPWISE_IMPORTED = {
    "collections.Counter": 0,
    "collections.deque": 0,
    "math.fsum": 0,
    "math.prod": 0,
    "functools.reduce": 1,
}
_MUTATORS = frozenset(
    {
        *("add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "extendleft", "insert"),
        *("intersection_update", "pop", "popitem", "popleft", "remove", "reverse", "rotate", "setdefault", "sort"),
        *("symmetric_difference_update", "update"),
    }
)
_MAKERS = ("dict", "frozenset", "list", "range", "set", "sorted", "tuple")
_READERS = ("all", "any", "bool", "enumerate", "isinstance", "len", "print", "repr", "reversed", "str", "sum", "zip")
_DISPLAYS = ast.Constant | ast.Dict | ast.DictComp | ast.JoinedStr | ast.List | ast.ListComp | ast.Set | ast.SetComp
_LOOKS = (
    *(ast.Attribute, ast.BinOp, ast.Compare, ast.comprehension, ast.Expr, ast.For, ast.FormattedValue, ast.If),
    *(ast.Subscript, ast.UnaryOp, ast.While),
)
# A list of as many items takes about 1 MB in Monty.
_LONGEST_RANGE = 100_000


def _generators(tree: Tree) -> Iterator[ast.AST]:
    rules = _Rules(tree)
    return (node for node in tree.of(ast.GeneratorExp) if not rules.is_consumed_whole(node))


def _lazy_calls(tree: Tree) -> Iterator[ast.AST]:
    kinds, rules = kinds_of(tree), _Rules(tree)
    for node in tree.of(ast.Name):
        if kinds.is_builtin(node, *LAZY):
            call = tree.parent(node)
            if not isinstance(call, ast.Call) or call.func is not node or not rules.is_consumed_whole(call):
                yield node


class _Rules:
    """The rules by which a list in an iterator's place cannot be told from it."""

    def __init__(self, tree: Tree) -> None:
        self._tree, self._kinds = tree, kinds_of(tree)

    def is_consumed_whole(self, node: ast.GeneratorExp | ast.Call) -> bool:
        """Return whether what consumes an iterator takes all of it, and at once, as far as anything can show."""
        if self._has_long_ranges:
            return False
        # CPython makes an asynchronous generator of it, which none of the consumers below takes.
        if isinstance(node, ast.GeneratorExp) and _awaits(node):
            return False
        parent = self._tree.parent(node)
        match parent:
            case ast.Starred():
                around = self._tree.parent(parent)
                return isinstance(around, ast.Call) or (
                    isinstance(around, ast.List | ast.Tuple) and isinstance(around.ctx, ast.Load)
                )
            case ast.For(iter=iterable) | ast.comprehension(iter=iterable) if iterable is node:
                loop = self._tree.parent(parent) if isinstance(parent, ast.comprehension) else parent
                if isinstance(loop, ast.expr) and self._is_order_unseen(node) and self._kinds.is_pure(loop):
                    return True
                return self._is_still(node) and not self._is_changed(node, loop)
            case ast.Assign(targets=[ast.Tuple() | ast.List()]):
                return self._is_order_unseen(node)
            case ast.Call() if node in parent.args:
                return self._is_consumed_by(node, parent)
        return False

    def _is_consumed_by(self, node: ast.GeneratorExp | ast.Call, call: ast.Call) -> bool:
        place = call.args.index(node)
        if isinstance(call.func, ast.Name) and self._tree.owner(call.func) is None:
            name = call.func.id
            if name in _STEPWISE:
                return place == 0 and (len(call.args) == 1 or name == "sum") and self._is_order_unseen(node)
            # The iterator around it is looked at by itself.
            return (name in _WHOLE and place == 0) or (name in LAZY and self._is_still(node))
        dotted = self._tree.dotted(call.func)
        if dotted is not None:
            return _STEPWISE_IMPORTED.get(dotted) == place and self._is_order_unseen(node)
        if isinstance(call.func, ast.Attribute) and not is_tools(call.func) and len(call.args) == 1:
            if call.func.attr in self._tree.own_attributes:
                return False
            apart = root_of(call.func.value) not in {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
            return call.func.attr == "join" or (
                call.func.attr in _STEPWISE_METHODS and apart and self._is_order_unseen(node)
            )
        return False

    def _is_order_unseen(self, node: ast.GeneratorExp | ast.Call) -> bool:
        """Return whether nothing shows that all items are made before the first is used, but an error that ends the program."""
        if self._kinds.catches(node):
            return False
        if isinstance(node, ast.Call):
            is_given = not self._kinds.is_builtin(node.func, "map", "filter") or not node.args
            return is_given or self._kinds.is_pure_function(node.args[0])
        # The first iterable is evaluated beforehand, in both.
        later = [each for part in node.generators for each in (part.iter, *part.ifs)][1:]
        return all(map(self._kinds.is_pure, (node.elt, *later)))

    def _is_still(self, node: ast.GeneratorExp | ast.Call) -> bool:
        """Return whether making an iterator's items runs no code of the program, and advances no other iterator."""
        is_made_by_code = isinstance(node, ast.GeneratorExp) or self._kinds.is_builtin(node.func, "map", "filter")
        return not is_made_by_code and not self._makes_iterators

    def _is_changed(self, node: ast.GeneratorExp | ast.Call, loop: ast.AST) -> bool:
        """Return whether a loop may change what the loop goes through."""
        body = list(ast.walk(loop))
        changed = _changed(body)
        # Functions of the program's own run in the loop, or while the program waits.
        if self._kinds.has_operators or any(map(self._runs_own, body)):
            changed |= self._changed_by_functions
        changed = {each for each in changed if each is None or self._kinds.kind(each) not in ("number", "str")}
        names = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        if any(each is not None and each.id in names for each in changed):
            return True
        iterables = node.args if isinstance(node, ast.Call) else [node]
        return not all(map(self._is_alone, iterables)) and not all(map(self._is_alone, changed))

    def _runs_own(self, node: ast.AST) -> bool:
        match node:
            case ast.Call(func=ast.Name() as function):
                return self._tree.owner(function) is not None
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return name in self._tree.function_names
        return isinstance(node, ast.Await)

    def _is_alone(self, node: ast.expr | None) -> bool:
        """Return whether a value was made for this expression or variable, and no other can have it."""
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name() as owner, attr="items" | "keys" | "values"), args=[]):
                return self._is_alone(owner)
            case ast.Call(func=function):
                return self._kinds.is_builtin(function, *_MAKERS)
            case ast.Await(value=ast.Call(func=function)):
                return is_tools(function) or self._tree.dotted(function) == "asyncio.gather"
            case ast.Name():
                scope, values = self._tree.owner(node), [value for _, value in self._kinds.bindings(node)]
                is_new = not any(isinstance(value, ast.Name) for value in values) and all(map(self._is_alone, values))
                return is_new and scope is not None and all(map(self._stays, self._tree.uses(node.id, scope)))
        return isinstance(node, _DISPLAYS)

    def _stays(self, use: ast.Name) -> bool:
        """Return whether a use of a variable hands its value to no other variable, container or function."""
        match parent := self._tree.parent(use):
            case ast.Call(func=function):
                joins = isinstance(function, ast.Attribute) and function.attr == "join"
                return joins or is_tools(function) or self._kinds.is_builtin(function, *_MAKERS, *_READERS)
            case ast.keyword():
                return is_tools(getattr(self._tree.parent(parent), "func", parent))
            case ast.Return():
                return self._tree.owner(use) is self._tree.frame(use)
        return isinstance(parent, _LOOKS)

    @cached_property
    def _has_long_ranges(self) -> bool:
        """True where a range of the program may be so long that a list of it would not do."""
        ranges = [call for call in self._tree.of(ast.Call) if self._kinds.is_builtin(call.func, "range")]
        inside = {each for call in ranges for each in ast.walk(call)}
        computed = {
            type(each.op)
            for each in self._tree.of(ast.BinOp)
            if isinstance(each.left, ast.Constant | ast.BinOp) or each in inside
        }
        numbers = [abs(each.value) for each in self._tree.of(ast.Constant) if isinstance(each.value, int)]
        largest = max(numbers, default=0) ** (2 if ast.Mult in computed else 1)
        return bool(ranges) and (largest > _LONGEST_RANGE or not computed.isdisjoint({ast.Pow, ast.LShift}))

    @cached_property
    def _makes_iterators(self) -> bool:
        """True where something may be an iterator that is not made here, and that something else advances, too."""
        names = [name for name, _ in self._tree.references] + [node.attr for node in self._tree.of(ast.Attribute)]
        # In `next(iter(...))` no variable holds the iterator.
        return any(name.startswith(("itertools.", "csv.")) or name.endswith("finditer") for name in names) or any(
            self._kinds.is_builtin(name, "iter")
            and not self._kinds.is_builtin(getattr(self._tree.parent(self._tree.parent(name)), "func", name), "next")
            for name in self._tree.of(ast.Name)
        )

    @cached_property
    def _changed_by_functions(self) -> set[ast.Name | None]:
        functions = (*self._tree.functions, *self._tree.of(ast.Lambda))
        return _changed(each for function in functions for each in ast.walk(function))


def _changed(nodes: Iterable[ast.AST]) -> set[ast.Name | None]:
    """Return the variables whose values nodes change, or parts of them; None where something else is changed."""
    changed: set[ast.Name | None] = set()
    for node in nodes:
        match node:
            case ast.Call(func=ast.Attribute(value=root, attr=name)) if name in _MUTATORS:
                pass
            case ast.AugAssign(target=root) | ast.Subscript(value=root, ctx=ast.Store() | ast.Del()):
                pass
            case _:
                continue
        if not isinstance(root, ast.Name):
            changed.add(None)  # the part of a thing may be part of another
        while isinstance(root, ast.Attribute | ast.Subscript):
            root = root.value
        changed.add(root if isinstance(root, ast.Name) else None)
    return changed


def _awaits(node: ast.GeneratorExp) -> bool:
    """Return whether a generator expression is an asynchronous generator; its first iterable is evaluated outside of it."""
    first = {id(each) for each in ast.walk(node.generators[0].iter)}
    return any(part.is_async for part in node.generators) or any(
        isinstance(each, ast.Await) and id(each) not in first for each in ast.walk(node)
    )


LAZINESS: tuple[Gap, ...] = (
    Gap(
        "generator expressions that are kept, or taken in part",
        "write a list, `[... for ...]`, or a `for` loop that ends with `break`; the first is `next(iter([...]), default)`",
        _generators,
        "g = (x for x in [1])\nlist(g) == [1] and list(g) == []",
    ),
    Gap(
        "map, filter, zip, enumerate and reversed that are kept, or taken in part",
        "write a list, `[f(x) for x in items]`, or `list(...)` around the call",
        _lazy_calls,
        "z = zip([1], [2])\nlist(z) == [(1, 2)] and list(z) == []",
    ),
)
