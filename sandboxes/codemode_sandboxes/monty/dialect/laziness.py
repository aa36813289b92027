"""Iterators that CPython makes of generator expressions, `map` and the like, where Monty makes lists."""

import ast
import math
from collections.abc import Iterator
from functools import cached_property

from codemode_sandboxes.contract import Gap
from codemode_sandboxes.monty.dialect.kinds import LAZY, Kinds, is_tools, kinds_of, root_of
from codemode_sandboxes.source.tree import Tree

__all__ = ["LAZINESS"]

# Consumers that take everything before they do anything else: a list does the same for them.
_WHOLE = frozenset({"list", "sorted", "tuple"})
# Consumers that work on each item before they take the next, and may raise.
_STEPWISE = frozenset({"dict", "frozenset", "max", "min", "set", "sum"})
_STEPWISE_METHODS = frozenset(
    [
        "difference",
        "difference_update",
        "extend",
        "intersection",
        "intersection_update",
        "symmetric_difference",
        "union",
        "update",
    ]
)
_STEPWISE_IMPORTED = {
    "collections.Counter": 0,
    "collections.deque": 0,
    "math.fsum": 0,
    "math.prod": 0,
    "functools.reduce": 1,
}
_SUMMED = {"sum": {"number"}, "max": {"number", "str"}, "min": {"number", "str"}, "set": {"number", "str"}}
_MUTATORS = frozenset(
    [
        "add",
        "append",
        "appendleft",
        "clear",
        "discard",
        "extend",
        "insert",
        "pop",
        "popitem",
        "popleft",
        "remove",
        "reverse",
        "rotate",
        "setdefault",
        "sort",
        "update",
        "extendleft",
        "difference_update",
        "intersection_update",
        "symmetric_difference_update",
    ]
)
_VIEWS = frozenset({"items", "keys", "values"})
# A list of as many items takes about 1 MB in Monty.
_LONGEST_RANGE = 100_000
# How far variables are followed to a range, and how many of a variable's values.
_DEEPEST = 4


def _generators(tree: Tree) -> Iterator[ast.AST]:
    rules = _Rules(tree, kinds_of(tree))
    return (node for node in tree.of(ast.GeneratorExp) if not rules.is_consumed_whole(node))


def _lazy_calls(tree: Tree) -> Iterator[ast.AST]:
    kinds = kinds_of(tree)
    rules = _Rules(tree, kinds)
    for node in tree.of(ast.Name):
        if kinds.is_builtin(node, *LAZY):
            call = tree.parent(node)
            if not isinstance(call, ast.Call) or call.func is not node or not rules.is_consumed_whole(call):
                yield node


class _Rules:
    """The rules by which a list in an iterator's place cannot be told from it."""

    def __init__(self, tree: Tree, kinds: Kinds) -> None:
        self._tree, self._kinds = tree, kinds
        self._has_iterators = bool(
            any(kinds.is_builtin(node, "iter") for node in tree.of(ast.Name))
            or any(name.startswith(("itertools.", "csv.")) or name.endswith("finditer") for name, _ in tree.references)
            or any(node.attr == "finditer" for node in tree.of(ast.Attribute))
        )

    def is_consumed_whole(self, node: ast.GeneratorExp | ast.Call) -> bool:
        """Return whether what consumes an iterator takes all of it, and at once, as far as anything can show."""
        # CPython makes an asynchronous generator of it, which none of the consumers below takes.
        if isinstance(node, ast.GeneratorExp) and _awaits(self._tree, node):
            return False
        parent = self._tree.parent(node)
        match parent:
            case ast.Starred():
                around = self._tree.parent(parent)
                if isinstance(around, ast.Call):
                    return self._is_short(node)
                return isinstance(around, ast.List | ast.Tuple) and isinstance(around.ctx, ast.Load)
            case ast.For(iter=iterable) if iterable is node:
                return self._is_apart(node, parent, [*parent.body, *parent.orelse])
            case ast.comprehension(iter=iterable) if iterable is node:
                return self._is_apart(node, parent, _parts_after(self._tree.parent(parent), parent))
            case ast.Assign(targets=[ast.Tuple() | ast.List()]):
                return self._is_order_unseen(node)
            case ast.Call() if node in parent.args:
                return self._is_consumed_by(node, parent)
        return False

    def _is_consumed_by(self, node: ast.GeneratorExp | ast.Call, call: ast.Call) -> bool:
        first = call.args[0] is node
        if isinstance(call.func, ast.Name) and self._tree.owner(call.func) is None:
            name = call.func.id
            if name in _WHOLE:
                return first and self._is_short(node)
            if name in ("any", "all"):
                # They may stop long before the end of what is too long for a list.
                return first and self._is_still(node) and self._is_short(node, unknown=math.inf)
            if name in _STEPWISE:
                alone = len(call.args) == 1 or name == "sum"
                return first and alone and (self._is_order_unseen(node) or self._cannot_fail(name, node))
            # The iterator around it is looked at by itself.
            return name in LAZY and self._is_still(node) and self._is_short(node)
        dotted = self._tree.dotted(call.func)
        if dotted is not None:
            place = _STEPWISE_IMPORTED.get(dotted)
            return place is not None and call.args.index(node) == place and self._is_order_unseen(node)
        if isinstance(call.func, ast.Attribute) and not is_tools(call.func) and len(call.args) == 1:
            if call.func.attr in self._tree.own_attributes:
                return False
            if call.func.attr == "join":
                return self._is_short(node)
            apart = root_of(call.func.value) not in _names(node)
            return call.func.attr in _STEPWISE_METHODS and apart and self._is_order_unseen(node)
        return False

    def _is_order_unseen(self, node: ast.GeneratorExp | ast.Call) -> bool:
        """Return whether nothing shows that all items are made before the first is used, but an error that ends the program."""
        if not self._is_short(node):
            return False
        return self._is_still(node) or (self._is_pure(node) and not self._kinds.catches(node))

    def _cannot_fail(self, consumer: str, node: ast.GeneratorExp | ast.Call) -> bool:
        """Return whether a consumer takes every item without an error, whatever the data."""
        item = node.elt if isinstance(node, ast.GeneratorExp) else None
        return item is not None and self._is_short(node) and self._kinds.kind(item) in _SUMMED.get(consumer, ())

    def _is_pure(self, node: ast.GeneratorExp | ast.Call) -> bool:
        if isinstance(node, ast.Call) and node.args and self._kinds.is_builtin(node.func, "map", "filter"):
            return self._kinds.is_pure_function(node.args[0])
        if isinstance(node, ast.Call):
            return True
        # The first iterable is evaluated beforehand, in both.
        later = [
            node.elt,
            *(part.iter for part in node.generators[1:]),
            *(each for part in node.generators for each in part.ifs),
        ]
        return all(map(self._kinds.is_pure, later))

    def _is_still(self, node: ast.GeneratorExp | ast.Call) -> bool:
        """Return whether making an iterator's items changes nothing and cannot raise."""
        if isinstance(node, ast.Call):
            if self._kinds.is_builtin(node.func, "map", "filter"):
                function = node.args[0] if node.args else None
                still = isinstance(function, ast.Constant) or (
                    function is not None and self._kinds.is_builtin(function, "str", "repr", "bool")
                )
                return still and len(node.args) == 2 and self._is_list(node.args[1])
            return all(self._is_list(argument) for argument in node.args)
        return self._kinds.is_safe(node.elt) and all(
            self._is_list(part.iter)
            and (isinstance(part.target, ast.Name) or self._fits(part.target, part.iter))
            and all(map(self._kinds.is_safe, part.ifs))
            and (part is node.generators[0] or self._kinds.is_safe(part.iter))
            for part in node.generators
        )

    def _fits(self, target: ast.expr, iterable: ast.expr) -> bool:
        """Return whether each item of an iterable can be unpacked to a target."""
        if not isinstance(target, ast.Tuple) or not all(isinstance(part, ast.Name) for part in target.elts):
            return False
        if not isinstance(iterable, ast.Call):
            return False
        if isinstance(iterable.func, ast.Attribute):
            return iterable.func.attr == "items" and not iterable.args and len(target.elts) == 2
        if self._kinds.is_builtin(iterable.func, "enumerate"):
            return len(target.elts) == 2
        return self._kinds.is_builtin(iterable.func, "zip") and len(target.elts) == len(iterable.args)

    def _is_short(self, node: ast.GeneratorExp | ast.Call, unknown: float = 0) -> bool:
        """Return whether no range is so long that a list of it would not do.

        Args:
            node: What makes the iterator.
            unknown: The number to take for one that is not known.
        """
        iterables = [part.iter for part in node.generators] if isinstance(node, ast.GeneratorExp) else node.args
        return math.prod(max(self._length(iterable, unknown), 1) for iterable in iterables) <= _LONGEST_RANGE

    def _length(self, node: ast.expr, unknown: float, depth: int = 0) -> float:
        if isinstance(node, ast.Name) and depth < _DEEPEST:
            values = [value for _, value in self._kinds.bindings(node) if value is not None]
            return max([self._length(value, unknown, depth + 1) for value in values[:_DEEPEST]], default=0)
        if isinstance(node, ast.Call) and self._kinds.is_builtin(node.func, "range"):
            return max([self._size(argument, unknown) for argument in node.args], default=0)
        return 0

    def _size(self, node: ast.expr, unknown: float, depth: int = 0) -> float:
        match node:
            case ast.Constant(value=int(value)):
                return min(abs(value), 1 << 64)
            case ast.UnaryOp(operand=operand) if depth < _DEEPEST:
                return self._size(operand, unknown, depth + 1)
            case ast.BinOp(left=left, right=right) if depth < _DEEPEST:
                one, other = self._size(left, unknown, depth + 1), self._size(right, unknown, depth + 1)
                if isinstance(node.op, ast.Pow):
                    return one**other if one < 100 and other < 20 else math.inf
                return one * other if isinstance(node.op, ast.Mult) and one and other else one + other
            case ast.Name() if depth < _DEEPEST:
                values = [value for _, value in self._kinds.bindings(node)][:_DEEPEST]
                sizes = [unknown if value is None else self._size(value, unknown, depth + 1) for value in values]
                return max(sizes, default=unknown)
            case ast.Call(func=function) if self._kinds.is_builtin(function, "len"):
                return 0
        return unknown

    def _is_list(self, node: ast.expr) -> bool:
        """Return whether an expression is no iterator, which something else could advance, too."""
        if isinstance(node, ast.Starred):
            return self._is_list(node.value)
        if isinstance(node, ast.Call):
            if self._kinds.is_builtin(node.func, "iter", "next"):
                return False
            dotted = self._tree.dotted(node.func) or ""
            return not dotted.startswith(("itertools.", "csv.")) and not dotted.endswith("finditer")
        if not isinstance(node, ast.Name):
            return True
        values = list(self._kinds.bindings(node))
        if any(
            value is not None and not self._is_list(value) for _, value in values if not isinstance(value, ast.Name)
        ):
            return False
        return not self._has_iterators or (bool(values) and self._kinds.kind(node) is not None)

    def _is_apart(
        self, node: ast.GeneratorExp | ast.Call, loop: ast.For | ast.comprehension, body: list[ast.AST]
    ) -> bool:
        """Return whether a loop's body and the making of the loop's items do not touch each other."""
        if isinstance(node, ast.GeneratorExp) or self._kinds.is_builtin(node.func, "map", "filter"):
            # Where neither changes anything, only which of two errors comes first could differ.
            if not isinstance(loop, ast.For) and self._is_order_unseen(node) and all(map(self._kinds.is_pure, body)):
                return True
            bound = {name for part in body for name in _names(part, stored=True)}
            if not self._is_still(node) or not self._is_short(node) or bound & _names(node):
                return False
        elif not self._is_still(node):
            return False
        iterables = [part.iter for part in node.generators] if isinstance(node, ast.GeneratorExp) else node.args
        index = None
        if isinstance(node, ast.Call) and self._kinds.is_builtin(node.func, "enumerate") and len(node.args) == 1:
            first = loop.target.elts[0] if isinstance(loop.target, ast.Tuple) else None
            index = first.id if isinstance(first, ast.Name) and not node.keywords else None
        return not any(self._is_changed(iterable, body, index) for iterable in iterables)

    def _is_changed(self, iterable: ast.expr, body: list[ast.AST], index: str | None) -> bool:
        match iterable:
            case ast.Starred(value=value):
                return self._is_changed(value, body, index)
            case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in _VIEWS:
                return self._is_changed(value, body, None)
            case ast.BoolOp(values=values):
                return any(self._is_changed(value, body, index) for value in values)
            case ast.Subscript(slice=ast.Slice()):
                return False
            case ast.Name() | ast.Attribute() | ast.Subscript():
                root = root_of(iterable)
                return root is None or self._changes(self._aliases(root), body, index)
        return False

    def _aliases(self, root: str) -> set[str]:
        return self._groups.get(root, {root})

    @cached_property
    def _groups(self) -> dict[str, set[str]]:
        """Names that may be of one object, or of one and what it holds, as an assignment says; each has its group."""
        groups: dict[str, set[str]] = {}
        for node in self._tree.of(ast.Assign):
            for target in node.targets:
                one, other = root_of(target), root_of(node.value)
                if one is not None and other is not None and groups.get(one, one) is not groups.get(other, other):
                    united = groups.get(one, {one}) | groups.get(other, {other})
                    groups.update(dict.fromkeys(united, united))
        return groups

    def _changes(self, roots: set[str], body: list[ast.AST], index: str | None) -> bool:
        calls_own = False
        for part in body:
            for node in ast.walk(part):
                if _mutates(node, roots, index):
                    return True
                if isinstance(node, ast.Await):
                    calls_own = True  # other coroutines run meanwhile
                if isinstance(node, ast.Call) and not is_tools(node.func):
                    name = node.func.id if isinstance(node.func, ast.Name) else None
                    if name is not None and self._tree.owner(node.func) is not None:  # type: ignore[arg-type]
                        calls_own = True
                        if roots & {root_of(argument) for argument in node.args}:
                            return True
                    calls_own |= isinstance(node.func, ast.Attribute) and node.func.attr in self._tree.function_names
        return calls_own and any(
            _mutates(node, roots, None)
            for function in self._tree.functions
            for statement in function.body
            for node in ast.walk(statement)
            if not any(node is each for part in body for each in ast.walk(part))
        )


def _mutates(node: ast.AST, roots: set[str], index: str | None) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=value, attr=name)):
            return name in _MUTATORS and root_of(value) in roots
        case ast.AugAssign(target=ast.Name(id=name)):
            return name in roots
        case ast.Subscript(value=value, slice=place, ctx=ast.Store() | ast.Del()):
            own_place = isinstance(place, ast.Name) and place.id == index and isinstance(node.ctx, ast.Store)
            return root_of(value) in roots and not own_place
    return False


def _names(node: ast.AST, *, stored: bool = False) -> set[str]:
    names = (each for each in ast.walk(node) if isinstance(each, ast.Name))
    return {each.id for each in names if not stored or isinstance(each.ctx, ast.Store)}


def _awaits(tree: Tree, node: ast.GeneratorExp) -> bool:
    """Return whether a generator expression is an asynchronous generator; its first iterable is evaluated outside of it."""
    first = {id(each) for each in ast.walk(node.generators[0].iter)}
    return any(part.is_async for part in node.generators) or any(
        isinstance(each, ast.Await) and id(each) not in first for each in ast.walk(node)
    )


def _parts_after(comprehension: ast.AST, clause: ast.comprehension) -> list[ast.AST]:
    assert isinstance(comprehension, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp)
    items: list[ast.AST] = (
        [comprehension.key, comprehension.value] if isinstance(comprehension, ast.DictComp) else [comprehension.elt]
    )
    place = comprehension.generators.index(clause)
    return [*items, *clause.ifs, *comprehension.generators[place + 1 :]]


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
